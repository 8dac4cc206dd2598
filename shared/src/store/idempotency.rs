//! Writes under an `Idempotency-Key`.
//!
//! A marker, kept for a day in the table `idempotency`, is written in one transaction with what it
//! marks. So a key's first request takes effect once, whatever becomes of its answer, and a repeat
//! is answered from the marker. A request that fails leaves no marker: its repeat is tried anew.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use sha2::{Digest as _, Sha256};

use super::item;
use super::upsert::Prepared;
use super::write::update::UpdateExpression;
use super::write::{KNOWN, alive_at, created, merged, same_person, unmatched, version_name};
use super::{Store, Written, keys};
use crate::dynamo::attributes::{Item, int, number, text};
use crate::dynamo::retry::back_off;
use crate::dynamo::transaction::{Cancelled, transact};
use crate::dynamo::{self, incomplete};
use crate::feedback::{Change, Draft, Feedback, RecordRef};
use crate::id::{FeedbackId, Workspace};
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// How long a key is remembered.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A caller's key for one request, and what that request is.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    fingerprint: Blob,
}

impl IdempotencyKey {
    /// A key of 1 to 255 bytes for the request that `parts` are all of. Two requests are the same
    /// if all their parts are.
    pub fn new<'a>(key: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length before it, a part cannot run into the next.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self {
            key: key.to_owned(),
            fingerprint: Blob::new(hash.finalize().to_vec()),
        }
    }
}

/// Why an attempt did not go through.
enum Failed {
    /// Another request was first, under this key or on this record, and nothing was written. If it
    /// was this very request, its marker tells; if not, it is worth another try.
    Raced,
    /// Unless the marker tells of an earlier success, this is the answer.
    Answer(Problem),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Answer(problem)
    }
}

/// What is to take effect once.
enum Write<'a> {
    Create(&'a [Feedback]),
    Update {
        named: &'a RecordRef,
        change: &'a Change,
        expression: Box<UpdateExpression>,
        if_match: Option<u64>,
    },
    Delete {
        named: &'a RecordRef,
        if_match: Option<u64>,
    },
}

impl Store {
    /// The table of markers.
    fn markers(&self) -> Result<&str, Problem> {
        let missing = || Problem::internal("this function has no table of Idempotency-Keys");
        self.idempotency.as_deref().ok_or_else(missing)
    }

    /// [`Store::create`] under a key. Of the 100 actions of a transaction the marker is one, so
    /// `drafts` may be 99 at most.
    ///
    /// # Errors
    ///
    /// [`Problem::KeyReused`] if the key was used for another request; a failure of DynamoDB.
    pub async fn create_once(
        &self,
        workspace: &Workspace,
        drafts: Vec<Draft>,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        let records = self.records(workspace, drafts, now)?;
        self.once(workspace, &Write::Create(&records), key, now).await
    }

    /// [`Store::update`] under a key. A transaction cannot answer with the version it made, so the
    /// version is read before it and is part of its condition.
    ///
    /// # Errors
    ///
    /// As [`Store::update`], and [`Problem::KeyReused`] if the key was used for another request.
    pub async fn update_once(
        &self,
        workspace: &Workspace,
        named: &RecordRef,
        change: &Change,
        if_match: Option<u64>,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        let expression = Box::new(UpdateExpression::new(workspace, named.id, change, now)?);
        let write = Write::Update {
            named,
            change,
            expression,
            if_match,
        };
        self.once(workspace, &write, key, now).await
    }

    /// [`Store::delete`] under a key.
    ///
    /// # Errors
    ///
    /// As [`Store::delete`], and [`Problem::KeyReused`] if the key was used for another request.
    pub async fn delete_once(
        &self,
        workspace: &Workspace,
        named: &RecordRef,
        if_match: Option<u64>,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        self.once(workspace, &Write::Delete { named, if_match }, key, now)
            .await
    }

    /// Tries until it went through or a marker says what is to be answered. The marker is looked
    /// at only after a failure: first requests, nearly all there are, pay for no read.
    async fn once(
        &self,
        workspace: &Workspace,
        write: &Write<'_>,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        let mut attempts = 0;
        loop {
            let failed = match self.attempt(workspace, write, key, now).await {
                Ok(written) => return Ok(written),
                // A database that is throttled or down is not asked once more.
                Err(Failed::Answer(
                    problem @ (Problem::Throttled | Problem::Unavailable { .. } | Problem::Internal { .. }),
                )) => return Err(problem),
                Err(failed) => failed,
            };
            if let Some(marker) = self.marker(workspace, key, now).await? {
                return replay(&marker, key);
            }
            if let Failed::Answer(problem) = failed {
                return Err(problem);
            }
            if back_off(attempts).await.is_none() {
                return Err(Problem::unavailable("a transaction kept losing its races"));
            }
            attempts += 1;
        }
    }

