//! The model of Lambda's event source mapping keeps the rules of AWS's guide, each test those of the
//! page that it names. Pages without a host are of docs.aws.amazon.com/lambda/latest/dg/.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::Duration;

use local::stream::clock::Clock;
use local::stream::faults::{Fault, Faults};
use local::stream::mapping::{Mapping, Settings};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::timestamp::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use crate::stream_shards::{ARN, Shards};

fn clock() -> Clock {
    Clock::starting_at(Timestamp::parse("2026-11-21T06:00:00Z").unwrap())
}

/// No windows, no limits, and no waiting for more.
fn plain() -> Settings {
    Settings {
        batch_size: 10,
        batching_window: Duration::ZERO,
        tumbling_window: None,
        reports_batch_item_failures: false,
        bisects_batch: false,
        maximum_retry_attempts: None,
        maximum_record_age: None,
        ..Settings::deployed()
    }
}

/// Writes changes to the stream that bear these numbers.
fn write(stream: &Shards, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        write_to(stream, "key", number, "");
    }
}

fn write_to(stream: &Shards, key: &str, number: u32, padding: &str) -> String {
    let image = json!({
        "pk": {"S": key}, "sk": {"S": "s"}, "number": {"N": number.to_string()}, "padding": {"S": padding},
    });
    stream.write(key, None, Some(&image)).0
}

/// The numbers that the changes of an event bear.
fn numbers(event: &Value) -> Vec<u32> {
    let records = event["Records"].as_array().unwrap().iter();
    let number = |record: &Value| {
        record["dynamodb"]["NewImage"]["number"]["N"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    records.map(number).collect()
}

fn sequence(event: &Value, number: u32) -> Value {
    let place = numbers(event).iter().position(|found| *found == number).unwrap();
    event["Records"][place]["dynamodb"]["SequenceNumber"].clone()
}

/// What a function was invoked with, and when.
#[derive(Default)]
struct Seen {
    events: RefCell<Vec<Value>>,
    times: RefCell<Vec<Instant>>,
}

impl Seen {
    fn see(&self, event: &Value) {
        self.events.borrow_mut().push(event.clone());
        self.times.borrow_mut().push(Instant::now());
    }

    /// The numbers of each invocation.
    fn batches(&self) -> Vec<Vec<u32>> {
        self.events.borrow().iter().map(numbers).collect()
    }

    /// The whole seconds between one invocation and the next.
    fn waits(&self) -> Vec<u64> {
        let times = self.times.borrow();
        let waits = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs());
        waits.collect()
    }
}

/// services-ddb-batchfailurereporting.html, "Bisecting a batch": "the batch is bisected at the returned
/// sequence number and Lambda retries only the remaining records". So what remains begins with the
/// change that fails, is not halved although halving is on, and after the retries all of it is
/// discarded (services-dynamodb-errors.html).
#[tokio::test(start_paused = true)]
async fn a_partial_failure_cuts_the_batch_at_the_change_that_failed_and_halves_nothing() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..8);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        if !numbers(&event).contains(&5) {
            return Ok(json!({}));
        }
        Ok(json!({"batchItemFailures": [{"itemIdentifier": sequence(&event, 5)}]}))
    };
    let settings = Settings {
        batch_size: 7,
        reports_batch_item_failures: true,
        bisects_batch: true,
        maximum_retry_attempts: Some(2),
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let whole: Vec<u32> = (0..7).collect();
    assert_eq!(seen.batches(), [whole, vec![5, 6], vec![5, 6], vec![7]]);
    let failures = mapping.take_failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0]["DDBStreamBatchInfo"]["batchSize"], 2);
    assert_eq!(
        failures[0]["requestContext"]["condition"],
        "RetryAttemptsExhausted"
    );
    assert_eq!(failures[0]["requestContext"]["approximateInvokeCount"], 3);
}

