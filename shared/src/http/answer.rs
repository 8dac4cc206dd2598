//! Responses: every request gets a response in its dialect before the deadline, with a request id, and one
//! log line.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures_util::FutureExt as _;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode, header};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Context as LambdaContext, Request, RequestExt as _, Response, tracing};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::access::Arrival;
use super::call::Reply;
use super::route::{Function, Route};
use super::trace::TraceContext;
use super::{DEADLINE, event};
use crate::dialect::{Dialect, portkey, truefoundry, vote};
use crate::id::Workspace;
use crate::invocation::Invocation;
use crate::log::milliseconds;
use crate::problem::{Problem, RETRY_AFTER};

/// The request id if neither API Gateway nor Lambda gave one.
const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Portkey's SDKs do not retry a 5xx response with this header. So a write that may have succeeded despite
/// an error response is not repeated.
const PORTKEY_TRACE_ID: HeaderName = HeaderName::from_static("x-portkey-trace-id");

/// Renders a problem, with the request's id, as a page.
pub type ProblemPage = fn(&Problem, &str) -> Reply;

/// Produces the response to a request by running `work`, in the request's dialect and before the deadline,
/// even if `work` panics. `cold` is whether this is the process's first request.
pub(super) async fn answer<F>(
    function: Function,
    cold: bool,
    request: Request,
    problem_page: Option<ProblemPage>,
    work: impl FnOnce(Arrival) -> F,
) -> Response<Body>
where
    F: Future<Output = Result<Reply, Problem>>,
{
    let log = RequestLog::new(&request, cold);
    let request_id = request_id(&request);
    let Some((route, id)) = routed(&request).filter(|(route, _)| route.function() == function) else {
        log.write(None, StatusCode::NOT_FOUND, &Err(Problem::NotFound));
        return with_common_headers(not_found(), &request_id);
    };
    let arrival = Arrival {
        route,
        id,
        request,
        request_id: request_id.clone(),
        workspace: Arc::clone(&log.workspace),
    };
    // Boxed, because the future of a call to DynamoDB has kilobytes, and is moved with each that holds it.
    let work = AssertUnwindSafe(Box::pin(async { work(arrival).await })).catch_unwind();
    let result = match tokio::time::timeout(DEADLINE, log.invocation.run(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Problem::internal("a handler panicked")),
        Err(_) => Err(Problem::unavailable("the deadline has passed")),
    };
    let status = match &result {
        Ok(Reply { page: Some(page), .. }) => page.status,
        Ok(_) => StatusCode::OK,
        Err(problem) => status(problem),
    };
    log.write(Some(route), status, &result);
    let response = match (result, problem_page) {
        (Ok(reply), _) => ok(reply),
        (Err(problem), Some(page)) => ok(page(&problem, request_id.to_str().unwrap_or_default())),
        (Err(problem), None) => error(route.dialect, &problem, &request_id),
    };
    with_common_headers(response, &request_id)
}

/// Returns the route that API Gateway matched, and the value of `{id}`. If the event has no route
/// (cargo-lambda sets none), it is matched here by method and path.
fn routed(request: &Request) -> Option<(&'static Route, String)> {
    let key = gateway(request).and_then(|context| context.route_key.as_deref());
    if let Some(route) = key.and_then(Route::of_key) {
        let id = request
            .path_parameters_ref()
            .zip(route.parameter())
            .and_then(|(parameters, name)| parameters.first(name));
        return Some((route, id.map(decoded).unwrap_or_default()));
    }
    let (route, id) = Route::find(request.method(), request.raw_http_path())?;
    Some((route, id.map(decoded).unwrap_or_default()))
}

/// API Gateway's context of the request.
fn gateway(request: &Request) -> Option<&ApiGatewayV2httpRequestContext> {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => Some(context),
        _ => None,
    }
}

/// Decodes the value of `{id}`. API Gateway has already undone percent-encoding, cargo-lambda has not. An
/// id contains no percent sign, so decoding twice does no harm.
fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// The request id: API Gateway's, which is in its access log too, or else Lambda's.
fn request_id(request: &Request) -> HeaderValue {
    gateway(request)
        .and_then(|context| context.request_id.clone().filter(|id| !id.is_empty()))
        .or_else(|| {
            request
                .lambda_context_ref()
                .map(|context| context.request_id.clone())
        })
        .and_then(|id| HeaderValue::try_from(id).ok())
        .unwrap_or(UNKNOWN)
}

