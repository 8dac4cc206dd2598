//! Contract, section 8: the numbers, and that they agree with the records.

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
use shared::timestamp::Timestamp;

use crate::harness::{Api, Fault};

const PORTKEY: &str = "/v1/feedback";
const TRUEFOUNDRY: &str = "/api/svc/v1/gateway-feedback";

/// A range that holds everything a test writes.
fn wide() -> String {
    let now = Timestamp::now();
    let from = Timestamp::from_millis(now.millis() - 3_600_000);
    range(from, now + Duration::from_secs(3600))
}

fn range(from: Timestamp, to: Timestamp) -> String {
    format!("time_of_generation_min={from}&time_of_generation_max={to}")
}

async fn ask(api: &Api, path: &str, query: &str) -> Value {
    api.get(&format!("/v1/analytics/{path}?{query}"))
        .await
        .ok()
        .json()
}

async fn vote(api: &Api, value: i64, weight: f64, metadata: Value) -> String {
    let body = json!({"trace_id": "t", "value": value, "weight": weight, "metadata": metadata});
    api.post(PORTKEY, body).await.ok().id()
}

/// A handful of votes and ratings that differ in everything that is counted by.
async fn voted() -> Api {
    let api = Api::new().await;
    vote(
        &api,
        5,
        1.0,
        json!({"_user": "ada", "_model": "m1", "_prompt": "p", "_environment": "prod"}),
    )
    .await;
    vote(
        &api,
        -1,
        0.5,
        json!({"_user": "ada", "ai_model": "m2", "_prompt": "p", "tier": "gold"}),
    )
    .await;
    vote(&api, 0, 0.0, json!({"_user": "bob", "_model": "m1", "tier": 7})).await;
    let rated = json!({
        "target": {"traceId": "t", "spanId": "s"}, "rating": 4, "metadata": {"_user": "eve", "_model": "m1"},
    });
    api.post(TRUEFOUNDRY, rated).await.ok();
    api.count().await;
    api
}

#[tokio::test]
async fn the_graphs_have_portkey_s_shapes() {
    let api = voted().await;
    let hour = {
        let now = Timestamp::now();
        Timestamp::from_millis(now.millis() - now.millis() % 3_600_000).to_string()
    };
    let total = ask(&api, "graphs/feedbacks", &wide()).await;
    assert_eq!(total["object"], "analytics-graph");
    assert_eq!(total["summary"], json!({"total": 3}));
    assert_eq!(total["data_points"], json!([{"timestamp": hour, "total": 3}]));
    assert_eq!(
        total["ratings"],
        json!({"total": 1, "mean": 4.0, "distribution": [{"rating": 4, "total": 1}]})
    );
    assert!(total["as_of"].is_string());

    for path in ["graphs/feedbacks/scores", "graphs/feedbacks/score"] {
        let scores = ask(&api, path, &wide()).await;
        assert_eq!(scores["summary"], json!({"total": 3}));
        let points = json!([{"score": -1, "total": 1}, {"score": 0, "total": 1}, {"score": 5, "total": 1}]);
        assert_eq!(scores["data_points"], points);
    }

    let weighted = ask(&api, "graphs/feedbacks/weighted", &wide()).await;
    assert_eq!(weighted["summary"]["avg"], json!(4.5 / 3.0));
    assert_eq!(weighted["summary"]["mean"], json!(4.5 / 1.5));
    assert_eq!(weighted["data_points"], json!([{"timestamp": hour, "avg": 1.5}]));
    let positive = &weighted["summary"]["positive"];
    assert_eq!(positive["share"], json!(1.0 / 3.0));
    // Wilson's interval of 1 in 3, as tables have it.
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-4;
    assert!(
        near(&positive["low"], 0.0615) && near(&positive["high"], 0.7923),
        "{positive}"
    );

    let models = ask(&api, "graphs/feedbacks/ai-models", &wide()).await;
    assert_eq!(models["summary"], json!({}));
    let points = models["data_points"].as_array().unwrap();
    let of = |index: usize| {
        (
            &points[index]["ai_model"],
            &points[index]["total"],
            &points[index]["avg_weighted_feedback"],
        )
    };
    assert_eq!(of(0), (&json!("m1"), &json!(2), &json!(2.5)));
    assert_eq!(of(1), (&json!("m2"), &json!(1), &json!(-0.5)));
    assert_eq!(points[0]["ratings"]["total"], 1);
}

