//! A service of a test's own, and how to call it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
pub use bench::event::event_json;
use lambda_http::http::Method;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use local::dynamodb::{Engine, date};
use serde_json::{Value, json};
use shared::access::Scope;
use shared::access::keyring::Keyring;
use shared::access::registry::Registry;
use shared::config::Config;
use shared::http::{Route, Wiring, event};
use shared::id::Workspace;
use shared::stats::change::SequenceNumber;
use shared::stats::count::Counter;
use shared::store::Store;
use shared::tables::{API_KEYS, STATS, Table};
use shared::timestamp::{Clock, Timestamp};

use crate::dynamodb::DynamoDb;
use crate::{key_limits, openapi};

/// One deployment: functions, database, and a key that opens everything in the workspace `test`.
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

    /// A deployment that is configured so.
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

    /// What its functions are made with.
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

    /// What counts its changes.
    pub fn counter(&self) -> Counter {
        Counter::new(self.client.clone(), self.table(&STATS))
    }

    /// Its store of feedback.
    pub fn store(&self) -> Store {
        Store::new(self.client.clone(), &self.config).unwrap()
    }

    /// A new key.
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

    /// Counts all changes of the feedback table that are not counted yet.
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

    /// Every change that the stream of the feedback table tells of, as Lambda brings them.
    pub async fn changes(&self) -> Vec<Value> {
        let shards = self.database.store.stream().await;
        shards.into_iter().flat_map(|(_, changes)| changes).collect()
    }

    /// Lets counting begin after all changes there are now, as if they had been forgotten unread.
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

    /// The same deployment after a cold start: with nothing remembered.
    pub fn restarted(&self) -> Self {
        Self {
            keyring: Keyring::new(self.registry.clone()),
            ..self.clone()
        }
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

    /// Calls with the key of this deployment, and further headers.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("x-portkey-api-key", self.key.as_str())];
        all.extend(headers);
        self.raw(method, path, &all, body).await
    }

    /// Calls with these headers alone.
    pub async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = event_json(&method, path, query, headers, body, false);
        self.event(&event).await
    }

    /// Calls with an API Gateway event, as JSON. Whatever is answered must be as openapi.yaml says.
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

/// By how much the time of a deployment moves before each call.
pub const TICK: Duration = Duration::from_millis(1);

