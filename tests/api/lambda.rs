//! A Lambda Runtime API of a test's own, and the functions' real bootstraps under it
//! (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use local::dynamodb::Engine;
use serde_json::Value;
use shared::http::Function;
use shared::tables;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

/// Every binary of the workspace, built once for the whole test process by the cargo that runs it,
/// into the target directory it runs from. With the tests beside them, since then they are built
/// with the features that the tests were built with, and what they depend on is there already.
fn binaries() -> &'static HashMap<String, PathBuf> {
    static BINARIES: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--workspace",
                "--bins",
                "--tests",
                "--locked",
                "--message-format=json",
            ])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the functions do not build");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            // The binaries themselves, and not their test harnesses of the same names.
            .filter(|message| message["profile"]["test"] == false)
            .filter_map(|message| {
                let path = message["executable"].as_str()?;
                Some((
                    message["target"]["name"].as_str()?.to_owned(),
                    PathBuf::from(path),
                ))
            })
            .collect()
    })
}

/// The binary of this name.
pub fn binary(name: &str) -> PathBuf {
    binaries()[name].clone()
}

/// An answer, or what the function reported as its error.
type Outcome = Result<Value, Value>;

/// An event, and where its outcome goes.
type Invocation = (Value, oneshot::Sender<Outcome>);

/// A function's process, waiting for invocations.
pub struct Bootstrap {
    invocations: mpsc::Sender<Invocation>,
    process: Child,
}

#[derive(Clone)]
struct RuntimeApi {
    next: Arc<AsyncMutex<mpsc::Receiver<Invocation>>>,
    running: Arc<Mutex<HashMap<String, oneshot::Sender<Outcome>>>>,
}

impl Bootstrap {
    /// Starts a function over a database, as Lambda does.
    pub async fn start(function: Function, engine: &Engine) -> Self {
        let binary = tokio::task::spawn_blocking(move || binary(function.name()))
            .await
            .unwrap();
        let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", database.local_addr().unwrap());
        tokio::spawn(local::dynamodb::serve(engine.clone(), database));

        let (invocations, receiver) = mpsc::channel(1);
        let api = RuntimeApi {
            next: Arc::new(AsyncMutex::new(receiver)),
            running: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(api);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

        let mut command = tokio::process::Command::new(binary);
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", function.name())
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
            .stdout(Stdio::null())
            .kill_on_drop(true);
        for table in tables::ALL {
            command.env(table.variable, table.name);
        }
        Self {
            invocations,
            process: command.spawn().unwrap(),
        }
    }

    /// Invokes the function with an event; `Err` is what it reported as its error.
    pub async fn invoke(&self, event: Value) -> Outcome {
        let (answer, answered) = oneshot::channel();
        self.invocations.send((event, answer)).await.unwrap();
        // Not a bound on the speed of anything: a function that died would be waited for for ever.
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, answered)
            .await
            .expect("the function answers")
            .unwrap()
    }

    /// Ends the process.
    pub async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}

async fn next(State(api): State<RuntimeApi>) -> impl IntoResponse {
    let Some((event, answer)) = api.next.lock().await.recv().await else {
        return std::future::pending().await;
    };
    let id = format!(
        "8476a536-e9f4-11e8-9739-{:012}",
        api.running.lock().unwrap().len()
    );
    api.running.lock().unwrap().insert(id.clone(), answer);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", "4102444800000".to_owned()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:f".to_owned(),
        ),
    ];
    (headers, Json(event))
}

async fn response(State(api): State<RuntimeApi>, Path(id): Path<String>, body: String) -> impl IntoResponse {
    finish(&api, &id, Ok(serde_json::from_str(&body).unwrap()))
}

async fn error(
    State(api): State<RuntimeApi>,
    Path(id): Path<String>,
    _: HeaderMap,
    body: String,
) -> impl IntoResponse {
    finish(&api, &id, Err(serde_json::from_str(&body).unwrap()))
}

fn finish(api: &RuntimeApi, id: &str, outcome: Outcome) -> impl IntoResponse + use<> {
    let answer = api
        .running
        .lock()
        .unwrap()
        .remove(id)
        .expect("an invocation that runs");
    // The test may have given up waiting.
    let _ = answer.send(outcome);
    axum::http::StatusCode::ACCEPTED
}
