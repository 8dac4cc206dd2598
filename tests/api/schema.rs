//! Items of every schema version, in `tests/fixtures/{table}/{version}-{what}.json`, in DynamoDB's format.
//! A fixture never changes; a new version adds new ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::key::KeyId;
use shared::access::registry::KeyRecord;
use shared::access::{Scope, Upserts};
use shared::feedback::{Change, Draft, Feedback, RecordRef, ScoreChange, Writer};
use shared::fields::Patch;
use shared::id::{FeedbackId, Workspace};
use shared::indexed::Field;
use shared::metadata::{Comment, Metadata};
use shared::person::Person;
use shared::reasons::Reasons;
use shared::schema;
use shared::score::{Rating, Score, Value as Vote, Weight};
use shared::stats::change::{SequenceNumber, StreamRecord};
use shared::stats::decimal::Decimal;
use shared::stats::dimension::Dimension;
use shared::stats::generation::{Generation, Generations};
use shared::stats::image::{Counted, Unreadable};
use shared::stats::parked::Parked;
use shared::stats::rebuild::Rebuild;
use shared::stats::rollup::{Rollup, Slots, from_item};
use shared::stats::series::Series;
use shared::stats::tally::Tally;
use shared::store::Written;
use shared::store::idempotency::IdempotencyKey;
use shared::store::import::Imported;
use shared::store::item::from_feedback;
use shared::target::{Project, SpanId, Target, TraceId};
use shared::timestamp::Timestamp;

use crate::harness::Api;

const ID: &str = "01a1fc4f-0bea-7000-a56b-2e4c3d84a974";
const GRAPH: &str = "/v1/analytics/graphs/feedbacks?\
                     time_of_generation_min=2026-11-21T00:00:00Z&time_of_generation_max=2026-11-22T00:00:00Z";

/// When the fixtures were written.
fn now() -> Timestamp {
    Timestamp::parse("2026-11-21T04:13:21.258Z").unwrap()
}

fn workspace() -> Workspace {
    Workspace::parse("test").unwrap()
}

fn key_id(digits: &str) -> KeyId {
    KeyId::parse(digits).unwrap()
}

/// Who changes the fixtures of feedback: another key than the one that wrote them.
fn writer() -> Writer {
    Writer {
        workspace: workspace(),
        key: key_id("fedcba9876543210"),
    }
}

fn id() -> FeedbackId {
    FeedbackId::parse(ID).unwrap()
}

/// All fixtures of a table, by name.
fn fixtures(table: &str) -> BTreeMap<String, Value> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(table);
    std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let item = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (name, item)
        })
        .collect()
}

/// One fixture of a table in this schema version.
fn fixture(table: &str, version: u32, what: &str) -> Value {
    let name = format!("{version}-{what}");
    fixtures(table)
        .remove(&name)
        .unwrap_or_else(|| panic!("{table} has no fixture {name}"))
}

/// A fixture of a table, of the newest schema version that has it.
fn latest(table: &str, what: &str) -> Value {
    let name = (1..=9).rev().map(|version| format!("{version}-{what}"));
    let mut fixtures = fixtures(table);
    name.into_iter()
        .find_map(|name| fixtures.remove(&name))
        .unwrap_or_else(|| panic!("{table} has no fixture {what}"))
}

/// An item of the next schema version.
fn newer(mut item: Value, version: u32) -> Value {
    item["schema"] = json!({"N": (version + 1).to_string()});
    item
}

fn put(api: &Api, table: &str, item: &Value) {
    api.database
        .direct("PutItem", json!({"TableName": table, "Item": item}));
}

/// The only item of a table.
#[track_caller]
fn only(api: &Api, table: &str) -> Value {
    let items = api.database.items(table);
    assert_eq!(items.len(), 1, "{items:?}");
    items.into_iter().next().unwrap()
}

