//! A batch of the feedback table's stream, as Lambda delivers it to `aggregate` and `publish`, and the frame of these
//! functions.
//!
//! Their event sources have a tumbling window only because the events then name the shard of their records. The
//! window's state stays empty.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::FutureExt as _;
use lambda_http::{LambdaEvent, tracing};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::invocation::Invocation;
use crate::log::milliseconds;
use crate::problem::Problem;
use crate::stats::change::StreamRecord;
use crate::stats::parked::{Consumer, Parked};
use crate::timestamp::Timestamp;

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

impl Event {
    /// The time of the newest change.
    pub fn newest(&self) -> Option<Timestamp> {
        self.records
            .iter()
            .map(|record| record.happened_at)
            // A record without a time is read as 1970.
            .filter(|moment| *moment > Timestamp::default())
            .max()
    }
}

/// The response to a batch whose changes are all processed or parked. It never reports a partial failure:
/// Lambda would then cut the batch at the failed change, so a change that can never be read would hold back
/// all changes after it (docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// The window's state, which Lambda requires and the functions leave empty.
    pub state: HashMap<String, String>,
}

/// A function that reads the stream. It writes one log line about each batch.
#[derive(Debug)]
pub struct Reader {
    consumer: Consumer,
    /// Whether this process has handled a batch before.
    warm: AtomicBool,
}

/// What was done with a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The number of changes that were counted, or of events that were sent.
    pub count: usize,
    /// The changes that were parked.
    pub parked: Vec<Parked>,
}

impl Reader {
    /// The function of this consumer.
    pub fn new(consumer: Consumer) -> Self {
        Self {
            consumer,
            warm: AtomicBool::new(false),
        }
    }

    /// Handles an invocation by `work`.
    ///
    /// # Errors
    ///
    /// That of `work`, or of a payload that is not a batch. It makes Lambda deliver the batch again.
    pub async fn answer(
        &self,
        event: LambdaEvent<Payload>,
        work: impl AsyncFnOnce(Event) -> Result<Done, Problem>,
    ) -> Result<Response, lambda_http::Error> {
        let (started, cold) = (Instant::now(), !self.warm.swap(true, Ordering::Relaxed));
        let LambdaEvent { payload, context } = event;
        let (mut size, mut newest) = (None, None);
        let batch = payload.into_event();
        if let Ok(event) = &batch {
            size = Some(event.records.len());
            newest = event.newest();
        }
        let invocation = Invocation::new(Some(&context.request_id));
        // Boxed, because the compiler cannot compute the layout of the whole nested future.
        let work = Box::pin(async { work(batch?).await });
        let result = match invocation.run(AssertUnwindSafe(work).catch_unwind()).await {
            Ok(result) => result,
            Err(_) => Err(Problem::internal("the work on a batch panicked")),
        };
        let problem = result.as_ref().err();
        let done = result.as_ref().ok();
        for parked in done.iter().flat_map(|done| &done.parked) {
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
        let lag = newest.map(|newest| milliseconds(newest.age(Timestamp::now())));
        let is = |consumer| self.consumer == consumer;
        let message = match (self.consumer, problem) {
            (_, Some(_)) => "failed",
            (Consumer::Counting, None) => "counted",
            (Consumer::Events, None) => "published",
        };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = invocation.id(),
                    function_version = context.env_config.version.as_str(),
                    records = size,
                    counted = done
                        .filter(|_| is(Consumer::Counting))
                        .map(|done| done.count),
                    sent = done.filter(|_| is(Consumer::Events)).map(|done| done.count),
                    parked = done
                        .map(|done| done.parked.len())
                        .filter(|count| *count > 0),
                    // Only of counting is it a metric.
                    lag_ms = lag.filter(|_| is(Consumer::Counting)),
                    behind_ms = lag.filter(|_| is(Consumer::Events)),
                    ms = milliseconds(started.elapsed()),
                    cold,
                    read_units = units.read,
                    write_units = units.write,
                    problem = problem.map(Problem::code),
                    cause,
                    "{message}"
                )
            };
        }
        match &cause {
            None => line!(info),
            Some(_) => line!(error),
        }
        result
            .map(|_| Response::default())
            .map_err(|problem| problem.log_message().into())
    }
}

/// The payload of an invocation: an [`Event`], or the reason why it is not one.
///
/// lambda_runtime would log serde's error, which quotes the event. So any JSON is accepted here, and the
/// error says only where reading stopped.
#[derive(Debug)]
pub struct Payload(Result<Event, Unreadable>);

impl Payload {
    /// The event.
    ///
    /// # Errors
    ///
    /// [`Problem::Internal`] with the position at which it could not be read.
    pub fn into_event(self) -> Result<Event, Problem> {
        self.0
            .map_err(|unreadable| Problem::internal(unreadable.to_string()))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(json.get()).map_err(Unreadable::from)))
    }
}

/// The position at which an event could not be read. It quotes nothing from the event.
#[derive(Debug)]
struct Unreadable {
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
