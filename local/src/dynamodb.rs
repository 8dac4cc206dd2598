//! The embedded DynamoDB: dynoxide over SQLite, reached by the SDK without a socket.
//!
//! The SDK's transport calls the engine directly, because a DynamoDB on a port would be open to every local
//! process and every web page that finds the port. [`serve`] opens one on request, so that function
//! processes can share the database.

mod file;
mod queue;

use std::fmt;
use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use dynoxide::{Database, DynoxideError, ImportOptions};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use shared::dynamo::attributes::{AttributeValue, Item};
use shared::tables::{self, Table};
use shared::timestamp::Timestamp;
use tokio::net::TcpListener;

use self::file::File as DatabaseFile;
use self::queue::{Connection as QueueConnection, Queue};
use crate::connections;

/// The prefixes of `x-amz-target` (AWS JSON 1.0 protocol of DynamoDB, and of DynamoDB Streams).
const TARGETS: [&str; 2] = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."];

/// The operations that write.
const WRITES: [&str; 4] = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];

/// SQLite's words for its error `SQLITE_FULL`, which dynoxide passes on.
const DISK_FULL: &str = "database or disk is full";

/// DynamoDB's largest request, in bytes.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// How long a stream keeps a change, in seconds, as DynamoDB does.
const STREAM_KEPT: u64 = 24 * 60 * 60;

/// An embedded DynamoDB with the service's tables. Clones are the same database.
#[derive(Clone)]
pub struct Engine {
    // First, because fields are dropped in their order: the queue waits for its threads, so `database` is
    // the last connection to close, and SQLite folds its log into the file and deletes the log.
    queue: Arc<Queue>,
    database: Database,
    /// SQLite's name of the database: a path, or the URI of a database in memory.
    place: String,
    /// The file, unless the database is in memory.
    file: Option<Arc<DatabaseFile>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// A database in memory, lost when the last clone is dropped.
    ///
    /// # Errors
    ///
    /// If SQLite fails.
    pub fn memory() -> Result<Self, DynoxideError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Named, so that a second connection can open it.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A single connection: connections that share a cache lock each other's tables and do not wait
        // (SQLITE_LOCKED, sqlite.org/sharedcache.html).
        Self::at(&format!("file:hindsight-{count}?mode=memory&cache=shared"), None)
    }

    /// The database in a file, created if it does not exist.
    ///
    /// # Errors
    ///
    /// If SQLite fails, or the file is not a database.
    pub fn open(path: &Path) -> Result<Self, DynoxideError> {
        Self::at(&path.to_string_lossy(), Some(path))
    }

    fn at(place: &str, path: Option<&Path>) -> Result<Self, DynoxideError> {
        let database = Database::new(place)?;
        index_stream(place)?;
        make_tables(&database)?;
        let file = path.map(DatabaseFile::at).transpose().map_err(internal)?;
        let file = file.map(Arc::new);
        // After the tables are made: each connection caches their definitions.
        let reads = file.is_some().then(|| Database::new(place)).transpose()?;
        let connection = |database: Database| -> QueueConnection {
            let file = file.clone();
            Box::new(move |target, body| respond(&database, file.as_deref(), target, body))
        };
        let queue = Queue::new(connection(database.clone()), reads.map(connection)).map_err(internal)?;
        Ok(Self {
            queue: Arc::new(queue),
            database,
            place: place.to_owned(),
            file,
        })
    }

    /// Checks that the database's file was not deleted, moved or replaced; if it was, writes are refused.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub fn check(&self) -> Result<(), String> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }

    /// Deletes changes older than a day from the stream and returns how many. Blocks.
    ///
    /// # Errors
    ///
    /// If the database's file is gone, or SQLite fails.
    pub fn trim_stream(&self, now: Timestamp) -> Result<usize, DynoxideError> {
        self.check().map_err(internal)?;
        // Must not create a database where the file was deleted.
        let flags = OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Connection::open_with_flags(&self.place, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        // Only the engine's own connection may copy the log into the database: before SQLite 3.51.3, two
        // connections that do it at once can corrupt it (sqlite.org/wal.html, "The WAL-Reset Bug").
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let end = now.seconds().saturating_sub(STREAM_KEPT);
        Ok(connection.execute("DELETE FROM _stream_records WHERE created_at < ?1", [end])?)
    }

    /// Deletes expired items, as DynamoDB does in the background, and returns how many. Blocks.
    ///
    /// # Errors
    ///
    /// If the database's file is gone, or SQLite fails.
    pub fn sweep(&self) -> Result<usize, DynoxideError> {
        self.check().map_err(internal)?;
        self.database.sweep_ttl()
    }

    /// Stores items, all of them or none, without telling the stream. It is much faster than a PutItem for each.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// If the database's file is gone, an item is no valid one of the table, or SQLite fails.
    pub fn import(&self, table: &Table, items: Vec<Item>) -> Result<(), DynoxideError> {
        self.check().map_err(internal)?;
        let items = items.into_iter().map(own_item).collect::<Result<_, _>>()?;
        self.database
            .import_items(table.name, items, ImportOptions::default())?;
        Ok(())
    }

    /// An SDK client of this database.
    pub fn client(&self) -> Client {
        shared::dynamo::embedded_client(Transport(self.clone()), "http://embedded")
    }

    /// An SDK client without timeouts, for a command that shares the database with a busy server.
    pub fn patient_client(&self) -> Client {
        let patient = self
            .client()
            .config()
            .to_builder()
            .timeout_config(TimeoutConfig::disabled());
        Client::from_conf(patient.build())
    }

    /// Answers one request of the DynamoDB API with a status and a JSON body. Blocks.
    pub fn call(&self, target: &str, body: &str) -> (u16, String) {
        respond(&self.database, self.file.as_deref(), target, body)
    }

    /// Answers one request of the DynamoDB API with a status and a JSON body, when it is its turn in the queue.
    pub async fn call_in_turn(&self, target: String, body: Vec<u8>) -> (u16, String) {
        self.queue
            .ask(target, body)
            .await
            .unwrap_or_else(|| (500, "{}".to_owned()))
    }
}

