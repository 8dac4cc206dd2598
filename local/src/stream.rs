//! What the event source mapping is to `aggregate`: it brings the table's changes, about once a
//! second, and goes on where counting stopped.

use std::time::Duration;

use aggregate::{Event, handle};
use serde_json::{Value, json};
use shared::stats::change::SequenceNumber;
use shared::stats::count::Counter;
use shared::tables::FEEDBACK;
use shared::timestamp::Timestamp;

use crate::dynamodb::Engine;

/// How long changes are waited for.
const INTERVAL: Duration = Duration::from_millis(500);

/// The most changes of one delivery; Lambda's default for a batch is 100, its most 10,000.
const BATCH: usize = 1_000;

/// How long a window of the event source mapping is, in milliseconds (template.yaml).
const WINDOW: u64 = 60_000;

/// Feeds for as long as the process lives. What goes wrong is said, and tried again.
pub async fn feed(engine: Engine, counter: Counter) {
    loop {
        if let Err(cause) = drain(&engine, &counter).await {
            eprintln!("hindsight: the numbers fall behind: {cause}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Feeds a function that is a process, of which nothing is known but what it answers: so it is given
/// the stream from its beginning, and by itself leaves out what it has counted. `invoke` has it
/// answer an event; an error is an event that is delivered again.
pub async fn feed_process(engine: Engine, invoke: impl AsyncFn(Value) -> Result<Value, String>) {
    let mut position = None;
    loop {
        let count = |event| async { failure(&invoke(event).await?) };
        if let Err(cause) = deliver(&engine, &mut position, count).await {
            eprintln!("hindsight: the numbers fall behind: {cause}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Delivers all changes that there are when it is called, and returns how many were delivered. A
/// change that cannot be read is said and left out, as the on-failure queue leaves it out.
pub async fn drain(engine: &Engine, counter: &Counter) -> Result<usize, String> {
    let mut position = counter
        .checkpoint(&shard())
        .await
        .map_err(|problem| problem.log_message())?
        .sequence;
    let count = |event| async {
        let event: Event = serde_json::from_value(event)
            // In serde's words the error would quote what somebody sent.
            .map_err(|_| "the stream cannot be read")?;
        handle(counter, event)
            .await
            .map_err(|problem| problem.log_message())?;
        Ok(None)
    };
    deliver(engine, &mut position, count).await
}

/// Delivers all changes after a place that there are when it is called, and returns how many they
/// were; the place is then after them. `count` says which change is the first that was not counted,
/// if one was not.
async fn deliver<A>(
    engine: &Engine,
    position: &mut Option<SequenceNumber>,
    count: impl Fn(Value) -> A,
) -> Result<usize, String>
where
    A: Future<Output = Result<Option<SequenceNumber>, String>>,
{
    let mut delivered = 0;
    loop {
        let changes = changes(engine, position.as_ref()).await?;
        let Some(last) = changes.last().map(sequence) else {
            return Ok(delivered);
        };
        // What comes meanwhile waits for the next delivery, rather than be counted one by one: the
        // database remembers each transaction for ten minutes.
        let is_all = changes.len() < BATCH;
        delivered += changes.len();
        let mut rest = changes;
        while !rest.is_empty() {
            let Some(poison) = count(event(&rest)).await? else {
                break;
            };
            eprintln!(
                "hindsight: a change cannot be counted and is left out: {}",
                poison.0
            );
            rest.retain(|change| sequence(change) > poison);
        }
        *position = Some(last);
        if is_all {
            return Ok(delivered);
        }
    }
}

/// The event of a batch, as an event source mapping with a window makes it
/// (docs.aws.amazon.com/lambda/latest/dg/services-ddb-windows.html).
fn event(changes: &[Value]) -> Value {
    let now = Timestamp::now().millis();
    let start = now - now % WINDOW;
    let moment = |millis| Timestamp::from_millis(millis).to_string();
    json!({
        "Records": changes,
        "window": {"start": moment(start), "end": moment(start + WINDOW)},
        "state": {},
        "shardId": shard(),
        "isFinalInvokeForWindow": false,
        "isWindowTerminatedEarly": false,
    })
}

/// The first change that a function's answer says was not counted, if it says so. An answer to an
/// event with a window must have the window's state.
fn failure(answer: &Value) -> Result<Option<SequenceNumber>, String> {
    if !answer["state"].is_object() {
        return Err(format!("an answer without a state: {answer}"));
    }
    let failure = &answer["batchItemFailures"][0]["itemIdentifier"];
    Ok(failure.as_str().map(|number| SequenceNumber(number.to_owned())))
}

/// The one shard an embedded table's stream has.
fn shard() -> String {
    format!("shardId-00000001-{}", FEEDBACK.name)
}

fn sequence(change: &Value) -> SequenceNumber {
    let number = change["dynamodb"]["SequenceNumber"].as_str();
    SequenceNumber(number.unwrap_or_default().to_owned())
}

/// The changes after a place in the stream, or from its beginning.
pub async fn changes(engine: &Engine, after: Option<&SequenceNumber>) -> Result<Vec<Value>, String> {
    let call = async |operation: &str, body: Value| {
        let body = body.to_string().into_bytes();
        match engine.call_in_turn(operation.to_owned(), body).await {
            (200, json) => serde_json::from_str::<Value>(&json).map_err(|error| error.to_string()),
            (_, json) => Err(format!("{operation}: {json}")),
        }
    };
    let streams = call("ListStreams", json!({"TableName": FEEDBACK.name})).await?;
    let stream = &streams["Streams"][0]["StreamArn"];
    let place = match after {
        Some(number) => json!({
            "StreamArn": stream,
            "ShardId": shard(),
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
            "SequenceNumber": number.0,
        }),
        None => json!({"StreamArn": stream, "ShardId": shard(), "ShardIteratorType": "TRIM_HORIZON"}),
    };
    let iterator = call("GetShardIterator", place).await?;
    let mut page = call(
        "GetRecords",
        json!({"ShardIterator": iterator["ShardIterator"], "Limit": BATCH}),
    )
    .await?;
    match page["Records"].take() {
        Value::Array(records) => Ok(records),
        _ => Err("GetRecords answered without records".to_owned()),
    }
}
