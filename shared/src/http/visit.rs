//! A request of somebody's browser, before it is known whose.

use std::sync::{Arc, OnceLock};

use lambda_http::http::{HeaderMap, HeaderValue, header};

use super::access::{self, Arrival};
use super::event::ADDRESSED;
use super::route::Route;
use crate::id::Workspace;
use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// A request of somebody's browser, as a handler receives it.
#[derive(Debug)]
pub struct Visit {
    /// The matched route.
    pub route: &'static Route,
    /// When the request arrived.
    pub now: Timestamp,
    id: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Vec<u8>,
    request_id: HeaderValue,
    workspace: Arc<OnceLock<Workspace>>,
}

impl Visit {
    /// # Errors
    ///
    /// [`Problem::Invalid`] for a body over [`super::call::MAX_BODY`].
    pub(super) fn new(arrival: Arrival, now: Timestamp) -> Result<Self, Problem> {
        let Arrival {
            route,
            id,
            request,
            request_id,
            workspace,
        } = arrival;
        let query = access::query(&request);
        let (parts, body) = request.into_parts();
        Ok(Self {
            route,
            now,
            id,
            query,
            headers: parts.headers,
            body: access::bytes(body)?,
            request_id,
            workspace,
        })
    }

    /// The decoded value of the path's parameter, empty if the route has none.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The decoded query parameters, in order.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The request's id, as the response's `x-request-id` has it.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The host that the request was sent to, with its port if it names one.
    pub fn host(&self) -> Option<&str> {
        self.header(ADDRESSED.as_str())
    }

    /// The value of a header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The values of a cookie, in the order they were sent. A browser sends several of one name if they were
    /// set for different paths.
    pub fn cookies<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(move |pair| {
                let (found, value) = pair.trim().split_once('=')?;
                (found == name).then_some(value)
            })
    }

    /// The decoded fields of the form in the body, in order. Bytes that are not UTF-8 become U+FFFD.
    pub fn form(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// Says for the log whose request it is.
    pub fn belongs_to(&self, workspace: &Workspace) {
        // The first one stays.
        let _ = self.workspace.set(workspace.clone());
    }
}
