//! The local event source mapping: delivers the table's changes to `aggregate`, and to `publish` if there are
//! [`events`](crate::events), about twice a second, starting where each stopped.
//!
//! [`mapping`] is a model of Lambda's over any [`source`] of changes: the embedded database, another DynamoDB
//! ([`api`]), or a test's. [`faults`] injects the failures that AWS documents.

pub mod api;
pub mod clock;
pub(crate) mod event;
pub mod faults;
pub mod mapping;
pub mod source;

use std::time::Duration;

use aggregate::handle;
use serde_json::{Value, json};
use shared::stats::change::SequenceNumber;
use shared::stats::count::Counter;
use shared::stats::parked::Parked;
use shared::tables::FEEDBACK;

use self::api::{Stream, Streams};
use self::event::{End, Window};
use self::mapping::{Mapping, Settings};
use self::source::{Change, Place, Reader as _, Source as _};
use crate::console;
use crate::dynamodb::Engine;

/// The pause before a failed start is retried.
const INTERVAL: Duration = Duration::from_millis(500);

/// Delivers changes to the counter until the future is dropped. Failures are reported and retried.
pub async fn feed(engine: Engine, counter: Counter) {
    // First everything written before the last stop, however old: a laptop that slept for a day must not
    // lose changes. After that, it works as on Lambda.
    let place = loop {
        match resume(&engine, &counter).await {
            Ok(place) => break place,
            Err(cause) => report_lag(&cause),
        }
        tokio::time::sleep(INTERVAL).await;
    };
    let count = move |event| {
        let counter = counter.clone();
        async move { count(&counter, event).await }
    };
    map(engine, place, count, Settings::local(), report_lag).await;
}

/// Delivers changes after a place to a function until the future is dropped, as [`feed`] does. `tell` gets a line for
/// each failure, which is retried.
pub async fn feed_after<A>(
    engine: Engine,
    place: Option<SequenceNumber>,
    invoke: impl Fn(Value) -> A,
    settings: Settings,
    tell: fn(&str),
) where
    A: Future<Output = Result<Value, String>>,
{
    map(engine, place, invoke, settings, tell).await;
}

async fn resume(engine: &Engine, counter: &Counter) -> Result<Option<SequenceNumber>, String> {
    drain(engine, counter).await?;
    checkpoint(counter).await
}

/// Delivers changes to a function in a process of its own, until the future is dropped. It delivers the
/// stream from the beginning, because only the function knows its checkpoint and skips what it has counted.
/// `invoke` sends the function an event; after an error, the event is delivered again.
pub async fn feed_process<S, A>(streams: S, invoke: impl Fn(Value) -> A)
where
    S: Streams + Clone + Send + Sync,
    A: Future<Output = Result<Value, String>>,
{
    map(streams, None, invoke, Settings::local(), report_lag).await;
}

async fn map<S, A>(
    streams: S,
    place: Option<SequenceNumber>,
    invoke: impl Fn(Value) -> A,
    settings: Settings,
    tell: fn(&str),
) where
    S: Streams + Clone + Send + Sync,
    A: Future<Output = Result<Value, String>>,
{
    let stream = loop {
        match Stream::of_table(streams.clone(), FEEDBACK.name).await {
            Ok(stream) => break stream,
            Err(cause) => tell(&cause),
        }
        tokio::time::sleep(INTERVAL).await;
    };
    let mapping = Mapping::new(stream, invoke, settings)
        .resuming(&shard(), place)
        .telling(tell);
    mapping.run().await;
}

fn report_lag(cause: &str) {
    console::report(format_args!("analytics are behind: {cause}"));
}

/// Counts all pending changes and returns how many were delivered.
///
/// # Errors
///
/// One line to print, at the first failure. The next call continues from the checkpoint.
pub async fn drain(engine: &Engine, counter: &Counter) -> Result<usize, String> {
    let place = checkpoint(counter).await?;
    let limit = Settings::local().batch_size;
    deliver(engine, place, limit, |event| count(counter, event)).await
}

/// Delivers the changes that there are after a place, however old, by at most `limit`, and returns how many.
///
/// # Errors
///
/// One line to print, at the first failure.
pub async fn deliver<A>(
    engine: &Engine,
    place: Option<SequenceNumber>,
    limit: usize,
    invoke: impl Fn(Value) -> A,
) -> Result<usize, String>
where
    A: Future<Output = Result<Value, String>>,
{
    let stream = Stream::of_table(engine.clone(), FEEDBACK.name).await?;
    let mut reader = stream.reader(&shard(), place.map_or(Place::TrimHorizon, Place::After));
    let mut delivered = 0;
    loop {
        let changes = reader.read(limit).await?.changes;
        if !changes.is_empty() {
            let window = window(&changes);
            let event = event::event(stream.arn(), &shard(), &changes, window.as_ref(), End::Open);
            invoke(event).await?;
        }
        delivered += changes.len();
        if changes.len() < limit {
            return Ok(delivered);
        }
    }
}

/// A window that ends with the last change: `deliver` delivers changes of any age.
fn window(changes: &[Change]) -> Option<Window> {
    let length = Settings::local().tumbling_window?;
    let start = changes.last()?.created_at;
    Some(Window {
        start,
        end: start + length,
        state: json!({}),
    })
}

/// Counts an event's changes and returns the function's response.
async fn count(counter: &Counter, event: Value) -> Result<Value, String> {
    let event = serde_json::from_value(event)
        // Serde's message would quote feedback.
        .map_err(|_| "cannot read the stream")?;
    let outcome = handle(counter, event)
        .await
        .map_err(|problem| problem.log_message())?;
    for Parked { sequence, reason, .. } in outcome.parked {
        console::report(format_args!(
            "change {} cannot be counted and was parked; see `hindsight stats verify`: {reason}",
            sequence.0
        ));
    }
    Ok(json!({"state": {}}))
}

/// The sequence number up to which the embedded table's stream is counted.
async fn checkpoint(counter: &Counter) -> Result<Option<SequenceNumber>, String> {
    let checkpoint = counter.checkpoint(&shard()).await;
    checkpoint
        .map(|checkpoint| checkpoint.sequence)
        .map_err(|problem| problem.log_message())
}

/// The only shard of an embedded table's stream.
pub(crate) fn shard() -> String {
    format!("shardId-00000001-{}", FEEDBACK.name)
}

/// Up to 1,000 changes of the embedded table's stream, after a sequence number or from the beginning.
///
/// # Errors
///
/// One line to print.
pub async fn changes(engine: &Engine, after: Option<&SequenceNumber>) -> Result<Vec<Value>, String> {
    let stream = Stream::of_table(engine.clone(), FEEDBACK.name).await?;
    let place = after.map_or(Place::TrimHorizon, |number| Place::After(number.clone()));
    let page = stream.reader(&shard(), place).read(1_000).await?;
    Ok(page.changes.into_iter().map(|change| change.record).collect())
}
