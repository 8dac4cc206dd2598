//! The events that a function is invoked with, before lambda_http converts them into requests.

use std::fmt;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode, header};
use lambda_http::request::LambdaRequest;
use lambda_http::{Context, LambdaEvent};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::trace::TraceContext;

/// The maximum size of path and query together, in bytes. Percent-encoding can triple it, and the `http`
/// crate allows 64 KiB for both. API Gateway accepts 10,240 bytes of request line and headers.
const MAX_REQUEST_LINE: usize = 16 * 1024;

/// The maximum number of headers. The `http` crate panics beyond about 24,000.
const MAX_HEADERS: usize = 1_000;

/// The characters that the `http` crate rejects in a query unless they are encoded.
const NOT_IN_A_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The header in which [`sanitized`] keeps the host that a request was sent to, as text that nobody has checked.
/// A caller's own is removed.
pub const ADDRESSED: HeaderName = HeaderName::from_static("x-hindsight-addressed");

/// The domain in the events of `sam local`, whatever host a request was sent to.
const SAM_LOCAL: &str = "localhost";

/// Removes from an event what makes lambda_http panic: it unwraps the parsing of a URL from the Host header
/// and the path, of a URI from the query, and of a base64 body. The host stays in [`ADDRESSED`].
pub fn sanitized(mut event: ApiGatewayV2httpRequest) -> ApiGatewayV2httpRequest {
    // API Gateway's domain name is that of its certificate, also a name of the operator's own
    // (docs.aws.amazon.com, apigateway, "Customize HTTP API access logs", `$context.domainName`).
    let domain = event.request_context.domain_name.take();
    let host = event.headers.remove(header::HOST);
    event.headers.remove(ADDRESSED);
    let addressed = domain
        .filter(|name| !name.is_empty() && name != SAM_LOCAL)
        .and_then(|name| HeaderValue::try_from(name).ok())
        .or(host);
    if let Some(addressed) = addressed {
        event.headers.insert(ADDRESSED, addressed);
    }
    if !event
        .raw_path
        .as_deref()
        .is_some_and(|path| path.starts_with('/'))
    {
        event.raw_path = Some(format!("/{}", event.raw_path.unwrap_or_default()));
    }
    event.raw_query_string = event
        .raw_query_string
        .map(|query| utf8_percent_encode(&query, NOT_IN_A_QUERY).to_string());
    if event.is_base64_encoded {
        use base64::Engine as _;
        let is_base64 = event
            .body
            .as_ref()
            .is_none_or(|body| base64::engine::general_purpose::STANDARD.decode(body).is_ok());
        event.is_base64_encoded = is_base64;
    }
    event
}

/// The event of an invocation. Any JSON can be read as one, because lambda_runtime would report unreadable
/// events as errors that quote them.
#[derive(Debug)]
pub enum Invocation {
    /// An HTTP API's or function URL's request in payload format 2.0, after [`sanitized`].
    Request(Box<ApiGatewayV2httpRequest>),
    /// An event without a request that keeps the function warm or tests it: `{}`, a scheduled event,
    /// `{"warmup": true}`.
    Ping,
    /// A request that is larger than API Gateway allows.
    TooLarge(TooLarge),
    /// An event of another kind, or one that cannot be read.
    Foreign(Foreign),
}

/// The part of a request that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// The path and query.
    RequestLine,
    /// The number of headers.
    Headers,
}

impl TooLarge {
    /// The HTTP status to respond with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::RequestLine => StatusCode::URI_TOO_LONG,
            Self::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestLine => write!(
                f,
                "path and query: expected at most {MAX_REQUEST_LINE} bytes together, got more"
            ),
            Self::Headers => write!(f, "headers: expected at most {MAX_HEADERS}, got more"),
        }
    }
}

/// The source of an event that this function does not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A REST API, or an HTTP API integration with payload format 1.0.
    RestApi,
    /// An Application Load Balancer.
    LoadBalancer,
    /// A WebSocket API.
    WebSocket,
    /// A queue, stream or bucket, or another source that sends `Records`.
    Records,
    /// EventBridge, with an event other than a scheduled one.
    EventBridge,
    /// An event in payload format 2.0 with a field of the wrong form.
    Unreadable,
    /// JSON that is not an object.
    NoObject,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = match self {
            Self::RestApi => "a request in payload format 1.0 (REST API, or PayloadFormatVersion 1.0)",
            Self::LoadBalancer => "a request from an Application Load Balancer",
            Self::WebSocket => "an event from a WebSocket API",
            Self::Records => "Records from a queue, stream or bucket",
            Self::EventBridge => "an EventBridge event that is not scheduled",
            Self::Unreadable => "an event with a field that cannot be read",
            Self::NoObject => "JSON that is not an object",
        };
        write!(
            f,
            "event: expected an HTTP API's request (payload format 2.0), got {got}"
        )
    }
}

impl<'de> Deserialize<'de> for Invocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|json| Self::read(json.get()))
    }
}

