//! API Gateway events for requests.

use std::collections::BTreeMap;

use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::http::Route;

/// Builds an event in payload format 2.0, with every field that AWS documents
/// (docs.aws.amazon.com/apigateway, "Working with AWS Lambda proxy integrations for HTTP APIs").
pub fn event_json(
    method: &Method,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &str,
    is_base64: bool,
) -> Value {
    let (route_key, parameters) = match Route::find(method, path) {
        Some((route, Some(segment))) => (
            route.key(),
            json!({route.parameter().unwrap_or_default(): segment}),
        ),
        Some((route, None)) => (route.key(), Value::Null),
        None => ("$default".to_owned(), Value::Null),
    };
    let mut all = BTreeMap::from([
        ("content-type", "application/json"),
        ("host", "id.execute-api.us-east-1.amazonaws.com"),
        ("x-forwarded-proto", "https"),
    ]);
    all.extend(headers.iter().copied());
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": all,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": "id.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "id",
            "http": {
                "method": method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "agent",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route_key,
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_u64,
        },
        "isBase64Encoded": is_base64,
    });
    if !body.is_empty() {
        event["body"] = json!(body);
    }
    if !parameters.is_null() {
        event["pathParameters"] = parameters;
    }
    event
}
