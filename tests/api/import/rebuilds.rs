//! Imports before, beside and after a rebuild, while the stream of changes repeats, splits and fails.

use local::stream::api::Stream;
use local::stream::clock::Clock;
use local::stream::faults::Faults;
use local::stream::mapping::{Mapping, Settings};
use proptest::prelude::*;
use shared::import::Reading;
use shared::schema;
use shared::stats::rebuild::{CLOCK_SKEW, WRITE_TIME};

use super::*;
use crate::counting::{begin_in_schema, pass, rebuilt_beside};
use crate::dynamodb::cases;
use crate::erasure::step;

/// One import of one record.
#[derive(Clone, Debug)]
struct Arrival {
    /// When it begins, from thirty seconds before the rebuild to thirty seconds after.
    begins: Duration,
    /// How much older the record is.
    age: Duration,
    /// The error of the clock that it says the time by, in milliseconds.
    skew: i64,
    /// The time until it lands, up to the longest that one may take.
    takes: Duration,
    /// What follows: nothing, an update, a deletion, or both.
    then: u8,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let (skew, takes) = (CLOCK_SKEW.as_millis() as i64, WRITE_TIME.as_millis() as u64);
    let arrival = (0_u64..90_000, 0_u64..40 * 86_400, -skew..=skew, 0..takes, 0_u8..6);
    let arrival = arrival.prop_map(|(begins, age, skew, takes, then)| Arrival {
        begins: Duration::from_millis(begins),
        age: Duration::from_secs(age),
        skew,
        takes: Duration::from_millis(takes),
        then,
    });
    proptest::collection::vec(arrival, 10..50)
}

async fn arrive(api: &Api, place: usize, arrival: &Arrival) {
    tokio::time::sleep(arrival.begins).await;
    let now = api.time.now();
    let created_at = Timestamp::from_millis(now.millis() - arrival.age.as_millis() as u64);
    let workspace = Workspace::parse("test").unwrap();
    let reading = Reading {
        system: System::Csv,
        workspace: &workspace,
        user_field: None,
        numeric: Numeric::Value,
        retention: None,
        now,
    };
    let row = json!({
        "id": place, "trace_id": "t", "value": place % 11, "weight": "0.3", "created_at": created_at.to_string(),
        "user": format!("i{}", place % 4), "session": "imported", "name": "helpful",
    });
    let record = reading.record(&row.to_string()).unwrap();
    let stored_at = Timestamp::from_millis(now.millis().saturating_add_signed(arrival.skew));
    tokio::time::sleep(arrival.takes).await;
    api.store().import(&record, stored_at).await.unwrap();
    let path = format!("{PORTKEY}/{}", record.id.hyphenated());
    if matches!(arrival.then, 1 | 3) {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let change = json!({"value": -3, "metadata": {"_user": "moved", "_session": "imported"}});
        api.put(&path, change).await.ok();
    }
    if matches!(arrival.then, 2 | 3) {
        tokio::time::sleep(Duration::from_secs(3)).await;
        api.delete(&path).await.ok();
    }
}

/// Ordinary votes meanwhile.
async fn vote_on(api: &Api) {
    for place in 0..60 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let id = api
            .vote(1, json!({"_user": format!("u{}", place % 5), "_session": "s"}))
            .await;
        if place % 7 == 0 {
            api.delete(&format!("{PORTKEY}/{id}")).await.ok();
        }
    }
}

async fn erase_beside(api: &Api, user: &str) {
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut cursor = Value::Null;
    loop {
        let answer = step(api, user, &cursor).await.ok().json();
        if answer["status"] == "done" {
            return;
        }
        cursor = answer["cursor"].clone();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(8)))]

    #[test]
    fn an_imported_record_counts_once_whenever_it_comes(
        seed in any::<u64>(),
        arrivals in arrivals(),
        schema in 1..=schema::STATS,
        erases in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let api = Api::new().await;
            begin_in_schema(&api, schema);
            for place in 0..40 {
                api.vote(i64::from(place % 11), json!({"_user": format!("u{}", place % 5), "_session": "s"})).await;
            }
            let counter = api.counter();
            let function = async |event: Value| {
                let event = serde_json::from_value(event).map_err(|error| error.to_string())?;
                let done = aggregate::handle(&counter, event).await;
                done.map_err(|problem| problem.log_message())?;
                Ok(json!({"state": {}}))
            };
            let stream = Stream::of_table(api.database.engine(), "feedback").await.unwrap();
            let mapping = Mapping::new(stream, function, Settings::local())
                .with_clock(Clock::starting_at(Timestamp::now()))
                .with_faults(Faults::seeded(seed));
            let all = join_all(arrivals.iter().enumerate().map(|(place, one)| arrive(&api, place, one)));
            let rebuild = async {
                tokio::time::sleep(Duration::from_secs(30)).await;
                rebuilt_beside(&api).await;
            };
            let erasure = async {
                if erases {
                    erase_beside(&api, "u3").await;
                }
            };
            tokio::select! {
                _ = async { tokio::join!(rebuild, all, vote_on(&api), erasure) } => {}
                () = pass(&api) => {}
                () = mapping.run() => {}
            }
            mapping.catch_up().await;
            assert_eq!(mapping.take_failures(), Vec::<Value>::new());
            assert_eq!(verified(&api).await, Ok(()));
            // And after the rebuild: what it left behind, and what comes.
            let late = Arrival { begins: Duration::ZERO, age: DAY, skew: 0, takes: Duration::ZERO, then: 3 };
            arrive(&api, 1_000, &late).await;
            arrive(&api, 1_001, &Arrival { then: 0, ..late }).await;
            for id in api.get("/v1/feedback?session=imported&limit=100").await.ok().ids() {
                api.delete(&format!("{PORTKEY}/{id}")).await.ok();
            }
            mapping.catch_up().await;
            assert_eq!(verified(&api).await, Ok(()));
        });
    }
}

/// The scan of a rebuild has passed the place of a record that is older than the rebuild when it is imported. It is
/// counted all the same, in the old roll-ups and in the new ones.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_imported_behind_the_scan_is_counted() {
    let api = Api::new().await;
    api.vote(1, json!({"_user": "u"})).await;
    api.count().await;
    let rebuild = shared::stats::rebuild::Rebuild::new(api.client.clone(), "feedback", "stats");
    api.time.forward(Duration::from_secs(1));
    let generation = rebuild.begin(Duration::ZERO).await.unwrap();
    api.time.forward(WRITE_TIME + CLOCK_SKEW + Duration::from_secs(1));
    rebuild.wait_for_writes(generation).await.unwrap();
    rebuild.touch(generation, |_| {}).await.unwrap();
    let old = Arrival {
        begins: Duration::ZERO,
        age: 20 * DAY,
        skew: 0,
        takes: Duration::ZERO,
        then: 0,
    };
    arrive(&api, 1, &old).await;
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
    // Another pass has nothing to touch.
    let before = rebuild.progress(generation).await.unwrap();
    rebuild.touch(generation, |_| {}).await.unwrap();
    assert_eq!(rebuild.progress(generation).await.unwrap(), before);
    rebuild.finish(generation).await.unwrap();
    assert_eq!(verified(&api).await, Ok(()));
    rebuild.clear(generation).await.unwrap();
    // The next one finds it older than itself.
    crate::counting::rebuilt(&api).await;
    assert_eq!(verified(&api).await, Ok(()));
}
