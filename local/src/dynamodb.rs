//! The embedded DynamoDB: dynoxide over SQLite, reached by the SDK without a socket.
//!
//! A DynamoDB on a port would let in every local process, and every web page that finds the port;
//! the SDK's own seam for transports makes one unnecessary. [`serve`] opens a port all the same
//! for those who ask for it, so that function processes can share the database.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use dynoxide::{Database, DynoxideError};
use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use shared::tables::{self, Table};
use shared::timestamp::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The prefixes of `x-amz-target` (AWS JSON 1.0 protocol of DynamoDB, and of DynamoDB Streams).
const TARGETS: [&str; 2] = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."];

/// The most DynamoDB takes of a request.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// How long a stream keeps a change, in seconds (DynamoDB's own term).
const STREAM_KEPT: u64 = 24 * 60 * 60;

/// An embedded DynamoDB with the service's tables. Clones are the same database.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    /// Where SQLite has it: a file, or the name of a shared one in memory.
    place: String,
    queue: Arc<Queue>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// A database that is gone with the process.
    pub fn memory() -> Result<Self, DynoxideError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // With a name, so that a second connection can index it.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::at(format!("file:hindsight-{count}?mode=memory&cache=shared"))
    }

    /// The database in this file, made if it is not there.
    pub fn open(path: &Path) -> Result<Self, DynoxideError> {
        Self::at(path.to_string_lossy().into_owned())
    }

    fn at(place: String) -> Result<Self, DynoxideError> {
        let database = Database::new(&place)?;
        let queue = Queue::new(database.clone()).map_err(internal)?;
        let engine = Self {
            database,
            place,
            queue: Arc::new(queue),
        };
        engine.index_stream()?;
        engine.make_tables()?;
        Ok(engine)
    }

    /// Indexes the stream's records. Without it each write looks at all of them for the next
    /// sequence number, and slows down with every one before it; and so does each look for those
    /// that are a day old.
    fn index_stream(&self) -> Result<(), DynoxideError> {
        Connection::open(&self.place)?.execute_batch(
            "CREATE INDEX IF NOT EXISTS hindsight_stream
                 ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
             CREATE INDEX IF NOT EXISTS hindsight_stream_shard
                 ON _stream_records (table_name, shard_id, CAST(sequence_number AS INTEGER));
             CREATE INDEX IF NOT EXISTS hindsight_stream_age ON _stream_records (created_at);",
        )?;
        Ok(())
    }

    /// Forgets what the stream has kept for its day. Blocks.
    pub fn trim_stream(&self, now: Timestamp) -> Result<usize, DynoxideError> {
        let connection = Connection::open(&self.place)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let end = now.seconds().saturating_sub(STREAM_KEPT);
        Ok(connection.execute("DELETE FROM _stream_records WHERE created_at < ?1", [end])?)
    }

    fn make_tables(&self) -> Result<(), DynoxideError> {
        let existing: serde_json::Value = answer(self.database.list_tables(request(&json!({}).to_string())?))
            .and_then(|json| serde_json::from_str(&json).map_err(internal))?;
        let exists = |table: &Table| {
            let names = existing["TableNames"].as_array();
            names.is_some_and(|names| names.iter().any(|name| name == table.name))
        };
        for table in tables::ALL.into_iter().filter(|table| !exists(table)) {
            self.create(table)?;
        }
        Ok(())
    }

    fn create(&self, table: &Table) -> Result<(), DynoxideError> {
        let definition = definition(table);
        self.database.create_table(request(&definition.to_string())?)?;
        if let Some(attribute) = table.expires {
            let ttl = json!({
                "TableName": table.name,
                "TimeToLiveSpecification": {"Enabled": true, "AttributeName": attribute},
            });
            self.database.update_time_to_live(request(&ttl.to_string())?)?;
        }
        Ok(())
    }

    /// Deletes what has expired, as DynamoDB does in the background. Blocks.
    pub fn sweep(&self) -> Result<usize, DynoxideError> {
        self.database.sweep_ttl()
    }

    /// An SDK client of this database.
    pub fn client(&self) -> Client {
        shared::dynamo::embedded_client(Transport(self.clone()), "http://embedded")
    }

    /// An SDK client that waits for as long as it takes: for a command beside a busy server.
    pub fn patient_client(&self) -> Client {
        let patient = self
            .client()
            .config()
            .to_builder()
            .timeout_config(TimeoutConfig::disabled());
        Client::from_conf(patient.build())
    }

    /// Answers one request of the DynamoDB API as DynamoDB would: a status and a JSON body.
    /// Blocks while the database works.
    pub fn call(&self, target: &str, body: &str) -> (u16, String) {
        respond(&self.database, target, body)
    }

    /// [`Engine::call`] when it is its turn, without blocking.
    pub async fn call_in_turn(&self, target: String, body: Vec<u8>) -> (u16, String) {
        self.queue
            .ask(target, body)
            .await
            .unwrap_or_else(|| (500, "{}".to_owned()))
    }
}

