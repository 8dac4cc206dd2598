//! Look-ups of many items by their keys.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder;

use super::attributes::Item;
use super::error::{incomplete, problem};
use super::retry::back_off;
use crate::problem::Problem;

/// The maximum number of keys in a BatchGetItem
/// (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
pub const MAX_KEYS: usize = 100;

/// Returns the items of a table with these keys, at most [`MAX_KEYS`] different ones, in no order. `read` has the options
/// of the request. Keys that DynamoDB left out, for lack of capacity or beyond 16 MB, are requested again.
///
/// # Errors
///
/// A failure of DynamoDB; [`Problem::Throttled`] if it keeps leaving keys out.
pub async fn items_of_keys(
    client: &Client,
    table: &str,
    keys: Vec<Item>,
    read: &KeysAndAttributesBuilder,
) -> Result<Vec<Item>, Problem> {
    let (mut asked, mut found, mut attempt) = (keys, Vec::new(), 0);
    while !asked.is_empty() {
        let keys = read.clone().set_keys(Some(asked)).build().map_err(incomplete)?;
        let answer = client
            .batch_get_item()
            .request_items(table, keys)
            .send()
            .await
            .map_err(|error| problem(&error, false))?;
        found.extend(answer.responses.unwrap_or_default().into_values().flatten());
        let left = answer.unprocessed_keys.unwrap_or_default();
        asked = left.into_values().flat_map(|keys| keys.keys).collect();
        if !asked.is_empty() {
            back_off(attempt).await.ok_or(Problem::Throttled)?;
            attempt += 1;
        }
    }
    Ok(found)
}
