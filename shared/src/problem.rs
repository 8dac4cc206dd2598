//! Everything that can go wrong with a request, once. How each dialect says it is in [`crate::dialect`].

use std::time::Duration;

/// How soon a refused caller may come again: the `Retry-After` of 429 and 503.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One thing wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: a path like `feedback[3].value`, a header's or a query parameter's name, `body`.
    pub field: String,
    /// The field, what was expected and what came, as `value: expected an integer from -10 to 10, got 11`.
    /// It never holds the text of a comment, of metadata, of an id or of a key.
    pub message: String,
    /// Whether it is a size that is over its limit: 413 instead of 400.
    pub too_large: bool,
}

impl Fault {
    /// A fault of `field`, which the message begins with: `{field}: {rest}`.
    pub fn new(field: impl Into<String>, rest: impl AsRef<str>) -> Self {
        let field = field.into();
        let message = format!("{field}: {}", rest.as_ref());
        Self {
            field,
            message,
            too_large: false,
        }
    }

    /// The same for a size over its limit.
    pub fn too_large(field: impl Into<String>, rest: impl AsRef<str>) -> Self {
        Self {
            too_large: true,
            ..Self::new(field, rest)
        }
    }
}

/// Why a request is not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// 400, or 413 if any of the faults is a size: every faulty field, never an empty list.
    Invalid(Vec<Fault>),
    /// 401: no credential, or not a valid one. Which of the two is not told.
    Unauthorized,
    /// 403: the key is valid and its scope, named here, is not among those that allow the route.
    Forbidden {
        /// The scope that the route asks for.
        needs: &'static str,
    },
    /// 403: the query names another workspace than the key's.
    ForeignWorkspace,
    /// 401: a vote token that is malformed, forged, expired or of an unknown or revoked key, with what is wrong.
    BadToken(String),
    /// 403: what a vote token does not allow, with the claim that does not.
    Denied(String),
    /// 404: no such feedback in this workspace.
    NotFound,
    /// 409: this `Idempotency-Key` was used for another request.
    KeyReused,
    /// 412: `If-Match` names another version than the record has.
    VersionMismatch,
    /// 429: the database throttles, and nothing was written.
    Throttled,
    /// 503: the database failed or was too slow; a write may or may not have happened.
    Unavailable {
        /// For the log, never for the caller.
        cause: String,
    },
    /// 500: a defect or a misconfiguration of ours.
    Internal {
        /// For the log, never for the caller.
        cause: String,
    },
}

impl Problem {
    /// The problem of one faulty field.
    pub fn invalid(field: impl Into<String>, rest: impl AsRef<str>) -> Self {
        Self::Invalid(vec![Fault::new(field, rest)])
    }

    /// A defect or a misconfiguration; `cause` is for the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::Internal { cause: cause.into() }
    }

    /// A database that failed or was too slow; `cause` is for the log.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self::Unavailable { cause: cause.into() }
    }

    /// Every [`Problem::code`].
    pub const CODES: [&str; 11] = [
        "invalid",
        "too_large",
        "unauthorized",
        "forbidden",
        "foreign_workspace",
        "not_found",
        "key_reused",
        "version_mismatch",
        "throttled",
        "unavailable",
        "internal",
    ];

    /// Its name in the log and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(faults) if faults.iter().any(|fault| fault.too_large) => "too_large",
            Self::Invalid(_) => "invalid",
            Self::Unauthorized | Self::BadToken(_) => "unauthorized",
            Self::Forbidden { .. } | Self::Denied(_) => "forbidden",
            Self::ForeignWorkspace => "foreign_workspace",
            Self::NotFound => "not_found",
            Self::KeyReused => "key_reused",
            Self::VersionMismatch => "version_mismatch",
            Self::Throttled => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Internal { .. } => "internal",
        }
    }

    /// What the caller is told.
    pub fn message(&self) -> String {
        match self {
            Self::Invalid(faults) => {
                let messages: Vec<&str> = faults.iter().map(|f| f.message.as_str()).collect();
                messages.join("; ")
            }
            Self::Unauthorized => {
                "a valid API key is required, in x-portkey-api-key or as Authorization: Bearer".into()
            }
            Self::Forbidden { needs } => {
                format!("this API key lacks the scope {needs}, which this call needs")
            }
            Self::BadToken(message) | Self::Denied(message) => message.clone(),
            Self::ForeignWorkspace => "this API key belongs to another workspace".into(),
            Self::NotFound => "no such feedback".into(),
            Self::KeyReused => "this Idempotency-Key was used for a different request".into(),
            Self::VersionMismatch => "the feedback is not at the version in If-Match".into(),
            Self::Throttled => "the storage is throttled and nothing was written: retry shortly".into(),
            Self::Unavailable { .. } => {
                "the storage failed or did not answer in time: retry shortly, with the same Idempotency-Key if the \
                 request had one"
                    .into()
            }
            Self::Internal { .. } => "an internal error occurred".into(),
        }
    }

    /// What the log is told: field names and causes, never a value that a caller sent.
    pub fn log_message(&self) -> String {
        match self {
            Self::Invalid(faults) => {
                let fields: Vec<&str> = faults.iter().map(|f| f.field.as_str()).collect();
                format!("invalid: {}", fields.join(", "))
            }
            Self::Unavailable { cause } | Self::Internal { cause } => cause.clone(),
            // The message may name an unknown claim, which is the caller's text.
            Self::BadToken(_) => "a vote token that is not valid".into(),
            Self::Denied(_) => "not allowed by the vote token".into(),
            other => other.message(),
        }
    }
}