impl Invocation {
    /// Classifies the JSON of an event.
    pub fn read(json: &str) -> Self {
        let Ok(shape) = serde_json::from_str::<Shape<'_>>(json) else {
            return Self::Foreign(match json.trim_start().starts_with('{') {
                true => Foreign::Unreadable,
                false => Foreign::NoObject,
            });
        };
        if let Some(other) = shape.other() {
            return other;
        }
        // Checked before the headers are parsed, because parsing too many of them panics where it cannot be
        // caught. A value takes at least two bytes, so that few bytes need not be counted.
        let are_many =
            |headers: &RawValue| headers.get().len() > 2 * MAX_HEADERS && count(headers) > MAX_HEADERS;
        if shape.headers.is_some_and(are_many) {
            return Self::TooLarge(TooLarge::Headers);
        }
        let Ok(event) = serde_json::from_str::<ApiGatewayV2httpRequest>(json) else {
            return Self::Foreign(Foreign::Unreadable);
        };
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        if length(&event.raw_path) + length(&event.raw_query_string) > MAX_REQUEST_LINE {
            return Self::TooLarge(TooLarge::RequestLine);
        }
        Self::Request(Box::new(sanitized(event)))
    }
}

/// The members that identify an event's source. Their forms follow AWS's examples (docs.aws.amazon.com:
/// apigateway, "Create AWS Lambda proxy integrations for HTTP APIs"; elasticloadbalancing, "Use Lambda
/// functions as targets"; eventbridge, "Events"), but no code relies on them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'e> {
    #[serde(borrow)]
    request_context: Option<&'e RawValue>,
    #[serde(borrow)]
    headers: Option<&'e RawValue>,
    raw_path: Option<IgnoredAny>,
    http_method: Option<IgnoredAny>,
    #[serde(rename = "Records")]
    records: Option<IgnoredAny>,
    #[serde(borrow, rename = "detail-type")]
    detail_type: Option<&'e RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContextShape {
    http: Option<IgnoredAny>,
    elb: Option<IgnoredAny>,
    connection_id: Option<IgnoredAny>,
}

impl Shape<'_> {
    /// Returns the source of the event if it is not an HTTP API.
    fn other(&self) -> Option<Invocation> {
        let context = self.request_context.map(|context| {
            // A context of another form has none of these members.
            serde_json::from_str::<ContextShape>(context.get()).unwrap_or_default()
        });
        let foreign = match context {
            Some(context) if context.http.is_some() => return None,
            Some(context) if context.elb.is_some() => Foreign::LoadBalancer,
            Some(context) if context.connection_id.is_some() => Foreign::WebSocket,
            _ if self.http_method.is_some() => Foreign::RestApi,
            _ if self.records.is_some() => Foreign::Records,
            Some(_) => Foreign::Unreadable,
            None if self.raw_path.is_some() => Foreign::Unreadable,
            None => match self.detail_type {
                Some(kind) if kind.get() != r#""Scheduled Event""# => Foreign::EventBridge,
                _ => return Some(Invocation::Ping),
            },
        };
        Some(Invocation::Foreign(foreign))
    }
}

/// Counts the header values, including those in lists. Returns 0 if the headers are not an object.
fn count(headers: &RawValue) -> usize {
    struct Values;

    impl<'de> Visitor<'de> for Values {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while let Some((_, value)) = map.next_entry::<IgnoredAny, &RawValue>()? {
                count += match value.get().starts_with('[') {
                    true => {
                        serde_json::from_str::<Vec<IgnoredAny>>(value.get()).map_or(1, |values| values.len())
                    }
                    false => 1,
                };
            }
            Ok(count)
        }
    }

    let mut json = serde_json::Deserializer::from_str(headers.get());
    json.deserialize_map(Values).unwrap_or_default()
}

