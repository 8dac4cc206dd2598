//! The log line of a batch.

use super::*;

/// The changes of the feedback table, in Lambda's format.
async fn stream(api: &Api) -> Vec<Value> {
    api.changes().await
}

#[tokio::test]
async fn a_batch_is_one_line_with_what_was_counted_and_how_late() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let api = Api::new().await;
    for value in [1, -1] {
        api.post(PORTKEY, json!({"trace_id": "canary", "value": value}))
            .await
            .ok();
    }
    let records = stream(&api).await;
    let aggregate = Aggregate::new(api.counter());
    captured.take();
    let count = async |event: Value| {
        let payload: Payload = serde_json::from_value(event).unwrap();
        let answer = aggregate
            .answer(LambdaEvent::new(payload, context("lambda's id")))
            .await;
        (answer, one_line(&captured.take()))
    };
    let lag = |line: &mut Value| line.as_object_mut().unwrap().remove("lag_ms");

    let batch = json!({"Records": records, "shardId": "s"});
    let (answer, mut line) = count(batch.clone()).await;
    answer.unwrap();
    assert_eq!(metrics(&line)["counted"], 2.0);
    assert!(metrics(&line)["lag_ms"] >= 0.0);
    assert!(lag(&mut line).is_some());
    let units = json!({
        "message": "counted", "records": 2, "counted": 2, "cold": true,
        "read_units": line["read_units"], "write_units": line["write_units"],
    });
    // A transaction with the checkpoint and four roll-ups, and once per table the item `generation`.
    assert_eq!(line["write_units"], 12.0);
    check(&line, units);

    // A repeated batch is already counted.
    let (answer, mut line) = count(batch.clone()).await;
    answer.unwrap();
    assert_eq!(metrics(&line)["counted"], 0.0);
    lag(&mut line);
    let read = line["read_units"].clone();
    check(
        &line,
        json!({"message": "counted", "records": 2, "counted": 0, "cold": false, "read_units": read, "write_units": 0.0}),
    );

    // The end of a window has no records, so no lag.
    let (answer, line) = count(json!({"shardId": "s", "isFinalInvokeForWindow": true})).await;
    answer.unwrap();
    check(
        &line,
        json!({"message": "counted", "records": 0, "counted": 0, "cold": false, "read_units": 0.0, "write_units": 0.0}),
    );
    assert_eq!(metrics(&line), BTreeMap::from([("counted".to_owned(), 0.0)]));

    // The lag follows from the newest change.
    let mut late = batch.clone();
    let hour_ago = Timestamp::now().seconds() - 3_600;
    late["Records"][0]["dynamodb"]["ApproximateCreationDateTime"] = json!(hour_ago - 50);
    late["Records"][1]["dynamodb"]["ApproximateCreationDateTime"] = json!(hour_ago);
    let lag_now = || (Timestamp::now().millis() - hour_ago * 1_000) as f64;
    let before = lag_now();
    let (_, line) = count(late).await;
    let lag = line["lag_ms"].as_f64().unwrap();
    assert!((before..=lag_now()).contains(&lag), "{lag}");

    // A change that cannot be read is logged with its shard, sequence number and reason, without content.
    let mut odd = batch.clone();
    odd["Records"][1]["dynamodb"]["NewImage"]["value"] = json!({"N": "99"});
    odd["shardId"] = json!("another");
    let payload: Payload = serde_json::from_value(odd.clone()).unwrap();
    let event = LambdaEvent::new(payload, context("lambda's id"));
    assert_eq!(aggregate.answer(event).await.unwrap(), Response::default());
    let text = captured.take();
    let [parked, line] = lines(&text).try_into().unwrap();
    assert_eq!(
        ["level", "message", "shard", "sequence", "cause", "request_id"].map(|name| &parked[name]),
        [
            &json!("ERROR"),
            &json!("a change is parked"),
            &json!("another"),
            &odd["Records"][1]["dynamodb"]["SequenceNumber"],
            &json!("value or weight: cannot be read"),
            &json!("lambda's id"),
        ]
    );
    assert_eq!(
        (&line["message"], &line["parked"]),
        (&json!("counted"), &json!(1))
    );
    assert_eq!(metrics(&line)["counted"], 1.0);

    // A failing batch is logged once.
    api.database.fail_on("GetItem", [Fault::AccessDenied]);
    let (answer, line) = count(batch).await;
    assert!(answer.is_err());
    assert_eq!(
        (&line["level"], &line["problem"]),
        (&json!("ERROR"), &json!("internal"))
    );
    assert_eq!(line.get("counted"), None);
    assert!(!captured.text().contains("canary"));
}
