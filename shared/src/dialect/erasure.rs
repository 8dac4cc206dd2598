//! Erasing a user: `POST /v1/erasures`.

use serde::Serialize;

use super::to_json;
use crate::erasure::{Phase, Progress, UserName};
use crate::fields::{FromJson, JsonRef, Kind, Refusal, body_fields, string};
use crate::id::Workspace;
use crate::problem::{Fault, Problem};
use crate::timestamp::Timestamp;

/// The text of a cursor.
struct Cursor(String);

impl FromJson for Cursor {
    const EXPECTED: &str = "the cursor of an answer about this user";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if Kind::of(json) != Kind::String {
            return Err(Refusal::Mismatch);
        }
        string(json).map(Self)
    }
}

/// Parses the body of a POST: the user, and how far its erasure is. An unknown field is refused, since it may be meant
/// to spare something.
///
/// # Errors
///
/// [`Problem::Invalid`] with every faulty field.
pub fn parse(body: &str, workspace: &Workspace, now: Timestamp) -> Result<(UserName, Progress), Problem> {
    let mut fields = body_fields(body)?;
    let user = fields.required::<UserName>("user");
    let cursor = fields.optional::<Cursor>("cursor");
    let unknown = fields.unknown();
    if !unknown.is_empty() {
        // The names come from the caller, so they are not logged as those of fields.
        fields.fault(Fault::new(
            "body",
            format!("unknown field {}, expected user, cursor", unknown.join(", ")),
        ));
    }
    let progress = match (&user, cursor) {
        (Some(user), Some(Cursor(text))) => {
            let progress = Progress::from_cursor(&text, workspace, user);
            if progress.is_none() {
                let expected = Cursor::EXPECTED;
                fields.fault(Fault::new(
                    "cursor",
                    format!("expected {expected}, got another text; without one, it begins again"),
                ));
            }
            progress
        }
        _ => Some(Progress::beginning(now)),
    };
    fields.finish(user.zip(progress)).map_err(Problem::Invalid)
}

#[derive(Serialize)]
struct Body {
    object: &'static str,
    status: &'static str,
    deleted: Deleted,
    cursor: Option<String>,
    gone_at: String,
}

#[derive(Serialize)]
struct Deleted {
    records: u64,
    rollups: u64,
    parked: u64,
}

/// The response: whether the erasure is done, what it has deleted since it began, and when backups and the stream
/// hold nothing of it either.
pub fn render(workspace: &Workspace, user: &UserName, progress: &Progress, now: Timestamp) -> String {
    let is_done = progress.phase == Phase::Done;
    to_json(&Body {
        object: "erasure",
        status: if is_done { "done" } else { "pending" },
        deleted: Deleted {
            records: progress.records,
            rollups: progress.rollups,
            parked: progress.parked,
        },
        cursor: (!is_done).then(|| progress.cursor(workspace, user)),
        gone_at: Progress::gone_at(now).to_string(),
    })
}
