//! The functions' real processes, as Lambda runs them: wiring, environment, HTTP to DynamoDB.

use std::process::Stdio;

use bench::lambda::Bootstrap;
use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::key::KeyId;
use shared::config::EXPECTED_KEY_VARIABLE;
use shared::http::{Function, Route};
use shared::timestamp::Timestamp;

use crate::harness::{Answer, Api, event_json};
use crate::lambda;
use crate::openapi;

/// Invokes a function as API Gateway does, and returns status, headers and body.
async fn call(
    bootstrap: &mut Bootstrap,
    method: Method,
    path: &str,
    key: &str,
    body: &str,
) -> (u64, Value, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let event = event_json(&method, path, query, &[("x-portkey-api-key", key)], body, false);
    let answer = bootstrap
        .invoke(event)
        .await
        .unwrap()
        .outcome
        .expect("an answer, not an error");
    assert_eq!(answer["isBase64Encoded"], false);
    let headers = answer["headers"].as_object().unwrap();
    let checked = Answer {
        status: u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        text: answer["body"].as_str().unwrap().to_owned(),
    };
    openapi::check(Route::find(&method, path).unwrap().0, &checked);
    let json = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    (
        answer["statusCode"].as_u64().unwrap(),
        answer["headers"].clone(),
        json,
    )
}

#[tokio::test]
async fn create_read_update_and_delete_through_four_processes() {
    let api = Api::new().await;
    let mut create = lambda::start(Function::Create, &api.database).await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "ü\u{0}"}}).to_string();
    let (status, headers, json) = call(&mut create, Method::POST, "/v1/feedback", &api.key, &body).await;
    assert_eq!((status, &json["status"]), (200, &json!("success")));
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["etag"], "\"1\"");
    assert_eq!(headers["x-request-id"], "JKJaXmPLvHcESHA=");
    let id = json["feedback_ids"][0].as_str().unwrap().to_owned();
    // What is refused is answered too, and the process goes on.
    let (status, _, json) = call(&mut create, Method::POST, "/v1/feedback", &api.key, "{").await;
    assert_eq!((status, &json["error"]["code"]), (400, &json!("AB01")));
    let (status, ..) = call(&mut create, Method::POST, "/v1/feedback", "nobody", &body).await;
    assert_eq!(status, 401);
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 3}).to_string();
    let path = "/api/svc/v1/gateway-feedback";
    let (status, _, rating) = call(&mut create, Method::POST, path, &api.key, &rated).await;
    assert_eq!(status, 200);
    create.stop().await.unwrap();

    let path = format!("/v1/feedback/{id}");
    let mut update = lambda::start(Function::Update, &api.database).await;
    let (status, headers, _) = call(&mut update, Method::PUT, &path, &api.key, r#"{"value":2}"#).await;
    assert_eq!((status, &headers["etag"]), (200, &json!("\"2\"")));
    update.stop().await.unwrap();

    let mut read = lambda::start(Function::Read, &api.database).await;
    let (status, _, record) = call(&mut read, Method::GET, &path, &api.key, "").await;
    assert_eq!(
        (status, &record["value"], &record["metadata"]["_user"]),
        (200, &json!(2), &json!("ü\u{0}"))
    );
    let (_, _, list) = call(&mut read, Method::GET, "/v1/feedback?trace_id=t", &api.key, "").await;
    assert_eq!(list["summary"]["count"], 2);
    read.stop().await.unwrap();

    let mut delete = lambda::start(Function::Delete, &api.database).await;
    let (status, ..) = call(&mut delete, Method::DELETE, &path, &api.key, "").await;
    assert_eq!(status, 200);
    let rating = format!(
        "/api/svc/v1/gateway-feedback/{}",
        rating["data"]["id"].as_str().unwrap()
    );
    let (status, ..) = call(&mut delete, Method::DELETE, &rating, &api.key, "").await;
    assert_eq!(status, 200);
    delete.stop().await.unwrap();
    assert!(api.database.items("feedback").is_empty());
}

/// Whose key was looked up while the function started is let in for a minute, as after a request.
#[tokio::test]
async fn the_expected_key_is_looked_up_while_the_function_starts() {
    for (is_expected, status) in [(true, 200), (false, 401)] {
        let api = Api::new().await;
        let id = KeyId::parse(&api.key[..20]).unwrap();
        let expected = if is_expected {
            id.to_string()
        } else {
            String::new()
        };
        let variables = [(EXPECTED_KEY_VARIABLE, expected.as_str())];
        let mut read = lambda::start_with("read", &api.database, Stdio::null(), &variables).await;
        read.asks().await.unwrap();
        api.registry.revoke(&id, Timestamp::now()).await.unwrap();
        let answer = call(&mut read, Method::GET, "/v1/feedback?trace_id=t", &api.key, "").await;
        assert_eq!(answer.0, status);
        read.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_function_that_is_not_told_its_table_says_which() {
    let binary = tokio::task::spawn_blocking(|| lambda::binary("create"))
        .await
        .unwrap();
    let output = tokio::process::Command::new(binary)
        .env_clear()
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("FEEDBACK_TABLE"), "{said}");
}
