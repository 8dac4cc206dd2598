//! What the event source mapping is to `aggregate`: it brings the table's changes, about twice a
//! second, and goes on where counting stopped.
//!
//! [`mapping`] is a model of Lambda's, over any [`source`] of changes: the embedded database's or
//! another DynamoDB's ([`api`]), or a test's. [`faults`] makes it as unkind as AWS may be.

pub mod api;
pub mod clock;
mod event;
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

/// How long to wait before what failed at the start is tried again.
const INTERVAL: Duration = Duration::from_millis(500);

/// Feeds for as long as the process lives. What goes wrong is said, and tried again.
pub async fn feed(engine: Engine, counter: Counter) {
    // What was written before the last stop, however long ago that is: a laptop that is asleep for a
    // day is no reason to discard changes. From then on it is as on Lambda.
    let place = loop {
        match resume(&engine, &counter).await {
            Ok(place) => break place,
            Err(cause) => fall_behind(&cause),
        }
        tokio::time::sleep(INTERVAL).await;
    };
    let count = move |event| {
        let counter = counter.clone();
        async move { count(&counter, event).await }
    };
    map(engine, place, count).await;
}

async fn resume(engine: &Engine, counter: &Counter) -> Result<Option<SequenceNumber>, String> {
    drain(engine, counter).await?;
    checkpoint(counter).await
}

/// Feeds a function that is a process, of which nothing is known but what it answers: so it is given
/// the stream from its beginning, and by itself leaves out what it has counted. `invoke` has it
/// answer an event; an error is an event that is delivered again. The stream is the embedded
/// database's, or one of a DynamoDB at an endpoint.
pub async fn feed_process<S, A>(streams: S, invoke: impl Fn(Value) -> A)
where
    S: Streams + Clone + Send + Sync,
    A: Future<Output = Result<Value, String>>,
{
    map(streams, None, invoke).await;
}

async fn map<S, A>(streams: S, place: Option<SequenceNumber>, invoke: impl Fn(Value) -> A)
where
    S: Streams + Clone + Send + Sync,
    A: Future<Output = Result<Value, String>>,
{
    let stream = loop {
        match Stream::of_table(streams.clone(), FEEDBACK.name).await {
            Ok(stream) => break stream,
            Err(cause) => fall_behind(&cause),
        }
        tokio::time::sleep(INTERVAL).await;
    };
    let mapping = Mapping::new(stream, invoke, Settings::local())
        .resuming(&shard(), place)
        .telling(fall_behind);
    mapping.run().await;
}

fn fall_behind(cause: &str) {
    console::report(format_args!("analytics fall behind: {cause}"));
}

/// Counts all changes that there are when it is called, and returns how many were delivered. One
/// failure ends it: what was counted is known, and the next call goes on from there.
pub async fn drain(engine: &Engine, counter: &Counter) -> Result<usize, String> {
    let stream = Stream::of_table(engine.clone(), FEEDBACK.name).await?;
    let place = checkpoint(counter).await?;
    let mut reader = stream.reader(&shard(), place.map_or(Place::TrimHorizon, Place::After));
    let limit = Settings::local().batch_size;
    let mut delivered = 0;
    loop {
        let changes = reader.read(limit).await?.changes;
        if !changes.is_empty() {
            let window = window(&changes);
            let event = event::event(stream.arn(), &shard(), &changes, window.as_ref(), End::Open);
            count(counter, event).await?;
        }
        delivered += changes.len();
        if changes.len() < limit {
            return Ok(delivered);
        }
    }
}

/// The window of now: whoever drains wants the changes counted, whenever they were made.
fn window(changes: &[Change]) -> Option<Window> {
    let length = Settings::local().tumbling_window?;
    let start = changes.last()?.created_at;
    Some(Window {
        start,
        end: start + length,
        state: json!({}),
    })
}

/// The function's answer to an event.
async fn count(counter: &Counter, event: Value) -> Result<Value, String> {
    let event = serde_json::from_value(event)
        // In serde's words the error would quote what somebody sent.
        .map_err(|_| "the stream cannot be read")?;
    let outcome = handle(counter, event)
        .await
        .map_err(|problem| problem.log_message())?;
    for Parked { sequence, reason, .. } in outcome.parked {
        console::report(format_args!(
            "change {} is parked, see `hindsight stats verify`: {reason}",
            sequence.0
        ));
    }
    Ok(json!({"state": {}}))
}

/// Up to where the embedded table's stream is counted.
async fn checkpoint(counter: &Counter) -> Result<Option<SequenceNumber>, String> {
    let checkpoint = counter.checkpoint(&shard()).await;
    checkpoint
        .map(|checkpoint| checkpoint.sequence)
        .map_err(|problem| problem.log_message())
}

/// The one shard an embedded table's stream has.
fn shard() -> String {
    format!("shardId-00000001-{}", FEEDBACK.name)
}

/// Up to 1,000 changes after a place in the embedded table's stream, or from its beginning.
pub async fn changes(engine: &Engine, after: Option<&SequenceNumber>) -> Result<Vec<Value>, String> {
    let stream = Stream::of_table(engine.clone(), FEEDBACK.name).await?;
    let place = after.map_or(Place::TrimHorizon, |number| Place::After(number.clone()));
    let page = stream.reader(&shard(), place).read(1_000).await?;
    Ok(page.changes.into_iter().map(|change| change.record).collect())
}
