//! Writes under an `Idempotency-Key`.
//!
//! A marker is kept in the table `idempotency` for a day. It is written in one transaction with the write
//! that it belongs to. So the first request under a key takes effect once, even if its response is lost,
//! and a repeat gets its response from the marker. A failed request leaves no marker, so its repeat is a
//! new attempt.

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
use crate::feedback::{Change, Draft, Feedback, RecordRef, Writer};
use crate::id::{FeedbackId, Workspace};
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// How long a key is remembered.
const MARKER_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// An `Idempotency-Key`, with a hash of its request. Only a hash of the key is kept: callers put names of their users
/// into it.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: [u8; 32],
    fingerprint: Blob,
}

impl IdempotencyKey {
    /// A key of 1 to 255 bytes for the request that consists of `parts`. Two requests are the same if all
    /// their parts are.
    pub fn new<'a>(key: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // Hashing the length first keeps adjacent parts distinct.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self {
            key: Sha256::digest(key).into(),
            fingerprint: Blob::new(hash.finalize().to_vec()),
        }
    }
}

/// The reason why an attempt failed.
enum Failed {
    /// Another request under this key or for this record was first, and nothing was written. If it was the
    /// same request, its marker has the response; otherwise another attempt may succeed.
    Raced,
    /// The problem to respond with, unless a marker shows an earlier success.
    Answer(Problem),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Answer(problem)
    }
}

/// A write under a key.
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

    /// [`Store::create`] under a key. The marker is one of a transaction's 100 actions, so there may be at
    /// most 99 `drafts`.
    ///
    /// # Errors
    ///
    /// [`Problem::KeyReused`] if the key was used for another request; a failure of DynamoDB.
    pub async fn create_once(
        &self,
        by: &Writer,
        drafts: Vec<Draft>,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        let records = self.records(by, drafts, now)?;
        self.once(&by.workspace, &Write::Create(&records), key, now).await
    }

    /// [`Store::update`] under a key. A transaction cannot return the version that it made, so the version
    /// is read before and is part of the condition.
    ///
    /// # Errors
    ///
    /// As [`Store::update`], and [`Problem::KeyReused`] if the key was used for another request.
    pub async fn update_once(
        &self,
        by: &Writer,
        named: &RecordRef,
        change: &Change,
        if_match: Option<u64>,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Written, Problem> {
        let expression = Box::new(UpdateExpression::new(by, named.id, change, now)?);
        let write = Write::Update {
            named,
            change,
            expression,
            if_match,
        };
        self.once(&by.workspace, &write, key, now).await
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

    /// Tries until the write succeeds or a marker has the response. The marker is read only after a
    /// failure, so first requests, which are nearly all, cost no read.
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
                // Do not retry while DynamoDB throttles or is down.
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
                return Err(Problem::unavailable(
                    "a transaction conflicted with other requests on every attempt",
                ));
            }
            attempts += 1;
        }
    }

    /// Runs one transaction with the marker and the write.
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

    /// Builds the action that stores the marker, on the condition that there is none or that it has
    /// expired.
    fn mark(
        &self,
        workspace: &Workspace,
        key: &IdempotencyKey,
        written: &Written,
        now: Timestamp,
    ) -> Result<TransactWriteItem, Problem> {
        let ids: Vec<u8> = written.ids.iter().flat_map(|id| *id.as_bytes()).collect();
        let mut marker = HashMap::from([
            ("pk".to_owned(), text(keys::marker(workspace, &key.key))),
            (
                "fingerprint".to_owned(),
                AttributeValue::B(key.fingerprint.clone()),
            ),
            ("ids".to_owned(), AttributeValue::B(Blob::new(ids))),
            ("expires_at".to_owned(), number((now + MARKER_LIFETIME).seconds())),
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
            .key("pk", text(keys::marker(workspace, &key.key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, true))?
            .item;
        Ok(marker.filter(|marker| !item::is_expired(marker, now)))
    }

    /// Reads the version, person and question of an unexpired record that can be updated.
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

/// Returns the result of the first request under the key, if this request is the same.
fn replay(marker: &Item, key: &IdempotencyKey) -> Result<Written, Problem> {
    schema::check(marker, schema::MARKER)?;
    if marker.get("fingerprint") != Some(&AttributeValue::B(key.fingerprint.clone())) {
        return Err(Problem::KeyReused);
    }
    let ids = marker
        .get("ids")
        .and_then(|ids| ids.as_b().ok())
        .ok_or_else(|| Problem::internal("an idempotency marker has no ids"))?;
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
