//! Analytics of any time range are exact, in every schema version of roll-ups.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::dialect::portkey::{self, Create};
use shared::indexed::Field;
use shared::schema;
use shared::timestamp::{Granularity, Timestamp};

use crate::analytics::{ask, vote};
use crate::counting::{assert_index_keys, begin_in_schema, rebuilt, unindex, verified};
use crate::dynamodb::cases;
use crate::harness::Api;

/// A vote: its time, user, prompt and value.
#[derive(Clone, Debug)]
struct Vote {
    at: Timestamp,
    user: String,
    prompt: String,
    session: String,
    value: i64,
}

impl Vote {
    fn field(&self, name: &str) -> &str {
        match name {
            "_user" => &self.user,
            "_session" => &self.session,
            _ => &self.prompt,
        }
    }
}

/// The time of the first votes: a day, a few minutes and a fraction of a minute before an hour.
fn start() -> Timestamp {
    Timestamp::parse("2026-11-20T10:59:31.007Z").unwrap()
}

/// Votes over 27 hours, many of them at the boundaries of slots, items, hours and days.
fn votes() -> impl Strategy<Value = Vec<Vote>> {
    const EDGES: [u64; 6] = [1, 1_000, 60_000, 120_000, 720_000, 3_600_000];
    let moment = (0_u64..27 * 3_600_000, 0..EDGES.len(), 0_u64..3).prop_map(|(offset, edge, beside)| {
        let near = start().millis() + offset;
        // On the boundary, or a millisecond before or after it.
        near - near % EDGES[edge] + beside - 1
    });
    let vote = (moment, 0..3, 0..2, 0..4, -10_i64..=10).prop_map(|(at, user, prompt, session, value)| Vote {
        at: Timestamp::from_millis(at),
        user: format!("u{user}"),
        prompt: format!("p{prompt}"),
        session: format!("s{session}"),
        value,
    });
    proptest::collection::vec(vote, 20..60)
}

/// Time ranges, some of which end at the boundaries of slots and hours.
fn ranges() -> impl Strategy<Value = Vec<(Timestamp, Timestamp)>> {
    const EDGES: [u64; 4] = [1, 1_000, 120_000, 3_600_000];
    let moment = (0_u64..28 * 3_600_000, 0..EDGES.len())
        .prop_map(|(offset, edge)| start().millis() + offset - (start().millis() + offset) % EDGES[edge]);
    let range = (moment.clone(), moment).prop_map(|(one, other)| {
        (
            Timestamp::from_millis(one.min(other)),
            Timestamp::from_millis(one.max(other)),
        )
    });
    proptest::collection::vec(range, 6)
}

async fn write(api: &Api, votes: &[Vote]) {
    let store = api.store();
    for vote in votes {
        let metadata = json!({"_user": vote.user, "_prompt": vote.prompt, "_session": vote.session});
        let body = json!({"trace_id": "t", "value": vote.value, "metadata": metadata}).to_string();
        let Create::One(draft) = portkey::parse_create(&body).unwrap().value else {
            panic!("one vote");
        };
        store.create(&api.writer(), vec![*draft], vote.at).await.unwrap();
    }
}

