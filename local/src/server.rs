//! The local stand-in for API Gateway: routing, the event, CORS, limits.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpRequestContext};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use lambda_http::tower::util::BoxCloneSyncService;
use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};
use shared::config::ConfigError;
use shared::http::{Function, Route, Wiring, event};
use shared::id::FeedbackId;
use shared::timestamp::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connections;
use crate::console::Console;
use crate::home;

/// The largest body in bytes (API Gateway's quota "payload size" for HTTP APIs).
const MAX_PAYLOAD: usize = 10 * 1024 * 1024;

/// The most bytes of a request line and header values together (API Gateway's quota for HTTP APIs).
const MAX_REQUEST_LINE: usize = 10_240;

/// The most bytes of request bodies in memory at once. A request beyond it gets API Gateway's response to
/// throttling.
const MAX_HELD: usize = 32 * 1024 * 1024;

/// The header in which an HTTP API returns the request's id on every response. A function's response has
/// the same id in `x-request-id`.
const REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");

/// How long the parts of a request may take to arrive.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the request line and headers, and for an idle connection.
    pub head: Duration,
    /// For the body.
    pub body: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: connections::HEAD_TIMEOUT,
            body: connections::HEAD_TIMEOUT,
        }
    }
}

/// A function behind the gateway: takes an event and returns the response.
pub type Integration = BoxCloneSyncService<ApiGatewayV2httpRequest, Response, Infallible>;

/// The functions behind one base URL.
#[derive(Clone)]
pub struct Gateway {
    functions: Arc<HashMap<Function, Integration>>,
    log: Option<Console>,
    held: Arc<Semaphore>,
    timeouts: Timeouts,
}

impl Gateway {
    /// A gateway to functions in this process, which prints a line for each request to `log`.
    ///
    /// # Errors
    ///
    /// If the configuration lacks the name of a table.
    pub fn new(wiring: &Wiring, log: Option<Console>) -> Result<Self, ConfigError> {
        let integration = |name| {
            let service = crate::function(name, wiring.clone())?
                .map_request(|event| LambdaRequest::ApiGatewayV2(event::sanitized(event)).into())
                .map_response(from_function);
            Ok((name, Integration::new(service)))
        };
        let functions = Function::ALL.into_iter().map(integration);
        Ok(Self::of(functions.collect::<Result<_, _>>()?, log))
    }

    /// A gateway to functions elsewhere.
    pub fn to(function: impl Fn(Function) -> Integration, log: Option<Console>) -> Self {
        let functions = Function::ALL.map(|name| (name, function(name)));
        Self::of(HashMap::from(functions), log)
    }

    fn of(functions: HashMap<Function, Integration>, log: Option<Console>) -> Self {
        Self {
            functions: Arc::new(functions),
            log,
            held: Arc::new(Semaphore::new(MAX_HELD)),
            timeouts: Timeouts::default(),
        }
    }

