//! The database of a deployment, and faults that it can simulate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use local::dynamodb::{Engine, date};
use serde_json::{Value, json};

use super::Time;
use crate::dynamodb::DynamoDb;
use crate::key_limits;

/// A DynamoDB that can be made to fail, and records its requests.
#[derive(Clone, Debug)]
pub struct Database {
    pub(super) store: DynamoDb,
    /// The clock for its responses' dates.
    time: Time,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    faults: VecDeque<(Option<&'static str>, Fault)>,
    /// The operation that fails for good, after how many calls, and how.
    broken: Option<(&'static str, usize, Fault)>,
    calls: Vec<(String, Value)>,
    consumed: BTreeMap<String, f64>,
}

/// A fault between the code and DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Rejects the request without starting it.
    Throttle,
    /// Fails without having done anything.
    ServerError,
    /// Never responds, and does nothing.
    Hang,
    /// Executes the request, then the connection breaks before the response.
    LostAnswer,
    /// Executes the request, and truncates the response.
    CutAnswer,
    /// Reports that a transaction is using the item.
    Conflict,
    /// Refuses the connection.
    Refused,
    /// Returns nothing from an index, as if the record had not reached it yet.
    IndexLags,
    /// Reads half of the keys of a batch, and returns the others as unprocessed, as DynamoDB does for lack of capacity
    /// and beyond 16 MB (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
    HalfOfTheKeys,
    /// Denies access.
    AccessDenied,
    /// Rejects the request, and repeats it in the error message.
    Repeats,
    /// Returns the request as the response.
    Garbles,
}

impl Database {
    pub(super) fn new(time: Time) -> Self {
        Self {
            store: DynamoDb::new(),
            time,
            state: Arc::default(),
        }
    }

    pub fn client(&self) -> Client {
        shared::dynamo::embedded_client(self.clone(), "http://embedded")
    }

    /// The embedded database itself, without faults.
    pub fn engine(&self) -> Engine {
        match &self.store {
            DynamoDb::Embedded(engine) => engine.clone(),
            DynamoDb::Other(_) => panic!("this test needs the embedded DynamoDB"),
        }
    }

    /// Deletes expired items, and returns how many.
    pub fn sweep(&self) -> usize {
        self.store.sweep()
    }

    /// The endpoint and access key of the database itself, without faults.
    pub async fn endpoint(&self) -> (String, String) {
        self.store.endpoint().await
    }

    /// Makes the next calls fail like this, in this order.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().map(|fault| (None, fault));
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// Makes the next calls of this operation fail like this.
    pub fn fail_on(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().map(|fault| (Some(operation), fault));
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// Makes every call of this operation fail like this after so many more.
    pub fn fail_after(&self, operation: &'static str, calls: usize, fault: Fault) {
        self.state.lock().unwrap().broken = Some((operation, calls, fault));
    }

    /// Ends all faults.
    pub fn recover(&self) {
        let mut state = self.state.lock().unwrap();
        state.faults.clear();
        state.broken = None;
    }

    /// The operations that were called since the last call of this.
    pub fn calls(&self) -> Vec<String> {
        let requests = self.requests();
        requests.into_iter().map(|(operation, _)| operation).collect()
    }

    /// The operations and requests since the last call of this.
    pub fn requests(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// The write units of transactions since the last call of this: two per action, because every item in
    /// the tests is below 1 KB (docs.aws.amazon.com, "DynamoDB transactions").
    pub fn transaction_units(&self) -> usize {
        let actions = |(operation, body): &(String, Value)| match operation.as_str() {
            "TransactWriteItems" => body["TransactItems"].as_array().unwrap().len(),
            _ => 0,
        };
        2 * self.requests().iter().map(actions).sum::<usize>()
    }

    /// The consumed capacity that DynamoDB has reported since the last call of this: read and write units
    /// by table, or by table and index.
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

    /// All items of a table, in no particular order.
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

    /// All items of a table that does not fit on one page.
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

    /// Calls an operation directly, without faults.
    pub fn direct(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.store.call(operation, &body.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// Makes an item expired. It stays until it is deleted.
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
        if let Some((broken, left, fault)) = &mut state.broken
            && *broken == operation
        {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => return Some(*fault),
            }
        }
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
            // Lets other tasks run first, as on a network.
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
                Some(Fault::HalfOfTheKeys) => {
                    let mut asked: Value = serde_json::from_str(&body).unwrap();
                    let mut unprocessed = asked["RequestItems"].clone();
                    for (table, request) in asked["RequestItems"].as_object_mut().unwrap() {
                        let keys = request["Keys"].as_array_mut().unwrap();
                        unprocessed[table]["Keys"] = json!(keys.split_off(keys.len().div_ceil(2)));
                    }
                    let (status, answer) = store.call(&operation, &asked.to_string());
                    let mut answer: Value = serde_json::from_str(&answer).unwrap();
                    let is_left = |request: &Value| !request["Keys"].as_array().unwrap().is_empty();
                    if unprocessed.as_object().unwrap().values().all(is_left) {
                        answer["UnprocessedKeys"] = unprocessed;
                    }
                    Ok(HttpResponse::new(
                        status.try_into().unwrap(),
                        SdkBody::from(answer.to_string()),
                    ))
                }
                Some(Fault::IndexLags) => {
                    let body = json!({"Items": [], "Count": 0, "ScannedCount": 0});
                    Ok(HttpResponse::new(
                        200.try_into().unwrap(),
                        SdkBody::from(body.to_string()),
                    ))
                }
                None => {
                    // A request for the total gets the parts too.
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
                // A test's clock differs from the machine's. If an error response had a date, the SDK would
                // blame the difference between the clocks and retry.
                if response.status().is_success() {
                    response.headers_mut().insert("date", date(time.now()));
                }
                response
            })
        })
    }
}
