//! Shards, their order and their child shards.

use super::*;

/// invocation-retries.html: "Repeated errors block processing of the affected shard until the error is
/// resolved or the items expire": of the affected shard, and of no other.
#[tokio::test(start_paused = true)]
async fn a_failing_shard_delays_no_other_shard() {
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
        // It fails for an hour, late in the parent.
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

/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html: a shard is deleted when all its
/// changes have expired. Its child does not wait for it.
#[tokio::test(start_paused = true)]
async fn a_child_shard_does_not_wait_for_a_deleted_parent() {
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

/// invocation-eventsourcemapping.html: "event source mappings process each event at least once". After a
/// stop, batches in progress are delivered again, and completed ones are not.
#[tokio::test(start_paused = true)]
async fn a_restarted_mapping_continues_after_completed_batches() {
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
