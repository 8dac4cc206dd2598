//! The API Gateway edge: from a request to a handler, and from its outcome to an answer. Nothing
//! outside of this module knows HTTP.
//!
//! [`route`] lists the routes. A function's service is [`service()`]: [`answer`] gives every request
//! an id, a deadline and an answer in its dialect; [`access`] lets in whom its key allows; then the
//! function's handler gets a [`Call`] and returns a [`Reply`].

pub mod access;
pub mod answer;
pub mod call;
pub mod event;
pub mod route;
pub mod trace;

use std::convert::Infallible;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use lambda_http::tower::util::BoxCloneSyncService;
use lambda_http::tower::{ServiceBuilder, service_fn};
use lambda_http::{Adapter, Body, IntoResponse, Request, Response, lambda_runtime, tracing};

pub use call::{Call, Reply, Votes};
pub use route::{Function, ROUTES, Route};

use crate::access::key::KeyId;
use crate::access::keyring::Keyring;
use crate::access::registry::Registry;
use crate::config::Config;
use crate::dynamo;
use crate::log;
use crate::problem::Problem;
use crate::tables::Table;
use crate::timestamp::{Clock, Timestamp};
use access::AccessLayer;
use answer::AnswerLayer;

/// The longest a request may take before it is answered with 503: well inside the functions'
/// timeout of 15 seconds and API Gateway's of 30, so that it is our answer that a caller gets.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A function as a service, the same under Lambda, `cargo lambda watch`, `sam local` and `cargo run`.
pub type ApiService = BoxCloneSyncService<Request, Response<Body>, Infallible>;

/// The service of one function: `handler` behind the layers that all functions have. `clock` tells
/// when a request came; `open` is the JSON object that its route without a key answers with, if it
/// has one.
pub fn service<S, H, F>(
    function: Function,
    state: S,
    keyring: Keyring,
    clock: Clock,
    open: Option<&'static str>,
    handler: H,
) -> ApiService
where
    S: Send + Sync + 'static,
    H: Fn(Arc<S>, Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let state = Arc::new(state);
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer(AnswerLayer::new(function))
            .layer(AccessLayer::new(keyring, clock, open))
            .service(service_fn(move |call| handler(Arc::clone(&state), call))),
    )
}

/// Runs a function under the Lambda runtime, which it is told of by its environment. `tables` are
/// those it cannot do without; `state` makes what its handler works on; `open` is as for [`service()`].
pub async fn run<S, H, F>(
    function: Function,
    tables: &[&Table],
    state: impl FnOnce(Client, Arc<Config>) -> S,
    open: Option<&'static str>,
    handler: H,
) -> Result<(), lambda_http::Error>
where
    S: Send + Sync + 'static,
    H: Fn(Arc<S>, Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    log::init();
    let config = Arc::new(Config::from_env(tables)?);
    let client = dynamo::client().await?;
    let keyring = Keyring::new(Registry::new(client.clone(), &config.api_keys));
    connect(&keyring, config.expected_key.clone()).await;
    let state = state(client, config);
    let service = ServiceBuilder::new()
        .map_request(event::sound_invocation)
        .layer_fn(Adapter::from)
        .map_response(Ready)
        .service(service(function, state, keyring, Clock::system(), open, handler));
    lambda_runtime::run(service).await
}

/// An answer whose body is text already. lambda_http's own conversion of a response decodes every
/// charset that the web has, and the tables for that would be linked into each function.
struct Ready(Response<Body>);

impl IntoResponse for Ready {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(future::ready(self.0))
    }
}

/// Opens the connection to DynamoDB while the function starts, when it has a full CPU and nobody
/// waits: a look-up of the key that the first request is expected to bear, or of one that cannot
/// exist. A database that does not answer now may do so for the first request, so a failure here is
/// only logged.
async fn connect(keyring: &Keyring, expected: Option<KeyId>) {
    let Some(id) = expected.or_else(|| KeyId::parse("0000000000000000")) else {
        return;
    };
    if let Err(problem) = keyring.prefetch(&id, Timestamp::now()).await {
        tracing::warn!(cause = problem.log_message(), "no connection to DynamoDB yet");
    }
}
