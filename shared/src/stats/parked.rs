//! Parked changes: those that a consumer of the stream cannot process yet.
//!
//! The stream keeps a change for one day. So a change that cannot be read, because it is of a newer schema
//! version or damaged, is stored, for each consumer apart.
//!
//! For counting it is stored in full. It is parked in the transaction that moves its shard's checkpoint
//! past it, so it is always either in the stream or here. Newer code counts it from here
//! ([`super::count::Counter::count_parked`]). Counts are sums, so it does not matter that later changes
//! were counted first.
//!
//! For events it is stored without the content of its records ([`crate::events::without_content`]), also if the bus
//! refuses its event. What is sent from here is the record as it is then.

use std::fmt::Display;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};

use super::change::{SequenceNumber, StreamRecord};
use super::rollup::key_item;
use crate::dynamo;
use crate::dynamo::attributes::{Item, number, string, text};
use crate::dynamo::incomplete;
use crate::dynamo::transaction::{Cancelled, transact};
use crate::events;
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// The schema version of parked changes.
const SCHEMA: u32 = 2;

/// A consumer of the stream. What one has parked the other does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// `aggregate`, which counts changes into roll-ups.
    Counting,
    /// `publish`, which sends events.
    Events,
}

impl Consumer {
    /// Every consumer.
    pub const ALL: [Self; 2] = [Self::Counting, Self::Events];

    /// The partition key of its parked changes. No roll-up has it: theirs contain two `#`.
    pub fn partition(self) -> &'static str {
        match self {
            Self::Counting => "parked",
            Self::Events => "parked-events",
        }
    }
}

/// The maximum size of a change's text in one item, in bytes. An item is limited to 400 KB including names
/// and key, and each of a change's two states can be that large.
const CHUNK: usize = 300 * 1024;

/// A parked change without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The stream shard that it came from.
    pub shard: String,
    /// Its position in the shard.
    pub sequence: SequenceNumber,
    /// The reason why it is parked.
    pub reason: String,
}

impl Parked {
    /// Describes a change that is parked for this reason.
    pub fn new(shard: &str, record: &StreamRecord, reason: &impl Display) -> Self {
        Self {
            shard: shard.to_owned(),
            sequence: record.sequence_number.clone(),
            reason: reason.to_string(),
        }
    }

    /// Replaces the reason.
    #[must_use]
    pub fn because(self, reason: &impl Display) -> Self {
        Self {
            reason: reason.to_string(),
            ..self
        }
    }

    /// The prefix of its items' sort keys.
    fn prefix(&self) -> String {
        format!("{}#{}#", self.shard, self.sequence.0)
    }
}

/// A parked change as it is stored.
pub(super) struct Stored {
    consumer: Consumer,
    prefix: String,
    /// The number of its items.
    pub(super) chunks: usize,
    pub(super) record: StreamRecord,
    /// The counted part, if it is partly counted.
    pub(super) part: Option<String>,
}

impl Stored {
    fn key(&self, chunk: usize) -> Item {
        key_item(self.consumer.partition(), &sort_key(&self.prefix, chunk))
    }
}

/// The number of items that a change needs.
pub(super) fn chunks(record: &StreamRecord) -> usize {
    split(record.json()).count()
}

/// Splits text into pieces of at most [`CHUNK`] bytes, between characters.
fn split(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, more) = rest.split_at(rest.floor_char_boundary(CHUNK));
        rest = more;
        Some(piece)
    })
}

fn sort_key(prefix: &str, chunk: usize) -> String {
    format!("{prefix}{chunk:03}")
}

