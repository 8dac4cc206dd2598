//! The demo: its records are as the API would have stored them, and are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use lambda_http::http::Method;
use local::demo::{self, MONTH, RARE, RARE_VOTES, SEED, VOTES, WORSE};
use serde_json::{Value, json};
use shared::access::key::KeyId;
use shared::dynamo::attributes::{Item, string};
use shared::feedback::{Feedback, Writer};
use shared::id::Workspace;
use shared::indexed::Field;
use shared::metadata::model;
use shared::score::Score;
use shared::store::item::from_feedback;
use shared::target::SpanId;
use shared::timestamp::Timestamp;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::analytics::ask;
use crate::counting::verified;
use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};
use crate::lambda;

/// A noon, so that no test depends on the time of day.
fn end() -> Timestamp {
    Timestamp::parse("2026-11-20T12:34:56.789Z").unwrap()
}

fn month(votes: usize, seed: u64) -> Vec<Feedback> {
    let by = Writer {
        workspace: Workspace::parse("test").unwrap(),
        key: KeyId::parse("hsk_0123456789abcdef").unwrap(),
    };
    demo::month(&by, votes, seed, end()).unwrap()
}

/// As many as a test stores: a month is a month with fewer votes too.
const FEW: usize = 1_200;

/// A deployment with the demo in it.
async fn demo() -> (Api, Vec<Feedback>) {
    let (api, records) = (Api::new().await, month(FEW, SEED));
    api.time.set(end());
    let engine = api.database.engine();
    let stored = demo::fill(&engine, &api.client, records.clone(), None, end()).await;
    assert_eq!(stored, Ok(FEW));
    (api, records)
}

fn range() -> String {
    let from = Timestamp::from_millis(end().millis() - u64::try_from(MONTH.as_millis()).unwrap());
    format!("time_of_generation_min={from}&time_of_generation_max={}", end())
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// The share of votes and ratings that like the answer.
fn liked<'a>(records: impl Iterator<Item = &'a Feedback>) -> f64 {
    let all: Vec<bool> = records
        .map(|record| match record.draft.score {
            Score::Value(value, _) => value.get() > 2 || value.get() == 1,
            Score::Rating(rating) => rating.get() > 3,
        })
        .collect();
    number(all.iter().filter(|liked| **liked).count()) / number(all.len())
}

#[test]
fn a_seed_and_a_time_give_the_same_month() {
    let records = month(VOTES, SEED);
    assert_eq!(records, month(VOTES, SEED));
    assert_ne!(records, month(VOTES, SEED + 1));
    assert_eq!(records.len(), VOTES);
    assert!(records.windows(2).all(|pair| pair[0].id < pair[1].id));
    let (first, last) = (records[0].id.created_at(), records[VOTES - 1].id.created_at());
    assert!(first.age(end()) <= MONTH && last < end(), "{first} to {last}");
    assert!(records.iter().all(|record| record.updated_at <= end()));
}

#[test]
fn the_month_has_what_analytics_should_show() {
    let records = month(VOTES, SEED);
    let of = |name: &'static str| {
        records
            .iter()
            .filter(move |record| record.draft.indexed().get(Field::Prompt) == Some(name))
    };
    assert_eq!((of(RARE).count(), liked(of(RARE))), (RARE_VOTES, 1.0));
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let is_last_week = |record: &&Feedback| record.id.created_at().age(end()) < week;
    let before = liked(of(WORSE).filter(|record| !is_last_week(record)));
    let after = liked(of(WORSE).filter(is_last_week));
    assert!(before > 0.75 && after < 0.55, "{before} {after}");
    // The model changes halfway, and the answers get better.
    let models = |part: &[Feedback]| -> BTreeSet<String> {
        part.iter()
            .filter(|record| record.draft.indexed().get(Field::Prompt) == Some("support-answer"))
            .map(|record| model(record.draft.metadata.as_ref()))
            .collect()
    };
    assert_ne!(models(&records[..VOTES / 3]), models(&records[VOTES * 2 / 3..]));
    // 2026-11-08 is a Sunday.
    let on = |from: &str, to: &str| {
        let (from, to) = (Timestamp::parse(from).unwrap(), Timestamp::parse(to).unwrap());
        let is_in = |record: &&Feedback| (from..to).contains(&record.id.created_at());
        records.iter().filter(is_in).count()
    };
    assert!(2 * on("2026-11-08", "2026-11-09") < on("2026-11-10", "2026-11-11"));
    assert!(3 * on("2026-11-10T01:00", "2026-11-10T04:00") < on("2026-11-10T09:00", "2026-11-10T12:00"));
    let count = |has: &dyn Fn(&Feedback) -> bool| records.iter().filter(|record| has(record)).count();
    let metadata = |record: &Feedback, name: &str| {
        let metadata = record.draft.metadata.as_ref();
        metadata.is_some_and(|metadata| metadata.json().contains(&format!("\"{name}\":")))
    };
    for (what, least, found) in [
        ("comments", 200, count(&|record| record.draft.comment.is_some())),
        (
            "comments in metadata",
            50,
            count(&|record| metadata(record, "comment")),
        ),
        (
            "other scripts",
            10,
            count(&|record| {
                let comment = record.draft.comment.as_ref();
                comment.is_some_and(|comment| comment.as_str().chars().any(|letter| letter > '\u{370}'))
            }),
        ),
        ("reasons", 500, count(&|record| !record.draft.reasons.is_empty())),
        (
            "ratings",
            1_000,
            count(&|record| record.draft.score.scale() == "rating"),
        ),
        ("inputs", 500, count(&|record| metadata(record, "_input"))),
        (
            "corrections",
            50,
            count(&|record| metadata(record, "_correction")),
        ),
        ("upserts", 1_000, count(&|record| record.draft.person.is_some())),
        ("changed", 100, count(&|record| record.version > 1)),
        (
            "light votes",
            500,
            count(&|record| matches!(record.draft.score, Score::Value(_, weight) if weight.get() < 1.0)),
        ),
    ] {
        assert!(found >= least, "{what}: {found}");
    }
}

