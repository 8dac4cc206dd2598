//! Headers: `Idempotency-Key`, `If-Match`, `ETag`, `x-request-id`, and those that every response has.

use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, PORTKEY, TRUEFOUNDRY};

async fn keyed(api: &Api, method: Method, path: &str, key: &str, body: Value) -> Answer {
    api.call(method, path, &[("idempotency-key", key)], &body.to_string())
        .await
}

#[tokio::test]
async fn a_repeat_gets_the_first_response_and_writes_nothing() {
    let api = Api::new().await;
    let one = json!({"trace_id": "t", "value": 1});
    let bulk = json!([{"trace_id": "t", "value": 1}, {"trace_id": "t", "value": 2}]);
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 3});
    for (path, key, body) in [
        (PORTKEY, "one", one),
        (PORTKEY, "bulk", bulk),
        (TRUEFOUNDRY, "rated", rated),
    ] {
        let first = keyed(&api, Method::POST, path, key, body.clone()).await.ok();
        let items = api.database.items("feedback");
        let repeat = keyed(&api, Method::POST, path, key, body).await.ok();
        assert_eq!(repeat, first);
        assert_eq!(api.database.items("feedback"), items);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_neither_raises_the_version_again_nor_restores_a_record() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    for (path, body) in [
        (format!("{PORTKEY}/{id}"), json!({"value": 2})),
        (format!("{TRUEFOUNDRY}/{id}"), json!({"rating": 2})),
    ] {
        let first = keyed(&api, Method::PUT, &path, &path, body.clone()).await.ok();
        // Another write in between is not overwritten by the repeat.
        api.put(&format!("{PORTKEY}/{id}"), json!({"value": 9}))
            .await
            .ok();
        let repeat = keyed(&api, Method::PUT, &path, &path, body).await.ok();
        assert_eq!(repeat, first);
        assert_eq!(api.get(&format!("{PORTKEY}/{id}")).await.ok().json()["value"], 9);
    }
    let path = format!("{PORTKEY}/{id}");
    let first = keyed(&api, Method::DELETE, &path, "delete", Value::Null)
        .await
        .ok();
    assert_eq!(
        keyed(&api, Method::DELETE, &path, "delete", Value::Null)
            .await
            .ok(),
        first
    );
    // A repeat of a successful update still succeeds, and does not restore the record.
    let body = json!({"value": 2});
    keyed(&api, Method::PUT, &path, &path, body).await.ok();
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test]
async fn another_request_under_the_same_key_is_409() {
    let api = Api::new().await;
    let id = keyed(
        &api,
        Method::POST,
        PORTKEY,
        "k",
        json!({"trace_id": "t", "value": 1}),
    )
    .await
    .ok()
    .id();
    let items = api.database.items("feedback");
    let answer = keyed(
        &api,
        Method::POST,
        PORTKEY,
        "k",
        json!({"trace_id": "t", "value": 2}),
    )
    .await;
    let answer = answer.refused(409, "this Idempotency-Key was used for a different request");
    assert_eq!(answer.json()["error"]["code"], "AB07");
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 3});
    let answer = keyed(&api, Method::POST, TRUEFOUNDRY, "k", rated)
        .await
        .refused(409, "different request");
    assert_eq!(answer.json()["code"], "CONFLICT");
    let path = format!("{PORTKEY}/{id}");
    keyed(&api, Method::PUT, &path, "k", json!({"value": 1}))
        .await
        .refused(409, "different request");
    keyed(&api, Method::DELETE, &path, "k", Value::Null)
        .await
        .refused(409, "different request");
    assert_eq!(api.database.items("feedback"), items);
}

#[tokio::test]
async fn a_failed_request_does_not_use_up_its_key() {
    let api = Api::new().await;
    let missing = "/v1/feedback/019ab2a9-8fc6-7804-83ea-e496e2dd611d";
    keyed(&api, Method::PUT, missing, "k", json!({"value": 1}))
        .await
        .refused(404, "no such feedback");
    keyed(&api, Method::POST, PORTKEY, "k", json!({"value": 1}))
        .await
        .refused(400, "trace_id");
    keyed(
        &api,
        Method::POST,
        PORTKEY,
        "k",
        json!({"trace_id": "t", "value": 1}),
    )
    .await
    .ok();
}

