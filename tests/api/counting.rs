//! Counting: roll-ups agree with the records however the stream delivers changes and whatever fails. If
//! they do not, a rebuild corrects them.

mod batches;
mod parked;
mod rebuilding;

pub(crate) use parked::become_newer;
pub(crate) use rebuilding::{count_at_intervals, pass, rebuilt, run_rebuild as rebuilt_beside};
use rebuilding::{rebuild, settled};

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use lambda_http::http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::config::Config;
use shared::dialect::portkey::{self, Create};
use shared::indexed::Field;
use shared::schema;
use shared::stats::change::StreamRecord;
use shared::stats::count::{Counter, MAX_ITEMS, Recounted};
use shared::stats::generation::{Generation, Generations};
use shared::stats::parked::Parked;
use shared::stats::rebuild::{CLOCK_SKEW, Progress, Rebuild, WRITE_TIME};
use shared::stats::verify::{Comparison, Tables};
use shared::store::keys;
use shared::tables::{FEEDBACK, STATS};
use shared::timestamp::Timestamp;

use crate::analytics::{ask, vote, wide};
use crate::dynamodb::cases;
use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY};

/// Compares every roll-up with a fold over the existing records.
pub(crate) async fn compared(api: &Api) -> Comparison {
    let tables = Tables::new(api.client.clone(), api.table(&FEEDBACK), api.table(&STATS));
    tables.compare().await.unwrap()
}

/// Checks that exactly the existing records are counted, and that all of them are readable.
pub(crate) async fn verified(api: &Api) -> Result<(), String> {
    let comparison = compared(api).await;
    if comparison.is_complete() {
        Ok(())
    } else {
        Err(format!("{comparison:#?}"))
    }
}

#[tokio::test]
async fn expired_records_leave_the_counts_when_they_are_deleted() {
    let config = Config::embedded()
        .unwrap()
        .with_retention(Some(Duration::from_secs(60)));
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

/// Leaves the table as code of an older schema version did: of version 1, an empty roll-up and no item
/// `generation`.
pub(crate) fn begin_in_schema(api: &Api, version: u32) {
    let item = match version {
        1 => json!({"pk": {"S": "test#all#day"}, "sk": {"S": "001795219200000#"}, "schema": {"N": "1"}}),
        schema::STATS => return,
        _ => {
            let version = json!({"N": version.to_string()});
            json!({
                "pk": {"S": "generation"}, "sk": {"S": "generation"}, "schema": version,
                "current": {"N": "0"}, "current_since": {"N": "0"}, "current_schema": version,
            })
        }
    };
    api.database
        .direct("PutItem", json!({"TableName": "stats", "Item": item}));
}

/// Removes the keys of an index from all records, as if they had been written before the field was indexed.
pub(crate) fn unindex(api: &Api, field: Field) {
    for item in api.database.items("feedback") {
        let request = json!({
            "TableName": "feedback",
            "Key": {"pk": item["pk"], "sk": item["sk"]},
            "UpdateExpression": format!("REMOVE {}", field.key()),
        });
        api.database.direct("UpdateItem", request);
    }
}

/// A deployment with random writes, and the changes in its stream.
async fn recorded(seed: u64) -> (Api, Vec<Value>) {
    recorded_in(seed, schema::STATS).await
}

/// The same, with roll-ups that were first written with this schema version.
async fn recorded_in(seed: u64, schema: u32) -> (Api, Vec<Value>) {
    let api = Api::new().await;
    begin_in_schema(&api, schema);
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
            "_session": format!("s{}", next(9)),
        });
        let value = i64::try_from(next(21)).unwrap() - 10;
        match next(6) {
            0 if !ids.is_empty() => {
                let id = ids.remove(usize::try_from(next(ids.len() as u64)).unwrap());
                api.delete(&format!("{PORTKEY}/{id}")).await.ok();
            }
            1 if !ids.is_empty() => {
                let id = &ids[usize::try_from(next(ids.len() as u64)).unwrap()];
                // The person of an upserted record is not to be changed.
                let path = format!("{PORTKEY}/{id}");
                if api
                    .put(&path, json!({"value": value, "metadata": metadata}))
                    .await
                    .status
                    == 400
                {
                    api.put(&path, json!({"value": value})).await.ok();
                }
            }
            2 if !ids.is_empty() => {
                let id = &ids[usize::try_from(next(ids.len() as u64)).unwrap()];
                api.put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": next(5) + 1}))
                    .await
                    .ok();
            }
            // Again by the same person, or for the first time.
            3 => {
                let body = json!({"trace_id": "t", "value": value, "metadata": metadata}).to_string();
                let headers = [("x-hindsight-upsert", "user")];
                let id = api.call(Method::POST, PORTKEY, &headers, &body).await.ok().id();
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            _ => ids.push(vote(&api, value, next(11) as f64 / 10.0, metadata).await),
        }
    }
    let changes = api.changes().await;
    (api, changes)
}

