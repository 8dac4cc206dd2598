//! Counting the changes in a stream, each exactly once.
//!
//! The stream delivers at least once: a batch may be repeated, in part or as a whole, and at the same time
//! elsewhere. So each shard has a checkpoint, which is the sequence number up to which it has been counted.
//! It is written in one transaction with the counters, on the condition that it has not changed since it
//! was read. Changes up to the checkpoint are skipped.
//!
//! A change that cannot be read is parked ([`super::parked`]) in the same transaction, so it never delays
//! the changes after it.

mod erase;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem, Update};
use futures_util::future::try_join_all;

use super::change::{Difference, SequenceNumber, StreamRecord};
use super::deleted;
use super::generation::Generations;
use super::image::Unreadable;
use super::parked::{self, Consumer, Parked};
use super::rollup::{COUNTED_TO, Rollup, Slots, WRITES, counters, from_item, key_item, last_seen, unchanged};
use super::tally::Tally;
use crate::dynamo;
use crate::dynamo::attributes::{AttributeValue, Item, number, string, text};
use crate::dynamo::incomplete;
use crate::dynamo::retry::back_off;
use crate::dynamo::transaction::{Cancelled, transact};
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// The maximum number of items that a transaction writes besides the checkpoint: DynamoDB's 100 actions,
/// less
/// one (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
pub const MAX_ITEMS: usize = 99;

/// The maximum size of the parked changes that one transaction writes, in bytes. A transaction is limited
/// to 4 MB.
const MAX_PARKED: usize = 2 * 1024 * 1024;

/// How long a checkpoint is kept after its last use. The stream keeps a change for one day.
const CHECKPOINT_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The partition key of all checkpoints.
pub const CHECKPOINTS: &str = "checkpoint";

/// The result of counting a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The number of changes that this call counted.
    pub counted: usize,
    /// The changes that this call parked because they cannot be read.
    pub parked: Vec<Parked>,
}

/// The result of counting parked changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recounted {
    /// The number of parked changes that are now counted.
    pub counted: usize,
    /// The changes that still cannot be read.
    pub left: Vec<Parked>,
}

/// The position up to which a shard has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last change that is counted completely; `None` if there is none.
    pub sequence: Option<SequenceNumber>,
    /// How much of the following change is counted, if it did not fit into one transaction.
    part: Option<Part>,
}

/// The counted part of one change: all its roll-ups up to and including this key, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    sequence: SequenceNumber,
    last: Rollup,
}

impl Part {
    const SEPARATOR: char = '\u{1f}';

    fn attribute(&self) -> AttributeValue {
        let (separator, (pk, sk)) = (Self::SEPARATOR, self.last.key());
        text(format!("{}{separator}{pk}{separator}{sk}", self.sequence.0))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, Self::SEPARATOR);
        let sequence = SequenceNumber(parts.next()?.to_owned());
        let last = Rollup::from_key(parts.next()?, parts.next()?)?;
        Some(Self { sequence, last })
    }
}

impl parked::Stored {
    /// How much of it is counted.
    fn counted_part(&self) -> Result<Option<Part>, Problem> {
        self.part
            .as_deref()
            .map(|part| Part::parse(part).ok_or_else(|| Problem::internal("a parked change cannot be read")))
            .transpose()
    }
}

/// Counts changes into the table `stats`.
#[derive(Clone, Debug)]
pub struct Counter {
    client: Client,
    stats: String,
    max_items: usize,
}

impl Counter {
    /// A counter for this table of roll-ups.
    pub fn new(client: Client, stats: impl Into<String>) -> Self {
        Self::with_max_items(client, stats, MAX_ITEMS)
    }

    /// A counter whose transactions write at most `max_items` items besides the checkpoint, from 1 to
    /// [`MAX_ITEMS`].
    pub fn with_max_items(client: Client, stats: impl Into<String>, max_items: usize) -> Self {
        Self {
            client,
            stats: stats.into(),
            max_items: max_items.clamp(1, MAX_ITEMS),
        }
    }