/// Builds the actions that park a change.
pub(super) fn put(
    stats: &str,
    consumer: Consumer,
    shard: &str,
    record: &StreamRecord,
    reason: &impl Display,
) -> Result<Vec<TransactWriteItem>, Problem> {
    let parked = Parked::new(shard, record, reason);
    let pieces = split(record.json()).enumerate();
    let put = |(chunk, piece): (usize, &str)| {
        let mut item = key_item(consumer.partition(), &sort_key(&parked.prefix(), chunk));
        item.insert("change".to_owned(), text(piece));
        // This item's version may be newer than `generation`'s: that one decides whether code may count.
        item.insert(schema::ATTRIBUTE.to_owned(), number(SCHEMA));
        if chunk == 0 {
            item.insert("shard".to_owned(), text(shard));
            item.insert("sequence".to_owned(), text(&record.sequence_number.0));
            item.insert("reason".to_owned(), text(&parked.reason));
            item.insert("happened_at".to_owned(), number(record.happened_at.millis()));
            item.insert("parked_at".to_owned(), number(Timestamp::now().millis()));
        }
        let put = Put::builder().table_name(stats).set_item(Some(item));
        Ok(TransactWriteItem::builder()
            .put(put.build().map_err(incomplete)?)
            .build())
    };
    pieces.map(put).collect()
}

/// Builds the actions that remove a parked change, on the condition that it exists and that its counted
/// part is unchanged.
pub(super) fn remove(stats: &str, stored: &Stored) -> Result<Vec<TransactWriteItem>, Problem> {
    let delete = |chunk: usize| {
        let delete = Delete::builder()
            .table_name(stats)
            .set_key(Some(stored.key(chunk)));
        let delete = match (&stored.part, chunk) {
            (Some(part), 0) => delete
                .condition_expression("#part = :part")
                .expression_attribute_names("#part", "part")
                .expression_attribute_values(":part", text(part)),
            (None, 0) => delete
                .condition_expression("attribute_exists(pk) AND attribute_not_exists(#part)")
                .expression_attribute_names("#part", "part"),
            _ => delete,
        };
        Ok(TransactWriteItem::builder()
            .delete(delete.build().map_err(incomplete)?)
            .build())
    };
    (0..stored.chunks).map(delete).collect()
}

/// Builds the actions that replace a parked change's text by a shorter one, on the conditions of [`remove`]. What is
/// counted of it is in the text no more.
pub(super) fn rewrite(stats: &str, stored: &Stored, json: &str) -> Result<Vec<TransactWriteItem>, Problem> {
    let mut actions = remove(stats, stored)?;
    for (chunk, piece) in split(json).enumerate() {
        let update = Update::builder()
            .table_name(stats)
            .set_key(Some(stored.key(chunk)))
            .expression_attribute_names("#change", "change")
            .expression_attribute_values(":change", text(piece));
        let update = match (&stored.part, chunk) {
            (Some(part), 0) => update
                .update_expression("SET #change = :change REMOVE #part")
                .condition_expression("#part = :part")
                .expression_attribute_names("#part", "part")
                .expression_attribute_values(":part", text(part)),
            (None, 0) => update
                .update_expression("SET #change = :change")
                .condition_expression("attribute_exists(pk) AND attribute_not_exists(#part)")
                .expression_attribute_names("#part", "part"),
            _ => update
                .update_expression("SET #change = :change")
                .condition_expression("attribute_exists(pk)"),
        };
        let update = TransactWriteItem::builder()
            .update(update.build().map_err(incomplete)?)
            .build();
        match actions.get_mut(chunk) {
            Some(action) => *action = update,
            None => return Err(Problem::internal("a parked change has become longer")),
        }
    }
    Ok(actions)
}

/// Builds the action that stores how much of a parked change is counted.
pub(super) fn advance(
    stats: &str,
    stored: &Stored,
    part: AttributeValue,
) -> Result<TransactWriteItem, Problem> {
    let update = Update::builder()
        .table_name(stats)
        .set_key(Some(stored.key(0)))
        .update_expression("SET #part = :part")
        .expression_attribute_names("#part", "part")
        .expression_attribute_values(":part", part);
    let update = match &stored.part {
        None => update.condition_expression("attribute_exists(pk) AND attribute_not_exists(#part)"),
        Some(before) => update
            .condition_expression("#part = :before")
            .expression_attribute_values(":before", text(before)),
    };
    Ok(TransactWriteItem::builder()
        .update(update.build().map_err(incomplete)?)
        .build())
}

