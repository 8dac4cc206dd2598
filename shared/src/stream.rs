//! A batch of the feedback table's stream, as Lambda delivers it to `aggregate` and `publish`.
//!
//! Their event sources have a tumbling window only because the events then name the shard of their records. The
//! window's state stays empty.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::problem::Problem;
use crate::stats::change::StreamRecord;
use crate::timestamp::Timestamp;

/// A batch of a shard's changes (docs.aws.amazon.com/lambda/latest/dg/services-ddb-windows.html).
#[derive(Debug, Deserialize)]
pub struct Event {
    /// The changes; empty if the event only ends the window.
    #[serde(rename = "Records", default)]
    pub records: Vec<StreamRecord>,
    /// The stream shard of the changes.
    #[serde(rename = "shardId")]
    pub shard_id: String,
}

impl Event {
    /// The time of the newest change.
    pub fn newest(&self) -> Option<Timestamp> {
        self.records
            .iter()
            .map(|record| record.happened_at)
            // A record without a time is read as 1970.
            .filter(|moment| *moment > Timestamp::default())
            .max()
    }
}

/// The response to a batch whose changes are all processed or parked. It never reports a partial failure:
/// Lambda would then cut the batch at the failed change, so a change that can never be read would hold back
/// all changes after it (docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// The window's state, which Lambda requires and the functions leave empty.
    pub state: HashMap<String, String>,
}

/// The payload of an invocation: an [`Event`], or the reason why it is not one.
///
/// lambda_runtime would log serde's error, which quotes the event. So any JSON is accepted here, and the
/// error says only where reading stopped.
#[derive(Debug)]
pub struct Payload(Result<Event, Unreadable>);

impl Payload {
    /// The event.
    ///
    /// # Errors
    ///
    /// [`Problem::Internal`] with the position at which it could not be read.
    pub fn into_event(self) -> Result<Event, Problem> {
        self.0
            .map_err(|unreadable| Problem::internal(unreadable.to_string()))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(json.get()).map_err(Unreadable::from)))
    }
}

/// The position at which an event could not be read. It quotes nothing from the event.
#[derive(Debug)]
struct Unreadable {
    column: usize,
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self {
            column: error.column(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "event: expected a DynamoDB stream batch, got something else at column {}",
            self.column
        )
    }
}
