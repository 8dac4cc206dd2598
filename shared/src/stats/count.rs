//! Counting a stream's changes, each exactly once.
//!
//! The stream delivers at least once: a batch may come again, whole, halved, or beside others. So
//! each shard has a checkpoint, the sequence number up to which it has been counted, which is
//! written in one transaction with the counters. What is at or below it is skipped; and the
//! transaction's condition is that the checkpoint is still the one it was computed from.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use serde::Deserialize;

use super::generation::Generations;
use super::image::{Counted, Image, mark};
use super::rollup::{Rollup, counters};
use super::tally::Tally;
use crate::config::Config;
use crate::dynamo;
use crate::problem::Problem;
use crate::schema;
use crate::store::back_off;
use crate::store::item::{AttributeValue, Item, number, string, text};
use crate::store::write::{Cancelled, incomplete, transact};
use crate::timestamp::Timestamp;

/// The most roll-ups of one transaction: DynamoDB's 100 actions, one of them the checkpoint.
const MOST: usize = 99;

/// How long a checkpoint is kept after its last use. A stream keeps a change for a day.
const CHECKPOINT_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The partition that all checkpoints are in.
pub const CHECKPOINTS: &str = "checkpoint";

/// One change of the table, as the stream tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamRecord {
    /// The change.
    pub dynamodb: StreamChange,
}

/// The states before and after a change.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StreamChange {
    /// When it happened, in seconds since the epoch.
    #[serde(default)]
    pub approximate_creation_date_time: f64,
    /// The state after it; none after a delete.
    pub new_image: Option<Image>,
    /// The state before it; none before a create.
    pub old_image: Option<Image>,
    /// Its place in its shard.
    pub sequence_number: SequenceNumber,
}

/// A change's place in its shard: a decimal number of up to 40 digits.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub struct SequenceNumber(pub String);

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let digits = |number: &Self| number.0.trim_start_matches('0').to_owned();
        let (one, two) = (digits(self), digits(other));
        (one.len(), one).cmp(&(two.len(), two))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many changes were counted now.
    pub counted: usize,
    /// The first change that could not be read. Those before it are counted, it and those after
    /// it are not.
    pub poison: Option<SequenceNumber>,
}

/// Counts changes into the table `stats`.
#[derive(Clone, Debug)]
pub struct Counter {
    client: Client,
    config: Arc<Config>,
}

impl Counter {
    /// A counter over this client.
    pub fn new(client: Client, config: Arc<Config>) -> Self {
        Self { client, config }
    }

    /// Counts the changes of one shard that are not counted yet, in the order of their numbers. A
    /// failure leaves everything up to some change counted, and the rest for the next delivery.
    pub async fn count(&self, shard: &str, mut records: Vec<StreamRecord>) -> Result<Outcome, Problem> {
        records.sort_by(|one, other| one.dynamodb.sequence_number.cmp(&other.dynamodb.sequence_number));
        records.dedup_by(|one, other| one.dynamodb.sequence_number == other.dynamodb.sequence_number);
        let mut conflicts = 0;
        let mut counted = 0;
        let mut checkpoint = self.checkpoint(shard).await?;
        let generations = Generations::read(&self.client, &self.config.stats).await?;
        loop {
            let fresh = records.iter().map(|record| &record.dynamodb).filter(|change| {
                checkpoint
                    .as_ref()
                    .is_none_or(|checkpoint| change.sequence_number > *checkpoint)
            });
            let batch = Batch::of(fresh, generations);
            let Some(last) = batch.last else {
                return Ok(Outcome {
                    counted,
                    poison: batch.poison,
                });
            };
            match self.commit(shard, checkpoint.as_ref(), last, &batch).await {
                Ok(()) => {
                    counted += batch.size;
                    conflicts = 0;
                    checkpoint = Some(last.sequence_number.clone());
                }
                Err(Cancelled::Problem(problem)) => return Err(problem),
                // Somebody else was here, on this shard or on one of its roll-ups.
                Err(Cancelled::Conflict | Cancelled::Conditions(_)) => {
                    if back_off(conflicts).await.is_none() {
                        return Err(Problem::unavailable("the roll-ups are too busy"));
                    }
                    conflicts += 1;
                    checkpoint = self.checkpoint(shard).await?;
                }
            }
        }
    }

