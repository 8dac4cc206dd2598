//! Feedback in DynamoDB.
//!
//! A write's condition decides whether it happens, never a read before it. Every write is awaited before
//! the response. [`mod@write`] has the plain writes, [`idempotency`] those under an `Idempotency-Key`,
//! [`read`] look-ups and lists, [`erase`] deletes what a user gave, [`import`] stores records of elsewhere, and
//! [`votes`] has the reads for analytics.

pub mod erase;
pub mod idempotency;
pub mod import;
pub mod item;
pub mod keys;
pub mod own;
pub mod read;
pub mod upsert;
pub mod votes;
pub mod write;

use std::time::Duration;

use aws_sdk_dynamodb::Client;

use crate::config::{Config, ConfigError};
use crate::feedback::{Draft, Feedback, Writer};
use crate::id::FeedbackId;
use crate::problem::Problem;
use crate::random;
use crate::tables::{FEEDBACK, IDEMPOTENCY};
use crate::timestamp::Timestamp;

/// The feedback of all workspaces. Every method takes the workspace it acts in, a write as part of
/// its [`Writer`], and cannot reach any other.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    feedback: String,
    /// The table of `Idempotency-Key`s, for functions that use it.
    idempotency: Option<String>,
    /// How long feedback is kept; `None` means forever.
    retention: Option<Duration>,
}

/// The result of a write, or of the first write under the same `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The records, in the order of the input.
    pub ids: Vec<FeedbackId>,
    /// The version of the record after the write, if it was a single one that still exists.
    pub version: Option<u64>,
    /// Whether this is the result of an earlier write, and this one wrote nothing.
    pub replayed: bool,
}

impl Store {
    /// The store for this configuration's tables.
    ///
    /// # Errors
    ///
    /// If the configuration lacks the name of [`FEEDBACK`].
    pub fn new(client: Client, config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            client,
            feedback: config.table(&FEEDBACK)?.to_owned(),
            idempotency: config.table(&IDEMPOTENCY).ok().map(str::to_owned),
            retention: config.retention,
        })
    }

    /// Builds a new record with id and version, and an expiry if feedback is kept for a limited time.
    fn record(&self, by: &Writer, draft: Draft, index: usize, now: Timestamp) -> Result<Feedback, Problem> {
        let mut entropy = [0; 10];
        random::fill(&mut entropy)?;
        Ok(Feedback {
            expires_at: self.retention.map(|keep| (now + keep).seconds()),
            ..Feedback::new(by, draft, now, index, entropy)
        })
    }
}