/// Indexes the stream's records. Without the indexes, each write would read all of them to find the next
/// sequence number, and each trim to find those that are a day old.
fn index_stream(place: &str) -> Result<(), DynoxideError> {
    Connection::open(place)?.execute_batch(
        "CREATE INDEX IF NOT EXISTS hindsight_stream
             ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
         CREATE INDEX IF NOT EXISTS hindsight_stream_shard
             ON _stream_records (table_name, shard_id, CAST(sequence_number AS INTEGER));
         CREATE INDEX IF NOT EXISTS hindsight_stream_age ON _stream_records (created_at);",
    )?;
    Ok(())
}

fn make_tables(database: &Database) -> Result<(), DynoxideError> {
    let existing: serde_json::Value = answer(database.list_tables(request(&json!({}).to_string())?))
        .and_then(|json| serde_json::from_str(&json).map_err(internal))?;
    let exists = |table: &Table| {
        let names = existing["TableNames"].as_array();
        names.is_some_and(|names| names.iter().any(|name| name == table.name))
    };
    for table in tables::ALL.into_iter().filter(|table| !exists(table)) {
        create(database, table)?;
    }
    Ok(())
}

fn create(database: &Database, table: &Table) -> Result<(), DynoxideError> {
    let definition = definition(table);
    database.create_table(request(&definition.to_string())?)?;
    if let Some(attribute) = table.expires {
        let ttl = json!({
            "TableName": table.name,
            "TimeToLiveSpecification": {"Enabled": true, "AttributeName": attribute},
        });
        database.update_time_to_live(request(&ttl.to_string())?)?;
    }
    Ok(())
}

