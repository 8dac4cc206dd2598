//! One's own votes: upserted records by their target and person.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValue};

use super::item;
use super::write::{ALIVE, KNOWN};
use super::{Store, keys};
use crate::dynamo::attributes::{Item, number, string, text};
use crate::dynamo::retry::{back_off, retry_conflicts};
use crate::dynamo::{self, Attempts, incomplete};
use crate::feedback::Feedback;
use crate::id::Workspace;
use crate::person::Person;
use crate::problem::Problem;
use crate::schema;
use crate::target::Target;
use crate::timestamp::Timestamp;

/// The primary key of a person's vote on a target.
fn key(workspace: &Workspace, target: &Target, person: &Person) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(keys::partition(target))),
        ("sk".to_owned(), text(keys::upserted_sort(workspace, person))),
    ])
}

impl Store {
    /// A person's votes on these targets, in their order, as they are now. At most 100 targets.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a record of a newer schema version.
    pub async fn own(
        &self,
        workspace: &Workspace,
        targets: &[Target],
        person: &Person,
        now: Timestamp,
    ) -> Result<Vec<Option<Feedback>>, Problem> {
        let wanted: HashMap<String, Item> = targets
            .iter()
            .map(|target| (keys::partition(target), key(workspace, target, person)))
            .collect();
        let mut found: HashMap<String, Feedback> = HashMap::new();
        let (mut asked, mut attempt): (Vec<Item>, _) = (wanted.into_values().collect(), 0);
        while !asked.is_empty() {
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(asked))
                .consistent_read(true)
                .build()
                .map_err(incomplete)?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.feedback, keys)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            for item in answer.responses.unwrap_or_default().into_values().flatten() {
                let feedback = item::to_feedback(&item)?;
                if let Some(partition) = string(&item, "pk")
                    && !feedback.is_expired(now)
                {
                    found.insert(partition.to_owned(), feedback);
                }
            }
            let left = answer.unprocessed_keys.unwrap_or_default();
            asked = left.into_values().flat_map(|keys| keys.keys).collect();
            if !asked.is_empty() {
                back_off(attempt).await.ok_or(Problem::Throttled)?;
                attempt += 1;
            }
        }
        let votes = targets
            .iter()
            .map(|target| found.get(&keys::partition(target)).cloned());
        Ok(votes.collect())
    }

    /// Deletes a person's vote on a target, and returns it; `None` where an attempt whose response was lost has
    /// deleted it.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`] if there is none; a failure of DynamoDB.
    pub async fn retract(
        &self,
        workspace: &Workspace,
        target: &Target,
        person: &Person,
        now: Timestamp,
    ) -> Result<Option<Feedback>, Problem> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.feedback)
            .set_key(Some(key(workspace, target, person)))
            .condition_expression(format!("{ALIVE} AND {KNOWN}"))
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_values(":schema", number(schema::FEEDBACK))
            .expression_attribute_values(":now_seconds", number(now.seconds()))
            .return_values(ReturnValue::AllOld);
        let attempts = Attempts::default();
        let send = || request.clone().customize().interceptor(attempts.clone()).send();
        match retry_conflicts(send).await {
            Ok(output) => output.attributes().map(item::to_feedback).transpose(),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) if attempts.uncertain() => Ok(None),
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Err(Problem::NotFound),
                _ => Err(dynamo::problem(&error, attempts.uncertain())),
            },
        }
    }
}