/// services-ddb-batchfailurereporting.html, "Report syntax": "If the batchItemFailures array contains
/// multiple items, Lambda uses the record with the lowest sequence number as the checkpoint".
#[tokio::test(start_paused = true)]
async fn of_several_failures_the_lowest_is_the_checkpoint() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..6);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        let failures: Vec<Value> = [4, 2, 3]
            .into_iter()
            .filter(|_| seen.batches().len() == 1)
            .map(|number| json!({"itemIdentifier": sequence(&event, number)}))
            .collect();
        Ok(json!({"batchItemFailures": failures}))
    };
    let settings = Settings {
        reports_batch_item_failures: true,
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    assert_eq!(seen.batches(), [vec![0, 1, 2, 3, 4, 5], vec![2, 3, 4, 5]]);
}

/// services-ddb-batchfailurereporting.html, "Success and failure conditions"; that a number which is
/// none of the batch fails it too is the unkinder reading.
#[tokio::test(start_paused = true)]
async fn what_an_answer_says_of_the_batch_as_a_whole() {
    let complete = [
        json!({"batchItemFailures": []}),
        json!({"batchItemFailures": null}),
        json!({}),
        json!(null),
    ];
    let failed = [
        json!({"batchItemFailures": [{"itemIdentifier": ""}]}),
        json!({"batchItemFailures": [{"itemIdentifier": null}]}),
        json!({"batchItemFailures": [{"sequenceNumber": "400000000000000000001"}]}),
        json!({"batchItemFailures": [{"itemIdentifier": "400000000000000000099"}]}),
        json!({"batchItemFailures": "400000000000000000001"}),
    ];
    let complete = complete.into_iter().map(|answer| (answer, vec![vec![0, 1]]));
    let failed = failed.into_iter().map(|answer| (answer, vec![vec![0, 1]; 2]));
    for (answer, expected) in complete.chain(failed) {
        let clock = clock();
        let stream = Shards::new(clock, 1);
        write(&stream, 0..2);
        let seen = Seen::default();
        let function = async |event: Value| {
            seen.see(&event);
            Ok(if seen.batches().len() == 1 {
                answer.clone()
            } else {
                json!({})
            })
        };
        let settings = Settings {
            reports_batch_item_failures: true,
            ..plain()
        };
        let mapping = Mapping::new(stream, function, settings).with_clock(clock);
        mapping.catch_up().await;
        assert_eq!(seen.batches(), expected, "{answer}");
    }
}

/// services-ddb-batchfailurereporting.html: "Even when your function code returns partial batch failure
/// responses, these responses will not be processed by Lambda unless the ReportBatchItemFailures
/// feature is explicitly turned on".
#[tokio::test(start_paused = true)]
async fn a_partial_failure_is_a_success_where_it_is_not_turned_on() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..3);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        Ok(json!({"batchItemFailures": [{"itemIdentifier": sequence(&event, 1)}]}))
    };
    let mapping = Mapping::new(stream, function, plain()).with_clock(clock);
    mapping.catch_up().await;
    assert_eq!(seen.batches(), [vec![0, 1, 2]]);
}

/// services-dynamodb-errors.html: "BisectBatchOnFunctionError … splits a failed batch into two smaller
/// batches, isolating bad records and avoiding timeouts. Splitting batches doesn't consume the retry
/// quota."
#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_halved_and_that_is_no_retry() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..5);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        if numbers(&event).contains(&3) {
            Err("it failed".to_owned())
        } else {
            Ok(json!({}))
        }
    };
    let settings = Settings {
        bisects_batch: true,
        maximum_retry_attempts: Some(1),
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    assert_eq!(
        seen.batches(),
        [
            vec![0, 1, 2, 3, 4],
            vec![0, 1, 2],
            vec![3, 4],
            vec![3],
            vec![3],
            vec![4]
        ]
    );
    let failures = mapping.take_failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0]["DDBStreamBatchInfo"]["batchSize"], 1);
}