    /// Counts the changes of one shard that are not counted yet, in the order of their sequence numbers.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a generation of a newer schema version. Changes up to some point are
    /// counted then, and the next delivery counts the rest.
    pub async fn count(&self, shard: &str, mut records: Vec<StreamRecord>) -> Result<Outcome, Problem> {
        records.sort_by(|one, other| one.sequence_number.cmp(&other.sequence_number));
        records.dedup_by(|one, other| one.sequence_number == other.sequence_number);
        let mut conflicts = 0;
        let mut outcome = Outcome::default();
        let mut checkpoint = self.checkpoint(shard).await?;
        let generations = Generations::read_or_begin(&self.client, &self.stats).await?;
        // Before the checkpoint passes them, so that none is left out.
        let counted = checkpoint.sequence.clone();
        let uncounted = records.iter().filter(|record| {
            counted
                .as_ref()
                .is_none_or(|counted| record.sequence_number > *counted)
        });
        deleted::mark(&self.client, &self.stats, uncounted, self.max_items).await?;
        loop {
            let fresh = records.iter().filter(|record| {
                let counted = checkpoint.sequence.as_ref();
                counted.is_none_or(|counted| record.sequence_number > *counted)
            });
            let batch = Batch::of(fresh, generations, checkpoint.part.as_ref(), self.max_items);
            if batch.is_empty() {
                return Ok(outcome);
            }
            match self.commit(shard, &checkpoint, &batch).await {
                Ok(()) => {
                    outcome.counted += batch.counted;
                    let parked = batch.parked.iter();
                    outcome
                        .parked
                        .extend(parked.map(|(record, reason)| Parked::new(shard, record, reason)));
                    conflicts = 0;
                    checkpoint = batch.checkpoint(checkpoint);
                }
                Err(Cancelled::Problem(problem)) => return Err(problem),
                // Another call counted on this shard or in one of its roll-ups.
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

    /// Returns the checkpoint of a shard.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a checkpoint of a newer schema version.
    pub async fn checkpoint(&self, shard: &str) -> Result<Checkpoint, Problem> {
        let found = self
            .client
            .get_item()
            .table_name(&self.stats)
            .set_key(Some(key_item(CHECKPOINTS, shard)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let Some(item) = found.item else {
            return Ok(Checkpoint::default());
        };
        schema::check(&item, schema::STATS)?;
        let part = match string(&item, "part") {
            None => None,
            Some(part) => {
                Some(Part::parse(part).ok_or_else(|| Problem::internal("a checkpoint cannot be read"))?)
            }
        };
        Ok(Checkpoint {
            sequence: string(&item, "sequence").map(|text| SequenceNumber(text.to_owned())),
            part,
        })
    }

    /// Counts the parked changes that this code can read. Each is removed in the transaction that counts
    /// it.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB. Changes counted before it stay counted, and the others stay parked.
    pub async fn count_parked(&self) -> Result<Recounted, Problem> {
        let mut recounted = Recounted::default();
        for parked in parked::list(&self.client, &self.stats, Consumer::Counting).await? {
            match self.count_one_parked(&parked).await? {
                None => recounted.counted += 1,
                Some(reason) => recounted.left.push(parked.because(&reason)),
            }
        }
        Ok(recounted)
    }

    /// Counts one parked change. Returns the reason if it still cannot be read.
    async fn count_one_parked(&self, parked: &Parked) -> Result<Option<Unreadable>, Problem> {
        let mut conflicts = 0;
        loop {
            let stored = parked::load(&self.client, &self.stats, Consumer::Counting, parked).await?;
            let Some(stored) = stored else {
                // Another call has counted it meanwhile.
                return Ok(None);
            };
            // Read after the change, so that no generation can have begun that the change is missing in.
            let generations = Generations::read_or_begin(&self.client, &self.stats).await?;
            let difference = match stored.record.difference(generations) {
                Ok(difference) => difference,
                Err(reason) => return Ok(Some(reason)),
            };
            let part = stored.counted_part()?;
            let mut batch = Batch::new(generations, self.max_items.saturating_sub(stored.chunks).max(1));
            batch.add(&stored.record, difference, part.as_ref());
            // Later changes may have been counted before it, so that even an addition may leave nothing.
            let mut actions = self.writes(&batch, |_| true).await?;
            actions.extend(match &batch.part {
                Some(part) => vec![parked::advance(&self.stats, &stored, part.attribute())?],
                None => parked::remove(&self.stats, &stored)?,
            });
            match transact(&self.client, actions).await {
                Ok(()) if batch.part.is_none() => return Ok(None),
                Ok(()) => conflicts = 0,
                Err(Cancelled::Problem(problem)) => return Err(problem),
                Err(Cancelled::Conflict | Cancelled::Conditions(_)) => {
                    if back_off(conflicts).await.is_none() {
                        return Err(Problem::unavailable("the roll-ups are too busy"));
                    }
                    conflicts += 1;
                }
            }
        }
    }

    async fn commit(&self, shard: &str, before: &Checkpoint, batch: &Batch<'_>) -> Result<(), Cancelled> {
        let actions = async || {
            let mut actions = vec![self.advance(shard, before, batch)?];
            actions.extend(self.writes(batch, Counts::is_falling).await?);
            for (record, reason) in &batch.parked {
                actions.extend(parked::put(
                    &self.stats,
                    Consumer::Counting,
                    shard,
                    record,
                    reason,
                )?);
            }
            Ok(actions)
        };
        transact(&self.client, actions().await.map_err(Cancelled::Problem)?).await
    }

    fn advance(
        &self,
        shard: &str,
        before: &Checkpoint,
        batch: &Batch<'_>,
    ) -> Result<TransactWriteItem, Problem> {
        let mut update = Update::builder()
            .table_name(&self.stats)
            .set_key(Some(key_item(CHECKPOINTS, shard)))
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_names("#part", "part")
            .expression_attribute_values(
                ":expires_at",
                number((Timestamp::now() + CHECKPOINT_LIFETIME).seconds()),
            );
        let mut set = "SET expires_at = :expires_at, #schema = :schema".to_owned();
        let mut rest = String::new();
        if let Some(last) = batch.last {
            set.push_str(", #sequence = :sequence, counted_to = :counted_to");
            update = update
                .expression_attribute_values(":sequence", text(&last.sequence_number.0))
                .expression_attribute_values(":counted_to", number(last.happened_at.millis()));
        }
        match &batch.part {
            Some(part) => {
                set.push_str(", #part = :part");
                update = update.expression_attribute_values(":part", part.attribute());
            }
            None => rest.push_str(" REMOVE #part"),
        }
        // Code that does not support partly counted changes must not count this one again.
        let schema = if batch.part.is_some() { 2 } else { 1 };
        update = update.expression_attribute_values(":schema", number(schema));
        if let Some((generation, count)) = batch.touched {
            rest.push_str(" ADD #touched :touched");
            update = update
                .expression_attribute_names("#touched", touched_name(generation))
                .expression_attribute_values(":touched", number(count));
        }
        let mut conditions = Vec::new();
        match &before.sequence {
            None => conditions.push("attribute_not_exists(#sequence)"),
            Some(sequence) => {
                conditions.push("#sequence = :before");
                update = update.expression_attribute_values(":before", text(&sequence.0));
            }
        }
        match &before.part {
            None => conditions.push("attribute_not_exists(#part)"),
            Some(part) => {
                conditions.push("#part = :part_before");
                update = update.expression_attribute_values(":part_before", part.attribute());
            }
        }
        let update = update
            .update_expression(set + &rest)
            .condition_expression(conditions.join(" AND "));
        Ok(TransactWriteItem::builder()
            .update(update.build().map_err(incomplete)?)
            .build())
    }

    /// Builds the writes that add a batch's counts to its roll-ups. A fleeting roll-up that counts nothing
    /// afterwards is deleted instead, on the condition that it is still what was read. So none is left behind,
    /// however late the last of its changes is counted. Only those are read whose counts `may_empty` it, and those that
    /// imported records belong to, for the latest record that they have seen.
    async fn writes(
        &self,
        batch: &Batch<'_>,
        may_empty: impl Fn(&Counts) -> bool,
    ) -> Result<Vec<TransactWriteItem>, Problem> {
        let may_empty = |rollup: &Rollup, counts: &Counts| rollup.is_fleeting() && may_empty(counts);
        let read = batch
            .rollups
            .iter()
            .filter(|(rollup, counts)| counts.is_late || may_empty(rollup, counts));
        let met = read.map(async |(rollup, _)| {
            let item = self.rollup(rollup).await?;
            Ok::<_, Problem>(item.map(|item| (rollup, item)))
        });
        let met: HashMap<&Rollup, Item> = try_join_all(met).await?.into_iter().flatten().collect();
        let mut writes = Vec::new();
        for (rollup, counts) in &batch.rollups {
            match met.get(rollup) {
                Some(item) if may_empty(rollup, counts) && empties(item, counts) => {
                    writes.push(self.removal(rollup, item)?);
                }
                Some(item) if counts.is_late => {
                    writes.extend(self.update(rollup, &counts.behind(item))?);
                }
                _ => writes.extend(self.update(rollup, counts)?),
            }
        }
        Ok(writes)
    }

    /// Reads a roll-up's item, consistently.
    async fn rollup(&self, rollup: &Rollup) -> Result<Option<Item>, Problem> {
        let (pk, sk) = rollup.key();
        let found = self
            .client
            .get_item()
            .table_name(&self.stats)
            .set_key(Some(key_item(&pk, &sk)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        Ok(found.item)
    }

    /// Builds the deletion of a roll-up that is still this item.
    fn removal(&self, rollup: &Rollup, item: &Item) -> Result<TransactWriteItem, Problem> {
        let (pk, sk) = rollup.key();
        let (condition, names, values) = unchanged(item);
        let delete = Delete::builder()
            .table_name(&self.stats)
            .set_key(Some(key_item(&pk, &sk)))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()));
        Ok(TransactWriteItem::builder()
            .delete(delete.build().map_err(incomplete)?)
            .build())
    }

    /// Builds the update that adds counts to a roll-up. Returns `None` if there is nothing to write.
    fn update(&self, rollup: &Rollup, counts: &Counts) -> Result<Option<TransactWriteItem>, Problem> {
        let mut adds = counters(rollup.series, &counts.slots);
        if adds.is_empty() && counts.counted_to.is_none() {
            return Ok(None);
        }
        let mut sets = last_seen(rollup, &counts.slots);
        if let Some(counted_to) = counts.counted_to {
            sets.insert(COUNTED_TO.to_owned(), counted_to.millis().to_string());
        }
        let (pk, sk) = rollup.key();
        let mut update = Update::builder()
            .table_name(&self.stats)
            .set_key(Some(key_item(&pk, &sk)))
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_values(":schema", number(rollup.schema()));
        if rollup.is_fleeting() {
            adds.insert(WRITES.to_owned(), "1".to_owned());
        }
        let mut expression = "SET #schema = :schema".to_owned();
        for (index, (name, value)) in sets.into_iter().enumerate() {
            expression.push_str(&format!(", #s{index} = :s{index}"));
            update = update
                .expression_attribute_names(format!("#s{index}"), name)
                .expression_attribute_values(format!(":s{index}"), AttributeValue::N(value));
        }
        for (index, (name, more)) in adds.into_iter().enumerate() {
            let clause = if index == 0 { " ADD" } else { "," };
            expression.push_str(&format!("{clause} #a{index} :a{index}"));
            update = update
                .expression_attribute_names(format!("#a{index}"), name)
                .expression_attribute_values(format!(":a{index}"), AttributeValue::N(more));
        }
        let update = update.update_expression(expression).build().map_err(incomplete)?;
        Ok(Some(TransactWriteItem::builder().update(update).build()))
    }
}

/// The attribute of a checkpoint that counts a rebuild's touches on its shard.
pub fn touched_name(generation: u32) -> String {
    format!("touched_{generation}")
}

/// The counts that a batch adds to one roll-up.
#[derive(Clone, Debug, Default)]
struct Counts {
    slots: Slots,
    /// The time of the newest counted change, for roll-ups that store it.
    counted_to: Option<Timestamp>,
    /// Whether imported records are counted, which come in any order: later ones may be counted already.
    is_late: bool,
}

impl Counts {
    /// The same, without taking back the latest record that the roll-up has seen.
    fn behind(&self, item: &Item) -> Self {
        let mut counts = self.clone();
        // One that cannot be read is counted on.
        if let Ok((_, seen)) = from_item(item) {
            for (slot, tally) in &mut counts.slots {
                if tally.last_seen.is_some() {
                    let before = seen.get(slot).and_then(|tally| tally.last_seen);
                    tally.last_seen = tally.last_seen.max(before);
                }
            }
        }
        counts
    }

    /// Whether fewer records are counted afterwards, so that none may be left.
    fn is_falling(&self) -> bool {
        let records: i64 = self
            .slots
            .values()
            .map(|tally| tally.count() + tally.rated())
            .sum();
        records < 0
    }
}

/// Whether a roll-up with these counters counts nothing once `counts` are added. One that cannot be read is counted on:
/// it must not hold up the stream.
fn empties(item: &Item, counts: &Counts) -> bool {
    let Ok((_, mut slots)) = from_item(item) else {
        return false;
    };
    for (slot, tally) in &counts.slots {
        *slots.entry(*slot).or_default() += tally;
    }
    slots.values().all(Tally::is_zero)
}

/// The changes that one transaction counts, merged by roll-up: a roll-up in a hundred of them is written
/// once.
struct Batch<'a> {
    max_items: usize,
    rollups: BTreeMap<Rollup, Counts>,
    parked: Vec<(&'a StreamRecord, Unreadable)>,
    /// The number of items for the parked changes.
    chunks: usize,
    bytes: usize,
    /// The last change that is counted or parked completely.
    last: Option<&'a StreamRecord>,
    /// How much of the following change is counted, if it was started.
    part: Option<Part>,
    counted: usize,
    /// The number of touches among the changes, with their generation; `None` if no rebuild is running.
    touched: Option<(u32, usize)>,
}

impl<'a> Batch<'a> {
    fn new(generations: Generations, max_items: usize) -> Self {
        Self {
            max_items,
            rollups: BTreeMap::new(),
            parked: Vec::new(),
            chunks: 0,
            bytes: 0,
            last: None,
            part: None,
            counted: 0,
            touched: generations.building.map(|building| (building.number, 0)),
        }
    }

    fn of(
        records: impl Iterator<Item = &'a StreamRecord>,
        generations: Generations,
        part: Option<&Part>,
        max_items: usize,
    ) -> Self {
        let mut batch = Self::new(generations, max_items);
        for record in records {
            let goes_on = match record.difference(generations) {
                Ok(difference) => batch.add(record, difference, part),
                Err(reason) => batch.park(record, reason),
            };
            if !goes_on {
                break;
            }
        }
        batch
    }

    fn is_empty(&self) -> bool {
        self.last.is_none() && self.part.is_none()
    }

    /// The checkpoint after this batch.
    fn checkpoint(&self, before: Checkpoint) -> Checkpoint {
        Checkpoint {
            sequence: self
                .last
                .map(|last| last.sequence_number.clone())
                .or(before.sequence),
            part: self.part.clone(),
        }
    }

    /// Adds a change, without the `part` of it that is already counted. Returns whether the next change may
    /// fit too. A change that does not fit waits for the next transaction; one that fits into no
    /// transaction is counted in parts.
    fn add(&mut self, record: &'a StreamRecord, difference: Difference, part: Option<&Part>) -> bool {
        let mut counts = with_counted_to(difference, record.happened_at);
        let is_late = record.is_imported();
        if let Some(part) = part.filter(|part| part.sequence == record.sequence_number) {
            counts.retain(|rollup, _| *rollup > part.last);
        }
        let new = counts
            .keys()
            .filter(|rollup| !self.rollups.contains_key(*rollup))
            .count();
        let room = self.max_items.saturating_sub(self.rollups.len() + self.chunks);
        let is_whole = new <= room;
        if !is_whole && !self.is_empty() {
            return false;
        }
        for (rollup, more) in counts {
            if !is_whole && self.rollups.len() == room {
                break;
            }
            if !is_whole {
                self.part = Some(Part {
                    sequence: record.sequence_number.clone(),
                    last: rollup.clone(),
                });
            }
            let counts = self.rollups.entry(rollup).or_default();
            for (slot, tally) in more.slots {
                *counts.slots.entry(slot).or_default() += &tally;
            }
            counts.counted_to = counts.counted_to.max(more.counted_to);
            counts.is_late |= is_late;
        }
        if is_whole {
            self.counted += 1;
            self.finish(record);
        }
        is_whole
    }

    /// Parks a change. Returns whether it fit.
    fn park(&mut self, record: &'a StreamRecord, reason: Unreadable) -> bool {
        let (chunks, bytes) = (parked::chunks(record), record.json().len());
        let fits =
            self.rollups.len() + self.chunks + chunks <= self.max_items && self.bytes + bytes <= MAX_PARKED;
        if !fits && !self.is_empty() {
            return false;
        }
        self.chunks += chunks;
        self.bytes += bytes;
        self.parked.push((record, reason));
        self.finish(record);
        true
    }

    fn finish(&mut self, record: &'a StreamRecord) {
        if let Some((generation, count)) = &mut self.touched {
            *count += usize::from(
                record
                    .change
                    .as_ref()
                    .is_ok_and(|change| change.touches(*generation)),
            );
        }
        self.last = Some(record);
    }
}

/// Adds the time of the change to the roll-up that counts the workspace's whole day. So every workspace has
/// the time up to which it is counted, usually in an item that is written anyway.
fn with_counted_to(difference: Difference, happened_at: Timestamp) -> BTreeMap<Rollup, Counts> {
    let mut counts: BTreeMap<Rollup, Counts> = BTreeMap::new();
    for (rollup, slots) in difference {
        let day = Rollup::of_everything(rollup.generation, &rollup.workspace, happened_at);
        counts.entry(day).or_default().counted_to = Some(happened_at);
        counts.entry(rollup).or_default().slots = slots;
    }
    counts
}
