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
use shared::stats::count::{Counter, StreamRecord};
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
        let work = async { count(&self.counter, batch?).await }.boxed();
        let result = match invocation.run(AssertUnwindSafe(work).catch_unwind()).await {
            Ok(result) => result,
            Err(_) => Err(Problem::internal("counting panicked")),
        };
        let (problem, poison) = (
            result.as_ref().err(),
            result.as_ref().ok().and_then(Batch::poison),
        );
        let cause = problem.map(Problem::log_message);
        let units = invocation.units();
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id = invocation.id(),
                    function_version = context.env_config.version.as_str(),
                    records = size,
                    counted = result.as_ref().ok().map(|batch| batch.counted),
                    lag_ms = newest.map(|newest| milliseconds(newest.age(Timestamp::now()))),
                    ms = milliseconds(started.elapsed()),
                    cold,
                    read_units = units.read,
                    write_units = units.write,
                    poison,
                    problem = problem.map(Problem::code),
                    cause,
                    $message
                )
            };
        }
        match (&cause, poison) {
            (None, None) => line!(info, "counted"),
            (None, Some(_)) => line!(error, "a change cannot be read"),
            (Some(_), _) => line!(error, "failed"),
        }
        result
            .map(|batch| batch.response)
            .map_err(|problem| problem.log_message().into())
    }
}

impl Event {
    /// When the newest of its changes happened.
    fn newest(&self) -> Option<Timestamp> {
        self.records
            .iter()
            .map(|record| Timestamp::from_seconds(record.dynamodb.approximate_creation_date_time))
            // One that does not say when it happened is read as of 1970.
            .filter(|moment| *moment > Timestamp::default())
            .max()
    }
}

/// What became of a batch.
struct Batch {
    /// How many of its changes were counted now, and not before.
    counted: u64,
    response: Response,
}

impl Batch {
    /// The number of the first change that was not counted.
    fn poison(&self) -> Option<&str> {
        let failure = self.response.batch_item_failures.first()?;
        Some(&failure.item_identifier)
    }
}

/// Counts a batch. An error is a batch to be delivered again: what of it was counted is known.
pub async fn handle(counter: &Counter, event: Event) -> Result<Response, Problem> {
    count(counter, event).await.map(|batch| batch.response)
}

async fn count(counter: &Counter, event: Event) -> Result<Batch, Problem> {
    let mut batch = Batch {
        counted: 0,
        response: Response::default(),
    };
    if event.records.is_empty() {
        return Ok(batch);
    }
    let outcome = counter.count(&event.shard_id, event.records).await?;
    batch.counted = u64::try_from(outcome.counted).unwrap_or(u64::MAX);
    let failure = outcome.poison.map(|number| Failure {
        item_identifier: number.0,
    });
    batch.response.batch_item_failures.extend(failure);
    Ok(batch)
}