/// services-dynamodb-errors.html: without halving "Lambda retries until the records expire, exceed the
/// maximum age, or reach the configured retry quota", and then "discards the records and continues
/// processing batches from the stream". The waits between are the model's own: the guide names none.
#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_retried_whole_with_longer_and_longer_waits() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..12);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        if numbers(&event).contains(&0) {
            Err("it failed".to_owned())
        } else {
            Ok(json!({}))
        }
    };
    let settings = Settings {
        maximum_retry_attempts: Some(8),
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let whole: Vec<u32> = (0..10).collect();
    assert_eq!(seen.batches(), [vec![whole; 9], vec![vec![10, 11]]].concat());
    assert_eq!(seen.waits()[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    let failures = mapping.take_failures();
    assert_eq!(failures[0]["requestContext"]["approximateInvokeCount"], 9);
}

/// services-dynamodb-errors.html, "Configuring destinations for failed invocations": the form of the
/// record, which has metadata and nothing of the changes.
#[tokio::test(start_paused = true)]
async fn the_failure_destination_receives_where_the_changes_were_and_not_what_they_were() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    let first = write_to(&stream, "key", 0, "a secret");
    sleep(Duration::from_secs(20)).await;
    let last = write_to(&stream, "key", 1, "a secret");
    let settings = Settings {
        maximum_retry_attempts: Some(0),
        ..plain()
    };
    let shard = stream.taking().remove(0);
    let function = async |_| Err("it failed".to_owned());
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let failures = mapping.take_failures();
    assert_eq!(
        failures[0]["DDBStreamBatchInfo"],
        json!({
            "shardId": shard,
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": "2026-11-21T06:00:00Z",
            "approximateArrivalOfLastRecord": "2026-11-21T06:00:20Z",
            "batchSize": 2,
            "streamArn": ARN,
        })
    );
    assert_eq!(failures[0]["version"], "1.0");
    assert!(!failures[0].to_string().contains("secret"), "{}", failures[0]);
}

/// services-dynamodb-errors.html: a change that exceeds MaximumRecordAgeInSeconds is discarded, however
/// many retries are left; younger ones of its batch are delivered.
#[tokio::test(start_paused = true)]
async fn what_becomes_too_old_is_discarded_and_the_rest_goes_on() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..2);
    sleep(Duration::from_secs(1_800)).await;
    write(&stream, 2..4);
    let recovers = Instant::now() + Duration::from_secs(2_700);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        if Instant::now() < recovers {
            Err("it failed".to_owned())
        } else {
            Ok(json!({}))
        }
    };
    let settings = Settings {
        maximum_record_age: Some(Duration::from_secs(3_600)),
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    assert_eq!(seen.batches().first().unwrap(), &[0, 1, 2, 3]);
    assert_eq!(seen.batches().last().unwrap(), &[2, 3]);
    let failures = mapping.take_failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0]["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(failures[0]["DDBStreamBatchInfo"]["batchSize"], 2);
}

/// services-ddb-params.html: "-1 means infinite: failed records are retried until the record expires.
/// The data retention limit for DynamoDB Streams is 24 hours."
#[tokio::test(start_paused = true)]
async fn without_limits_a_change_is_retried_for_a_day_and_no_longer() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..1);
    let began = Instant::now();
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        Err("it failed".to_owned())
    };
    let mapping = Mapping::new(stream, function, plain()).with_clock(clock);
    mapping.catch_up().await;
    let last = *seen.times.borrow().last().unwrap() - began;
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(last <= day && last > day - Duration::from_secs(120), "{last:?}");
    assert_eq!(mapping.take_failures().len(), 1);
}

/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html: changes are kept "for up to
/// 24 hours", read or not. Of what was never read nobody is told.
#[tokio::test(start_paused = true)]
async fn what_is_not_read_for_a_day_is_lost_without_a_word() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..3);
    sleep(Duration::from_secs(24 * 60 * 60 + 1)).await;
    write(&stream, 3..5);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        Ok(json!({}))
    };
    let mapping = Mapping::new(stream, function, plain()).with_clock(clock);
    mapping.catch_up().await;
    assert_eq!(seen.batches(), [vec![3, 4]]);
    assert!(mapping.take_failures().is_empty());
}