/// An item of the SDK as one of the engine. The service stores strings, numbers and bytes.
fn own_item(item: Item) -> Result<dynoxide::Item, DynoxideError> {
    let own = |(name, value)| {
        let value = match value {
            AttributeValue::S(text) => dynoxide::AttributeValue::S(text),
            AttributeValue::N(number) => dynoxide::AttributeValue::N(number),
            AttributeValue::B(bytes) => dynoxide::AttributeValue::B(bytes.into_inner()),
            _ => {
                return Err(DynoxideError::ValidationException(format!(
                    "{name}: expected a string, a number or bytes"
                )));
            }
        };
        Ok((name, value))
    };
    item.into_iter().map(own).collect()
}

/// The CreateTable request for a table.
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

fn respond(database: &Database, file: Option<&DatabaseFile>, target: &str, body: &str) -> (u16, String) {
    let operation = TARGETS.iter().find_map(|prefix| target.strip_prefix(prefix));
    let operation = operation.unwrap_or(target);
    if WRITES.contains(&operation)
        && let Some(Err(gone)) = file.map(DatabaseFile::check)
    {
        return unavailable(&gone);
    }
    match dispatch(database, operation, body) {
        Ok(json) => (200, json),
        Err(error) => failure(&error, file.map(DatabaseFile::path)),
    }
}

/// The response to an error: a status and a JSON body. `file` is the database's, if it is in a file.
fn failure(error: &DynoxideError, file: Option<&Path>) -> (u16, String) {
    match (error, file) {
        (DynoxideError::InternalServerError(cause), Some(file)) if cause.contains(DISK_FULL) => {
            unavailable(&format!(
                "the disk that holds {} is full: free some space; writes are refused until then",
                file.display()
            ))
        }
        _ => (error.status_code(), error.to_json()),
    }
}

/// DynamoDB's answer while it is unavailable ("Common Error Types" of its API reference).
fn unavailable(message: &str) -> (u16, String) {
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ServiceUnavailable",
        "message": message,
    });
    (503, body.to_string())
}

fn dispatch(database: &Database, operation: &str, body: &str) -> Result<String, DynoxideError> {
    match operation {
        "PutItem" => answer(database.put_item(request(body)?)),
        "GetItem" => answer(database.get_item(request(body)?)),
        "BatchGetItem" => answer(database.batch_get_item(request(body)?)),
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
            "{other}: not supported by the embedded DynamoDB, because Hindsight does not use it"
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

/// A time as a `Date` header, rounded down to the second (RFC 9110, section 5.6.7). DynamoDB sends one with
/// every response.
pub fn date(time: Timestamp) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    // Fails only beyond the year 9999, which a `Timestamp` cannot hold.
    DateTime::from_secs(seconds)
        .fmt(Format::HttpDate)
        .unwrap_or_default()
}

/// The SDK's transport: calls the database instead of a network.
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
            let mut response = HttpResponse::new(status, SdkBody::from(json));
            response.headers_mut().insert("date", date(Timestamp::now()));
            Ok(response)
        })
    }
}