/// What CreateTable is asked for a table, which a test's DynamoDB is asked too.
pub fn definition(table: &Table) -> serde_json::Value {
    let schema = |hash: &str, range: Option<&str>| {
        let range = range.map(|range| json!({"AttributeName": range, "KeyType": "RANGE"}));
        let hash = json!({"AttributeName": hash, "KeyType": "HASH"});
        std::iter::once(hash).chain(range).collect::<Vec<_>>()
    };
    let mut attributes: Vec<&str> = vec![table.hash];
    attributes.extend(table.range);
    attributes.extend(table.indexes.iter().flat_map(|index| [index.hash, index.range]));
    attributes.sort_unstable();
    attributes.dedup();
    let indexes: Vec<_> = table
        .indexes
        .iter()
        .map(|index| {
            json!({
                "IndexName": index.name,
                "KeySchema": schema(index.hash, Some(index.range)),
                "Projection": {"ProjectionType": "ALL"},
            })
        })
        .collect();
    let mut definition = json!({
        "TableName": table.name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": schema(table.hash, table.range),
        "AttributeDefinitions": attributes
            .iter()
            .map(|name| json!({"AttributeName": name, "AttributeType": "S"}))
            .collect::<Vec<_>>(),
    });
    if !indexes.is_empty() {
        definition["GlobalSecondaryIndexes"] = json!(indexes);
    }
    if table.streams {
        definition["StreamSpecification"] =
            json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"});
    }
    definition
}

/// Calls that wait for the database, which does one at a time, in a thread of its own.
///
/// One at a time is what SQLite does anyway. A call that is given up while it waits here is gone;
/// one that waits for SQLite's lock in a thread would be done all the same, and beside it every
/// repeat of it.
///
/// It is always the same thread because of glibc's malloc, which has an arena for each thread and
/// gives back only what is free at the end of it. SQLite's cache, spread over the arenas of a pool,
/// holds them all open, and memory creeps up for as long as the server runs.
struct Queue {
    /// Taken when it ends.
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
}

struct Call {
    target: String,
    body: Vec<u8>,
    answer: oneshot::Sender<(u16, String)>,
}

impl Queue {
    fn new(database: Database) -> io::Result<Self> {
        let (calls, waiting) = mpsc::channel::<Call>();
        let work = move || {
            for Call { target, body, answer } in waiting {
                if answer.is_closed() {
                    continue;
                }
                let work = || respond(&database, &target, &String::from_utf8_lossy(&body));
                // Whoever asked learns of a panic by getting no answer; the next call gets one.
                if let Ok(done) = catch_unwind(AssertUnwindSafe(work)) {
                    // Given up meanwhile, and done all the same.
                    let _ = answer.send(done);
                }
            }
        };
        Ok(Self {
            calls: Some(calls),
            thread: Some(thread::Builder::new().name("database".to_owned()).spawn(work)?),
        })
    }

    /// `None` if the database panicked.
    async fn ask(&self, target: String, body: Vec<u8>) -> Option<(u16, String)> {
        let (answer, answered) = oneshot::channel();
        let call = Call { target, body, answer };
        self.calls.as_ref()?.send(call).ok()?;
        answered.await.ok()
    }
}