/// Sends all queries for each range, and compares the results with the votes.
async fn check(api: &Api, votes: &[Vote], ranges: &[(Timestamp, Timestamp)]) {
    for (from, to) in ranges {
        let query = format!("time_of_generation_min={from}&time_of_generation_max={to}");
        for prompt in [None, Some("p0")] {
            let filter = prompt
                .map(|prompt| format!("&prompt_slug={prompt}"))
                .unwrap_or_default();
            let within: Vec<&Vote> = votes
                .iter()
                .filter(|vote| (*from..*to).contains(&vote.at))
                .filter(|vote| prompt.is_none_or(|prompt| vote.prompt == prompt))
                .collect();
            let graph = ask(api, "graphs/feedbacks", &format!("{query}{filter}")).await;
            assert_eq!(graph["summary"]["total"], within.len(), "{query}{filter}");
            let buckets = match to.millis() - from.millis() <= 48 * 3_600_000 {
                true => Granularity::Hour,
                false => Granularity::Day,
            };
            let mut points: BTreeMap<String, usize> = BTreeMap::new();
            for vote in &within {
                *points.entry(buckets.floor(vote.at).to_string()).or_default() += 1;
            }
            let points: Vec<Value> = points
                .into_iter()
                .map(|(timestamp, total)| json!({"timestamp": timestamp, "total": total}))
                .collect();
            assert_eq!(graph["data_points"], json!(points), "{query}{filter}");
            let scores = ask(api, "graphs/feedbacks/scores", &format!("{query}{filter}")).await;
            for point in scores["data_points"].as_array().unwrap() {
                let same = within.iter().filter(|vote| vote.value == point["score"]);
                assert_eq!(point["total"], same.count(), "{query}{filter}");
            }
            for field in ["_prompt", "_user", "_session"] {
                let groups = ask(
                    api,
                    &format!("groups/metadata/{field}"),
                    &format!("{query}{filter}"),
                )
                .await;
                let mut expected: BTreeMap<&str, (usize, i64, Timestamp)> = BTreeMap::new();
                for vote in &within {
                    let group = expected.entry(vote.field(field)).or_default();
                    *group = (group.0 + 1, group.1 + vote.value, group.2.max(vote.at));
                }
                assert_eq!(groups["total"], expected.len(), "{query}{filter} {field}");
                for group in groups["data"].as_array().unwrap() {
                    let (count, sum, last) = expected[group["metadata_value"].as_str().unwrap()];
                    let average = sum as f64 / count as f64;
                    assert_eq!(group["requests_with_feedback"], count, "{query}{filter} {field}");
                    assert_eq!(group["avg_weighted_feedback"], average, "{query}{filter} {field}");
                    // A roll-up has the creation time of its latest record, which may be outside the range.
                    let seen = Timestamp::parse(group["last_seen"].as_str().unwrap()).unwrap();
                    assert!(seen <= last, "{query}{filter} {field}: {seen} is after {last}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(8)))]

    /// A stack with roll-ups of an older schema version returns exact results before, during and after a
    /// rebuild to the newest one. Its records get the index keys that they lack.
    #[test]
    fn any_range_is_exact_in_every_schema_version(
        mut votes in votes(),
        ranges in ranges(),
        more in votes(),
        version in 1..=schema::STATS,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let api = Api::new().await;
            api.time.set(start() + Duration::from_secs(30 * 3600));
            begin_in_schema(&api, version);
            // In chronological order, so that the last vote was also created last.
            votes.sort_by_key(|vote| vote.at);
            write(&api, &votes).await;
            api.count().await;
            check(&api, &votes, &ranges).await;
            if version < schema::STATS {
                unindex(&api, Field::Session);
                rebuilt(&api).await;
                check(&api, &votes, &ranges).await;
                assert_index_keys(&api);
                // From now on, votes have their own creation times.
                let later = |vote: Vote| Vote {
                    at: vote.at + Duration::from_secs(5 * 86_400),
                    ..vote
                };
                write(&api, &more.into_iter().map(later).collect::<Vec<_>>()).await;
                api.count().await;
                assert_eq!(verified(&api).await, Ok(()));
            }
        });
    }
}

#[tokio::test]
async fn as_of_is_the_workspace_s_own_and_never_ahead_of_the_counts() {
    let api = Api::new().await;
    let other = api.as_key(&api.key_for("other", &[Scope::Admin]).await);
    let now = api.time.now();
    let (from, to) = (
        Timestamp::from_millis(now.millis() - 3_600_000),
        now + Duration::from_secs(3600),
    );
    let query = format!("time_of_generation_min={from}&time_of_generation_max={to}");
    let as_of = async |api: &Api| ask(api, "graphs/feedbacks", &query).await["as_of"].clone();
    let id = vote(&api, 1, 1.0, json!({})).await;
    assert_eq!(as_of(&api).await, Value::Null, "nothing is counted yet");
    api.count().await;
    let first = as_of(&api).await;
    assert!(first.is_string());
    assert_eq!(
        as_of(&other).await,
        Value::Null,
        "what another workspace writes does not show"
    );

    // A change to a record of an earlier day advances it too.
    let last = api.changes().await.pop().unwrap();
    api.put(&format!("/v1/feedback/{id}"), json!({"value": 5}))
        .await
        .ok();
    let mut changes = api.changes().await;
    let change = changes.last_mut().unwrap();
    let happened = last["dynamodb"]["ApproximateCreationDateTime"].as_f64().unwrap() as u64 + 3 * 86_400;
    change["dynamodb"]["ApproximateCreationDateTime"] = json!(happened);
    let counter = api.counter();
    let records = serde_json::from_value(json!([change])).unwrap();
    counter.count("another", records).await.unwrap();
    assert_eq!(
        as_of(&api).await,
        Timestamp::from_millis(happened * 1000).to_string()
    );
    assert_eq!(as_of(&other).await, Value::Null);
    assert_eq!(verified(&api).await, Ok(()));

    // A result read from an index is as of a few seconds ago, because indexes lag behind the table.
    let of_trace = ask(&api, "graphs/feedbacks", &format!("{query}&trace_id=t")).await;
    let bound = Timestamp::from_millis(api.time.now().millis() - 10_000);
    let said = Timestamp::parse(of_trace["as_of"].as_str().unwrap()).unwrap();
    assert!(said <= bound, "{said} is after {bound}");
}
