//! An EventBridge of a test's own, between the SDK and a list of events.
//!
//! It follows docs.aws.amazon.com/eventbridge/latest/APIReference/: API_PutEvents (limits), API_PutEventsRequestEntry,
//! API_PutEventsResultEntry (codes) and CommonErrors. Where the guide has another limit, the lower one holds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use publish::event_bridge::EventBridge;
use serde_json::{Value, json};
use shared::timestamp::Timestamp;

use super::check;

/// The name of the bus.
const BUS: &str = "feedback";

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// Of its entries, every second one from this one on is refused with this code.
    Entries(usize, &'static str),
    /// It is refused as a whole, with this status and code.
    Refused(u16, &'static str),
    /// All of it is done, and the connection breaks before the answer.
    LostAnswer,
    /// There is no connection.
    Unreachable,
}

/// What a bus has against an entry: an error code for one with this detail.
pub type Taste = fn(&Value) -> Option<&'static str>;

/// An event bus. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Bridge(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    events: Vec<Value>,
    /// How many entries each request had.
    requests: Vec<usize>,
    troubles: VecDeque<Trouble>,
    taste: Option<Taste>,
    /// Whether nothing is reached.
    is_away: bool,
}

impl Bridge {
    /// The bus as the function reaches it.
    pub fn bus(&self) -> EventBridge {
        let config = aws_sdk_eventbridge::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(self.clone())
            .endpoint_url("http://events")
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(50)));
        EventBridge::new(Client::from_conf(config.build()), BUS)
    }

    /// The events that were taken since the last call of this, as a rule's target receives them.
    pub fn events(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap().events)
    }

    /// How many entries each request had since the last call of this.
    pub fn requests(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    /// Makes the next requests fail like this, in this order.
    pub fn fail(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.0.lock().unwrap().troubles.extend(troubles);
    }

    /// Ends what was to fail.
    pub fn recover(&self) {
        self.0.lock().unwrap().troubles.clear();
    }

    /// Makes the bus refuse these entries from now on.
    pub fn refuse(&self, taste: Option<Taste>) {
        self.0.lock().unwrap().taste = taste;
    }

    /// Makes the bus unreachable, or ends that.
    pub fn leave(&self, is_away: bool) {
        self.0.lock().unwrap().is_away = is_away;
    }

    fn answer(&self, request: &Value) -> Result<(u16, Value), ConnectorError> {
        let mut state = self.0.lock().unwrap();
        let trouble = state.troubles.pop_front();
        let unreachable = || Err(ConnectorError::io("connection refused".into()));
        if state.is_away {
            return unreachable();
        }
        let entries = request["Entries"].as_array().unwrap();
        state.requests.push(entries.len());
        let error =
            |status, code: &str| Ok((status, json!({"__type": code, "message": request.to_string()})));
        match trouble {
            Some(Trouble::Unreachable) => return unreachable(),
            Some(Trouble::Refused(status, code)) => return error(status, code),
            _ => {}
        }
        // "Array Members: Minimum number of 1 item. Maximum number of 10 items." "The total entry size must be less
        // than 256KB" (eb-putevent-size.html).
        let total: usize = entries.iter().map(size).sum();
        if !(1..=10).contains(&entries.len()) || total >= 256 * 1024 {
            return error(400, "ValidationException");
        }
        let mut results = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let refused = match trouble {
                Some(Trouble::Entries(from, code)) if place >= from && (place - from) % 2 == 0 => Some(code),
                _ => state.taste.and_then(|taste| taste(&parsed(entry))),
            };
            match refused.or_else(|| fault(entry)) {
                Some(code) => results.push(json!({"ErrorCode": code, "ErrorMessage": entry.to_string()})),
                None => {
                    let id = format!("{:032x}", state.events.len());
                    let event = envelope(entry, &id);
                    check(&event);
                    state.events.push(event);
                    results.push(json!({"EventId": id}));
                }
            }
        }
        if matches!(trouble, Some(Trouble::LostAnswer)) {
            return Err(ConnectorError::io("connection reset".into()));
        }
        let failed = results.iter().filter(|result| result["ErrorCode"].is_string());
        Ok((
            200,
            json!({"FailedEntryCount": failed.count(), "Entries": results}),
        ))
    }
}

/// eb-putevent-size.html.
fn size(entry: &Value) -> usize {
    let bytes = |name: &str| entry[name].as_str().map_or(0, str::len);
    let time = if entry["Time"].is_null() { 0 } else { 14 };
    time + bytes("Source") + bytes("DetailType") + bytes("Detail")
}

fn parsed(entry: &Value) -> Value {
    serde_json::from_str(entry["Detail"].as_str().unwrap_or_default()).unwrap_or_default()
}

/// What is wrong with an entry by itself: source, detail type and detail are required, and the detail is an object.
fn fault(entry: &Value) -> Option<&'static str> {
    let is_there = |name: &&str| entry[*name].as_str().is_some_and(|text| !text.is_empty());
    if !["Source", "DetailType"].iter().all(is_there) || entry["EventBusName"] != BUS {
        return Some("InvalidArgument");
    }
    (!parsed(entry).is_object()).then_some("MalformedDetail")
}

/// The event that a target receives (eb-events-structure.html).
fn envelope(entry: &Value, id: &str) -> Value {
    let seconds = entry["Time"].as_f64().unwrap();
    let time = Timestamp::from_seconds(seconds).to_string().replace(".000Z", "Z");
    json!({
        "version": "0", "id": id, "detail-type": entry["DetailType"], "source": entry["Source"],
        "account": "123456789012", "time": time, "region": "us-east-1", "resources": [], "detail": parsed(entry),
    })
}

impl HttpClient for Bridge {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Bridge {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        assert_eq!(request.headers().get("x-amz-target"), Some("AWSEvents.PutEvents"));
        let request = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let answer = self.answer(&request);
        HttpConnectorFuture::new(async move {
            // The duration of a call, so that a paused clock advances.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let (status, body) = answer?;
            Ok(HttpResponse::new(
                status.try_into().unwrap(),
                SdkBody::from(body.to_string()),
            ))
        })
    }
}
