//! Hostile input: invalid requests get a 4xx of the route's dialect that says what to change, and write
//! nothing. Unusual but valid input is stored and returned unchanged.
//!
//! [`bodies`] and [`requests`] list what is rejected and what is accepted; [`random`] sends random input.

mod bodies;
mod random;
mod requests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, PORTKEY, TRUEFOUNDRY, event_json};

/// A deployment with one record, and every route that writes.
struct Site {
    api: Api,
    id: String,
}

impl Site {
    async fn new() -> Self {
        let api = Api::new().await;
        let target = json!({"traceId": "t", "spanId": "s"});
        let answer = api
            .post(TRUEFOUNDRY, json!({"target": target, "rating": 3}))
            .await;
        let id = answer.ok().id();
        Self { api, id }
    }

    fn portkey(&self) -> String {
        format!("{PORTKEY}/{}", self.id)
    }

    fn truefoundry(&self) -> String {
        format!("{TRUEFOUNDRY}/{}", self.id)
    }

    /// The routes that read a body.
    fn writes(&self) -> [(Method, String); 5] {
        [
            (Method::POST, PORTKEY.to_owned()),
            (Method::PUT, self.portkey()),
            (Method::POST, TRUEFOUNDRY.to_owned()),
            (Method::PUT, self.truefoundry()),
            (Method::DELETE, self.truefoundry()),
        ]
    }

    /// Sends bytes like API Gateway: as text if they are UTF-8, otherwise in base64.
    async fn send(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        match std::str::from_utf8(body) {
            Ok(text) => self.api.call(method.clone(), path, &[], text).await,
            Err(_) => self.send_base64(method, path, &STANDARD.encode(body)).await,
        }
    }

    async fn send_base64(&self, method: &Method, path: &str, body: &str) -> Answer {
        let headers = [("x-portkey-api-key", self.api.key.as_str())];
        let event = event_json(method, path, "", &headers, body, true);
        self.api.event(&event).await
    }

    fn stored(&self) -> [Vec<Value>; 2] {
        ["feedback", "idempotency"].map(|table| self.api.database.items(table))
    }

    /// Sends a request that must be rejected with this message and must not write.
    async fn refuses(&self, method: &Method, path: &str, body: &[u8], status: u16, says: &str) {
        let before = self.stored();
        let answer = self.send(method, path, body).await;
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert_eq!(answer.status, status, "{method} {path} {start}: {}", answer.text);
        assert_refusal(&answer, path);
        answer.refused(status, says);
        assert_eq!(self.stored(), before, "{method} {path} {start}");
    }
}

/// Checks that a response is a 4xx in the dialect of the path.
#[track_caller]
fn assert_refusal(answer: &Answer, path: &str) {
    assert!((400..500).contains(&answer.status), "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    assert!(!text("/message").is_empty(), "{json}");
    if path.starts_with("/v1/") {
        assert_eq!(
            (&json["status"], &json["success"]),
            (&json!("failure"), &json!(false))
        );
        assert!(text("/error/code").starts_with("AB"), "{json}");
        assert_eq!(text("/error/code"), text("/data/errorCode"));
        assert_eq!(text("/error/message"), text("/message"));
        assert_eq!(text("/data/message"), text("/message"));
    } else {
        assert_eq!(json["statusCode"], answer.status);
        assert!(!text("/code").is_empty(), "{json}");
        assert!(json["details"].is_array(), "{json}");
    }
    // Twice the size of the largest possible response, with a fault in every element of a bulk.
    assert!(answer.text.len() < 256 * 1024, "{} bytes", answer.text.len());
}

/// Every byte percent-encoded.
fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}
