//! The queues, as SQS has them: a standard queue delivers at least once and in no order
//! (docs.aws.amazon.com/AWSSimpleQueueService, "Standard queues"), hides what was received until it is deleted or its
//! visibility timeout ends, and moves it to the dead-letter queue after so many receipts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use langfuse::queue::Queue;
use langfuse::settings::Queues as Urls;
use serde_json::{Value, json};
use shared::timestamp::Timestamp;

use super::random::Random;
use crate::harness::Time;

const CHANGES: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/changes";
const DEAD_LETTERS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/dead-letters";

/// The visibility timeout and receipts of LangfuseQueue in template.yaml.
const HIDDEN: Duration = Duration::from_secs(360);
const MAX_RECEIPTS: u32 = 110;

/// Both queues.
#[derive(Clone, Debug)]
pub struct Queues {
    state: Arc<Mutex<State>>,
    time: Time,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    dead: Vec<String>,
    next: usize,
    calls: Vec<(String, Value)>,
    /// How many of the next calls fail.
    failing: usize,
}

#[derive(Clone, Debug)]
struct Message {
    id: String,
    body: String,
    visible_at: u64,
    receipts: u32,
    receipt: String,
}

impl Queues {
    pub fn new(time: Time) -> Self {
        Self {
            state: Arc::default(),
            time,
        }
    }

    /// The function's side of them.
    pub fn queue(&self) -> Queue {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(self.clone())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build();
        let urls = Urls {
            changes: CHANGES.to_owned(),
            dead_letters: DEAD_LETTERS.to_owned(),
        };
        Queue::new(Client::from_conf(config), urls)
    }

    fn now(&self) -> u64 {
        self.time.now().millis()
    }

    /// Puts a message into the queue of changes, to come after `delay`.
    pub fn send(&self, body: &str, delay: Duration) {
        let visible_at = self.now() + u64::try_from(delay.as_millis()).unwrap();
        let mut state = self.state.lock().unwrap();
        state.next += 1;
        let id = format!("message-{}", state.next);
        state.messages.push(Message {
            receipt: String::new(),
            body: body.to_owned(),
            receipts: 0,
            visible_at,
            id,
        });
    }

    /// Has so many of the next calls fail.
    pub fn fail(&self, calls: usize) {
        self.state.lock().unwrap().failing = calls;
    }

    /// Receives up to `most` messages, as Lambda passes them to the function. One in twenty stays visible.
    pub fn receive(&self, random: &mut Random, most: usize) -> Option<Value> {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        let (mut records, mut dead) = (Vec::new(), Vec::new());
        for _ in 0..most {
            let visible: Vec<usize> = (0..state.messages.len())
                .filter(|place| state.messages[*place].visible_at <= now)
                .collect();
            if visible.is_empty() {
                break;
            }
            let place = visible[random.place(visible.len())];
            let message = &mut state.messages[place];
            if message.receipts == MAX_RECEIPTS {
                dead.push(state.messages.remove(place).body);
                continue;
            }
            message.receipts += 1;
            message.receipt = format!("{}-{}", message.id, message.receipts);
            if random.below(20) > 0 {
                message.visible_at = now + u64::try_from(HIDDEN.as_millis()).unwrap();
            }
            if records
                .iter()
                .any(|record: &Value| record["messageId"] == message.id.as_str())
            {
                continue;
            }
            records.push(json!({
                "messageId": message.id,
                "receiptHandle": message.receipt,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receipts.to_string(),
                    "SentTimestamp": now.to_string(),
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": now.to_string(),
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:changes",
                "awsRegion": "us-east-1",
            }));
        }
        state.dead.append(&mut dead);
        (!records.is_empty()).then(|| json!({"Records": records}))
    }

    /// Deletes the messages of a batch that the response does not name.
    pub fn settle(&self, event: &Value, response: &Value) {
        let failed: Vec<&Value> = response["batchItemFailures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|failure| &failure["itemIdentifier"])
            .collect();
        let mut state = self.state.lock().unwrap();
        for record in event["Records"].as_array().unwrap() {
            if !failed.contains(&&record["messageId"]) {
                state
                    .messages
                    .retain(|message| record["messageId"] != message.id.as_str());
            }
        }
    }

    /// When the next message comes.
    pub fn next(&self) -> Option<Timestamp> {
        let state = self.state.lock().unwrap();
        let next = state.messages.iter().map(|message| message.visible_at).min();
        next.map(Timestamp::from_millis)
    }

    /// The bodies in the dead-letter queue.
    pub fn dead(&self) -> Vec<String> {
        self.state.lock().unwrap().dead.clone()
    }

    /// The calls since the last call of this: operation and request.
    pub fn calls(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    fn answer(&self, operation: &str, body: &Value) -> HttpResponse {
        let response = |status: u16, body: Value| {
            HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()))
        };
        {
            let mut state = self.state.lock().unwrap();
            state.calls.push((operation.to_owned(), body.clone()));
            if state.failing > 0 {
                state.failing -= 1;
                return response(500, json!({"__type": "com.amazonaws.sqs#InternalError"}));
            }
        }
        let seconds = |name: &str| Duration::from_secs(body[name].as_u64().unwrap_or_default());
        match (operation, body["QueueUrl"].as_str().unwrap()) {
            ("SendMessage", url) => {
                let text = body["MessageBody"].as_str().unwrap();
                // "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF" (SendMessage).
                let is_taken = |character: char| matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
                assert!(text.chars().all(is_taken), "InvalidMessageContents: {text}");
                assert!(seconds("DelaySeconds") <= Duration::from_secs(900), "{body}");
                if url == CHANGES {
                    self.send(text, seconds("DelaySeconds"));
                } else {
                    assert_eq!(url, DEAD_LETTERS);
                    self.state.lock().unwrap().dead.push(text.to_owned());
                }
                response(200, json!({"MessageId": "5fea7756-0ea4-451a-a703-a558b933e274"}))
            }
            ("ChangeMessageVisibility", CHANGES) => {
                assert!(seconds("VisibilityTimeout") < Duration::from_secs(12 * 60 * 60));
                let visible_at =
                    self.now() + u64::try_from(seconds("VisibilityTimeout").as_millis()).unwrap();
                let mut state = self.state.lock().unwrap();
                for message in &mut state.messages {
                    if body["ReceiptHandle"] == message.receipt.as_str() {
                        message.visible_at = visible_at;
                    }
                }
                response(200, json!({}))
            }
            other => panic!("{other:?} is not called"),
        }
    }
}

impl HttpClient for Queues {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Queues {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let operation = target.strip_prefix("AmazonSQS.").unwrap().to_owned();
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        HttpConnectorFuture::ready(Ok(self.answer(&operation, &body)))
    }
}
