//! Counts the changes in the feedback table's stream into roll-ups.
//!
//! The event source has a tumbling window only because its events then name the shard of their records,
//! which selects the checkpoint. The window's state stays empty.

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
    /// The changes; empty if the event only ends the window.
    #[serde(rename = "Records", default)]
    pub records: Vec<StreamRecord>,
    /// The stream shard of the changes.
    #[serde(rename = "shardId")]
    pub shard_id: String,
}

/// The response to a batch whose changes are all counted or parked. It never reports a partial failure:
/// Lambda would then cut the batch at the failed change, so a change that can never be read would hold back
/// all changes after it (docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// The window's state, which Lambda requires and this function leaves empty.
    pub state: HashMap<String, String>,
}

/// The payload of an invocation: an [`Event`], or the reason why it is not one.
///
/// lambda_runtime would log serde's error, which quotes the event. So any JSON is accepted here, and the
/// error says only where reading stopped.
#[derive(Debug)]
pub struct Payload(Result<Event, Unreadable>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(json.get()).map_err(Unreadable::from)))
    }
}

/// The position at which an event could not be read. It quotes nothing from the event.
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
        write!(
            f,
            "event: expected a DynamoDB stream batch, got something else at column {}",
            self.column
        )
    }
}

/// The function `aggregate`, which counts a batch and writes one log line about it.
#[derive(Debug)]
pub struct Aggregate {
    counter: Counter,
    /// Whether this process has handled a batch before.
    warm: AtomicBool,
}

impl Aggregate {
    /// The function with this counter.
    pub fn new(counter: Counter) -> Self {
        Self {
            counter,
            warm: AtomicBool::new(false),
        }
    }

    /// Handles an invocation.
    ///
    /// # Errors
    ///
    /// An error makes Lambda deliver the batch again.
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
        // Boxed, because the compiler cannot compute the layout of the whole nested future.
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
    /// The time of the newest change.
    fn newest(&self) -> Option<Timestamp> {
        self.records
            .iter()
            .map(|record| record.happened_at)
            // A record without a time is read as 1970.
            .filter(|moment| *moment > Timestamp::default())
            .max()
    }
}

/// Counts a batch. After an error, Lambda delivers it again, and what was already counted is skipped.
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
