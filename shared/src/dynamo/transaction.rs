//! Transactions: several writes that all happen or none.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;

use super::attributes::Item;
use super::error::{Attempts, cause, is_throttle, problem};
use crate::problem::Problem;

/// Why a transaction was cancelled.
pub enum Cancelled {
    /// The index of each action whose condition failed, in order, and the item it met.
    Conditions(Vec<(usize, Option<Item>)>),
    /// Another transaction was using an item. Nothing was written, and it may be retried.
    Conflict,
    /// Anything else.
    Problem(Problem),
}

impl Cancelled {
    /// Converts the reason for a transaction that could not fail a condition or conflict.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Conditions(_) => Problem::internal("a newly minted id is taken"),
            Self::Conflict => Problem::unavailable("a transaction conflict on new records"),
            Self::Problem(problem) => problem,
        }
    }
}

/// Runs a transaction. The SDK adds a `ClientRequestToken`, so that its own retries take effect once.
///
/// # Errors
///
/// [`Cancelled`]. Nothing was written if conditions failed or another transaction was in the way.
pub async fn transact(client: &Client, actions: Vec<TransactWriteItem>) -> Result<(), Cancelled> {
    let attempts = Attempts::default();
    let result = client
        .transact_write_items()
        .set_transact_items(Some(actions))
        .customize()
        .interceptor(attempts.clone())
        .send()
        .await;
    let Err(error) = result else {
        return Ok(());
    };
    let general = |error| Cancelled::Problem(problem(error, attempts.uncertain()));
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return Err(general(&error));
    };
    let codes = || cancelled.cancellation_reasons().iter().enumerate();
    let failed: Vec<_> = codes()
        .filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"))
        .map(|(place, reason)| (place, reason.item().cloned()))
        .collect();
    let has = |test: &dyn Fn(&str) -> bool| codes().any(|(_, reason)| reason.code().is_some_and(test));
    if !failed.is_empty() {
        Err(Cancelled::Conditions(failed))
    } else if has(&|code| code == "TransactionConflict") {
        Err(Cancelled::Conflict)
    } else if has(&is_throttle) {
        Err(Cancelled::Problem(if attempts.uncertain() {
            Problem::unavailable(cause(&error))
        } else {
            Problem::Throttled
        }))
    } else {
        Err(general(&error))
    }
}
