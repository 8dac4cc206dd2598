//! Erasing a user: deleting every record with that `_user`, and then whatever else names it.
//!
//! An erasure takes several calls, each of which returns a cursor. Nothing about it is stored, so it can be
//! abandoned and begun again at any time.
//!
//! 1. **Records.** The index of users is read page by page and every record is deleted that was created before the
//!    erasure began. A record may be written some seconds after it got its creation time, and reach the index a
//!    moment later. So this is repeated until a pass has begun late enough to see them all.
//! 2. **Counts.** Once the deletions are counted, the user's states leave the parked changes, and the roll-ups of the
//!    user are deleted. Most are gone by then: the count that empties one deletes it.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::config::{Config, ConfigError};
use crate::fields::{FromJson, JsonRef, Refusal, scalar_text};
use crate::id::{FeedbackId, Workspace};
use crate::indexed::MAX_INDEXED;
use crate::problem::Problem;
use crate::stats::count::Counter;
use crate::stats::read::Reader;
use crate::stats::rebuild::{CLOCK_SKEW, WRITE_TIME};
use crate::store::Store;
use crate::tables::STATS;
use crate::timestamp::Timestamp;

/// The longest time that a record is expected to take to reach an index.
const INDEX_DELAY: Duration = Duration::from_secs(10);

/// The precision of the times in the stream (docs.aws.amazon.com/amazondynamodb/latest/APIReference,
/// `ApproximateCreationDateTime`).
const STREAM_PRECISION: Duration = Duration::from_secs(1);

/// How long the stream keeps a change
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html).
pub const STREAM_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// How long continuous backups reach back, unless the template says otherwise
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Point-in-time-recovery.html, `RecoveryPeriodInDays`).
pub const BACKUP_RETENTION: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// A user by the text that records are indexed by: 1 to 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    /// A user of 1 to 512 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        (1..=MAX_INDEXED)
            .contains(&text.len())
            .then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromJson for UserName {
    const EXPECTED: &str = "a string, number or boolean of 1 to 512 bytes";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        let text = scalar_text(json).ok_or(Refusal::Mismatch)?;
        Self::parse(&text).ok_or_else(|| Refusal::Got(format!("{} bytes", text.len())))
    }
}

/// What an erasure does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It deletes records.
    Records,
    /// It waits until the deletions are counted, and deletes roll-ups and parked changes.
    Counts,
    /// Nothing.
    Done,
}

/// How far an erasure is, and what was deleted since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is next.
    pub phase: Phase,
    /// The number of deleted records.
    pub records: u64,
    /// The number of deleted roll-ups, not counting those that counting itself has deleted.
    pub rollups: u64,
    /// The number of parked changes from which the user was removed.
    pub parked: u64,
    /// When it began. Records that were created later are not deleted.
    began: Timestamp,
    /// When the current pass over the records began.
    pass_began: Timestamp,
    /// The last record of the pass so far; `None` between passes.
    after: Option<FeedbackId>,
    /// When a record was last deleted whose deletion will be counted; the epoch if none was.
    deleted_at: Timestamp,
    /// The number of deleted records whose deletion will be parked, and was not found there yet.
    unreadable: u64,
}

impl Progress {
    /// An erasure that begins at `now`.
    pub fn beginning(now: Timestamp) -> Self {
        Self {
            phase: Phase::Records,
            records: 0,
            rollups: 0,
            parked: 0,
            began: now,
            pass_began: now,
            after: None,
            deleted_at: Timestamp::EPOCH,
            unreadable: 0,
        }
    }

    /// The version of the cursor format, which is a cursor's first byte.
    const CURSOR_VERSION: u8 = 1;

    /// Encodes the progress as a cursor, which does not contain the user.
    pub fn cursor(&self, workspace: &Workspace, user: &UserName) -> String {
        let mut bytes = vec![Self::CURSOR_VERSION, u8::from(self.phase != Phase::Records)];
        let numbers = [
            self.records,
            self.rollups,
            self.parked,
            self.began.millis(),
            self.pass_began.millis(),
            self.deleted_at.millis(),
            self.unreadable,
        ];
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        if let Some(after) = self.after {
            bytes.extend_from_slice(after.as_bytes());
        }
        let check = cursor_check(workspace, user, &bytes);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor. Returns `None` if it is malformed or of another erasure than this user's.
    pub fn from_cursor(text: &str, workspace: &Workspace, user: &UserName) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let number = |place: usize| {
            let start = 2 + place * 8;
            Some(u64::from_be_bytes(bytes.get(start..start + 8)?.try_into().ok()?))
        };
        let time = |place| number(place).map(Timestamp::from_millis);
        let rest = bytes.get(2 + 7 * 8..)?;
        let after = rest.get(..16).filter(|_| rest.len() > 16);
        let progress = Self {
            phase: match bytes.get(1)? {
                0 => Phase::Records,
                _ => Phase::Counts,
            },
            records: number(0)?,
            rollups: number(1)?,
            parked: number(2)?,
            began: time(3)?,
            pass_began: time(4)?,
            deleted_at: time(5)?,
            unreadable: number(6)?,
            after: after
                .and_then(|id| id.try_into().ok())
                .map(FeedbackId::from_bytes),
        };
        (progress.cursor(workspace, user) == text).then_some(progress)
    }

    /// The time from which on backups and the stream hold nothing either of what was deleted by `now`. A change may
    /// be counted as late as the stream forgets it, and roll-ups are backed up too.
    pub fn gone_at(now: Timestamp) -> Timestamp {
        now + STREAM_RETENTION + BACKUP_RETENTION
    }

    /// The creation time before which records are deleted. Clocks of writers may be ahead.
    fn until(&self) -> Timestamp {
        self.began + CLOCK_SKEW
    }

