//! `hindsight import`: what comes out of a file is as if it had happened here, whatever interrupts it, and once.

mod rebuilds;
mod systems;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, ready};
use std::time::Duration;

use futures_util::future::join_all;
use indicatif::ProgressBar;
use lambda_http::http::Method;
use local::export::{self, Format, Output, Source};
use local::import::{Request, Summary, Target, load};
use serde_json::{Value, json};
use shared::config::Config;
use shared::id::Workspace;
use shared::import::{Numeric, System};
use shared::stats::deleted;
use shared::tables::{FEEDBACK, STATS};
use shared::timestamp::Timestamp;

use crate::counting::verified;
use crate::erasure::erase;
use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY};
use crate::upsert::by_upserting_key;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn target(api: &Api) -> Target {
    Target {
        client: api.client.clone(),
        feedback: api.table(&FEEDBACK).to_owned(),
        stats: api.table(&STATS).to_owned(),
        counting: None,
        max_write_units: None,
    }
}

/// An import into the workspace `test`.
fn request(system: System) -> Request {
    Request {
        system,
        map: Vec::new(),
        user_field: None,
        numeric: Numeric::Value,
        workspace: Workspace::parse("test").unwrap(),
        retention: None,
        is_dry_run: false,
    }
}

/// What an import says: its result, and the lines.
type Said = (Result<Summary, String>, Vec<String>);

/// Imports a file, while changes are counted.
async fn import(api: &Api, request: &Request, file: &str) -> Said {
    let counting = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            api.count().await;
        }
    };
    tokio::select! {
        said = alone(api, request, file) => said,
        () = counting => unreachable!(),
    }
}

/// Imports a file, whoever counts.
async fn alone(api: &Api, request: &Request, file: &str) -> Said {
    let (mut told, bar) = (Vec::new(), ProgressBar::hidden());
    let mut tell = |line: String| told.push(line);
    let done = load(&target(api), request, file.as_bytes(), &bar, &mut tell, pending()).await;
    (done, told)
}

fn imported(count: usize) -> Said {
    let summary = Summary {
        imported: count as u64,
        ..Summary::default()
    };
    (Ok(summary), vec![])
}