/// The time of a deployment, which a test holds. It moves by a [`TICK`] before each call, so that
/// ids are in the order of the calls, and else when a test says so, however long the machine takes.
#[derive(Clone, Debug)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// The start of the hour in which the tests began, the same for every deployment: what a test
    /// writes is in one hour, whenever it runs.
    pub fn start() -> Self {
        static START: LazyLock<u64> = LazyLock::new(|| {
            let now = Timestamp::now().millis();
            now - now % 3_600_000
        });
        Self(Arc::new(AtomicU64::new(*START)))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// The clock of the functions, by which each call comes a millisecond after the last.
    pub fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::new(move || time.forward(TICK))
    }

    /// Lets it be another time.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.millis(), Ordering::Relaxed);
    }

    /// Lets time pass, and returns the new present.
    pub fn forward(&self, span: Duration) -> Timestamp {
        let span = u64::try_from(span.as_millis()).unwrap();
        Timestamp::from_millis(self.0.fetch_add(span, Ordering::Relaxed) + span)
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The answer, which must be 200 with a JSON object.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.json().is_object(), "{}", self.text);
        self
    }

    /// The answer, which must be of this status and say this.
    #[track_caller]
    pub fn refused(self, status: u16, says: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        let message = self.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{message:?} does not say {says:?}");
        self
    }

    /// The one id a write answered with, of either dialect.
    #[track_caller]
    pub fn id(&self) -> String {
        let json = self.json();
        let id = json["feedback_ids"][0].as_str().or(json["data"]["id"].as_str());
        id.unwrap_or_else(|| panic!("no id in {}", self.text)).to_owned()
    }

    /// The ids of a list, of either dialect, or of a bulk.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let json = self.json();
        if let Some(ids) = json["feedback_ids"].as_array() {
            return ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        }
        let data = json["data"]
            .as_array()
            .unwrap_or_else(|| panic!("no list in {}", self.text));
        data.iter()
            .map(|record| record["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A DynamoDB that can be made to fail, and tells what it was asked.
#[derive(Clone, Debug)]
pub struct Database {
    store: DynamoDb,
    /// What its responses are dated by.
    time: Time,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    faults: VecDeque<(Option<&'static str>, Fault)>,
    calls: Vec<(String, Value)>,
    consumed: BTreeMap<String, f64>,
}

/// What can go wrong between the code and DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It refuses the request without beginning it.
    Throttle,
    /// It fails, having done nothing.
    ServerError,
    /// It never answers, having done nothing.
    Hang,
    /// It does what was asked, and the connection breaks before the answer.
    LostAnswer,
    /// It does what was asked, and its answer is cut off.
    CutAnswer,
    /// A transaction has hold of the item.
    Conflict,
    /// The connection cannot be made.
    Refused,
    /// The index has not heard of the record yet.
    IndexLags,
    /// It refuses what it does not allow.
    AccessDenied,
    /// It refuses the request, and sends it back beside the reason.
    Repeats,
    /// It sends the request back as its answer, which it is not.
    Garbles,
}

impl Database {
    fn new(time: Time) -> Self {
        Self {
            store: DynamoDb::new(),
            time,
            state: Arc::default(),
        }
    }

    pub fn client(&self) -> Client {
        shared::dynamo::embedded_client(self.clone(), "http://embedded")
    }

    /// The embedded database itself, which does not fail.
    pub fn engine(&self) -> Engine {
        match &self.store {
            DynamoDb::Embedded(engine) => engine.clone(),
            DynamoDb::Other(_) => panic!("this test needs the embedded DynamoDB"),
        }
    }

    /// Deletes what has expired, and returns how many items.
    pub fn sweep(&self) -> usize {
        self.store.sweep()
    }

    /// Where a process reaches the database itself, which does not fail, and its access key there.
    pub async fn endpoint(&self) -> (String, String) {
        self.store.endpoint().await
    }

    /// The next calls fail so, one after the other.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().map(|fault| (None, fault));
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// The next calls of this operation fail so.
    pub fn fail_on(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().map(|fault| (Some(operation), fault));
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// Calls no longer fail.
    pub fn recover(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// The operations called since it was asked last.
    pub fn calls(&self) -> Vec<String> {
        let requests = self.requests();
        requests.into_iter().map(|(operation, _)| operation).collect()
    }

    /// The operations called since it was asked last, with what they were asked.
    pub fn requests(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// The write units of the transactions since it was asked last: two for each action, since every
    /// item in them is under 1 KB (docs.aws.amazon.com, "DynamoDB transactions").
    pub fn transaction_units(&self) -> usize {
        let actions = |(operation, body): &(String, Value)| match operation.as_str() {
            "TransactWriteItems" => body["TransactItems"].as_array().unwrap().len(),
            _ => 0,
        };
        2 * self.requests().iter().map(actions).sum::<usize>()
    }

    /// What DynamoDB said was consumed since it was asked last: units by place, which is a table or
    /// a table and its index, with what they are for.
    pub fn consumed(&self) -> BTreeMap<String, f64> {
        std::mem::take(&mut self.state.lock().unwrap().consumed)
    }

    fn meter(&self, operation: &str, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let tables = match &answer["ConsumedCapacity"] {
            Value::Array(tables) => tables.clone(),
            table => vec![table.clone()],
        };
        let kind = match operation {
            "GetItem" | "BatchGetItem" | "Query" => "read",
            _ => "write",
        };
        let mut state = self.state.lock().unwrap();
        let mut add = |place: String, units: &Value| {
            if let Some(units) = units["CapacityUnits"].as_f64().filter(|units| *units > 0.0) {
                *state.consumed.entry(place).or_default() += units;
            }
        };
        for table in &tables {
            let name = table["TableName"].as_str().unwrap_or_default();
            add(format!("{kind} {name}"), &table["Table"]);
            for (index, units) in table["GlobalSecondaryIndexes"].as_object().into_iter().flatten() {
                add(format!("{kind} {name}/{index}"), units);
            }
        }
    }

    /// Every item of a table, in an order of its own.
    pub fn items(&self, table: &str) -> Vec<Value> {
        let scan = json!({"TableName": table}).to_string();
        let (status, body) = self.store.call("Scan", &scan);
        assert_eq!(status, 200, "{body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        assert!(answer["LastEvaluatedKey"].is_null(), "more than a page");
        let mut items: Vec<Value> = answer["Items"].as_array_mut().unwrap().drain(..).collect();
        items.sort_by_key(ToString::to_string);
        items
    }

    /// Every item of a table that is too much for one page.
    pub fn items_of_all_pages(&self, table: &str) -> Vec<Value> {
        let mut scan = json!({"TableName": table});
        let mut items = Vec::new();
        loop {
            let mut page = self.direct("Scan", scan.clone());
            items.append(page["Items"].as_array_mut().unwrap());
            if page["LastEvaluatedKey"].is_null() {
                return items;
            }
            scan["ExclusiveStartKey"] = page["LastEvaluatedKey"].take();
        }
    }

    /// Calls an operation on a table directly.
    pub fn direct(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.store.call(operation, &body.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// Lets an item of this table have expired long ago. It stays until it is swept.
    pub fn expire(&self, table: &str, item: &Value) {
        self.direct(
            "UpdateItem",
            json!({
                "TableName": table,
                "Key": {"pk": item["pk"], "sk": item["sk"]},
                "UpdateExpression": "SET expires_at = :past",
                "ExpressionAttributeValues": {":past": {"N": "1000"}},
            }),
        );
    }

    fn fault(&self, operation: &str, body: &str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let call = serde_json::from_str(body).unwrap();
        state.calls.push((operation.to_owned(), call));
        let place = state
            .faults
            .iter()
            .position(|(only, _)| only.is_none_or(|only| only == operation))?;
        state.faults.remove(place).map(|(_, fault)| fault)
    }
}

impl HttpClient for Database {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Database {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap().to_owned();
        let operation = target.rsplit_once('.').unwrap().1.to_owned();
        let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
        let fault = self.fault(&operation, &body);
        let store = self.store.clone();
        let (database, time) = (self.clone(), self.time.clone());
        let answer = async move {
            // A point at which others may come first, as on a network.
            tokio::task::yield_now().await;
            if let Some(refusal) = key_limits::refusal(&operation, &body) {
                return Ok(HttpResponse::new(400.try_into().unwrap(), SdkBody::from(refusal)));
            }
            let error = |status: u16, kind: &str| {
                let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}")});
                Ok(HttpResponse::new(
                    status.try_into().unwrap(),
                    SdkBody::from(body.to_string()),
                ))
            };
            match fault {
                Some(Fault::Throttle) => error(400, "ProvisionedThroughputExceededException"),
                Some(Fault::ServerError) => error(500, "InternalServerError"),
                Some(Fault::AccessDenied) => error(400, "AccessDeniedException"),
                Some(Fault::Conflict) => error(400, "TransactionConflictException"),
                Some(Fault::CutAnswer) => {
                    store.call(&operation, &body);
                    Ok(HttpResponse::new(
                        200.try_into().unwrap(),
                        SdkBody::from("{\"Attr"),
                    ))
                }
                Some(Fault::Repeats) => {
                    let body = json!({
                        "__type": "com.amazonaws.dynamodb.v20120810#ValidationException",
                        "message": "One or more parameter values were invalid",
                        "Item": body,
                    });
                    Ok(HttpResponse::new(
                        400.try_into().unwrap(),
                        SdkBody::from(body.to_string()),
                    ))
                }
                Some(Fault::Garbles) => {
                    let body = format!("[{body}");
                    Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(body)))
                }
                Some(Fault::Hang) => std::future::pending().await,
                Some(Fault::Refused) => Err(ConnectorError::io("connection refused".into())),
                Some(Fault::LostAnswer) => {
                    store.call(&operation, &body);
                    Err(ConnectorError::io("connection reset".into()))
                }
                Some(Fault::IndexLags) => {
                    let body = json!({"Items": [], "Count": 0, "ScannedCount": 0});
                    Ok(HttpResponse::new(
                        200.try_into().unwrap(),
                        SdkBody::from(body.to_string()),
                    ))
                }
                None => {
                    // Whoever asks for the sum gets the parts of it too.
                    let body = body.replace(
                        r#""ReturnConsumedCapacity":"TOTAL""#,
                        r#""ReturnConsumedCapacity":"INDEXES""#,
                    );
                    let (status, body) = store.call(&operation, &body);
                    database.meter(&operation, &body);
                    Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
                }
            }
        };
        HttpConnectorFuture::new(async move {
            answer.await.map(|mut response: HttpResponse| {
                // A test's time is not the machine's. The SDK would take a refusal that is dated by another
                // clock than its own for one on account of its clock, and try again by that.
                if response.status().is_success() {
                    response.headers_mut().insert("date", date(time.now()));
                }
                response
            })
        })
    }
}
