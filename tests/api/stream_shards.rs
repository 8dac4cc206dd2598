//! An in-memory stream that has shards, splits them and expires changes like DynamoDB's
//! (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::stream::clock::Clock;
use local::stream::source::{Change, Page, Place, RETENTION, Reader, Rest, Shard, Source};
use serde_json::{Value, json};
use shared::stats::change::SequenceNumber;

pub const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/feedback/stream/2026-11-21T00:00:00.000";

/// A stream. Clones share it.
#[derive(Clone, Debug)]
pub struct Shards {
    clock: Clock,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    shards: Vec<Held>,
    written: u64,
}

#[derive(Debug)]
struct Held {
    shard: Shard,
    /// The range of key hashes whose changes it receives: start inclusive, end exclusive.
    keys: (u64, u64),
    closed: bool,
    changes: Vec<Change>,
    /// The last change that has expired.
    forgotten: Option<SequenceNumber>,
}

impl Shards {
    /// A stream with this many shards.
    pub fn new(clock: Clock, count: u64) -> Self {
        let stream = Self {
            clock,
            kept: Arc::default(),
        };
        let part = u64::MAX / count;
        for place in 0..count {
            let end = if place + 1 == count {
                u64::MAX
            } else {
                part * (place + 1)
            };
            stream.open(None, (part * place, end));
        }
        stream
    }

    fn open(&self, parent: Option<&str>, keys: (u64, u64)) -> String {
        let mut kept = self.kept.lock().unwrap();
        let id = format!("shardId-{:020}", kept.shards.len() + 1);
        kept.shards.push(Held {
            shard: Shard {
                id: id.clone(),
                parent: parent.map(str::to_owned),
            },
            keys,
            closed: false,
            changes: Vec::new(),
            forgotten: None,
        });
        id
    }

    /// The shards that are open.
    pub fn taking(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        let open = kept.shards.iter().filter(|held| !held.closed);
        open.map(|held| held.shard.id.clone()).collect()
    }

    /// Closes a shard, and opens two child shards that divide its keys.
    pub fn split(&self, shard: &str) -> [String; 2] {
        let (from, to) = {
            let mut kept = self.kept.lock().unwrap();
            let held = kept
                .shards
                .iter_mut()
                .find(|held| held.shard.id == shard)
                .unwrap();
            assert!(!held.closed, "{shard} is closed already");
            held.closed = true;
            held.keys
        };
        let middle = from + (to - from) / 2;
        [(from, middle), (middle, to)].map(|keys| self.open(Some(shard), keys))
    }

    /// Writes a change to the item with this key, like the table's stream would.
    pub fn write(&self, key: &str, old: Option<&Value>, new: Option<&Value>) -> SequenceNumber {
        let mut kept = self.kept.lock().unwrap();
        kept.written += 1;
        let number = format!(
            "{:021}",
            400_000_000_000_000_000_000_u128 + u128::from(kept.written)
        );
        let name = match (old, new) {
            (None, _) => "INSERT",
            (_, None) => "REMOVE",
            _ => "MODIFY",
        };
        let image = new.or(old).unwrap();
        let mut change = json!({
            // The stream's times are in whole seconds.
            "ApproximateCreationDateTime": self.clock.now().seconds(),
            "Keys": {"pk": image["pk"], "sk": image["sk"]},
            "SequenceNumber": number,
            "SizeBytes": 1,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        for (name, image) in [("OldImage", old), ("NewImage", new)] {
            if let Some(image) = image {
                change[name] = image.clone();
            }
        }
        let record = json!({
            "eventID": number,
            "eventName": name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": change,
        });
        let hash = hash(key);
        let takes = |held: &&mut Held| {
            let (from, to) = held.keys;
            !held.closed && from <= hash && (hash < to || to == u64::MAX)
        };
        let held = kept.shards.iter_mut().find(takes).unwrap();
        held.changes.push(Change::of(record));
        SequenceNumber(number)
    }

    /// "DynamoDB Streams writes stream records … and stores this information in a log for up to 24
    /// hours", and a shard is deleted when all its changes have expired.
    fn forget(&self) {
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap();
        for held in &mut kept.shards {
            let is_kept = |change: &Change| change.created_at.age(now) <= RETENTION;
            let first = held
                .changes
                .iter()
                .position(is_kept)
                .unwrap_or(held.changes.len());
            if let Some(last) = held.changes.drain(..first).next_back() {
                held.forgotten = Some(last.number);
            }
        }
        kept.shards
            .retain(|held| !held.closed || !held.changes.is_empty() || held.forgotten.is_none());
    }
}

impl Source for Shards {
    type Reader = ShardReader;

    fn arn(&self) -> &str {
        ARN
    }

    async fn shards(&self) -> Result<Vec<Shard>, String> {
        self.forget();
        let kept = self.kept.lock().unwrap();
        // Children first, because no order is promised.
        Ok(kept.shards.iter().rev().map(|held| held.shard.clone()).collect())
    }

    fn reader(&self, shard: &str, place: Place) -> ShardReader {
        ShardReader {
            stream: self.clone(),
            shard: shard.to_owned(),
            after: match place {
                Place::TrimHorizon => None,
                Place::After(number) => Some(number),
            },
        }
    }
}

#[derive(Debug)]
pub struct ShardReader {
    stream: Shards,
    shard: String,
    after: Option<SequenceNumber>,
}

impl Reader for ShardReader {
    async fn read(&mut self, limit: usize) -> Result<Page, String> {
        // The duration of a call, so that a paused clock advances.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.stream.forget();
        let kept = self.stream.kept.lock().unwrap();
        let Some(held) = kept.shards.iter().find(|held| held.shard.id == self.shard) else {
            return Ok(Page {
                changes: Vec::new(),
                rest: Rest::Closed,
                trimmed: true,
            });
        };
        let trimmed = self.after.is_some() && held.forgotten > self.after;
        let from = held.changes.partition_point(|change| {
            let after = self.after.as_ref();
            after.is_some_and(|after| change.number <= *after)
        });
        let changes: Vec<Change> = held.changes[from..].iter().take(limit).cloned().collect();
        let is_all = from + changes.len() == held.changes.len();
        if let Some(last) = changes.last() {
            self.after = Some(last.number.clone());
        } else if trimmed {
            self.after.clone_from(&held.forgotten);
        }
        Ok(Page {
            rest: match is_all {
                true if held.closed => Rest::Closed,
                true if changes.is_empty() => Rest::Nothing,
                _ => Rest::More,
            },
            changes,
            trimmed,
        })
    }
}

/// FNV-1a, mixed further because its upper bits hardly differ for similar keys.
fn hash(key: &str) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 29))
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        .rotate_left(31)
}
