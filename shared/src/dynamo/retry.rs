//! Retries that the SDK does not make.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::error::is_conflict;
use crate::random;

/// Waits before a retry, longer with each `attempt`. A random part keeps colliding callers apart. Returns
/// `None` after the last attempt.
pub async fn back_off(attempt: u32) -> Option<()> {
    /// Waits double from [`FIRST`] to [`LONGEST`], about three seconds in total.
    const ATTEMPTS: u32 = 16;
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(320);
    if attempt >= ATTEMPTS {
        return None;
    }
    let wait = FIRST.saturating_mul(1 << attempt.min(8)).min(LONGEST);
    let mut chance = [0; 1];
    // Without a random source, wait for the full time.
    let share = match random::fill(&mut chance) {
        Ok(()) => u32::from(chance[0]),
        Err(_) => 255,
    };
    tokio::time::sleep(wait * (64 + share) / 320).await;
    Some(())
}

/// Sends a request, and retries it with [`back_off`] while a transaction is using its item.
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
