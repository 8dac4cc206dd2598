//! A Lambda Runtime API, and function processes that use it
//! (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

/// The maximum size of an event or response, in bytes (Lambda quotas, "Invocation payload").
const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// The maximum time to wait for a process to start or respond. It does not bound any measurement; it only
/// keeps a dead process from being waited for forever.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The trace header that Lambda sets for every invocation.
pub const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// The response to an event, or the error that the function reported.
pub type Outcome = Result<Value, Value>;

/// An outcome, with the time from the event's first byte to the response's last.
#[derive(Debug)]
pub struct Invoked {
    /// The response or error.
    pub outcome: Outcome,
    /// The duration by this machine's clock, including about 50 µs of the Runtime API itself.
    pub took: Duration,
}

struct Invocation {
    event: Value,
    answer: oneshot::Sender<Invoked>,
}

struct Running {
    since: Instant,
    answer: oneshot::Sender<Invoked>,
}

/// A function's process that waits for events.
pub struct Bootstrap {
    invocations: mpsc::Sender<Invocation>,
    asked: mpsc::UnboundedReceiver<Instant>,
    process: Child,
}

#[derive(Clone)]
struct RuntimeApi {
    asked: mpsc::UnboundedSender<Instant>,
    next: Arc<AsyncMutex<mpsc::Receiver<Invocation>>>,
    running: Arc<Mutex<HashMap<String, Running>>>,
    count: Arc<AtomicU64>,
}

impl RuntimeApi {
    fn begin(&self, id: &str, answer: oneshot::Sender<Invoked>) {
        let since = Instant::now();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(id.to_owned(), Running { since, answer });
    }

    fn end(&self, id: &str, answered: Instant, outcome: Outcome) -> StatusCode {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Running { since, answer }) = running.remove(id) else {
            return StatusCode::NOT_FOUND;
        };
        let took = answered.saturating_duration_since(since);
        // The caller may have stopped waiting.
        let _ = answer.send(Invoked { outcome, took });
        StatusCode::ACCEPTED
    }
}

impl Bootstrap {
    /// Starts a command like Lambda starts a function of this name: with the Runtime API and the function's
    /// properties in its environment.
    ///
    /// # Errors
    ///
    /// If no port is available, or the command cannot be started.
    pub async fn start(name: &str, mut command: Command) -> io::Result<Self> {
        let (invocations, receiver) = mpsc::channel(1);
        let (asking, asked) = mpsc::unbounded_channel();
        let api = RuntimeApi {
            asked: asking,
            next: Arc::new(AsyncMutex::new(receiver)),
            running: Arc::default(),
            count: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route(
                "/2018-06-01/runtime/init/error",
                post(async || StatusCode::ACCEPTED),
            )
            .layer(DefaultBodyLimit::max(MAX_PAYLOAD))
            .with_state(api);
        tokio::spawn(async move { axum::serve(listener, app).await });
        command
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .kill_on_drop(true);
        Ok(Self {
            invocations,
            asked,
            process: command.spawn()?,
        })
    }

    /// The process id, while the process runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until the process requests its next event, and returns when it did. The first time, that is
    /// the end of its init.
    ///
    /// # Errors
    ///
    /// If the process ends, or does not request an event within two minutes.
    pub async fn next_request(&mut self) -> io::Result<Instant> {
        tokio::select! {
            asked = self.asked.recv() => asked.ok_or_else(|| io::Error::other("the Runtime API has ended")),
            ended = self.process.wait() => Err(io::Error::other(format!("the process ended: {}", ended?))),
            () = tokio::time::sleep(TIMEOUT) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    }

    /// Sends the process an event and waits for the outcome.
    ///
    /// # Errors
    ///
    /// If the process ends, or does not respond within two minutes.
    pub async fn invoke(&mut self, event: Value) -> io::Result<Invoked> {
        let (answer, answered) = oneshot::channel();
        let ended = || io::Error::other("the Runtime API has ended");
        let invocation = Invocation { event, answer };
        let answered = async {
            self.invocations.send(invocation).await.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())
        };
        tokio::select! {
            invoked = answered => invoked,
            ended = self.process.wait() => Err(io::Error::other(format!("the process ended: {}", ended?))),
            () = tokio::time::sleep(TIMEOUT) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    }

    /// Stops the process, and returns what it printed if its output was piped.
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub async fn stop(mut self) -> io::Result<String> {
        self.process.start_kill()?;
        let output = self.process.wait_with_output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

async fn next(State(api): State<RuntimeApi>) -> Response {
    let mut events = api.next.lock().await;
    // Nobody may be waiting for this.
    let _ = api.asked.send(Instant::now());
    let Some(Invocation { event, answer }) = events.recv().await else {
        // No event will follow: the process is about to be killed.
        return std::future::pending().await;
    };
    drop(events);
    let number = api.count.fetch_add(1, Ordering::Relaxed);
    let id = format!("8476a536-e9f4-11e8-9739-{number:012}");
    let headers = [
        ("lambda-runtime-aws-request-id", id.as_str()),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        ("lambda-runtime-trace-id", TRACE),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:f",
        ),
    ];
    let response = (headers, Json(event)).into_response();
    api.begin(&id, answer);
    response
}

async fn response(State(api): State<RuntimeApi>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    // Anything that is not JSON becomes a string, which the caller will reject.
    api.end(&id, Instant::now(), Ok(json(&body)))
}

async fn error(State(api): State<RuntimeApi>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    api.end(&id, Instant::now(), Err(json(&body)))
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
}