/// Serves the DynamoDB API on a listener, for function processes of the same machine, until the future is
/// dropped. Refuses requests that a web page could have sent.
///
/// # Errors
///
/// As [`connections::serve`].
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
            // A page needs a preflight to send this content type, and preflights are refused.
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
    connections::serve(listener, app.layer(limit), connections::HEAD_TIMEOUT, pending()).await
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::path::PathBuf;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_response_has_a_date_and_batch_get_item_returns_several_items() {
        let engine = Engine::memory().unwrap();
        let send = async |operation: &str, body: serde_json::Value| {
            let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
            let target = format!("{}{operation}", TARGETS[0]);
            request.headers_mut().insert("x-amz-target", target);
            let response = Transport(engine.clone()).call(request).await.unwrap();
            assert_eq!(response.status().as_u16(), 200);
            let date = response.headers().get("date").unwrap();
            let date = DateTime::from_str(date, Format::HttpDate).unwrap();
            assert_eq!(date.subsec_nanos(), 0);
            serde_json::from_slice::<serde_json::Value>(response.body().bytes().unwrap()).unwrap()
        };
        let key = |pk: &str| json!({"pk": {"S": pk}, "sk": {"S": "of a test"}});
        for pk in ["first", "second"] {
            let put = json!({"TableName": tables::STATS.name, "Item": key(pk)});
            send("PutItem", put).await;
        }
        let keys = [key("first"), key("second"), key("none")];
        let found = send(
            "BatchGetItem",
            json!({"RequestItems": {tables::STATS.name: {"Keys": keys, "ConsistentRead": true}}}),
        )
        .await;
        let items = found["Responses"][tables::STATS.name].as_array().unwrap();
        assert_eq!(items.len(), 2, "{found}");
        assert!(
            items.contains(&key("first")) && items.contains(&key("second")),
            "{found}"
        );
    }

    /// A database in a temporary directory, deleted on drop.
    struct File {
        engine: Engine,
        directory: PathBuf,
    }

    impl File {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("hindsight-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let engine = Engine::open(&directory.join("hindsight.db")).unwrap();
            Self { engine, directory }
        }

        async fn put(&self, pk: &str) -> (u16, String) {
            let item = json!({"pk": {"S": pk}, "sk": {"S": "of a test"}});
            let put = json!({"TableName": tables::STATS.name, "Item": item}).to_string();
            let put = self.engine.call_in_turn("PutItem".to_owned(), put.into_bytes());
            put.await
        }

        /// All items of a partition, by a query of the long lane.
        async fn query(&self, pk: &str) -> (u16, String) {
            let query = json!({
                "TableName": tables::STATS.name,
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": {"S": pk}},
                "ConsistentRead": true,
            });
            let query = query.to_string().into_bytes();
            self.engine.call_in_turn("Query".to_owned(), query).await
        }

        /// A connection that blocks all other writers until it commits or is dropped.
        fn lock(&self) -> Connection {
            let writer = Connection::open(&self.engine.place).unwrap();
            writer.execute_batch("BEGIN IMMEDIATE").unwrap();
            writer
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.directory));
        }
    }

    #[tokio::test]
    async fn a_call_that_is_cancelled_in_the_queue_is_not_made() {
        let file = File::new("queue");
        // The first call waits for SQLite's lock, and the second for the first.
        let writer = file.lock();
        let mut first = pin!(file.put("first"));
        {
            let mut second = pin!(file.put("second"));
            poll_fn(|context| {
                assert!(first.as_mut().poll(context).is_pending());
                assert!(second.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(first.await.0, 200);
        assert_eq!(file.put("third").await.0, 200);

        let (_, found) = file
            .engine
            .call("Scan", &json!({"TableName": tables::STATS.name}).to_string());
        for (pk, done) in [("first", true), ("second", false), ("third", true)] {
            assert_eq!(found.contains(&format!("\"{pk}\"")), done, "{pk} in {found}");
        }
    }

    #[tokio::test]
    async fn a_long_read_and_a_write_do_not_wait_for_each_other() {
        let file = File::new("beside");
        assert_eq!(file.put("there").await.0, 200);
        // The write cannot be done before the lock is gone, and the read is.
        let writer = file.lock();
        let mut write = pin!(file.put("waiting"));
        poll_fn(|context| {
            assert!(write.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        let (status, found) = file.query("there").await;
        assert!(status == 200 && found.contains(r#""Count":1"#), "{found}");
        poll_fn(|context| {
            assert!(write.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(write.await.0, 200);
    }

    #[tokio::test]
    async fn writes_are_refused_while_the_file_is_deleted_or_replaced_and_reads_go_on() {
        for replaced in [false, true] {
            let file = File::new(if replaced { "replaced" } else { "deleted" });
            let database = file.directory.join("hindsight.db");
            assert_eq!(file.put("before").await.0, 200);
            file.engine.check().unwrap();
            let away = file.directory.join("away");
            std::fs::rename(&database, &away).unwrap();
            if replaced {
                std::fs::write(&database, "another").unwrap();
            }
            let key = json!({"pk": {"S": "before"}, "sk": {"S": "of a test"}});
            let table = tables::STATS.name;
            for (operation, body) in [
                ("PutItem", json!({"TableName": table, "Item": key})),
                ("UpdateItem", json!({"TableName": table, "Key": key})),
                ("DeleteItem", json!({"TableName": table, "Key": key})),
                (
                    "TransactWriteItems",
                    json!({"TransactItems": [{"Delete": {"TableName": table, "Key": key}}]}),
                ),
            ] {
                let body = body.to_string().into_bytes();
                let (status, answer) = file.engine.call_in_turn(operation.to_owned(), body).await;
                assert_eq!(status, 503, "{operation}: {answer}");
                assert!(answer.contains("ServiceUnavailable"), "{operation}: {answer}");
                assert!(
                    answer.contains("hindsight.db was deleted, moved or replaced"),
                    "{answer}"
                );
            }
            assert!(file.engine.check().is_err());
            assert!(file.engine.trim_stream(Timestamp::now()).is_err());
            assert!(file.engine.sweep().is_err());
            let (status, found) = file.query("before").await;
            assert!(status == 200 && found.contains(r#""Count":1"#), "{found}");
            // No file was created in its place.
            assert_eq!(database.exists(), replaced);
            // Moved back, it is the same file again.
            std::fs::rename(&away, &database).unwrap();
            assert_eq!(file.put("after").await.0, 200);
        }
    }

    #[tokio::test]
    async fn a_stop_leaves_no_log_beside_the_database() {
        let directory = std::env::temp_dir().join(format!("hindsight-stop-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let database = directory.join("hindsight.db");
        let log = directory.join("hindsight.db-wal");
        // The connections close in two threads, so a wrong order fails in some rounds only.
        for _ in 0..30 {
            let engine = Engine::open(&database).unwrap();
            let other = engine.clone();
            let body = json!({
                "TableName": tables::STATS.name,
                "Item": {"pk": {"S": "there"}, "sk": {"S": "of a test"}},
            });
            let put = engine.call_in_turn("PutItem".to_owned(), body.to_string().into_bytes());
            assert_eq!(put.await.0, 200);
            let scan = json!({"TableName": tables::STATS.name}).to_string();
            let scan = engine.call_in_turn("Scan".to_owned(), scan.into_bytes());
            assert_eq!(scan.await.0, 200);
            assert!(log.exists());
            drop((engine, other));
            assert!(!log.exists());
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let small = Connection::open_in_memory().unwrap();
        small
            .execute_batch("CREATE TABLE bytes (blob BLOB); PRAGMA max_page_count = 2;")
            .unwrap();
        let full = small
            .execute("INSERT INTO bytes VALUES (zeroblob(1000000))", [])
            .unwrap_err();
        let error = internal(format!("backend: {full}"));
        let (status, answer) = failure(&error, Some(Path::new("data/hindsight.db")));
        assert_eq!(status, 503);
        assert!(answer.contains("ServiceUnavailable"), "{answer}");
        let says = "the disk that holds data/hindsight.db is full: free some space";
        assert!(answer.contains(says), "{answer}");
        // Other errors are DynamoDB's own.
        let invalid = DynoxideError::ValidationException("no".to_owned());
        let (status, answer) = failure(&invalid, None);
        assert!(
            status == 400 && answer.contains("ValidationException"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_read_sees_every_answered_write() {
        let file = File::new("order");
        for number in 0..200 {
            let pk = number.to_string();
            assert_eq!(file.put(&pk).await.0, 200);
            let (_, found) = file.query(&pk).await;
            assert!(found.contains(r#""Count":1"#), "{number}: {found}");
        }
    }
}
