//! Reading a stream through the DynamoDB Streams API follows its reference, including the unfavorable
//! cases. Pages without a host are in docs.aws.amazon.com/amazondynamodb/latest/APIReference/.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use local::stream::api::{Endpoint, Stream};
use local::stream::mapping::{Mapping, Settings};
use local::stream::source::{Place, Reader as _, Rest, Shard, Source as _};
use serde_json::{Value, json};
use shared::stats::change::SequenceNumber;
use shared::stats::count::Counter;
use shared::tables::{FEEDBACK, STATS};
use tokio::net::TcpListener;

use crate::counting::verified;
use crate::harness::Api;

/// The next responses of each operation: status and body.
type Answers = BTreeMap<&'static str, VecDeque<(u16, Value)>>;

/// A simulated DynamoDB Streams that returns prepared responses in order.
#[derive(Clone, Default)]
struct Told {
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Told {
    fn answer(&self, operation: &'static str, answers: impl IntoIterator<Item = Value>) {
        let mut told = self.answers.lock().unwrap();
        let answers = answers.into_iter().map(|answer| {
            let status = if answer["__type"].is_null() { 200 } else { 400 };
            (status, answer)
        });
        told.entry(operation).or_default().extend(answers);
    }

    /// The requests it received for this operation.
    fn asked(&self, operation: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter().filter(|(asked, _)| asked == operation);
        asked.map(|(_, body)| body.clone()).collect()
    }

    async fn serve(&self) -> String {
        let told = self.clone();
        let handler = async move |headers: HeaderMap, body: Bytes| {
            let target = headers["x-amz-target"].to_str().unwrap().to_owned();
            let operation = target
                .strip_prefix("DynamoDBStreams_20120810.")
                .unwrap()
                .to_owned();
            let body = serde_json::from_slice(&body).unwrap();
            told.asked.lock().unwrap().push((operation.clone(), body));
            let mut answers = told.answers.lock().unwrap();
            let next = answers.get_mut(operation.as_str()).and_then(VecDeque::pop_front);
            let (status, answer) = next.unwrap_or_else(|| panic!("{operation} was not expected"));
            (StatusCode::from_u16(status).unwrap(), answer.to_string())
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(handler))).await });
        url
    }

    /// Its stream of the table `t`, which ListStreams calls `arn`.
    async fn stream(&self) -> Stream<Endpoint> {
        self.answer(
            "ListStreams",
            [json!({"Streams": [{"StreamArn": "arn", "StreamLabel": "2026"}]})],
        );
        let endpoint = Endpoint::new(&self.serve().await).unwrap();
        Stream::of_table(endpoint, "t").await.unwrap()
    }
}

fn iterator(name: &str) -> Value {
    json!({"ShardIterator": name})
}

/// A page of changes with these numbers.
fn page(numbers: &[&str], next: Option<&str>) -> Value {
    let record = |number: &&str| json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": number}});
    let records: Vec<Value> = numbers.iter().map(record).collect();
    match next {
        Some(next) => json!({"Records": records, "NextShardIterator": next}),
        None => json!({"Records": records}),
    }
}

fn refusal(kind: &str) -> Value {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "no"})
}

fn after(number: &str) -> Place {
    Place::After(SequenceNumber(number.to_owned()))
}

async fn numbers(reader: &mut local::stream::api::ShardReader<Endpoint>) -> (Vec<String>, Rest, bool) {
    let page = reader.read(1_000).await.unwrap();
    let numbers = page.changes.into_iter().map(|change| change.number.0);
    (numbers.collect(), page.rest, page.trimmed)
}

