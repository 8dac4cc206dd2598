//! Counting: the numbers agree with the records, however the stream tells of them and whatever goes
//! wrong on the way, and are made anew where they do not.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::stats::count::{Counter, StreamRecord};
use shared::stats::image::Counted;
use shared::stats::rebuild::{Progress, Rebuild};
use shared::stats::rollup::{Rollup, counters};
use shared::stats::tally::Tally;
use shared::stats::verify::Tables;

use crate::analytics::{ask, vote, wide};
use crate::dynamodb::cases;
use crate::harness::{Api, Fault, TICK};

const PORTKEY: &str = "/v1/feedback";
const TRUEFOUNDRY: &str = "/api/svc/v1/gateway-feedback";

/// Compares every roll-up with a fold over the records that live.
pub(crate) async fn verified(api: &Api) -> Result<(), String> {
    let tables = Tables::new(api.client.clone(), &api.config.feedback, &api.config.stats);
    let generation = tables.generation().await.unwrap();
    let mut expected: BTreeMap<Rollup, Tally> = BTreeMap::new();
    tables
        .each_record(|record| {
            for (rollup, tally) in Counted::from_feedback(&record).contributions(generation) {
                *expected.entry(rollup).or_default() += &tally;
            }
        })
        .await
        .unwrap();
    let mut wrong = Vec::new();
    tables
        .each_rollup(generation, |rollup, tally| {
            let due = expected.remove(&rollup).unwrap_or_default();
            if counters(&due) != counters(&tally) {
                wrong.push(format!("{rollup:?}: {due:?} is {tally:?}"));
            }
        })
        .await
        .unwrap();
    wrong.extend(
        expected
            .into_iter()
            .filter(|(_, due)| !due.is_zero())
            .map(|(rollup, _)| format!("{rollup:?}")),
    );
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

#[tokio::test]
async fn what_expires_is_counted_out_when_it_is_swept() {
    let config = shared::config::Config {
        retention: Some(Duration::from_secs(60)),
        ..shared::config::Config::embedded().unwrap()
    };
    let api = Api::with(config).await;
    vote(&api, 5, 1.0, json!({})).await;
    api.count().await;
    let item = api.database.items("feedback").remove(0);
    api.database.expire("feedback", &item);
    assert_eq!(api.database.sweep(), 1);
    api.count().await;
    assert_eq!(
        ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"],
        0
    );
    assert_eq!(verified(&api).await, Ok(()));
}

/// What was written to a deployment, as its stream told it.
async fn recorded(seed: u64) -> (Api, Vec<Value>) {
    let api = Api::new().await;
    let mut chance = seed;
    let mut next = |below: u64| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..60 {
        let metadata = json!({
            "_user": format!("u{}", next(20)),
            "_model": format!("m{}", next(3)),
            "_prompt": format!("p{}", next(4)),
        });
        let value = i64::try_from(next(21)).unwrap() - 10;
        match next(6) {
            0 if !ids.is_empty() => {
                let id = ids.remove(usize::try_from(next(ids.len() as u64)).unwrap());
                api.delete(&format!("{PORTKEY}/{id}")).await.ok();
            }
            1 if !ids.is_empty() => {
                let id = &ids[usize::try_from(next(ids.len() as u64)).unwrap()];
                api.put(
                    &format!("{PORTKEY}/{id}"),
                    json!({"value": value, "metadata": metadata}),
                )
                .await
                .ok();
            }
            2 if !ids.is_empty() => {
                let id = &ids[usize::try_from(next(ids.len() as u64)).unwrap()];
                api.put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": next(5) + 1}))
                    .await
                    .ok();
            }
            _ => ids.push(vote(&api, value, next(11) as f64 / 10.0, metadata).await),
        }
    }
    let changes = api.changes().await;
    (api, changes)
}

/// Splits a stream over shards as DynamoDB does: by partition, so that a record's changes are in
/// one shard, and in order there. At some point each shard is split in two.
fn shards(changes: &[Value], count: usize) -> BTreeMap<String, Vec<Value>> {
    let mut shards: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        let key = change["dynamodb"]["Keys"]["sk"]["S"].as_str().unwrap();
        let place = key.bytes().map(usize::from).sum::<usize>();
        let half = if index < changes.len() / 2 {
            String::new()
        } else {
            format!("-{}", place / count % 2)
        };
        shards
            .entry(format!("shard-{}{half}", place % count))
            .or_default()
            .push(change.clone());
    }
    shards
}

