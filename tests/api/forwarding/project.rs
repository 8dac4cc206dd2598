//! A Langfuse project, as its source has it (github.com/langfuse/langfuse at v4.9.0; the parts cited did the same at
//! v3.49.0), and worse: responses get lost, events of an id that have the same time are merged in the wrong order, and
//! what was taken is processed late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use langfuse::settings::{Address, Project};
use serde_json::{Map, Value, json};
use shared::timestamp::Timestamp;

use super::random::Random;
use crate::harness::Time;

/// What happens between a request and its response.
pub type Meddler = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A fault of Langfuse, or on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and perhaps a Retry-After, and does nothing.
    Status(u16, Option<&'static str>),
    /// Never answers, and does nothing.
    Hang,
    /// Does it, and never answers.
    LostAnswer,
    /// Refuses the connection.
    Refused,
    /// Answers 207 with an error of this status for the event, and does nothing.
    EventError(u16),
    /// Does it, and answers with something else.
    Garbled,
    /// The function's process is gone, before the request or after it.
    Crash(bool),
}

/// How this project behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// Whether a delete removes the events in the blob storage too (`LANGFUSE_ENABLE_BLOB_STORAGE_FILE_LOG`).
    pub forgets_events: bool,
    /// Whether the worker reads the row before it merges (`ClickhouseReadSkipCache`).
    pub reads_rows: bool,
}

/// A Langfuse project.
#[derive(Clone)]
pub struct Langfuse {
    state: Arc<Mutex<State>>,
    time: Time,
    /// Ends the invocation that makes a request.
    pub crash: Arc<tokio::sync::Notify>,
}

impl fmt::Debug for Langfuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Langfuse").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    kind: Kind,
    random: Random,
    /// The blob storage: the events of a score by the name of their file, with when they were stored.
    events: BTreeMap<String, BTreeMap<String, (Value, u64)>>,
    /// Every event id there was.
    event_ids: BTreeSet<String>,
    /// ClickHouse's `scores`.
    rows: Vec<Row>,
    /// The next row's `event_ts`.
    event_ts: u64,
    /// What the worker has yet to do, with when.
    jobs: Vec<(u64, Job)>,
    faults: Vec<Fault>,
    /// Of a hundred requests, how many have a fault.
    trouble: u64,
    meddler: Option<Meddler>,
    requests: Vec<(String, String, Value)>,
}

#[derive(Clone, Debug)]
enum Job {
    Ingest(String),
    Delete(String),
}

/// A row of `scores`, whose sorting key is project, `toDate(timestamp)`, name and id
/// (`packages/shared/clickhouse/migrations/unclustered/0003_scores.up.sql`).
#[derive(Clone, Debug)]
struct Row {
    event_ts: u64,
    fields: Map<String, Value>,
}

impl Row {
    fn key(&self) -> (String, String, String) {
        let text = |name: &str| self.fields[name].as_str().unwrap().to_owned();
        (text("timestamp")[..10].to_owned(), text("name"), text("id"))
    }
}

/// The keys that a merge leaves as they are (`immutableEntityKeys`).
const IMMUTABLE: [&str; 4] = ["id", "timestamp", "traceId", "environment"];

/// How long the blob storage of Langfuse Cloud keeps events (langfuse.com/faq/all/tracing-data-updates).
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const MINUTE: u64 = 60_000;

impl Langfuse {
    pub fn new(time: Time, kind: Kind, seed: u64) -> Self {
        let state = State {
            kind,
            random: Random(seed),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            time,
            crash: Arc::default(),
        }
    }

    /// The address and keys of it.
    pub fn project() -> Project {
        Project {
            address: Address::parse("https://langfuse.example.com").unwrap(),
            public_key: "pk-lf-1".to_owned(),
            secret_key: "sk-lf-secret".to_owned(),
        }
    }

    /// Has so many of a hundred requests go wrong.
    pub fn trouble(&self, percent: u64) {
        self.state.lock().unwrap().trouble = percent;
    }

