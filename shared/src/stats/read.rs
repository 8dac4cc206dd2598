//! Putting a time range together again: whole days and hours from roll-ups, the ragged ends, and
//! what roll-ups cannot answer, from the records.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use futures_util::future::try_join_all;

use super::count::CHECKPOINTS;
use super::generation::Generations;
use super::image::Counted;
use super::rollup::{Dimension, Rollup, bucket_key, from_item};
use super::tally::Tally;
use crate::config::Config;
use crate::dynamo;
use crate::feedback::Feedback;
use crate::id::Workspace;
use crate::problem::Problem;
use crate::query::Filter;
use crate::store::Store;
use crate::store::item::{int, text};
use crate::timestamp::{Granularity, Timestamp};

/// The most records that one answer reads: two ragged hours, or what a filter leaves to read.
pub const MOST_RECORDS: usize = 10_000;

/// The most roll-ups that one answer reads. Only a dimension of very many values has more.
pub const MOST_ROLLUPS: usize = 50_000;

/// Counts by bucket and value.
pub type Cells = BTreeMap<(Timestamp, String), Tally>;

/// A range of time, the first moment in it and the last one not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl Range {
    fn is_empty(self) -> bool {
        self.from >= self.to
    }
}

/// Of whose feedback, from when and how finely an answer is.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// Whose.
    pub workspace: &'a Workspace,
    /// Of when.
    pub range: Range,
    /// How finely.
    pub buckets: Granularity,
    /// By which the records are found that are read one by one.
    pub filter: &'a Filter,
    /// The present.
    pub now: Timestamp,
}

/// How a range is read: which parts of it from what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    rollups: Vec<(Granularity, Range)>,
    records: Vec<Range>,
}

impl Plan {
    /// The parts of a range that is to be answered in buckets of `buckets`, from roll-ups as fine
    /// as `finest`.
    fn of(range: Range, buckets: Granularity, finest: Granularity, now: Timestamp) -> Self {
        // No record is of the future, so an hour that is under way is as whole as it gets.
        let end = if range.to > now {
            finest.ceiling(range.to)
        } else {
            range.to
        };
        let whole = Range {
            from: finest.ceiling(range.from),
            to: finest.floor(end),
        };
        if whole.is_empty() {
            return Self {
                rollups: Vec::new(),
                records: vec![range],
            };
        }
        let days = Range {
            from: Granularity::Day.ceiling(whole.from),
            to: Granularity::Day.floor(whole.to),
        };
        let parts = if finest == Granularity::Day {
            vec![(Granularity::Day, whole)]
        } else if buckets == Granularity::Hour || days.is_empty() {
            vec![(Granularity::Hour, whole)]
        } else {
            let before = Range {
                from: whole.from,
                to: days.from,
            };
            let after = Range {
                from: days.to,
                to: whole.to,
            };
            vec![
                (Granularity::Hour, before),
                (Granularity::Day, days),
                (Granularity::Hour, after),
            ]
        };
        let ends = [
            Range {
                from: range.from,
                to: whole.from,
            },
            Range {
                from: whole.to,
                to: end,
            },
        ];
        Self {
            rollups: parts.into_iter().filter(|(_, part)| !part.is_empty()).collect(),
            records: ends.into_iter().filter(|end| !end.is_empty()).collect(),
        }
    }
}

/// Reads numbers.
#[derive(Clone, Debug)]
pub struct Reader {
    client: Client,
    config: Arc<Config>,
    store: Store,
}

impl Reader {
    /// A reader over this client.
    pub fn new(client: Client, config: Arc<Config>) -> Self {
        Self {
            store: Store::new(client.clone(), Arc::clone(&config)),
            client,
            config,
        }
    }

    /// The counts of a slice by bucket and by a dimension's value, exactly; of these values alone,
    /// if any are named.
    pub async fn by_dimension(
        &self,
        slice: &Slice<'_>,
        dimension: Dimension,
        values: Option<&[String]>,
    ) -> Result<Cells, Problem> {
        let wanted = |value: &str| values.is_none_or(|values| values.iter().any(|one| one == value));
        let finest = *dimension.granularities().first().unwrap_or(&Granularity::Day);
        let plan = Plan::of(slice.range, slice.buckets, finest, slice.now);
        let generation = Generations::read(&self.client, &self.config.stats)
            .await?
            .current
            .number;
        let parts = plan.rollups.iter().map(|(granularity, part)| {
            let partition = Rollup::partition(generation, slice.workspace, dimension, *granularity);
            self.rollups(partition, *part)
        });
        let mut cells = Cells::new();
        for (rollup, tally) in try_join_all(parts).await?.into_iter().flatten() {
            if wanted(&rollup.value) {
                let cell = (slice.buckets.floor(rollup.bucket), rollup.value);
                *cells.entry(cell).or_default() += &tally;
            }
        }
        for end in plan.records {
            for record in self.records(slice, end).await? {
                let counted = Counted::from_feedback(&record);
                if let Some(value) = counted.value(dimension).filter(|value| wanted(value)) {
                    add(&mut cells, slice.buckets, &record, value);
                }
            }
        }
        Ok(cells)
    }

