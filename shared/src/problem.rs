//! All errors that a request can end with. [`crate::dialect`] renders them.

use std::time::Duration;

/// The delay in `Retry-After` of 429 and 503.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One error in one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field: a path like `feedback[3].value`, the name of a header or query parameter, or `body`.
    pub field: String,
    /// The field, what was expected and what came, as in `value: expected an integer from -10 to 10, got
    /// 11`. It never contains the text of a comment, metadata, an id or a key.
    pub message: String,
    /// Whether a size is over its limit: 413 instead of 400.
    pub too_large: bool,
}

impl Fault {
    /// A fault of `field` with the message `{field}: {rest}`.
    pub fn new(field: impl Into<String>, rest: impl AsRef<str>) -> Self {
        let field = field.into();
        let message = format!("{field}: {}", rest.as_ref());
        Self {
            field,
            message,
            too_large: false,
        }
    }

    /// A fault of a size over its limit.
    pub fn too_large(field: impl Into<String>, rest: impl AsRef<str>) -> Self {
        Self {
            too_large: true,
            ..Self::new(field, rest)
        }
    }
}

/// The reason why a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// 400, or 413 if any fault is a size. It lists every invalid field and is never empty.
    Invalid(Vec<Fault>),
    /// 401: no key or no valid one. The response does not say which.
    Unauthorized,
    /// 403: the key is valid but lacks the scope that the route requires.
    Forbidden {
        /// The required scope.
        needs: &'static str,
    },
    /// 403: the query names a workspace other than the key's.
    ForeignWorkspace,
    /// 401: a vote token that is malformed, forged, expired or of an unknown or revoked key, with what is wrong.
    BadToken(String),
    /// 403: what a vote token does not allow, with the claim that does not.
    Denied(String),
    /// 403: a form that no page of this console sent, or that belongs to another session.
    ForeignForm,
    /// 404: no such feedback in this workspace.
    NotFound,
    /// 409: this `Idempotency-Key` was used for a different request.
    KeyReused,
    /// 412: the record is not at the version in `If-Match`.
    VersionMismatch,
    /// 429: DynamoDB throttles, and nothing was written.
    Throttled,
    /// 503: DynamoDB failed or was too slow. A write may or may not have happened.
    Unavailable {
        /// The cause, for the log only.
        cause: String,
    },
    /// 500: a defect or a wrong configuration.
    Internal {
        /// The cause, for the log only.
        cause: String,
    },
}

impl Problem {
    /// A problem with one invalid field.
    pub fn invalid(field: impl Into<String>, rest: impl AsRef<str>) -> Self {
        Self::Invalid(vec![Fault::new(field, rest)])
    }

    /// A defect or a wrong configuration. `cause` is for the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::Internal { cause: cause.into() }
    }

    /// A failed or slow DynamoDB. `cause` is for the log.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self::Unavailable { cause: cause.into() }
    }

    /// Every value of [`Problem::code`].
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

    /// The problem's name in the log and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(faults) if faults.iter().any(|fault| fault.too_large) => "too_large",
            Self::Invalid(_) => "invalid",
            Self::Unauthorized | Self::BadToken(_) => "unauthorized",
            Self::Forbidden { .. } | Self::Denied(_) | Self::ForeignForm => "forbidden",
            Self::ForeignWorkspace => "foreign_workspace",
            Self::NotFound => "not_found",
            Self::KeyReused => "key_reused",
            Self::VersionMismatch => "version_mismatch",
            Self::Throttled => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Internal { .. } => "internal",
        }
    }

    /// The message for the caller.
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
            Self::ForeignForm => {
                "this form did not come from a page of this console, or its session has ended: reload the page and \
                 send the form again"
                    .into()
            }
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

    /// The message for the log: field names and causes, never values from the request.
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
