//! The JSON between the event source mapping and the world: the event of a batch, what a function's
//! answer to it means, and the record of a failure.

use serde_json::{Map, Value, json};
use shared::stats::change::SequenceNumber;
use shared::timestamp::Timestamp;

use super::source::Change;

/// The most bytes of a synchronous invocation's payload, either way: "6 MB each for request and
/// response, synchronous" (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
pub(super) const MOST_BYTES: usize = 6 * 1024 * 1024;

/// What of them an event needs beside its changes, without its window's state.
pub(super) const ENVELOPE: usize = 2 * 1024;

/// The most bytes of a window's state (services-ddb-windows.html).
const MOST_STATE: usize = 1024 * 1024;

/// A tumbling window that is open on a shard.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// What the last answer left of it.
    pub(super) state: Value,
}

/// How an event ends its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It does not.
    Open,
    /// It is the window's last.
    Final,
    /// The state is too large, and the window begins again without one.
    Early,
}

/// The event of a batch (with-ddb.html); with a window, a DynamodbTimeWindowEvent
/// (services-ddb-windows.html).
pub(super) fn event(arn: &str, shard: &str, changes: &[Change], window: Option<&Window>, end: End) -> Value {
    let records = changes.iter().map(|change| {
        let mut record = change.record.clone();
        record["eventSourceARN"] = json!(arn);
        record
    });
    let mut event = json!({"Records": records.collect::<Vec<_>>()});
    if let Some(window) = window {
        event["window"] = json!({"start": seconds(window.start), "end": seconds(window.end)});
        event["state"] = window.state.clone();
        event["shardId"] = json!(shard);
        event["eventSourceARN"] = json!(arn);
        event["isFinalInvokeForWindow"] = json!(end == End::Final);
        event["isWindowTerminatedEarly"] = json!(end == End::Early);
    }
    event
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The batch is done. With a window, this is its state, if it is not too large.
    Done(Option<Value>),
    /// The batch is done up to this change, which is not.
    Partial(SequenceNumber, Option<Value>),
    /// The invocation failed, for this reason.
    Failed(String),
}

/// What an answer to the event of these changes means. Partial failures are read only where the
/// mapping says that the function reports them.
pub(super) fn outcome(answer: &Value, changes: &[Change], has_window: bool, reports: bool) -> Outcome {
    if answer.to_string().len() > MOST_BYTES {
        return Outcome::Failed("the answer is over 6 MB".to_owned());
    }
    let mut state = None;
    if has_window {
        // "If the response does not contain a state property, Lambda considers this a failed
        // invocation" (services-ddb-windows.html). It is a JSON object there.
        if !answer["state"].is_object() {
            return Outcome::Failed("the answer has no state".to_owned());
        }
        state = Some(answer["state"].clone()).filter(|state| state.to_string().len() <= MOST_STATE);
    }
    // "These responses will not be processed by Lambda unless the feature is explicitly turned on"
    // (services-ddb-batchfailurereporting.html).
    if !reports {
        return Outcome::Done(state);
    }
    let failures = match &answer["batchItemFailures"] {
        Value::Null => return Outcome::Done(state),
        Value::Array(failures) if failures.is_empty() => return Outcome::Done(state),
        Value::Array(failures) => failures,
        _ => return Outcome::Failed("batchItemFailures is not an array".to_owned()),
    };
    let mut lowest: Option<SequenceNumber> = None;
    for failure in failures {
        let number = failure["itemIdentifier"].as_str().unwrap_or_default();
        let number = SequenceNumber(number.to_owned());
        if !changes.iter().any(|change| change.number == number) {
            return Outcome::Failed("an itemIdentifier names no change of the batch".to_owned());
        }
        lowest = Some(lowest.map_or(number.clone(), |lowest| lowest.min(number)));
    }
    match lowest {
        Some(number) => Outcome::Partial(number, state),
        None => Outcome::Done(state),
    }
}

/// Why changes were discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    RetryAttemptsExhausted,
    RecordAgeExceeded,
}

/// What the on-failure destination receives of discarded changes: where they were, and nothing of
/// what they were (services-dynamodb-errors.html).
pub(super) fn failure(
    arn: &str,
    shard: &str,
    changes: &[Change],
    condition: Condition,
    invoked: u32,
    now: Timestamp,
) -> Value {
    let (first, last) = (changes.first(), changes.last());
    let number = |change: Option<&Change>| change.map(|change| change.number.0.clone());
    let arrival = |change: Option<&Change>| change.map(|change| seconds(change.created_at));
    let mut record = Map::new();
    record.insert(
        "requestContext".to_owned(),
        json!({
            "requestId": format!("{shard}:{}", number(first).unwrap_or_default()),
            "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:aggregate",
            "condition": format!("{condition:?}"),
            "approximateInvokeCount": invoked,
        }),
    );
    if invoked > 0 {
        record.insert(
            "responseContext".to_owned(),
            json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}),
        );
    }
    record.insert("version".to_owned(), json!("1.0"));
    record.insert("timestamp".to_owned(), json!(now.to_string()));
    record.insert(
        "DDBStreamBatchInfo".to_owned(),
        json!({
            "shardId": shard,
            "startSequenceNumber": number(first),
            "endSequenceNumber": number(last),
            "approximateArrivalOfFirstRecord": arrival(first),
            "approximateArrivalOfLastRecord": arrival(last),
            "batchSize": changes.len(),
            "streamArn": arn,
        }),
    );
    Value::Object(record)
}

/// A moment as the guide's examples have it, `2020-07-30T17:00:00Z`.
pub(crate) fn seconds(moment: Timestamp) -> String {
    Timestamp::from_millis(moment.seconds() * 1000)
        .to_string()
        .replace(".000Z", "Z")
}
