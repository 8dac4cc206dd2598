//! Calls of Langfuse's API.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::date_time::{DateTime, Format};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use lambda_http::http::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use shared::feedback::Feedback;
use shared::id::FeedbackId;
use shared::problem::Problem;
use shared::random;
use shared::timestamp::Timestamp;

use crate::failure::Failure;
use crate::score::{self, Scale};
use crate::settings::{Address, Project};

/// The maximum time for one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of a response, in bytes. Langfuse's have some hundred.
const MAX_RESPONSE: usize = 64 * 1024;

/// The API of a Langfuse project.
#[derive(Clone)]
pub struct Client {
    http: SharedHttpConnector,
    address: Address,
    authorization: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A response of Langfuse.
struct Response {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// The response to a batch: `IngestionResponse` in Langfuse's OpenAPI.
#[derive(Deserialize)]
struct Ingested {
    successes: Vec<EventResult>,
    errors: Vec<EventResult>,
}

#[derive(Deserialize)]
struct EventResult {
    id: String,
    status: u16,
}

impl Client {
    /// A client of this project.
    pub fn new(http: impl HttpConnector + 'static, project: &Project) -> Self {
        let pair = format!("{}:{}", project.public_key, project.secret_key);
        Self {
            http: SharedHttpConnector::new(http),
            address: project.address.clone(),
            authorization: format!("Basic {}", STANDARD.encode(pair)),
        }
    }

    /// Creates or replaces the score of a record.
    ///
    /// # Errors
    ///
    /// If Langfuse refuses it, fails, or does not respond.
    pub async fn put(&self, record: &Feedback, now: Timestamp) -> Result<(), Failure> {
        let event_id = event_id()?;
        let batch = json!({"batch": [score::event(record, &event_id)]}).to_string();
        let response = self
            .call(Method::POST, "/api/public/ingestion", Some(batch), now)
            .await?;
        response.check("a score")?;
        // The status is 207 whatever becomes of the event, which has one of its own.
        let ingested: Ingested = serde_json::from_slice(&response.body)
            .map_err(|_| Failure::later("Langfuse's response is not that of its ingestion API"))?;
        match ingested.errors.iter().find(|error| error.id == event_id) {
            Some(error) => Err(Failure::of_status(error.status, None, "a score")),
            None if ingested.successes.iter().any(|event| event.id == event_id) => Ok(()),
            None => Err(Failure::later("Langfuse's response does not mention the score")),
        }
    }

    /// Deletes the score that a record had on a scale, if there is one.
    ///
    /// # Errors
    ///
    /// If Langfuse refuses it, fails, or does not respond.
    pub async fn delete(&self, record: FeedbackId, scale: Scale, now: Timestamp) -> Result<(), Failure> {
        let path = format!("/api/public/scores/{}", score::id(record, scale));
        let response = self.call(Method::DELETE, &path, None, now).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        response.check("a delete")
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        now: Timestamp,
    ) -> Result<Response, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(self.address.of(path))
            .header(AUTHORIZATION, &self.authorization)
            .header(USER_AGENT, concat!("hindsight/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(body.map_or_else(SdkBody::empty, SdkBody::from))
            .ok()
            .and_then(|request| HttpRequest::try_from(request).ok())
            .ok_or_else(|| Failure::refused("a request to Langfuse cannot be built"))?;
        let response = async {
            let response = self
                .http
                .call(request)
                .await
                .map_err(|error| unreachable(&error))?;
            let retry_after = response.headers().get(RETRY_AFTER.as_str());
            Ok(Response {
                status: StatusCode::from_u16(response.status().as_u16()).unwrap_or_default(),
                retry_after: retry_after.and_then(|text| wait(text, now)),
                body: read(response.into_body()).await?,
            })
        };
        tokio::time::timeout(TIMEOUT, response)
            .await
            .unwrap_or_else(|_| Err(Failure::later("Langfuse did not answer in time")))
    }
}

impl Response {
    /// Checks the status of the response.
    fn check(&self, what: &str) -> Result<(), Failure> {
        if self.status.is_success() {
            return Ok(());
        }
        Err(Failure::of_status(self.status.as_u16(), self.retry_after, what))
    }
}

/// A new id of an event, a UUIDv4.
fn event_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes).map_err(|problem: Problem| Failure::of_problem(&problem))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// Reads a body up to [`MAX_RESPONSE`] bytes.
async fn read(body: SdkBody) -> Result<Vec<u8>, Failure> {
    let (mut stream, mut bytes) = (ByteStream::new(body), Vec::new());
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| Failure::later("Langfuse's response broke off"))?;
        bytes.extend_from_slice(&part);
        if bytes.len() > MAX_RESPONSE {
            return Err(Failure::later(format!(
                "Langfuse's response is larger than {MAX_RESPONSE} bytes"
            )));
        }
    }
    Ok(bytes)
}

/// Why Langfuse cannot be reached, with the causes.
fn unreachable(error: &ConnectorError) -> Failure {
    let mut text = format!("cannot reach Langfuse: {error}");
    let mut below = std::error::Error::source(error);
    while let Some(source) = below {
        text = format!("{text}: {source}");
        below = source.source();
    }
    Failure::later(text)
}

/// The wait that a `Retry-After` asks for: seconds or a date (RFC 9110, section 10.2.3).
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::from_str(text, Format::HttpDate).ok()?;
    let date = u64::try_from(date.secs()).ok()?;
    Some(now.until(Timestamp::from_millis(date.saturating_mul(1000))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = Timestamp::parse("2026-11-22T08:49:37Z").unwrap();
        assert_eq!(wait("120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            wait("Sun, 22 Nov 2026 08:50:07 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(wait("Sun, 22 Nov 2026 08:49:07 GMT", now), Some(Duration::ZERO));
        for not in ["", "soon", "-1", "1.5"] {
            assert_eq!(wait(not, now), None, "{not}");
        }
    }
}
