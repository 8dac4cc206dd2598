//! Rebuilds: counting all roll-ups again while writes, counting and reads continue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::count::{CHECKPOINTS, touched_name};
use super::generation::{GENERATIONS, Generation, Generations};
use super::rollup::Rollup;
use crate::dynamo;
use crate::dynamo::attributes::{Item, int, number, string, text};
use crate::indexed::Field;
use crate::problem::Problem;
use crate::schema;
use crate::store::item::{self, STORED_AT};
use crate::timestamp::Timestamp;

/// How long after the time at which it was stored, by its own account, a record may be written: the deadline of a
/// request. An import keeps to it too.
pub const WRITE_TIME: Duration = Duration::from_secs(10);

/// The tolerance for writers' clocks that are behind DynamoDB's, and for writes that arrive after the
/// request that made them has ended.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// The longest wait before the time is checked again.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The number of records that are touched concurrently.
const CONCURRENCY: usize = 16;

/// The condition that a record exists and does not have the generation's number.
const UNTOUCHED: &str =
    "attribute_exists(pk) AND (attribute_not_exists(generation) OR generation < :generation)";

/// The progress of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of records that were touched.
    pub touched: u64,
    /// The number of touches that were counted.
    pub counted: u64,
}

/// A rebuild of one table of roll-ups from one table of feedback. Every step can be repeated: an
/// interrupted step continues where it stopped.
#[derive(Clone, Debug)]
pub struct Rebuild {
    client: Client,
    feedback: String,
    stats: String,
}

impl Rebuild {
    /// A rebuild of these tables.
    pub fn new(client: Client, feedback: impl Into<String>, stats: impl Into<String>) -> Self {
        Self {
            client,
            feedback: feedback.into(),
            stats: stats.into(),
        }
    }

    /// The current time by DynamoDB's clock, because the clock of the calling machine may be wrong.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a response without a date.
    pub async fn now(&self) -> Result<Timestamp, Problem> {
        dynamo::server_time(&self.client, &self.stats).await
    }

    /// Begins a generation of the newest schema version, or returns the one that is being built. It starts
    /// at `margin` from now. By then, every function that counts has read the generation, since records
    /// after its start are written after the generation was; only a writer whose clock is ahead by more
    /// than `margin` could break this.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or generations of a newer schema version.
    pub async fn begin(&self, margin: Duration) -> Result<Generation, Problem> {
        let before = Generations::read(&self.client, &self.stats).await?;
        if let Some(building) = before.building {
            return Ok(building);
        }
        let building = Generation {
            number: before.current.number + 1,
            schema: schema::STATS,
            since: self.now().await? + margin,
        };
        let after = Generations {
            building: Some(building),
            ..before
        };
        after.replace(before, &self.client, &self.stats).await?;
        Ok(building)
    }

