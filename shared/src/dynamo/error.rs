//! What DynamoDB's errors mean here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};

use crate::problem::Problem;

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

/// Whether the item did not meet the condition of a write.
pub fn is_condition_failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

/// A request of ours that the SDK finds incomplete: a defect.
pub fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> Problem {
    Problem::internal(format!("a DynamoDB request is incomplete: {error}"))
}