    /// One transaction of the marker and what it marks.
    async fn attempt(
        &self,
        workspace: &Workspace,
        write: &Write<'_>,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Written, Failed> {
        let (written, mut actions) = match write {
            Write::Create(records) if has_person(records) => {
                let Prepared { written, actions } = self.prepare(records, now).await?;
                (written, actions)
            }
            Write::Create(records) => {
                let actions = records
                    .iter()
                    .map(|record| self.put_action(record))
                    .collect::<Result<Vec<_>, _>>()?;
                (created(records), actions)
            }
            Write::Update {
                named,
                change,
                expression,
                if_match,
            } => {
                let record = self.key(workspace, named, now).await?;
                let stored = self.updatable(&record, named.id, now).await?;
                let seen = int(&stored, "version");
                let seen: u64 = seen.ok_or_else(|| Problem::internal("a record without a version"))?;
                same_person(&stored, change)?;
                if if_match.is_some_and(|expected| expected != seen) {
                    return Err(Problem::VersionMismatch.into());
                }
                let written = Written {
                    ids: vec![named.id],
                    version: Some(seen + 1),
                    replayed: false,
                };
                (
                    written,
                    vec![self.update_action(record, named.id, expression, seen, now)?],
                )
            }
            Write::Delete { named, if_match } => {
                let record = self.key(workspace, named, now).await?;
                let written = Written {
                    ids: vec![named.id],
                    version: None,
                    replayed: false,
                };
                (
                    written,
                    vec![self.delete_action(record, named.id, *if_match, now)?],
                )
            }
        };
        actions.insert(0, self.mark(workspace, key, &written, now)?);
        match transact(&self.client, actions).await {
            Ok(()) => Ok(written),
            Err(Cancelled::Problem(problem)) => Err(problem.into()),
            Err(Cancelled::Conflict) => Err(Failed::Raced),
            Err(Cancelled::Conditions(failed)) => Err(match (failed.first(), write) {
                // The first action is the marker.
                (Some((1.., met)), Write::Delete { named, .. }) => {
                    unmatched(named.id, met.as_ref(), now).into()
                }
                (Some((1.., _)), Write::Create(records)) if has_person(records) => Failed::Raced,
                (Some((1.., _)), Write::Create(_)) => Problem::internal("a newly minted id is taken").into(),
                _ => Failed::Raced,
            }),
        }
    }

    fn update_action(
        &self,
        record: Item,
        id: FeedbackId,
        expression: &UpdateExpression,
        seen: u64,
        now: Timestamp,
    ) -> Result<TransactWriteItem, Problem> {
        let (condition, values) = alive_at(id, Some(seen), now);
        let update = Update::builder()
            .table_name(&self.feedback)
            .set_key(Some(record))
            .update_expression(&expression.text)
            .condition_expression(format!("{condition} AND {KNOWN}{}", expression.condition))
            .set_expression_attribute_names(Some(expression.names.clone()))
            .set_expression_attribute_values(Some(merged(expression.values.clone(), values)))
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn delete_action(
        &self,
        record: Item,
        id: FeedbackId,
        if_match: Option<u64>,
        now: Timestamp,
    ) -> Result<TransactWriteItem, Problem> {
        let (condition, values) = alive_at(id, if_match, now);
        let delete = Delete::builder()
            .table_name(&self.feedback)
            .set_key(Some(record))
            .condition_expression(condition)
            .set_expression_attribute_names(version_name(if_match))
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// The marker as an action of a transaction: it must be new, or the old one past its day.
    fn mark(
        &self,
        workspace: &Workspace,
        key: &IdempotencyKey,
        written: &Written,
        now: Timestamp,
    ) -> Result<TransactWriteItem, Problem> {
        let ids: Vec<u8> = written.ids.iter().flat_map(|id| *id.as_bytes()).collect();
        let mut marker = HashMap::from([
            ("pk".to_owned(), text(keys::spread(workspace, &key.key))),
            (
                "fingerprint".to_owned(),
                AttributeValue::B(key.fingerprint.clone()),
            ),
            ("ids".to_owned(), AttributeValue::B(Blob::new(ids))),
            ("expires_at".to_owned(), number((now + KEPT).seconds())),
            (schema::ATTRIBUTE.to_owned(), number(schema::MARKER)),
        ]);
        if let Some(version) = written.version {
            marker.insert("version".to_owned(), number(version));
        }
        let put = Put::builder()
            .table_name(self.markers()?)
            .set_item(Some(marker))
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now_seconds")
            .expression_attribute_values(":now_seconds", number(now.seconds()))
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    async fn marker(
        &self,
        workspace: &Workspace,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Item>, Problem> {
        let marker = self
            .client
            .get_item()
            .table_name(self.markers()?)
            .key("pk", text(keys::spread(workspace, &key.key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, true))?
            .item;
        Ok(marker.filter(|marker| !item::is_expired(marker, now)))
    }

    /// The version, person and question of a living record that can be updated.
    async fn updatable(&self, key: &Item, id: FeedbackId, now: Timestamp) -> Result<Item, Problem> {
        let found = self
            .client
            .get_item()
            .table_name(&self.feedback)
            .set_key(Some(key.clone()))
            .projection_expression("pk, sk, id, person, question, #schema, #version, expires_at")
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_names("#version", "version")
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?
            .item
            .filter(|found| !item::is_expired(found, now) && item::id(found) == Some(id))
            .ok_or(Problem::NotFound)?;
        schema::check(&found, schema::FEEDBACK)?;
        Ok(found)
    }
}

fn has_person(records: &[Feedback]) -> bool {
    records.iter().any(|record| record.draft.person.is_some())
}

/// What the first request under the key was answered, if this is that request again.
fn replay(marker: &Item, key: &IdempotencyKey) -> Result<Written, Problem> {
    schema::check(marker, schema::MARKER)?;
    if marker.get("fingerprint") != Some(&AttributeValue::B(key.fingerprint.clone())) {
        return Err(Problem::KeyReused);
    }
    let ids = marker
        .get("ids")
        .and_then(|ids| ids.as_b().ok())
        .ok_or_else(|| Problem::internal("an idempotency marker without ids"))?;
    Ok(Written {
        ids: ids
            .as_ref()
            .chunks_exact(16)
            .filter_map(|bytes| bytes.try_into().ok().map(FeedbackId::from_bytes))
            .collect(),
        version: int(marker, "version"),
        replayed: true,
    })
}