impl Drop for Queue {
    /// Waits for the call that is being done, so that SQLite closes its files in order.
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn respond(database: &Database, target: &str, body: &str) -> (u16, String) {
    match dispatch(database, target, body) {
        Ok(json) => (200, json),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

fn dispatch(database: &Database, target: &str, body: &str) -> Result<String, DynoxideError> {
    let operation = TARGETS.iter().find_map(|prefix| target.strip_prefix(prefix));
    match operation.unwrap_or(target) {
        "PutItem" => answer(database.put_item(request(body)?)),
        "GetItem" => answer(database.get_item(request(body)?)),
        "UpdateItem" => answer(database.update_item(request(body)?)),
        "DeleteItem" => answer(database.delete_item(request(body)?)),
        "Query" => answer(database.query(request(body)?)),
        "Scan" => answer(database.scan(request(body)?)),
        "TransactWriteItems" => answer(database.transact_write_items(request(body)?)),
        "ListTables" => answer(database.list_tables(request(body)?)),
        "ListStreams" => answer(database.list_streams(request(body)?)),
        "DescribeStream" => answer(database.describe_stream(request(body)?)),
        "GetShardIterator" => answer(database.get_shard_iterator(request(body)?)),
        "GetRecords" => answer(database.get_records(request(body)?)),
        "DescribeTable" => answer(database.describe_table(request(body)?)),
        other => Err(DynoxideError::ValidationException(format!(
            "the embedded DynamoDB does not offer {other}, which this service does not call"
        ))),
    }
}

fn request<T: DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| DynoxideError::ValidationException(error.to_string()))
}

fn answer<T: Serialize>(result: Result<T, DynoxideError>) -> Result<String, DynoxideError> {
    serde_json::to_string(&result?).map_err(internal)
}

fn internal(error: impl fmt::Display) -> DynoxideError {
    DynoxideError::InternalServerError(error.to_string())
}

/// The SDK's transport into the database, instead of a connection.
#[derive(Clone, Debug)]
struct Transport(Engine);

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let engine = self.0.clone();
        let target = request
            .headers()
            .get("x-amz-target")
            .unwrap_or_default()
            .to_owned();
        let body = request.body().bytes().map(<[u8]>::to_vec).unwrap_or_default();
        HttpConnectorFuture::new(async move {
            let (status, json) = engine.call_in_turn(target, body).await;
            let status = status
                .try_into()
                .map_err(|error| ConnectorError::other(Box::new(error), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(json)))
        })
    }
}

/// Serves the DynamoDB API on a listener, for function processes of the same machine, until the
/// future is dropped. Requests that a web page could have sent are refused.
pub async fn serve(engine: Engine, listener: TcpListener) -> io::Result<()> {
    let limit = DefaultBodyLimit::max(MAX_REQUEST);
    let app = Router::new().route(
        "/",
        post(async move |headers: HeaderMap, body: Bytes| {
            let text = |name: &str| {
                headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
            };
            // A page cannot set this content type without asking first, and is never told yes.
            if text(header::CONTENT_TYPE.as_str()) != "application/x-amz-json-1.0"
                || headers.contains_key(header::ORIGIN)
            {
                return (
                    StatusCode::FORBIDDEN,
                    [(header::CONTENT_TYPE, "application/json")],
                    "{}".to_owned(),
                );
            }
            let target = text("x-amz-target").to_owned();
            let (status, json) = engine.call_in_turn(target, body.to_vec()).await;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (
                status,
                [(header::CONTENT_TYPE, "application/x-amz-json-1.0")],
                json,
            )
        }),
    );
    axum::serve(listener, app.layer(limit)).await
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_call_that_is_given_up_while_it_waits_is_not_done() {
        let directory = std::env::temp_dir().join(format!("hindsight-queue-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let engine = Engine::open(&directory.join("hindsight.db")).unwrap();
        let put = async |pk: &str| {
            let item = json!({"pk": {"S": pk}, "sk": {"S": "of a test"}});
            let put = json!({"TableName": tables::STATS.name, "Item": item}).to_string();
            engine.call_in_turn("PutItem".to_owned(), put.into_bytes()).await
        };
        // While nobody can write, the first waits for SQLite, and the second for the first.
        let writer = Connection::open(&engine.place).unwrap();
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut first = pin!(put("first"));
        {
            let mut second = pin!(put("second"));
            poll_fn(|context| {
                assert!(first.as_mut().poll(context).is_pending());
                assert!(second.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(first.await.0, 200);
        assert_eq!(put("third").await.0, 200);

        let (_, found) = engine.call("Scan", &json!({"TableName": tables::STATS.name}).to_string());
        for (pk, done) in [("first", true), ("second", false), ("third", true)] {
            assert_eq!(found.contains(&format!("\"{pk}\"")), done, "{pk} in {found}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
