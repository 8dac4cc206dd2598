//! What API Gateway is to the functions: routing, the event, CORS, limits.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpRequestContext};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use lambda_http::tower::util::BoxCloneSyncService;
use percent_encoding::percent_decode_str;
use shared::http::{ApiService, Function, Route, event};
use shared::id::FeedbackId;
use shared::timestamp::Timestamp;
use tokio::net::TcpListener;

/// The most API Gateway takes of a body (HTTP API quota: payload size).
const MAX_PAYLOAD: usize = 10 * 1024 * 1024;

/// The most API Gateway takes of a request line and headers (HTTP API quota), here of the line.
const MAX_REQUEST_LINE: usize = 10_240;

/// How long requests in flight may take to finish once the server is told to stop.
const GRACE: Duration = Duration::from_secs(4);

/// A function as API Gateway has it: it is given an event, and what it answers is the response.
pub type Integration = BoxCloneSyncService<ApiGatewayV2httpRequest, Response, Infallible>;

/// The functions behind one base URL.
#[derive(Clone)]
pub struct Gateway {
    functions: Arc<HashMap<Function, Integration>>,
    log: bool,
}

impl Gateway {
    /// A gateway to functions of this process; `log` is whether it prints a line for each request.
    pub fn new(function: impl Fn(Function) -> ApiService, log: bool) -> Self {
        let integration = |name| {
            let service = function(name)
                .map_request(|event| LambdaRequest::ApiGatewayV2(event::sound(event)).into())
                .map_response(from_function);
            Integration::new(service)
        };
        Self::to(integration, log)
    }

    /// A gateway to functions that are somewhere else.
    pub fn to(function: impl Fn(Function) -> Integration, log: bool) -> Self {
        let functions = Function::ALL.map(|name| (name, function(name)));
        Self {
            functions: Arc::new(HashMap::from(functions)),
            log,
        }
    }

    /// Serves on a listener until `stop` is done and the requests in flight are, or the grace for
    /// them is over.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let app = Router::new().fallback(handle).with_state(self);
        let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
            stop.await;
            // The receiver lives until this function returns.
            let _ = stopping.send(());
        });
        let mut serving = std::pin::pin!(serving.into_future());
        tokio::select! {
            result = &mut serving => return result,
            _ = stopped => {}
        }
        // A client that holds its connection open does not hold up the stop.
        match tokio::time::timeout(GRACE, serving).await {
            Ok(result) => result,
            Err(_) => Ok(()),
        }
    }

    /// Answers one request as API Gateway and the functions together do.
    pub async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let request_id = request_id();
        let path = parts.uri.path();
        if parts.uri.to_string().len() > MAX_REQUEST_LINE {
            return gateway_answer(StatusCode::URI_TOO_LONG, "Request URI Too Long", &request_id);
        }
        let found = Route::find(&parts.method, path)
            .and_then(|(route, id)| Some((route, id, self.functions.get(&route.function)?.clone())));
        let Some((route, id, service)) = found else {
            return gateway_answer(StatusCode::NOT_FOUND, "Not Found", &request_id);
        };
        let Ok(body) = to_bytes(body, MAX_PAYLOAD).await else {
            return gateway_answer(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Request Entity Too Large",
                &request_id,
            );
        };
        let query = parts.uri.query().unwrap_or_default();
        let event = event(route, id, path, query, &parts.headers, &body, request_id);
        match service.oneshot(event).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

async fn handle(State(gateway): State<Gateway>, request: Request) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let origin = request
        .headers()
        .get(header::ORIGIN)
        .filter(|origin| is_loopback(origin))
        .cloned();
    let is_preflight = method == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if is_preflight => preflight(request.headers()),
        _ => gateway.answer(request).await,
    };
    if let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    if gateway.log {
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        // The request was answered, whether or not anybody reads of it.
        let _ = writeln!(
            io::stdout(),
            "{method} {path} {} {ms:.1} ms",
            response.status().as_u16()
        );
    }
    response
}

/// The event API Gateway makes of a request (payload format 2.0): header names in lower case and
/// their values joined, a body that is not text in base64, path parameters decoded.
fn event(
    route: &Route,
    id: Option<&str>,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    request_id: String,
) -> ApiGatewayV2httpRequest {
    let mut context = ApiGatewayV2httpRequestContext::default();
    context.route_key = Some(route.key());
    context.stage = Some("$default".to_owned());
    context.request_id = Some(request_id);
    context.http.method = route.method.clone();
    context.http.path = Some(path.to_owned());
    let mut event = ApiGatewayV2httpRequest::default();
    event.version = Some("2.0".to_owned());
    event.route_key = Some(route.key());
    event.raw_path = Some(path.to_owned());
    event.raw_query_string = Some(query.to_owned());
    event.headers = joined(headers);
    event.request_context = context;
    if let Some((name, segment)) = route.parameter().zip(id) {
        let segment = percent_decode_str(segment).decode_utf8_lossy().into_owned();
        event.path_parameters.insert(name.to_owned(), segment);
    }
    match std::str::from_utf8(body) {
        Ok("") => {}
        Ok(text) => event.body = Some(text.to_owned()),
        Err(_) => {
            event.body = Some(base64::engine::general_purpose::STANDARD.encode(body));
            event.is_base64_encoded = true;
        }
    }
    event
}

/// An id for a request that has none from elsewhere: of the form of a feedback's, so in the order
/// of the log.
fn request_id() -> String {
    let mut entropy = [0; 10];
    // Without a random source the time alone has to do: the id is for a log line.
    let _ = getrandom::fill(&mut entropy);
    FeedbackId::mint(Timestamp::now(), usize::from(entropy[0]), entropy).hyphenated()
}

fn joined(headers: &HeaderMap) -> HeaderMap {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        values.entry(name.as_str()).or_default().push(text);
    }
    values
        .into_iter()
        .filter_map(|(name, values)| {
            let name: HeaderName = name.parse().ok()?;
            let value = HeaderValue::from_bytes(values.join(",").as_bytes()).ok()?;
            Some((name, value))
        })
        .collect()
}

fn from_function(response: lambda_http::Response<lambda_http::Body>) -> Response {
    response.map(|body| match body {
        lambda_http::Body::Text(text) => Body::from(text),
        lambda_http::Body::Binary(bytes) => Body::from(bytes),
        _ => Body::empty(),
    })
}

/// What API Gateway says by itself.
fn gateway_answer(status: StatusCode, message: &str, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(format!(r#"{{"message":"{message}"}}"#)));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// Whether a page's origin is on this machine.
fn is_loopback(origin: &HeaderValue) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(scheme, "http" | "https") && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, DELETE"),
    );
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("etag, retry-after, x-portkey-trace-id, x-request-id"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_are_let_in() {
        for (origin, is) in [
            ("http://localhost:5173", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("http://[::1]", true),
            ("http://localhost.evil.example", false),
            ("http://evil.example:80", false),
            ("http://127.0.0.1:80@evil.example", false),
            ("null", false),
            ("file://", false),
        ] {
            assert_eq!(is_loopback(&HeaderValue::from_static(origin)), is, "{origin}");
        }
    }
}