    /// The time by which every record that was created before [`Progress::until`] is in the index.
    fn settled(&self) -> Timestamp {
        self.until() + WRITE_TIME + CLOCK_SKEW + INDEX_DELAY
    }
}

/// Eight check bytes that bind a cursor to its user. They are not a signature: a cursor grants nothing that its
/// caller's key does not.
fn cursor_check(workspace: &Workspace, user: &UserName, body: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new().chain_update(b"erasure");
    for part in [workspace.as_str().as_bytes(), user.as_str().as_bytes(), body] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut check = [0; 8];
    check.copy_from_slice(&digest[..8]);
    check
}

/// Erases users.
#[derive(Clone, Debug)]
pub struct Eraser {
    store: Store,
    reader: Reader,
    counter: Counter,
}

impl Eraser {
    /// An eraser for this configuration's tables.
    ///
    /// # Errors
    ///
    /// If the configuration lacks the name of [`FEEDBACK`](crate::tables::FEEDBACK) or [`STATS`].
    pub fn new(client: Client, config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            store: Store::new(client.clone(), config)?,
            reader: Reader::new(client.clone(), config)?,
            counter: Counter::new(client, config.table(&STATS)?),
        })
    }

    /// Takes the next step of an erasure: deletes up to [`PAGE`](crate::store::erase::PAGE) records, or, once the
    /// deletions are counted, everything else. It can be repeated.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or an item of a newer schema version.
    pub async fn advance(
        &self,
        workspace: &Workspace,
        user: &UserName,
        mut progress: Progress,
        now: Timestamp,
    ) -> Result<Progress, Problem> {
        if progress.phase == Phase::Records {
            progress = self.erase_records(workspace, user, progress, now).await?;
        }
        if progress.phase == Phase::Counts {
            progress = self.erase_counts(workspace, user, progress).await?;
        }
        Ok(progress)
    }

    async fn erase_records(
        &self,
        workspace: &Workspace,
        user: &UserName,
        mut progress: Progress,
        now: Timestamp,
    ) -> Result<Progress, Problem> {
        if progress.after.is_none() {
            progress.pass_began = now;
        }
        let erased = self
            .store
            .erase(workspace, user.as_str(), progress.until(), progress.after)
            .await?;
        progress.records += erased.counted + erased.unreadable;
        progress.unreadable += erased.unreadable;
        if erased.counted > 0 {
            progress.deleted_at = now;
        }
        progress.after = erased.next;
        if progress.after.is_none() && progress.pass_began >= progress.settled() {
            progress.phase = Phase::Counts;
        }
        Ok(progress)
    }

    async fn erase_counts(
        &self,
        workspace: &Workspace,
        user: &UserName,
        mut progress: Progress,
    ) -> Result<Progress, Problem> {
        if progress.deleted_at > Timestamp::EPOCH {
            // The last deletion happened after this, by any clock.
            let as_of = self.reader.as_of(workspace).await?;
            if as_of.is_none_or(|as_of| as_of + CLOCK_SKEW + STREAM_PRECISION < progress.deleted_at) {
                return Ok(progress);
            }
        }
        let parked = self.counter.erase_parked(workspace, user.as_str()).await?;
        progress.parked += parked.changes;
        let ours = parked
            .deletions
            .iter()
            .filter(|happened_at| **happened_at + CLOCK_SKEW + STREAM_PRECISION >= progress.began);
        let ours = u64::try_from(ours.count()).unwrap_or(u64::MAX);
        progress.unreadable = progress.unreadable.saturating_sub(ours);
        let rollups = self.reader.erase_user(workspace, user.as_str()).await?;
        progress.rollups += rollups.deleted;
        if progress.unreadable == 0 && !rollups.is_behind {
            progress.phase = Phase::Done;
        }
        Ok(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_one_user_and_keeps_everything() {
        let workspace = |name| Workspace::parse(name).unwrap();
        let user = |name| UserName::parse(name).unwrap();
        let now = Timestamp::parse("2026-11-21T04:13:21.258Z").unwrap();
        let mut progress = Progress {
            records: 7,
            rollups: 2,
            parked: 1,
            unreadable: 3,
            deleted_at: now,
            ..Progress::beginning(now)
        };
        for (phase, after) in [
            (Phase::Records, None),
            (Phase::Records, Some(FeedbackId::from_bytes([9; 16]))),
            (Phase::Records, Some(FeedbackId::from_u128(0))),
            (Phase::Counts, None),
        ] {
            (progress.phase, progress.after) = (phase, after);
            let cursor = progress.cursor(&workspace("w"), &user("ada"));
            let read = |of, by| Progress::from_cursor(&cursor, &workspace(of), &user(by));
            assert_eq!(read("w", "ada"), Some(progress));
            assert_eq!(read("w", "ad"), None);
            assert_eq!(read("x", "ada"), None);
            let mut changed = cursor.clone().into_bytes();
            for place in 0..changed.len() {
                let right = changed[place];
                changed[place] = if right == b'A' { b'B' } else { b'A' };
                let text = String::from_utf8(changed.clone()).unwrap();
                assert_eq!(Progress::from_cursor(&text, &workspace("w"), &user("ada")), None);
                changed[place] = right;
            }
            assert_eq!(
                Progress::from_cursor(&cursor[1..], &workspace("w"), &user("ada")),
                None
            );
        }
    }

    #[test]
    fn a_user_has_1_to_512_bytes() {
        assert!(UserName::parse("").is_none());
        assert!(UserName::parse(&"u".repeat(MAX_INDEXED)).is_some());
        assert!(UserName::parse(&"u".repeat(MAX_INDEXED + 1)).is_none());
    }
}