/// The expected record of a feedback fixture, and the generation it was last touched for.
fn feedback(what: &str) -> (Feedback, u32) {
    let (trace, span) = (TraceId::parse("trace#%").unwrap(), SpanId::parse("span").unwrap());
    let value = |value, weight| Score::Value(Vote::new(value).unwrap(), Weight::new(weight).unwrap());
    let metadata = |json: &str| Metadata::from_stored(json.to_owned());
    let mut record = Feedback {
        workspace: workspace(),
        id: id(),
        draft: Draft {
            target: Target::Trace(trace.clone()),
            project: None,
            score: value(1, 1.0),
            comment: None,
            reasons: Reasons::default(),
            metadata: None,
            person: None,
        },
        written_by: None,
        updated_at: now(),
        version: 1,
        expires_at: None,
    };
    let mut generation = 0;
    match what {
        "plain" => {}
        "value" => {
            record.draft.score = value(-10, 0.1);
            record.draft.metadata = Some(metadata(
                r#"{"_user":"ü","_organisation":"o#1","_prompt":"p","_environment":"e","_model":"m","n":1e400}"#,
            ));
        }
        "rating" => {
            record.draft.target = Target::Span(trace, span);
            record.draft.score = Score::Rating(Rating::new(5).unwrap());
            record.draft.project = Project::parse("tenant:tracing-project");
            record.draft.comment = Some(Comment::from_stored("fine".to_owned()));
            record.draft.metadata = Some(metadata("{}"));
        }
        "reasons" => record.draft.reasons = Reasons::from_stored(r#"["wrong","too long"]"#),
        "expiring" => record.expires_at = Some(now().seconds() + 86_400),
        "updated" => {
            record.draft.score = Score::Rating(Rating::new(2).unwrap());
            record.draft.metadata = Some(metadata(r#"{"_user":"u"}"#));
            record.updated_at = Timestamp::from_millis(now().millis() + 1_000);
            record.version = 2;
        }
        "rebuilt" => generation = 3,
        "written" | "imported" => record.written_by = Some(key_id("0123456789abcdef")),
        "rewritten" => {
            record.draft.score = Score::Rating(Rating::new(2).unwrap());
            record.draft.metadata = Some(metadata(r#"{"_user":"u"}"#));
            record.updated_at = Timestamp::from_millis(now().millis() + 1_000);
            record.version = 2;
            record.written_by = Some(writer().key);
        }
        // Code that does not know of `written_by` has updated the fixture `written`.
        "overtaken" => {
            record.draft.score = value(2, 1.0);
            record.updated_at = Timestamp::from_millis(now().millis() + 1_000);
            record.version = 2;
        }
        "upserted" | "upserted-written" => {
            let entropy = id().as_bytes()[6..].try_into().unwrap();
            let person = Person {
                user: "u".to_owned(),
                name: "helpful".to_owned(),
            };
            record.id = FeedbackId::mint_upserted(now(), 0, entropy, person.hash()[31]);
            record.draft.metadata = Some(metadata(r#"{"user_id":"u","_name":"helpful"}"#));
            record.draft.person = Some(person);
            if what == "upserted-written" {
                record.written_by = Some(key_id("0123456789abcdef"));
            }
        }
        other => panic!("no test reads the fixture {other}"),
    }
    (record, generation)
}

/// When a fixture was stored: imported ones ten days after their creation.
fn stored_at(what: &str, record: &Feedback) -> Timestamp {
    let created_at = record.id.created_at();
    match what {
        "imported" => created_at + Duration::from_secs(10 * 24 * 60 * 60),
        _ => created_at,
    }
}

/// The kind of a fixture: `value` for both `1-unnumbered-value` and `1-value`.
fn what(name: &str) -> &str {
    let (_, what) = name.split_once('-').unwrap();
    what.strip_prefix("unnumbered-").unwrap_or(what)
}

#[tokio::test]
async fn feedback_of_every_schema_version_is_read() {
    for (name, item) in fixtures("feedback") {
        let (expected, generation) = feedback(what(&name));
        let api = Api::new().await;
        put(&api, "feedback", &item);
        let read = api.store().get(&workspace(), expected.id, now()).await.unwrap();
        assert_eq!(read, expected, "{name}");
        let trace = expected.draft.target.trace();
        let summary = api
            .store()
            .summary(&workspace(), trace, None, now())
            .await
            .unwrap();
        assert_eq!(summary.count, 1, "{name}");
        let counted = Counted::from_image(&serde_json::from_value(item).unwrap()).unwrap();
        let same = Counted {
            touched_for: generation,
            stored_at: stored_at(what(&name), &expected),
            ..Counted::from_feedback(&expected)
        };
        assert_eq!(counted, same, "{name}");
    }
}

#[tokio::test]
async fn feedback_is_written_in_the_newest_schema_version() {
    let newest = |what| latest("feedback", what);
    for what in [
        "plain",
        "value",
        "rating",
        "reasons",
        "expiring",
        "written",
        "upserted",
        "upserted-written",
    ] {
        let api = Api::new().await;
        let item = from_feedback(&feedback(what).0);
        let put = api.client.put_item().table_name("feedback").set_item(Some(item));
        put.send().await.unwrap();
        assert_eq!(only(&api, "feedback"), newest(what), "{what}");
    }
    let (api, record) = (Api::new().await, feedback("imported").0);
    let stored = api.store().import(&record, stored_at("imported", &record)).await;
    assert_eq!(stored, Ok(Imported::Stored));
    assert_eq!(only(&api, "feedback"), newest("imported"));
    // The item after an update, except for its random `write_id`.
    let api = Api::new().await;
    put(&api, "feedback", &newest("written"));
    let change = Change {
        score: ScoreChange::Rating(Rating::new(2).unwrap()),
        comment: Patch::Keep,
        reasons: Patch::Keep,
        metadata: Patch::Set(Metadata::from_stored(r#"{"_user":"u"}"#.to_owned())),
    };
    let named = RecordRef {
        id: id(),
        target: None,
    };
    let later = Timestamp::from_millis(now().millis() + 1_000);
    let written = api.store().update(&writer(), &named, &change, None, later).await;
    assert_eq!(written.unwrap().version, Some(2));
    let (mut updated, mut expected) = (only(&api, "feedback"), newest("rewritten"));
    let marks = [&mut updated, &mut expected].map(|item| item.as_object_mut().unwrap().remove("write_id"));
    let lengths = marks.map(|mark| mark.unwrap()["B"].as_str().unwrap().len());
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(updated, expected);
    // The item after a rebuild.
    let api = Api::new().await;
    put(&api, "feedback", &newest("plain"));
    let rebuild = Rebuild::new(api.client.clone(), "feedback", "stats");
    let generation = Generation {
        number: 3,
        schema: schema::STATS,
        since: Timestamp::MAX,
    };
    rebuild.touch(generation, drop).await.unwrap();
    assert_eq!(only(&api, "feedback"), newest("rebuilt"));
}

/// The expected record of an API key fixture.
fn key(what: &str) -> KeyRecord {
    let mut record = KeyRecord {
        id: KeyId::parse("0123456789abcdef").unwrap(),
        workspace: workspace(),
        name: "a key".to_owned(),
        scopes: vec![Scope::Read, Scope::Write],
        hash: (0..32).collect(),
        last_four: "abcd".to_owned(),
        created_at: now(),
        expires_at: None,
        revoked_at: None,
        upserts: None,
        public_key: None,
    };
    match what {
        "valid" => {}
        "upserting" => {
            record.upserts = Some(Upserts {
                user_field: Some("user_id".to_owned()),
            });
        }
        "expiring" => record.expires_at = Some(Timestamp::MAX),
        "revoked" => record.revoked_at = Some(now()),
        "signing" => {
            record.scopes = vec![Scope::Vote];
            record.hash = Vec::new();
            record.last_four = String::new();
            record.public_key = Some((0..32).collect());
        }
        other => panic!("no test reads the fixture {other}"),
    }
    record
}

#[tokio::test]
async fn api_keys_of_every_schema_version_are_read_and_written_in_the_newest() {
    for (name, item) in fixtures("api-keys") {
        let api = Api::new().await;
        put(&api, "api-keys", &item);
        let read = api.registry.find(&key("valid").id).await.unwrap();
        assert_eq!(read, Some(key(what(&name))), "{name}");
    }
    for what in ["valid", "expiring", "revoked", "upserting", "signing"] {
        let api = Api::new().await;
        api.registry.insert(&key(what)).await.unwrap();
        let items = api.database.items("api-keys");
        assert!(items.contains(&latest("api-keys", what)), "{items:?}");
    }
}

/// The expected result of a marker fixture.
fn replayed(what: &str) -> Written {
    let other = FeedbackId::parse("01a1fc4f-0bea-7001-8000-000000000000").unwrap();
    let (ids, version) = match what {
        "create" => (vec![id()], Some(1)),
        "bulk" => (vec![id(), other], None),
        "update" => (vec![id()], Some(2)),
        "delete" => (vec![id()], None),
        other => panic!("no test reads the fixture {other}"),
    };
    Written {
        ids,
        version,
        replayed: true,
    }
}

/// Performs the request of a marker fixture, under its key.
async fn once(api: &Api, what: &str) -> Result<Written, shared::problem::Problem> {
    let key = IdempotencyKey::new("key#1", [what.as_bytes(), b"request"]);
    let draft = feedback("plain").0.draft;
    let named = RecordRef {
        id: id(),
        target: Some(draft.target.clone()),
    };
    let change = Change {
        score: ScoreChange::Value(Vote::new(0).unwrap(), Patch::Keep),
        comment: Patch::Keep,
        reasons: Patch::Keep,
        metadata: Patch::Keep,
    };
    let (store, by) = (api.store(), writer());
    match what {
        "create" => store.create_once(&by, vec![draft], &key, now()).await,
        "bulk" => {
            let drafts = vec![draft.clone(), draft];
            store.create_once(&by, drafts, &key, now()).await
        }
        "update" => store.update_once(&by, &named, &change, None, &key, now()).await,
        _ => store.delete_once(&by.workspace, &named, None, &key, now()).await,
    }
}

#[tokio::test]
async fn markers_of_every_schema_version_are_read_and_written_in_the_newest() {
    for (name, item) in fixtures("idempotency") {
        let api = Api::new().await;
        put(&api, "idempotency", &item);
        let what = what(&name);
        if name.starts_with("1-") {
            // Its key is the `Idempotency-Key` itself, which is not looked for any more: the request is done again.
            if matches!(what, "update" | "delete") {
                put(&api, "feedback", &latest("feedback", "plain"));
            }
            assert!(!once(&api, what).await.unwrap().replayed, "{name}");
            continue;
        }
        assert_eq!(once(&api, what).await.unwrap(), replayed(what), "{name}");
        assert!(api.database.items("feedback").is_empty());
    }
    for what in ["create", "bulk", "update", "delete"] {
        let api = Api::new().await;
        if matches!(what, "update" | "delete") {
            put(&api, "feedback", &latest("feedback", "plain"));
        }
        let written = once(&api, what).await.unwrap();
        assert_eq!(written.version, replayed(what).version);
        // Except for the ids, which are random.
        let (mut marker, mut expected) = (
            only(&api, "idempotency"),
            fixture("idempotency", schema::MARKER, what),
        );
        let ids = [&mut marker, &mut expected].map(|item| item["ids"]["B"].take());
        assert_eq!(ids[0].as_str().unwrap().len(), ids[1].as_str().unwrap().len());
        assert_eq!(marker, expected, "{what}");
    }
}

/// The roll-up in the fixture of this schema version: by prompt for a day in version 1, by prompt for two
/// minutes in version 2, and by session in version 3.
fn rollup(version: u32) -> (Rollup, Slots) {
    let (field, value, series) = match version {
        1 => (Field::Prompt, "p#1", Series::Day),
        2 => (Field::Prompt, "p#1", Series::Minutes),
        _ => (Field::Session, "s#1", Series::Hours),
    };
    let mut tally = Tally {
        weight: Decimal::parse("1.1").unwrap(),
        weighted: Decimal::parse("2.9").unwrap(),
        last_seen: Some(now()),
        ..Tally::default()
    };
    // One −1, two 3, two 5.
    (tally.values[9], tally.values[13], tally.ratings[4]) = (1, 2, 2);
    let (start, slot) = series.place(now());
    let rollup = Rollup {
        generation: 3,
        workspace: workspace(),
        dimension: Dimension::Field(field),
        series,
        start,
        value: value.to_owned(),
    };
    (rollup, Slots::from([(slot, tally)]))
}

/// The parked change in the fixture.
fn parked() -> Parked {
    Parked {
        shard: "shardId-1".to_owned(),
        sequence: SequenceNumber("123000".to_owned()),
        reason: format!("schema version 9: expected at most {}", schema::FEEDBACK),
    }
}

/// The generations in a fixture, the newest of which has this schema version.
fn generations(what: &str, schema: u32) -> Generations {
    let generation = |number, schema, since: &str| Generation {
        number,
        schema,
        since: Timestamp::parse(since).unwrap(),
    };
    match what {
        "generation" => Generations {
            current: generation(2, schema, "2026-11-19T00:00:00Z"),
            building: None,
        },
        _ => Generations {
            current: generation(2, 1, "2026-11-19T00:00:00Z"),
            building: Some(generation(3, schema, "2026-11-20T00:00:00Z")),
        },
    }
}

#[tokio::test]
async fn roll_ups_checkpoints_and_generations_of_every_schema_version_are_read() {
    for (name, item) in fixtures("stats") {
        let api = Api::new().await;
        put(&api, "stats", &item);
        let version = name[..1].parse().unwrap();
        match what(&name) {
            "rollup" => {
                let key = |name: &str| AttributeValue::S(item[name]["S"].as_str().unwrap().to_owned());
                let get = api.client.get_item().table_name("stats");
                let found = get
                    .key("pk", key("pk"))
                    .key("sk", key("sk"))
                    .send()
                    .await
                    .unwrap();
                assert_eq!(from_item(&found.item.unwrap()), Ok(rollup(version)), "{name}");
            }
            "checkpoint" => {
                let checkpoint = api.counter().checkpoint("shardId-1").await.unwrap();
                let expected = Some(SequenceNumber("123456".to_owned()));
                assert_eq!(checkpoint.sequence, expected, "{name}");
            }
            what @ ("generation" | "generation-building") => {
                let read = Generations::read(&api.client, "stats").await.unwrap();
                assert_eq!(read, generations(what, version), "{name}");
            }
            "parked" => {
                let parked = api.counter().count_parked().await.unwrap().left;
                assert_eq!(parked, [self::parked()], "{name}");
            }
            other => panic!("no test reads the fixture {other}"),
        }
    }
}

#[tokio::test]
async fn roll_ups_checkpoints_and_generations_are_written_in_the_newest_schema_version() {
    let newest = |what| fixture("stats", schema::STATS, what);
    for what in ["generation", "generation-building"] {
        let api = Api::new().await;
        generations(what, schema::STATS)
            .replace(Generations::FIRST, &api.client, "stats")
            .await
            .unwrap();
        assert_eq!(only(&api, "stats"), newest(what));
    }
    // The votes counted in the roll-up, in generation 3.
    let api = Api::new().await;
    let generation = Generations {
        current: Generation {
            number: 3,
            schema: schema::STATS,
            since: Timestamp::default(),
        },
        building: None,
    };
    generation
        .replace(Generations::FIRST, &api.client, "stats")
        .await
        .unwrap();
    let scores = [
        json!({"value": {"N": "-1"}, "weight": {"S": "0.1"}}),
        json!({"value": {"N": "3"}, "weight": {"S": "0.7"}}),
        json!({"rating": {"N": "5"}}),
        json!({"rating": {"N": "5"}}),
        json!({"value": {"N": "3"}, "weight": {"S": "0.3"}}),
    ];
    let records: Vec<Value> = scores
        .iter()
        .enumerate()
        .map(|(place, score)| {
            let mut image =
                json!({"sk": {"S": format!("test#{ID}")}, "metadata": {"S": r#"{"_prompt":"p#1","_session":"s#1"}"#}});
            image
                .as_object_mut()
                .unwrap()
                .extend(score.as_object().unwrap().clone());
            let sequence = (123_452 + place).to_string();
            json!({"dynamodb": {
                "ApproximateCreationDateTime": now().seconds(), "SequenceNumber": sequence, "NewImage": image,
            }})
        })
        .collect();
    let mut records: Vec<StreamRecord> = serde_json::from_value(json!(records)).unwrap();
    // And a change that cannot be read, which comes first.
    let odd = json!({"dynamodb": {"SequenceNumber": "123000", "NewImage": {"schema": {"N": "9"}}}});
    records.push(serde_json::from_value(odd).unwrap());
    let outcome = api.counter().count("shardId-1", records).await.unwrap();
    assert_eq!((outcome.counted, outcome.parked), (5, vec![parked()]));
    let items = api.database.items("stats");
    let find = |fixture: &Value| {
        let same = |item: &&Value| item["pk"] == fixture["pk"] && item["sk"] == fixture["sk"];
        items
            .iter()
            .find(same)
            .unwrap_or_else(|| panic!("{items:?}"))
            .clone()
    };
    // An item keeps the schema version it was first written with, unless it uses something newer.
    let of = |version: u32, what: &str| fixtures("stats").remove(&format!("{version}-{what}")).unwrap();
    for version in 1..=schema::STATS {
        let expected = of(version, "rollup");
        let mut found = find(&expected);
        // Of a session it has the number of its writes, which older code ignores and keeps.
        if version == 3 {
            let writes = found.as_object_mut().unwrap().remove("writes");
            assert_eq!(writes, Some(json!({"N": "1"})));
        }
        assert_eq!(found, expected);
    }
    // The end of a checkpoint depends on the clock, and so does when a change was parked.
    // The reason names the newest schema version.
    for (mut expected, attributes) in [
        (of(1, "checkpoint"), &["expires_at"][..]),
        (of(2, "parked"), &["parked_at", "reason"]),
    ] {
        let mut found = find(&expected);
        for item in [&mut found, &mut expected] {
            for attribute in attributes {
                assert!(item.as_object_mut().unwrap().remove(*attribute).is_some());
            }
        }
        assert_eq!(found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn feedback_of_a_newer_schema_version_is_left_alone() {
    let api = Api::new().await;
    let item = newer(latest("feedback", "value"), schema::FEEDBACK);
    put(&api, "feedback", &item);
    let path = format!("/v1/feedback/{ID}");
    api.get(&path).await.refused(503, "retry");
    let older = api
        .post("/v1/feedback", json!({"trace_id": "trace#%", "value": 1}))
        .await
        .ok();
    // Lists and summaries leave it out.
    let list = api.get("/v1/feedback?trace_id=trace%23%25").await.ok();
    assert_eq!(list.ids(), [older.id()]);
    assert_eq!(list.json()["summary"]["count"], 1);
    for (headers, body) in [
        (&[][..], json!({"value": 2})),
        (&[("if-match", "\"1\"")], json!({"value": 2})),
        (&[("idempotency-key", "k")], json!({"value": 2})),
    ] {
        let answer = api.call(Method::PUT, &path, headers, &body.to_string()).await;
        answer.refused(503, "retry");
    }
    assert!(api.database.items("feedback").contains(&item));
    assert!(api.database.items("idempotency").is_empty());
    // Its counts are unknown, so it stays parked.
    let image = serde_json::from_value(item).unwrap();
    let newer = i64::from(schema::FEEDBACK) + 1;
    assert_eq!(Counted::from_image(&image), Err(Unreadable::NewerSchema(newer)));
    // To delete it nothing needs to be known of it.
    api.delete(&path).await.ok();
    assert_eq!(api.database.items("feedback").len(), 1);
}

#[tokio::test]
async fn unknown_attributes_are_preserved() {
    let api = Api::new().await;
    let mut item = latest("feedback", "plain");
    item["later"] = json!({"S": "of a later version"});
    put(&api, "feedback", &item);
    api.put(&format!("/v1/feedback/{ID}"), json!({"value": 2}))
        .await
        .ok();
    assert_eq!(only(&api, "feedback")["later"], item["later"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_a_marker_and_roll_ups_of_a_newer_schema_version_are_not_used() {
    // A key of a newer version is not valid.
    let api = Api::new().await;
    let key = only(&api, "api-keys");
    put(&api, "api-keys", &newer(key, schema::API_KEY));
    api.restarted().get("/v1/feedback").await.refused(503, "retry");

    // A marker of a newer version is not overwritten.
    let api = Api::new().await;
    let marker = newer(fixture("idempotency", schema::MARKER, "create"), schema::MARKER);
    put(&api, "idempotency", &marker);
    let problem = once(&api, "create").await.unwrap_err();
    assert_eq!(problem.code(), "unavailable");
    assert_eq!(only(&api, "idempotency"), marker);
    assert!(api.database.items("feedback").is_empty());

    // Roll-ups are neither read nor written.
    for what in ["generation", "generation-building", "checkpoint", "rollup"] {
        let api = Api::new().await;
        // The newest version of checkpoints is 2.
        let version = if what == "checkpoint" { 2 } else { schema::STATS };
        let item = newer(fixture("stats", version, what), schema::STATS);
        put(&api, "stats", &item);
        if what == "rollup" {
            let generation = fixture("stats", schema::STATS, "generation");
            put(&api, "stats", &generation);
            let mut moved = item.clone();
            moved["pk"] = json!({"S": "test#all#minutes#2"});
            moved["sk"] = json!({"S": "001795233600000#"});
            put(&api, "stats", &moved);
            api.get(GRAPH).await.refused(503, "retry");
            continue;
        }
        if what != "checkpoint" {
            api.get(GRAPH).await.refused(503, "retry");
        }
        let record = json!([{"dynamodb": {"SequenceNumber": "200000", "NewImage": {}}}]);
        let records = serde_json::from_value(record).unwrap();
        let problem = api.counter().count("shardId-1", records).await.unwrap_err();
        assert_eq!(problem.code(), "unavailable", "{what}");
        assert_eq!(only(&api, "stats"), item);
    }
}