#[tokio::test]
async fn groups_are_by_any_metadata_field_and_in_pages() {
    let api = voted().await;
    let groups = ask(&api, "groups/metadata/_user", &wide()).await;
    assert_eq!((&groups["object"], &groups["total"]), (&json!("list"), &json!(3)));
    let first = &groups["data"][0];
    assert_eq!(
        (
            &first["metadata_value"],
            &first["requests_with_feedback"],
            &first["avg_weighted_feedback"]
        ),
        (&json!("ada"), &json!(2), &json!(2.25))
    );
    assert_eq!(first["object"], "analytics-group");
    assert!(first["last_seen"].is_string());
    let page = |page: usize| format!("{}&page_size=2&current_page={page}", wide());
    let names = |answer: &Value| -> Vec<String> {
        let data = answer["data"].as_array().unwrap();
        data.iter()
            .map(|group| group["metadata_value"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&ask(&api, "groups/metadata/_user", &page(0)).await),
        ["ada", "bob"]
    );
    assert_eq!(
        names(&ask(&api, "groups/metadata/_user", &page(1)).await),
        ["eve"]
    );
    assert!(names(&ask(&api, "groups/metadata/_user", &page(2)).await).is_empty());
    // A field that nobody has roll-ups of is read from the records.
    let tiers = ask(&api, "groups/metadata/tier", &wide()).await;
    assert_eq!(names(&tiers), ["7", "gold"]);
    assert_eq!(ask(&api, "groups/metadata/nothing", &wide()).await["total"], 0);
}

#[tokio::test]
async fn every_filter_is_honoured_whether_roll_ups_know_it_or_not() {
    let api = voted().await;
    for (filter, total) in [
        ("", 3),
        ("&workspace_slug=test", 3),
        ("&prompt_slug=p", 2),
        ("&ai_org_model=m1", 2),
        ("&ai_org_model=m1,m2", 3),
        ("&ai_org_model=m3", 0),
        ("&metadata=%7B%22_environment%22:%22prod%22%7D", 1),
        ("&metadata=%7B%22_user%22:%22ada%22%7D", 2),
        ("&metadata=%7B%22tier%22:7%7D", 1),
        ("&metadata=%7B%22tier%22:%22gold%22,%22_prompt%22:%22p%22%7D", 1),
        ("&metadata=%7B%7D", 3),
        // Said as such, and not as `ai_model`, or not at all.
        ("&metadata=%7B%22_model%22:%22m2%22%7D", 0),
        ("&metadata=%7B%22ai_model%22:%22m2%22%7D", 1),
        ("&metadata=%7B%22_model%22:%22unknown%22%7D", 0),
        ("&trace_id=t", 3),
        ("&trace_id=t&span_id=s", 0),
        ("&trace_id=u", 0),
        ("&weighted_feedback_min=0", 2),
        ("&weighted_feedback_max=-0.5", 1),
        ("&prompt_slug=p&ai_org_model=m2", 1),
    ] {
        let query = format!("{}{filter}", wide());
        assert_eq!(
            ask(&api, "graphs/feedbacks", &query).await["summary"]["total"],
            total,
            "{filter}"
        );
        let groups = ask(&api, "groups/metadata/_model", &query).await;
        let votes: i64 = groups["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| {
                let rated = group["ratings"]["total"].as_i64().unwrap();
                group["requests_with_feedback"].as_i64().unwrap() - rated
            })
            .sum();
        assert_eq!(votes, total, "{filter}");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_told() {
    let api = Api::new().await;
    let bad = async |query: &str, status, says: &str| {
        api.get(&format!("/v1/analytics/graphs/feedbacks?{query}"))
            .await
            .refused(status, says);
    };
    bad("", 400, "time_of_generation_min is required").await;
    bad(
        "time_of_generation_min=x&time_of_generation_max=y",
        400,
        "must be a date and time",
    )
    .await;
    bad(
        &format!("{}&cost_min=1", wide()),
        400,
        "cost_min cannot be honoured",
    )
    .await;
    bad(&format!("{}&cost=1", wide()), 400, "does not know cost").await;
    bad(
        &format!("{}&metadata=x", wide()),
        400,
        "metadata must be a JSON object",
    )
    .await;
    bad(
        &format!("{}&span_id=s", wide()),
        400,
        "trace_id is required beside span_id",
    )
    .await;
    bad(&format!("{}&page_size=0", wide()), 400, "page_size must be").await;
    bad(
        &format!("{}&workspace_slug=other", wide()),
        403,
        "another workspace",
    )
    .await;
    let now = Timestamp::now();
    let backwards = range(now + Duration::from_secs(1), now);
    bad(&backwards, 400, "time_of_generation_max must not be before").await;
}

#[tokio::test]
async fn nothing_is_no_error_and_offsets_are_understood() {
    let api = Api::new().await;
    for query in [
        "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2020-12-31T00:00:00Z",
        "time_of_generation_min=2020-01-01T05:30:00%2B05:30&time_of_generation_max=2020-01-02T00:00:00-08:00",
        "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2020-01-01T00:00:00Z",
    ] {
        let total = ask(&api, "graphs/feedbacks", query).await;
        assert_eq!(
            (&total["summary"]["total"], &total["data_points"]),
            (&json!(0), &json!([]))
        );
        assert_eq!(total["as_of"], Value::Null, "nothing has been counted yet");
        assert_eq!(
            ask(&api, "graphs/feedbacks/weighted", query).await["summary"]["avg"],
            0.0
        );
    }
}

#[tokio::test]
async fn ragged_ends_are_exact_to_the_millisecond() {
    let api = Api::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(vote(&api, 1, 1.0, json!({"_model": "m"})).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    api.count().await;
    let created = |id: &String| shared::id::FeedbackId::parse(id).unwrap().created_at();
    let (second, fourth) = (created(&ids[1]), created(&ids[3]));
    for path in ["graphs/feedbacks", "graphs/feedbacks/ai-models"] {
        let answer = ask(&api, path, &range(second, fourth)).await;
        let points = answer["data_points"].as_array().unwrap();
        assert_eq!(
            points[0]["total"], 2,
            "from the first moment on, to the last one without it"
        );
    }
}

#[tokio::test]
async fn updates_deletes_and_changes_of_scale_count_themselves_out() {
    let api = Api::new().await;
    let id = vote(&api, 5, 0.1, json!({"_prompt": "p", "_model": "m"})).await;
    api.count().await;
    let numbers = async || {
        api.count().await;
        let all = ask(&api, "graphs/feedbacks/weighted", &wide()).await;
        let prompt = ask(&api, "graphs/feedbacks", &format!("{}&prompt_slug=p", wide())).await;
        (
            all["summary"]["avg"].clone(),
            prompt["summary"]["total"].clone(),
            all["ratings"]["total"].clone(),
        )
    };
    assert_eq!(numbers().await, (json!(0.5), json!(1), json!(0)));
    let path = format!("{PORTKEY}/{id}");
    api.put(&path, json!({"value": -3, "weight": 0.3})).await.ok();
    assert_eq!(numbers().await, (json!(-0.9), json!(1), json!(0)));
    api.put(&path, json!({"value": -3, "metadata": null})).await.ok();
    assert_eq!(numbers().await, (json!(-0.9), json!(0), json!(0)));
    api.put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": 2}))
        .await
        .ok();
    assert_eq!(numbers().await, (json!(0.0), json!(0), json!(1)));
    api.delete(&path).await.ok();
    assert_eq!(numbers().await, (json!(0.0), json!(0), json!(0)));
    assert_eq!(verified(&api).await, Ok(()));
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
    api.database.direct(
        "UpdateItem",
        json!({
            "TableName": "feedback",
            "Key": {"pk": item["pk"], "sk": item["sk"]},
            "UpdateExpression": "SET expires_at = :past",
            "ExpressionAttributeValues": {":past": {"N": "1000000000"}},
        }),
    );
    assert_eq!(api.database.engine().sweep().unwrap(), 1);
    api.count().await;
    assert_eq!(
        ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"],
        0
    );
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn a_workspace_has_its_own_numbers() {
    let api = voted().await;
    let other = api.as_key(&api.key_for("other", &[shared::access::Scope::Admin]).await);
    vote(&other, 9, 1.0, json!({"_user": "ada"})).await;
    api.count().await;
    assert_eq!(
        ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"],
        3
    );
    assert_eq!(
        ask(&other, "graphs/feedbacks", &wide()).await["summary"]["total"],
        1
    );
    assert_eq!(ask(&other, "groups/metadata/_user", &wide()).await["total"], 1);
}

/// Compares every roll-up with a fold over the records that live.
async fn verified(api: &Api) -> Result<(), String> {
    let tables = Tables::new(api.client.clone(), "feedback", "stats");
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
    let changes = local::stream::changes(&api.database.engine(), None)
        .await
        .unwrap();
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
    #![proptest_config(ProptestConfig::with_cases(24))]

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
    let mut changes = local::stream::changes(&api.database.engine(), None)
        .await
        .unwrap();
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
        let changes = local::stream::changes(&api.database.engine(), None)
            .await
            .unwrap();
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

/// Lets the stream of a deployment be forgotten up to now, as if nobody had read it for a day.
async fn forget_the_stream(api: &Api) {
    let mut changes = local::stream::changes(&api.database.engine(), None)
        .await
        .unwrap();
    let last = changes.pop().unwrap();
    let counter = Counter::new(api.client.clone(), api.config.clone());
    counter
        .count("shardId-00000001-feedback", records(&[last]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_rebuild_makes_good_what_the_stream_has_lost() {
    let (api, _) = recorded(7).await;
    forget_the_stream(&api).await;
    assert!(verified(&api).await.is_err(), "the numbers are off");
    let rebuild = rebuild(&api);
    let generation = rebuild.begin(Duration::ZERO, Timestamp::now()).await.unwrap();
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
    let next = rebuild.begin(Duration::ZERO, Timestamp::now()).await.unwrap();
    assert_eq!(next.number, generation.number + 1);
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_was_interrupted_knows_what_it_still_has_to_see_counted() {
    let (api, _) = recorded(8).await;
    let rebuild = rebuild(&api);
    let generation = rebuild.begin(Duration::ZERO, Timestamp::now()).await.unwrap();
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
    #![proptest_config(ProptestConfig::with_cases(12))]

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
                forget_the_stream(&api).await;
            }
            let rebuild = rebuild(&api);
            let generation = rebuild.begin(Duration::from_millis(3), Timestamp::now()).await.unwrap();
            // The virtual clock stands; the wall clock, which ids are made by, does not.
            std::thread::sleep(Duration::from_millis(5));
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
                        assert_eq!(rebuild.begin(Duration::ZERO, Timestamp::now()).await.unwrap(), generation);
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
