//! The output of a real process.

use super::*;

#[tokio::test]
async fn a_process_prints_its_lines_and_lambda_s_runtime_adds_none() {
    let api = Api::new().await;
    let variables = [
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        (NAMESPACE_VARIABLE, NAMESPACE),
    ];
    let mut create = lambda::start_with("create", &api.database, Stdio::piped(), &variables).await;
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let root = "Root=1-5759e988-aaaaaaaaaaaaaaaaaaaaaaaa";
    for (headers, body) in [
        (&[][..], &valued),
        (&[("traceparent", traceparent)], &valued),
        (&[("x-amzn-trace-id", root)], &"{".to_owned()),
    ] {
        let headers = [&[("x-portkey-api-key", api.key.as_str())], headers].concat();
        let event = event_json(&Method::POST, PORTKEY, "", &headers, body, false);
        create.invoke(event).await.unwrap().outcome.unwrap();
    }
    let text = create.stop().await.unwrap();
    let printed = lines(&text);
    assert_eq!(printed.len(), 3, "{text}");
    let of = |name: &str| -> Vec<&Value> { printed.iter().map(|line| &line[name]).collect() };
    assert_eq!(of("message"), ["answered", "answered", "refused"]);
    assert_eq!(of("cold"), [true, false, false]);
    assert_eq!(of("function_version"), ["$LATEST"; 3]);
    assert_eq!(of("write_units"), [3.0, 3.0, 0.0]);
    // Lambda's own trace if the caller sends none.
    assert_eq!(
        of("trace"),
        [
            "5759e988bd862e3fe1be46a994272793",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "5759e988aaaaaaaaaaaaaaaaaaaaaaaa",
        ]
    );
    for id in of("request_id") {
        assert!(id.as_str().unwrap().starts_with("8476a536-"), "{id}");
    }
}

#[tokio::test]
async fn unreadable_events_are_not_quoted() {
    let api = Api::new().await;
    let variables = [
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
    ];
    let mut aggregate = lambda::start_with("aggregate", &api.database, Stdio::piped(), &variables).await;
    let mut failures = Vec::new();
    for event in [
        json!("canary"),
        json!({"canary": "canary"}),
        json!({"shardId": {"canary": "canary"}}),
        json!({"shardId": "s", "Records": [{"dynamodb": {"SequenceNumber": ["canary"], "canary": 1}}]}),
        json!({"shardId": "s", "Records": [{"dynamodb": {"ApproximateCreationDateTime": "canary"}}]}),
    ] {
        failures.push(aggregate.invoke(event).await.unwrap().outcome.unwrap_err());
    }
    // A malformed change is parked in full, and logged without its content.
    let odd =
        json!({"shardId": "s", "Records": [{"dynamodb": {"SequenceNumber": "1", "NewImage": ["canary"]}}]});
    aggregate.invoke(odd).await.unwrap().outcome.unwrap();
    let text = aggregate.stop().await.unwrap();
    assert!(!text.contains("canary"), "{text}");
    let printed: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [.., parked, counted] = printed.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(
        (&parked["message"], &counted["parked"]),
        (&json!("a change is parked"), &json!(1))
    );
    assert_eq!(printed.len(), failures.len() + 2, "{text}");
    for (line, failure) in printed.iter().zip(failures) {
        assert_eq!(line["message"], "failed", "{line}");
        assert!(!failure.to_string().contains("canary"), "{failure}");
        assert!(
            failure["errorMessage"].as_str().unwrap().contains("column"),
            "{failure}"
        );
    }
}
