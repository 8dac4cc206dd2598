//! The log line of a request.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_request_is_one_line_with_what_it_was_and_what_it_cost() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let deployed = Deployed::new(&captured).await;
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    let indexed =
        json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u", "_prompt": "p"}}).to_string();
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 3}).to_string();

    // The first request is cold and looks up its key.
    let post = "POST /v1/feedback";
    let (_, answer, line) = deployed.call(Method::POST, PORTKEY, &[], &valued).await;
    let vote = json!({"scale": "value", "votes": 1, "write_units": 3.0});
    let mut cold = vote.clone();
    cold["cold"] = json!(true);
    cold["read_units"] = json!(1.0);
    check(&line, request(post, 200, cold));
    assert_eq!(
        metrics(&line),
        BTreeMap::from([("votes portkey value".to_owned(), 1.0)])
    );
    let id = answer["feedback_ids"][0].as_str().unwrap().to_owned();
    let (_, _, line) = deployed.call(Method::POST, PORTKEY, &[], &valued).await;
    check(&line, request(post, 200, vote));

    // Requests that write to further indexes, in transactions (twice to a table, once to an index), and
    // under an idempotency key.
    let once = [("idempotency-key", "once")];
    let bulk = format!("[{valued},{valued}]");
    for (path, headers, body, fields, metric) in [
        (
            PORTKEY,
            &[][..],
            &indexed,
            json!({"scale": "value", "votes": 1, "write_units": 5.0}),
            Some(("votes portkey value", 1.0)),
        ),
        (
            PORTKEY,
            &[],
            &bulk,
            json!({"scale": "value", "votes": 2, "write_units": 8.0}),
            Some(("votes portkey value", 2.0)),
        ),
        (
            TRUEFOUNDRY,
            &[],
            &rated,
            json!({"scale": "rating", "votes": 1, "write_units": 3.0}),
            Some(("votes truefoundry rating", 1.0)),
        ),
        (
            PORTKEY,
            &once,
            &valued,
            json!({"scale": "value", "votes": 1, "write_units": 6.0}),
            Some(("votes portkey value", 1.0)),
        ),
        // A repeat stores nothing, so it is not a vote.
        (PORTKEY, &once, &valued, json!({"read_units": 1.0}), None),
    ] {
        let (status, answer, line) = deployed.call(Method::POST, path, headers, body).await;
        assert_eq!(status, 200, "{answer}");
        check(&line, request(&format!("POST {path}"), 200, fields));
        let expected = metric.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(metrics(&line), expected.into_iter().collect());
    }

    // The other functions. Each has its own cold start; all share the keyring's cache.
    let cold = |rest: Value| {
        let mut fields = rest;
        fields["cold"] = json!(true);
        fields
    };
    let range = "time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2026-02-01T00:00:00Z";
    for (method, path, route, body, fields) in [
        (
            Method::PUT,
            format!("{PORTKEY}/{id}"),
            "PUT /v1/feedback/{id}",
            r#"{"value":2}"#,
            cold(json!({"read_units": 0.5, "write_units": 3.0})),
        ),
        (
            Method::GET,
            format!("{PORTKEY}/{id}"),
            "GET /v1/feedback/{id}",
            "",
            cold(json!({"read_units": 1.5})),
        ),
        (
            Method::GET,
            format!("{TRUEFOUNDRY}?traceId=t&spanId=s"),
            "GET /api/svc/v1/gateway-feedback",
            "",
            // Upserted records are read by a query of their own.
            json!({"read_units": 2.0}),
        ),
        (
            Method::GET,
            format!("/v1/analytics/groups/metadata/_user?{range}"),
            "GET /v1/analytics/groups/metadata/{key}",
            "",
            cold(json!({"read_units": 3.0})),
        ),
        (
            Method::DELETE,
            format!("{PORTKEY}/{id}"),
            "DELETE /v1/feedback/{id}",
            "",
            cold(json!({"read_units": 0.5, "write_units": 3.0})),
        ),
    ] {
        let (status, answer, line) = deployed.call(method, &path, &[], body).await;
        assert_eq!(status, 200, "{answer}");
        check(&line, request(route, 200, fields));
        assert_eq!(line.get("_aws"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_logged_and_counted_by_its_problem() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let deployed = Deployed::new(&captured).await;
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    let (_, answer, _) = deployed
        .call(Method::POST, PORTKEY, &[("idempotency-key", "k")], &valued)
        .await;
    let record = format!("{PORTKEY}/{}", answer["feedback_ids"][0].as_str().unwrap());
    let reader = deployed.api.key_for("readers", &[Scope::Read]).await;
    let large = format!(
        r#"{{"trace_id":"t","value":1,"metadata":{{"x":"{}"}}}}"#,
        "x".repeat(70_000)
    );
    let graph = "/v1/analytics/graphs/feedbacks?workspace_slug=foreign&\
                 time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2026-02-01T00:00:00Z";
    let mut seen = BTreeSet::new();
    for (method, path, headers, body, fault, status, code, says) in [
        (
            Method::POST,
            PORTKEY,
            &[][..],
            r#"{"value":"x"}"#,
            None,
            400,
            "invalid",
            "invalid: trace_id, value",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            large.as_str(),
            None,
            413,
            "too_large",
            "invalid: metadata",
        ),
        (
            Method::GET,
            PORTKEY,
            &[("x-portkey-api-key", "x")],
            "",
            None,
            401,
            "unauthorized",
            "a valid API key",
        ),
        (
            Method::POST,
            PORTKEY,
            &[("x-portkey-api-key", &reader)],
            &valued,
            None,
            403,
            "forbidden",
            "write",
        ),
        (
            Method::GET,
            graph,
            &[],
            "",
            None,
            403,
            "foreign_workspace",
            "another workspace",
        ),
        (
            Method::DELETE,
            &format!("{PORTKEY}/{MISSING}"),
            &[],
            "",
            None,
            404,
            "not_found",
            "no such feedback",
        ),
        (
            Method::POST,
            PORTKEY,
            &[("idempotency-key", "k")],
            r#"{"trace_id":"t","value":2}"#,
            None,
            409,
            "key_reused",
            "different request",
        ),
        (
            Method::PUT,
            &record,
            &[("if-match", "\"9\"")],
            r#"{"value":2}"#,
            None,
            412,
            "version_mismatch",
            "version",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            &valued,
            Some(Fault::Throttle),
            429,
            "throttled",
            "is throttled",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            &valued,
            Some(Fault::ServerError),
            503,
            "unavailable",
            "DynamoDB",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            &valued,
            Some(Fault::AccessDenied),
            500,
            "internal",
            "DynamoDB",
        ),
    ] {
        let fault = fault.map_or(Vec::new(), |fault| vec![fault; 9]);
        deployed.api.database.fail_on("PutItem", fault);
        let (answered, answer, line) = deployed.call(method, path, headers, body).await;
        deployed.api.database.recover();
        assert_eq!((answered, &line["status"]), (status, &json!(status)), "{answer}");
        assert_eq!(line["problem"], code, "{line}");
        assert!(line["cause"].as_str().unwrap().contains(says), "{line}");
        let (level, message) = if status >= 500 {
            ("ERROR", "failed")
        } else {
            ("INFO", "refused")
        };
        assert_eq!(
            (&line["level"], &line["message"]),
            (&json!(level), &json!(message))
        );
        assert_eq!(metrics(&line), BTreeMap::from([(format!("refused {code}"), 1.0)]));
        // The workspace is present if the key was verified.
        let workspace = match code {
            "unauthorized" => Value::Null,
            "forbidden" => json!("readers"),
            _ => json!("test"),
        };
        assert_eq!(line["workspace"], workspace, "{line}");
        seen.insert(code);
    }
    assert_eq!(seen, Problem::CODES.into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn valid_trace_headers_are_logged_and_no_text_breaks_a_line() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let deployed = Deployed::new(&captured).await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let traceparent = format!("00-{trace}-{parent}-01");
    let broken = format!("00-{}\"}}-{parent}-01", &trace[2..]);
    let root = "5759e988bd862e3fe1be46a994272793";
    for (headers, found, from) in [
        (&[][..], Value::Null, Value::Null),
        (
            &[("traceparent", traceparent.as_str())],
            json!(trace),
            json!(parent),
        ),
        (
            &[("x-amzn-trace-id", TRACE)],
            json!(root),
            json!("53995c3f42cd8ad8"),
        ),
        (
            &[("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")],
            json!(root),
            Value::Null,
        ),
        (
            &[("traceparent", traceparent.as_str()), ("x-amzn-trace-id", TRACE)],
            json!(trace),
            json!(parent),
        ),
        (
            &[("traceparent", broken.as_str()), ("x-amzn-trace-id", TRACE)],
            json!(root),
            json!("53995c3f42cd8ad8"),
        ),
        (&[("traceparent", broken.as_str())], Value::Null, Value::Null),
        (
            &[("x-amzn-trace-id", "Root=1-\",\"level\":\"x-1")],
            Value::Null,
            Value::Null,
        ),
    ] {
        // Ids from callers are never logged.
        for text in [
            "t",
            "\n{\"level\":\"ERROR\"}\n",
            "\r\n\t\0\u{1b}[2J\u{2028}\u{feff}",
            "\",\"_aws\":{}",
        ] {
            let body = json!({"trace_id": text, "value": 1, "metadata": {"_user": text}}).to_string();
            let (status, _, line) = deployed.call(Method::POST, PORTKEY, headers, &body).await;
            assert_eq!(status, 200);
            assert_eq!((&line["trace"], &line["parent"]), (&found, &from), "{headers:?}");
            assert!(text == "t" || !line.to_string().contains(text), "{line}");
            let query: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let (status, _, line) = deployed
                .call(Method::GET, &format!("{PORTKEY}/{query}"), headers, "")
                .await;
            assert_eq!(status, 400);
            assert_eq!(line["route"], "GET /v1/feedback/{id}");
            assert_eq!(line["trace"], found);
        }
    }
}

#[tokio::test]
async fn the_environment_sets_log_level_and_format() {
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    for (level, expected) in [
        ("DEBUG", &["answered", "refused", "failed"][..]),
        ("INFO", &["answered", "refused", "failed"]),
        ("WARN", &["failed"]),
        ("ERROR", &["failed"]),
    ] {
        for (format, namespace) in [
            ("JSON", Some(NAMESPACE)),
            ("JSON", None),
            ("JSON", Some("")),
            ("Text", Some(NAMESPACE)),
        ] {
            let captured = Captured::default();
            let _log = listen(log::log(captured.clone(), move |name| match name {
                "AWS_LAMBDA_LOG_FORMAT" => Some(format.to_owned()),
                "AWS_LAMBDA_LOG_LEVEL" => Some(level.to_owned()),
                NAMESPACE_VARIABLE => namespace.map(str::to_owned),
                _ => None,
            }));
            let api = Api::new().await;
            captured.take();
            api.call(Method::POST, PORTKEY, &[], &valued).await.ok();
            api.call(Method::POST, PORTKEY, &[], "{")
                .await
                .refused(400, "JSON");
            api.database.fail_on("PutItem", [Fault::AccessDenied]);
            assert_eq!(api.call(Method::POST, PORTKEY, &[], &valued).await.status, 500);
            let text = captured.take();
            let has_metrics = text.contains("_aws");
            if format == "Text" {
                assert_eq!(text.lines().count(), expected.len(), "{text}");
                for (line, message) in text.lines().zip(expected) {
                    assert!(line.contains(message) && line.contains("route="), "{line}");
                    assert!(serde_json::from_str::<Value>(line).is_err());
                }
                assert!(!has_metrics, "{text}");
            } else {
                let messages: Vec<Value> = text
                    .lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].take())
                    .collect();
                assert_eq!(messages, expected, "{text}");
                assert_eq!(has_metrics, namespace == Some(NAMESPACE), "{text}");
            }
        }
    }
}
