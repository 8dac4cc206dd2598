//! The API Gateway edge: from an event to a handler, and from the handler's result to a response. Nothing
//! outside this module knows HTTP.
//!
//! [`route`] lists the routes. [`service()`] makes a function's service: [`answer`] gives every request an
//! id, a deadline and a response in its dialect; [`access`] verifies its API key; then the function's
//! handler receives a [`Call`] and returns a [`Reply`].

pub mod access;
pub mod answer;
pub mod call;
pub mod event;
pub mod route;
pub mod trace;
pub mod visit;

use std::convert::Infallible;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use lambda_http::tower::util::BoxCloneSyncService;
use lambda_http::tower::{ServiceExt as _, service_fn};
use lambda_http::{Adapter, Body, IntoResponse, LambdaEvent, Request, Response, lambda_runtime, tracing};
use serde::Serialize;

pub use call::{Call, Document, Page, Reply, Votes};
pub use route::{Console, Credential, Function, Operation, ROUTES, Read, Report, Route, Vote};

use crate::access::key::KeyId;
use crate::access::keyring::Keyring;
use crate::access::registry::Registry;
use crate::config::{Config, ConfigError};
use crate::dynamo;
use crate::log;
use crate::problem::Problem;
use crate::tables::{API_KEYS, Table};
use crate::timestamp::{Clock, Timestamp};
use access::{Access, Admitted};
use answer::ProblemPage;
use event::Invocation;
use visit::Visit;

/// The maximum time for a request, after which the response is 503. It is well below the functions' timeout
/// of 15 seconds and API Gateway's of 30, so that the caller gets this response and not theirs.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A function as a Tower service, the same under Lambda, `cargo lambda watch`, `sam local` and `cargo run`.
pub type ApiService = BoxCloneSyncService<Request, Response<Body>, Infallible>;

/// The dependencies of a function.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// The DynamoDB client.
    pub client: Client,
    /// The function's configuration.
    pub config: Arc<Config>,
    /// The keyring that verifies API keys.
    pub keyring: Keyring,
    /// The clock for the time of a request.
    pub clock: Clock,
}

/// Builds the service of one function: `handler` is called with `state` for every request with a valid key.
/// `document` returns the response of operations without a key ([`Access::document`]).
pub fn service<S, H, F>(
    function: Function,
    wiring: Wiring,
    state: S,
    document: fn(Operation, &str) -> Option<Document>,
    handler: H,
) -> ApiService
where
    S: Send + Sync + 'static,
    H: Fn(Arc<S>, Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let (state, warm) = (Arc::new(state), Arc::new(AtomicBool::new(false)));
    let access = Arc::new(Access {
        keyring: wiring.keyring,
        clock: wiring.clock,
        document,
    });
    BoxCloneSyncService::new(service_fn(move |request| {
        let cold = !warm.swap(true, Ordering::Relaxed);
        let (access, state, handler) = (Arc::clone(&access), Arc::clone(&state), handler.clone());
        let work = async move |arrival| match access.admit(arrival).await? {
            Admitted::Call(call) => handler(state, *call).await,
            Admitted::Open(reply) => Ok(reply),
        };
        async move { Ok(answer::answer(function, cold, request, None, work).await) }
    }))
}

/// Builds the service of a function that answers people's browsers: `handler` is called with `state` for every
/// request, and decides itself who may do what. `problem_page` renders what it fails with.
pub fn pages<S, H, F>(
    function: Function,
    clock: Clock,
    state: S,
    problem_page: ProblemPage,
    handler: H,
) -> ApiService
where
    S: Send + Sync + 'static,
    H: Fn(Arc<S>, Visit) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let (state, warm) = (Arc::new(state), Arc::new(AtomicBool::new(false)));
    BoxCloneSyncService::new(service_fn(move |request| {
        let cold = !warm.swap(true, Ordering::Relaxed);
        let (state, handler, now) = (Arc::clone(&state), handler.clone(), clock.now());
        let work = async move |arrival| handler(state, Visit::new(arrival, now)?).await;
        async move { Ok(answer::answer(function, cold, request, Some(problem_page), work).await) }
    }))
}

/// No document for any operation: of a function whose routes all ask for a key.
pub fn no_document(_: Operation, _: &str) -> Option<Document> {
    None
}

/// Runs a function under the Lambda runtime. `tables` are those it needs, `make` builds its service.
///
/// # Errors
///
/// A missing or invalid environment variable, or a failure of the Runtime API.
pub async fn run(
    tables: &[&'static Table],
    make: impl FnOnce(Wiring) -> Result<ApiService, ConfigError>,
) -> Result<(), lambda_http::Error> {
    log::init();
    let config = Arc::new(Config::from_env(tables)?);
    let client = dynamo::client().await?;
    let keyring = Keyring::new(Registry::new(client.clone(), config.table(&API_KEYS)?));
    connect(&keyring, config.expected_key.clone()).await;
    let service = make(Wiring {
        client,
        config,
        keyring,
        clock: Clock::system(),
    })?;
    let requests = lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }| {
        let requests = Adapter::from(service.clone().map_response(TextResponse));
        async move {
            Ok::<_, Infallible>(match payload {
                Invocation::Request(event) => {
                    let event = event::lambda_event(*event, context);
                    Outcome::Answer(requests.oneshot(event).await?)
                }
                other => Outcome::Other(answer::other(&other, &context)),
            })
        }
    }));
    // As a task of its own: each wake of the future that a runtime blocks on is a system call.
    tokio::spawn(requests).await?
}

/// The value that a function returns to Lambda.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<A> {
    /// The response to a request.
    Answer(A),
    /// The result for an event that is not a request.
    Other(serde_json::Value),
}

/// A response whose body is already text. lambda_http's own conversion would link its charset tables into
/// each function.
struct TextResponse(Response<Body>);

impl IntoResponse for TextResponse {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(future::ready(self.0))
    }
}

/// Opens the connection to DynamoDB during init, when the function has a full CPU and nobody waits. It
/// looks up the key that the first request is expected to use, or an id that cannot exist. A failure is
/// only logged, because DynamoDB may be available again for the first request.
async fn connect(keyring: &Keyring, expected: Option<KeyId>) {
    let Some(id) = expected.or_else(|| KeyId::parse("0000000000000000")) else {
        return;
    };
    if let Err(problem) = keyring.prefetch(&id, Timestamp::now()).await {
        tracing::warn!(cause = problem.log_message(), "no connection to DynamoDB yet");
    }
}
