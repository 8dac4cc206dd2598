//! The current time by DynamoDB's clock.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::date_time::{DateTime, Format};

use super::attributes::text;
use super::error::problem;
use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// Records the time in the responses to one call.
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

/// Returns the current time by DynamoDB's clock, from the `Date` header of a response, rounded down to the
/// second.
///
/// # Errors
///
/// A failure of DynamoDB, or a response without a date.
pub async fn server_time(client: &Client, table: &str) -> Result<Timestamp, Problem> {
    let clock = Clock::default();
    client
        .get_item()
        .table_name(table)
        .key("pk", text("clock"))
        .key("sk", text("clock"))
        .customize()
        .interceptor(clock.clone())
        .send()
        .await
        .map_err(|error| problem(&error, false))?;
    let date = clock.date.lock().ok().and_then(|date| *date);
    date.and_then(|date| u64::try_from(date.secs()).ok())
        .map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)))
        .ok_or_else(|| Problem::internal("DynamoDB's response has no date"))
}
