//! The queues: where changes come from, and where those go that Langfuse refuses.

use std::env;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use shared::dynamo::Transport;

use crate::failure::Failure;
use crate::settings::Queues;

/// The maximum time that a message can be hidden from its receipt on (docs.aws.amazon.com, "Amazon SQS visibility
/// timeout"), less a minute for the function.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 60 * 60 - 60);

/// The queues of the function.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    urls: Queues,
}

/// Creates the client of SQS. It uses the region's, or the endpoint in `AWS_ENDPOINT_URL_SQS` or `AWS_ENDPOINT_URL`,
/// and Lambda's credentials.
pub async fn client(http: Transport) -> Client {
    let told = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(7))
        .build();
    let mut config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts);
    config.set_region(EnvironmentVariableRegionProvider::new().region().await);
    config.set_endpoint_url(told("AWS_ENDPOINT_URL_SQS").or_else(|| told("AWS_ENDPOINT_URL")));
    Client::from_conf(config.build())
}

impl Queue {
    /// The queues at these URLs.
    pub fn new(client: Client, urls: Queues) -> Self {
        Self { client, urls }
    }

    /// Puts a message into the queue that the function reads, to come after `delay`, at most 15 minutes.
    ///
    /// # Errors
    ///
    /// A failure of SQS.
    pub async fn send_later(&self, message: String, delay: Duration) -> Result<(), Failure> {
        self.client
            .send_message()
            .queue_url(&self.urls.changes)
            .message_body(message)
            .delay_seconds(seconds(delay))
            .send()
            .await
            .map(drop)
            .map_err(|error| failure(&error))
    }

    /// Puts a message into the queue of what Langfuse refuses.
    ///
    /// # Errors
    ///
    /// A failure of SQS.
    pub async fn dead_letter(&self, message: String) -> Result<(), Failure> {
        self.client
            .send_message()
            .queue_url(&self.urls.dead_letters)
            .message_body(message)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure(&error))
    }

    /// Hides a message that was received, so that it comes again after `wait`, at most twelve hours.
    ///
    /// # Errors
    ///
    /// A failure of SQS. The message then comes again after the queue's own time.
    pub async fn hide(&self, receipt: &str, wait: Duration) -> Result<(), Failure> {
        self.client
            .change_message_visibility()
            .queue_url(&self.urls.changes)
            .receipt_handle(receipt)
            .visibility_timeout(seconds(wait.min(LONGEST_WAIT)))
            .send()
            .await
            .map(drop)
            .map_err(|error| failure(&error))
    }
}

fn seconds(span: Duration) -> i32 {
    i32::try_from(span.as_secs()).unwrap_or(i32::MAX)
}

/// The failure of a call of SQS. Its `Debug` form is not used, since it holds the message.
fn failure<E>(error: &aws_sdk_sqs::error::SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or("no response");
    Failure::later(format!("SQS failed: {error}: {code}"))
}