    /// Has the next requests go wrong like this.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state.lock().unwrap();
        state.faults.extend(faults);
    }

    /// Has this happen before and after each request.
    pub fn meddle(&self, meddler: Option<Meddler>) {
        self.state.lock().unwrap().meddler = meddler;
    }

    /// The requests since the last call of this: method, path and body.
    pub fn requests(&self) -> Vec<(String, String, Value)> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Processes what is due by now.
    pub fn work(&self) {
        let now = self.time.now().millis();
        let mut state = self.state.lock().unwrap();
        loop {
            let due = state.jobs.iter().map(|(at, _)| *at).min().filter(|at| *at <= now);
            let Some(due) = due else {
                break;
            };
            let place = state.jobs.iter().position(|(at, _)| *at == due).unwrap();
            let (at, job) = state.jobs.remove(place);
            state.process(job, at);
        }
    }

    /// When the next is due.
    pub fn next_job(&self) -> Option<Timestamp> {
        let state = self.state.lock().unwrap();
        state.jobs.iter().map(|(at, _)| Timestamp::from_millis(*at)).min()
    }

    /// The scores that a user sees: `SELECT … FROM scores FINAL`, where of the rows of a key the last one counts.
    pub fn scores(&self) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let mut last: BTreeMap<_, &Row> = BTreeMap::new();
        for row in &state.rows {
            let there = last.entry(row.key()).or_insert(row);
            if there.event_ts < row.event_ts {
                *there = row;
            }
        }
        last.into_values()
            .map(|row| Value::Object(row.fields.clone()))
            .collect()
    }

    async fn answer(
        self,
        method: String,
        path: String,
        authorization: String,
        body: String,
    ) -> Result<HttpResponse, ConnectorError> {
        // Lets other tasks run first, as on a network.
        tokio::task::yield_now().await;
        let (fault, meddler) = {
            let mut state = self.state.lock().unwrap();
            let json = serde_json::from_str(&body).unwrap_or_default();
            state.requests.push((method.clone(), path.clone(), json));
            (state.fault(), state.meddler.clone())
        };
        if let Some(meddler) = &meddler {
            meddler().await;
        }
        match &fault {
            Some(Fault::Status(status, retry_after)) => {
                return Ok(response(*status, *retry_after, "Too Many Requests".to_owned()));
            }
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::Refused) => return Err(ConnectorError::io("connection refused".into())),
            Some(Fault::Crash(false)) => {
                self.crash.notify_one();
                return std::future::pending().await;
            }
            Some(Fault::EventError(status)) if method == "POST" => {
                let body: Value = serde_json::from_str(&body).unwrap();
                let error = json!({"id": body["batch"][0]["id"], "status": status, "message": "Invalid request data"});
                return Ok(response(
                    207,
                    None,
                    json!({"successes": [], "errors": [error]}).to_string(),
                ));
            }
            _ => {}
        }
        let pair = Self::project();
        let expected = STANDARD.encode(format!("{}:{}", pair.public_key, pair.secret_key));
        let done = if authorization == format!("Basic {expected}") {
            let mut state = self.state.lock().unwrap();
            state.take(&method, &path, &body, self.time.now().millis())
        } else {
            response(
                401,
                None,
                json!({"error": "UnauthorizedError", "message": "Invalid credentials"}).to_string(),
            )
        };
        if let Some(meddler) = &meddler {
            meddler().await;
        }
        match fault {
            Some(Fault::LostAnswer) => std::future::pending().await,
            Some(Fault::Garbled) => Ok(response(207, None, "<html>".to_owned())),
            Some(Fault::Crash(true)) => {
                self.crash.notify_one();
                std::future::pending().await
            }
            _ => Ok(done),
        }
    }
}

fn response(status: u16, retry_after: Option<&'static str>, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    if let Some(text) = retry_after {
        response.headers_mut().insert("retry-after", text);
    }
    response
}