fn records(changes: &[Value]) -> Vec<StreamRecord> {
    serde_json::from_value(json!(changes)).unwrap()
}

/// How deliveries go wrong.
#[derive(Clone, Debug)]
enum Delivery {
    /// The next changes of a shard, so many.
    Next(usize, usize),
    /// Some that were delivered before, again, in any order.
    Again(usize, usize, usize),
    /// The next, while the database fails in this way.
    Faulty(usize, usize, Fault),
}

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let fault = prop_oneof![
        Just(Fault::ServerError),
        Just(Fault::LostAnswer),
        Just(Fault::CutAnswer),
        Just(Fault::Throttle),
        Just(Fault::Refused)
    ];
    let delivery = prop_oneof![
        4 => (0_usize..8, 1_usize..20).prop_map(|(shard, count)| Delivery::Next(shard, count)),
        2 => (0_usize..8, 0_usize..60, 1_usize..20).prop_map(|(shard, from, count)| Delivery::Again(shard, from, count)),
        2 => (0_usize..8, 1_usize..20, fault).prop_map(|(shard, count, fault)| Delivery::Faulty(shard, count, fault)),
    ];
    proptest::collection::vec(delivery, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24)))]

    #[test]
    fn every_change_counts_once_however_it_is_delivered(
        seed in any::<u64>(),
        count in 1_usize..4,
        plan in deliveries(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (api, changes) = recorded(seed).await;
            let shards: Vec<(String, Vec<Value>)> = shards(&changes, count).into_iter().collect();
            let mut delivered = vec![0; shards.len()];
            let counter = Counter::new(api.client.clone(), api.config.clone());
            for delivery in plan {
                match delivery {
                    Delivery::Next(shard, more) => {
                        let shard = shard % shards.len();
                        let (name, all) = &shards[shard];
                        let end = (delivered[shard] + more).min(all.len());
                        counter.count(name, records(&all[delivered[shard]..end])).await.unwrap();
                        delivered[shard] = end;
                    }
                    Delivery::Again(shard, from, more) => {
                        let shard = shard % shards.len();
                        let (name, all) = &shards[shard];
                        let from = from.min(delivered[shard]);
                        let end = (from + more).min(delivered[shard]);
                        let mut again = records(&all[from..end]);
                        again.reverse();
                        counter.count(name, again).await.unwrap();
                    }
                    Delivery::Faulty(shard, more, fault) => {
                        let shard = shard % shards.len();
                        let (name, all) = &shards[shard];
                        let end = (delivered[shard] + more).min(all.len());
                        api.database.fail_on("TransactWriteItems", [fault; 4]);
                        // Whatever it says: a failed delivery comes again, from where it began.
                        if counter.count(name, records(&all[delivered[shard]..end])).await.is_ok() {
                            delivered[shard] = end;
                        }
                        api.database.recover();
                    }
                }
            }
            // In the end everything arrives, shard beside shard.
            let rest = shards.iter().zip(&delivered).map(|((name, all), from)| {
                let counter = counter.clone();
                async move { counter.count(name, records(&all[*from..])).await.unwrap() }
            });
            join_all(rest).await;
            assert_eq!(verified(&api).await, Ok(()));
        });
    }
}

