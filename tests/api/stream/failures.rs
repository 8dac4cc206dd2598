//! Failing invocations, and what happens to their batches.

use super::*;

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

/// services-ddb-batchfailurereporting.html, "Success and failure conditions". A number that is not in the
/// batch fails it too, which is the stricter reading.
#[tokio::test(start_paused = true)]
async fn responses_about_the_whole_batch() {
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
async fn partial_failures_are_ignored_unless_enabled() {
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
async fn a_failed_batch_is_halved_without_using_a_retry() {
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
/// processing batches from the stream". The waits in between are the model's own, because the guide gives
/// none.
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

/// services-dynamodb-errors.html, "Configuring destinations for failed invocations": the record contains
/// metadata and no content of the changes.
#[tokio::test(start_paused = true)]
async fn the_failure_destination_receives_positions_but_no_contents() {
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

/// services-dynamodb-errors.html: a change that exceeds MaximumRecordAgeInSeconds is discarded even if
/// retries are left. Younger ones in its batch are delivered.
#[tokio::test(start_paused = true)]
async fn changes_over_the_maximum_age_are_discarded() {
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
/// 24 hours", read or not. Nobody is notified about changes that were never read.
#[tokio::test(start_paused = true)]
async fn unread_changes_are_lost_after_a_day() {
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
/// due to throttling or other issues, it retries until the records expire or exceed the maximum age".
/// This affects neither retries nor halving.
#[tokio::test(start_paused = true)]
async fn a_throttled_invocation_uses_no_retry_and_halves_nothing() {
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

/// configuration-timeout.html: a function that exceeds its timeout is stopped, and the invocation has
/// failed.
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
