//! The input and output of handlers.

use lambda_http::http::{HeaderMap, StatusCode};

use super::Route;
use crate::access::Caller;
use crate::access::token::VoteToken;
use crate::feedback::Writer;
use crate::id::Workspace;
use crate::problem::Problem;
use crate::store::Written;
use crate::store::idempotency::IdempotencyKey;
use crate::timestamp::Timestamp;

/// The maximum size of a body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// The header that makes a create an upsert.
const UPSERT: &str = "x-hindsight-upsert";

/// An authorized request, as a handler receives it.
#[derive(Debug)]
pub struct Call {
    /// The matched route.
    pub route: &'static Route,
    /// The caller: the API key, with its workspace and scopes.
    pub caller: Caller,
    /// When the request arrived.
    pub now: Timestamp,
    id: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Vec<u8>,
    token: Option<VoteToken>,
}

impl Call {
    /// Creates a call of `route`. `id` is the decoded value of `{id}` in the path, or empty if the route
    /// has none.
    pub fn new(
        route: &'static Route,
        caller: Caller,
        now: Timestamp,
        id: String,
        query: Vec<(String, String)>,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Self {
        Self {
            route,
            caller,
            now,
            id,
            query,
            headers,
            body,
            token: None,
        }
    }

    /// The same call, with its vote token.
    pub fn with_token(self, token: VoteToken) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    /// The vote token of a call on a route that needs one.
    pub fn token(&self) -> Option<&VoteToken> {
        self.token.as_ref()
    }

    /// Whose feedback it is about.
    pub fn workspace(&self) -> &Workspace {
        &self.caller.workspace
    }

    /// Who writes, if it is a write.
    pub fn writer(&self) -> Writer {
        Writer {
            workspace: self.caller.workspace.clone(),
            key: self.caller.key.clone(),
        }
    }

    /// The value of `{id}` in the path.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The decoded query parameters, in order.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The body as text. Its size was checked before the call was made.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] if the body is not UTF-8.
    pub fn body(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.body).map_err(|error| {
            Problem::invalid(
                "body",
                format!("invalid UTF-8 at byte offset {}", error.valid_up_to()),
            )
        })
    }

    /// The version in `If-Match`. Returns `None` without the header, or if it is `*`.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] if the header is not an entity tag or is repeated. [`Problem::VersionMismatch`]
    /// for a tag that no record ever has.
    pub fn if_match(&self) -> Result<Option<u64>, Problem> {
        let Some(value) = self.header("If-Match")? else {
            return Ok(None);
        };
        if value == "*" {
            return Ok(None);
        }
        // A weak tag never matches (RFC 9110, section 13.1.1).
        let (weak, tag) = match value.strip_prefix("W/") {
            Some(tag) => (true, tag),
            None => (false, value),
        };
        let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match quoted.filter(|tag| !tag.contains('"')).map(str::parse) {
            Some(Ok(version)) if !weak => Ok(Some(version)),
            // A valid tag, but not one that Hindsight issues.
            Some(_) => Err(Problem::VersionMismatch),
            None => Err(Problem::invalid(
                "If-Match",
                r#"expected one version in double quotes, as "3", or *"#,
            )),
        }
    }

