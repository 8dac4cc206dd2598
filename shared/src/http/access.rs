//! The layer that lets a request in: its key, its scope, its size, in this order. The body is not
//! looked at before the key was verified. A route that asks for no key is answered here with its
//! document: no handler is ever called for nobody.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use lambda_http::http::{HeaderMap, header};
use lambda_http::tower::{Layer, Service};
use lambda_http::{Body, Request};

use super::call::{Call, MAX_BODY, Reply};
use super::route::Route;
use crate::access::keyring::Keyring;
use crate::id::Workspace;
use crate::problem::{Fault, Problem};
use crate::timestamp::Clock;

/// Portkey's header for a key.
const PORTKEY_KEY: &str = "x-portkey-api-key";

/// Puts [`Access`] around a handler.
#[derive(Clone, Debug)]
pub struct AccessLayer {
    keyring: Keyring,
    clock: Clock,
    open: Option<&'static str>,
}

impl AccessLayer {
    /// A layer that verifies with this keyring. `open` is what a route that asks for no key is
    /// answered with. `clock` tells when a request came.
    pub fn new(keyring: Keyring, clock: Clock, open: Option<&'static str>) -> Self {
        Self { keyring, clock, open }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Access {
            keyring: self.keyring.clone(),
            clock: self.clock.clone(),
            open: self.open,
            inner,
        }
    }
}

/// Turns a request into a [`Call`] for the handler within, or refuses it.
#[derive(Clone, Debug)]
pub struct Access<S> {
    keyring: Keyring,
    clock: Clock,
    open: Option<&'static str>,
    inner: S,
}

/// A request on its way in: what [`super::answer`] found out about it, and the request.
#[derive(Debug)]
pub struct Arrival {
    pub(super) route: &'static Route,
    pub(super) id: String,
    pub(super) request: Request,
    /// Whose it is, as soon as that is known: the log tells also of a request that came no further.
    pub(super) workspace: Arc<OnceLock<Workspace>>,
}

impl<S> Service<Arrival> for Access<S>
where
    S: Service<Call, Response = Reply, Error = Problem> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Reply;
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        // The clone that was polled ready is the one to be called.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let (keyring, now, open) = (self.keyring.clone(), self.clock.now(), self.open);
        Box::pin(async move {
            let Arrival {
                route,
                id,
                request,
                workspace,
            } = arrival;
            let Some(scope) = route.scope else {
                return open
                    .map(|document| Reply::new(document.to_owned()))
                    .ok_or_else(|| Problem::internal("a route without a key has no document"));
            };
            let text = credential(request.headers()).ok_or(Problem::Unauthorized)?;
            let caller = keyring.verify(text, now).await?;
            // Nobody else sets it.
            let _ = workspace.set(caller.workspace.clone());
            if !caller.may(scope) {
                return Err(Problem::Forbidden { needs: scope.name() });
            }
            let query = query(&request);
            let (parts, body) = request.into_parts();
            let call = Call::new(route, caller, now, id, query, parts.headers, bytes(body)?);
            inner.call(call).await
        })
    }
}

/// The key's text (contract, section 2): a non-empty `x-portkey-api-key` wins, and what
/// `Authorization` holds then is somebody else's.
fn credential(headers: &HeaderMap) -> Option<&str> {
    let portkey = headers
        .get(PORTKEY_KEY)
        .map(|value| value.as_bytes().trim_ascii());
    if let Some(key) = portkey.filter(|key| !key.is_empty()) {
        return std::str::from_utf8(key).ok();
    }
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
        let rest = format!("must be at most {MAX_BODY} bytes, got {}", bytes.len());
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
    fn the_credential_is_found_as_the_contract_says() {
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
