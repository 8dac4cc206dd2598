//! The functions' real processes, as Lambda runs them: setup, environment, and HTTP to DynamoDB.

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

/// Invokes a function like API Gateway does, and returns status, headers and body.
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
    // A rejected request gets a response, and the process continues.
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

/// A key that was looked up during init is accepted for a minute, as after a request.
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
        read.next_request().await.unwrap();
        api.registry.revoke(&id, Timestamp::now()).await.unwrap();
        let answer = call(&mut read, Method::GET, "/v1/feedback?trace_id=t", &api.key, "").await;
        assert_eq!(answer.0, status);
        read.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_table_variable_is_named() {
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

/// Invokes a function with an event, and returns the status and message of its response.
async fn other(bootstrap: &mut Bootstrap, event: Value) -> (u64, String) {
    let invoked = bootstrap.invoke(event).await.unwrap();
    let answer = invoked.outcome.expect("an answer, not an error");
    assert_eq!(answer["headers"]["content-type"], "application/json");
    assert_eq!(answer["isBase64Encoded"], false);
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let message = body["message"].as_str().unwrap().to_owned();
    (answer["statusCode"].as_u64().unwrap(), message)
}

/// The events follow AWS's documentation: "Working with AWS Lambda proxy integrations for HTTP APIs"
/// (payload format 1.0), "Use Lambda functions as targets of an Application Load Balancer", "Using Lambda
/// with Amazon SQS", and a scheduled event from "Events from Amazon EventBridge".
#[tokio::test]
async fn an_event_that_is_not_a_request_does_not_stop_the_process() {
    let api = Api::new().await;
    let log = [("AWS_LAMBDA_LOG_FORMAT", "JSON")];
    let mut read = lambda::start_with("read", &api.database, Stdio::piped(), &log).await;
    let schedule = json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "123456789012", "time": "2026-10-08T16:53:06Z",
        "region": "us-east-1", "resources": [], "detail": {},
    });
    for ping in [
        json!({}),
        json!({"source": "aws.events"}),
        json!({"warmup": true}),
        schedule,
    ] {
        assert_eq!(
            other(&mut read, ping).await,
            (200, "no request in the event".to_owned())
        );
    }
    let rest = json!({
        "version": "1.0", "resource": "/v1/feedback", "path": "/v1/feedback", "httpMethod": "GET",
        "headers": {"x-portkey-api-key": "secret-of-a-caller"}, "multiValueHeaders": {},
        "requestContext": {"httpMethod": "GET", "requestId": "id=", "stage": "$default"}, "body": null,
    });
    let load_balancer = json!({
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:::targetgroup/t/1"}},
        "httpMethod": "GET", "path": "/v1/feedback", "headers": {}, "body": "secret-of-a-caller",
    });
    let queue = json!({"Records": [{"eventSource": "aws:sqs", "body": "secret-of-a-caller"}]});
    for (event, got) in [
        (rest, "payload format 1.0"),
        (load_balancer, "Application Load Balancer"),
        (queue, "Records"),
        (json!("secret-of-a-caller"), "JSON that is not an object"),
    ] {
        let (status, message) = other(&mut read, event).await;
        assert_eq!(status, 500);
        assert!(
            message.contains("expected an HTTP API's request (payload format 2.0)"),
            "{message}"
        );
        assert!(message.contains(got), "{message}");
    }
    let large = |path: &str, headers: Value| {
        let mut event = event_json(&Method::GET, path, "", &[], "", false);
        event["headers"] = headers;
        event
    };
    let path = format!("/v1/feedback/{}", "a".repeat(70_000));
    assert_eq!(other(&mut read, large(&path, json!({}))).await.0, 414);
    let many = (0..30_000).map(|number| (format!("x-{number}"), json!("v")));
    let many = Value::Object(many.collect());
    assert_eq!(other(&mut read, large("/v1/feedback", many)).await.0, 431);
    // The next request works as if nothing had happened.
    let list = "/v1/feedback?trace_id=t";
    assert_eq!(call(&mut read, Method::GET, list, &api.key, "").await.0, 200);

    let said = read.stop().await.unwrap();
    assert!(!said.contains("secret-of-a-caller"), "{said}");
    let levels: Vec<String> = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["message"] != "answered")
        .map(|line| line["level"].as_str().unwrap().to_owned())
        .collect();
    let expected = [vec!["INFO"; 4], vec!["ERROR"; 4], vec!["WARN"; 2]].concat();
    assert_eq!(levels, expected, "{said}");
}
