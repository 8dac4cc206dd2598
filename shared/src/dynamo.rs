//! The DynamoDB client: how it connects, how long it tries, and what its errors mean here.

mod transport;

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
    BeforeSerializationInterceptorContextMut, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::config::{ConfigBag, Credentials, HttpClient, Intercept, Region, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_get_item::{BatchGetItemInput, BatchGetItemOutput};
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemInput, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use aws_sdk_dynamodb::operation::scan::{ScanInput, ScanOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity};
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use aws_smithy_types::date_time::{DateTime, Format};

pub use transport::Transport;

use crate::invocation::{Invocation, Units};
use crate::problem::Problem;
use crate::timestamp::Timestamp;

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

/// Asks, in the calls of an invocation, what they consume, and adds the answers up.
#[derive(Debug)]
struct Metering;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Metering {
    fn name(&self) -> &'static str {
        "Metering"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if Invocation::current().is_some() {
            ask(context.input_mut());
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(invocation) = Invocation::current()
            && let Ok(output) = context.output_or_error()
        {
            invocation.consume(consumed(output));
        }
        Ok(())
    }
}

/// Lets a request ask what it consumes.
fn ask(input: &mut Input) {
    let total = Some(ReturnConsumedCapacity::Total);
    if let Some(get) = input.downcast_mut::<GetItemInput>() {
        get.return_consumed_capacity = total;
    } else if let Some(query) = input.downcast_mut::<QueryInput>() {
        query.return_consumed_capacity = total;
    } else if let Some(scan) = input.downcast_mut::<ScanInput>() {
        scan.return_consumed_capacity = total;
    } else if let Some(get) = input.downcast_mut::<BatchGetItemInput>() {
        get.return_consumed_capacity = total;
    } else if let Some(put) = input.downcast_mut::<PutItemInput>() {
        put.return_consumed_capacity = total;
    } else if let Some(update) = input.downcast_mut::<UpdateItemInput>() {
        update.return_consumed_capacity = total;
    } else if let Some(delete) = input.downcast_mut::<DeleteItemInput>() {
        delete.return_consumed_capacity = total;
    } else if let Some(transaction) = input.downcast_mut::<TransactWriteItemsInput>() {
        transaction.return_consumed_capacity = total;
    }
}

/// What an answer says was consumed.
fn consumed(output: &Output) -> Units {
    let total = |capacity: Option<&ConsumedCapacity>| capacity.and_then(ConsumedCapacity::capacity_units);
    let read = |capacity| Units {
        read: total(capacity).unwrap_or_default(),
        write: 0.0,
    };
    let write = |capacity| Units {
        read: 0.0,
        write: total(capacity).unwrap_or_default(),
    };
    if let Some(output) = output.downcast_ref::<GetItemOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<QueryOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<ScanOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<BatchGetItemOutput>() {
        let tables = output.consumed_capacity().iter();
        Units {
            read: tables.filter_map(ConsumedCapacity::capacity_units).sum(),
            write: 0.0,
        }
    } else if let Some(output) = output.downcast_ref::<PutItemOutput>() {
        write(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<UpdateItemOutput>() {
        write(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<DeleteItemOutput>() {
        write(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<TransactWriteItemsOutput>() {
        let mut sum = Units::default();
        for table in output.consumed_capacity() {
            let (read, write) = (table.read_capacity_units(), table.write_capacity_units());
            sum.read += read.unwrap_or_default();
            // One that is repeated under its token reads and does not write.
            sum.write += write
                .or(table.capacity_units().filter(|_| read.is_none()))
                .unwrap_or_default();
        }
        sum
    } else {
        Units::default()
    }
}

/// Hears what time it is from the answers to one call.
#[derive(Clone, Debug, Default)]
struct Clock {
    date: Arc<Mutex<Option<DateTime>>>,
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let Ok(mut heard) = self.date.lock() {
            *heard = date;
        }
        Ok(())
    }
}

/// The present by DynamoDB's own clock, from the `Date` of an answer: to the second, rounded down.
///
/// # Errors
///
/// A failure of DynamoDB, or an answer without a date.
pub async fn server_time(client: &Client, table: &str) -> Result<Timestamp, Problem> {
    let clock = Clock::default();
    client
        .get_item()
        .table_name(table)
        .key("pk", AttributeValue::S("clock".to_owned()))
        .key("sk", AttributeValue::S("clock".to_owned()))
        .customize()
        .interceptor(clock.clone())
        .send()
        .await
        .map_err(|error| problem(&error, false))?;
    let date = clock.date.lock().ok().and_then(|date| *date);
    date.and_then(|date| u64::try_from(date.secs()).ok())
        .map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)))
        .ok_or_else(|| Problem::internal("DynamoDB answered without a date"))
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
