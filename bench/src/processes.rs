//! The functions as Lambda runs them: one process for each request that is handled at the same time.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::StatusCode;
use lambda_http::tower::service_fn;
use local::server::Integration;
use serde_json::Value;
use shared::config::EVENT_BUS_VARIABLE;
use shared::tables;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::lambda::Bootstrap;

/// The maximum number of processes of one function. Further requests wait; Lambda would start more
/// processes.
const MAX_PROCESSES: usize = 4;

/// The functions' binaries and their DynamoDB.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The directory of the binaries, which are named like the functions.
    pub folder: PathBuf,
    /// The endpoint of the DynamoDB.
    pub endpoint: String,
    /// The endpoint of the EventBridge, if events are sent.
    pub event_bridge: Option<String>,
}

/// The name of the event bus.
pub const EVENT_BUS: &str = "feedback";

impl Deployment {
    /// The command that starts a function. Its environment contains only the variables of template.yaml and
    /// Lambda, and the endpoint.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command
            .env_clear()
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.endpoint)
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_LAMBDA_LOG_LEVEL", "INFO")
            .envs(tables::ALL.iter().map(|table| (table.variable, table.name)));
        if let Some(endpoint) = &self.event_bridge {
            command
                .env("AWS_ENDPOINT_URL_EVENTBRIDGE", endpoint)
                .env(EVENT_BUS_VARIABLE, EVENT_BUS);
        }
        command
    }
}

/// A function with its processes.
#[derive(Clone)]
pub struct Processes {
    name: &'static str,
    deployment: Arc<Deployment>,
    idle: Arc<Mutex<Vec<Bootstrap>>>,
    free: Arc<Semaphore>,
}

impl Processes {
    /// A function of this name that has no processes yet.
    pub fn new(name: &'static str, deployment: &Deployment) -> Self {
        Self {
            name,
            deployment: Arc::new(deployment.clone()),
            idle: Arc::default(),
            free: Arc::new(Semaphore::new(MAX_PROCESSES)),
        }
    }

    /// Sends an event to an idle process, or else to a new one. The request is completed even if the caller
    /// stops waiting.
    ///
    /// # Errors
    ///
    /// If a process cannot be started, ends, or reports an error.
    pub async fn invoke(&self, event: Value) -> io::Result<Value> {
        let function = self.clone();
        tokio::spawn(async move { function.answer(event).await })
            .await
            .map_err(io::Error::other)?
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.name)))
    }

    async fn answer(self, event: Value) -> io::Result<Value> {
        let _turn = self.free.acquire().await.map_err(io::Error::other)?;
        let waiting = self.idle().pop();
        let mut process = match waiting {
            Some(process) => process,
            None => {
                let mut process = Bootstrap::start(self.name, self.deployment.command(self.name)).await?;
                process.next_request().await?;
                process
            }
        };
        // A process that has ended is not reused.
        let invoked = process.invoke(event).await?;
        self.idle().push(process);
        invoked
            .outcome
            .map_err(|error| io::Error::other(error.to_string()))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Bootstrap>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function as the integration of a gateway. If it fails, the error is printed and the response is
    /// API Gateway's own.
    pub fn integration(self) -> Integration {
        Integration::new(service_fn(move |event| {
            let function = self.clone();
            async move {
                let answer = match serde_json::to_value(event) {
                    Ok(event) => function.invoke(event).await,
                    Err(error) => Err(error.into()),
                };
                let response = answer.and_then(|answer| response(&answer));
                Ok(response.unwrap_or_else(|error| {
                    eprintln!("failed: {error}");
                    let mut response = Response::new(Body::from(r#"{"message":"Internal Server Error"}"#));
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    response
                }))
            }
        }))
    }
}

/// Converts a response in payload format 2.0, like API Gateway does.
fn response(answer: &Value) -> io::Result<Response> {
    let status = answer["statusCode"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok())
        .ok_or_else(|| io::Error::other(format!("an answer without a status: {answer}")))?;
    let text = answer["body"].as_str().unwrap_or_default();
    let body = if answer["isBase64Encoded"] == true {
        STANDARD.decode(text).map_err(invalid)?
    } else {
        text.into()
    };
    let mut response = Response::builder().status(status);
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        response = response.header(name, value.as_str().unwrap_or_default());
    }
    response.body(Body::from(body)).map_err(invalid)
}

fn invalid(error: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn payload_format_2_0_becomes_an_http_response() {
        let answer = json!({
            "statusCode": 404, "headers": {"etag": "\"1\""}, "multiValueHeaders": {},
            "body": "aGk=", "isBase64Encoded": true, "cookies": [],
        });
        let response = response(&answer).unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["etag"], "\"1\"");
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(body.as_ref(), b"hi");
    }

    #[test]
    fn invalid_responses_are_errors() {
        for answer in [
            json!(null),
            json!("statusCode"),
            json!({"statusCode": 70_000}),
            json!({"statusCode": 20}),
            json!({"statusCode": 200, "headers": {"a b": "c"}}),
            json!({"statusCode": 200, "body": "!", "isBase64Encoded": true}),
        ] {
            assert!(response(&answer).is_err(), "{answer}");
        }
    }
}