impl State {
    fn fault(&mut self) -> Option<Fault> {
        if !self.faults.is_empty() {
            return Some(self.faults.remove(0));
        }
        if self.random.below(100) >= self.trouble {
            return None;
        }
        let faults = [
            Fault::Status(429, Some("7")),
            Fault::Status(429, None),
            Fault::Status(500, None),
            Fault::Status(503, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            Fault::Hang,
            Fault::LostAnswer,
            Fault::Refused,
            Fault::EventError(500),
            Fault::Garbled,
            Fault::Crash(false),
            Fault::Crash(true),
        ];
        Some(faults[self.random.place(faults.len())].clone())
    }

    /// Takes a request: `web/src/pages/api/public/ingestion.ts` and `scores/[scoreId].ts`.
    fn take(&mut self, method: &str, path: &str, body: &str, now: u64) -> HttpResponse {
        match (method, path) {
            ("POST", "/api/public/ingestion") => {
                let body: Value = serde_json::from_str(body).unwrap();
                let batch = body["batch"].as_array().unwrap();
                let mut successes = Vec::new();
                for event in batch {
                    check_event(event);
                    let event_id = event["id"].as_str().unwrap();
                    // The worker skips an event id that it has processed in the last five minutes.
                    assert!(
                        self.event_ids.insert(event_id.to_owned()),
                        "an event id is used twice"
                    );
                    let score = event["body"]["id"].as_str().unwrap();
                    let files = self.events.entry(score.to_owned()).or_default();
                    files.insert(event_id.to_owned(), (event.clone(), now));
                    let late = match self.random.below(10) {
                        0 => self.random.below(10 * MINUTE),
                        _ => 5_000 + self.random.below(15_000),
                    };
                    self.jobs.push((now + late, Job::Ingest(score.to_owned())));
                    successes.push(json!({"id": event_id, "status": 201}));
                }
                response(
                    207,
                    None,
                    json!({"successes": successes, "errors": []}).to_string(),
                )
            }
            ("DELETE", path) => {
                let score = path.strip_prefix("/api/public/scores/").unwrap();
                assert!(
                    !score.is_empty()
                        && score
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                );
                // Whether there is such a score is not looked at.
                let late = self.random.below(50_000);
                self.jobs.push((now + late, Job::Delete(score.to_owned())));
                response(
                    202,
                    None,
                    json!({"message": "Score deletion queued successfully"}).to_string(),
                )
            }
            _ => response(404, None, "{}".to_owned()),
        }
    }

    /// The worker: `worker/src/queues/ingestionQueue.ts` and `processClickhouseScoreDelete.ts`.
    fn process(&mut self, job: Job, now: u64) {
        for files in self.events.values_mut() {
            let oldest = now.saturating_sub(u64::try_from(KEPT.as_millis()).unwrap());
            files.retain(|_, (_, stored_at)| *stored_at >= oldest);
        }
        match job {
            Job::Delete(score) => {
                // `DELETE FROM scores WHERE id in (…)`: of the rows that are there now.
                self.rows.retain(|row| row.fields["id"] != score.as_str());
                if self.kind.forgets_events {
                    self.events.remove(&score);
                }
            }
            Job::Ingest(score) => {
                let files = self.events.get(&score).cloned().unwrap_or_default();
                let mut events: Vec<Value> = files.into_values().map(|(event, _)| event).collect();
                if events.is_empty() {
                    // "No events found": a delete has removed them.
                    return;
                }
                // `toTimeSortedEventList` says of two creates with the same time that the one comes before the other,
                // whichever they are. What V8 makes of it is the reverse of the order of their files.
                events.reverse();
                events.sort_by_key(|event| event["timestamp"].as_str().unwrap().to_owned());
                let first = events[0]["timestamp"].as_str().unwrap().to_owned();
                let row = self
                    .rows
                    .iter()
                    .filter(|row| row.fields["id"] == score.as_str())
                    .filter(|row| row.fields["timestamp"].as_str().unwrap() >= first.as_str())
                    .max_by_key(|row| row.event_ts)
                    .filter(|_| self.kind.reads_rows)
                    .map(|row| row.fields.clone());
                let records = events.iter().map(|event| {
                    let mut fields = event["body"].as_object().unwrap().clone();
                    fields.insert("timestamp".to_owned(), event["timestamp"].clone());
                    fields
                });
                let mut merged = Map::new();
                for record in row.into_iter().chain(records) {
                    merge(&mut merged, record);
                }
                self.event_ts += 1;
                self.rows.push(Row {
                    event_ts: self.event_ts,
                    fields: merged,
                });
            }
        }
    }
}

/// `overwriteObject`: what a record lacks stays, null overwrites, and metadata are merged by lodash's `merge`, arrays
/// element by element. Then all metadata become texts.
fn merge(merged: &mut Map<String, Value>, record: Map<String, Value>) {
    for (name, value) in record {
        let is_kept = IMMUTABLE.contains(&name.as_str()) && merged.contains_key(&name);
        match value {
            Value::Object(members) if name == "metadata" => {
                let there = merged.entry(name).or_insert_with(|| json!({}));
                deep_merge(there, Value::Object(members));
                for text in there.as_object_mut().unwrap().values_mut() {
                    if !text.is_string() {
                        *text = text.to_string().into();
                    }
                }
            }
            value if !is_kept => drop(merged.insert(name, value)),
            _ => {}
        }
    }
}

fn deep_merge(there: &mut Value, new: Value) {
    match (there, new) {
        (Value::Object(there), Value::Object(new)) => {
            for (name, value) in new {
                deep_merge(there.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(there), Value::Array(new)) => {
            for (place, value) in new.into_iter().enumerate() {
                match there.get_mut(place) {
                    Some(there) => deep_merge(there, value),
                    None => there.push(value),
                }
            }
        }
        (there, new) => *there = new,
    }
}

/// Checks an event: `ScoreEvent` and `ScoreBody` in Langfuse's OpenAPI (`web/public/generated/api/openapi.yml`), and
/// what `packages/shared/src/server/ingestion/types.ts` adds at v3.49.0, where a trace id was required.
fn check_event(event: &Value) {
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let known = |value: &Value, known: &[&str]| {
        let unknown: Vec<_> = names(value)
            .into_iter()
            .filter(|name| !known.contains(&name.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?} in {value}");
    };
    known(event, &["id", "timestamp", "type", "metadata", "body"]);
    assert_eq!(event["type"], "score-create");
    let id = event["id"].as_str().unwrap();
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "a UUIDv4: {id}");
    let timestamp = event["timestamp"].as_str().unwrap();
    assert!(
        Timestamp::parse(timestamp).is_some_and(|parsed| parsed.to_string() == timestamp),
        "{timestamp}"
    );
    let body = &event["body"];
    known(
        body,
        &[
            "id",
            "traceId",
            "sessionId",
            "observationId",
            "datasetRunId",
            "name",
            "environment",
            "queueId",
            "value",
            "comment",
            "metadata",
            "dataType",
            "configId",
        ],
    );
    let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("{name}: {body}"));
    assert!((1..=800).contains(&text("id").len()) && !text("id").contains('\r'));
    assert!(!text("name").trim().is_empty() && !text("traceId").is_empty());
    assert!(body["observationId"].is_null() || !text("observationId").is_empty());
    assert_eq!(text("dataType"), "NUMERIC");
    assert!(body["value"].is_number());
    assert!(body["comment"].is_null() || body["comment"].is_string());
    assert!(body["metadata"].is_object());
    if let Some(environment) = body["environment"].as_str() {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        assert!((1..=40).contains(&environment.len()) && environment.bytes().all(is_plain));
        assert!(!environment.starts_with("langfuse"));
    }
}

impl HttpConnector for Langfuse {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().to_owned();
        let path = uri
            .strip_prefix("https://langfuse.example.com")
            .unwrap()
            .to_owned();
        let authorization = request.headers().get("authorization").unwrap().to_owned();
        assert_eq!(request.headers().get("content-type"), Some("application/json"));
        let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
        let method = request.method().to_owned();
        HttpConnectorFuture::new(self.clone().answer(method, path, authorization, body))
    }
}
