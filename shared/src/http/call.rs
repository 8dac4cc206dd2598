//! What a handler gets, and what it returns.

use lambda_http::http::HeaderMap;

use super::Route;
use crate::access::Caller;
use crate::access::token::VoteToken;
use crate::id::Workspace;
use crate::problem::Problem;
use crate::store::Written;
use crate::store::idempotency::IdempotencyKey;
use crate::timestamp::Timestamp;

/// The most a body may be, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// The header that makes a create an upsert.
const UPSERT: &str = "x-hindsight-upsert";

/// A request that was let in.
#[derive(Debug)]
pub struct Call {
    /// Its route.
    pub route: &'static Route,
    /// Whose feedback it is about.
    pub caller: Caller,
    /// When it came.
    pub now: Timestamp,
    id: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Vec<u8>,
    token: Option<VoteToken>,
}

impl Call {
    /// A call of `route`; `id` is what its `{id}` stands for, decoded, empty if it has none.
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

    /// The same call, with the vote token that it bears.
    pub fn with_token(self, token: VoteToken) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    /// The vote token that it bears, on a route that asks for one.
    pub fn token(&self) -> Option<&VoteToken> {
        self.token.as_ref()
    }

    /// Whose feedback it is about.
    pub fn workspace(&self) -> &Workspace {
        &self.caller.workspace
    }

    /// What `{id}` stands for.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The parameters of the query string, decoded, in their order.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The body as text. Its size was checked when the call was let in.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] if it is not UTF-8.
    pub fn body(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.body).map_err(|error| {
            Problem::invalid(
                "body",
                format!("invalid UTF-8 at byte offset {}", error.valid_up_to()),
            )
        })
    }

    /// The version that `If-Match` asks for. `None` where there is no such header, or `*`.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] if the header is no entity tag or there twice, [`Problem::VersionMismatch`] for a tag that
    /// no record ever has.
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
            // A tag of the right form that no record ever has.
            Some(_) => Err(Problem::VersionMismatch),
            None => Err(Problem::invalid(
                "If-Match",
                r#"expected one version in double quotes, as "3", or *"#,
            )),
        }
    }

    /// The `Idempotency-Key`, with what makes this request the same as another.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] if it is not 1 to 255 bytes of UTF-8, or there twice.
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
            // In its place there were bytes that an event's JSON cannot hold. Two values that differ in
            // them have become one.
            (Some(Ok(value)), None) if value.contains(char::REPLACEMENT_CHARACTER) => {
                Err(Problem::invalid(name, "expected UTF-8 without U+FFFD"))
            }
            (Some(Ok(value)), None) => Ok(Some(value)),
            (Some(_), Some(_)) => Err(Problem::invalid(name, "expected once, got several")),
            (Some(Err(_)), None) => Err(Problem::invalid(name, "expected UTF-8")),
        }
    }
}

/// What a handler answers with when all went well: always 200 and a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// A JSON object.
    pub body: String,
    /// The version of the one record it is about.
    pub version: Option<u64>,
    /// What was stored, if the request stored any.
    pub votes: Option<Votes>,
    /// The type and caching of a body that is no JSON object of one moment.
    pub document: Option<Document>,
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
}

impl Document {
    /// A JSON object that is not to be cached.
    pub const fn json(body: &'static str) -> Self {
        Self {
            body,
            content_type: "application/json",
            cache_control: "no-store",
        }
    }

    /// JavaScript.
    pub const fn script(body: &'static str, cache_control: &'static str) -> Self {
        Self {
            body,
            content_type: "text/javascript; charset=utf-8",
            cache_control,
        }
    }
}

/// New feedback, for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Votes {
    /// The scale it is on, `value` or `rating`.
    pub scale: &'static str,
    /// How many records.
    pub count: u64,
}

impl Reply {
    /// An answer about several records, or about one that is gone.
    pub fn new(body: String) -> Self {
        Self {
            body,
            version: None,
            votes: None,
            document: None,
        }
    }

    /// The answer to a request without a key.
    pub fn document(document: Document) -> Self {
        Self {
            document: Some(document),
            ..Self::new(document.body.to_owned())
        }
    }

    /// An answer about one record, as it is at this version.
    pub fn about(body: String, version: u64) -> Self {
        Self {
            version: Some(version),
            ..Self::new(body)
        }
    }

    /// An answer to a write, about the version it made.
    pub fn written(body: String, written: &Written) -> Self {
        Self {
            version: written.version,
            ..Self::new(body)
        }
    }

    /// The answer to a request that stored records on this scale, or would have, had they not been
    /// stored before.
    pub fn voted(self, scale: &'static str, written: &Written) -> Self {
        let count = u64::try_from(written.ids.len()).unwrap_or(u64::MAX);
        Self {
            votes: (!written.replayed).then_some(Votes { scale, count }),
            ..self
        }
    }
}
