//! A separate service for each test, and how to call it.

mod answer;
mod database;
mod time;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
pub use bench::event::event_json;
use lambda_http::http::Method;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::access::key::KeyId;
use shared::access::keyring::Keyring;
use shared::access::registry::Registry;
use shared::config::Config;
use shared::feedback::Writer;
use shared::http::{Route, Wiring, event};
use shared::id::Workspace;
use shared::stats::change::SequenceNumber;
use shared::stats::count::Counter;
use shared::store::Store;
use shared::tables::{API_KEYS, STATS, Table};

pub use answer::Answer;
pub use database::{Database, Fault};
pub use time::Time;

use crate::dynamodb::DynamoDb;
use crate::openapi;

/// Portkey's route.
pub const PORTKEY: &str = "/v1/feedback";

/// TrueFoundry's route.
pub const TRUEFOUNDRY: &str = "/api/svc/v1/gateway-feedback";

/// One deployment: functions, database, and a key with all scopes in the workspace `test`.
#[derive(Clone)]
pub struct Api {
    pub database: Database,
    pub client: Client,
    pub config: Arc<Config>,
    pub registry: Registry,
    pub keyring: Keyring,
    pub key: String,
    pub time: Time,
}

impl Api {
    pub async fn new() -> Self {
        Self::with(Config::embedded().unwrap()).await
    }

    /// A deployment with this configuration.
    pub async fn with(config: Config) -> Self {
        let time = Time::start();
        let database = Database::new(time.clone());
        let client = database.client();
        let registry = Registry::new(client.clone(), config.table(&API_KEYS).unwrap());
        let mut api = Self {
            client,
            config: Arc::new(config),
            keyring: Keyring::new(registry.clone()),
            registry,
            key: String::new(),
            time,
            database,
        };
        api.key = api.key_for("test", &[Scope::Admin]).await;
        api
    }

    /// The dependencies of its functions.
    pub fn wiring(&self) -> Wiring {
        Wiring {
            client: self.client.clone(),
            config: Arc::clone(&self.config),
            keyring: self.keyring.clone(),
            clock: self.time.clock(),
        }
    }

    /// The name of one of its tables.
    pub fn table(&self, table: &'static Table) -> &str {
        self.config.table(table).unwrap()
    }

    /// The counter of its changes.
    pub fn counter(&self) -> Counter {
        Counter::new(self.client.clone(), self.table(&STATS))
    }

    /// Its store.
    pub fn store(&self) -> Store {
        Store::new(self.client.clone(), &self.config).unwrap()
    }

    /// The id of its key, as the API shows it.
    pub fn key_id(&self) -> &str {
        &self.key[.."hsk_0123456789abcdef".len()]
    }

    /// Its key as the writer of records in the workspace `test`.
    pub fn writer(&self) -> Writer {
        Writer {
            workspace: Workspace::parse("test").unwrap(),
            key: KeyId::parse(self.key_id()).unwrap(),
        }
    }

    /// Creates a key and returns its text.
    pub async fn key_for(&self, workspace: &str, scopes: &[Scope]) -> String {
        let workspace = Workspace::parse(workspace).unwrap();
        let (key, record) = Registry::mint(
            workspace,
            "a test's".into(),
            scopes.to_vec(),
            None,
            self.time.now(),
        )
        .unwrap();
        self.registry.insert(&record).await.unwrap();
        key.reveal()
    }

    /// Counts all uncounted changes of the feedback table, and returns how many.
    pub async fn count(&self) -> usize {
        let counter = self.counter();
        if let DynamoDb::Embedded(engine) = &self.database.store {
            return local::stream::drain(engine, &counter).await.unwrap();
        }
        let mut delivered = 0;
        for (shard, mut changes) in self.database.store.stream().await {
            let place = counter.checkpoint(&shard).await.unwrap();
            changes.retain(|change| {
                place
                    .sequence
                    .as_ref()
                    .is_none_or(|place| sequence(change) > *place)
            });
            for batch in changes.chunks(1_000) {
                let event = json!({"Records": batch, "shardId": shard, "state": {}});
                let event = serde_json::from_value(event).unwrap();
                aggregate::handle(&counter, event).await.unwrap();
                delivered += batch.len();
            }
        }
        delivered
    }

    /// All changes in the feedback table's stream, in Lambda's format. The database's clock is the machine's, on
    /// which it may be another day than in this deployment, so they happened at the deployment's time.
    pub async fn changes(&self) -> Vec<Value> {
        let shards = self.database.store.stream().await;
        let mut changes: Vec<Value> = shards.into_iter().flat_map(|(_, changes)| changes).collect();
        for change in &mut changes {
            change["dynamodb"]["ApproximateCreationDateTime"] = json!(self.time.now().seconds());
        }
        changes
    }

    /// Makes counting begin after all current changes, as if the stream had lost them.
    pub async fn forget_the_stream(&self) {
        let counter = self.counter();
        for (shard, mut changes) in self.database.store.stream().await {
            let Some(last) = changes.pop() else {
                continue;
            };
            let last = serde_json::from_value(json!([last])).unwrap();
            counter.count(&shard, last).await.unwrap();
        }
    }

    /// The same deployment, called with this key.
    pub fn as_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// The same deployment after a cold start, with empty caches.
    pub fn restarted(&self) -> Self {
        Self {
            keyring: Keyring::new(self.registry.clone()),
            ..self.clone()
        }
    }

    /// Stores a vote with this value and metadata on the trace `t`, and returns its id.
    pub async fn vote(&self, value: i64, metadata: Value) -> String {
        let body = json!({"trace_id": "t", "value": value, "metadata": metadata});
        self.post(PORTKEY, body).await.ok().id()
    }

    /// Stores a rating with this metadata on the span `s` of the trace `t`, and returns its id.
    pub async fn rate(&self, rating: i64, metadata: Value) -> String {
        let target = json!({"traceId": "t", "spanId": "s"});
        let body = json!({"target": target, "rating": rating, "metadata": metadata});
        self.post(TRUEFOUNDRY, body).await.ok().id()
    }

    /// Reads a record from Portkey's route.
    pub async fn record(&self, id: &str) -> Value {
        self.get(&format!("{PORTKEY}/{id}")).await.ok().json()
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, &[], &body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, &[], &body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], "").await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    /// Calls with this deployment's key and further headers.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("x-portkey-api-key", self.key.as_str())];
        all.extend(headers);
        self.raw(method, path, &all, body).await
    }

    /// Calls with these headers only.
    pub async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = event_json(&method, path, query, headers, body, false);
        self.event(&event).await
    }

    /// Calls with an API Gateway event in JSON. Checks that the response is as openapi.yaml describes.
    pub async fn event(&self, event: &Value) -> Answer {
        let method: Method = event["requestContext"]["http"]["method"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let path = event["rawPath"].as_str().unwrap();
        let (route, _) = Route::find(&method, path).expect("the path has a route");
        let request: LambdaRequest = serde_json::from_value(event.clone()).unwrap();
        let LambdaRequest::ApiGatewayV2(request) = request else {
            panic!("not an event of an HTTP API");
        };
        let request = LambdaRequest::ApiGatewayV2(event::sanitized(request));
        let service = local::function(route.function(), self.wiring()).unwrap();
        let response = match service.oneshot(request.into()).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect(),
            text: String::from_utf8(body.to_vec()).unwrap(),
        };
        openapi::check(route, &answer);
        answer
    }
}

fn sequence(change: &Value) -> SequenceNumber {
    SequenceNumber(change["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned())
}