/// Splits a stream into shards like DynamoDB: by partition, so that a record's changes are in one shard and
/// in order. Halfway, each shard is split in two.
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

/// A delivery to the function, which may be faulty.
#[derive(Clone, Debug)]
enum Delivery {
    /// The next changes of a shard: which shard, how many.
    Next(usize, usize),
    /// Changes that were delivered before, in any order.
    Again(usize, usize, usize),
    /// The next changes, while the database has this fault.
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
        max_items in prop_oneof![1_usize..12, Just(MAX_ITEMS)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (api, changes) = recorded(seed).await;
            let shards: Vec<(String, Vec<Value>)> = shards(&changes, count).into_iter().collect();
            let mut delivered = vec![0; shards.len()];
            // With few items per transaction, changes are counted in parts.
            let counter = Counter::with_max_items(api.client.clone(), api.table(&STATS), max_items);
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
                        // The result does not matter: a failed delivery is repeated from its start.
                        if counter.count(name, records(&all[delivered[shard]..end])).await.is_ok() {
                            delivered[shard] = end;
                        }
                        api.database.recover();
                    }
                }
            }
            // In the end everything is delivered, with all shards in parallel.
            let rest = shards.iter().zip(&delivered).map(|((name, all), from)| {
                let counter = counter.clone();
                async move { counter.count(name, records(&all[*from..])).await.unwrap() }
            });
            join_all(rest).await;
            assert_eq!(verified(&api).await, Ok(()));
        });
    }
}

/// Checks that each roll-up of a user or session counts something, where a record's changes were counted in order.
#[track_caller]
pub(crate) fn assert_no_name_outlives_its_feedback(api: &Api) {
    for item in api.database.items_of_all_pages("stats") {
        let pk = item["pk"]["S"].as_str().unwrap();
        if pk.contains("#user#") || pk.contains("#session#") {
            let is_counter =
                |name: &str| !["pk", "sk", "schema", "writes"].contains(&name) && !name.ends_with('t');
            let counts = item.as_object().unwrap().iter();
            let mut counts = counts.filter(|(name, _)| is_counter(name));
            assert!(counts.any(|(_, number)| number["N"] != "0"), "{item}");
        }
    }
}

/// Checks that every record is in exactly the indexes that its metadata requires.
#[track_caller]
pub(crate) fn assert_index_keys(api: &Api) {
    for item in api.database.items("feedback") {
        let metadata: Value = match item["metadata"]["S"].as_str() {
            Some(json) => serde_json::from_str(json).unwrap(),
            None => json!({}),
        };
        for field in Field::ALL {
            let key = item[field.key()]["S"].as_str();
            let text = key.and_then(|key| keys::indexed_text(field, key));
            let person = item["person"]["S"].as_str().filter(|_| field == Field::User);
            assert_eq!(text, person.or(metadata[field.metadata()].as_str()), "{item}");
        }
    }
}
