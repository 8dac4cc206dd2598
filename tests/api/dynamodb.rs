//! The DynamoDB that a test's tables are in: an embedded one of its own, or the one at
//! `AWS_ENDPOINT_URL_DYNAMODB`, in which the test's tables have names of their own.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use local::dynamodb::{Engine, definition};
use serde_json::json;
use shared::config::Config;
use shared::dynamo::Transport;
use shared::tables;
use shared::timestamp::Timestamp;
use tokio::runtime::{self, Runtime};

/// A database with the service's tables. Clones are the same database.
#[derive(Clone, Debug)]
pub enum DynamoDb {
    Embedded(Engine),
    Other(Arc<Other>),
}

impl DynamoDb {
    pub fn new() -> Self {
        match env::var("AWS_ENDPOINT_URL_DYNAMODB") {
            Ok(endpoint) if !endpoint.is_empty() => Self::Other(Arc::new(Other::new(endpoint))),
            _ => Self::Embedded(Engine::memory().unwrap()),
        }
    }

    /// Answers one request: a status and a JSON body. Blocks until it is answered, so that a test's
    /// clock stands still meanwhile, wherever the database is.
    pub fn call(&self, operation: &str, body: &str) -> (u16, String) {
        match self {
            Self::Embedded(engine) => engine.call(operation, body),
            Self::Other(other) => other.call(operation, body),
        }
    }

    /// What a table is called here.
    pub fn name(&self, table: &str) -> String {
        match self {
            Self::Embedded(_) => table.to_owned(),
            Self::Other(other) => other.name(table),
        }
    }

    /// Which table it is that is called so here.
    pub fn table<'n>(&self, name: &'n str) -> &'n str {
        match self {
            Self::Embedded(_) => name,
            Self::Other(other) => name.strip_prefix(&other.prefix).unwrap_or(name),
        }
    }

    /// The same configuration with the tables that are here.
    pub fn configure(&self, config: Config) -> Config {
        Config {
            feedback: self.name(&config.feedback),
            idempotency: self.name(&config.idempotency),
            api_keys: self.name(&config.api_keys),
            stats: self.name(&config.stats),
            ..config
        }
    }
}

/// A DynamoDB that is reached by HTTP, takes any credentials, and has a table as soon as it was asked
/// for: moto and DynamoDB Local are such. The tables are deleted with it.
#[derive(Debug)]
pub struct Other {
    endpoint: String,
    transport: Transport,
    prefix: String,
}

impl Other {
    fn new(endpoint: String) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::now().millis();
        let other = Self {
            endpoint,
            transport: Transport::new().unwrap(),
            prefix: format!("test-{now}-{}-{count}-", std::process::id()),
        };
        for table in tables::ALL {
            let mut definition = definition(table);
            definition["TableName"] = json!(other.name(table.name));
            let (status, answer) = other.call("CreateTable", &definition.to_string());
            assert_eq!(status, 200, "{answer}");
        }
        other
    }

    fn name(&self, table: &str) -> String {
        format!("{}{table}", self.prefix)
    }

    fn call(&self, operation: &str, body: &str) -> (u16, String) {
        // Not the test's own, whose clock may be stopped.
        static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
            let mut runtime = runtime::Builder::new_multi_thread();
            runtime.worker_threads(1).enable_all().build().unwrap()
        });
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").unwrap();
        request.set_uri(self.endpoint.as_str()).unwrap();
        let headers = request.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        // For the region in it: whoever takes any credentials looks at no signature.
        headers.insert(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20261121/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=0",
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
            let (status, answer) = self.call(
                "DeleteTable",
                &json!({"TableName": self.name(table.name)}).to_string(),
            );
            assert!(status == 200 || std::thread::panicking(), "{answer}");
        }
    }
}