/// services-dynamodb-errors.html: "If a Lambda event source mapping is unable to invoke the function
/// due to throttling or other issues, it retries until the records expire or exceed the maximum age":
/// neither the retries nor halving come into it.
#[tokio::test(start_paused = true)]
async fn a_throttled_invocation_is_no_retry_and_halves_nothing() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..1_000);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        Ok(json!({}))
    };
    let settings = Settings {
        bisects_batch: true,
        maximum_retry_attempts: Some(0),
        ..plain()
    };
    let faults = Faults::seeded(1).only([Fault::Throttled]);
    let mapping = Mapping::new(stream, function, settings)
        .with_clock(clock)
        .with_faults(faults);
    mapping.catch_up().await;
    assert!(mapping.faults().seen()[&Fault::Throttled] > 2);
    assert_eq!(seen.batches().len(), 100);
    assert!(seen.batches().iter().all(|batch| batch.len() == 10));
    assert!(mapping.take_failures().is_empty());
}

/// configuration-timeout.html: a function that is not done within its timeout is ended, wherever it
/// is; and the invocation has failed.
#[tokio::test(start_paused = true)]
async fn a_function_that_takes_too_long_is_ended_and_its_batch_retried() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..2);
    let (seen, ended) = (Seen::default(), Cell::new(0));
    let function = async |event: Value| {
        seen.see(&event);
        if seen.batches().len() < 3 {
            pending::<()>().await;
            ended.set(ended.get() + 1);
        }
        Ok(json!({}))
    };
    let mapping = Mapping::new(stream, function, plain()).with_clock(clock);
    mapping.catch_up().await;
    assert_eq!(seen.batches(), [[0, 1], [0, 1], [0, 1]]);
    assert_eq!(seen.waits(), [15 + 1, 15 + 2]);
    assert_eq!(ended.get(), 0);
}

/// invocation-retries.html: "Repeated errors block processing of the affected shard until the error is
/// resolved or the items expire": of the affected shard, and of no other.
#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_holds_up_itself_and_no_other() {
    let clock = clock();
    let stream = Shards::new(clock, 4);
    for number in 0..40 {
        write_to(&stream, &format!("key {number}"), number, "");
    }
    let resolved = Instant::now() + Duration::from_secs(3_600);
    let (seen, early, late) = (Seen::default(), RefCell::default(), RefCell::default());
    let function = async |event: Value| {
        seen.see(&event);
        let is_early = Instant::now() < resolved;
        if is_early && numbers(&event).contains(&0) {
            return Err("it failed".to_owned());
        }
        let counted: &RefCell<BTreeSet<u32>> = if is_early { &early } else { &late };
        counted.borrow_mut().extend(numbers(&event));
        Ok(json!({}))
    };
    let settings = Settings {
        batch_size: 3,
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let (early, late) = (early.into_inner(), late.into_inner());
    assert_eq!(early.len() + late.len(), 40);
    assert!(late.contains(&0) && late.len() > 3, "{late:?}");
    assert!(early.len() > 20, "{early:?}");
}

/// gettingstarted-limits.html: 6 MB are the most of a synchronous invocation; with-ddb.html: "Lambda
/// passes all of the records in the batch to the function in a single call, as long as the total size
/// of the events doesn't exceed the payload limit".
#[tokio::test(start_paused = true)]
async fn a_batch_is_smaller_where_its_event_would_be_over_six_megabytes() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    let padding = "x".repeat(700_000);
    for number in 0..20 {
        write_to(&stream, "key", number, &padding);
    }
    let (seen, largest) = (Seen::default(), Cell::new(0));
    let function = async |event: Value| {
        largest.set(largest.get().max(event.to_string().len()));
        seen.see(&event);
        Ok(json!({}))
    };
    let settings = Settings {
        batch_size: 1_000,
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let sizes: Vec<usize> = seen.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [8, 8, 4]);
    assert!(largest.get() <= 6 * 1024 * 1024, "{}", largest.get());
}

