//! Batches and windows.

use super::*;

/// gettingstarted-limits.html: a synchronous invocation is limited to 6 MB. with-ddb.html: "Lambda
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

/// services-ddb-windows.html: a change belongs to the window in which it entered the stream; every event
/// has the state of the previous response; at the window's end "the flag isFinalInvokeForWindow is set to
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
    // The window of one minute had ended, and two more minutes had passed.
    assert!(seen.waits()[3] >= 175, "{:?}", seen.waits());
}

/// services-ddb-windows.html: "your Lambda function response must contain a state property. If the
/// response does not contain a state property, Lambda considers this a failed invocation."
#[tokio::test(start_paused = true)]
async fn with_a_window_a_response_without_a_state_fails() {
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
/// processing until a successful invocation". This includes the last invocation of a window.
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
