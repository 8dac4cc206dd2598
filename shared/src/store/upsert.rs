//! Upserts: one record per workspace, target, question and person.
//!
//! The sort key of such a record is a hash of question and person, so a vote finds the earlier one by its
//! key, without a read. Its id is an attribute, and is not changed by later votes. One vote is one
//! conditional UpdateItem. Several at once, and one under an `Idempotency-Key`, are a transaction, which returns
//! no attributes: it reads first, and what it read is its condition.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use futures_util::future::try_join_all;

use super::item::{self, WRITTEN_VERSION};
use super::write::update::Clauses;
use super::write::{ALIVE, KNOWN, merged};
use super::{Store, Written};
use crate::dynamo::attributes::{AttributeValue, Item, int, number, string, text};
use crate::dynamo::retry::{back_off, retry_conflicts};
use crate::dynamo::transaction::{Cancelled, transact};
use crate::dynamo::{self, Attempts, incomplete};
use crate::feedback::Feedback;
use crate::id::FeedbackId;
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// Attributes that a later vote leaves as they are.
const KEPT: [&str; 4] = ["id", "time_key", "trace_key", "expires_at"];

/// Attributes that a vote may lack, and a later one without them removes.
const OPTIONAL: [&str; 7] = [
    "value", "weight", "rating", "project", "comment", "reasons", "metadata",
];

/// What several records are written with: their ids as they will be, the version of a single one, and the
/// actions of a transaction.
pub(super) struct Prepared {
    pub(super) written: Written,
    pub(super) actions: Vec<TransactWriteItem>,
}

impl Store {
    /// Stores records, those with a person in the place of the person's earlier ones.
    pub(super) async fn upsert(&self, records: &[Feedback], now: Timestamp) -> Result<Written, Problem> {
        if let [record] = records {
            return self.upsert_one(record, now).await;
        }
        let mut attempts = 0;
        loop {
            let Prepared { written, actions } = self.prepare(records, now).await?;
            match transact(&self.client, actions).await {
                Ok(()) => return Ok(written),
                Err(Cancelled::Problem(problem)) => return Err(problem),
                // Another vote was first.
                Err(Cancelled::Conditions(_) | Cancelled::Conflict) => {}
            }
            if back_off(attempts).await.is_none() {
                return Err(Problem::unavailable("upserts kept losing their races"));
            }
            attempts += 1;
        }
    }

    /// One vote: a single conditional write, unless it meets an expired record that was not swept.
    async fn upsert_one(&self, record: &Feedback, now: Timestamp) -> Result<Written, Problem> {
        let (key, expression) = Replacement::of(record)?;
        let condition = format!(
            "attribute_not_exists(pk) OR ({ALIVE} AND {KNOWN} \
             AND (attribute_not_exists(write_id) OR write_id <> :write_id))"
        );
        let request = self
            .client
            .update_item()
            .table_name(&self.feedback)
            .set_key(Some(key))
            .update_expression(&expression.text)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names.clone()))
            .set_expression_attribute_values(Some(merged(
                expression.values.clone(),
                Item::from([(":now_seconds".to_owned(), number(now.seconds()))]),
            )))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let attempts = Attempts::default();
        let mut lost = 0;
        loop {
            let send = || request.clone().customize().interceptor(attempts.clone()).send();
            let met = match retry_conflicts(send).await {
                Ok(output) => return about(output.attributes()),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(failure)) => {
                        failure.item().cloned()
                    }
                    _ => return Err(dynamo::problem(&error, attempts.uncertain())),
                },
            };
            match met {
                // An attempt of ours, whose answer was lost, has written it.
                Some(old) if old.get("write_id") == Some(&expression.write_id) => return about(Some(&old)),
                Some(old) if !item::is_expired(&old, now) => schema::check(&old, schema::FEEDBACK)?,
                Some(old) if self.replace_expired(record, &old, &attempts, now).await? => {
                    return about(Some(&item::from_feedback(record)));
                }
                _ => {}
            }
            if back_off(lost).await.is_none() {
                return Err(Problem::unavailable("an upsert kept losing its races"));
            }
            lost += 1;
        }
    }

    /// Puts a new record in the place of an expired one. Whether it is there now.
    async fn replace_expired(
        &self,
        record: &Feedback,
        old: &Item,
        attempts: &Attempts,
        now: Timestamp,
    ) -> Result<bool, Problem> {
        let action = self.put_in_place(record, old, now)?;
        match transact(&self.client, vec![action]).await {
            Ok(()) => Ok(true),
            Err(Cancelled::Conditions(_) | Cancelled::Conflict) => Ok(false),
            Err(Cancelled::Problem(Problem::Throttled)) if attempts.uncertain() => Err(Problem::unavailable(
                "dynamodb: throttled after a write that may have happened",
            )),
            Err(Cancelled::Problem(problem)) => Err(problem),
        }
    }

    /// The put of a new record in the place of an expired one.
    fn put_in_place(
        &self,
        record: &Feedback,
        old: &Item,
        now: Timestamp,
    ) -> Result<TransactWriteItem, Problem> {
        let id = old.get("id").cloned().unwrap_or_else(|| text(""));
        let put = Put::builder()
            .table_name(&self.feedback)
            .set_item(Some(item::from_feedback(record)))
            .condition_expression("id = :old_id AND expires_at <= :now_seconds")
            .expression_attribute_values(":old_id", id)
            .expression_attribute_values(":now_seconds", number(now.seconds()))
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Reads what is there, and makes actions that hold only as long as it is. Of two records of one person the
    /// last counts.
    pub(super) async fn prepare(&self, records: &[Feedback], now: Timestamp) -> Result<Prepared, Problem> {
        let mut last: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut places = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let item = item::from_feedback(record);
            let part = |name: &str| string(&item, name).unwrap_or_default().to_owned();
            let place = (part("pk"), part("sk"));
            last.insert(place.clone(), index);
            places.push(place);
        }
        let upserted: BTreeSet<&(String, String)> = places
            .iter()
            .zip(records)
            .filter(|(_, record)| record.draft.person.is_some())
            .map(|(place, _)| place)
            .collect();
        let reads = upserted
            .into_iter()
            .map(async |place| Ok((place.clone(), self.met(place).await?)));
        let met: BTreeMap<(String, String), Option<Item>> = try_join_all(reads).await?.into_iter().collect();
        let (mut ids, mut version, mut actions) = (Vec::new(), 1, Vec::new());
        for (index, (record, place)) in records.iter().zip(&places).enumerate() {
            let is_last = last.get(place) == Some(&index);
            let winner = last
                .get(place)
                .and_then(|index| records.get(*index))
                .unwrap_or(record);
            let alive = match met.get(place).and_then(Option::as_ref) {
                Some(old) if item::is_expired(old, now) => {
                    if is_last {
                        actions.push(self.put_in_place(record, old, now)?);
                    }
                    None
                }
                Some(old) => {
                    schema::check(old, schema::FEEDBACK)?;
                    Some(old)
                }
                None => {
                    if is_last {
                        actions.push(self.put_action(record)?);
                    }
                    None
                }
            };
            let Some(old) = alive else {
                ids.push(winner.id);
                continue;
            };
            let unreadable = || Problem::internal("an upserted record without id or version");
            let id = item::id(old).ok_or_else(unreadable)?;
            let seen: u64 = int(old, "version").ok_or_else(unreadable)?;
            ids.push(id);
            version = seen + 1;
            if is_last {
                let expected = (records.len() == 1).then_some(seen);
                actions.push(self.replace_action(record, id, expected, now)?);
            }
        }
        let written = Written {
            ids,
            version: (records.len() == 1).then_some(version),
            replayed: false,
        };
        Ok(Prepared { written, actions })
    }

    /// The update of a living record of this id, at this version if one is told.
    fn replace_action(
        &self,
        record: &Feedback,
        id: FeedbackId,
        version: Option<u64>,
        now: Timestamp,
    ) -> Result<TransactWriteItem, Problem> {
        let (key, expression) = Replacement::of(record)?;
        let (condition, values) = super::write::alive_at(id, version, now);
        let mut values = merged(expression.values, values);
        // What would be its id if there were none.
        values.insert(":id".to_owned(), text(id.hyphenated()));
        let update = Update::builder()
            .table_name(&self.feedback)
            .set_key(Some(key))
            .update_expression(expression.text)
            .condition_expression(format!("{condition} AND {KNOWN}"))
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(values))
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// What is stored under a primary key, as far as an upsert asks.
    async fn met(&self, (pk, sk): &(String, String)) -> Result<Option<Item>, Problem> {
        let found = self
            .client
            .get_item()
            .table_name(&self.feedback)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .projection_expression("pk, sk, id, #schema, #version, expires_at")
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_names("#version", "version")
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        Ok(found.item)
    }
}