    /// Waits until every record that was stored before the generation's start is in the table. A record
    /// gets its creation time, or the time of its import, before it is written: writing may take as long as a
    /// request may, and the writer's clock may be behind.
    ///
    /// # Errors
    ///
    /// As [`Rebuild::now`].
    pub async fn wait_for_writes(&self, generation: Generation) -> Result<(), Problem> {
        let settled = generation.since + WRITE_TIME + CLOCK_SKEW;
        loop {
            let now = self.now().await?;
            let left = now.until(settled);
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(POLL_INTERVAL)).await;
        }
    }

    /// Touches every record that was stored before the generation began and does not have its number: sets
    /// the number, and the index keys that are missing. Calls `progress` with the number of records
    /// examined since its last call. Call [`Rebuild::wait_for_writes`] first.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB. Touched records stay touched, and another call continues.
    pub async fn touch(
        &self,
        generation: Generation,
        mut progress: impl FnMut(usize),
    ) -> Result<(), Problem> {
        let keys = Field::ALL.map(Field::key).join(", ");
        let columns = format!(
            "pk, sk, id, person, question, generation, {STORED_AT}, #schema, version, metadata, {keys}"
        );
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.feedback)
                .projection_expression(&columns)
                .expression_attribute_names("#schema", schema::ATTRIBUTE)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            let untouched = page.items().iter().filter(|record| {
                item::stored_at(record)
                    .is_some_and(|stored_at| !generation.counts(touched_for(record), stored_at))
            });
            let touched = AtomicU64::new(0);
            let result = stream::iter(untouched.map(Ok))
                .try_for_each_concurrent(CONCURRENCY, async |record| {
                    let by_us = self.touch_record(generation, record).await?;
                    touched.fetch_add(u64::from(by_us), Ordering::Relaxed);
                    Ok(())
                })
                .await;
            let touched = touched.into_inner();
            if touched > 0 {
                self.note_touched(generation, touched).await?;
            }
            result?;
            progress(page.items().len());
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// Sets the generation's number on a record, and its index keys if they are missing or wrong. Returns
    /// whether this call did.
    async fn touch_record(&self, generation: Generation, record: &Item) -> Result<bool, Problem> {
        let mut met: Item;
        let mut record = record;
        loop {
            let key = |name: &str| record.get(name).cloned().map(|value| (name.to_owned(), value));
            let wrong = item::wrong_index_keys(record);
            let mut request = self
                .client
                .update_item()
                .table_name(&self.feedback)
                .set_key(Some(key("pk").into_iter().chain(key("sk")).collect()))
                .expression_attribute_values(":generation", number(generation.number))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let (mut sets, mut removes) = (vec!["generation = :generation".to_owned()], Vec::new());
            for (name, key) in &wrong {
                match key {
                    Some(key) => {
                        sets.push(format!("{name} = :{name}"));
                        request = request.expression_attribute_values(format!(":{name}"), text(key));
                    }
                    None => removes.push(*name),
                }
            }
            let mut update = format!("SET {}", sets.join(", "));
            if !removes.is_empty() {
                update = format!("{update} REMOVE {}", removes.join(", "));
            }
            let mut condition = UNTOUCHED.to_owned();
            if !wrong.is_empty() {
                // The keys belong to the metadata of this version.
                let version: u64 = int(record, "version").unwrap_or_default();
                condition = format!("{condition} AND version = :version");
                request = request.expression_attribute_values(":version", number(version));
            }
            let result = request
                .update_expression(update)
                .condition_expression(condition)
                .send()
                .await;
            let failure = match result {
                Ok(_) => return Ok(true),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(failure)) => {
                        failure.item().cloned()
                    }
                    _ => return Err(dynamo::problem(&error, true)),
                },
            };
            match failure {
                // The record was changed after it was read.
                Some(now) if !wrong.is_empty() && touched_for(&now) < generation.number => met = now,
                // The record was deleted or touched by another attempt. Nothing is left to do.
                _ => return Ok(false),
            }
            record = &met;
        }
    }

    /// Adds to the stored number of touched records, which a resumed rebuild continues.
    async fn note_touched(&self, generation: Generation, more: u64) -> Result<(), Problem> {
        self.client
            .update_item()
            .table_name(&self.stats)
            .set_key(Some(touched_key(generation)))
            .update_expression("ADD touched :more SET #schema = :schema")
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_values(":schema", number(schema::STATS))
            .expression_attribute_values(":more", number(more))
            .send()
            .await
            .map(drop)
            .map_err(|error| dynamo::problem(&error, true))
    }

    /// Returns how many records all attempts touched, and how many of these touches were counted from the
    /// stream. The first number is never too high. It may be too low by one page if an attempt was killed
    /// before storing it, and by touches whose response was lost.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn progress(&self, generation: Generation) -> Result<Progress, Problem> {
        let noted = self
            .client
            .get_item()
            .table_name(&self.stats)
            .set_key(Some(touched_key(generation)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let touched = noted
            .item
            .and_then(|item| int(&item, "touched"))
            .unwrap_or_default();
        let mut checkpoints = self
            .client
            .query()
            .table_name(&self.stats)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(CHECKPOINTS))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let name = touched_name(generation.number);
        let mut counted = 0;
        while let Some(checkpoint) = checkpoints.next().await {
            let checkpoint = checkpoint.map_err(|error| dynamo::problem(&error, false))?;
            counted += int::<u64>(&checkpoint, &name).unwrap_or_default();
        }
        Ok(Progress { touched, counted })
    }

    /// Makes queries read the new generation instead of the old one.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or [`Problem::Unavailable`] if another rebuild has changed the generations.
    pub async fn finish(&self, generation: Generation) -> Result<(), Problem> {
        let before = Generations::read(&self.client, &self.stats).await?;
        if before.current == generation {
            return Ok(());
        }
        let after = Generations {
            current: generation,
            building: None,
        };
        after.replace(before, &self.client, &self.stats).await
    }

    /// Deletes the roll-ups of earlier generations and returns their number. Call it when no function
    /// counts or reads them any more.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB. Another call continues.
    pub async fn clear(&self, generation: Generation) -> Result<usize, Problem> {
        let (mut cleared, mut start) = (0, None);
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.stats)
                .projection_expression("pk, sk")
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            let old = page.items().iter().filter(|item| {
                let rollup = string(item, "pk")
                    .zip(string(item, "sk"))
                    .and_then(|(pk, sk)| Rollup::from_key(pk, sk));
                rollup.is_some_and(|rollup| rollup.generation < generation.number)
            });
            cleared += stream::iter(old)
                .map(|item| self.delete(item))
                .buffer_unordered(CONCURRENCY)
                .try_fold(0, |count, ()| async move { Ok(count + 1) })
                .await?;
            start = page.last_evaluated_key;
            if start.is_none() {
                self.delete(&touched_key(generation)).await?;
                return Ok(cleared);
            }
        }
    }

    async fn delete(&self, item: &Item) -> Result<(), Problem> {
        self.client
            .delete_item()
            .table_name(&self.stats)
            .set_key(Some(item.clone()))
            .send()
            .await
            .map(drop)
            .map_err(|error| dynamo::problem(&error, true))
    }
}

/// The generation that a record was last touched for; 0 if there was none.
fn touched_for(record: &Item) -> u32 {
    int(record, "generation").unwrap_or_default()
}

/// The key of the item with the number of touched records.
fn touched_key(generation: Generation) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(GENERATIONS)),
        ("sk".to_owned(), text(touched_name(generation.number))),
    ])
}
