//! The bus of EventBridge.

use std::env;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::Builder;
use aws_sdk_eventbridge::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use futures_util::future::try_join_all;
use shared::dynamo::{Transport, is_throttle, retries, timeouts};
use shared::events::entry::{Entry, SOURCE};
use shared::problem::Problem;

use crate::bus::{Answer, Bus, Refusal};

/// The codes of entries that are refused for what they are (docs.aws.amazon.com/eventbridge/latest/APIReference/
/// API_PutEventsResultEntry.html). Of the others that AWS calls not retryable, each is about a permission or the
/// account: it is mended by the operator, for every event, and until then the stream keeps the changes.
const OF_THE_ENTRY: [&str; 3] = ["InvalidArgument", "MalformedDetail", "RedactionFailure"];

/// The codes of requests that are refused for what is in them.
const OF_THE_REQUEST: [&str; 3] = ["ValidationException", "InvalidArgument", "MalformedDetail"];

/// An event bus.
#[derive(Clone, Debug)]
pub struct EventBridge {
    client: Client,
    bus: String,
}

impl EventBridge {
    /// The bus of this name or ARN, in the account and region that Lambda provides as environment variables, or at the
    /// endpoint in `AWS_ENDPOINT_URL_EVENTBRIDGE` or `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    ///
    /// If the TLS library rejects its own default settings.
    pub async fn from_env(bus: &str) -> Result<Self, rustls::Error> {
        let told = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let mut config = aws_sdk_eventbridge::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(EnvironmentVariableCredentialsProvider::new());
        config.set_region(EnvironmentVariableRegionProvider::new().region().await);
        config.set_endpoint_url(told("AWS_ENDPOINT_URL_EVENTBRIDGE").or_else(|| told("AWS_ENDPOINT_URL")));
        Self::with(config, bus)
    }

    /// The bus of this name or ARN in an account that was configured elsewhere.
    ///
    /// # Errors
    ///
    /// If the TLS library rejects its own default settings.
    pub fn of(account: &SdkConfig, bus: &str) -> Result<Self, rustls::Error> {
        Self::with(Builder::from(account), bus)
    }

    fn with(config: Builder, bus: &str) -> Result<Self, rustls::Error> {
        let config = config
            .http_client(Transport::new()?)
            .retry_config(retries())
            .timeout_config(timeouts());
        Ok(Self::new(Client::from_conf(config.build()), bus))
    }

    /// The bus of this name or ARN that a client reaches.
    pub fn new(client: Client, bus: &str) -> Self {
        Self {
            client,
            bus: bus.to_owned(),
        }
    }

    fn request(&self, entry: &Entry) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .time(DateTime::from_secs(
                i64::try_from(entry.time.seconds()).unwrap_or(i64::MAX),
            ))
            .source(SOURCE)
            .detail_type(entry.kind.detail_type())
            .detail(&entry.detail)
            .build()
    }

    async fn send(&self, entries: &[&Entry]) -> Result<Vec<Answer>, SdkError<PutEventsError>> {
        let requests = entries.iter().map(|entry| self.request(entry)).collect();
        let sent = self
            .client
            .put_events()
            .set_entries(Some(requests))
            .send()
            .await?;
        let mut answers: Vec<Answer> = sent.entries().iter().map(answer).collect();
        // "The response Entries array always includes the same number of entries as the request array"
        // (eb-putevents.html). What has no answer was not taken.
        answers.resize(
            entries.len(),
            Err(Refusal::ForNow("no answer for this entry".to_owned())),
        );
        Ok(answers)
    }

    async fn send_one(&self, entry: &Entry) -> Result<Answer, Problem> {
        match self.send(&[entry]).await {
            Ok(mut answers) => Ok(answers.pop().unwrap_or(Ok(()))),
            Err(error) => match refusal(&error) {
                Some(code) => Ok(Err(Refusal::ForGood(code))),
                None => Err(problem(&error)),
            },
        }
    }
}

impl Bus for EventBridge {
    async fn put(&self, entries: &[&Entry]) -> Result<Vec<Answer>, Problem> {
        match self.send(entries).await {
            Ok(answers) => Ok(answers),
            // One of them is at fault for all.
            Err(error) if refusal(&error).is_some() => {
                try_join_all(entries.iter().map(|entry| self.send_one(entry))).await
            }
            Err(error) => Err(problem(&error)),
        }
    }
}

fn answer(entry: &PutEventsResultEntry) -> Answer {
    match entry.error_code() {
        None => Ok(()),
        Some(code) if OF_THE_ENTRY.contains(&code) => Err(Refusal::ForGood(code.to_owned())),
        Some(code) => Err(Refusal::ForNow(code.to_owned())),
    }
}

/// The code of a request that is refused for what is in it.
fn refusal(error: &SdkError<PutEventsError>) -> Option<String> {
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match error.code() {
        Some(code) if OF_THE_REQUEST.contains(&code) => Some(code.to_owned()),
        _ if status == Some(413) => Some("too large".to_owned()),
        _ => None,
    }
}

/// Describes a failed call by its code and causes. EventBridge's own message could quote an entry.
fn problem(error: &SdkError<PutEventsError>) -> Problem {
    match error.code() {
        Some(code) if is_throttle(code) => Problem::unavailable(format!("EventBridge throttles: {code}")),
        Some(code) => Problem::unavailable(format!("EventBridge failed: {code}")),
        None => {
            let mut text = format!("cannot reach EventBridge: {error}");
            let mut below = std::error::Error::source(error);
            while let Some(source) = below {
                text = format!("{text}: {source}");
                below = source.source();
            }
            Problem::unavailable(text)
        }
    }
}
