//! API Gateway's event before lambda_http makes a request of it.

use lambda_http::LambdaEvent;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::header;
use lambda_http::request::LambdaRequest;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::trace::TraceContext;

/// What a query may not hold as it is, in the eyes of the `http` crate.
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

/// Takes out of an event what lambda_http would panic on: it unwraps the parsing of a URL made of
/// the Host header and the path, of a URI made of the query, and of a base64 body. Nothing here
/// asks for the host.
pub fn sound(mut event: ApiGatewayV2httpRequest) -> ApiGatewayV2httpRequest {
    event.headers.remove(header::HOST);
    event.request_context.domain_name = None;
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
        let sound = event
            .body
            .as_ref()
            .is_none_or(|body| base64::engine::general_purpose::STANDARD.decode(body).is_ok());
        event.is_base64_encoded = sound;
    }
    event
}

/// [`sound`] for what the Lambda runtime hands over.
pub(super) fn sound_invocation(invocation: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    let LambdaEvent { payload, mut context } = invocation;
    let LambdaRequest::ApiGatewayV2(event) = payload else {
        return LambdaEvent::new(payload, context);
    };
    // lambda_http would put Lambda's own X-Amzn-Trace-Id over the caller's.
    if TraceContext::of(&event.headers).is_some() {
        context.xray_trace_id = None;
    }
    LambdaEvent::new(LambdaRequest::ApiGatewayV2(sound(event)), context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_makes_the_conversion_panic() {
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
            let _: lambda_http::Request = LambdaRequest::ApiGatewayV2(sound(event)).into();
        }
    }
}
