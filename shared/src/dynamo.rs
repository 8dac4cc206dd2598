//! The DynamoDB client, its timeouts and retries, and the meaning of its errors. [`attributes`] reads and
//! builds items. [`transaction`] and [`retry`] run requests that may take more than one attempt.

pub mod attributes;
pub mod batch;
mod clock;
mod error;
mod metering;
pub mod retry;
pub mod transaction;
mod transport;

use std::env;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::config::{Credentials, HttpClient, Region};

pub use clock::server_time;
pub use error::{Attempts, cause, incomplete, is_condition_failure, is_conflict, is_throttle, problem};
pub use transport::Transport;

use metering::Metering;

/// The maximum time for one call, including all its attempts. A request that makes several calls is limited
/// by [`crate::http::DEADLINE`].
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum time for one attempt. DynamoDB responds within milliseconds, so a longer wait means that the
/// connection is dead.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_200);

/// The maximum time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Creates the client of a function. It uses the region's DynamoDB, or the endpoint in
/// `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`. Lambda provides region and credentials as environment
/// variables, so no profile, container or instance is asked for them: those providers, each with its own
/// service client, would be a tenth of a function's binary.
///
/// # Errors
///
/// If the TLS library rejects its own default settings.
pub async fn client() -> Result<Client, rustls::Error> {
    let region = EnvironmentVariableRegionProvider::new().region().await;
    let told = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let is_on = |name: &str| told(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(Transport::new()?)
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .retry_config(retries())
        .timeout_config(timeouts())
        .interceptor(Metering)
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_region(region);
    config.set_endpoint_url(told("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| told("AWS_ENDPOINT_URL")));
    Ok(Client::from_conf(config.build()))
}

/// Creates a client for an AWS account that was configured elsewhere, with the functions' timeouts and
/// retries.
///
/// # Errors
///
/// If the TLS library rejects its own default settings.
pub fn client_of(account: &SdkConfig) -> Result<Client, rustls::Error> {
    let config = aws_sdk_dynamodb::config::Builder::from(account)
        .http_client(Transport::new()?)
        .retry_config(retries())
        .timeout_config(timeouts())
        .interceptor(Metering)
        .build();
    Ok(Client::from_conf(config))
}

/// Creates a client that reaches a DynamoDB through `http`. It uses no environment, no region and
/// placeholder credentials, and has the functions' timeouts and retries.
pub fn embedded_client(http: impl HttpClient + 'static, endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(endpoint)
        .region(Region::from_static("local"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .retry_config(retries())
        // The SDK shares one retry quota in a process; here each database has its own.
        .retry_partition(RetryPartition::custom("embedded").build())
        .timeout_config(timeouts())
        .interceptor(Metering)
        .build();
    Client::from_conf(config)
}

/// The retries of one call.
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(400))
}

/// The time limits of one call.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}
