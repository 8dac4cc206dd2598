//! `hindsight export`: the records of lists and nothing else, whatever interrupts it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, ready};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::CommandFactory as _;
use indicatif::ProgressBar;
use local::args::Arguments;
use local::export::{Format, Output, Request, Source, write};
use serde_json::{Value, json};
use shared::tables::FEEDBACK;
use tokio::time::Instant;

use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY};

fn source(api: &Api) -> Source {
    Source {
        client: api.client.clone(),
        table: api.table(&FEEDBACK).to_owned(),
        margin: Duration::ZERO,
        max_read_units: None,
    }
}

fn request(format: Format, filter: &[(&str, &str)]) -> Request {
    let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    Request {
        format,
        table: "feedback".to_owned(),
        workspace: "test".to_owned(),
        filter: filter.iter().map(own).collect(),
    }
}

/// Exports to memory.
async fn exported(api: &Api, request: &Request) -> String {
    let mut bytes = Vec::new();
    let bar = ProgressBar::hidden();
    let records = write(&source(api), request, Output::Stream(&mut bytes), &bar, pending()).await;
    let text = String::from_utf8(bytes).unwrap();
    if request.format == Format::Jsonl {
        assert_eq!(records, Ok(text.lines().count() as u64));
    }
    text
}

/// Exports to a file until it is done or stopped.
async fn to_file(api: &Api, request: &Request, path: &Path) -> Result<u64, String> {
    let bar = ProgressBar::hidden();
    write(&source(api), request, Output::File(path), &bar, pending()).await
}

/// The records of a list, oldest first.
async fn listed(api: &Api, query: &str) -> Vec<Value> {
    let (mut records, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{PORTKEY}?limit=100&order=asc{query}{cursor}");
        let mut page = api.get(&path).await.ok().json();
        records.append(page["data"].as_array_mut().unwrap());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return records,
        }
    }
}

