//! What the event source mapping is to `aggregate`: it brings the table's changes, about once a
//! second, and goes on where counting stopped.

use std::time::Duration;

use aggregate::{Event, handle};
use serde_json::{Value, json};
use shared::stats::count::{Counter, SequenceNumber};
use shared::tables::FEEDBACK;

use crate::dynamodb::Engine;

/// How long changes are waited for.
const INTERVAL: Duration = Duration::from_millis(500);

/// The most changes of one delivery; Lambda's default for a batch is 100, its most 10,000.
const BATCH: usize = 1_000;

/// Feeds for as long as the process lives. What goes wrong is said, and tried again.
pub async fn feed(engine: Engine, counter: Counter) {
    loop {
        if let Err(cause) = drain(&engine, &counter).await {
            eprintln!("hindsight: the numbers fall behind: {cause}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Delivers all changes that there are when it is called, and returns how many were delivered. A
/// change that cannot be read is said and left out, as the on-failure queue leaves it out.
pub async fn drain(engine: &Engine, counter: &Counter) -> Result<usize, String> {
    let shard = shard();
    let mut delivered = 0;
    let mut position = counter
        .checkpoint(&shard)
        .await
        .map_err(|problem| problem.log_message())?;
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
            let event: Event = serde_json::from_value(json!({"Records": rest, "shardId": shard}))
                // In serde's words the error would quote what somebody sent.
                .map_err(|_| "the stream cannot be read")?;
            let response = handle(counter, event)
                .await
                .map_err(|problem| problem.log_message())?;
            let Some(failure) = response.batch_item_failures.into_iter().next() else {
                break;
            };
            eprintln!(
                "hindsight: a change cannot be counted and is left out: {}",
                failure.item_identifier
            );
            let poison = SequenceNumber(failure.item_identifier);
            rest.retain(|change| sequence(change) > poison);
        }
        if is_all {
            return Ok(delivered);
        }
        position = Some(last);
    }
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