/// A vote as an update of whatever is there.
struct Replacement {
    text: String,
    names: std::collections::HashMap<String, String>,
    values: Item,
    write_id: AttributeValue,
}

impl Replacement {
    /// The primary key of a record, and the update that makes what is there be it: its attributes but for the
    /// id and what else stays, its version one more.
    fn of(record: &Feedback) -> Result<(Item, Self), Problem> {
        let mut item = item::from_feedback(record);
        let mut key = Item::new();
        for name in ["pk", "sk"] {
            key.extend(item.remove_entry(name));
        }
        item.remove("version");
        item.remove(schema::ATTRIBUTE);
        let is_attributed = item.remove(WRITTEN_VERSION).is_some();
        let mut mark = [0; 8];
        crate::random::fill(&mut mark)?;
        let write_id = AttributeValue::B(mark.to_vec().into());
        let mut clauses = Clauses::default();
        clauses.set("write_id", write_id.clone());
        let before = "if_not_exists(#version, :zero)";
        clauses.values.insert(":zero".to_owned(), number(0));
        clauses.raise("version", before);
        // An imported record stays one.
        clauses
            .sets
            .push("#schema = if_not_exists(#schema, :upserted)".to_owned());
        clauses
            .names
            .insert("#schema".to_owned(), schema::ATTRIBUTE.to_owned());
        clauses
            .values
            .insert(":upserted".to_owned(), number(schema::UPSERTED));
        clauses
            .values
            .insert(":schema".to_owned(), number(schema::FEEDBACK));
        if is_attributed {
            clauses.raise(WRITTEN_VERSION, before);
        }
        let optional = OPTIONAL
            .into_iter()
            .chain(crate::indexed::Field::ALL.map(crate::indexed::Field::key));
        for name in optional {
            if !item.contains_key(name) {
                clauses.remove(name);
            }
        }
        for (name, value) in item {
            if KEPT.contains(&name.as_str()) {
                clauses.set_if_absent(&name, value);
            } else {
                clauses.set(&name, value);
            }
        }
        let replacement = Self {
            text: clauses.text(),
            names: clauses.names,
            values: clauses.values,
            write_id,
        };
        Ok((key, replacement))
    }
}

/// What was written, seeing it.
fn about(item: Option<&Item>) -> Result<Written, Problem> {
    let read = || {
        let item = item?;
        Some(Written {
            ids: vec![item::id(item)?],
            version: Some(int(item, "version")?),
            replayed: false,
        })
    };
    read().ok_or_else(|| Problem::internal("an upsert answered without id or version"))
}
