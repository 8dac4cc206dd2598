//! The TrueFoundry dialect, and records that both dialects share.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, TRUEFOUNDRY};

/// The target id in TrueFoundry's documentation.
const DOCUMENTED: &str =
    "eyJzcGFuSWQiOiJhMmQ2Yjg4MmFhMTViZTU1IiwidHJhY2VJZCI6IjAxOWFiMmE5NmQ1MDcwN2ZhMzA5MGMxYjcyMDFkNWJkIn0=";

fn by_id() -> Value {
    json!({"type": "target-id", "feedbackTargetId": DOCUMENTED})
}

fn by_names() -> Value {
    json!({
        "traceId": "019ab2a96d50707fa3090c1b7201d5bd",
        "spanId": "a2d6b882aa15be55",
        "tracingProjectFQN": "tenant:tracing-project:default",
    })
}

async fn record(api: &Api, id: &str) -> Value {
    api.get(&format!("{TRUEFOUNDRY}/{id}")).await.ok().json()["data"].clone()
}

#[tokio::test]
async fn the_documented_calls_create_change_and_delete() {
    let api = Api::new().await;
    let body = json!({
        "target": by_id(),
        "rating": 4,
        "comment": "Optional comment",
        "metadata": {"key": "value"},
    });
    let answer = api.post(TRUEFOUNDRY, body.clone()).await.ok();
    let id = answer.id();
    assert_eq!(answer.text, format!(r#"{{"data":{{"id":"{id}"}}}}"#));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert!(
        id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
    let stored = record(&api, &id).await;
    assert_eq!(stored["traceId"], "019ab2a96d50707fa3090c1b7201d5bd");
    assert_eq!(stored["spanId"], "a2d6b882aa15be55");
    assert_eq!(stored["feedbackTargetId"], DOCUMENTED);
    assert_eq!(
        (&stored["rating"], &stored["comment"]),
        (&json!(4), &json!("Optional comment"))
    );
    assert_eq!(
        (&stored["value"], &stored["weight"]),
        (&Value::Null, &Value::Null)
    );

    let path = format!("{TRUEFOUNDRY}/{id}");
    let mut changed = body.clone();
    changed["rating"] = json!(2);
    assert_eq!(api.put(&path, changed).await.ok().id(), id);
    assert_eq!(record(&api, &id).await["rating"], 2);

    let delete = json!({"target": by_id(), "metadata": {"key": "value"}}).to_string();
    assert_eq!(api.call(Method::DELETE, &path, &[], &delete).await.ok().id(), id);
    let again = api
        .call(Method::DELETE, &path, &[], &delete)
        .await
        .refused(404, "no such feedback");
    assert_eq!(
        again.text,
        r#"{"statusCode":404,"message":"no such feedback","code":"NOT_FOUND","details":[]}"#
    );
}

#[tokio::test]
async fn both_forms_of_a_span_are_one_target() {
    let api = Api::new().await;
    let id = api
        .post(TRUEFOUNDRY, json!({"target": by_id(), "rating": 4}))
        .await
        .ok()
        .id();
    let path = format!("{TRUEFOUNDRY}/{id}");
    api.put(&path, json!({"target": by_names(), "rating": 5}))
        .await
        .ok();
    let mut both = by_names();
    both["feedbackTargetId"] = json!(DOCUMENTED);
    api.put(&path, json!({"target": both, "comment": "c"})).await.ok();
    assert_eq!(record(&api, &id).await["rating"], 5);
    let body = json!({"target": by_names()}).to_string();
    api.call(Method::DELETE, &path, &[], &body).await.ok();

    let named = api
        .post(TRUEFOUNDRY, json!({"target": by_names(), "rating": 1}))
        .await
        .ok()
        .id();
    assert_eq!(
        record(&api, &named).await["tracingProjectFQN"],
        "tenant:tracing-project:default"
    );
    api.put(
        &format!("{TRUEFOUNDRY}/{named}"),
        json!({"target": by_id(), "rating": 2}),
    )
    .await
    .ok();
}

#[tokio::test]
async fn a_target_id_comes_in_every_kind_of_base64() {
    let api = Api::new().await;
    let json = r#"{"dataRoutingDestination":"eu","spanId":"??>>","traceId":"~~~"}"#;
    for text in [
        STANDARD.encode(json),
        STANDARD.encode(json).trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(json),
    ] {
        let target = json!({"feedbackTargetId": text});
        let id = api
            .post(TRUEFOUNDRY, json!({"target": target, "rating": 1}))
            .await
            .ok()
            .id();
        let stored = record(&api, &id).await;
        assert_eq!(
            (&stored["traceId"], &stored["spanId"]),
            (&json!("~~~"), &json!("??>>"))
        );
    }
}

#[tokio::test]
async fn every_faulty_field_is_in_the_details() {
    let api = Api::new().await;
    let mut disagreeing = by_id();
    disagreeing["traceId"] = json!("another");
    disagreeing["spanId"] = json!("another");
    for (body, fields) in [
        (json!({}), vec!["target", "rating"]),
        (
            json!({"target": 7, "rating": 6, "comment": 5, "metadata": "x"}),
            vec!["target", "rating", "comment", "metadata"],
        ),
        (json!({"target": {}, "rating": 0}), vec!["target", "rating"]),
        (
            json!({"target": {"traceId": "t"}, "rating": "4.5"}),
            vec!["target.spanId", "rating"],
        ),
        (
            json!({"target": {"spanId": "s", "traceId": ""}, "rating": 1}),
            vec!["target.traceId"],
        ),
        (
            json!({"target": {"traceId": "t", "spanId": "x".repeat(129)}, "rating": 1}),
            vec!["target.spanId"],
        ),
        (
            json!({"target": {"feedbackTargetId": "%%%"}, "rating": 1}),
            vec!["target.feedbackTargetId"],
        ),
        // The project is read in either spelling. If both are present, both are validated.
        (
            json!({"target": {"traceId": "t", "spanId": "s", "tracingProjectFqn": 7}, "rating": 1}),
            vec!["target.tracingProjectFqn"],
        ),
        (
            json!({
                "target": {"traceId": "t", "spanId": "s", "tracingProjectFQN": "p", "tracingProjectFqn": ""},
                "rating": 1,
            }),
            vec!["target.tracingProjectFqn"],
        ),
        (
            json!({"target": disagreeing, "rating": 1}),
            vec!["target.feedbackTargetId"],
        ),
        (
            json!({"target": by_id(), "rating": 1, "metadata": {"_user": []}}),
            vec!["metadata._user"],
        ),
        (json!([]), vec!["body"]),
    ] {
        let answer = api.post(TRUEFOUNDRY, body.clone()).await;
        let json = answer.json();
        assert_eq!(
            (answer.status, &json["statusCode"], &json["code"]),
            (400, &json!(400), &json!("BAD_REQUEST"))
        );
        let details = json["details"].as_array().unwrap();
        let named: Vec<&str> = details
            .iter()
            .map(|detail| detail["field"].as_str().unwrap())
            .collect();
        assert_eq!(named, fields, "{body}");
        for detail in details {
            let message = detail["message"].as_str().unwrap();
            assert!(
                message.starts_with(detail["field"].as_str().unwrap()),
                "{message}"
            );
        }
    }
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test]
async fn ratings_accept_integers_in_any_json_spelling() {
    let api = Api::new().await;
    for rating in [json!(5), json!(5.0), json!("5")] {
        let id = api
            .post(TRUEFOUNDRY, json!({"target": by_id(), "rating": rating}))
            .await
            .ok()
            .id();
        assert_eq!(record(&api, &id).await["rating"], 5);
    }
}

#[tokio::test]
async fn an_update_changes_only_the_named_fields() {
    let api = Api::new().await;
    let id = api
        .post(
            TRUEFOUNDRY,
            json!({"target": by_id(), "rating": 4, "comment": "c", "metadata": {"_user": "u"}}),
        )
        .await
        .ok()
        .id();
    let path = format!("{TRUEFOUNDRY}/{id}");
    for (body, rating, comment, metadata) in [
        (json!({"rating": 3}), 3, json!("c"), json!({"_user": "u"})),
        (json!({"comment": "d"}), 3, json!("d"), json!({"_user": "u"})),
        (json!({"comment": null}), 3, Value::Null, json!({"_user": "u"})),
        (
            json!({"metadata": {"_user": "w"}, "comment": ""}),
            3,
            json!(""),
            json!({"_user": "w"}),
        ),
        (json!({"metadata": null}), 3, json!(""), Value::Null),
    ] {
        api.put(&path, body.clone()).await.ok();
        let stored = record(&api, &id).await;
        assert_eq!(
            (&stored["rating"], &stored["comment"], &stored["metadata"]),
            (&json!(rating), &comment, &metadata),
            "{body}"
        );
    }
    api.put(&path, json!({"target": by_id()})).await.refused(
        400,
        "expected at least one of rating, comment, reasons and metadata",
    );
    api.put(&path, json!({"rating": null}))
        .await
        .refused(400, "rating: expected an integer from 1 to 5, got null");
}

#[tokio::test]
async fn a_wrong_target_is_not_found_and_changes_nothing() {
    let api = Api::new().await;
    let id = api
        .post(TRUEFOUNDRY, json!({"target": by_id(), "rating": 4}))
        .await
        .ok()
        .id();
    let path = format!("{TRUEFOUNDRY}/{id}");
    let elsewhere = json!({"traceId": "019ab2a96d50707fa3090c1b7201d5bd", "spanId": "another"});
    api.put(&path, json!({"target": elsewhere, "rating": 1}))
        .await
        .refused(404, "no such feedback");
    let delete = json!({"target": elsewhere}).to_string();
    api.call(Method::DELETE, &path, &[], &delete)
        .await
        .refused(404, "no such feedback");
    let stored = record(&api, &id).await;
    assert_eq!((&stored["rating"], &stored["version"]), (&json!(4), &json!(1)));
}

#[tokio::test]
async fn a_delete_may_come_without_its_body() {
    let api = Api::new().await;
    for body in ["", " ", "{}", r#"{"target":null}"#] {
        let id = api
            .post(TRUEFOUNDRY, json!({"target": by_id(), "rating": 4}))
            .await
            .ok()
            .id();
        api.call(Method::DELETE, &format!("{TRUEFOUNDRY}/{id}"), &[], body)
            .await
            .ok();
    }
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test]
async fn a_comment_over_its_limit_is_413() {
    let api = Api::new().await;
    let of = |size: usize| json!({"target": by_id(), "rating": 1, "comment": "x".repeat(size)});
    api.post(TRUEFOUNDRY, of(16_384)).await.ok();
    let answer = api
        .post(TRUEFOUNDRY, of(16_385))
        .await
        .refused(413, "comment: expected at most 16384 bytes, got 16385");
    assert_eq!(answer.json()["code"], "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn either_dialect_reads_changes_and_deletes_records_of_the_other() {
    let api = Api::new().await;
    let id = api
        .post(
            TRUEFOUNDRY,
            json!({"target": by_id(), "rating": 4, "comment": "c", "metadata": {"n": 1}}),
        )
        .await
        .ok()
        .id();
    // A value replaces the rating, with the default weight. Comment and metadata stay.
    api.put(&format!("/v1/feedback/{id}"), json!({"value": -3}))
        .await
        .ok();
    let stored = record(&api, &id).await;
    assert_eq!(
        (
            &stored["scale"],
            &stored["value"],
            &stored["weight"],
            &stored["rating"]
        ),
        (&json!("value"), &json!(-3), &json!(1.0), &Value::Null)
    );
    assert_eq!(
        (&stored["comment"], &stored["metadata"]),
        (&json!("c"), &json!({"n": 1}))
    );
    // And back: nothing remains of the value.
    api.put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": 1}))
        .await
        .ok();
    let stored = api.get(&format!("/v1/feedback/{id}")).await.ok().json();
    assert_eq!(
        (
            &stored["scale"],
            &stored["value"],
            &stored["weight"],
            &stored["rating"]
        ),
        (&json!("rating"), &Value::Null, &Value::Null, &json!(1))
    );
    assert_eq!(stored["feedback_target_id"], DOCUMENTED);
    api.delete(&format!("/v1/feedback/{id}")).await.ok();

    let id = api.vote(1, Value::Null).await;
    api.put(
        &format!("{TRUEFOUNDRY}/{id}"),
        json!({"rating": 5, "comment": "c"}),
    )
    .await
    .ok();
    let stored = record(&api, &id).await;
    assert_eq!((&stored["rating"], &stored["spanId"]), (&json!(5), &Value::Null));
    assert_eq!(stored.get("feedbackTargetId"), None, "only a span has one");
    api.delete(&format!("{TRUEFOUNDRY}/{id}")).await.ok();
}
