//! The definitions of the tables. template.yaml creates them in an AWS account, `local` in the embedded
//! database, and a test compares the two.

use crate::indexed::Field;

/// A table's definition. Every key attribute is a string.
#[derive(Debug)]
pub struct Table {
    /// The table's name in the code and in the embedded database.
    pub name: &'static str,
    /// The environment variable with the table's name in an AWS account.
    pub variable: &'static str,
    /// The partition key.
    pub hash: &'static str,
    /// The sort key, if it has one.
    pub range: Option<&'static str>,
    /// The indexes, which all project every attribute.
    pub indexes: &'static [Index],
    /// The time-to-live attribute, if items expire.
    pub expires: Option<&'static str>,
    /// Whether changes are streamed, with the old and new images.
    pub streams: bool,
}

/// A global secondary index that projects every attribute.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// The index's name.
    pub name: &'static str,
    /// The partition key.
    pub hash: &'static str,
    /// The sort key.
    pub range: &'static str,
}

/// The table of feedback.
pub const FEEDBACK: Table = Table {
    name: "feedback",
    variable: "FEEDBACK_TABLE",
    hash: "pk",
    range: Some("sk"),
    indexes: &FEEDBACK_INDEXES,
    expires: Some("expires_at"),
    streams: true,
};

/// The index for lists by time and look-ups by id.
pub const BY_TIME: Index = Index::new("by-time", "time_key");
/// The index for all feedback of a trace, including its spans.
pub const BY_TRACE: Index = Index::new("by-trace", "trace_key");

/// [`BY_TIME`], [`BY_TRACE`], and the sparse index of each indexed field.
const FEEDBACK_INDEXES: [Index; 2 + Field::ALL.len()] = {
    let mut indexes = [BY_TIME; 2 + Field::ALL.len()];
    indexes[1] = BY_TRACE;
    let mut place = 0;
    while place < Field::ALL.len() {
        let field = Field::ALL[place];
        indexes[2 + place] = Index::new(field.index(), field.key());
        place += 1;
    }
    indexes
};

impl Index {
    /// An index with this partition key, sorted by `id`.
    pub const fn new(name: &'static str, hash: &'static str) -> Self {
        Self {
            name,
            hash,
            range: "id",
        }
    }
}

/// The results under each `Idempotency-Key`, kept for a day.
pub const IDEMPOTENCY: Table = Table {
    name: "idempotency",
    variable: "IDEMPOTENCY_TABLE",
    hash: "pk",
    range: None,
    indexes: &[],
    expires: Some("expires_at"),
    streams: false,
};

/// The API keys, without their secrets.
pub const API_KEYS: Table = Table {
    name: "api-keys",
    variable: "API_KEYS_TABLE",
    hash: "id",
    range: None,
    indexes: &[],
    expires: None,
    streams: false,
};

/// The roll-ups, checkpoints and parked changes.
pub const STATS: Table = Table {
    name: "stats",
    variable: "STATS_TABLE",
    hash: "pk",
    range: Some("sk"),
    indexes: &[],
    expires: Some("expires_at"),
    streams: false,
};

/// The sessions of the console, and invites to it, until they expire.
pub const SESSIONS: Table = Table {
    name: "sessions",
    variable: "SESSIONS_TABLE",
    hash: "id",
    range: None,
    indexes: &[],
    expires: Some("expires_at"),
    streams: false,
};

/// Every table.
pub const ALL: [&Table; 5] = [&FEEDBACK, &IDEMPOTENCY, &API_KEYS, &STATS, &SESSIONS];