fn ok(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::Text(reply.body));
    if let Some(document) = reply.document {
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(document.content_type),
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static(document.cache_control),
        );
        if let Some(vary) = document.vary {
            headers.insert(header::VARY, HeaderValue::from_static(vary));
        }
    }
    if let Some(page) = reply.page {
        *response.status_mut() = page.status;
        response.headers_mut().extend(page.headers);
    }
    let tag = reply.version.map(|version| format!("\"{version}\""));
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Maps a problem to its HTTP status. This is the only place that does.
pub fn status(problem: &Problem) -> StatusCode {
    match problem {
        Problem::Invalid(faults) if faults.iter().any(|fault| fault.too_large) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Problem::Invalid(_) => StatusCode::BAD_REQUEST,
        Problem::Unauthorized | Problem::BadToken(_) => StatusCode::UNAUTHORIZED,
        Problem::Forbidden { .. } | Problem::ForeignWorkspace | Problem::Denied(_) | Problem::ForeignForm => {
            StatusCode::FORBIDDEN
        }
        Problem::NotFound => StatusCode::NOT_FOUND,
        Problem::KeyReused => StatusCode::CONFLICT,
        Problem::VersionMismatch => StatusCode::PRECONDITION_FAILED,
        Problem::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Problem::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Problem::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn error(dialect: Dialect, problem: &Problem, request_id: &HeaderValue) -> Response<Body> {
    let status = status(problem);
    let body = match dialect {
        // Routes of the console have a page for each problem.
        Dialect::Portkey | Dialect::Console => portkey::render_problem(problem),
        Dialect::TrueFoundry => truefoundry::render_problem(problem, status.as_u16()),
        Dialect::Vote => vote::render_problem(problem),
    };
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status.is_server_error() {
        headers.insert(PORTKEY_TRACE_ID, request_id.clone());
    }
    response
}

/// API Gateway's response for a path without a route, used if a function is wired to a route that does not
/// exist.
fn not_found() -> Response<Body> {
    let mut response = Response::new(Body::from(r#"{"message":"Not Found"}"#));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Builds the response to an invocation that is not a request, in a form that API Gateway, REST APIs and
/// load balancers all understand, and logs one line about it.
pub(super) fn other(invocation: &event::Invocation, context: &LambdaContext) -> Value {
    let (status, message) = match invocation {
        event::Invocation::TooLarge(large) => {
            let cause = large.to_string();
            tracing::warn!(request_id = context.request_id, cause, "refused");
            (large.status(), cause)
        }
        event::Invocation::Foreign(foreign) => {
            let cause = foreign.to_string();
            tracing::error!(request_id = context.request_id, cause, "failed");
            (StatusCode::INTERNAL_SERVER_ERROR, cause)
        }
        event::Invocation::Ping | event::Invocation::Request(_) => {
            tracing::info!(request_id = context.request_id, "no request in the event");
            (StatusCode::OK, "no request in the event".to_owned())
        }
    };
    let response = with_common_headers(
        Response::new(Body::Empty),
        &HeaderValue::try_from(context.request_id.as_str()).unwrap_or(UNKNOWN),
    );
    let headers = response
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), json!(value.to_str().ok()?))));
    json!({
        "statusCode": status.as_u16(),
        "headers": Value::Object(headers.collect()),
        "body": json!({"message": message}).to_string(),
        "isBase64Encoded": false,
    })
}

/// Adds the headers that every response has.
fn with_common_headers(mut response: Response<Body>, request_id: &HeaderValue) -> Response<Body> {
    let headers = response.headers_mut();
    // A document has its own.
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(REQUEST_ID, request_id.clone());
    response
}

/// The log line of a request, with the fields that are known when it arrives. It contains the route's
/// pattern instead of the path, and the names of invalid fields instead of their contents.
struct RequestLog {
    started: Instant,
    cold: bool,
    invocation: Invocation,
    gateway_id: Option<String>,
    version: Option<String>,
    trace: Option<TraceContext>,
    workspace: Arc<OnceLock<Workspace>>,
}

impl RequestLog {
    fn new(request: &Request, cold: bool) -> Self {
        let lambda = request.lambda_context_ref();
        Self {
            started: Instant::now(),
            cold,
            invocation: Invocation::new(lambda.map(|context| context.request_id.as_str())),
            gateway_id: gateway(request).and_then(|context| context.request_id.clone()),
            version: lambda
                .map(|context| context.env_config.version.clone())
                .filter(|version| !version.is_empty()),
            trace: TraceContext::of(request.headers()),
            workspace: Arc::default(),
        }
    }

    /// Writes the line. [`crate::metrics`] defines which of its fields are metrics.
    fn write(&self, route: Option<&Route>, status: StatusCode, result: &Result<Reply, Problem>) {
        let problem = match result {
            Ok(reply) => reply.page.as_ref().and_then(|page| page.problem.as_ref()),
            Err(problem) => Some(problem),
        };
        let cause = problem.map(Problem::log_message);
        let votes = result.as_ref().ok().and_then(|reply| reply.votes);
        let units = self.invocation.units();
        let trace = self.trace.as_ref();
        let dialect = route.map(|route| route.dialect.name());
        macro_rules! event {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id = self.invocation.id(),
                    gateway_id = self.gateway_id.as_deref(),
                    function_version = self.version.as_deref(),
                    workspace = self.workspace.get().map(Workspace::as_str),
                    route = route.map(Route::key),
                    dialect,
                    status = status.as_u16(),
                    ms = milliseconds(self.started.elapsed()),
                    cold = self.cold,
                    read_units = units.read,
                    write_units = units.write,
                    trace = trace.map(|context| context.trace.as_str()),
                    parent = trace.and_then(|context| context.parent.as_deref()),
                    scale = votes.map(|votes| votes.scale),
                    votes = votes.map(|votes| votes.count),
                    problem = problem.map(Problem::code),
                    refused = problem.map(|_| 1_u64),
                    cause,
                    $message
                )
            };
        }
        match problem {
            None => event!(info, "answered"),
            Some(Problem::Internal { .. } | Problem::Unavailable { .. }) => event!(error, "failed"),
            Some(_) => event!(info, "refused"),
        }
    }
}
