//! Access control: a request's key, then its scope, then the size of its body. The body is not looked at
//! before the key was verified. Operations without a key are answered here with a constant document, so no
//! handler ever runs without a caller.

use std::sync::{Arc, OnceLock};

use lambda_http::http::{HeaderMap, HeaderValue, header};
use lambda_http::{Body, Request};

use super::call::{Call, Document, MAX_BODY, Reply};
use super::route::{Credential, Operation, Route};
use crate::access::keyring::Keyring;
use crate::id::Workspace;
use crate::problem::{Fault, Problem};
use crate::timestamp::Clock;

/// Portkey's API key header.
const PORTKEY_KEY: &str = "x-portkey-api-key";

/// Decides whether a request is let in.
#[derive(Clone, Debug)]
pub struct Access {
    /// The keyring that verifies API keys.
    pub keyring: Keyring,
    /// The clock for the time of a request.
    pub clock: Clock,
    /// What an operation without a key is answered with; its parameter is the path's, empty if it has none.
    pub document: fn(Operation, &str) -> Option<Document>,
}

/// A request before access control.
#[derive(Debug)]
pub struct Arrival {
    pub(super) route: &'static Route,
    pub(super) id: String,
    pub(super) request: Request,
    pub(super) request_id: HeaderValue,
    /// Set as soon as the key is verified, so that rejected requests are logged with their workspace too.
    pub(super) workspace: Arc<OnceLock<Workspace>>,
}

/// The result of access control.
pub(super) enum Admitted {
    /// A request for the handler.
    Call(Box<Call>),
    /// The response of an operation without a key.
    Open(Reply),
}

impl Access {
    /// Verifies a request's key, scope and body size.
    ///
    /// # Errors
    ///
    /// [`Problem::Unauthorized`], [`Problem::Forbidden`], [`Problem::Invalid`] for a body over
    /// [`MAX_BODY`], or the error of looking up the key.
    pub(super) async fn admit(&self, arrival: Arrival) -> Result<Admitted, Problem> {
        let Arrival {
            route,
            id,
            request,
            workspace,
            ..
        } = arrival;
        let now = self.clock.now();
        let Some(needed) = route.operation.credential() else {
            return (self.document)(route.operation, &id)
                .map(|document| Admitted::Open(Reply::document(document)))
                .ok_or(Problem::NotFound);
        };
        let scope = match needed {
            Credential::Key(scope) => scope,
            Credential::Session => return Err(Problem::internal("a route of another function")),
            Credential::Token => {
                let text = bearer(request.headers());
                let text =
                    text.ok_or_else(|| Problem::BadToken("authorization: expected a vote token".to_owned()))?;
                let (caller, token) = self.keyring.verify_token(text, now).await?;
                // Nobody else sets it.
                let _ = workspace.set(caller.workspace.clone());
                let query = query(&request);
                let (parts, body) = request.into_parts();
                let call = Call::new(route, caller, now, id, query, parts.headers, bytes(body)?);
                return Ok(Admitted::Call(Box::new(call.with_token(token))));
            }
        };
        let text = credential(request.headers()).ok_or(Problem::Unauthorized)?;
        let caller = self.keyring.verify(text, now).await?;
        // It is set only here.
        let _ = workspace.set(caller.workspace.clone());
        if !caller.may(scope) {
            return Err(Problem::Forbidden { needs: scope.name() });
        }
        let query = query(&request);
        let (parts, body) = request.into_parts();
        let call = Call::new(route, caller, now, id, query, parts.headers, bytes(body)?);
        Ok(Admitted::Call(Box::new(call)))
    }
}

/// Returns the key's text. A non-empty `x-portkey-api-key` takes precedence, because `Authorization` may
/// then hold a provider's key. Portkey's Python SDK sends the header empty if only `Authorization` is set.
fn credential(headers: &HeaderMap) -> Option<&str> {
    let portkey = headers
        .get(PORTKEY_KEY)
        .map(|value| value.as_bytes().trim_ascii());
    if let Some(key) = portkey.filter(|key| !key.is_empty()) {
        return std::str::from_utf8(key).ok();
    }
    bearer(headers)
}

/// The token in `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The body's bytes. API Gateway encodes binary bodies in base64, which lambda_http has already decoded.
pub(super) fn bytes(body: Body) -> Result<Vec<u8>, Problem> {
    let bytes = match body {
        Body::Text(text) => text.into_bytes(),
        Body::Binary(bytes) => bytes,
        _ => Vec::new(),
    };
    if bytes.len() > MAX_BODY {
        let rest = format!("expected at most {MAX_BODY} bytes, got {}", bytes.len());
        return Err(Problem::Invalid(vec![Fault::too_large("body", rest)]));
    }
    Ok(bytes)
}

/// The query parameters in order, which lambda_http's own map does not keep.
pub(super) fn query(request: &Request) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portkey_s_header_takes_precedence_over_authorization() {
        for (portkey, authorization, found) in [
            (None, None, None),
            (Some("k"), None, Some("k")),
            (None, Some("Bearer k"), Some("k")),
            (None, Some("bearer  k "), Some("k")),
            (Some(""), Some("Bearer k"), Some("k")),
            (Some(" "), Some("Bearer k"), Some("k")),
            (Some("k"), Some("Bearer other"), Some("k")),
            (Some("k"), Some("Basic eDp5"), Some("k")),
            (Some(""), Some("Basic eDp5"), None),
            (None, Some("k"), None),
            (None, Some(""), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = portkey {
                headers.insert(PORTKEY_KEY, value.parse().unwrap());
            }
            if let Some(value) = authorization {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(credential(&headers), found, "{portkey:?} {authorization:?}");
        }
    }
}