/// Converts a request and its context for lambda_http.
pub(super) fn lambda_event(
    event: ApiGatewayV2httpRequest,
    mut context: Context,
) -> LambdaEvent<LambdaRequest> {
    // Otherwise lambda_http would replace the caller's X-Amzn-Trace-Id with Lambda's own.
    if TraceContext::of(&event.headers).is_some() {
        context.xray_trace_id = None;
    }
    LambdaEvent::new(LambdaRequest::ApiGatewayV2(event), context)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_event_makes_lambda_http_panic() {
        for (host, path, query, body, base64) in [
            ("exa mple:99999999", "v1", "a=<b>&c=\"", Some("!!"), true),
            ("", "", " #{}|\\^`é\u{0}", None, true),
            ("[", "@x:99999999/", "%", Some("aGk="), true),
            ("h", "//", "%%%", Some("\u{0}"), false),
        ] {
            let mut event = ApiGatewayV2httpRequest::default();
            if let Ok(host) = host.parse() {
                event.headers.insert(header::HOST, host);
            }
            event
                .headers
                .insert("x-forwarded-proto", "ht tp".parse().unwrap());
            event.request_context.domain_name = Some(host.to_owned());
            event.raw_path = Some(path.to_owned());
            event.raw_query_string = Some(query.to_owned());
            event.body = body.map(str::to_owned);
            event.is_base64_encoded = base64;
            let _: lambda_http::Request = LambdaRequest::ApiGatewayV2(sanitized(event)).into();
        }
    }

    #[test]
    fn the_addressed_host_is_api_gateway_s_and_never_a_caller_s_word_for_it() {
        for (domain, host, forged, expected) in [
            (
                Some("api.example.com"),
                Some("evil.example"),
                None,
                Some("api.example.com"),
            ),
            (None, Some("127.0.0.1:8787"), None, Some("127.0.0.1:8787")),
            (
                Some("localhost"),
                Some("127.0.0.1:3000"),
                None,
                Some("127.0.0.1:3000"),
            ),
            (Some(""), None, Some("evil.example"), None),
            (
                Some("api.example.com"),
                None,
                Some("evil.example"),
                Some("api.example.com"),
            ),
        ] {
            let mut event = ApiGatewayV2httpRequest::default();
            event.request_context.domain_name = domain.map(str::to_owned);
            for (name, value) in [(header::HOST, host), (ADDRESSED, forged)] {
                if let Some(value) = value {
                    event.headers.insert(name, value.parse().unwrap());
                }
            }
            let event = sanitized(event);
            let kept = event.headers.get(ADDRESSED).map(|value| value.to_str().unwrap());
            assert_eq!(kept, expected, "{domain:?} {host:?} {forged:?}");
            assert!(event.headers.get(header::HOST).is_none());
        }
    }

    fn read(event: serde_json::Value) -> Invocation {
        Invocation::read(&event.to_string())
    }

    fn request(path: String, headers: serde_json::Value) -> serde_json::Value {
        json!({
            "version": "2.0", "rawPath": path, "headers": headers,
            "requestContext": {"http": {"method": "GET"}},
        })
    }

    #[test]
    fn events_are_classified_by_their_members() {
        for (event, foreign) in [
            (
                json!({"version": "1.0", "httpMethod": "GET", "path": "/", "requestContext": {"httpMethod": "GET"}}),
                Foreign::RestApi,
            ),
            (
                json!({"httpMethod": "GET", "requestContext": {"elb": {"targetGroupArn": "arn"}}}),
                Foreign::LoadBalancer,
            ),
            (
                json!({"requestContext": {"connectionId": "id", "routeKey": "$connect"}}),
                Foreign::WebSocket,
            ),
            (json!({"Records": [{"eventSource": "aws:sqs"}]}), Foreign::Records),
            (
                json!({"source": "aws.s3", "detail-type": "Object Created"}),
                Foreign::EventBridge,
            ),
            (json!({"version": "2.0", "rawPath": "/"}), Foreign::Unreadable),
            (json!({"requestContext": 1}), Foreign::Unreadable),
            (request("/".into(), json!("none")), Foreign::Unreadable),
            (request("/".into(), json!({"a\n": "b"})), Foreign::Unreadable),
            (json!(null), Foreign::NoObject),
            (json!("warm"), Foreign::NoObject),
            (json!([]), Foreign::NoObject),
        ] {
            let got = read(event.clone());
            assert!(
                matches!(got, Invocation::Foreign(got) if got == foreign),
                "{event}: {got:?}"
            );
        }
        for ping in [
            json!({}),
            json!({"warmup": true}),
            json!({"source": "serverless-plugin-warmup"}),
            json!({"source": "aws.events"}),
            json!({"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}),
            json!({"key1": "value1"}),
        ] {
            assert!(matches!(read(ping.clone()), Invocation::Ping), "{ping}");
        }
    }

    #[test]
    fn events_that_would_panic_are_rejected_before_parsing() {
        let many = |count: usize| {
            let headers = (0..count).map(|n| (format!("x-{n}"), json!("v")));
            serde_json::Value::Object(headers.collect())
        };
        let is_request = |event| match read(event) {
            Invocation::Request(event) => {
                let _: lambda_http::Request = LambdaRequest::ApiGatewayV2(*event).into();
                true
            }
            _ => false,
        };
        // A non-ASCII byte takes three bytes when percent-encoded.
        assert!(is_request(request(
            "é".repeat(MAX_REQUEST_LINE / 2),
            many(MAX_HEADERS)
        )));
        for (event, large) in [
            (
                request("a".repeat(MAX_REQUEST_LINE + 1), json!({})),
                TooLarge::RequestLine,
            ),
            (request("a".repeat(70_000), json!({})), TooLarge::RequestLine),
            (request("/".into(), many(MAX_HEADERS + 1)), TooLarge::Headers),
            (request("/".into(), many(30_000)), TooLarge::Headers),
            (
                request("/".into(), json!({"x": vec!["v"; 30_000]})),
                TooLarge::Headers,
            ),
        ] {
            assert!(
                matches!(read(event), Invocation::TooLarge(got) if got == large),
                "{large:?}"
            );
        }
    }
}
