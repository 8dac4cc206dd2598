//! Creating, updating and deleting records.

pub(super) mod update;

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use super::item;
use super::{Store, Written, keys};
use crate::dynamo::attributes::{Item, int, number, string, text};
use crate::dynamo::retry::retry_conflicts;
use crate::dynamo::transaction::{Cancelled, transact};
use crate::dynamo::{self, Attempts, incomplete, is_condition_failure};
use crate::feedback::{Change, Draft, Feedback, RecordRef, Writer};
use crate::fields::Patch;
use crate::id::{FeedbackId, Workspace};
use crate::indexed::Field;
use crate::metadata::name;
use crate::problem::{Fault, Problem};
use crate::schema;
use crate::timestamp::Timestamp;
use update::UpdateExpression;

/// The condition that a record exists and has not expired.
pub(super) const ALIVE: &str =
    "attribute_exists(pk) AND (attribute_not_exists(expires_at) OR expires_at > :now_seconds)";

/// The condition that a record's schema version is known, so that an update does not damage it.
pub(super) const KNOWN: &str = "(attribute_not_exists(#schema) OR #schema <= :schema)";

impl Store {
    /// Stores feedback, all of it or none. One record is a PutItem, several are one transaction.
    ///
    /// # Errors
    ///
    /// [`Problem::Throttled`] if nothing was written, [`Problem::Unavailable`] if that is not certain, or
    /// another failure of DynamoDB.
    pub async fn create(&self, by: &Writer, drafts: Vec<Draft>, now: Timestamp) -> Result<Written, Problem> {
        let records = self.records(by, drafts, now)?;
        if records.iter().any(|record| record.draft.person.is_some()) {
            return self.upsert(&records, now).await;
        }
        match records.as_slice() {
            [record] => self.put(record).await?,
            records => {
                let actions = records
                    .iter()
                    .map(|record| self.put_action(record))
                    .collect::<Result<_, _>>()?;
                transact(&self.client, actions)
                    .await
                    .map_err(Cancelled::into_problem)?;
            }
        }
        Ok(created(&records))
    }

    /// Converts drafts to records created at `now`.
    pub(super) fn records(
        &self,
        by: &Writer,
        drafts: Vec<Draft>,
        now: Timestamp,
    ) -> Result<Vec<Feedback>, Problem> {
        drafts
            .into_iter()
            .enumerate()
            .map(|(index, draft)| self.record(by, draft, index, now))
            .collect()
    }

