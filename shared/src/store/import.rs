//! Storing records that were created elsewhere, or here before an export.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValuesOnConditionCheckFailure};

use super::Store;
use super::item;
use crate::dynamo::attributes::{Item, string};
use crate::dynamo::batch::items_of_keys;
use crate::dynamo::retry::retry_conflicts;
use crate::dynamo::{self, Attempts};
use crate::feedback::Feedback;
use crate::id::FeedbackId;
use crate::problem::Problem;
use crate::tables::FEEDBACK;
use crate::timestamp::Timestamp;

/// The primary key of a record.
pub type Place = (String, String);

/// The result of storing one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is stored.
    Stored,
    /// A record with this id is in its place, and was left as it is. It is the same record, or another vote of the
    /// same person; `None` if the id cannot be read.
    Met(Option<FeedbackId>),
}

impl Store {
    /// The place of a record in the table. Only one record can be in a place.
    pub fn place(record: &Feedback) -> Place {
        place(&item::from_feedback(record))
    }

    /// Returns the ids of the records that are in these places, at most
    /// [`MAX_KEYS`](crate::dynamo::batch::MAX_KEYS) different ones. A record that was stored a moment ago may be
    /// missing: the write decides.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn in_places(&self, places: Vec<Place>) -> Result<HashMap<Place, Option<FeedbackId>>, Problem> {
        let key = |(pk, sk): Place| {
            Item::from([
                ("pk".to_owned(), dynamo::attributes::text(pk)),
                ("sk".to_owned(), dynamo::attributes::text(sk)),
            ])
        };
        let keys = places.into_iter().map(key).collect();
        let read = KeysAndAttributes::builder().projection_expression("pk, sk, id");
        let met = items_of_keys(&self.client, &self.feedback, keys, &read).await?;
        Ok(met.iter().map(|met| (place(met), item::id(met))).collect())
    }

    /// Stores a record as it is, with its id, times and version, unless one is in its place. `stored_at` is the time by
    /// DynamoDB's clock; the call must end within [`WRITE_TIME`](crate::stats::rebuild::WRITE_TIME) of it.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB. Another call finds whether it was stored.
    pub async fn import(&self, record: &Feedback, stored_at: Timestamp) -> Result<Imported, Problem> {
        let request = self
            .client
            .put_item()
            .table_name(&self.feedback)
            .set_item(Some(item::from_imported(record, stored_at)))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let attempts = Attempts::default();
        let send = || request.clone().customize().interceptor(attempts.clone()).send();
        match retry_conflicts(send).await {
            Ok(_) => Ok(Imported::Stored),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failure)) => {
                    match failure.item().and_then(item::id) {
                        // An attempt whose response was lost has stored it.
                        Some(id) if id == record.id && attempts.uncertain() => Ok(Imported::Stored),
                        id => Ok(Imported::Met(id)),
                    }
                }
                _ => Err(dynamo::problem(&error, attempts.uncertain())),
            },
        }
    }

    /// Whether a record that was stored is in every index that it belongs to, which lists and look-ups by id read.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn is_indexed(&self, record: &Feedback) -> Result<bool, Problem> {
        let item = item::from_feedback(record);
        for index in FEEDBACK.indexes {
            let (Some(hash), Some(id)) = (item.get(index.hash), item.get(index.range)) else {
                continue;
            };
            let found = self
                .client
                .query()
                .table_name(&self.feedback)
                .index_name(index.name)
                .key_condition_expression("#hash = :hash AND #range = :range")
                .expression_attribute_names("#hash", index.hash)
                .expression_attribute_names("#range", index.range)
                .expression_attribute_values(":hash", hash.clone())
                .expression_attribute_values(":range", id.clone())
                .projection_expression("pk, sk")
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            if found.items().is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn place(item: &Item) -> Place {
    let part = |name: &str| string(item, name).unwrap_or_default().to_owned();
    (part("pk"), part("sk"))
}
