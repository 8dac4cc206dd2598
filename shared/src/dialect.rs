//! The two vendors' ways to say the same thing.
//!
//! Each dialect turns a request's body into domain types or a list of every fault in it, and
//! turns records, outcomes and [`Problem`](crate::problem::Problem)s into the vendor's JSON.

pub mod analytics;
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

/// Whose spelling a route speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v1/feedback`
    Portkey,
    /// `/api/svc/v1/gateway-feedback`
    TrueFoundry,
    /// `/v1/vote`: ours, for pages.
    Vote,
}

impl Dialect {
    /// Its name in the log and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portkey => "portkey",
            Self::TrueFoundry => "truefoundry",
            Self::Vote => "vote",
        }
    }
}

/// What was done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// POST
    Saved,
    /// PUT
    Updated,
    /// DELETE
    Deleted,
}

/// Reads the id in a path, hyphenated or not, in any case.
fn path_id(text: &str) -> Result<FeedbackId, Fault> {
    FeedbackId::parse(text).ok_or_else(|| {
        let expected = FeedbackId::EXPECTED;
        Fault::new(
            "id",
            format!("expected {expected}, got {} bytes of something else", text.len()),
        )
    })
}

/// Notes that a comment is not stored as it came.
fn warn_of_comment(fields: &mut Fields<'_>) {
    if let Some(warning) = fields.raw("comment").and_then(Comment::warning) {
        fields.warn(warning);
    }
}

/// An answer's body as text.
fn to_json<T: Serialize>(body: &T) -> String {
    // Strings, numbers and checked JSON text always serialise. Were one not to, the caller would
    // get an object all the same, and its tests would fail.
    serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned())
}