#[tokio::test]
async fn the_roll_ups_agree_at_once_and_after_changes() {
    let (api, records) = demo().await;
    assert_eq!(verified(&api).await, Ok(()));
    // Nothing is left to count: the stream has none of it.
    assert_eq!(api.count().await, 0);
    let id = |place: usize| records[place].id.hyphenated();
    api.delete(&format!("{PORTKEY}/{}", id(0))).await.ok();
    api.put(&format!("{PORTKEY}/{}", id(FEW / 2)), json!({"value": 7}))
        .await
        .ok();
    assert_eq!(api.count().await, 2);
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn analytics_equal_a_fold_over_the_records() {
    let (api, records) = demo().await;
    let mut groups: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let mut scores: BTreeMap<i8, usize> = BTreeMap::new();
    let mut ratings: BTreeMap<u8, usize> = BTreeMap::new();
    let mut days: BTreeMap<String, usize> = BTreeMap::new();
    for record in &records {
        let draft = &record.draft;
        match draft.score {
            Score::Rating(rating) => *ratings.entry(rating.get()).or_default() += 1,
            Score::Value(value, _) => {
                *scores.entry(value.get()).or_default() += 1;
                let day = record.id.created_at().to_string();
                *days.entry(format!("{}T00:00:00.000Z", &day[..10])).or_default() += 1;
            }
        }
        let mut add = |group, value: String| *groups.entry(group).or_default().entry(value).or_default() += 1;
        for (field, text) in draft.indexed().iter() {
            add(field.metadata(), text.to_owned());
        }
        add("_model", model(draft.metadata.as_ref()));
        draft
            .reasons
            .iter()
            .for_each(|reason| add("_reasons", reason.to_owned()));
    }
    let votes = scores.values().sum::<usize>();
    let total = ask(&api, "graphs/feedbacks", &range()).await;
    assert_eq!(total["summary"]["total"], votes);
    assert_eq!(total["ratings"]["total"], ratings.values().sum::<usize>());
    let pairs = |points: &Value, name: &str| -> BTreeMap<String, usize> {
        let points = points.as_array().unwrap().iter();
        points
            .map(|point| {
                let key = point[name]
                    .as_str()
                    .map_or_else(|| point[name].to_string(), str::to_owned);
                (key, usize::try_from(point["total"].as_u64().unwrap()).unwrap())
            })
            .collect()
    };
    assert_eq!(pairs(&total["data_points"], "timestamp"), days);
    let texts = |counts: &BTreeMap<i8, usize>| -> BTreeMap<String, usize> {
        counts
            .iter()
            .map(|(key, count)| (key.to_string(), *count))
            .collect()
    };
    let answer = ask(&api, "graphs/feedbacks/scores", &range()).await;
    assert_eq!(pairs(&answer["data_points"], "score"), texts(&scores));
    let rated = ratings
        .iter()
        .map(|(rating, count)| (rating.to_string(), *count))
        .collect();
    assert_eq!(pairs(&total["ratings"]["distribution"], "rating"), rated);
    for (group, expected) in groups {
        let found = ask(
            &api,
            &format!("groups/metadata/{group}"),
            &format!("{}&page_size=100", range()),
        )
        .await;
        let data = found["data"].as_array().unwrap();
        for one in data {
            let value = one["metadata_value"].as_str().unwrap();
            let count = expected.get(value).copied().unwrap_or_default();
            assert_eq!(one["requests_with_feedback"], count, "{group} {value}");
        }
        assert!(
            !data.is_empty() && data.len() >= expected.len().min(100),
            "{group}"
        );
    }
}

/// Sends what a record says through the API, and returns what is stored of it.
async fn sent(api: &Api, record: &Feedback) -> Item {
    let draft = &record.draft;
    let mut body = json!({"reasons": draft.reasons.iter().collect::<Vec<_>>()});
    if let Some(comment) = &draft.comment {
        body["comment"] = json!(comment.as_str());
    }
    let trace = draft.target.trace().as_str();
    let path = match draft.score {
        Score::Value(value, weight) => {
            body["trace_id"] = json!(trace);
            body["value"] = json!(value.get());
            body["weight"] = json!(weight.get());
            PORTKEY
        }
        Score::Rating(rating) => {
            body["rating"] = json!(rating.get());
            body["target"] = json!({
                "traceId": trace,
                "spanId": draft.target.span().map(SpanId::as_str),
                "tracingProjectFQN": draft.project.as_ref().unwrap().as_str(),
            });
            TRUEFOUNDRY
        }
    };
    let metadata = draft.metadata.as_ref().unwrap().json();
    let body = format!(
        "{},\"metadata\":{metadata}}}",
        body.to_string().strip_suffix('}').unwrap()
    );
    let upsert = [("x-hindsight-upsert", "user")];
    let headers = if draft.person.is_some() { &upsert[..] } else { &[] };
    let id = api.call(Method::POST, path, headers, &body).await.ok().id();
    let answer = api
        .client
        .query()
        .table_name("feedback")
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", from_feedback(record)["pk"].clone())
        .send()
        .await
        .unwrap();
    let id = shared::id::FeedbackId::parse(&id).unwrap().hyphenated();
    let mut items = answer.items.unwrap().into_iter();
    items.find(|item| string(item, "id") == Some(&id)).unwrap()
}

#[tokio::test]
async fn the_records_are_stored_as_the_api_stores_them() {
    let (api, records) = demo().await;
    let other = Api::new().await;
    let mut kinds = BTreeSet::new();
    // What differs: the id, and so the shard in keys and the random mark of a write.
    let own = [
        "id",
        "sk",
        "time_key",
        "prompt_key",
        "organisation_key",
        "environment_key",
        "updated_at",
        "version",
        "written_by",
        "written_version",
        "write_id",
    ];
    for record in records.iter().step_by(7) {
        let stored = api
            .client
            .get_item()
            .table_name("feedback")
            .set_key(Some(
                from_feedback(record)
                    .into_iter()
                    .filter(|(name, _)| name == "pk" || name == "sk")
                    .collect(),
            ))
            .send()
            .await
            .unwrap()
            .item
            .unwrap();
        let sent = sent(&other, record).await;
        let is_changed = record.version > 1 && record.draft.person.is_none();
        let names = |item: &Item| -> BTreeSet<String> {
            let names = item.keys().filter(|name| !(is_changed && *name == "write_id"));
            names.cloned().collect()
        };
        assert_eq!(names(&stored), names(&sent));
        for (name, value) in &sent {
            if !own.contains(&name.as_str()) || (name == "sk" && record.draft.person.is_some()) {
                assert_eq!(Some(value), stored.get(name), "{name}");
            }
        }
        kinds.insert((
            record.draft.person.is_some(),
            record.draft.score.scale(),
            record.draft.comment.is_some(),
        ));
        let listed = api.record(&record.id.hyphenated()).await;
        assert_eq!(listed["created_at"], record.id.created_at().to_string());
    }
    assert!(kinds.len() >= 5, "{kinds:?}");
}

#[tokio::test]
async fn records_that_would_have_expired_are_left_out() {
    let (api, records) = (Api::new().await, month(FEW, SEED));
    api.time.set(end());
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let young = records
        .iter()
        .filter(|record| record.id.created_at().seconds() + week.as_secs() > end().seconds());
    let expected = young.count();
    let stored = demo::fill(&api.database.engine(), &api.client, records, Some(week), end()).await;
    assert_eq!(stored, Ok(expected));
    assert_eq!(verified(&api).await, Ok(()));
    assert!(
        api.database
            .items_of_all_pages("feedback")
            .iter()
            .all(|item| item["expires_at"].is_object())
    );
}

#[tokio::test]
async fn the_server_says_what_it_is_and_takes_no_directory() {
    let binary = tokio::task::spawn_blocking(|| lambda::binary("hindsight"))
        .await
        .unwrap();
    let mut process = Command::new(&binary)
        .args(["--demo", "--port", "0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains("-d '{")) {
        said.push(lines.next_line().await.unwrap().unwrap());
    }
    assert!(
        said[0].starts_with("Hindsight is listening on http://127.0.0.1:"),
        "{said:?}"
    );
    for expected in [
        "API key                hsk_",
        "Demo                   8000 made-up votes of the last 30 days",
    ] {
        assert!(said.iter().any(|line| line.starts_with(expected)), "{said:?}");
    }
    process.kill().await.unwrap();
    let refused = Command::new(&binary)
        .args(["--demo", "--data-dir", "x"])
        .output()
        .await
        .unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && error.contains("cannot be used with"),
        "{error}"
    );
}
