//! The two vendors' APIs over the same records.
//!
//! Each dialect turns a request body into domain types, or into a list of every fault in it. It turns
//! records, results and [`Problem`](crate::problem::Problem)s into the vendor's JSON.

pub mod analytics;
pub mod erasure;
mod parameters;
pub mod portkey;
pub mod record;
pub mod truefoundry;
pub mod vote;

use serde::Serialize;

use crate::fields::Fields;
use crate::id::FeedbackId;
use crate::metadata::Comment;
use crate::problem::Fault;

/// The vendor whose JSON a route uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v1/feedback`
    Portkey,
    /// `/api/svc/v1/gateway-feedback`
    TrueFoundry,
    /// `/v1/vote`: ours, for pages.
    Vote,
    /// `/console`: HTML for people.
    Console,
}

impl Dialect {
    /// The dialect's name in the log and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portkey => "portkey",
            Self::TrueFoundry => "truefoundry",
            Self::Vote => "vote",
            Self::Console => "console",
        }
    }
}

/// What a write did to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// POST
    Saved,
    /// PUT
    Updated,
    /// DELETE
    Deleted,
}

/// Parses the id in a path, hyphenated or not, in upper or lower case.
fn path_id(text: &str) -> Result<FeedbackId, Fault> {
    FeedbackId::parse(text).ok_or_else(|| {
        let expected = FeedbackId::EXPECTED;
        Fault::new(
            "id",
            format!("expected {expected}, got {} bytes of something else", text.len()),
        )
    })
}

/// Adds a warning if the comment is not stored exactly as it was sent.
fn warn_of_comment(fields: &mut Fields<'_>) {
    if let Some(warning) = fields.raw("comment").and_then(Comment::warning) {
        fields.warn(warning);
    }
}

/// Serializes a response body.
fn to_json<T: Serialize>(body: &T) -> String {
    // Strings, numbers and validated JSON text always serialize. If that ever failed, the caller would
    // still get an object, and tests would notice.
    serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned())
}
