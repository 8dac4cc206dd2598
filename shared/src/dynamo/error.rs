//! The meaning of DynamoDB's errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};

use crate::problem::Problem;

/// Observes the attempts of one call, to tell afterwards whether one of them may have written although its
/// response was lost.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    uncertain: Arc<AtomicBool>,
}

impl Attempts {
    /// Whether an attempt may have taken effect although it did not succeed. Only a status from 400 to 499
    /// proves that it has not; a 200 with a truncated body does not.
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

/// The error codes for throttling, including those in a transaction's cancellation reasons. A throttled
/// request was not started.
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

/// Whether an error code means that a transaction is using the item. Nothing was written, and the call may
/// be retried. The SDK does not retry it.
pub fn is_conflict(code: Option<&str>) -> bool {
    code == Some("TransactionConflictException")
}

/// Converts a failed call into a problem. If `uncertain`, one of its attempts may have written, so the
/// caller is not told that nothing was.
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

/// Describes a failed call for the log: the code, the message and the underlying causes. The `Debug` form
/// is not used because it contains the response body and thereby callers' data.
pub fn cause<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let what = match error {
        SdkError::DispatchFailure(_) => "cannot reach DynamoDB",
        SdkError::TimeoutError(_) => "DynamoDB did not answer in time",
        _ => "DynamoDB failed",
    };
    let mut text = format!("{what}: {error}");
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

/// Whether the item failed the condition of a write.
pub fn is_condition_failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

/// Converts the SDK's error about an incomplete request, which is a defect in this code.
pub fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> Problem {
    Problem::internal(format!("a DynamoDB request is incomplete: {error}"))
}
