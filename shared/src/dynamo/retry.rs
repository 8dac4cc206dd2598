//! Retries of what the SDK does not retry.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::error::is_conflict;
use crate::random;

/// Waits before trying something again, longer with each `attempt`, by chance shorter or longer
/// so that callers who collided do not meet again. `None` after the last attempt.
pub async fn back_off(attempt: u32) -> Option<()> {
    /// With [`FIRST`] doubled each time up to [`LONGEST`], about three seconds in all.
    const ATTEMPTS: u32 = 16;
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(320);
    if attempt >= ATTEMPTS {
        return None;
    }
    let wait = FIRST.saturating_mul(1 << attempt.min(8)).min(LONGEST);
    let mut chance = [0; 1];
    // Without a random source the full wait is as good.
    let share = match random::fill(&mut chance) {
        Ok(()) => u32::from(chance[0]),
        Err(_) => 255,
    };
    tokio::time::sleep(wait * (64 + share) / 320).await;
    Some(())
}

/// Sends a request, and again while a transaction holds its item, with a [`back_off`] between.
///
/// # Errors
///
/// The error of the last attempt.
pub async fn retry_conflicts<T, E, F>(mut send: impl FnMut() -> F) -> Result<T, SdkError<E>>
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    let mut conflicts = 0;
    loop {
        match send().await {
            Err(error) if is_conflict(error.code()) && back_off(conflicts).await.is_some() => {
                conflicts += 1;
            }
            result => return result,
        }
    }
}
