//! Who may come in: a request's key, its scope and its size, in this order. The body is not looked at
//! before the key was verified. A route that asks for no key is answered here with its document: no
//! handler is ever called for nobody.

use std::sync::{Arc, OnceLock};

use lambda_http::http::{HeaderMap, header};
use lambda_http::{Body, Request};

use super::call::{Call, Document, MAX_BODY, Reply};
use super::route::{Credential, Operation, Route};
use crate::access::Caller;
use crate::access::keyring::Keyring;
use crate::id::Workspace;
use crate::problem::{Fault, Problem};
use crate::timestamp::Clock;

/// Portkey's header for a key.
const PORTKEY_KEY: &str = "x-portkey-api-key";

/// What decides whether a request is let in.
#[derive(Clone, Debug)]
pub struct Access {
    /// What verifies keys.
    pub keyring: Keyring,
    /// What tells when a request came.
    pub clock: Clock,
    /// What an operation without a key is answered with; its parameter is the path's, empty if it has none.
    pub document: fn(Operation, &str) -> Option<Document>,
}

/// A request on its way in, and what is known of it so far.
#[derive(Debug)]
pub struct Arrival {
    pub(super) route: &'static Route,
    pub(super) id: String,
    pub(super) request: Request,
    /// Set as soon as it is known: a request that comes no further is logged with it too.
    pub(super) workspace: Arc<OnceLock<Workspace>>,
}

/// A request that was let in.
pub(super) enum Admitted {
    /// For the handler.
    Call(Call),
    /// Answered already, without a key.
    Open(Reply),
}

impl Access {
    /// Lets a request in.
    ///
    /// # Errors
    ///
    /// [`Problem::Unauthorized`], [`Problem::Forbidden`], [`Problem::Invalid`] for a body over
    /// [`MAX_BODY`], and what looking up the key fails with.
    pub(super) async fn admit(&self, arrival: Arrival) -> Result<Admitted, Problem> {
        let Arrival {
            route,
            id,
            request,
            workspace,
        } = arrival;
        let now = self.clock.now();
        let Some(needed) = route.operation.credential() else {
            return (self.document)(route.operation, &id)
                .map(|document| Admitted::Open(Reply::document(document)))
                .ok_or(Problem::NotFound);
        };
        let scope = match needed {
            Credential::Key(scope) => scope,
            Credential::Token => {
                let text = bearer(request.headers());
                let text =
                    text.ok_or_else(|| Problem::BadToken("authorization: expected a vote token".to_owned()))?;
                let (of, token) = self.keyring.verify_token(text, now).await?;
                // Nobody else sets it.
                let _ = workspace.set(of.clone());
                let caller = Caller {
                    workspace: of,
                    scopes: Vec::new(),
                    upserts: None,
                };
                let query = query(&request);
                let (parts, body) = request.into_parts();
                let call = Call::new(route, caller, now, id, query, parts.headers, bytes(body)?);
                return Ok(Admitted::Call(call.with_token(token)));
            }
        };
        let text = credential(request.headers()).ok_or(Problem::Unauthorized)?;
        let caller = self.keyring.verify(text, now).await?;
        // Nobody else sets it.
        let _ = workspace.set(caller.workspace.clone());
        if !caller.may(scope) {
            return Err(Problem::Forbidden { needs: scope.name() });
        }
        let query = query(&request);
        let (parts, body) = request.into_parts();
        let call = Call::new(route, caller, now, id, query, parts.headers, bytes(body)?);
        Ok(Admitted::Call(call))
    }
}

/// The key's text. A non-empty `x-portkey-api-key` wins: `Authorization` then holds somebody else's key.
/// Portkey's Python SDK sends the header empty where only `Authorization` is set.
fn credential(headers: &HeaderMap) -> Option<&str> {
    let portkey = headers
        .get(PORTKEY_KEY)
        .map(|value| value.as_bytes().trim_ascii());
    if let Some(key) = portkey.filter(|key| !key.is_empty()) {
        return std::str::from_utf8(key).ok();
    }
    bearer(headers)
}

/// What `Authorization` bears.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The body's bytes. API Gateway hands over what is not text in base64; lambda_http has undone it.
fn bytes(body: Body) -> Result<Vec<u8>, Problem> {
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

/// The query's parameters in their order, which lambda_http's map of them does not keep.
fn query(request: &Request) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_header_holds_the_key_and_portkey_s_wins() {
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