    /// The same gateway with other timeouts.
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Serves on a listener until `stop` completes, then waits up to four seconds for the requests in flight.
    ///
    /// # Errors
    ///
    /// If the listener has no address.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        let timeout = self.timeouts.head;
        let base = format!("http://{}", listener.local_addr()?);
        let server = Server {
            gateway: self,
            base: base.into(),
        };
        let app = Router::new().fallback(handle).with_state(server);
        connections::serve(listener, app, timeout, stop).await
    }

    /// Answers one request as API Gateway and a function together do.
    pub async fn answer(&self, request: Request) -> Response {
        let request_id = request_id();
        let id = HeaderValue::from_str(&request_id);
        let mut response = match self.respond(request, request_id).await {
            Ok(response) => response,
            Err(refused) => refused.response(),
        };
        if let Ok(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    async fn respond(&self, request: Request, request_id: String) -> Result<Response, Refused> {
        let (parts, body) = request.into_parts();
        let line = parts.uri.to_string().len();
        if line > MAX_REQUEST_LINE {
            return Err(Refused::LongLine);
        }
        let values = parts.headers.values().map(HeaderValue::len).sum::<usize>();
        if line + values > MAX_REQUEST_LINE {
            return Err(Refused::LongHeaders);
        }
        let path = parts.uri.path();
        let (route, id, service) = Route::find(&parts.method, path)
            .and_then(|(route, id)| Some((route, id, self.functions.get(&route.function())?.clone())))
            .ok_or(Refused::NoRoute)?;
        let held = tokio::time::timeout(self.timeouts.body, self.hold(body));
        let (body, _held) = held.await.map_err(|_| Refused::Slow)??;
        let query = parts.uri.query().unwrap_or_default();
        let event = event(route, id, path, query, &parts.headers, body, request_id);
        match service.oneshot(event).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    /// Reads a body, with one permit for each of its bytes.
    async fn hold(&self, mut body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Refused> {
        let (mut bytes, mut held) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            // A frame without data is a trailer, which API Gateway does not pass on.
            let Ok(data) = frame.map_err(|_| Refused::Broken)?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > MAX_PAYLOAD {
                return Err(Refused::LargeBody);
            }
            let count = u32::try_from(data.len()).map_err(|_| Refused::LargeBody)?;
            let permit = Arc::clone(&self.held)
                .try_acquire_many_owned(count)
                .map_err(|_| Refused::Busy)?;
            match &mut held {
                Some(held) => held.merge(permit),
                None => held = Some(permit),
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, held))
    }
}

/// Why API Gateway responds without calling a function. The sizes are its documented quotas for HTTP APIs;
/// statuses that it does not document are HTTP's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NoRoute,
    LongLine,
    LongHeaders,
    LargeBody,
    Broken,
    Slow,
    Busy,
}

impl Refused {
    /// The status and the message of the response.
    fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::NoRoute => (StatusCode::NOT_FOUND, "Not Found"),
            Self::LongLine => (StatusCode::URI_TOO_LONG, "Request URI Too Long"),
            Self::LongHeaders => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request Header Fields Too Large",
            ),
            Self::LargeBody => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Self::Broken => (StatusCode::BAD_REQUEST, "Bad Request"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"),
        }
    }

    /// The response, with the reason as an extension.
    fn response(self) -> Response {
        let (status, message) = self.status();
        let mut response = Response::new(Body::from(format!(r#"{{"message":"{message}"}}"#)));
        *response.status_mut() = status;
        let content_type = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response.extensions_mut().insert(self);
        response
    }
}

/// A gateway at an address.
#[derive(Clone)]
struct Server {
    gateway: Gateway,
    /// Its URL, without a final slash.
    base: Arc<str>,
}

async fn handle(State(Server { gateway, base }): State<Server>, request: Request) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let asking = request.headers().get(header::ORIGIN).cloned();
    let origin = asking.clone().filter(is_loopback);
    let is_preflight = method == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if is_preflight => preflight(request.headers()),
        _ if home::is_asked_for(&request) => home::page(&base),
        _ => gateway.answer(request).await,
    };
    if let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    if let Some(log) = &gateway.log {
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        let hint = match (response.extensions().get::<Refused>(), &asking) {
            (Some(Refused::NoRoute), Some(origin)) if is_preflight => Some(home::origin_hint(origin)),
            (Some(Refused::NoRoute), _) => Some(home::base_url_hint(&base, &method, &path)),
            _ => None,
        };
        let hint = hint.map(|text| format!("  {text}\n")).unwrap_or_default();
        // A terminal would obey control characters and right-to-left marks.
        let path = utf8_percent_encode(&path, CONTROLS);
        log.print(format!(
            "{method} {path} {} {ms:.1} ms\n{hint}",
            response.status().as_u16()
        ));
    }
    response
}

/// The event that API Gateway builds from a request (payload format 2.0): header names in lower case with
/// their values joined, cookies apart from them, a body of a binary type in base64, path parameters decoded
/// (docs.aws.amazon.com, apigateway, "Create AWS Lambda proxy integrations for HTTP APIs").
fn event(
    route: &Route,
    id: Option<&str>,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: Vec<u8>,
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
    event.cookies = cookies(headers);
    event.headers = joined(headers);
    event.request_context = context;
    if let Some((name, segment)) = route.parameter().zip(id) {
        let segment = percent_decode_str(segment).decode_utf8_lossy().into_owned();
        event.path_parameters.insert(name.to_owned(), segment);
    }
    if !body.is_empty() {
        event.is_base64_encoded = !is_text(headers) || std::str::from_utf8(&body).is_err();
        event.body = Some(match event.is_base64_encoded {
            true => base64::engine::general_purpose::STANDARD.encode(&body),
            false => String::from_utf8_lossy(&body).into_owned(),
        });
    }
    event
}