/// API_streams_ListStreams.html and API_streams_DescribeStream.html: both return pages. A table with
/// several streams has all of them listed for a day.
#[tokio::test]
async fn streams_and_shards_come_in_pages() {
    let told = Told::default();
    told.answer(
        "ListStreams",
        [
            json!({"Streams": [{"StreamArn": "old", "StreamLabel": "2026-11-20T00:00:00.000"}], "LastEvaluatedStreamArn": "old"}),
            json!({"Streams": [
                {"StreamArn": "new", "StreamLabel": "2026-11-21T00:00:00.000"},
                {"StreamArn": "older", "StreamLabel": "2026-11-19T00:00:00.000"},
            ]}),
        ],
    );
    told.answer(
        "DescribeStream",
        [
            json!({"StreamDescription": {
                "Shards": [{"ShardId": "b", "ParentShardId": "a", "SequenceNumberRange": {}}],
                "LastEvaluatedShardId": "b",
            }}),
            json!({"StreamDescription": {"Shards": [{"ShardId": "a", "SequenceNumberRange": {}}]}}),
        ],
    );
    let endpoint = Endpoint::new(&told.serve().await).unwrap();
    let stream = Stream::of_table(endpoint, "t").await.unwrap();
    assert_eq!(stream.arn(), "new");
    let shard = |id: &str, parent: Option<&str>| Shard {
        id: id.to_owned(),
        parent: parent.map(str::to_owned),
    };
    assert_eq!(
        stream.shards().await.unwrap(),
        [shard("b", Some("a")), shard("a", None)]
    );
    let asked = told.asked("ListStreams");
    assert_eq!(
        asked[1],
        json!({"TableName": "t", "ExclusiveStartStreamArn": "old"})
    );
    let asked = told.asked("DescribeStream");
    assert_eq!(
        asked[1],
        json!({"StreamArn": "new", "ExclusiveStartShardId": "b"})
    );
}

/// API_streams_GetRecords.html: "GetRecords returns an empty list. Note that it might take multiple
/// calls to get to a portion of the shard that contains stream records"; and of NextShardIterator: "If
/// this parameter is set to null, the shard has been closed and the requested iterator will not return
/// any more data".
#[tokio::test]
async fn an_empty_page_continues_and_a_null_iterator_ends() {
    let told = Told::default();
    told.answer("GetShardIterator", [iterator("1")]);
    told.answer(
        "GetRecords",
        [
            page(&[], Some("2")),
            page(&["5", "6"], Some("3")),
            page(&["7"], None),
        ],
    );
    let stream = told.stream().await;
    let mut reader = stream.reader("s", Place::TrimHorizon);
    let texts = |numbers: &[&str]| {
        numbers
            .iter()
            .map(|number| (*number).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut reader).await, (texts(&[]), Rest::More, false));
    assert_eq!(
        numbers(&mut reader).await,
        (texts(&["5", "6"]), Rest::More, false)
    );
    assert_eq!(numbers(&mut reader).await, (texts(&["7"]), Rest::Closed, false));
    // No further request is sent.
    assert_eq!(numbers(&mut reader).await, (texts(&[]), Rest::Closed, false));
    let asked = told.asked("GetRecords");
    let iterators: Vec<&Value> = asked.iter().map(|asked| &asked["ShardIterator"]).collect();
    assert_eq!(iterators, ["1", "2", "3"]);
    assert_eq!(asked[0]["Limit"], 1_000);
}

/// API_streams_GetRecords.html: "A shard iterator expires 15 minutes after it is retrieved using the
/// GetShardIterator action." Reading continues after the last change that was read.
#[tokio::test]
async fn an_iterator_that_has_expired_is_replaced() {
    let told = Told::default();
    told.answer("GetShardIterator", [iterator("1"), iterator("2")]);
    let expired = refusal("ExpiredIteratorException");
    told.answer(
        "GetRecords",
        [page(&["5"], Some("1b")), expired, page(&["6"], Some("2b"))],
    );
    let stream = told.stream().await;
    let mut reader = stream.reader("s", after("4"));
    assert_eq!(numbers(&mut reader).await.0, ["5"]);
    assert_eq!(
        numbers(&mut reader).await,
        (vec!["6".to_owned()], Rest::More, false)
    );
    let asked = told.asked("GetShardIterator");
    let of = |number: &str| {
        json!({
            "StreamArn": "arn", "ShardId": "s",
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number,
        })
    };
    assert_eq!(asked, [of("4"), of("5")]);
}