/// with-ddb.html: "Before invoking the function, Lambda continues to read records from the event source
/// until it has gathered a full batch, the batching window expires, or the batch reaches the payload
/// limit of 6 MB."
#[tokio::test(start_paused = true)]
async fn changes_are_gathered_until_a_batch_is_full_or_the_batching_window_expires() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        Ok(json!({}))
    };
    let settings = Settings {
        batching_window: Duration::from_secs(5),
        ..plain()
    };
    let mapping = Mapping::new(stream.clone(), function, settings).with_clock(clock);
    let began = Instant::now();
    let writer = async {
        write(&stream, 0..2);
        sleep(Duration::from_secs(3)).await;
        write(&stream, 2..4);
        sleep(Duration::from_secs(27)).await;
        write(&stream, 4..15);
        sleep(Duration::from_secs(30)).await;
    };
    tokio::select! {
        () = mapping.run() => {}
        () = writer => {}
    }
    let full: Vec<u32> = (4..14).collect();
    assert_eq!(seen.batches(), [vec![0, 1, 2, 3], full, vec![14]]);
    let times = seen.times.borrow();
    let seconds: Vec<u64> = times.iter().map(|time| (*time - began).as_secs()).collect();
    assert_eq!(seconds, [5, 30, 35]);
}

/// services-ddb-windows.html: each change is in the window of when it entered the stream; every event
/// has the state that the last answer left; at its end "the flag isFinalInvokeForWindow is set to
/// true", and "then the state is dropped". services-kinesis-windows.html: "When no new records are
/// being added to the current window, Lambda waits for up to 2 minutes before assuming that the window
/// is over."
#[tokio::test(start_paused = true)]
async fn a_window_has_a_state_and_an_end_of_its_own() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..3);
    sleep(Duration::from_secs(61)).await;
    write(&stream, 3..4);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        let so_far = event["state"]["count"].as_u64().unwrap_or_default();
        Ok(json!({"state": {"count": so_far + event["Records"].as_array().unwrap().len() as u64}}))
    };
    let settings = Settings {
        batch_size: 2,
        tumbling_window: Some(Duration::from_secs(60)),
        ..plain()
    };
    let mapping = Mapping::new(stream.clone(), function, settings).with_clock(clock);
    let _ = timeout(Duration::from_secs(600), mapping.run()).await;
    let brief: Vec<Value> = seen
        .events
        .borrow()
        .iter()
        .map(|event| {
            json!([
                numbers(event),
                event["window"]["start"],
                event["state"],
                event["isFinalInvokeForWindow"]
            ])
        })
        .collect();
    let (first, second) = ("2026-11-21T06:00:00Z", "2026-11-21T06:01:00Z");
    assert_eq!(
        brief,
        [
            json!([[0, 1], first, {}, false]),
            json!([[2], first, {"count": 2}, false]),
            json!([[], first, {"count": 3}, true]),
            json!([[3], second, {}, false]),
            json!([[], second, {"count": 1}, true]),
        ]
    );
    let events = seen.events.borrow();
    assert_eq!(events[0]["window"]["end"], second);
    assert_eq!(events[0]["shardId"], json!(stream.taking()[0]));
    assert_eq!(events[0]["eventSourceARN"], ARN);
    assert_eq!(events[0]["Records"][0]["eventSourceARN"], ARN);
    assert_eq!(events[0]["isWindowTerminatedEarly"], false);
    // The window of a minute was over, and two minutes more.
    assert!(seen.waits()[3] >= 175, "{:?}", seen.waits());
}

