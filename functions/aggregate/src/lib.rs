//! Counts the feedback table's stream into the roll-ups.
//!
//! The event source has a tumbling window, for one reason: then the event says which shard its
//! records are of, and so which checkpoint they are counted against. Nothing is kept in the
//! window's state.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use shared::problem::Problem;
use shared::stats::count::{Counter, StreamRecord};

/// A batch of a shard's changes (docs.aws.amazon.com/lambda/latest/dg/services-ddb-windows.html).
#[derive(Debug, Deserialize)]
pub struct Event {
    /// The changes; none where only the window ends.
    #[serde(rename = "Records", default)]
    pub records: Vec<StreamRecord>,
    /// The shard they are of.
    #[serde(rename = "shardId")]
    pub shard_id: String,
}

/// What Lambda is to do next.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The window's state, which an answer must have and this function does not.
    pub state: HashMap<String, String>,
    /// The first change that was not counted, if one was not: it is delivered again, then alone,
    /// then given to the on-failure queue.
    pub batch_item_failures: Vec<Failure>,
}

/// A change that was not counted.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// Counts a batch. An error is a batch to be delivered again: what of it was counted is known.
pub async fn handle(counter: &Counter, event: Event) -> Result<Response, Problem> {
    if event.records.is_empty() {
        return Ok(Response::default());
    }
    let outcome = counter.count(&event.shard_id, event.records).await?;
    let failures = outcome.poison.map(|number| Failure {
        item_identifier: number.0,
    });
    Ok(Response {
        batch_item_failures: failures.into_iter().collect(),
        ..Response::default()
    })
}
