//! The API Gateway edge: from a request to a handler, and from its outcome to an answer. Nothing
//! outside of this module knows HTTP.
//!
//! [`route`] lists the routes. A function's service is [`service()`]: [`answer`] gives every request
//! an id, a deadline and a response in its dialect; [`access`] admits it if its key allows; then the
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use lambda_http::tower::util::BoxCloneSyncService;
use lambda_http::tower::{ServiceExt as _, service_fn};
use lambda_http::{Adapter, Body, IntoResponse, LambdaEvent, Request, Response, lambda_runtime, tracing};
use serde::Serialize;

pub use call::{Call, Document, Reply, Votes};
pub use route::{Credential, Function, Operation, ROUTES, Read, Report, Route, Vote};

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
use event::Invocation;

/// The longest a request may take before it is answered with 503: well inside the functions'
/// timeout of 15 seconds and API Gateway's of 30, so that it is our answer that a caller gets.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A function as a service, the same under Lambda, `cargo lambda watch`, `sam local` and `cargo run`.
pub type ApiService = BoxCloneSyncService<Request, Response<Body>, Infallible>;

/// What a function is made with.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// The client of its DynamoDB.
    pub client: Client,
    /// Its configuration.
    pub config: Arc<Config>,
    /// What verifies keys.
    pub keyring: Keyring,
    /// What tells when a request came.
    pub clock: Clock,
}

/// The service of one function: `handler`, working on `state`, for those requests that are let in.
/// `document` is what operations without a key are answered with ([`Access::document`]).
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
            Admitted::Call(call) => handler(state, call).await,
            Admitted::Open(reply) => Ok(reply),
        };
        async move { Ok(answer::answer(function, cold, request, work).await) }
    }))
}

/// No document for any operation: of a function whose routes all ask for a key.
pub fn no_document(_: Operation, _: &str) -> Option<Document> {
    None
}

/// Runs a function under the Lambda runtime, which its environment tells of. `tables` are those it
/// needs, `make` makes its service.
///
/// # Errors
///
/// A variable that is missing or wrong, or a runtime that does not answer.
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
    lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }| {
        let requests = Adapter::from(service.clone().map_response(Ready));
        async move {
            Ok::<_, Infallible>(match payload {
                Invocation::Request(event) => {
                    let event = event::lambda_event(*event, context);
                    Outcome::Answer(requests.oneshot(event).await?)
                }
                other => Outcome::Other(answer::other(&other, &context)),
            })
        }
    }))
    .await
}

/// What a function returns to Lambda.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<A> {
    /// The answer to a request.
    Answer(A),
    /// What is said of an event that is none.
    Other(serde_json::Value),
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