/// services-ddb-windows.html: "your Lambda function response must contain a state property. If the
/// response does not contain a state property, Lambda considers this a failed invocation."
#[tokio::test(start_paused = true)]
async fn with_a_window_an_answer_without_a_state_is_a_failed_invocation() {
    for answer in [
        json!({}),
        json!(null),
        json!({"batchItemFailures": []}),
        json!({"state": null}),
    ] {
        let clock = clock();
        let stream = Shards::new(clock, 1);
        write(&stream, 0..2);
        let seen = Seen::default();
        let function = async |event: Value| {
            seen.see(&event);
            Ok(if seen.batches().len() == 1 {
                answer.clone()
            } else {
                json!({"state": {}})
            })
        };
        let settings = Settings {
            tumbling_window: Some(Duration::from_secs(60)),
            ..plain()
        };
        let mapping = Mapping::new(stream, function, settings).with_clock(clock);
        mapping.catch_up().await;
        assert_eq!(seen.batches(), [[0, 1], [0, 1]], "{answer}");
    }
}

/// services-ddb-windows.html: "Your state can be a maximum of 1 MB per shard. If it exceeds that size,
/// Lambda terminates the window early."
#[tokio::test(start_paused = true)]
async fn a_state_over_a_megabyte_ends_its_window_early() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..3);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        let size = if numbers(&event) == [1] { 1024 * 1024 } else { 1 };
        Ok(json!({"state": {"of": numbers(&event), "text": "x".repeat(size)}}))
    };
    let settings = Settings {
        batch_size: 1,
        tumbling_window: Some(Duration::from_secs(60)),
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let brief: Vec<Value> = seen
        .events
        .borrow()
        .iter()
        .map(|event| {
            json!([
                numbers(event),
                event["state"]["of"],
                event["isWindowTerminatedEarly"]
            ])
        })
        .collect();
    assert_eq!(
        brief,
        [
            json!([[0], null, false]),
            json!([[1], [0], false]),
            json!([[], [0], true]),
            json!([[2], null, false]),
        ]
    );
}

/// services-ddb-windows.html: "If invocation is unsuccessful, your Lambda function suspends further
/// processing until a successful invocation", of the last one of a window too.
#[tokio::test(start_paused = true)]
async fn a_window_whose_end_fails_holds_up_the_next() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..1);
    sleep(Duration::from_secs(60)).await;
    write(&stream, 1..2);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        if event["isFinalInvokeForWindow"] == true && seen.batches().len() < 5 {
            return Err("it failed".to_owned());
        }
        Ok(json!({"state": {}}))
    };
    let settings = Settings {
        tumbling_window: Some(Duration::from_secs(60)),
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let end: Vec<u32> = Vec::new();
    assert_eq!(
        seen.batches(),
        [vec![0], end.clone(), end.clone(), end.clone(), end, vec![1]]
    );
}

/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html: "an application must always
/// process a parent shard before it processes a child shard"; services-ddb-windows.html: "When the
/// shard ends, Lambda considers the window closed, and the child shards start their own window in a
/// fresh state."
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_split_is_done_before_its_children_begin() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    let parent = stream.taking().remove(0);
    for number in 0..20 {
        write_to(&stream, &format!("key {number}"), number, "");
    }
    let [left, right] = stream.split(&parent);
    for number in 20..40 {
        write_to(&stream, &format!("key {number}"), number, "");
    }
    let (seen, states) = (Seen::default(), RefCell::new(BTreeMap::new()));
    let function = async |event: Value| {
        seen.see(&event);
        // Late in the parent it fails for an hour.
        if numbers(&event).contains(&15) && seen.batches().len() < 60 {
            return Err("it failed".to_owned());
        }
        let shard = event["shardId"].as_str().unwrap().to_owned();
        states
            .borrow_mut()
            .entry(shard.clone())
            .or_insert(event["state"].clone());
        Ok(json!({"state": {"of": shard}}))
    };
    let settings = Settings {
        batch_size: 4,
        tumbling_window: Some(Duration::from_secs(60)),
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    mapping.catch_up().await;
    let events = seen.events.borrow();
    let of = |shard: &str| {
        let places = events
            .iter()
            .enumerate()
            .filter(move |(_, event)| event["shardId"] == *shard);
        places.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let last = *of(&parent).last().unwrap();
    assert_eq!(events[last]["isFinalInvokeForWindow"], true);
    for child in [&left, &right] {
        assert!(of(child)[0] > last, "{child} began before {parent} was done");
        assert_eq!(states.borrow()[child], json!({}));
    }
    let all: BTreeSet<u32> = seen.batches().concat().into_iter().collect();
    assert_eq!(all, (0..40).collect());
    assert_eq!(
        mapping.checkpoint(&parent).map(|number| number.0.ends_with("20")),
        Some(true)
    );
}

/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html: shards are deleted once all
/// of their changes are forgotten. A child whose parent is gone is not waited with.
#[tokio::test(start_paused = true)]
async fn a_child_does_not_wait_for_a_parent_that_was_forgotten() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..2);
    let parent = stream.taking().remove(0);
    stream.split(&parent);
    sleep(Duration::from_secs(24 * 60 * 60 + 1)).await;
    write(&stream, 2..4);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        Ok(json!({}))
    };
    let mapping = Mapping::new(stream, function, plain()).with_clock(clock);
    mapping.catch_up().await;
    assert_eq!(seen.batches(), [[2, 3]]);
}

