//! The model of Lambda's event source mapping follows AWS's documentation. Each test names its page; pages
//! without a host are in docs.aws.amazon.com/lambda/latest/dg/.

mod failures;
mod shards;
mod windows;

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

/// Settings without windows, limits or batching delay.
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

/// Writes changes with these numbers to the stream.
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

/// The numbers of the changes in an event.
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

/// The function's invocations, with their times.
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

    /// The numbers in each invocation.
    fn batches(&self) -> Vec<Vec<u32>> {
        self.events.borrow().iter().map(numbers).collect()
    }

    /// The whole seconds between consecutive invocations.
    fn waits(&self) -> Vec<u64> {
        let times = self.times.borrow();
        let waits = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs());
        waits.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// services-ddb-windows.html: "Lambda will process each record at least once … Records are always
    /// processed in order the first time. If records are processed more than once, they might be processed
    /// out of order." The model does the same, with faults of every kind.
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
            // The last kind is rare, and has its own test.
            assert!(mapping.faults().seen().len() >= 7, "{:?}", mapping.faults().seen());
        });
    }
}