/// Exports the workspace `test`.
async fn exported(api: &Api, format: Format) -> String {
    let source = Source {
        client: api.client.clone(),
        table: api.table(&FEEDBACK).to_owned(),
        margin: Duration::ZERO,
        max_read_units: None,
    };
    let request = export::Request {
        format,
        table: "feedback".to_owned(),
        workspace: "test".to_owned(),
        filter: BTreeMap::new(),
    };
    let (mut bytes, bar) = (Vec::new(), ProgressBar::hidden());
    export::write(&source, &request, Output::Stream(&mut bytes), &bar, pending())
        .await
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

/// All items of feedback, without what an import adds and what only a retry of the write needs.
fn items(api: &Api) -> BTreeSet<String> {
    let items = api.database.items_of_all_pages("feedback").into_iter();
    items
        .map(|mut item| {
            for name in ["stored_at", "schema", "write_id"] {
                item.as_object_mut().unwrap().remove(name);
            }
            item.to_string()
        })
        .collect()
}

/// A deployment that keeps feedback for 400 days.
async fn keeping() -> Api {
    let config = Config::embedded().unwrap();
    Api::with(config.with_retention(Some(400 * DAY))).await
}

/// Records of every kind.
async fn of_every_kind() -> Api {
    let api = keeping().await;
    let metadata = [
        r#"{"a": 1.50, "a":	"\ud83d", "\ud83d":"", "_prompt": "x\u0041", "_user": "ü", "big": 1e400}"#,
        r#"{}"#,
        r#"{"_user":"ann","_session":9,"_environment":"","_name":"helpful","_model":"m,\"1\"","deep":{"x":[{}]}}"#,
    ];
    for (place, metadata) in metadata.into_iter().enumerate() {
        let body = format!(
            "{{\"trace_id\":\"=1,2#%\",\"value\":{},\"weight\":0.1,\"comment\":\"two\\r\\nlines\",\
             \"reasons\":[\"wrong\",\"too \\\"long\\\"\"],\"metadata\":{metadata}}}",
            place as i64 - 1
        );
        let id = api.call(Method::POST, PORTKEY, &[], &body).await.ok().id();
        if place == 1 {
            api.put(&format!("{PORTKEY}/{id}"), json!({"value": -10, "comment": " "}))
                .await
                .ok();
        }
        // A vote of the person, who then votes again.
        for value in [3, 4] {
            let body = body.replace("\"weight\"", &format!("\"n\":{value},\"weight\""));
            let headers = [("x-hindsight-upsert", "user")];
            api.call(Method::POST, PORTKEY, &headers, &body).await;
        }
    }
    let target = json!({"traceId": "t", "spanId": "s%", "tracingProjectFQN": "acme:x"});
    api.post(
        TRUEFOUNDRY,
        json!({"target": target, "rating": 5, "comment": "\u{1}"}),
    )
    .await
    .ok();
    // Whose person is not in `_user`.
    let key = by_upserting_key(&api, Some("uid")).await;
    key.post(
        PORTKEY,
        json!({"trace_id": "t", "value": 1, "metadata": {"uid": "eve", "_name": "n"}}),
    )
    .await
    .ok();
    key.post(
        TRUEFOUNDRY,
        json!({"target": target, "rating": 1, "metadata": {"uid": "eve"}}),
    )
    .await
    .ok();
    api.post(
        PORTKEY,
        json!(
            (0..100)
                .map(|n| json!({"trace_id": "bulk", "value": n % 11}))
                .collect::<Vec<_>>()
        ),
    )
    .await
    .ok();
    api.count().await;
    api
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_changes_no_byte() {
    let from = of_every_kind().await;
    let count = from.database.items_of_all_pages("feedback").len();
    assert!(count > 105, "{count}");
    for format in [Format::Jsonl, Format::Csv] {
        let file = exported(&from, format).await;
        let to = keeping().await;
        let request = Request {
            // The CSV says whose vote it is, JSON Lines as far as the metadata does.
            user_field: (format == Format::Jsonl).then(|| "uid".to_owned()),
            retention: Some(400 * DAY),
            ..request(System::Hindsight)
        };
        assert_eq!(import(&to, &request, &file).await, imported(count), "{format:?}");
        assert_eq!(exported(&to, format).await, file, "{format:?}");
        assert_eq!(items(&to), items(&from), "{format:?}");
        to.count().await;
        assert_eq!(verified(&to).await, Ok(()));
        // Again, without a write.
        to.database.calls();
        let there = Summary {
            there: count as u64,
            ..Summary::default()
        };
        assert_eq!(import(&to, &request, &file).await, (Ok(there), vec![]));
        assert!(!to.database.calls().contains(&"PutItem".to_owned()));
        // A person's next vote replaces the imported one, which stays one that was imported.
        let person = by_upserting_key(&to, Some("uid")).await;
        let body = json!({"trace_id": "t", "value": -1, "metadata": {"uid": "eve", "_name": "n"}});
        let again = person.post(PORTKEY, body).await.ok();
        let record = to.record(&again.id()).await;
        assert_eq!((&record["value"], &record["version"]), (&json!(-1), &json!(2)));
        let is_ours = |item: &Value| item["id"]["S"] == record["id"];
        let item = to
            .database
            .items_of_all_pages("feedback")
            .into_iter()
            .find(is_ours)
            .unwrap();
        assert_eq!(item["schema"], json!({"N": "3"}));
        assert!(item["stored_at"].is_object());
    }
}

/// Without the column or the option nothing is guessed.
#[tokio::test(start_paused = true)]
async fn a_person_who_is_not_in_the_metadata_is_not_made_up() {
    let from = of_every_kind().await;
    let file = exported(&from, Format::Jsonl).await;
    let api = keeping().await;
    let (done, told) = import(&api, &request(System::Hindsight), &file).await;
    assert_eq!(done.unwrap().refused, 2);
    assert!(
        told.iter()
            .all(|line| line.contains(": user: expected whose only vote it is, got")),
        "{told:?}"
    );
}

/// Votes over thirty days, each at its time by the clock of the deployment.
async fn a_month() -> Api {
    let api = Api::new().await;
    let today = api.time.now();
    let start = Timestamp::from_millis(today.millis() - 30 * DAY.as_millis() as u64);
    for place in 0..400_u32 {
        api.time.set(start + 107 * Duration::from_secs(60) * place);
        let metadata = json!({
            "_user": format!("u{}", place % 17), "_prompt": (["greeting", "summary"][place as usize % 2]),
            "_model": format!("m{}", place % 3), "_session": format!("s{}", place % 40), "_name": "helpful",
        });
        if place % 5 == 0 {
            api.rate(i64::from(place % 5 + 1), metadata).await;
            continue;
        }
        let vote = json!({
            "trace_id": format!("t{}", place % 90), "value": i64::from(place % 21) - 10, "weight": 0.5,
            "reasons": ["wrong"], "metadata": metadata,
        });
        api.post(PORTKEY, vote).await.ok();
    }
    api.time.set(today);
    api.count().await;
    api
}

/// What is asked of a month.
fn questions(api: &Api) -> Vec<String> {
    let end = api.time.now();
    let start = Timestamp::from_millis(end.millis() - 31 * DAY.as_millis() as u64);
    let range = format!("time_of_generation_min={start}&time_of_generation_max={end}");
    let mut asked = Vec::new();
    for graph in [
        "feedbacks",
        "feedbacks/scores",
        "feedbacks/weighted",
        "feedbacks/ai-models",
    ] {
        asked.push(format!("/v1/analytics/graphs/{graph}?{range}"));
        asked.push(format!(
            "/v1/analytics/graphs/{graph}?{range}&metadata=%7B%22_prompt%22%3A%22summary%22%7D"
        ));
    }
    for field in ["_user", "_prompt", "_session", "_name", "_reasons", "_model"] {
        asked.push(format!(
            "/v1/analytics/groups/metadata/{field}?{range}&page_size=100"
        ));
    }
    for list in [
        "",
        "&user=u3",
        "&trace_id=t7",
        "&session=s1&prompt=summary",
        "&order=asc",
        "&reason=wrong",
    ] {
        asked.push(format!("{PORTKEY}?limit=100{list}"));
        asked.push(format!("{PORTKEY}?limit=100{list}&from={}", start + 10 * DAY));
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn an_imported_month_is_as_if_it_had_happened_here() {
    let there = a_month().await;
    let file = exported(&there, Format::Jsonl).await;
    let reversed: String = file.lines().rev().flat_map(|line| [line, "\n"]).collect();
    for file in [file, reversed] {
        let here = Api::new().await;
        assert_eq!(
            import(&here, &request(System::Hindsight), &file).await,
            imported(400)
        );
        assert_same(&there, &here).await;
    }
}

async fn assert_same(there: &Api, here: &Api) {
    let mut compared = 0;
    for question in questions(there) {
        let answer = async |api: &Api| {
            let mut answer = api.get(&question).await.ok().json();
            // When it was counted.
            answer.as_object_mut().unwrap().remove("as_of");
            answer
        };
        let (expected, got) = (answer(there).await, answer(here).await);
        assert_eq!(got, expected, "{question}");
        compared += usize::from(expected.to_string().len() > 300);
    }
    assert!(compared > 20, "{compared}");
    assert_eq!(verified(here).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_here_is_not_brought_back() {
    let api = Api::new().await;
    let mut ids = Vec::new();
    for place in 0..9 {
        let user = if place < 3 { "erin-9f" } else { "bob" };
        ids.push(api.vote(1, json!({"_user": user})).await);
    }
    api.count().await;
    let file = exported(&api, Format::Jsonl).await;
    erase(&api, "erin-9f").await;
    api.delete(&format!("{PORTKEY}/{}", ids[5])).await.ok();
    api.call(
        Method::DELETE,
        &format!("{PORTKEY}/{}", ids[6]),
        &[("idempotency-key", "k")],
        "",
    )
    .await
    .ok();
    api.count().await;
    let expected = Summary {
        there: 4,
        deleted: 5,
        ..Summary::default()
    };
    assert_eq!(
        import(&api, &request(System::Hindsight), &file).await,
        (Ok(expected), vec![])
    );
    assert_eq!(api.database.items("feedback").len(), 4);
    assert!(
        !api.database
            .items("stats")
            .iter()
            .any(|item| item.to_string().contains("erin-9f"))
    );
    // Nor what was imported and deleted.
    let other = keeping().await;
    assert_eq!(
        import(&other, &request(System::Hindsight), &file).await,
        imported(9)
    );
    other.delete(&format!("{PORTKEY}/{}", ids[0])).await.ok();
    other.count().await;
    let expected = Summary {
        there: 8,
        deleted: 1,
        ..Summary::default()
    };
    assert_eq!(
        import(&other, &request(System::Hindsight), &file).await,
        (Ok(expected), vec![])
    );
    // Another workspace knows nothing of it.
    let elsewhere = Request {
        workspace: Workspace::parse("acme").unwrap(),
        ..request(System::Hindsight)
    };
    assert_eq!(import(&api, &elsewhere, &file).await, imported(9));
    // A marker that has expired is none, even if it is not swept yet. The machine's clock is up to an hour ahead.
    api.time
        .forward(deleted::LIFETIME + Duration::from_secs(2 * 3_600));
    let (done, _) = import(&api, &request(System::Hindsight), &file).await;
    assert_eq!((done.clone().unwrap().imported, done.unwrap().there), (5, 4));
    assert_eq!(verified(&api).await, Ok(()));
}

/// Markers are of deletions, and hold a workspace and an id only.
#[tokio::test]
async fn only_a_deletion_leaves_a_marker() {
    let api = keeping().await;
    let markers = |api: &Api| -> Vec<Value> {
        let items = api.database.items_of_all_pages("stats").into_iter();
        items.filter(|item| item["sk"]["S"] == "deleted").collect()
    };
    let id = api.vote(1, json!({"_user": "ada"})).await;
    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 2}))
        .await
        .ok();
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "bob"}}).to_string();
    let headers = [("x-hindsight-upsert", "user")];
    let upserted = api.call(Method::POST, PORTKEY, &headers, &body).await.ok().id();
    api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
    let expiring = api.vote(1, json!({})).await;
    for item in api.database.items("feedback") {
        if item["id"]["S"].as_str() == Some(expiring.as_str()) {
            api.database.expire("feedback", &item);
        }
    }
    assert_eq!(api.database.sweep(), 1);
    api.count().await;
    assert_eq!(markers(&api), Vec::<Value>::new());
    for id in [&id, &upserted] {
        api.delete(&format!("{PORTKEY}/{id}")).await.ok();
    }
    api.count().await;
    let mut left: Vec<String> = markers(&api)
        .iter()
        .map(|marker| {
            let names: BTreeSet<&str> = marker.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, BTreeSet::from(["pk", "sk", "schema", "expires_at"]));
            marker["pk"]["S"].as_str().unwrap().to_owned()
        })
        .collect();
    left.sort();
    let mut expected = [id, upserted].map(|id| format!("deleted#test#{id}"));
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(verified(&api).await, Ok(()));
}

