//! One's own votes: upserted records by their target and person.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValue};

use super::item;
use super::write::{ALIVE, KNOWN};
use super::{Store, keys};
use crate::dynamo::attributes::{Item, number, string, text};
use crate::dynamo::batch::items_of_keys;
use crate::dynamo::retry::retry_conflicts;
use crate::dynamo::{self, Attempts};
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
        let consistent = KeysAndAttributes::builder().consistent_read(true);
        let keys = wanted.into_values().collect();
        for item in items_of_keys(&self.client, &self.feedback, keys, &consistent).await? {
            let feedback = item::to_feedback(&item)?;
            if let Some(partition) = string(&item, "pk")
                && !feedback.is_expired(now)
            {
                found.insert(partition.to_owned(), feedback);
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