#[tokio::test]
async fn a_poison_change_is_named_and_what_is_before_it_is_counted() {
    let api = Api::new().await;
    for _ in 0..3 {
        vote(&api, 1, 1.0, json!({})).await;
    }
    let mut changes = api.changes().await;
    changes[1]["dynamodb"]["NewImage"]["value"] = json!({"N": "77"});
    let event = json!({"Records": changes, "shardId": "s", "state": {}, "isFinalInvokeForWindow": false});
    let counter = Counter::new(api.client.clone(), api.config.clone());
    let deliver = async |event: &Value| {
        let event = serde_json::from_value(event.clone()).unwrap();
        serde_json::to_value(aggregate::handle(&counter, event).await.unwrap()).unwrap()
    };
    let poison = changes[1]["dynamodb"]["SequenceNumber"].clone();
    let expected = json!({"state": {}, "batchItemFailures": [{"itemIdentifier": poison}]});
    for _ in 0..2 {
        assert_eq!(deliver(&event).await, expected);
        assert_eq!(
            ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"],
            1
        );
    }
    // Lambda gives it to the on-failure queue and goes on with the rest.
    let rest = json!({"Records": changes[2..], "shardId": "s", "state": {}});
    assert_eq!(
        deliver(&rest).await,
        json!({"state": {}, "batchItemFailures": []})
    );
    assert_eq!(
        ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"],
        2
    );
    // The end of a window may come without a change.
    assert_eq!(
        deliver(&json!({"shardId": "s"})).await,
        json!({"state": {}, "batchItemFailures": []})
    );
}

