//! The tables as they must be, wherever they are: template.yaml makes them in an account, `local`
//! in the embedded database, and a test holds the one against the other.

use crate::indexed::Field;

/// A table's shape. Every key attribute is a string.
#[derive(Debug)]
pub struct Table {
    /// The table's part in the service, and its name in the embedded database.
    pub name: &'static str,
    /// The variable that names the table to a function.
    pub variable: &'static str,
    /// The partition key.
    pub hash: &'static str,
    /// The sort key, if it has one.
    pub range: Option<&'static str>,
    /// The indexes, each with all attributes.
    pub indexes: &'static [Index],
    /// The attribute of its time to live, if items expire.
    pub expires: Option<&'static str>,
    /// Whether changes are streamed, with the images before and after.
    pub streams: bool,
}

/// A global secondary index with all attributes.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its partition key.
    pub hash: &'static str,
    /// Its sort key.
    pub range: &'static str,
}

/// Feedback, and nothing else.
pub const FEEDBACK: Table = Table {
    name: "feedback",
    variable: "FEEDBACK_TABLE",
    hash: "pk",
    range: Some("sk"),
    indexes: &FEEDBACK_INDEXES,
    expires: Some("expires_at"),
    streams: true,
};

/// Lists by time, and look-ups by id alone.
pub const BY_TIME: Index = Index::new("by-time", "time_key");
/// All feedback of a trace, over its spans.
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

/// What was answered under each `Idempotency-Key`, for a day.
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

/// The roll-ups, and how far the stream has been counted.
pub const STATS: Table = Table {
    name: "stats",
    variable: "STATS_TABLE",
    hash: "pk",
    range: Some("sk"),
    indexes: &[],
    expires: Some("expires_at"),
    streams: false,
};

/// Every table.
pub const ALL: [&Table; 4] = [&FEEDBACK, &IDEMPOTENCY, &API_KEYS, &STATS];