    /// The counts of a slice's records by bucket and by whatever they are told apart by; a record
    /// without that is left out.
    pub async fn by_record(
        &self,
        slice: &Slice<'_>,
        value: impl Fn(&Feedback) -> Option<String>,
    ) -> Result<Cells, Problem> {
        let mut cells = Cells::new();
        for record in self.records(slice, slice.range).await? {
            if let Some(value) = value(&record) {
                add(&mut cells, slice.buckets, &record, &value);
            }
        }
        Ok(cells)
    }

    async fn records(&self, slice: &Slice<'_>, range: Range) -> Result<Vec<Feedback>, Problem> {
        let filter = Filter {
            from: Some(range.from),
            to: Some(range.to),
            ..slice.filter.clone()
        };
        let found = self
            .store
            .matching(slice.workspace, &filter, MOST_RECORDS, slice.now)
            .await?;
        found.ok_or_else(|| {
            Problem::invalid(
                "time_of_generation_max",
                format!(
                    "and time_of_generation_min leave more than {MOST_RECORDS} records to be read one by one, from \
                     {} to {}: let them fall on whole hours of UTC (whole days for _user), or narrow the range or \
                     the filter",
                    range.from, range.to
                ),
            )
        })
    }

    async fn rollups(&self, partition: String, range: Range) -> Result<Vec<(Rollup, Tally)>, Problem> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.config.stats)
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", text(&partition))
                .expression_attribute_values(":first", text(bucket_key(range.from)))
                // Every sort key of a bucket goes on with more, so the end itself is not in it.
                .expression_attribute_values(":last", text(bucket_key(range.to)))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            for item in page.items() {
                found.push(from_item(item)?);
            }
            if found.len() > MOST_ROLLUPS {
                return Err(Problem::invalid(
                    "time_of_generation_max",
                    format!(
                        "and time_of_generation_min hold more than {MOST_ROLLUPS} groups: narrow the range"
                    ),
                ));
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// When the newest change happened that has been counted; `None` if none has been.
    pub async fn counted_to(&self) -> Result<Option<Timestamp>, Problem> {
        let mut checkpoints = self
            .client
            .query()
            .table_name(&self.config.stats)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(CHECKPOINTS))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut newest = None;
        while let Some(item) = checkpoints.next().await {
            let item = item.map_err(|error| dynamo::problem(&error, false))?;
            newest = newest.max(int(&item, "counted_to"));
        }
        Ok(newest.map(Timestamp::from_millis))
    }
}

fn add(cells: &mut Cells, buckets: Granularity, record: &Feedback, value: &str) {
    let created_at = record.id.created_at();
    let cell = (buckets.floor(created_at), value.to_owned());
    *cells.entry(cell).or_default() += &Tally::of(record.draft.score, created_at);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn range(from: &str, to: &str) -> Range {
        Range {
            from: at(from),
            to: at(to),
        }
    }

    #[test]
    fn a_range_is_cut_at_whole_hours_and_days() {
        let now = at("2027-01-01T00:00:00Z");
        let plan = |from, to, buckets| Plan::of(range(from, to), buckets, Granularity::Hour, now);
        assert_eq!(
            plan("2026-11-20T22:30:00Z", "2026-11-23T01:15:00Z", Granularity::Day),
            Plan {
                rollups: vec![
                    (
                        Granularity::Hour,
                        range("2026-11-20T23:00:00Z", "2026-11-21T00:00:00Z")
                    ),
                    (
                        Granularity::Day,
                        range("2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z")
                    ),
                    (
                        Granularity::Hour,
                        range("2026-11-23T00:00:00Z", "2026-11-23T01:00:00Z")
                    ),
                ],
                records: vec![
                    range("2026-11-20T22:30:00Z", "2026-11-20T23:00:00Z"),
                    range("2026-11-23T01:00:00Z", "2026-11-23T01:15:00Z"),
                ],
            }
        );
        let whole = plan("2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z", Granularity::Hour);
        assert_eq!(
            whole.rollups,
            [(
                Granularity::Hour,
                range("2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z")
            )]
        );
        assert!(whole.records.is_empty());
        let within = plan("2026-11-20T10:10:00Z", "2026-11-20T10:50:00Z", Granularity::Hour);
        assert_eq!(
            within.records,
            [range("2026-11-20T10:10:00Z", "2026-11-20T10:50:00Z")]
        );
        assert!(within.rollups.is_empty());
    }

    #[test]
    fn an_hour_under_way_needs_no_records() {
        let now = at("2026-11-20T10:30:00Z");
        let plan = Plan::of(
            range("2026-11-20T09:00:00Z", "2026-11-20T10:45:00Z"),
            Granularity::Hour,
            Granularity::Hour,
            now,
        );
        assert_eq!(
            plan.rollups,
            [(
                Granularity::Hour,
                range("2026-11-20T09:00:00Z", "2026-11-20T11:00:00Z")
            )]
        );
        assert!(plan.records.is_empty());
    }
}