/// A file of votes that another system might have made.
fn votes(count: usize) -> String {
    let mut file = "id,trace_id,value,created_at,user\n".to_owned();
    for place in 0..count {
        file.push_str(&format!(
            "{place},t{},1,2026-10-{:02}T10:00:00Z,u{}\n",
            place % 50,
            place % 28 + 1,
            place % 9
        ));
    }
    file
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_waited_out_and_each_record_is_stored_once() {
    let api = Api::new().await;
    let faults = [
        Fault::Throttle,
        Fault::LostAnswer,
        Fault::ServerError,
        Fault::CutAnswer,
        Fault::Refused,
        Fault::Hang,
    ];
    // Calls of these follow each other, and each is tried eighteen times.
    for (operation, count) in [("PutItem", 60), ("BatchGetItem", 12), ("GetItem", 12)] {
        api.database
            .fail_on(operation, faults.into_iter().cycle().take(count));
    }
    api.database.fail_on("PutItem", [Fault::Conflict; 5]);
    let (request, file) = (request(System::Csv), votes(300));
    let (said, ()) = tokio::join!(alone(&api, &request, &file), async {
        // The counter needs the same operations, and has no such patience.
        tokio::time::sleep(Duration::from_secs(60)).await;
        api.database.recover();
        api.count().await;
    });
    assert_eq!(said, imported(300));
    assert_eq!(api.database.items_of_all_pages("feedback").len(), 300);
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_import_goes_on_where_it_was() {
    let file = votes(300);
    for written in [0, 60, 199] {
        let api = Api::new().await;
        api.database.fail_after("PutItem", written, Fault::ServerError);
        let (done, _) = alone(&api, &request(System::Csv), &file).await;
        let error = done.unwrap_err();
        assert!(
            error.ends_with("; run the same command again to go on"),
            "{error}"
        );
        api.database.recover();
        let (done, told) = import(&api, &request(System::Csv), &file).await;
        let summary = done.unwrap();
        assert_eq!(
            (summary.imported + summary.there, summary.refused),
            (300, 0),
            "{told:?}"
        );
        assert!(summary.there as usize >= written, "{summary:?}");
        assert_eq!(api.database.items_of_all_pages("feedback").len(), 300);
        assert_eq!(verified(&api).await, Ok(()));
    }
    let api = Api::new().await;
    let (bar, mut tell) = (ProgressBar::hidden(), |_: String| {});
    let stopped = load(
        &target(&api),
        &request(System::Csv),
        file.as_bytes(),
        &bar,
        &mut tell,
        ready(()),
    )
    .await;
    assert!(stopped.unwrap_err().starts_with("interrupted after 0 records;"));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_writes_nothing_and_says_the_same() {
    let api = Api::new().await;
    let file = votes(250) + "x,t,11,2026-10-01,u\n";
    assert_eq!(
        import(&api, &request(System::Csv), &votes(10)).await,
        imported(10)
    );
    api.database.requests();
    let dry = Request {
        is_dry_run: true,
        ..request(System::Csv)
    };
    let said = alone(&api, &dry, &file).await;
    let called: BTreeSet<String> = api.database.calls().into_iter().collect();
    assert_eq!(
        called,
        BTreeSet::from(["BatchGetItem", "GetItem"].map(str::to_owned))
    );
    let expected = Summary {
        imported: 240,
        there: 10,
        refused: 1,
        ..Summary::default()
    };
    let line = "line 252: value: expected an integer from -10 to 10, got the string \"11\"".to_owned();
    assert_eq!(said, (Ok(expected), vec![line]));
    assert_eq!(import(&api, &request(System::Csv), &file).await, said);
}

/// docs/import.md says which rights it takes.
#[tokio::test(start_paused = true)]
async fn it_calls_what_the_documentation_says() {
    let api = Api::new().await;
    let calls = std::sync::Mutex::new(Vec::new());
    let counting = async {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            calls.lock().unwrap().extend(api.database.requests());
            api.count().await;
            drop(api.database.requests());
        }
    };
    let (request, file) = (request(System::Csv), votes(120));
    api.database.requests();
    tokio::select! {
        said = alone(&api, &request, &file) => assert_eq!(said, imported(120)),
        () = counting => {}
    }
    calls.lock().unwrap().extend(api.database.requests());
    let mut called = BTreeSet::new();
    for (operation, body) in calls.into_inner().unwrap() {
        let table = match operation.as_str() {
            "BatchGetItem" => body["RequestItems"]
                .as_object()
                .unwrap()
                .keys()
                .next()
                .unwrap()
                .clone(),
            _ => body["TableName"].as_str().unwrap().to_owned(),
        };
        let index = body["IndexName"].as_str().map(|_| "/index/*").unwrap_or_default();
        called.insert(format!("dynamodb:{operation} {table}{index}"));
    }
    let page = include_str!("../../docs/import.md");
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `dynamodb:"))
        .flat_map(|row| {
            let (operations, table) = row.trim_end_matches(" |").split_once(" | ").unwrap();
            let table = match table {
                "the table of feedback" => "feedback",
                "its indexes (`table/NAME/index/*`)" => "feedback/index/*",
                "the table of roll-ups" => "stats",
                other => panic!("{other}"),
            };
            let operations = operations.trim_end_matches('`').split("`, `");
            operations
                .map(|operation| format!("dynamodb:{} {table}", operation.trim_start_matches("dynamodb:")))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(called, documented);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_last_records_are_in_every_index() {
    let api = Api::new().await;
    let one = "id,trace_id,value,created_at,user\n1,t,1,2026-10-01,u\n";
    api.database.fail_on("Query", [Fault::IndexLags; 5]);
    // The first look-ups find nothing; then one in each of its three indexes.
    let request = request(System::Csv);
    let (said, ()) = tokio::join!(alone(&api, &request, one), async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        api.count().await;
    });
    assert_eq!(said, imported(1));
    let indexes: Vec<String> = api
        .database
        .requests()
        .iter()
        .filter_map(|(_, body)| Some(body["IndexName"].as_str()?.to_owned()))
        .collect();
    assert!(indexes.len() >= 6 && indexes.ends_with(&["by-time", "by-trace", "by-user"].map(str::to_owned)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_counted_in_two_minutes_is_said() {
    let api = Api::new().await;
    let (done, told) = alone(&api, &request(System::Csv), &votes(3)).await;
    assert_eq!(done.unwrap().imported, 3);
    assert_eq!(
        told,
        ["analytics do not count the last records yet: look at the alarms of counting"]
    );
}

#[tokio::test(start_paused = true)]
async fn it_writes_no_faster_than_it_may() {
    let api = Api::new().await;
    let target = Target {
        max_write_units: Some(100),
        ..target(&api)
    };
    let (bar, mut tell, began) = (ProgressBar::hidden(), |_: String| {}, tokio::time::Instant::now());
    let file = votes(400);
    let request = request(System::Csv);
    let done = tokio::select! {
        done = load(&target, &request, file.as_bytes(), &bar, &mut tell, pending()) => done,
        () = async { loop { tokio::time::sleep(Duration::from_secs(1)).await; api.count().await; } } => unreachable!(),
    };
    assert_eq!(done.unwrap().imported, 400);
    // A record with three index entries takes four units; the last hundred is not waited for.
    let least = Duration::from_secs(300 * 4 / 100);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_place_of_another_or_expired_is_left_out() {
    let api = Api::new().await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "ada"}}).to_string();
    let headers = [("x-hindsight-upsert", "user")];
    api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
    let old = exported(&api, Format::Jsonl).await;
    let other = Api::new().await;
    other.time.forward(Duration::from_secs(5));
    other.call(Method::POST, PORTKEY, &headers, &body).await.ok();
    let (done, told) = import(&other, &request(System::Hindsight), &old).await;
    assert_eq!(done.unwrap().refused, 1);
    assert_eq!(
        told,
        ["line 1: user: expected a person without a vote on the trace, got one whose vote is there"]
    );
    // Expiry is by the creation.
    let short = Request {
        retention: Some(60 * DAY),
        ..request(System::Csv)
    };
    let age = |days: u32| Timestamp::from_millis(api.time.now().millis() - (DAY * days).as_millis() as u64);
    let file = format!(
        "trace_id,value,created_at\nt,1,{}\nt,2,{}\nt,3,{}\n",
        age(61),
        age(60),
        age(59)
    );
    let (done, _) = import(&api, &short, &file).await;
    let summary = done.unwrap();
    assert_eq!((summary.imported, summary.expired), (1, 2));
    let items = api.database.items("feedback");
    let expiring: Vec<u64> = items
        .iter()
        .filter_map(|item| item["expires_at"]["N"].as_str()?.parse().ok())
        .collect();
    assert_eq!(expiring, [(age(59) + 60 * DAY).seconds()]);
}

/// Several at once leave each record once.
#[tokio::test(start_paused = true)]
async fn two_imports_of_a_file_at_once_are_one() {
    let api = Api::new().await;
    let (request, file) = (request(System::Csv), votes(230));
    let both = join_all([alone(&api, &request, &file), alone(&api, &request, &file)]);
    let said = tokio::select! {
        said = both => said,
        () = async { loop { tokio::time::sleep(Duration::from_secs(1)).await; api.count().await; } } => unreachable!(),
    };
    let (mut stored, mut there) = (0, 0);
    for (done, told) in said {
        assert_eq!(told, Vec::<String>::new());
        let summary = done.unwrap();
        stored += summary.imported;
        there += summary.there;
    }
    assert_eq!((stored, there), (230, 230));
    assert_eq!(api.database.items_of_all_pages("feedback").len(), 230);
    assert_eq!(verified(&api).await, Ok(()));
}
