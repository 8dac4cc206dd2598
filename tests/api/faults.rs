//! Behavior when DynamoDB throttles, fails, hangs or loses its responses.

use std::time::Duration;

use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY};

/// More faults than one call has attempts.
fn always(fault: Fault) -> Vec<Fault> {
    vec![fault; 50]
}

#[tokio::test(start_paused = true)]
async fn a_throttled_write_is_429_and_nothing_was_written() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let before = api.database.items("feedback");
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 1});
    for (method, path, body) in [
        (
            Method::POST,
            PORTKEY.to_owned(),
            json!({"trace_id": "t", "value": 1}),
        ),
        (
            Method::POST,
            PORTKEY.to_owned(),
            json!([{"trace_id": "t", "value": 1}, {"trace_id": "t", "value": 1}]),
        ),
        (Method::PUT, format!("{PORTKEY}/{id}"), json!({"value": 2})),
        (Method::DELETE, format!("{PORTKEY}/{id}"), json!({})),
        (Method::POST, TRUEFOUNDRY.to_owned(), rated),
    ] {
        for headers in [vec![], vec![("idempotency-key", "k")]] {
            api.database.fail(always(Fault::Throttle));
            let answer = api.call(method.clone(), &path, &headers, &body.to_string()).await;
            api.database.recover();
            let answer = answer.refused(429, "nothing was written");
            assert_eq!(answer.header("retry-after"), Some("1"));
            let json = answer.json();
            let code = json["error"]["code"].as_str().or(json["code"].as_str()).unwrap();
            assert!(["AB06", "TOO_MANY_REQUESTS"].contains(&code), "{code}");
            assert_eq!(api.database.items("feedback"), before);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_or_silent_database_is_503_in_time_with_the_header_that_stops_sdk_retries() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    for fault in [Fault::ServerError, Fault::Hang, Fault::Refused] {
        for (method, path, body) in [
            (
                Method::POST,
                PORTKEY.to_owned(),
                json!({"trace_id": "t", "value": 1}),
            ),
            (Method::PUT, format!("{PORTKEY}/{id}"), json!({"value": 2})),
            (Method::DELETE, format!("{PORTKEY}/{id}"), json!({})),
            (Method::GET, format!("{PORTKEY}/{id}"), json!({})),
            (Method::GET, format!("{PORTKEY}?trace_id=t"), json!({})),
            (
                Method::POST,
                TRUEFOUNDRY.to_owned(),
                json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 1}),
            ),
        ] {
            api.database.fail(always(fault));
            let started = tokio::time::Instant::now();
            let answer = api.call(method.clone(), &path, &[], &body.to_string()).await;
            let took = started.elapsed();
            api.database.recover();
            assert!(
                took <= shared::http::DEADLINE,
                "{fault:?} {method} {path} took {took:?}"
            );
            let answer = answer.refused(503, "the storage failed or did not answer in time");
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(answer.header("x-portkey-trace-id"), answer.header("x-request-id"));
            let json = answer.json();
            let code = json["error"]["code"].as_str().or(json["code"].as_str()).unwrap();
            assert!(["AB04", "SERVICE_UNAVAILABLE"].contains(&code), "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_temporary_fault_is_retried() {
    let api = Api::new().await;
    for fault in [
        Fault::Throttle,
        Fault::ServerError,
        Fault::Hang,
        Fault::Refused,
        Fault::LostAnswer,
    ] {
        let count = api.database.items("feedback").len();
        api.database.fail_on("PutItem", [fault]);
        let answer = api.post(PORTKEY, json!({"trace_id": "t", "value": 1})).await.ok();
        assert_eq!(api.database.items("feedback").len(), count + 1, "{fault:?}");
        assert_eq!(answer.header("etag"), Some("\"1\""));

        let path = format!("{PORTKEY}/{}", answer.id());
        api.database.fail_on("UpdateItem", [fault]);
        let answer = api
            .call(Method::PUT, &path, &[("if-match", "\"1\"")], r#"{"value":5}"#)
            .await
            .ok();
        assert_eq!(
            answer.header("etag"),
            Some("\"2\""),
            "{fault:?} raised the version once"
        );
        api.database.fail_on("UpdateItem", [fault]);
        let answer = api.put(&path, json!({"value": 6})).await.ok();
        assert_eq!(answer.header("etag"), Some("\"3\""), "{fault:?}");

        api.database.fail_on("TransactWriteItems", [fault]);
        let bulk = json!([{"trace_id": "t", "value": 1}, {"trace_id": "t", "value": 2}]);
        api.post(PORTKEY, bulk).await.ok();
        assert_eq!(api.database.items("feedback").len(), count + 3, "{fault:?}");

        api.database.fail_on("DeleteItem", [fault]);
        api.delete(&path).await.ok();
        api.delete(&path).await.refused(404, "no such feedback");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_under_its_key_after_a_lost_response_makes_no_duplicate() {
    let api = Api::new().await;
    let bulk = json!([{"trace_id": "t", "value": 1}, {"trace_id": "u", "value": 2}]);
    for body in [json!({"trace_id": "t", "value": 1}), bulk] {
        let body = body.to_string();
        let headers = [("idempotency-key", body.as_str())];
        let before = api.database.items("feedback").len();
        // Every attempt of the SDK writes or finds the item written, and every response is lost.
        api.database
            .fail_on("TransactWriteItems", always(Fault::LostAnswer));
        let answer = api
            .call(Method::POST, PORTKEY, &headers, &body)
            .await
            .refused(503, "retry");
        assert!(answer.header("x-portkey-trace-id").is_some());
        api.database.recover();
        let written = api.database.items("feedback").len();
        assert!(written > before, "it was written despite the error");
        let first = api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
        let second = api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
        assert_eq!(first, second);
        assert_eq!(api.database.items("feedback").len(), written);
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_after_an_uncertain_write_is_503_instead_of_429() {
    let api = Api::new().await;
    let mut faults = vec![Fault::LostAnswer];
    faults.extend(always(Fault::Throttle));
    api.database.fail_on("PutItem", faults);
    api.post(PORTKEY, json!({"trace_id": "t", "value": 1}))
        .await
        .refused(503, "the storage failed or did not answer in time");
    assert_eq!(api.database.items("feedback").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_configuration_is_500_without_details() {
    let api = Api::new().await;
    api.database.fail_on("PutItem", [Fault::AccessDenied]);
    let answer = api.post(PORTKEY, json!({"trace_id": "t", "value": 1})).await;
    let answer = answer.refused(500, "an internal error occurred");
    assert_eq!(answer.json()["error"]["code"], "AB04");
    assert!(answer.header("x-portkey-trace-id").is_some());
    assert!(!answer.text.contains("AccessDenied"));
}

#[tokio::test(start_paused = true)]
async fn a_young_id_is_looked_up_again_while_the_index_lags() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let path = format!("{PORTKEY}/{id}");
    api.database.fail_on("Query", [Fault::IndexLags; 4]);
    api.put(&path, json!({"value": 2})).await.ok();
    api.database.fail_on("Query", [Fault::IndexLags; 4]);
    assert_eq!(api.get(&path).await.ok().json()["value"], 2);
    // It does not wait forever, and not at all for an old id.
    api.database.fail_on("Query", always(Fault::IndexLags));
    api.get(&path).await.refused(404, "no such feedback");
    api.database.recover();
    api.database.calls();
    api.get("/v1/feedback/019ab2a9-8fc6-7804-83ea-e496e2dd611d")
        .await
        .refused(404, "no such feedback");
    assert_eq!(api.database.calls(), ["Query"]);
    // By the service's clock, whatever the machine's is.
    for (passes, look_ups) in [(Duration::from_secs(9), 7), (Duration::from_secs(1), 1)] {
        api.time.forward(passes);
        api.database.fail_on("Query", always(Fault::IndexLags));
        api.get(&path).await.refused(404, "no such feedback");
        api.database.recover();
        assert_eq!(api.database.calls(), vec!["Query"; look_ups]);
    }
}

#[tokio::test]
async fn a_target_saves_the_look_up() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s"});
    api.database.calls();
    let id = api
        .post(TRUEFOUNDRY, json!({"target": target, "rating": 1}))
        .await
        .ok()
        .id();
    assert_eq!(
        api.database.calls(),
        ["GetItem", "PutItem"],
        "the key, once; the record"
    );
    api.put(
        &format!("{TRUEFOUNDRY}/{id}"),
        json!({"target": target, "rating": 2}),
    )
    .await
    .ok();
    assert_eq!(api.database.calls(), ["UpdateItem"]);
    api.put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": 2}))
        .await
        .ok();
    assert_eq!(api.database.calls(), ["Query", "UpdateItem"]);
    let body = json!({"target": target}).to_string();
    api.call(Method::DELETE, &format!("{TRUEFOUNDRY}/{id}"), &[], &body)
        .await
        .ok();
    assert_eq!(api.database.calls(), ["DeleteItem"]);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_response_does_not_prove_that_nothing_was_written() {
    let api = Api::new().await;
    for then in [Fault::Throttle, Fault::ServerError] {
        let count = api.database.items("feedback").len();
        let mut faults = vec![Fault::CutAnswer];
        faults.extend(always(then));
        api.database.fail_on("PutItem", faults);
        api.post(PORTKEY, json!({"trace_id": "t", "value": 1}))
            .await
            .refused(503, "the storage failed or did not answer in time");
        api.database.recover();
        assert_eq!(api.database.items("feedback").len(), count + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_a_transaction_on_its_item() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let path = format!("{PORTKEY}/{id}");
    api.database.fail_on("UpdateItem", [Fault::Conflict; 5]);
    assert_eq!(
        api.put(&path, json!({"value": 2})).await.ok().header("etag"),
        Some("\"2\"")
    );
    api.database.fail_on("DeleteItem", [Fault::Conflict; 5]);
    api.delete(&path).await.ok();
    // It does not wait forever.
    api.database.fail_on("UpdateItem", always(Fault::Conflict));
    let id = api.vote(1, Value::Null).await;
    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 2}))
        .await
        .refused(503, "the storage failed or did not answer in time");
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_names_another_target_is_404_even_after_a_lost_response() {
    let api = Api::new().await;
    let target = |span: &str| json!({"traceId": "t", "spanId": span});
    let id = api
        .post(TRUEFOUNDRY, json!({"target": target("s"), "rating": 1}))
        .await
        .ok()
        .id();
    let path = format!("{TRUEFOUNDRY}/{id}");
    api.database.fail_on("DeleteItem", [Fault::Refused]);
    let elsewhere = json!({"target": target("other")}).to_string();
    api.call(Method::DELETE, &path, &[], &elsewhere)
        .await
        .refused(404, "no such feedback");
    assert_eq!(api.database.items("feedback").len(), 1);
    api.database.fail_on("DeleteItem", [Fault::LostAnswer]);
    let right = json!({"target": target("s")}).to_string();
    api.call(Method::DELETE, &path, &[], &right).await.ok();
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_may_have_happened_is_503_instead_of_429() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s"});
    for first in [Fault::LostAnswer, Fault::CutAnswer] {
        let id = api
            .post(TRUEFOUNDRY, json!({"target": target, "rating": 1}))
            .await
            .ok()
            .id();
        let path = format!("{TRUEFOUNDRY}/{id}");
        api.database.fail_on("DeleteItem", [first]);
        // The body names the target, so the only look-up is the one after the failure.
        api.database.fail_on("Query", always(Fault::Throttle));
        let body = json!({"target": target}).to_string();
        let answer = api.call(Method::DELETE, &path, &[], &body).await;
        api.database.recover();
        let answer = answer.refused(503, "the storage failed or did not answer in time");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("x-portkey-trace-id"), answer.header("x-request-id"));
        assert!(api.database.items("feedback").is_empty(), "it did happen");
    }
    // A request that was not started has not written.
    let id = api
        .post(TRUEFOUNDRY, json!({"target": target, "rating": 1}))
        .await
        .ok()
        .id();
    api.database.fail_on("Query", always(Fault::Throttle));
    api.delete(&format!("{TRUEFOUNDRY}/{id}"))
        .await
        .refused(429, "nothing was written");
}
