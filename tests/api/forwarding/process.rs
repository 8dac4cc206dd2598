//! The function's own process, as it is deployed: over HTTP to Langfuse, SQS and DynamoDB.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method as HttpMethod, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use shared::id::FeedbackId;
use tokio::net::TcpListener;

use crate::harness::{Api, PORTKEY};
use crate::lambda::start_with;

/// What a request was: method, path, the interesting header and the body.
type Requests = Arc<Mutex<Vec<(String, String, String, Value)>>>;

/// Takes whatever Langfuse and SQS take, except that a score of 3 is refused.
async fn answer(
    State(requests): State<Requests>,
    method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let said = header("x-amz-target")
        .or_else(|| header("authorization"))
        .unwrap_or_default();
    let seen = (method.to_string(), uri.path().to_owned(), said, body.clone());
    requests.lock().unwrap().push(seen);
    match (method.as_str(), uri.path()) {
        ("POST", "/langfuse/api/public/ingestion") => {
            let event = &body["batch"][0];
            let (successes, errors) = match event["body"]["value"].as_i64() {
                Some(3) => (
                    json!([]),
                    json!([{"id": event["id"], "status": 400, "message": "Invalid request data"}]),
                ),
                _ => (json!([{"id": event["id"], "status": 201}]), json!([])),
            };
            let body = json!({"successes": successes, "errors": errors}).to_string();
            (StatusCode::MULTI_STATUS, body).into_response()
        }
        ("DELETE", _) => (StatusCode::ACCEPTED, "{}").into_response(),
        _ => (
            StatusCode::OK,
            r#"{"MessageId":"5fea7756-0ea4-451a-a703-a558b933e274"}"#,
        )
            .into_response(),
    }
}

#[tokio::test]
async fn the_process_sends_what_records_are_and_sets_aside_what_is_refused() {
    let api = Api::new().await;
    let requests = Requests::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&requests));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let variables = [
        ("LANGFUSE_URL", format!("{endpoint}/langfuse/")),
        ("LANGFUSE_PUBLIC_KEY", "pk-lf-1".to_owned()),
        ("LANGFUSE_SECRET_KEY", "sk-lf-secret".to_owned()),
        ("LANGFUSE_QUEUE", format!("{endpoint}/123456789012/changes")),
        (
            "LANGFUSE_DEAD_LETTERS",
            format!("{endpoint}/123456789012/dead-letters"),
        ),
        ("AWS_ENDPOINT_URL_SQS", endpoint.clone()),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut function = start_with("langfuse", &api.database, Stdio::piped(), &variables).await;

    let message = |number: u32, id: &str, more: Value| {
        let mut detail = json!({
            "workspace": "test", "id": id, "version": 1, "target": {"trace_id": "t"}, "stream_event_id": "e",
        });
        detail
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({
            "messageId": format!("message-{number}"), "receiptHandle": "receipt", "body": detail.to_string(),
            "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs",
        })
    };
    let hyphenated = |id: &str| FeedbackId::parse(id).unwrap().hyphenated();
    let kept = hyphenated(&api.vote(1, json!({"text": "canary"})).await);
    let refused = hyphenated(&api.vote(3, json!({})).await);
    let gone = hyphenated(&api.vote(5, json!({})).await);
    api.delete(&format!("{PORTKEY}/{gone}")).await.ok();
    let after = json!({"after": {"scale": "value"}});
    let batch = json!({"Records": [
        message(1, &kept, after.clone()),
        message(2, &refused, after),
        message(3, &gone, json!({})),
    ]});
    let outcome = function.invoke(batch).await.unwrap().outcome;
    assert_eq!(outcome, Ok(json!({"batchItemFailures": []})));

    let seen = std::mem::take(&mut *requests.lock().unwrap());
    let find = |what: &str| -> Vec<_> {
        seen.iter()
            .filter(|(.., body)| body.to_string().contains(what))
            .collect()
    };
    let (method, path, authorization, body) = find(&kept)[0];
    assert_eq!(
        (method.as_str(), path.as_str()),
        ("POST", "/langfuse/api/public/ingestion")
    );
    assert_eq!(authorization, "Basic cGstbGYtMTpzay1sZi1zZWNyZXQ=");
    assert_eq!(body["batch"][0]["body"]["comment"], "canary");
    assert_eq!(find(&kept).len(), 1);
    // The refused one goes to the queue of what failed, and the deletes are repeated after a minute.
    let (_, _, target, body) = find(&refused)[1];
    assert_eq!(target, "AmazonSQS.SendMessage");
    assert!(body["QueueUrl"].as_str().unwrap().ends_with("/dead-letters"));
    let (_, _, target, body) = find(&gone)[0];
    assert_eq!(
        (target.as_str(), &body["DelaySeconds"]),
        ("AmazonSQS.SendMessage", &json!(60))
    );
    let mut deletes: Vec<&str> = seen
        .iter()
        .filter(|(method, ..)| method == "DELETE")
        .map(|(_, path, ..)| path.rsplit('/').next().unwrap())
        .collect();
    deletes.sort_unstable();
    assert_eq!(deletes, [format!("{gone}-rating"), format!("{gone}-value")]);

    // It logs one line for the batch and one for what was refused.
    let said = function.stop().await.unwrap();
    assert!(
        !said.contains("canary") && !said.contains("sk-lf-secret") && !said.contains("cGstbGYt"),
        "{said}"
    );
    let lines: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let line = |message: &str| {
        lines
            .iter()
            .find(|line| line["message"] == message)
            .unwrap_or_else(|| panic!("{said}"))
    };
    assert_eq!(
        line("a change is refused")["cause"],
        "Langfuse answered 400 to a score"
    );
    assert_eq!(
        (&line("forwarded")["changes"], &line("forwarded")["failed"]),
        (&json!(3), &json!(0))
    );
}
