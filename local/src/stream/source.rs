//! Where changes are read from: a stream's shards, and the changes in them.

use std::time::Duration;

use serde_json::Value;
use shared::stats::count::SequenceNumber;
use shared::timestamp::Timestamp;

/// How long a stream keeps a change, read or not
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html, "Data retention limit").
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A stream of changes in shards.
pub trait Source {
    /// What reads one shard.
    type Reader: Reader;

    /// The stream's ARN, which events and failure records name.
    fn arn(&self) -> &str;

    /// Every shard that the stream still knows, closed ones too, in any order.
    fn shards(&self) -> impl Future<Output = Result<Vec<Shard>, String>> + Send;

    /// A reader of a shard from this place on.
    fn reader(&self, shard: &str, place: Place) -> Self::Reader;
}

/// What reads one shard, from its place to its end.
pub trait Reader {
    /// The next changes, at most so many. After an error it can be asked again.
    fn read(&mut self, limit: usize) -> impl Future<Output = Result<Page, String>> + Send;
}

/// A shard of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The shard that it continues, if the stream says so. That one may be forgotten already.
    pub parent: Option<String>,
}

/// A place in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the oldest change that is kept.
    TrimHorizon,
    /// After this change.
    After(SequenceNumber),
}

/// What one read brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The changes, in their order. There may be none although some follow.
    pub changes: Vec<Change>,
    /// What follows them.
    pub rest: Rest,
    /// Whether changes between the place and these were forgotten before they were read.
    pub trimmed: bool,
}

/// What follows a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Perhaps more changes.
    More,
    /// Nothing yet.
    Nothing,
    /// Nothing ever: the shard is closed and was read to its end.
    Closed,
}

/// A change, as the stream tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its place in its shard.
    pub number: SequenceNumber,
    /// When it entered the stream.
    pub created_at: Timestamp,
    /// How many bytes of JSON it is.
    pub size: usize,
    /// All of it: a record of GetRecords' answer.
    pub record: Value,
}

impl Change {
    /// The change that a record of GetRecords' answer is.
    pub fn of(record: Value) -> Self {
        let number = record["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default();
        let seconds = record["dynamodb"]["ApproximateCreationDateTime"].as_f64();
        Self {
            number: SequenceNumber(number.to_owned()),
            created_at: Timestamp::from_seconds(seconds.unwrap_or_default()),
            size: record.to_string().len(),
            record,
        }
    }
}
