//! Parked changes: those that cannot be counted yet.
//!
//! The stream keeps a change for one day. So a change that cannot be read, because it is of a newer schema
//! version or damaged, is stored in full. It is parked in the transaction that moves its shard's checkpoint
//! past it, so it is always either in the stream or here. Newer code counts it from here
//! ([`super::count::Counter::count_parked`]). Counts are sums, so it does not matter that later changes
//! were counted first.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};

use super::change::{SequenceNumber, StreamRecord};
use super::image::Unreadable;
use super::rollup::key_item;
use crate::dynamo;
use crate::dynamo::attributes::{Item, number, string, text};
use crate::dynamo::incomplete;
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// The schema version of parked changes.
const SCHEMA: u32 = 2;

/// The partition key of parked changes.
pub const PARKED: &str = "parked";

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
    /// The reason why it cannot be counted.
    pub reason: String,
}

impl Parked {
    /// Describes a change that is parked for this reason.
    pub fn new(shard: &str, record: &StreamRecord, reason: &Unreadable) -> Self {
        Self {
            shard: shard.to_owned(),
            sequence: record.sequence_number.clone(),
            reason: reason.to_string(),
        }
    }

    /// Replaces the reason.
    #[must_use]
    pub fn because(self, reason: &Unreadable) -> Self {
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

/// A parked change with its content.
pub(super) struct Stored {
    prefix: String,
    /// The number of its items.
    pub(super) chunks: usize,
    pub(super) record: StreamRecord,
    /// The counted part, if it is partly counted.
    pub(super) part: Option<String>,
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
    shard: &str,
    record: &StreamRecord,
    reason: &Unreadable,
) -> Result<Vec<TransactWriteItem>, Problem> {
    let parked = Parked::new(shard, record, reason);
    let pieces = split(record.json()).enumerate();
    let put = |(chunk, piece): (usize, &str)| {
        let mut item = key_item(PARKED, &sort_key(&parked.prefix(), chunk));
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
            .set_key(Some(key_item(PARKED, &sort_key(&stored.prefix, chunk))));
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
            .set_key(Some(key_item(PARKED, &sort_key(&stored.prefix, chunk))))
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
        .set_key(Some(key_item(PARKED, &sort_key(&stored.prefix, 0))))
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

/// Lists the parked changes, without their content.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn list(client: &Client, stats: &str) -> Result<Vec<Parked>, Problem> {
    let mut items = client
        .query()
        .table_name(stats)
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", text(PARKED))
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
pub(super) async fn load(client: &Client, stats: &str, parked: &Parked) -> Result<Option<Stored>, Problem> {
    let prefix = parked.prefix();
    let mut items = client
        .query()
        .table_name(stats)
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":pk", text(PARKED))
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
        prefix,
        chunks,
        record,
        part,
    }))
}

/// Loads all parked changes with their content, by shard and position.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn records(client: &Client, stats: &str) -> Result<Vec<(Parked, StreamRecord)>, Problem> {
    let mut records = Vec::new();
    for parked in list(client, stats).await? {
        if let Some(stored) = load(client, stats, &parked).await? {
            records.push((parked, stored.record));
        }
    }
    Ok(records)
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
