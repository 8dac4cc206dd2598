//! Feedback in DynamoDB.
//!
//! The condition of a write decides, never a read before it; what a write promised is awaited
//! before it is answered. [`write`] holds the plain writes, [`idempotency`] the same under an
//! `Idempotency-Key`, [`read`] look-ups and lists, [`votes`] what analytics read of records.

pub mod idempotency;
pub mod item;
pub mod keys;
pub mod read;
pub mod votes;
pub mod write;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;

use crate::config::Config;
use crate::feedback::{Draft, Feedback};
use crate::id::{FeedbackId, Workspace};
use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// The feedback of all workspaces. Every method takes the workspace it acts in, and can name
/// nothing outside of it.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    config: Arc<Config>,
}

/// What a write did, or what the first write under the same `Idempotency-Key` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The records, in the order of the input.
    pub ids: Vec<FeedbackId>,
    /// The version of the one record that is there afterwards.
    pub version: Option<u64>,
    /// Whether the first write did it, and this one nothing.
    pub replayed: bool,
}

impl Store {
    /// The store over this client.
    pub fn new(client: Client, config: Arc<Config>) -> Self {
        Self { client, config }
    }

    /// A record as it is first stored: with an id, a version, and an end if feedback has one.
    fn record(
        &self,
        workspace: &Workspace,
        draft: Draft,
        index: usize,
        now: Timestamp,
    ) -> Result<Feedback, Problem> {
        let mut entropy = [0; 10];
        fill_random(&mut entropy)?;
        let expires_at = self.config.retention.map(|keep| (now + keep).seconds());
        Ok(Feedback {
            workspace: workspace.clone(),
            id: FeedbackId::mint(now, index, entropy),
            draft,
            updated_at: now,
            version: 1,
            expires_at,
        })
    }
}

/// Fills `bytes` from the system's random source.
fn fill_random(bytes: &mut [u8]) -> Result<(), Problem> {
    getrandom::fill(bytes).map_err(|error| Problem::internal(format!("no random bytes: {error}")))
}

/// Waits before trying something again, longer with each `attempt`, by chance shorter or longer
/// so that callers who collided do not meet again. `None` after the last attempt.
pub(crate) async fn back_off(attempt: u32) -> Option<()> {
    /// With [`FIRST`] doubled each time up to [`LONGEST`], about three seconds in all.
    const ATTEMPTS: u32 = 16;
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(320);
    if attempt >= ATTEMPTS {
        return None;
    }
    let wait = FIRST.saturating_mul(1 << attempt.min(8)).min(LONGEST);
    let mut chance = [0; 1];
    // Without a random source the full wait is as good.
    let share = match fill_random(&mut chance) {
        Ok(()) => u32::from(chance[0]),
        Err(_) => 255,
    };
    tokio::time::sleep(wait * (64 + share) / 320).await;
    Some(())
}