#[tokio::test]
async fn an_invalid_key_is_reported_before_an_impossible_version() {
    let api = Api::new().await;
    let created = api.post(PORTKEY, json!({"trace_id": "t", "value": 1})).await;
    let path = format!("{PORTKEY}/{}", created.ok().id());
    let headers = [("idempotency-key", ""), ("if-match", "W/\"1\"")];
    for (method, body) in [(Method::PUT, r#"{"value":2}"#), (Method::DELETE, "")] {
        api.call(method, &path, &headers, body)
            .await
            .refused(400, "Idempotency-Key: expected 1 to 255 bytes, got 0");
    }
}

#[tokio::test]
async fn a_key_has_1_to_255_bytes_and_allows_bulks_of_99() {
    let api = Api::new().await;
    let one = json!({"trace_id": "t", "value": 1});
    keyed(&api, Method::POST, PORTKEY, "", one.clone())
        .await
        .refused(400, "Idempotency-Key: expected 1 to 255 bytes, got 0");
    keyed(&api, Method::POST, PORTKEY, &"k".repeat(256), one.clone())
        .await
        .refused(400, "got 256");
    keyed(&api, Method::POST, PORTKEY, &"k".repeat(255), one.clone())
        .await
        .ok();
    let of = |count| Value::Array(vec![one.clone(); count]);
    keyed(&api, Method::POST, PORTKEY, "bulk", of(100))
        .await
        .refused(400, "at most 99 feedback objects");
    let ids = keyed(&api, Method::POST, PORTKEY, "bulk", of(99))
        .await
        .ok()
        .ids();
    assert_eq!(
        keyed(&api, Method::POST, PORTKEY, "bulk", of(99))
            .await
            .ok()
            .ids(),
        ids
    );
}

#[tokio::test]
async fn a_key_expires_after_a_day() {
    let api = Api::new().await;
    let body = json!({"trace_id": "t", "value": 1});
    let first = keyed(&api, Method::POST, PORTKEY, "k", body.clone())
        .await
        .ok()
        .id();
    let marker = api.database.items("idempotency").remove(0);
    let end: u64 = marker["expires_at"]["N"].as_str().unwrap().parse().unwrap();
    assert_eq!(end, api.time.now().seconds() + 86_400);
    // A day later, before DynamoDB has deleted it.
    api.database.direct(
        "UpdateItem",
        json!({
            "TableName": "idempotency",
            "Key": {"pk": marker["pk"]},
            "UpdateExpression": "SET expires_at = :past",
            "ExpressionAttributeValues": {":past": {"N": "1000"}},
        }),
    );
    let second = keyed(&api, Method::POST, PORTKEY, "k", body).await.ok().id();
    assert_ne!(first, second);
}

#[tokio::test(start_paused = true)]
async fn if_match_requires_the_version() {
    let api = Api::new().await;
    let created = api.post(PORTKEY, json!({"trace_id": "t", "value": 1})).await.ok();
    assert_eq!(created.header("etag"), Some("\"1\""));
    let id = created.id();
    for (path, body, code) in [
        (format!("{PORTKEY}/{id}"), json!({"value": 2}), "AB01"),
        (
            format!("{TRUEFOUNDRY}/{id}"),
            json!({"rating": 2}),
            "PRECONDITION_FAILED",
        ),
    ] {
        let version = api.get(&path).await.ok().header("etag").unwrap().to_owned();
        let put = async |tag: &str| {
            api.call(Method::PUT, &path, &[("if-match", tag)], &body.to_string())
                .await
        };
        let answer = put("\"77\"").await.refused(412, "not at the version in If-Match");
        let json = answer.json();
        assert_eq!(
            json["error"]["code"].as_str().or(json["code"].as_str()),
            Some(code)
        );
        let next = put(&version).await.ok().header("etag").unwrap().to_owned();
        assert_ne!(next, version);
        put(&version).await.refused(412, "not at the version");
        put("*").await.ok();
        for other in ["\"no version\"", "W/\"2\""] {
            put(other).await.refused(412, "not at the version");
        }
        put("5")
            .await
            .refused(400, "If-Match: expected one version in double quotes");
        put("\"1\", \"2\"")
            .await
            .refused(400, "If-Match: expected one version");
        // With a key, a repeat after success does not fail the condition.
        let current = api.get(&path).await.ok().header("etag").unwrap().to_owned();
        let headers = [("if-match", current.as_str()), ("idempotency-key", path.as_str())];
        let first = api
            .call(Method::PUT, &path, &headers, &body.to_string())
            .await
            .ok();
        assert_eq!(
            api.call(Method::PUT, &path, &headers, &body.to_string())
                .await
                .ok(),
            first
        );
    }
    let path = format!("{PORTKEY}/{id}");
    let version = api.get(&path).await.ok().header("etag").unwrap().to_owned();
    let delete = async |tag: &str| api.call(Method::DELETE, &path, &[("if-match", tag)], "").await;
    delete("\"1\"").await.refused(412, "not at the version");
    delete(&version).await.ok();
    delete(&version).await.refused(404, "no such feedback");
}

#[tokio::test(start_paused = true)]
async fn if_match_and_a_key_together_on_a_delete() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let path = format!("{PORTKEY}/{id}");
    let delete = async |tag: &str, key: &str| {
        api.call(
            Method::DELETE,
            &path,
            &[("if-match", tag), ("idempotency-key", key)],
            "",
        )
        .await
    };
    delete("\"9\"", "a").await.refused(412, "not at the version");
    delete("\"1\"", "b").await.ok();
    delete("\"1\"", "b").await.ok();
    delete("\"1\"", "c").await.refused(404, "no such feedback");
}

#[tokio::test]
async fn every_response_has_a_request_id_and_no_store() {
    let api = Api::new().await;
    for answer in [
        api.post(PORTKEY, json!({"trace_id": "t", "value": 1})).await,
        api.post(PORTKEY, json!({})).await,
        api.get("/v1/feedback/019ab2a9-8fc6-7804-83ea-e496e2dd611d").await,
        api.as_key("nobody").get(PORTKEY).await,
    ] {
        assert_eq!(
            answer.header("x-request-id"),
            Some("JKJaXmPLvHcESHA="),
            "API Gateway's own"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}