/// Whether API Gateway hands a body of this type on as text. AWS documents that a binary one is in base64, and
/// not which those are. What it does is measured: all but these, a form and a body without a type among them
/// (github.com/ministackorg/ministack, pull request 766).
fn is_text(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || matches!(
            essence.as_str(),
            "application/json" | "application/javascript" | "application/xml"
        )
}

/// The cookies of all `Cookie` headers, which the event has instead of the headers.
fn cookies(headers: &HeaderMap) -> Option<Vec<String>> {
    let sent: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let pairs: Vec<String> = text.split(';').map(|pair| pair.trim().to_owned()).collect();
            pairs
        })
        .filter(|pair| !pair.is_empty())
        .collect();
    (!sent.is_empty()).then_some(sent)
}

/// A new request id. Like a feedback id it is a UUIDv7, so ids sort in the order of the log.
fn request_id() -> String {
    let mut entropy = [0; 10];
    // Without a random source the time alone is enough for a log line.
    let _ = getrandom::fill(&mut entropy);
    FeedbackId::mint(Timestamp::now(), usize::from(entropy[0]), entropy).hyphenated()
}

/// Headers as the event's JSON can hold them. AWS does not document what happens to bytes that are not
/// UTF-8. Here they are replaced, the worst case, so that the functions are tested with it.
fn joined(headers: &HeaderMap) -> HeaderMap {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::COOKIE) {
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

/// Whether an origin is a page on this machine.
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

    /// The event of a POST with these headers.
    fn event_of(headers: &[(&'static str, &'static str)], body: &[u8]) -> ApiGatewayV2httpRequest {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, HeaderValue::from_static(value));
        }
        let route = Route::of_key("POST /console/sign-in").unwrap();
        event(route, None, route.path, "", &all, body.to_vec(), "id".to_owned())
    }

    #[test]
    fn cookies_are_apart_from_the_headers() {
        let event = event_of(
            &[("cookie", "a=1; b=\"2, 3\""), ("cookie", "c=4"), ("x", "y")],
            b"",
        );
        let expected = ["a=1", "b=\"2, 3\"", "c=4"].map(str::to_owned);
        assert_eq!(event.cookies.as_deref(), Some(&expected[..]));
        assert!(event.headers.get("cookie").is_none() && event.headers.get("x").is_some());
        assert_eq!(event_of(&[], b"").cookies, None);
    }

    #[test]
    fn a_body_is_text_only_if_its_type_says_so() {
        for (content_type, is_base64) in [
            (Some("application/json"), false),
            (Some("Application/JSON; charset=utf-8"), false),
            (Some("text/plain"), false),
            (Some("application/xml"), false),
            (Some("application/x-www-form-urlencoded"), true),
            (Some("application/problem+json"), true),
            (None, true),
        ] {
            let headers: Vec<_> = content_type
                .map(|text| ("content-type", text))
                .into_iter()
                .collect();
            let event = event_of(&headers, b"a=b");
            let body = if is_base64 { "YT1i" } else { "a=b" };
            assert_eq!(
                (event.is_base64_encoded, event.body.as_deref()),
                (is_base64, Some(body))
            );
        }
        let event = event_of(&[("content-type", "text/plain")], b"\xff");
        assert_eq!(
            (event.is_base64_encoded, event.body.as_deref()),
            (true, Some("/w=="))
        );
        assert_eq!(event_of(&[], b"").body, None);
    }

    #[test]
    fn only_pages_of_this_machine_are_let_in() {
        for (origin, expected) in [
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
            assert_eq!(
                is_loopback(&HeaderValue::from_static(origin)),
                expected,
                "{origin}"
            );
        }
    }
}
