//! Deleting the roll-ups of one user.
//!
//! A roll-up that counts nothing any more is deleted by the count that empties it
//! ([`Rollup::is_fleeting`](super::rollup::Rollup::is_fleeting)). So what is left here are those that were emptied
//! by older code, and those of earlier generations. A roll-up with counts is waited for: they are deletions that are
//! not counted yet, unless there are records that it counts.

use std::collections::{BTreeMap, BTreeSet};

use super::dimension::Dimension;
use super::generation::Generations;
use super::read::{Reader, Unanswered};
use super::rollup::{Rollup, Slots, counters, from_item, key_item, start_key, unchanged};
use super::series::Series;
use crate::dynamo::attributes::{Item, string, text};
use crate::dynamo::retry::retry_conflicts;
use crate::dynamo::{self, is_condition_failure};
use crate::id::Workspace;
use crate::indexed::Field;
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// The dimension of users.
const USERS: Dimension = Dimension::Field(Field::User);

/// The number of days whose roll-ups of a user are read at a time: the most keys of a BatchGetItem.
const DAYS: usize = 100;

/// The result of [`Reader::erase_user`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The number of deleted roll-ups.
    pub deleted: u64,
    /// Whether a roll-up counts more records of the user than there are.
    pub is_behind: bool,
}

impl Reader {
    /// The time up to which a workspace's changes are counted; `None` if none was counted yet.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a generation of a newer schema version.
    pub async fn as_of(&self, workspace: &Workspace) -> Result<Option<Timestamp>, Problem> {
        Ok(self.counted(workspace).await?.as_of)
    }

    /// Deletes a user's roll-ups of all generations: those that count nothing, and all of earlier generations, which
    /// nothing counts or reads any more.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or an item of a newer schema version. Another call continues.
    pub async fn erase_user(&self, workspace: &Workspace, user: &str) -> Result<Erased, Problem> {
        let generations = Generations::read(&self.client, &self.stats).await?;
        let counted: BTreeSet<u32> = generations
            .counted()
            .map(|generation| generation.number)
            .collect();
        let newest = counted.last().copied().unwrap_or_default();
        // Users were and are counted in these series, one in each schema version.
        let series: BTreeSet<Series> = (1..=schema::STATS)
            .flat_map(|version| USERS.series(version))
            .copied()
            .collect();
        let mut erased = Erased::default();
        for generation in 0..=newest {
            for series in &series {
                let partition = Rollup::partition(generation, workspace, USERS, *series);
                let mut from = Timestamp::EPOCH;
                while let Some(start) = self.first_start(&partition, from).await? {
                    let days = (0..DAYS).map(|day| series.later(start, day));
                    let keys: Vec<Item> = days
                        .map(|day| key_item(&partition, &Rollup::sort(day, user)))
                        .collect();
                    for item in self.items(keys).await? {
                        let (rollup, slots) = from_item(&item)?;
                        let is_counted = counted.contains(&generation);
                        if is_counted && !counters(*series, &slots).is_empty() {
                            erased.is_behind =
                                erased.is_behind || self.is_behind(workspace, &rollup, &slots).await?;
                        } else if self.erase_rollup(&item, is_counted).await? {
                            erased.deleted += 1;
                        } else {
                            erased.is_behind = true;
                        }
                    }
                    from = series.later(start, DAYS);
                }
            }
        }
        Ok(erased)
    }

    /// The start of a partition's first roll-ups at or after a time; `None` if there are none.
    async fn first_start(&self, partition: &str, from: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let found = self
            .client
            .query()
            .table_name(&self.stats)
            .key_condition_expression("pk = :pk AND sk >= :from")
            .expression_attribute_values(":pk", text(partition))
            .expression_attribute_values(":from", text(start_key(from)))
            .projection_expression("pk, sk")
            .limit(1)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let Some(item) = found.items().first() else {
            return Ok(None);
        };
        let rollup = string(item, "pk")
            .zip(string(item, "sk"))
            .and_then(|(pk, sk)| Rollup::from_key(pk, sk))
            .ok_or_else(|| Problem::internal("a roll-up cannot be read"))?;
        Ok(Some(rollup.start))
    }

    /// Reads the existing items among these keys, consistently.
    async fn items(&self, keys: Vec<Item>) -> Result<Vec<Item>, Problem> {
        let mut items = Vec::new();
        let mut add = |item: &Item| {
            items.push(item.clone());
            Ok(())
        };
        match self.each_of_keys(keys, &mut add).await {
            Ok(()) => Ok(items),
            Err(Unanswered::Problem(problem)) => Err(problem),
            Err(other) => Err(Problem::internal(format!("roll-ups of a user: {other:?}"))),
        }
    }

    /// Whether a roll-up counts more records in one of its slots than there are.
    async fn is_behind(
        &self,
        workspace: &Workspace,
        rollup: &Rollup,
        slots: &Slots,
    ) -> Result<bool, Problem> {
        let filled: BTreeMap<_, _> = slots.iter().filter(|(_, tally)| !tally.is_zero()).collect();
        for (slot, tally) in filled {
            let from = rollup.series.slot_start(rollup.start, *slot);
            let to = from + rollup.series.slot_length();
            let there = self
                .store
                .count_of_user(workspace, &rollup.value, from, to)
                .await?;
            // Below zero, or sums without a count, are changes that the stream lost.
            let counted = u64::try_from(tally.count() + tally.rated()).unwrap_or_default();
            if counted == 0 || counted > there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes a roll-up, one that is counted only if it is still this item. Returns whether this call did.
    async fn erase_rollup(&self, item: &Item, is_counted: bool) -> Result<bool, Problem> {
        let key = |name: &str| Some((name.to_owned(), item.get(name)?.clone()));
        let request = self
            .client
            .delete_item()
            .table_name(&self.stats)
            .set_key(Some(key("pk").into_iter().chain(key("sk")).collect()));
        let request = if is_counted {
            let (condition, names, values) = unchanged(item);
            request
                .condition_expression(condition)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
        } else {
            request
        };
        match retry_conflicts(|| request.clone().send()).await {
            Ok(_) => Ok(true),
            // It was counted in meanwhile, or an attempt whose response was lost has deleted it. The next step tells.
            Err(error) if is_condition_failure(&error) => Ok(false),
            Err(error) => Err(dynamo::problem(&error, true)),
        }
    }
}