    /// Up to where a shard has been counted.
    pub async fn checkpoint(&self, shard: &str) -> Result<Option<SequenceNumber>, Problem> {
        let found = self
            .client
            .get_item()
            .table_name(&self.config.stats)
            .set_key(Some(checkpoint_key(shard)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let Some(item) = found.item else {
            return Ok(None);
        };
        schema::check(&item, schema::STATS)?;
        Ok(string(&item, "sequence").map(|text| SequenceNumber(text.to_owned())))
    }

    async fn commit(
        &self,
        shard: &str,
        before: Option<&SequenceNumber>,
        last: &StreamChange,
        batch: &Batch<'_>,
    ) -> Result<(), Cancelled> {
        let mut actions = vec![
            self.advance(shard, before, last, batch.touched)
                .map_err(Cancelled::Problem)?,
        ];
        for (rollup, tally) in &batch.tallies {
            actions.extend(self.add(rollup, tally).map_err(Cancelled::Problem)?);
        }
        transact(&self.client, actions).await
    }

    fn advance(
        &self,
        shard: &str,
        before: Option<&SequenceNumber>,
        last: &StreamChange,
        touched: Option<(u32, usize)>,
    ) -> Result<TransactWriteItem, Problem> {
        let counted_to = Timestamp::from_seconds(last.approximate_creation_date_time);
        let update = Update::builder()
            .table_name(&self.config.stats)
            .set_key(Some(checkpoint_key(shard)))
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_values(":schema", number(schema::STATS))
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":sequence", text(&last.sequence_number.0))
            .expression_attribute_values(":counted_to", number(counted_to.millis()))
            .expression_attribute_values(
                ":expires_at",
                number((Timestamp::now() + CHECKPOINT_KEPT).seconds()),
            );
        let set = "SET #sequence = :sequence, counted_to = :counted_to, expires_at = :expires_at, \
                   #schema = :schema";
        let update = match touched {
            None => update.update_expression(set),
            Some((generation, count)) => update
                .update_expression(format!("{set} ADD #touched :touched"))
                .expression_attribute_names("#touched", touched_name(generation))
                .expression_attribute_values(":touched", number(count)),
        };
        let update = match before {
            None => update.condition_expression("attribute_not_exists(#sequence)"),
            Some(before) => update
                .condition_expression("#sequence = :before")
                .expression_attribute_values(":before", text(&before.0)),
        };
        Ok(TransactWriteItem::builder()
            .update(update.build().map_err(incomplete)?)
            .build())
    }

    /// The update that adds a tally to a roll-up. `None` if there is nothing to add.
    fn add(&self, rollup: &Rollup, tally: &Tally) -> Result<Option<TransactWriteItem>, Problem> {
        let counters = counters(tally);
        if counters.is_empty() {
            return Ok(None);
        }
        let (pk, sk) = rollup.key();
        let mut update = Update::builder()
            .table_name(&self.config.stats)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_values(":schema", number(schema::STATS));
        let mut adds = Vec::new();
        for (index, (name, more)) in counters.into_iter().enumerate() {
            adds.push(format!("#c{index} :c{index}"));
            update = update
                .expression_attribute_names(format!("#c{index}"), name)
                .expression_attribute_values(format!(":c{index}"), AttributeValue::N(more));
        }
        let mut expression = format!("ADD {} SET #schema = :schema", adds.join(", "));
        if let Some(seen) = tally.last_seen {
            expression.push_str(", last_seen = :last_seen");
            update = update.expression_attribute_values(":last_seen", number(seen.millis()));
        }
        let update = update.update_expression(expression).build().map_err(incomplete)?;
        Ok(Some(TransactWriteItem::builder().update(update).build()))
    }
}

/// The attribute of a checkpoint that says how many touches of a rebuild were counted on its shard.
pub fn touched_name(generation: u32) -> String {
    format!("touched_{generation}")
}

fn checkpoint_key(shard: &str) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(CHECKPOINTS)),
        ("sk".to_owned(), text(shard)),
    ])
}

/// As many changes as one transaction takes, merged: a roll-up that a hundred of them touch is
/// written once.
struct Batch<'a> {
    tallies: BTreeMap<Rollup, Tally>,
    /// The last change in it; none if there is nothing to commit.
    last: Option<&'a StreamChange>,
    size: usize,
    /// How many of the changes are touches of a rebuild, and of which generation; none if no
    /// rebuild is under way.
    touched: Option<(u32, usize)>,
    poison: Option<SequenceNumber>,
}

impl<'a> Batch<'a> {
    fn of(changes: impl Iterator<Item = &'a StreamChange>, generations: Generations) -> Self {
        let mut batch = Self {
            tallies: BTreeMap::new(),
            last: None,
            size: 0,
            touched: generations.building.map(|building| (building.number, 0)),
            poison: None,
        };
        for change in changes {
            let Some(difference) = difference(change, generations) else {
                batch.poison = Some(change.sequence_number.clone());
                break;
            };
            let new = difference
                .keys()
                .filter(|rollup| !batch.tallies.contains_key(*rollup))
                .count();
            if batch.tallies.len() + new > MOST {
                break;
            }
            for (rollup, tally) in difference {
                *batch.tallies.entry(rollup).or_default() += &tally;
            }
            if let Some((generation, count)) = &mut batch.touched {
                *count += usize::from(is_touch(change, *generation));
            }
            batch.last = Some(change);
            batch.size += 1;
        }
        batch
    }
}

/// Whether a change is the one that put a generation's number on a record.
fn is_touch(change: &StreamChange, generation: u32) -> bool {
    let bears = |image: &Option<Image>| image.as_ref().map(|image| mark(image) >= generation);
    bears(&change.old_image) == Some(false) && bears(&change.new_image) == Some(true)
}

/// What a change adds to which roll-ups: in each generation, the new state's counts, if they count
/// there, less the old one's. `None` if either cannot be read.
fn difference(change: &StreamChange, generations: Generations) -> Option<BTreeMap<Rollup, Tally>> {
    let mut difference: BTreeMap<Rollup, Tally> = BTreeMap::new();
    let mut add = |image: &Image, sign: fn(Tally) -> Tally| {
        let counted = Counted::from_image(image)?;
        let created_at = counted.id.created_at();
        for generation in generations.counted() {
            if generation.counts(counted.mark, created_at) {
                for (rollup, tally) in counted.contributions(generation.number) {
                    *difference.entry(rollup).or_default() += &sign(tally);
                }
            }
        }
        Some(())
    };
    if let Some(image) = &change.new_image {
        add(image, |tally| tally)?;
    }
    if let Some(image) = &change.old_image {
        add(image, |tally| -tally)?;
    }
    difference.retain(|_, tally| !tally.is_zero());
    Some(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_ordered_as_numbers() {
        let number = |text: &str| SequenceNumber(text.to_owned());
        assert!(number("9") < number("10"));
        assert!(number("09") < number("10"));
        assert!(number("400000000000000499660") < number("4000000000000004996601"));
    }
}