/// API_streams_GetShardIterator.html and API_streams_GetRecords.html, TrimmedDataAccessException: at "a
/// sequence number older than the trim point (24 hours)", and when "a stream record in the shard exceeds
/// the 24 hour period and is trimmed" between the two. Reading continues with the oldest change, and
/// reports that some are lost.
#[tokio::test]
async fn trimmed_changes_are_skipped_and_reported() {
    let told = Told::default();
    let trimmed = || refusal("TrimmedDataAccessException");
    told.answer("GetShardIterator", [trimmed(), iterator("1"), iterator("2")]);
    told.answer(
        "GetRecords",
        [page(&["50"], Some("1b")), trimmed(), page(&["90"], Some("2b"))],
    );
    let stream = told.stream().await;
    let mut reader = stream.reader("s", after("4"));
    assert_eq!(
        numbers(&mut reader).await,
        (vec!["50".to_owned()], Rest::More, true)
    );
    assert_eq!(
        numbers(&mut reader).await,
        (vec!["90".to_owned()], Rest::More, true)
    );
    let asked = told.asked("GetShardIterator");
    let horizon = json!({"StreamArn": "arn", "ShardId": "s", "ShardIteratorType": "TRIM_HORIZON"});
    assert_eq!(asked[1..], [horizon.clone(), horizon]);
}

/// API_streams_GetRecords.html, LimitExceededException and InternalServerError: the call is retried with
/// the same iterator, so no change is skipped.
#[tokio::test]
async fn a_failed_call_is_retried_at_the_same_position() {
    let told = Told::default();
    told.answer("GetShardIterator", [iterator("1")]);
    let busy = refusal("LimitExceededException");
    told.answer(
        "GetRecords",
        [page(&[], Some("2")), busy, page(&["6"], Some("3"))],
    );
    let stream = told.stream().await;
    let mut reader = stream.reader("s", Place::TrimHorizon);
    assert!(numbers(&mut reader).await.0.is_empty());
    let refused = reader.read(10).await.unwrap_err();
    assert!(refused.contains("LimitExceededException"), "{refused}");
    assert_eq!(numbers(&mut reader).await.0, ["6"]);
    let iterators: Vec<Value> = told
        .asked("GetRecords")
        .into_iter()
        .map(|mut asked| asked["ShardIterator"].take())
        .collect();
    assert_eq!(iterators, ["1", "2", "2"]);
}

/// The whole path over HTTP: votes, the stream of their table, the model, and `aggregate`. With
/// `AWS_ENDPOINT_URL_DYNAMODB`, the stream is that DynamoDB's, such as DynamoDB Local's.
#[tokio::test]
async fn votes_are_counted_from_a_stream_that_is_read_by_http() {
    let api = Api::new().await;
    for value in [1, -1, 5] {
        api.post("/v1/feedback", json!({"trace_id": "t", "value": value}))
            .await
            .ok();
    }
    let id = api.vote(7, Value::Null).await;
    api.delete(&format!("/v1/feedback/{id}")).await.ok();
    let (url, access_key) = api.database.endpoint().await;
    let endpoint = Endpoint::new(&url).unwrap().with_access_key(&access_key);
    let stream = Stream::of_table(endpoint, api.table(&FEEDBACK)).await.unwrap();
    let counter = api.counter();
    let function = async |event: Value| {
        let event = serde_json::from_value(event).map_err(|error| error.to_string())?;
        let outcome = aggregate::handle(&counter, event).await;
        outcome.map_err(|problem| problem.log_message())?;
        Ok(json!({"state": {}}))
    };
    let mapping = Mapping::new(stream, function, Settings::local());
    mapping.catch_up().await;
    assert_eq!(mapping.take_failures(), Vec::<Value>::new());
    assert_eq!(verified(&api).await, Ok(()));
    mapping.catch_up().await;
    assert_eq!(verified(&api).await, Ok(()));
}

/// Counts like `cargo run` does: new changes, and after a restart those since the stop.
#[tokio::test]
async fn the_server_counts_what_comes_and_goes_on_after_a_restart() {
    let api = Api::new().await;
    let database = api.database.engine();
    for _ in 0..2 {
        api.post("/v1/feedback", json!({"trace_id": "t", "value": 1}))
            .await
            .ok();
        let counter = Counter::new(database.client(), api.table(&STATS));
        let server = tokio::spawn(local::stream::feed(database.clone(), counter));
        while verified(&api).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        api.post("/v1/feedback", json!({"trace_id": "t", "value": 2}))
            .await
            .ok();
        while verified(&api).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        server.abort();
        let _ = server.await;
        api.post("/v1/feedback", json!({"trace_id": "t", "value": 3}))
            .await
            .ok();
    }
    assert_eq!(api.count().await, 1);
    assert_eq!(verified(&api).await, Ok(()));
}