    /// The `Idempotency-Key`, with a hash of the request.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] if it is not 1 to 255 bytes of UTF-8, or is repeated.
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        let Some(key) = self.header("Idempotency-Key")? else {
            return Ok(None);
        };
        if !(1..=255).contains(&key.len()) {
            let got = key.len();
            return Err(Problem::invalid(
                "Idempotency-Key",
                format!("expected 1 to 255 bytes, got {got}"),
            ));
        }
        let if_match = self.header("If-Match")?.map(str::as_bytes);
        // The vote of another kind is another request; without the header the fingerprint is as it was.
        let upsert = self.header(UPSERT)?.map(str::as_bytes);
        Ok(Some(IdempotencyKey::new(
            key,
            [
                self.route.method.as_str().as_bytes(),
                self.route.path.as_bytes(),
                self.id.as_bytes(),
                if_match.unwrap_or_default(),
                &self.body,
            ]
            .into_iter()
            .chain(upsert),
        )))
    }

    /// Whether `x-hindsight-upsert: user` asks for upserts.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] for another value, or if it is there twice.
    pub fn is_upsert(&self) -> Result<bool, Problem> {
        match self.header(UPSERT)? {
            None => Ok(false),
            Some("user") => Ok(true),
            Some(other) => Err(Problem::invalid(
                UPSERT,
                format!("expected user, got {} bytes of something else", other.len()),
            )),
        }
    }

    fn header(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| std::str::from_utf8(value.as_bytes()));
        match (value, values.next()) {
            (None, _) => Ok(None),
            // The event's JSON cannot hold invalid UTF-8 and has U+FFFD in its place. Two different values
            // may have become the same.
            (Some(Ok(value)), None) if value.contains(char::REPLACEMENT_CHARACTER) => {
                Err(Problem::invalid(name, "expected UTF-8 without U+FFFD"))
            }
            (Some(Ok(value)), None) => Ok(Some(value)),
            (Some(_), Some(_)) => Err(Problem::invalid(name, "expected once, got several")),
            (Some(Err(_)), None) => Err(Problem::invalid(name, "expected UTF-8")),
        }
    }
}

/// A handler's successful result: status 200 with a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The body, a JSON object.
    pub body: String,
    /// The version of the record, if the response is about a single one.
    pub version: Option<u64>,
    /// The number of stored records, if the request stored any.
    pub votes: Option<Votes>,
    /// The type and caching of a body that is no JSON object of one moment.
    pub document: Option<Document>,
    /// The status and headers of the console's answer, which is no JSON object of status 200.
    pub page: Option<Box<Page>>,
}

/// Status and headers of an answer for a person's browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The headers, the content type among them.
    pub headers: HeaderMap,
    /// What the answer is about, if that is a problem: for the log.
    pub problem: Option<Problem>,
}

/// What a route without a key is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub body: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// How long it may be cached.
    pub cache_control: &'static str,
    /// The request header that a cached copy is bound to. API Gateway adds CORS headers only for the origin that
    /// asks, so a copy for another one lacks them.
    pub vary: Option<&'static str>,
}

impl Document {
    /// A JSON object that is not to be cached.
    pub const fn json(body: &'static str) -> Self {
        Self {
            body,
            content_type: "application/json",
            cache_control: "no-store",
            vary: None,
        }
    }

    /// JavaScript, for pages of any origin.
    pub const fn script(body: &'static str, cache_control: &'static str) -> Self {
        Self {
            body,
            content_type: "text/javascript; charset=utf-8",
            cache_control,
            vary: Some("origin"),
        }
    }
}

/// Newly stored feedback, for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Votes {
    /// The scale of the scores, `value` or `rating`.
    pub scale: &'static str,
    /// The number of records.
    pub count: u64,
}

impl Reply {
    /// A response about several records or a deleted one.
    pub fn new(body: String) -> Self {
        Self {
            body,
            version: None,
            votes: None,
            document: None,
            page: None,
        }
    }

    /// An answer for a person's browser.
    pub fn page(body: String, page: Page) -> Self {
        Self {
            page: Some(Box::new(page)),
            ..Self::new(body)
        }
    }

    /// The answer to a request without a key.
    pub fn document(document: Document) -> Self {
        Self {
            document: Some(document),
            ..Self::new(document.body.to_owned())
        }
    }

    /// A response about one record at this version.
    pub fn about(body: String, version: u64) -> Self {
        Self {
            version: Some(version),
            ..Self::new(body)
        }
    }

    /// The response to a write, with the version that it made.
    pub fn written(body: String, written: &Written) -> Self {
        Self {
            version: written.version,
            ..Self::new(body)
        }
    }

    /// Adds the number of stored records. A repeat under the same `Idempotency-Key` stored none.
    pub fn voted(self, scale: &'static str, written: &Written) -> Self {
        let count = u64::try_from(written.ids.len()).unwrap_or(u64::MAX);
        Self {
            votes: (!written.replayed).then_some(Votes { scale, count }),
            ..self
        }
    }
}