    async fn put(&self, record: &Feedback) -> Result<(), Problem> {
        let attempts = Attempts::default();
        let result = self
            .client
            .put_item()
            .table_name(&self.feedback)
            .set_item(Some(item::from_feedback(record)))
            .condition_expression("attribute_not_exists(pk)")
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            // The id was generated for this call. If it exists, an attempt whose response was lost has
            // written it.
            Err(error) if is_condition_failure(&error) && attempts.uncertain() => Ok(()),
            Err(error) => Err(dynamo::problem(&error, attempts.uncertain())),
        }
    }

    /// The write of a new record as an action of a transaction.
    pub(super) fn put_action(&self, record: &Feedback) -> Result<TransactWriteItem, Problem> {
        let put = Put::builder()
            .table_name(&self.feedback)
            .set_item(Some(item::from_feedback(record)))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Updates a record. `if_match` is the version that it must be at.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`] if there is no such record with that target, [`Problem::VersionMismatch`] if
    /// it is at another version, or a failure of DynamoDB.
    pub async fn update(
        &self,
        by: &Writer,
        named: &RecordRef,
        change: &Change,
        if_match: Option<u64>,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        let key = self.key(&by.workspace, named, now).await?;
        let expression = UpdateExpression::new(by, named.id, change, now)?;
        let write_id = expression.write_id.clone();
        let (condition, values) = alive_at(named.id, if_match, now);
        // If an attempt wrote but its response was lost, repeating it would increase the version twice or
        // fail its own If-Match. So the item stores the `write_id` of its last update.
        let condition = format!(
            "{condition} AND {KNOWN} AND (attribute_not_exists(write_id) OR write_id <> :write_id){}",
            expression.condition
        );
        let request = self
            .client
            .update_item()
            .table_name(&self.feedback)
            .set_key(Some(key))
            .update_expression(expression.text)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(merged(expression.values, values)))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let attempts = Attempts::default();
        let send = || request.clone().customize().interceptor(attempts.clone()).send();
        let result = retry_conflicts(send).await;
        let version = match result {
            Ok(output) => output.attributes().and_then(|item| int(item, "version")),
            Err(error) => match met_by_update(&error) {
                Some(old) if old.get("write_id") == Some(&write_id) => int(&old, "version"),
                Some(old) => {
                    if !item::is_expired(&old, now) {
                        schema::check(&old, schema::FEEDBACK)?;
                        if item::id(&old) == Some(named.id) {
                            same_person(&old, change)?;
                        }
                    }
                    return Err(unmatched(named.id, Some(&old), now));
                }
                None if is_condition_failure(&error) => return Err(Problem::NotFound),
                None => return Err(dynamo::problem(&error, attempts.uncertain())),
            },
        };
        Ok(Written {
            ids: vec![named.id],
            version: Some(
                version.ok_or_else(|| Problem::internal("the response to an update has no version"))?,
            ),
            replayed: false,
        })
    }

    /// Deletes a record. `if_match` is the version that it must be at.
    ///
    /// # Errors
    ///
    /// As [`Store::update`].
    pub async fn delete(
        &self,
        workspace: &Workspace,
        named: &RecordRef,
        if_match: Option<u64>,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        let key = self.key(workspace, named, now).await?;
        let (condition, values) = alive_at(named.id, if_match, now);
        let request = self
            .client
            .delete_item()
            .table_name(&self.feedback)
            .set_key(Some(key.clone()))
            .condition_expression(condition)
            .set_expression_attribute_names(version_name(if_match))
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let attempts = Attempts::default();
        let send = || request.clone().customize().interceptor(attempts.clone()).send();
        let result = retry_conflicts(send).await;
        let deleted = Written {
            ids: vec![named.id],
            version: None,
            replayed: false,
        };
        match result {
            Ok(_) => {}
            Err(error) => match met_by_delete(&error) {
                // A later vote is stored. The one to delete is gone, perhaps by an earlier attempt of this call.
                Some(old) if attempts.uncertain() && item::id(&old) != Some(named.id) => {}
                Some(old) => return Err(unmatched(named.id, Some(&old), now)),
                // An attempt whose response was lost may have deleted the record, which is a success unless
                // the record has another target than the caller named.
                None if is_condition_failure(&error) && attempts.uncertain() => {
                    if !self.is_elsewhere(workspace, named, &key, now).await? {
                        return Ok(deleted);
                    }
                    return Err(Problem::NotFound);
                }
                None if is_condition_failure(&error) => return Err(Problem::NotFound),
                None => return Err(dynamo::problem(&error, attempts.uncertain())),
            },
        }
        Ok(deleted)
    }

    /// Whether the record is in another partition than `key`. This is checked after a delete that may have
    /// succeeded, so a failure here never says that nothing was written.
    async fn is_elsewhere(
        &self,
        workspace: &Workspace,
        named: &RecordRef,
        key: &Item,
        now: Timestamp,
    ) -> Result<bool, Problem> {
        match self.locate(workspace, named.id, now).await {
            Ok(found) => Ok(found.get("pk") != key.get("pk")),
            Err(Problem::NotFound) => Ok(false),
            Err(Problem::Throttled) => Err(Problem::unavailable(
                "DynamoDB: the look-up after a delete that may have happened was throttled",
            )),
            Err(problem) => Err(problem),
        }
    }

    /// The primary key of a record, from its target if known, otherwise looked up by its id. An upserted
    /// record is always looked up, and its target is compared.
    pub(super) async fn key(
        &self,
        workspace: &Workspace,
        named: &RecordRef,
        now: Timestamp,
    ) -> Result<Item, Problem> {
        let partition = named.target.as_ref().map(keys::partition);
        if let Some(partition) = &partition
            && !named.id.is_upserted()
        {
            return Ok(primary_key(partition.clone(), workspace, named.id));
        }
        let key = self.locate(workspace, named.id, now).await?;
        if partition.is_some() && string(&key, "pk") != partition.as_deref() {
            return Err(Problem::NotFound);
        }
        Ok(key)
    }
}

/// The result of a create.
pub(super) fn created(records: &[Feedback]) -> Written {
    Written {
        ids: records.iter().map(|record| record.id).collect(),
        version: (records.len() == 1).then_some(1),
        replayed: false,
    }
}

/// The primary key of a record in a known partition.
pub(super) fn primary_key(partition: String, workspace: &Workspace, id: FeedbackId) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(partition)),
        ("sk".to_owned(), text(keys::sort(workspace, id))),
    ])
}

/// The condition, with its values, that a record has not expired and is at a version, if one is given. An
/// upserted record may have been replaced by a later one of the same person, with another id.
pub(super) fn alive_at(id: FeedbackId, version: Option<u64>, now: Timestamp) -> (String, Item) {
    let mut values = HashMap::from([(":now_seconds".to_owned(), number(now.seconds()))]);
    let mut condition = ALIVE.to_owned();
    if let Some(version) = version {
        values.insert(":expected".to_owned(), number(version));
        condition.push_str(" AND #version = :expected");
    }
    if id.is_upserted() {
        values.insert(":id".to_owned(), text(id.hyphenated()));
        condition.push_str(" AND id = :id");
    }
    (condition, values)
}

/// The expression attribute names for a condition with a version. DynamoDB rejects names that are not used.
pub(super) fn version_name(version: Option<u64>) -> Option<HashMap<String, String>> {
    version.map(|_| HashMap::from([("#version".to_owned(), "version".to_owned())]))
}

/// The problem if a record does not meet [`alive_at`], based on the stored item.
pub(super) fn unmatched(id: FeedbackId, old: Option<&Item>, now: Timestamp) -> Problem {
    match old {
        Some(old) if !item::is_expired(old, now) && item::id(old) == Some(id) => Problem::VersionMismatch,
        _ => Problem::NotFound,
    }
}

pub(super) fn merged(mut one: Item, other: Item) -> Item {
    one.extend(other);
    one
}

/// Checks that an update does not change the person or question of an upserted record.
pub(super) fn same_person(old: &Item, change: &Change) -> Result<(), Problem> {
    let Patch::Set(metadata) = &change.metadata else {
        return Ok(());
    };
    let mut faults = Vec::new();
    for (attribute, field, asked) in [
        (
            "person",
            "metadata._user",
            metadata.indexed().get(Field::User).map(str::to_owned),
        ),
        (
            "question",
            "metadata._name",
            Some(name(Some(metadata))).filter(|name| !name.is_empty()),
        ),
    ] {
        let stored = string(old, attribute);
        if stored.is_some() && asked.is_some() && stored != asked.as_deref() {
            faults.push(Fault::new(
                field,
                "expected that of the upserted record, or none, got another",
            ));
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::Invalid(faults))
    }
}

/// The item that an update met when its condition failed.
fn met_by_update(error: &SdkError<UpdateItemError>) -> Option<Item> {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(failure)) => failure.item().cloned(),
        _ => None,
    }
}

/// The item that a delete met when its condition failed.
fn met_by_delete(error: &SdkError<DeleteItemError>) -> Option<Item> {
    match error.as_service_error() {
        Some(DeleteItemError::ConditionalCheckFailedException(failure)) => failure.item().cloned(),
        _ => None,
    }
}