/// Lists the parked changes of a consumer, without their content.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn list(client: &Client, stats: &str, consumer: Consumer) -> Result<Vec<Parked>, Problem> {
    let mut items = client
        .query()
        .table_name(stats)
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", text(consumer.partition()))
        .projection_expression("#shard, #sequence, #reason")
        .expression_attribute_names("#shard", "shard")
        .expression_attribute_names("#sequence", "sequence")
        .expression_attribute_names("#reason", "reason")
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    let mut parked = Vec::new();
    while let Some(item) = items.next().await {
        let item = item.map_err(|error| dynamo::problem(&error, false))?;
        // Only the first item of a change has these attributes.
        parked.extend(header(&item));
    }
    Ok(parked)
}

fn header(item: &Item) -> Option<Parked> {
    Some(Parked {
        shard: string(item, "shard")?.to_owned(),
        sequence: SequenceNumber(string(item, "sequence")?.to_owned()),
        reason: string(item, "reason")?.to_owned(),
    })
}

/// Loads a parked change with its content. Returns `None` if it no longer exists.
pub(super) async fn load(
    client: &Client,
    stats: &str,
    consumer: Consumer,
    parked: &Parked,
) -> Result<Option<Stored>, Problem> {
    let prefix = parked.prefix();
    let mut items = client
        .query()
        .table_name(stats)
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":pk", text(consumer.partition()))
        .expression_attribute_values(":prefix", text(&prefix))
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    let (mut json, mut chunks, mut part) = (String::new(), 0, None);
    while let Some(item) = items.next().await {
        let item = item.map_err(|error| dynamo::problem(&error, false))?;
        json.push_str(string(&item, "change").unwrap_or_default());
        chunks += 1;
        part = part.or(string(&item, "part").map(str::to_owned));
    }
    if chunks == 0 {
        return Ok(None);
    }
    let record =
        serde_json::from_str(&json).map_err(|_| Problem::internal("a parked change cannot be read"))?;
    Ok(Some(Stored {
        consumer,
        prefix,
        chunks,
        record,
        part,
    }))
}

/// Loads all parked changes of a consumer with what is stored of them, by shard and position.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn records(
    client: &Client,
    stats: &str,
    consumer: Consumer,
) -> Result<Vec<(Parked, StreamRecord)>, Problem> {
    let mut records = Vec::new();
    for parked in list(client, stats, consumer).await? {
        if let Some(stored) = load(client, stats, consumer, &parked).await? {
            records.push((parked, stored.record));
        }
    }
    Ok(records)
}

/// Parks a change that cannot be sent as events, without the content of its records. Parking it again changes
/// nothing.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn park_event(
    client: &Client,
    stats: &str,
    parked: &Parked,
    record: &StreamRecord,
) -> Result<(), Problem> {
    let record = events::without_content(record).map_err(|reason| Problem::internal(reason.to_string()))?;
    let actions = put(stats, Consumer::Events, &parked.shard, &record, &parked.reason)?;
    transact(client, actions).await.map_err(Cancelled::into_problem)
}

/// Removes a change that is sent.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn remove_event(client: &Client, stats: &str, parked: &Parked) -> Result<(), Problem> {
    let Some(stored) = load(client, stats, Consumer::Events, parked).await? else {
        return Ok(());
    };
    match transact(client, remove(stats, &stored)?).await {
        // Another call has removed it meanwhile.
        Ok(()) | Err(Cancelled::Conditions(_)) => Ok(()),
        Err(cancelled) => Err(cancelled.into_problem()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_split_between_characters_and_reassembled() {
        let long = "aé😀".repeat(CHUNK / 4);
        let pieces: Vec<&str> = split(&long).collect();
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= CHUNK));
        assert_eq!(pieces.concat(), long);
        assert_eq!(split("short").collect::<Vec<_>>(), ["short"]);
    }
}
