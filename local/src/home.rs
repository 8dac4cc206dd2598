//! What the local server says of its base URLs: a page for browsers, and hints in the terminal.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use percent_encoding::{CONTROLS, percent_encode};
use shared::http::Route;

/// The page, in which `{base}` stands for the server's URL.
const PAGE: &str = include_str!("home.html");

/// The longest part of an `Origin` header that is printed, in bytes.
const MAX_ORIGIN: usize = 200;

/// Whether a request is a browser's for `/`. Any other request for `/` gets API Gateway's 404.
pub fn is_asked_for(request: &Request) -> bool {
    request.method() == Method::GET
        && request.uri().path() == "/"
        && request
            .headers()
            .get_all(header::ACCEPT)
            .iter()
            .any(|value| value.as_bytes().windows(9).any(|part| part == b"text/html"))
}

/// A page that names the base URLs. It holds no API key: a page of another site can read it by a name
/// that resolves to this machine (DNS rebinding). For the same reason `base` is not the `Host` header.
pub fn page(base: &str) -> Response {
    let mut response = Response::new(Body::from(PAGE.replace("{base}", base)));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The hint for a path without a route: what is wrong with it, and the base URLs. One line.
pub fn base_url_hint(base: &str, method: &Method, path: &str) -> String {
    let wrong = if path.starts_with("/v1/v1/") {
        "the path has /v1 twice"
    } else if path.starts_with("/v1/api/svc/") {
        "the TrueFoundry base URL has no /v1"
    } else if Route::find(method, &format!("/v1{path}")).is_some() {
        "the path lacks /v1"
    } else {
        "no such route"
    };
    format!("{wrong}: the base URL is {base}/v1 for Portkey, {base} for TrueFoundry")
}

/// The hint for a preflight from a page that the server does not allow. One line.
pub fn origin_hint(origin: &HeaderValue) -> String {
    let bytes = origin.as_bytes();
    let shown = percent_encode(&bytes[..bytes.len().min(MAX_ORIGIN)], CONTROLS);
    format!(
        "origin {shown}: not allowed; this server allows http and https at localhost, 127.0.0.1 and [::1], \
         a deployed stack those of AllowedOrigins"
    )
}
