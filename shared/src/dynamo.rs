//! The DynamoDB client: how it connects, how long it tries, and what its errors mean here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::config::{ConfigBag, Credentials, HttpClient, Intercept, Region, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls;

use crate::problem::Problem;

/// The longest one call may take, all attempts together. A request of several calls is cut off by
/// [`crate::http::DEADLINE`].
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest one attempt may take. DynamoDB answers in single milliseconds; what takes longer
/// than this is a connection that died.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_200);

/// The longest a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A client of the account's DynamoDB, or of the one that `AWS_ENDPOINT_URL_DYNAMODB` names.
pub async fn client() -> Client {
    // Ring, since the SDK's default provider gathers entropy for 22 ms at the first handshake.
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .retry_config(retries())
        .timeout_config(timeouts())
        .load()
        .await;
    Client::new(&config)
}

/// A client of a DynamoDB that `http` reaches by itself, wherever it is: no environment, no
/// region, no credentials that are worth anything. It tries as long and as often as the other.
pub fn embedded_client(http: impl HttpClient + 'static, endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(endpoint)
        .region(Region::from_static("local"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .retry_config(retries())
        // The SDK's allowance of retries is one for the process; each database here has its own.
        .retry_partition(RetryPartition::custom("embedded").build())
        .timeout_config(timeouts())
        .build();
    Client::from_conf(config)
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(400))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

/// Watches the attempts of one call, to tell afterwards whether one of them may have written
/// although its answer was lost.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    uncertain: Arc<AtomicBool>,
}

impl Attempts {
    /// Whether an attempt ended with anything but success or a refusal: it may have taken effect.
    /// Only a status of 400 to 499 is proof that it has not; a 200 whose body was cut off is none.
    pub fn uncertain(&self) -> bool {
        self.uncertain.load(Ordering::Relaxed)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let refused = context
            .response()
            .is_some_and(|answer| answer.status().is_client_error());
        let succeeded = matches!(context.output_or_error(), Some(Ok(_)));
        if !refused && !succeeded {
            self.uncertain.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The codes by which DynamoDB refuses a request that it did not begin, those of a transaction's
/// cancellation reasons among them.
const THROTTLES: [&str; 5] = [
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "ThrottlingError",
];

/// Whether an error code, or a transaction's cancellation code, means throttling.
pub fn is_throttle(code: &str) -> bool {
    THROTTLES.contains(&code)
}

/// Whether an error code means that a transaction has hold of the item; nothing was done, and it
/// may be tried again. The SDK does not.
pub fn is_conflict(code: Option<&str>) -> bool {
    code == Some("TransactionConflictException")
}

/// What a failed call means to the caller of the API. `uncertain` is whether one of its attempts
/// may have written: then it cannot be promised that nothing was.
pub fn problem<E>(error: &SdkError<E>, uncertain: bool) -> Problem
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let cause = || cause(error);
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match (error.code(), status) {
        (Some(code), _) if is_throttle(code) && !uncertain => Problem::Throttled,
        (Some(code), _)
            if is_throttle(code) || is_conflict(Some(code)) || code == "TransactionInProgressException" =>
        {
            Problem::unavailable(cause())
        }
        (_, Some(400..500)) => Problem::internal(cause()),
        _ => Problem::unavailable(cause()),
    }
}

/// What a failed call says of itself, for the log: the code, the message, and the causes below it.
/// Not its `Debug` form, which holds the response's body and with it what callers sent.
pub fn cause<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut text = format!("dynamodb: {error}");
    if let Some(code) = error.code() {
        text = format!("{text}: {code}: {}", error.message().unwrap_or_default());
    } else {
        let mut below = std::error::Error::source(error);
        while let Some(source) = below {
            text = format!("{text}: {source}");
            below = source.source();
        }
    }
    text
}