fn parsed(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A directory of a test's own, deleted on drop.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hindsight-export-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("votes")
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A deployment with records of both scales, by several users and prompts.
async fn voted(count: usize) -> Api {
    let api = Api::new().await;
    let prompts = ["greeting", "summary"];
    for bulk in 0..count.div_ceil(50) {
        let vote = |place: usize| {
            let number = bulk * 50 + place;
            json!({
                "trace_id": format!("t{}", number % 7), "value": number % 21 - 10 * usize::from(number % 21 >= 10), "weight": 0.5,
                "comment": format!("comment {number}"),
                "metadata": {"_prompt": prompts[number % 2], "_user": format!("u{}", number % 5)},
            })
        };
        let votes: Vec<Value> = (0..50.min(count - bulk * 50)).map(vote).collect();
        api.post(PORTKEY, json!(votes)).await.ok();
    }
    api.rate(4, json!({"_prompt": "greeting"})).await;
    api
}

#[tokio::test]
async fn json_lines_are_the_api_s_records_to_the_letter() {
    let api = voted(230).await;
    let metadata = "{\"a\": 1.50,\n \"a\":\t\"\\ud83d\\udc4d\", \"_prompt\": \"x\\u0041\"}";
    let body = format!("{{\"trace_id\": \"letter\", \"value\": 0, \"metadata\": {metadata}}}");
    let id = api
        .call(lambda_http::http::Method::POST, PORTKEY, &[], &body)
        .await
        .ok()
        .id();
    let lines = exported(&api, &request(Format::Jsonl, &[])).await;
    assert_eq!(lines.lines().count(), 232);
    for line in lines.lines() {
        let id = id_of(line);
        let text = api.get(&format!("{PORTKEY}/{id}")).await.ok().text;
        assert_eq!(line, text.replace('\n', " "));
    }
    let last = lines.lines().last().unwrap();
    assert!(
        last.contains(&metadata.replace('\n', " ")) && last.contains(&id),
        "{last}"
    );
}

fn id_of(line: &str) -> String {
    line[r#"{"id":""#.len()..].split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_filters_are_those_of_lists_and_read_what_they_need() {
    let api = voted(120).await;
    let middle = listed(&api, "").await[50]["created_at"]
        .as_str()
        .unwrap()
        .to_owned();
    for (filter, index) in [
        (&[][..], Some("by-time")),
        (&[("prompt", "summary")], Some("by-prompt")),
        (&[("user", "u3"), ("prompt", "summary")], Some("by-user")),
        (&[("trace_id", "t3")], Some("by-trace")),
        (&[("trace_id", "t"), ("span_id", "s")], None),
        (&[("name", "")], Some("by-time")),
        (&[("reason", "wrong")], Some("by-time")),
        (&[("value_min", "-2"), ("value_max", "3")], Some("by-time")),
        (&[("rating_min", "3"), ("prompt", "greeting")], Some("by-prompt")),
        (&[("has_comment", "false")], Some("by-time")),
        (&[("from", middle.as_str())], Some("by-time")),
        (&[("to", middle.as_str())], Some("by-time")),
    ] {
        api.database.requests();
        let found = parsed(&exported(&api, &request(Format::Jsonl, filter)).await);
        // The clock of DynamoDB, and queries: docs/export.md says which rights that takes.
        for (operation, body) in api.database.requests() {
            match operation.as_str() {
                "GetItem" => assert_eq!(body["Key"]["pk"]["S"], "clock"),
                "Query" => assert_eq!(body["IndexName"].as_str(), index, "{filter:?}"),
                other => panic!("{other}"),
            }
            assert_eq!(body["TableName"], "feedback");
        }
        let query: String = filter
            .iter()
            .map(|(name, text)| format!("&{name}={text}"))
            .collect();
        assert_eq!(found, listed(&api, &query).await, "{filter:?}");
        assert_eq!(found.is_empty(), filter == [("reason", "wrong")], "{filter:?}");
    }
    let wrong = request(Format::Jsonl, &[("from", "yesterday"), ("span_id", "s")]);
    let error = to_file(&api, &wrong, Path::new("unused")).await.unwrap_err();
    assert!(
        error.contains("--trace-id: missing") && error.starts_with("--from: expected an ISO 8601"),
        "{error}"
    );
}

#[test]
fn every_filter_of_the_list_is_an_option() {
    let openapi: Value = serde_yaml_ng::from_str(include_str!("../../openapi.yaml")).unwrap();
    let parameters = openapi["paths"]["/v1/feedback"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let named = |parameter: &Value| {
        let parameter = match parameter["$ref"].as_str() {
            Some(reference) => &openapi["components"]["parameters"][reference.rsplit('/').next().unwrap()],
            None => parameter,
        };
        (parameter["in"] == "query").then(|| parameter["name"].as_str().unwrap().to_owned())
    };
    let mut names: BTreeSet<String> = parameters.iter().filter_map(named).collect();
    for paging in ["limit", "cursor", "order"] {
        assert!(names.remove(paging), "{paging}");
    }
    let command = Arguments::command();
    let export = command.find_subcommand("export").unwrap();
    let options: BTreeSet<&str> = export
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .collect();
    for name in names {
        assert!(options.contains(name.replace('_', "-").as_str()), "{name}");
    }
}

#[tokio::test]
async fn csv_has_a_row_per_record() {
    let api = Api::new().await;
    let metadata =
        json!({"_user": "ann", "_session": "s1", "_name": "helpful", "ai_model": "m", "note": "a \"b\"\nc"});
    let vote = json!({
        "trace_id": "=1,2", "value": -3, "comment": "two\r\nlines", "reasons": ["wrong", "too long"], "metadata": metadata,
    });
    let id = api.post(PORTKEY, vote).await.ok().id();
    let target = json!({"traceId": "t", "spanId": "s", "tracingProjectFQN": "acme:x"});
    let other = api
        .post(TRUEFOUNDRY, json!({"target": target, "rating": 5}))
        .await
        .ok()
        .id();
    let (first, second) = (api.record(&id).await, api.record(&other).await);
    let end = |record: &Value| {
        let text = |name: &str| record[name].as_str().unwrap();
        format!("{},{1},{1},1", text("written_by"), text("created_at"))
    };
    let expected = [
        "id,trace_id,span_id,tracing_project_fqn,scale,value,weight,rating,comment,reasons,name,user,session,prompt,\
         organisation,environment,model,metadata,written_by,created_at,updated_at,version"
            .to_owned(),
        format!(
            "{id},\"=1,2\",,,value,-3,1.0,,\"two\r\nlines\",\"[\"\"wrong\"\",\"\"too long\"\"]\",helpful,ann,s1,,,,m,\
             \"{}\",{}",
            metadata.to_string().replace('"', "\"\""),
            end(&first)
        ),
        format!("{},t,s,acme:x,rating,,,5,,[],,,,,,,unknown,,{}", second["id"].as_str().unwrap(), end(&second)),
        String::new(),
    ];
    assert_eq!(
        exported(&api, &request(Format::Csv, &[])).await,
        expected.join("\r\n")
    );
    let nothing = exported(&api, &request(Format::Csv, &[("user", "nobody")])).await;
    assert_eq!(nothing, expected[0].clone() + "\r\n");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_export_goes_on_without_a_gap_or_a_repetition() {
    for format in [Format::Jsonl, Format::Csv] {
        let api = voted(900).await;
        let whole = exported(&api, &request(format, &[])).await;
        // After each number of answers the database is gone for longer than the command waits.
        for answered in [0, 3, 8, 9, 13] {
            let (directory, request) = (Directory::new(), request(format, &[]));
            let path = directory.file();
            api.database.fail_after("Query", answered, Fault::ServerError);
            let error = to_file(&api, &request, &path).await.unwrap_err();
            api.database.recover();
            assert!(
                error.ends_with("records; run the same command again to go on"),
                "{error}"
            );
            assert!(!path.exists());
            // What a kill left after the saved position.
            let part = path.with_extension("part");
            let mut bytes = std::fs::read(&part).unwrap();
            bytes.extend_from_slice(b"half a rec");
            std::fs::write(&part, bytes).unwrap();
            let records = to_file(&api, &request, &path).await;
            assert_eq!(records, Ok(901));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "{answered}");
            assert_eq!(directory.names(), BTreeSet::from(["votes".to_owned()]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_waited_out() {
    let api = voted(300).await;
    let whole = exported(&api, &request(Format::Jsonl, &[])).await;
    for fault in [
        Fault::Throttle,
        Fault::ServerError,
        Fault::Refused,
        Fault::CutAnswer,
    ] {
        // More than three attempts of eight concurrent queries.
        api.database.fail_on("Query", vec![fault; 30]);
        assert_eq!(
            exported(&api, &request(Format::Jsonl, &[])).await,
            whole,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_stop_saves_the_position_and_the_end_stays_the_same() {
    let api = voted(60).await;
    let (directory, request) = (Directory::new(), request(Format::Jsonl, &[]));
    let path = directory.file();
    let before = exported(&api, &request).await;
    let bar = ProgressBar::hidden();
    let stopped = write(&source(&api), &request, Output::File(&path), &bar, ready(())).await;
    assert_eq!(
        stopped,
        Err("interrupted after 0 records; run the same command again to go on".to_owned())
    );
    // What comes later belongs to a later export.
    api.time.forward(Duration::from_secs(60));
    api.post(PORTKEY, json!({"trace_id": "late", "value": 1}))
        .await
        .ok();
    assert_eq!(to_file(&api, &request, &path).await, Ok(61));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert_eq!(exported(&api, &request).await.lines().count(), 62);
}

#[tokio::test]
async fn what_may_still_be_on_its_way_is_left_for_a_later_export() {
    let api = voted(10).await;
    let young = Source {
        margin: Duration::from_secs(15),
        ..source(&api)
    };
    let count = async |source: &Source| {
        let (mut bytes, bar) = (Vec::new(), ProgressBar::hidden());
        let request = request(Format::Jsonl, &[("to", "2100-01-01")]);
        write(source, &request, Output::Stream(&mut bytes), &bar, pending()).await
    };
    assert_eq!(count(&young).await, Ok(0));
    api.time.forward(Duration::from_secs(20));
    assert_eq!(count(&young).await, Ok(11));
}

#[tokio::test]
async fn only_the_same_export_touches_its_file() {
    let api = voted(10).await;
    let directory = Directory::new();
    let (path, bar) = (directory.file(), ProgressBar::hidden());
    let first = request(Format::Jsonl, &[]);
    write(&source(&api), &first, Output::File(&path), &bar, ready(()))
        .await
        .unwrap_err();
    let workspace = Request {
        workspace: "acme".to_owned(),
        ..first.clone()
    };
    for other in [
        request(Format::Csv, &[]),
        request(Format::Jsonl, &[("user", "u1")]),
        workspace,
    ] {
        let error = to_file(&api, &other, &path).await.unwrap_err();
        assert!(
            error.contains("is of another export: repeat that command"),
            "{error}"
        );
    }
    // One that is running holds it.
    let part = std::fs::File::open(path.with_extension("part")).unwrap();
    part.try_lock().unwrap();
    let error = to_file(&api, &first, &path).await.unwrap_err();
    assert!(error.starts_with("another export is writing "), "{error}");
    drop(part);
    assert_eq!(to_file(&api, &first, &path).await, Ok(11));
    let error = to_file(&api, &first, &path).await.unwrap_err();
    assert!(
        error.contains("exists: delete it, or choose another --output"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn reading_stays_below_the_rate() {
    let api = voted(1_000).await;
    let everything = request(Format::Jsonl, &[]);
    api.database.consumed();
    let begun = Instant::now();
    exported(&api, &everything).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let consumed = api.database.consumed();
    assert_eq!(consumed.keys().collect::<Vec<_>>(), ["read feedback/by-time"]);
    let units = consumed["read feedback/by-time"];
    let slow = Source {
        max_read_units: Some(2),
        ..source(&api)
    };
    let begun = Instant::now();
    write(
        &slow,
        &everything,
        Output::Stream(&mut Vec::new()),
        &ProgressBar::hidden(),
        pending(),
    )
    .await
    .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    // Whatever the last reads took is not waited for.
    assert!(
        seconds <= units / 2.0 + 0.1 && seconds >= units / 2.0 - 8.0 && seconds > 5.0,
        "{seconds} s, {units} units"
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_counted_and_the_others_are_written() {
    let api = voted(20).await;
    let mut item = api.database.items("feedback").remove(7);
    item["schema"] = json!({"N": "9"});
    api.database
        .direct("PutItem", json!({"TableName": "feedback", "Item": item}));
    let directory = Directory::new();
    let error = to_file(&api, &request(Format::Jsonl, &[]), &directory.file())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        "exported 20 records, and left out 1 that cannot be read; `stats verify` names them"
    );
    let lines = std::fs::read_to_string(directory.file()).unwrap();
    let found: BTreeMap<String, usize> = lines.lines().map(|line| (id_of(line), 1)).collect();
    assert_eq!(found.len(), 20);
    assert!(!found.contains_key(item["id"]["S"].as_str().unwrap()));
}

#[tokio::test]
async fn expired_records_and_other_workspaces_are_left_out() {
    let api = voted(10).await;
    let key = api.key_for("acme", &[shared::access::Scope::Admin]).await;
    api.as_key(&key).vote(1, json!({})).await;
    let item = api.database.items("feedback").remove(0);
    let is_own = item["sk"]["S"].as_str().unwrap().starts_with("test#");
    let item = if is_own {
        item
    } else {
        api.database.items("feedback").remove(1)
    };
    api.database.expire("feedback", &item);
    let lines = exported(&api, &request(Format::Jsonl, &[])).await;
    let ids: BTreeSet<String> = lines.lines().map(id_of).collect();
    let expected: BTreeSet<String> = listed(&api, "")
        .await
        .iter()
        .map(|record| record["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((ids.len(), ids), (10, expected));
}
