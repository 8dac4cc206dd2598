//! Comparing all roll-ups with all records.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;

use super::count::CHECKPOINTS;
use super::generation::{GENERATIONS, Generations};
use super::image::Counted;
use super::parked::{self, PARKED, Parked};
use super::rollup::{Rollup, Slots, counters, from_item};
use crate::dynamo;
use crate::dynamo::attributes::{Item, string};
use crate::problem::Problem;
use crate::store::item::to_feedback;

/// The feedback of all workspaces, and the roll-ups of all of it.
#[derive(Clone, Debug)]
pub struct Tables {
    client: Client,
    feedback: String,
    stats: String,
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// How many records there are that can be read.
    pub records: u64,
    /// How many roll-ups there are of the generation that is read.
    pub rollups: u64,
    /// The roll-ups that are off, beyond what parked changes leave out.
    pub differences: Vec<Difference>,
    /// The changes that are not counted, since they cannot be read.
    pub parked: Vec<Parked>,
    /// The records that cannot be read.
    pub unreadable: Vec<UnreadableItem>,
    /// The roll-ups that cannot be read: why.
    pub unreadable_rollups: Vec<String>,
}

impl Comparison {
    /// Whether every readable record is counted, and nothing else.
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.unreadable_rollups.is_empty()
    }

    /// Whether everything there is was read, besides.
    pub fn is_complete(&self) -> bool {
        self.agrees() && self.parked.is_empty() && self.unreadable.is_empty()
    }
}

/// A roll-up that is off.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The roll-up.
    pub rollup: Rollup,
    /// What the records say.
    pub due: Slots,
    /// What is counted.
    pub counted: Slots,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableItem {
    /// Its sort key: the workspace and the id.
    pub key: String,
    /// Why.
    pub reason: String,
}

impl Tables {
    /// The tables of these names.
    pub fn new(client: Client, feedback: impl Into<String>, stats: impl Into<String>) -> Self {
        Self {
            client,
            feedback: feedback.into(),
            stats: stats.into(),
        }
    }

    /// Compares the roll-ups of the generation that is read with every record there is, expired ones
    /// that are not swept yet among them: they are counted until their deletion is. What cannot be
    /// read is named, and left out on both sides.
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
                for (rollup, slot, tally) in Counted::from_feedback(&feedback).contributions(generation) {
                    *expected.entry(rollup).or_default().entry(slot).or_default() += &tally;
                }
            }
            Err(problem) => comparison.unreadable.push(UnreadableItem {
                key: string(item, "sk").unwrap_or("without a sort key").to_owned(),
                reason: problem.log_message(),
            }),
        })
        .await?;
        // What of a parked change can be read is in the records, and not in the roll-ups.
        for (parked, record) in parked::records(&self.client, &self.stats).await? {
            comparison.parked.push(parked);
            for (rollup, slots) in record.readable_difference(generation) {
                let due = expected.entry(rollup).or_default();
                for (slot, tally) in slots {
                    *due.entry(slot).or_default() += &-tally;
                }
            }
        }
        self.each(&self.stats, |item| {
            if matches!(string(item, "pk"), Some(CHECKPOINTS | GENERATIONS | PARKED)) {
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
        // What is left was never counted.
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
