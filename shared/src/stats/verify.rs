//! Comparing all roll-ups with all records (`stats verify`).

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;

use super::count::CHECKPOINTS;
use super::deleted;
use super::generation::{GENERATIONS, Generations};
use super::image::Counted;
use super::parked::{self, Consumer, Parked};
use super::rollup::{Rollup, Slots, counters, from_item};
use crate::dynamo;
use crate::dynamo::attributes::{Item, string};
use crate::problem::Problem;
use crate::store::item::to_feedback;

/// The tables to compare.
#[derive(Clone, Debug)]
pub struct Tables {
    client: Client,
    feedback: String,
    stats: String,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The number of readable records.
    pub records: u64,
    /// The number of roll-ups in the current generation.
    pub rollups: u64,
    /// The roll-ups with wrong counts, not including what parked changes explain.
    pub differences: Vec<Difference>,
    /// The changes that are not counted because they cannot be read.
    pub parked: Vec<Parked>,
    /// The records that cannot be read.
    pub unreadable: Vec<UnreadableItem>,
    /// The reasons why roll-ups cannot be read.
    pub unreadable_rollups: Vec<String>,
}

impl Comparison {
    /// Whether the roll-ups count exactly the readable records.
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.unreadable_rollups.is_empty()
    }

    /// Whether, in addition, everything could be read.
    pub fn is_complete(&self) -> bool {
        self.agrees() && self.parked.is_empty() && self.unreadable.is_empty()
    }
}

/// A roll-up with wrong counts.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The roll-up.
    pub rollup: Rollup,
    /// The counts according to the records.
    pub due: Slots,
    /// The counts in the roll-up.
    pub counted: Slots,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableItem {
    /// Its sort key: the workspace and the id.
    pub key: String,
    /// The reason.
    pub reason: String,
}

impl Tables {
    /// The tables with these names.
    pub fn new(client: Client, feedback: impl Into<String>, stats: impl Into<String>) -> Self {
        Self {
            client,
            feedback: feedback.into(),
            stats: stats.into(),
        }
    }

    /// Compares the roll-ups of the current generation with all records. Expired records count until
    /// DynamoDB deletes them. Whatever cannot be read is listed and left out of the comparison.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a generation of a newer schema version.
    pub async fn compare(&self) -> Result<Comparison, Problem> {
        let generation = Generations::read(&self.client, &self.stats).await?.current;
        let mut comparison = Comparison::default();
        let mut expected: BTreeMap<Rollup, Slots> = BTreeMap::new();
        self.each(&self.feedback, |item| match to_feedback(item) {
            Ok(feedback) => {
                comparison.records += 1;
                Counted::from_feedback(&feedback).add_to(&mut expected, generation);
            }
            Err(problem) => comparison.unreadable.push(UnreadableItem {
                key: string(item, "sk").unwrap_or("without a sort key").to_owned(),
                reason: problem.log_message(),
            }),
        })
        .await?;
        // The readable parts of a parked change are in the records but not in the roll-ups.
        for (parked, record) in parked::records(&self.client, &self.stats, Consumer::Counting).await? {
            comparison.parked.push(parked);
            for (rollup, slots) in record.readable_difference(generation) {
                let due = expected.entry(rollup).or_default();
                for (slot, tally) in slots {
                    *due.entry(slot).or_default() += &-tally;
                }
            }
        }
        self.each(&self.stats, |item| {
            let partition = string(item, "pk");
            let is_parked = Consumer::ALL
                .map(|consumer| Some(consumer.partition()))
                .contains(&partition);
            let is_marker = string(item, "sk")
                .zip(partition)
                .is_some_and(|(sk, pk)| deleted::is_marker(pk, sk));
            if is_parked || is_marker || matches!(partition, Some(CHECKPOINTS | GENERATIONS)) {
                return;
            }
            match from_item(item) {
                Ok((rollup, counted)) if rollup.generation == generation.number => {
                    comparison.rollups += 1;
                    let due = expected.remove(&rollup).unwrap_or_default();
                    if counters(rollup.series, &due) != counters(rollup.series, &counted) {
                        comparison.differences.push(Difference { rollup, due, counted });
                    }
                }
                Ok(_) => {}
                Err(problem) => comparison.unreadable_rollups.push(problem.log_message()),
            }
        })
        .await?;
        // The remaining records were never counted.
        expected.retain(|rollup, due| !counters(rollup.series, due).is_empty());
        let missing = expected.into_iter().map(|(rollup, due)| Difference {
            rollup,
            due,
            counted: Slots::new(),
        });
        comparison.differences.extend(missing);
        Ok(comparison)
    }

    async fn each(&self, table: &str, mut visit: impl FnMut(&Item)) -> Result<(), Problem> {
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(table)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            page.items().iter().for_each(&mut visit);
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }
}
