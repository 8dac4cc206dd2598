//! The DynamoDB of a test: an embedded one, or a separate database in the DynamoDB Local at
//! `AWS_ENDPOINT_URL_DYNAMODB`.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use local::dynamodb::{Engine, definition};
use serde_json::{Value, json};
use shared::dynamo::Transport;
use shared::tables::{self, FEEDBACK};
use shared::timestamp::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};

/// A database with the service's tables. Clones are the same database.
#[derive(Clone, Debug)]
pub enum DynamoDb {
    Embedded(Engine),
    Other(Arc<Other>),
}

impl DynamoDb {
    pub fn new() -> Self {
        match endpoint() {
            Some(endpoint) => Self::Other(Arc::new(Other::new(endpoint))),
            None => Self::Embedded(Engine::memory().unwrap()),
        }
    }

    /// Answers one request with a status and a JSON body. Blocks, so that a test's paused clock does not
    /// advance meanwhile.
    pub fn call(&self, operation: &str, body: &str) -> (u16, String) {
        match self {
            Self::Embedded(engine) => engine.call(operation, body),
            Self::Other(other) => other.call(operation, body),
        }
    }

    /// The current stream of the feedback table: each shard with its changes.
    pub async fn stream(&self) -> Vec<(String, Vec<Value>)> {
        match self {
            Self::Embedded(engine) => {
                let changes = local::stream::changes(engine, None).await.unwrap();
                vec![(format!("shardId-00000001-{}", FEEDBACK.name), changes)]
            }
            Self::Other(other) => other.stream(),
        }
    }

    /// Deletes expired items, as DynamoDB does in the background, and returns how many.
    pub fn sweep(&self) -> usize {
        match self {
            Self::Embedded(engine) => engine.sweep().unwrap(),
            Self::Other(other) => other.sweep(),
        }
    }

    /// The endpoint for a function's process, and the access key that it needs.
    pub async fn endpoint(&self) -> (String, String) {
        match self {
            Self::Embedded(engine) => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}", listener.local_addr().unwrap());
                tokio::spawn(local::dynamodb::serve(engine.clone(), listener));
                (endpoint, "local".to_owned())
            }
            Self::Other(other) => (other.endpoint.clone(), other.access_key.clone()),
        }
    }
}

/// The number of cases for a property test: fewer over DynamoDB Local, which takes milliseconds for each item
/// of a transaction.
pub fn cases(embedded: u32) -> u32 {
    match endpoint() {
        None => embedded,
        Some(_) => embedded.div_ceil(8),
    }
}

fn endpoint() -> Option<String> {
    env::var("AWS_ENDPOINT_URL_DYNAMODB")
        .ok()
        .filter(|endpoint| !endpoint.is_empty())
}

/// A database in a DynamoDB Local started without `-sharedDb`, where each access key has a separate database.
/// Dropping it deletes its tables and frees its access key for reuse, because DynamoDB Local keeps databases
/// until it stops.
#[derive(Debug)]
pub struct Other {
    endpoint: String,
    transport: Transport,
    access_key: String,
}

/// Access keys of databases that are not in use.
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Other {
    fn new(endpoint: String) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let free = FREE.lock().unwrap().pop();
        let other = Self {
            endpoint,
            transport: Transport::new().unwrap(),
            // Only letters and digits are allowed.
            access_key: free.unwrap_or_else(|| {
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                format!("test{}x{count}", std::process::id())
            }),
        };
        for table in tables::ALL {
            other.ask("CreateTable", &definition(table));
        }
        other
    }

    fn ask(&self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.call(operation, &body.to_string());
        assert_eq!(status, 200, "{operation}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    fn stream(&self) -> Vec<(String, Vec<Value>)> {
        let table = self.ask("DescribeTable", &json!({"TableName": FEEDBACK.name}));
        let arn = &table["Table"]["LatestStreamArn"];
        let stream = self.ask("DescribeStream", &json!({"StreamArn": arn}));
        let shards = stream["StreamDescription"]["Shards"].as_array().unwrap();
        let of = |shard: &Value| {
            let id = shard["ShardId"].as_str().unwrap();
            (id.to_owned(), self.shard(arn, id))
        };
        shards.iter().map(of).collect()
    }

    /// The changes in a shard, up to the first empty page.
    fn shard(&self, arn: &Value, id: &str) -> Vec<Value> {
        let place = json!({"StreamArn": arn, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator = self.ask("GetShardIterator", &place)["ShardIterator"].take();
        let mut changes = Vec::new();
        while !iterator.is_null() {
            let (status, answer) = self.call("GetRecords", &json!({"ShardIterator": iterator}).to_string());
            // DynamoDB Local may answer this for an empty shard.
            if status == 400 && answer.contains("TrimmedDataAccessException") && changes.is_empty() {
                break;
            }
            assert_eq!(status, 200, "GetRecords: {answer}");
            let mut page: Value = serde_json::from_str(&answer).unwrap();
            let records = page["Records"].as_array_mut().unwrap();
            if records.is_empty() {
                break;
            }
            changes.append(records);
            iterator = page["NextShardIterator"].take();
        }
        changes
    }

    fn sweep(&self) -> usize {
        let mut swept = 0;
        for table in tables::ALL {
            let Some(attribute) = table.expires else {
                continue;
            };
            let now = Timestamp::now().seconds();
            let found = self.ask(
                "Scan",
                &json!({
                    "TableName": table.name,
                    "FilterExpression": "#end < :now",
                    "ExpressionAttributeNames": {"#end": attribute},
                    "ExpressionAttributeValues": {":now": {"N": now.to_string()}},
                }),
            );
            for item in found["Items"].as_array().unwrap() {
                let attributes = std::iter::once(table.hash).chain(table.range);
                let key: serde_json::Map<_, _> = attributes
                    .map(|name| (name.to_owned(), item[name].clone()))
                    .collect();
                self.ask("DeleteItem", &json!({"TableName": table.name, "Key": key}));
                swept += 1;
            }
        }
        swept
    }

    fn call(&self, operation: &str, body: &str) -> (u16, String) {
        // Not the test's own runtime: its clock may be paused.
        static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
            let mut runtime = runtime::Builder::new_multi_thread();
            runtime.worker_threads(1).enable_all().build().unwrap()
        });
        let api = match operation {
            "DescribeStream" | "GetShardIterator" | "GetRecords" => "DynamoDBStreams_20120810",
            _ => "DynamoDB_20120810",
        };
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").unwrap();
        request.set_uri(self.endpoint.as_str()).unwrap();
        let headers = request.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amz-target", format!("{api}.{operation}"));
        // DynamoDB Local reads the access key and region from it and does not check the signature.
        let credential = format!("{}/20261121/us-east-1/dynamodb/aws4_request", self.access_key);
        headers.insert(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"),
        );
        let answer = self.transport.call(request);
        let (sender, receiver) = mpsc::channel();
        RUNTIME.spawn(async move {
            let answer = answer.await.unwrap();
            let status = answer.status().as_u16();
            let body = ByteStream::new(answer.into_body()).collect().await.unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            sender.send((status, text)).unwrap();
        });
        receiver
            .recv()
            .unwrap_or_else(|_| panic!("{operation}: no answer from {}", self.endpoint))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        for table in tables::ALL {
            let (status, answer) = self.call("DeleteTable", &json!({"TableName": table.name}).to_string());
            if status != 200 {
                assert!(std::thread::panicking(), "{answer}");
                return;
            }
        }
        if let Ok(mut free) = FREE.lock() {
            free.push(std::mem::take(&mut self.access_key));
        }
    }
}