/// invocation-eventsourcemapping.html: "event source mappings process each event at least once". What
/// was under way when the mapping stopped is delivered again, what was done is not.
#[tokio::test(start_paused = true)]
async fn a_mapping_that_is_stopped_goes_on_from_what_was_done() {
    let clock = clock();
    let stream = Shards::new(clock, 1);
    write(&stream, 0..6);
    let seen = Seen::default();
    let function = async |event: Value| {
        seen.see(&event);
        if seen.batches().len() == 2 {
            sleep(Duration::from_secs(10)).await;
        }
        Ok(json!({}))
    };
    let settings = Settings {
        batch_size: 2,
        ..plain()
    };
    let mapping = Mapping::new(stream, function, settings).with_clock(clock);
    assert!(timeout(Duration::from_secs(5), mapping.run()).await.is_err());
    mapping.catch_up().await;
    assert_eq!(seen.batches(), [[0, 1], [2, 3], [2, 3], [4, 5]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// services-ddb-windows.html: "Lambda will process each record at least once … Records are always
    /// processed in order the first time. If records are processed more than once, they might be
    /// processed out of order." So it is here whatever goes wrong, and each kind of fault does.
    #[test]
    fn every_change_arrives_and_the_first_time_in_order(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let clock = clock();
            let stream = Shards::new(clock, 2);
            let seen = Seen::default();
            let done = RefCell::new(BTreeMap::<String, Vec<u32>>::new());
            let function = async |event: Value| {
                seen.see(&event);
                sleep(Duration::from_millis(10)).await;
                let shard = event["shardId"].as_str().unwrap().to_owned();
                let mut done = done.borrow_mut();
                let done = done.entry(shard).or_default();
                for number in numbers(&event) {
                    if !done.contains(&number) {
                        done.push(number);
                    }
                }
                Ok(json!({"state": {}}))
            };
            let settings = Settings { batch_size: 20, ..Settings::deployed() };
            let faults = Faults::seeded(seed);
            let mapping = Mapping::new(stream.clone(), function, settings).with_clock(clock).with_faults(faults);
            let writer = async {
                for number in 0..2_000 {
                    write_to(&stream, &format!("key {number}"), number, "");
                    if number % 50 == 0 {
                        sleep(Duration::from_secs(7)).await;
                    }
                    if number % 500 == 0 {
                        stream.split(&stream.taking()[0]);
                    }
                }
            };
            tokio::select! {
                () = mapping.run() => {}
                () = writer => {}
            }
            mapping.catch_up().await;
            let done = done.take();
            let all: BTreeSet<u32> = done.values().flatten().copied().collect();
            assert_eq!(all, (0..2_000).collect());
            for (shard, numbers) in done {
                assert!(numbers.is_sorted(), "{shard}: {numbers:?}");
            }
            assert!(mapping.take_failures().is_empty());
            // The last kind is rare, and has a test of its own.
            assert!(mapping.faults().seen().len() >= 7, "{:?}", mapping.faults().seen());
        });
    }
}