#[tokio::test]
async fn a_batch_is_merged_before_it_is_written() {
    let api = Api::new().await;
    let bulk = |count| {
        Value::Array(vec![
            json!({"trace_id": "t", "value": 1, "metadata": {"_prompt": "p"}});
            count
        ])
    };
    api.post(PORTKEY, bulk(100)).await.ok();
    api.database.calls();
    api.count().await;
    let transactions = api
        .database
        .calls()
        .iter()
        .filter(|call| *call == "TransactWriteItems")
        .count();
    assert_eq!(transactions, 1, "a hundred votes, and one write of each roll-up");
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn what_a_vote_costs_to_count_falls_with_the_batch() {
    let mut units = Vec::new();
    for size in [1, 10, 100, 1_000] {
        let api = Api::new().await;
        for hundred in 0..10 {
            let of = |n: usize| {
                json!({
                    "trace_id": "t",
                    "value": 1,
                    // Users as they are: a few say much, many say little.
                    "metadata": {"_user": format!("u{}", (hundred * 100 + n).isqrt()), "_model": format!("m{}", n % 3)},
                })
            };
            api.post(PORTKEY, (0..100).map(of).collect()).await.ok();
        }
        let changes = api.changes().await;
        assert_eq!(changes.len(), 1_000);
        api.database.transaction_units();
        let counter = Counter::new(api.client.clone(), api.config.clone());
        for batch in changes.chunks(size) {
            counter.count("shard", records(batch)).await.unwrap();
        }
        units.push(api.database.transaction_units());
        assert_eq!(verified(&api).await, Ok(()));
    }
    // A vote alone: all and model by hour and by day, the user by day, and the checkpoint.
    assert_eq!(units[0], 1_000 * 2 * 6);
    println!("write units per 1,000 votes in batches of 1, 10, 100, 1,000: {units:?}");
    assert!(units.is_sorted_by(|one, other| one > other), "{units:?}");
    assert!(units[3] < units[0] / 50, "{units:?}");
}

/// A rebuild of this deployment.
fn rebuild(api: &Api) -> Rebuild {
    Rebuild::new(api.client.clone(), "feedback", "stats")
}

#[tokio::test]
async fn a_rebuild_makes_good_what_the_stream_has_lost() {
    let (api, _) = recorded(7).await;
    api.forget_the_stream().await;
    assert!(verified(&api).await.is_err(), "the numbers are off");
    let rebuild = rebuild(&api);
    let generation = rebuild
        .begin(Duration::ZERO, api.time.forward(TICK))
        .await
        .unwrap();
    let mut seen = 0;
    rebuild
        .touch(generation, |records| seen += records)
        .await
        .unwrap();
    assert_eq!(seen, api.database.items("feedback").len());
    let touched = u64::try_from(seen).unwrap();
    let progress = async || rebuild.progress(generation).await.unwrap();
    assert_eq!(progress().await, Progress { touched, counted: 0 });
    api.count().await;
    let counted = touched;
    assert_eq!(progress().await, Progress { touched, counted });
    rebuild.finish(generation).await.unwrap();
    assert_eq!(verified(&api).await, Ok(()));
    assert!(rebuild.clear(generation).await.unwrap() > 0);
    assert_eq!(progress().await, Progress { touched: 0, counted });
    assert_eq!(verified(&api).await, Ok(()));
    // What a caller sees of a record is as it was.
    let list = api.get("/v1/feedback?trace_id=t&limit=100").await.ok().json();
    assert!(
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|record| record.get("generation").is_none())
    );
    // And the next one begins where this one ended.
    let next = rebuild
        .begin(Duration::ZERO, api.time.forward(TICK))
        .await
        .unwrap();
    assert_eq!(next.number, generation.number + 1);
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_was_interrupted_knows_what_it_still_has_to_see_counted() {
    let (api, _) = recorded(8).await;
    let rebuild = rebuild(&api);
    let generation = rebuild
        .begin(Duration::ZERO, api.time.forward(TICK))
        .await
        .unwrap();
    let records = u64::try_from(api.database.items("feedback").len()).unwrap();
    api.database.fail_on("UpdateItem", [Fault::AccessDenied]);
    assert!(rebuild.touch(generation, |_| {}).await.is_err());
    api.database.recover();
    api.count().await;
    let first = rebuild.progress(generation).await.unwrap();
    assert!(first.touched < records, "{first:?}");
    rebuild.touch(generation, |_| {}).await.unwrap();
    let second = rebuild.progress(generation).await.unwrap();
    assert!(second.counted < second.touched && second.counted == first.counted);
    // What changes or goes now was touched all the same, and comes through the stream behind it.
    let ids = api.get("/v1/feedback?trace_id=t&limit=2").await.ok().ids();
    api.put(&format!("{PORTKEY}/{}", ids[0]), json!({"value": 3}))
        .await
        .ok();
    api.delete(&format!("{PORTKEY}/{}", ids[1])).await.ok();
    api.count().await;
    let last = rebuild.progress(generation).await.unwrap();
    assert_eq!(last.counted, records);
    assert!(
        last.counted >= last.touched,
        "it would be waited for in vain: {last:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(12)))]

    /// Writes, counting and a rebuild that is interrupted and called again, in any order.
    #[test]
    fn a_rebuild_is_exact_whatever_goes_on_beside_it(
        seed in any::<u64>(),
        steps in proptest::collection::vec(0_u8..5, 10..40),
        lost in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (api, _) = recorded(seed).await;
            if lost {
                api.forget_the_stream().await;
            }
            let rebuild = rebuild(&api);
            let generation = rebuild.begin(Duration::from_millis(3), api.time.forward(TICK)).await.unwrap();
            api.time.forward(Duration::from_millis(5));
            let ids = api.get("/v1/feedback?trace_id=t&limit=100").await.ok().ids();
            for (index, step) in steps.iter().enumerate() {
                let id = &ids[index % ids.len()];
                match step {
                    0 => {
                        vote(&api, 1, 0.3, json!({"_user": "new", "_prompt": "p1"})).await;
                    }
                    1 => {
                        // It may be gone by now.
                        api.put(&format!("{PORTKEY}/{id}"), json!({"value": 3, "metadata": {"_model": "m9"}})).await;
                    }
                    2 => {
                        api.delete(&format!("{PORTKEY}/{id}")).await;
                    }
                    3 => {
                        api.count().await;
                    }
                    _ => {
                        assert_eq!(rebuild.begin(Duration::ZERO, api.time.forward(TICK)).await.unwrap(), generation);
                        // Interrupted: a part of the touches fail.
                        api.database.fail_on("UpdateItem", [Fault::AccessDenied; 2]);
                        let _ = rebuild.touch(generation, |_| {}).await;
                        api.database.recover();
                    }
                }
            }
            rebuild.touch(generation, |_| {}).await.unwrap();
            api.count().await;
            let Progress { touched, counted } = rebuild.progress(generation).await.unwrap();
            assert!(counted >= touched, "{touched} were touched and {counted} counted");
            rebuild.finish(generation).await.unwrap();
            assert_eq!(verified(&api).await, Ok(()));
            vote(&api, 2, 1.0, json!({})).await;
            api.put(&format!("{PORTKEY}/{}", ids[0]), json!({"value": -5})).await;
            api.count().await;
            rebuild.clear(generation).await.unwrap();
            assert_eq!(verified(&api).await, Ok(()));
        });
    }
}
