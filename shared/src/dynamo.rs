//! DynamoDB: the client, how long it tries, what its errors mean here, and what the SDK leaves to
//! its callers. [`attributes`] reads and makes items, [`transaction`] and [`retry`] run what takes
//! more than one attempt.

pub mod attributes;
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

/// The longest one call may take, all attempts together. A request of several calls is cut off by
/// [`crate::http::DEADLINE`].
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest one attempt may take. DynamoDB answers in single milliseconds; what takes longer
/// than this is a connection that died.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_200);

/// The longest a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The client of a function: of its region's DynamoDB, or of the one that `AWS_ENDPOINT_URL_DYNAMODB`
/// or `AWS_ENDPOINT_URL` names. Lambda gives region and credentials in the environment, so nothing
/// else is asked for them: no profile, no container and no instance, whose providers, each with a
/// service's client, are a tenth of a function's binary.
///
/// # Errors
///
/// If the TLS library refuses its own defaults.
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

/// A client of the DynamoDB of an account that was found some other way. It tries as long and as
/// often as the functions' do.
///
/// # Errors
///
/// If the TLS library refuses its own defaults.
pub fn client_of(account: &SdkConfig) -> Result<Client, rustls::Error> {
    let config = aws_sdk_dynamodb::config::Builder::from(account)
        .http_client(Transport::new()?)
        .retry_config(retries())
        .timeout_config(timeouts())
        .build();
    Ok(Client::from_conf(config))
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
        .interceptor(Metering)
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
