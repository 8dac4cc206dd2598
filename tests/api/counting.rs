//! Counting: the numbers agree with the records, however the stream tells of them and whatever goes
//! wrong on the way, and are made anew where they do not.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::config::Config;
use shared::dialect::portkey::{self, Create};
use shared::id::Workspace;
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

/// Compares every roll-up with a fold over the records that live.
pub(crate) async fn compared(api: &Api) -> Comparison {
    let tables = Tables::new(api.client.clone(), api.table(&FEEDBACK), api.table(&STATS));
    tables.compare().await.unwrap()
}

/// That every record can be read and is counted, and nothing else.
pub(crate) async fn verified(api: &Api) -> Result<(), String> {
    let comparison = compared(api).await;
    if comparison.is_complete() {
        Ok(())
    } else {
        Err(format!("{comparison:#?}"))
    }
}

#[tokio::test]
async fn what_expires_is_counted_out_when_it_is_swept() {
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

/// Leaves what code of a schema version before the newest has left: of the first, a roll-up of nothing and
/// no word of generations.
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

/// Takes the keys of an index off all records, as if they had been written before the field was indexed.
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

/// What was written to a deployment, as its stream told it.
async fn recorded(seed: u64) -> (Api, Vec<Value>) {
    recorded_in(seed, schema::STATS).await
}

/// The same, where roll-ups were first written with this schema version.
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
        max_items in prop_oneof![1_usize..12, Just(MAX_ITEMS)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (api, changes) = recorded(seed).await;
            let shards: Vec<(String, Vec<Value>)> = shards(&changes, count).into_iter().collect();
            let mut delivered = vec![0; shards.len()];
            // With a few items to a transaction, changes are counted in parts.
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

/// Makes the record of a change one of a schema version that only newer code knows, in the stream and in
/// the table.
fn make_newer(api: &Api, change: &mut Value) {
    let image = &mut change["dynamodb"]["NewImage"];
    image["schema"] = json!({"N": "2"});
    api.database
        .direct("PutItem", json!({"TableName": "feedback", "Item": image}));
}

/// Turns all of the newer records into what this code can read, as if it had become newer.
pub(crate) fn become_newer(api: &Api) {
    let is_newer = |item: &Value| item["schema"]["N"] == "2";
    for mut item in api
        .database
        .items_of_all_pages("feedback")
        .into_iter()
        .filter(is_newer)
    {
        item["schema"] = json!({"N": "1"});
        api.database
            .direct("PutItem", json!({"TableName": "feedback", "Item": item}));
    }
    for mut item in api.database.items_of_all_pages("stats") {
        if let Some(change) = item["change"]["S"].as_str() {
            item["change"] = json!({"S": change.replace(r#""schema":{"N":"2"}"#, r#""schema":{"N":"1"}"#)});
            api.database
                .direct("PutItem", json!({"TableName": "stats", "Item": item}));
        }
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_parked_and_all_others_are_counted() {
    let api = Api::new().await;
    for _ in 0..41 {
        vote(&api, 1, 1.0, json!({"_user": "ada"})).await;
    }
    let mut changes = api.changes().await;
    make_newer(&api, &mut changes[20]);
    let expected = vec![Parked {
        shard: "s".to_owned(),
        sequence: records(&changes[20..21])[0].sequence_number.clone(),
        reason: "schema version 2: expected at most 1".to_owned(),
    }];
    let counter = api.counter();
    let total = async || ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"].clone();
    for again in [false, true] {
        let outcome = counter.count("s", records(&changes)).await.unwrap();
        assert_eq!(outcome.counted, if again { 0 } else { 40 });
        assert_eq!(outcome.parked, if again { vec![] } else { expected.clone() });
        assert_eq!(total().await, 40);
    }
    // It is named, and so is the record; everything else agrees.
    let comparison = compared(&api).await;
    assert!(
        comparison.agrees() && !comparison.is_complete(),
        "{comparison:#?}"
    );
    assert_eq!(comparison.records, 40);
    assert_eq!(comparison.parked, expected);
    assert_eq!(comparison.unreadable.len(), 1);

    let left = Recounted {
        counted: 0,
        left: expected,
    };
    assert_eq!(counter.count_parked().await.unwrap(), left);
    become_newer(&api);
    let both = join_all([counter.count_parked(), counter.count_parked()]).await;
    for recounted in both {
        assert!(recounted.unwrap().left.is_empty());
    }
    assert_eq!(total().await, 41);
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn a_parked_change_is_kept_whole_however_large_it_is() {
    let api = Api::new().await;
    let id = vote(&api, 1, 1.0, json!({"_prompt": "p"})).await;
    api.count().await;
    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 3}))
        .await
        .ok();
    let mut changes = api.changes().await.split_off(1);
    make_newer(&api, &mut changes[0]);
    // Two states of nearly 400 KB each, in characters of three bytes.
    for image in ["NewImage", "OldImage"] {
        changes[0]["dynamodb"][image]["later"] = json!({"S": "\u{20ac}".repeat(130 * 1024)});
    }
    // With room for few items it is counted in parts.
    for max_items in [2, MAX_ITEMS] {
        let api = api.restarted();
        let counter = Counter::with_max_items(api.client.clone(), api.table(&STATS), max_items);
        let outcome = counter.count("s", records(&changes)).await.unwrap();
        if max_items == 2 {
            assert_eq!(outcome.parked.len(), 1);
        }
        let comparison = compared(&api).await;
        assert!(
            comparison.agrees(),
            "what is counted of the old state is no difference: {comparison:#?}"
        );
        assert_eq!(counter.count_parked().await.unwrap().left.len(), 1);
    }
    become_newer(&api);
    api.database
        .fail_on("TransactWriteItems", [Fault::Throttle, Fault::LostAnswer]);
    let counter = Counter::with_max_items(api.client.clone(), api.table(&STATS), 2);
    let recounted = counter.count_parked().await.unwrap();
    assert_eq!((recounted.counted, recounted.left), (1, vec![]));
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_touch_that_is_parked_is_not_waited_for() {
    let api = Api::new().await;
    vote(&api, 1, 1.0, json!({})).await;
    vote(&api, 2, 1.0, json!({})).await;
    let mut changes = api.changes().await;
    make_newer(&api, &mut changes[1]);
    let rebuild = rebuild(&api);
    let generation = settled(&api, &rebuild).await;
    rebuild.touch(generation, |_| {}).await.unwrap();
    api.count().await;
    let both = Progress {
        touched: 2,
        counted: 2,
    };
    assert_eq!(rebuild.progress(generation).await.unwrap(), both);
    rebuild.finish(generation).await.unwrap();
    let comparison = compared(&api).await;
    assert!(
        comparison.agrees() && !comparison.parked.is_empty(),
        "{comparison:#?}"
    );
    become_newer(&api);
    let counter = api.counter();
    assert!(counter.count_parked().await.unwrap().left.is_empty());
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn a_record_that_is_no_change_is_parked_too_and_a_window_may_end_without_one() {
    let api = Api::new().await;
    let counter = api.counter();
    let deliver = async |event: Value| {
        let event = serde_json::from_value(event).unwrap();
        aggregate::handle(&counter, event).await.unwrap()
    };
    let odd = json!([
        {"dynamodb": {"SequenceNumber": "1", "NewImage": 5}},
        {"dynamodb": {"SequenceNumber": "2", "NewImage": {"sk": {"S": "nobody"}}}},
    ]);
    let outcome = deliver(json!({"Records": odd, "shardId": "s", "state": {}})).await;
    let reasons: Vec<&str> = outcome
        .parked
        .iter()
        .map(|parked| parked.reason.as_str())
        .collect();
    assert_eq!(reasons, ["images: cannot be read", "sort key: cannot be read"]);
    assert_eq!(deliver(json!({"shardId": "s"})).await, Default::default());
}

/// Has the table begin its first generation, as counting does once.
async fn begin(api: &Api) {
    Generations::read_or_begin(&api.client, api.table(&STATS))
        .await
        .unwrap();
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
    begin(&api).await;
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
        begin(&api).await;
        api.database.transaction_units();
        let counter = api.counter();
        for batch in changes.chunks(size) {
            counter.count("shard", records(batch)).await.unwrap();
        }
        units.push(api.database.transaction_units());
        assert_eq!(verified(&api).await, Ok(()));
    }
    // A vote alone: all and model in two series, the user in one, and the checkpoint.
    assert_eq!(units[0], 1_000 * 2 * 6);
    println!("write units per 1,000 votes in batches of 1, 10, 100, 1,000: {units:?}");
    assert!(units.is_sorted_by(|one, other| one > other), "{units:?}");
    assert!(units[3] < units[0] / 50, "{units:?}");
}

/// A rebuild of this deployment.
fn rebuild(api: &Api) -> Rebuild {
    Rebuild::new(api.client.clone(), "feedback", "stats")
}

/// Begins a generation at once, and lets every write of before land.
async fn settled(api: &Api, rebuild: &Rebuild) -> Generation {
    // DynamoDB's date is that of the last full second.
    api.time.forward(Duration::from_secs(1));
    let generation = rebuild.begin(Duration::ZERO).await.unwrap();
    api.time.forward(WRITE_TIME + CLOCK_SKEW + Duration::from_secs(1));
    rebuild.wait_for_writes(generation).await.unwrap();
    generation
}

#[tokio::test]
async fn a_rebuild_makes_good_what_the_stream_has_lost() {
    let (api, _) = recorded(7).await;
    api.forget_the_stream().await;
    assert!(verified(&api).await.is_err(), "the numbers are off");
    let rebuild = rebuild(&api);
    let generation = settled(&api, &rebuild).await;
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
    let next = rebuild.begin(Duration::ZERO).await.unwrap();
    assert_eq!(next.number, generation.number + 1);
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_was_interrupted_knows_what_it_still_has_to_see_counted() {
    let (api, _) = recorded(8).await;
    let rebuild = rebuild(&api);
    let generation = settled(&api, &rebuild).await;
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

/// What a writer does to one of the records, or makes a new one.
#[derive(Clone, Debug)]
struct Write {
    /// When it begins, since the rebuild did.
    begins: Duration,
    /// How far the writer's clock is off, in milliseconds.
    skew: i64,
    /// How long it is on its way: it lands as late as a request may take.
    takes: Duration,
    /// What it does: create, update, delete.
    kind: u8,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let (skew, takes) = (CLOCK_SKEW.as_millis() as i64, WRITE_TIME.as_millis() as u64);
    let write = (0_u64..40_000, -skew..=skew, 0..takes, 0_u8..4);
    let write = write.prop_map(|(begins, skew, takes, kind)| Write {
        begins: Duration::from_millis(begins),
        skew,
        takes: Duration::from_millis(takes),
        kind,
    });
    proptest::collection::vec(write, 5..40)
}

/// Does a write as a request does: its time is taken first, and it lands later.
async fn write(api: &Api, write: &Write, ids: &[String]) {
    tokio::time::sleep(write.begins).await;
    let now = api.time.now().millis().saturating_add_signed(write.skew);
    let now = Timestamp::from_millis(now);
    tokio::time::sleep(write.takes).await;
    let (store, workspace) = (api.store(), Workspace::parse("test").unwrap());
    let id = &ids[usize::try_from(write.begins.as_millis()).unwrap() % ids.len()];
    match write.kind {
        0 | 1 => {
            let body = json!({"trace_id": "t", "value": 2, "weight": 0.3, "metadata": {"_user": "new", "_session": "new"}});
            let Create::One(draft) = portkey::parse_create(&body.to_string()).unwrap().value else {
                panic!("one record");
            };
            store.create(&workspace, vec![*draft], now).await.unwrap();
        }
        // It may be gone by now.
        2 => {
            api.put(
                &format!("{PORTKEY}/{id}"),
                json!({"value": 3, "metadata": {"_model": "m9", "_session": "moved"}}),
            )
            .await;
        }
        _ => {
            api.delete(&format!("{PORTKEY}/{id}")).await;
        }
    }
}

/// Lets the time of a deployment pass with the test's own, which is virtual.
async fn pass(api: &Api) {
    const STEP: Duration = Duration::from_millis(250);
    loop {
        tokio::time::sleep(STEP).await;
        api.time.forward(STEP);
    }
}

/// Counts every so often.
async fn count(api: &Api) {
    loop {
        api.count().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// That every record is in the indexes its metadata asks for, and in no other.
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
            assert_eq!(text, metadata[field.metadata()].as_str(), "{item}");
        }
    }
}

/// A rebuild beside time that passes and counting that goes on.
pub(crate) async fn rebuilt(api: &Api) {
    tokio::select! {
        () = run_rebuild(api) => {}
        () = pass(api) => {}
        () = count(api) => {}
    }
}

/// Every step of a rebuild, as `stats rebuild` makes them; those that may be, interrupted and called again.
async fn run_rebuild(api: &Api) {
    let rebuild = rebuild(api);
    let generation = rebuild.begin(CLOCK_SKEW + Duration::from_secs(2)).await.unwrap();
    assert_eq!(rebuild.begin(Duration::ZERO).await.unwrap(), generation);
    rebuild.wait_for_writes(generation).await.unwrap();
    api.database.fail_on("UpdateItem", [Fault::AccessDenied; 2]);
    let _ = rebuild.touch(generation, |_| {}).await;
    api.database.recover();
    rebuild.touch(generation, |_| {}).await.unwrap();
    loop {
        let Progress { touched, counted } = rebuild.progress(generation).await.unwrap();
        if counted >= touched {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rebuild.finish(generation).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    rebuild.clear(generation).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(12)))]

    /// Writes that are under way, late and of clocks that are off, counting, and a rebuild that is
    /// interrupted and called again, all beside each other.
    #[test]
    fn a_rebuild_is_exact_whatever_goes_on_beside_it(
        seed in any::<u64>(),
        writes in writes(),
        lost in any::<bool>(),
        schema in 1..=schema::STATS,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (api, _) = recorded_in(seed, schema).await;
            if schema < Field::Session.counted_since() {
                unindex(&api, Field::Session);
            }
            if lost {
                api.forget_the_stream().await;
            }
            let ids = api.get("/v1/feedback?trace_id=t&limit=100").await.ok().ids();
            let all = join_all(writes.iter().map(|one| write(&api, one, &ids)));
            tokio::select! {
                _ = async { tokio::join!(run_rebuild(&api), all) } => {}
                () = pass(&api) => {}
                () = count(&api) => {}
            }
            api.count().await;
            assert_eq!(verified(&api).await, Ok(()));
            assert_index_keys(&api);
            vote(&api, 2, 1.0, json!({})).await;
            api.put(&format!("{PORTKEY}/{}", ids[0]), json!({"value": -5})).await;
            api.count().await;
            assert_eq!(verified(&api).await, Ok(()));
        });
    }
}
