//! Counts the feedback table's stream into the roll-ups.
//!
//! The event source has a tumbling window, for one reason: then the event says which shard its
//! records are of, and so which checkpoint they are counted against. Nothing is kept in the
//! window's state.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::FutureExt as _;
use lambda_http::{LambdaEvent, tracing};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use shared::invocation::Invocation;
use shared::log::milliseconds;
use shared::problem::Problem;
use shared::stats::change::StreamRecord;
use shared::stats::count::{Counter, Outcome};
use shared::timestamp::Timestamp;

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

/// The answer to a batch that is done with: counted, and parked where it could not be. No change is
/// left for Lambda to deliver again: with a partial failure it cuts the batch at the change named, so
/// that one change that is never read would take all behind it along
/// (docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// The window's state, which an answer must have and this function does not.
    pub state: HashMap<String, String>,
}

/// What an invocation brings: an [`Event`], or something that is none.
///
/// lambda_runtime would log why an event cannot be read in serde's words, and those quote it. This
/// takes whatever is JSON, and says of what it cannot read only where it stops.
#[derive(Debug)]
pub struct Payload(Result<Event, Unreadable>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(json.get()).map_err(Unreadable::from)))
    }
}

/// Why an event cannot be read, without a word of it.
#[derive(Debug)]
pub struct Unreadable {
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
        write!(f, "the event is not a stream's, from column {} on", self.column)
    }
}

/// The function: it counts a batch and logs one line about it.
#[derive(Debug)]
pub struct Aggregate {
    counter: Counter,
    /// Whether there was a batch before.
    warm: AtomicBool,
}

impl Aggregate {
    /// The function over this counter.
    pub fn new(counter: Counter) -> Self {
        Self {
            counter,
            warm: AtomicBool::new(false),
        }
    }

    /// Answers an invocation. An error is a batch to be delivered again.
    ///
    /// # Errors
    ///
    /// A batch that must be delivered again.
    pub async fn answer(&self, event: LambdaEvent<Payload>) -> Result<Response, lambda_http::Error> {
        let (started, cold) = (Instant::now(), !self.warm.swap(true, Ordering::Relaxed));
        let LambdaEvent { payload, context } = event;
        let (mut size, mut newest) = (None, None);
        let batch = payload
            .0
            .map_err(|unreadable| Problem::internal(unreadable.to_string()));
        if let Ok(event) = &batch {
            size = Some(event.records.len());
            newest = event.newest();
        }
        let invocation = Invocation::new(Some(&context.request_id));
        // Boxed, since the compiler gives up on the layout of all that is within at once.
        let work = async { handle(&self.counter, batch?).await }.boxed();
        let result = match invocation.run(AssertUnwindSafe(work).catch_unwind()).await {
            Ok(result) => result,
            Err(_) => Err(Problem::internal("counting panicked")),
        };
        let problem = result.as_ref().err();
        let outcome = result.as_ref().ok();
        for parked in outcome.iter().flat_map(|outcome| &outcome.parked) {
            tracing::error!(
                request_id = invocation.id(),
                shard = parked.shard.as_str(),
                sequence = parked.sequence.0.as_str(),
                cause = parked.reason.as_str(),
                "a change is parked"
            );
        }
        let cause = problem.map(Problem::log_message);
        let units = invocation.units();
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id = invocation.id(),
                    function_version = context.env_config.version.as_str(),
                    records = size,
                    counted = outcome.map(|outcome| outcome.counted),
                    parked = outcome
                        .map(|outcome| outcome.parked.len())
                        .filter(|count| *count > 0),
                    lag_ms = newest.map(|newest| milliseconds(newest.age(Timestamp::now()))),
                    ms = milliseconds(started.elapsed()),
                    cold,
                    read_units = units.read,
                    write_units = units.write,
                    problem = problem.map(Problem::code),
                    cause,
                    $message
                )
            };
        }
        match &cause {
            None => line!(info, "counted"),
            Some(_) => line!(error, "failed"),
        }
        result
            .map(|_| Response::default())
            .map_err(|problem| problem.log_message().into())
    }
}

impl Event {
    /// When the newest of its changes happened.
    fn newest(&self) -> Option<Timestamp> {
        self.records
            .iter()
            .map(|record| record.happened_at)
            // One that does not say when it happened is read as of 1970.
            .filter(|moment| *moment > Timestamp::default())
            .max()
    }
}

/// Counts a batch. An error is a batch to be delivered again: what of it was counted is known.
///
/// # Errors
///
/// As [`Counter::count`].
pub async fn handle(counter: &Counter, event: Event) -> Result<Outcome, Problem> {
    if event.records.is_empty() {
        return Ok(Outcome::default());
    }
    counter.count(&event.shard_id, event.records).await
}
