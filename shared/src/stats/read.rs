//! Putting a time range together again: what whole slots of roll-ups cover from them, the ragged ends,
//! and what roll-ups cannot answer, from the records.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::future::try_join_all;

use super::generation::{Generation, Generations};
use super::rollup::{COUNTED_TO, Dimension, Rollup, from_item, key_item, start_key};
use super::series::Series;
use super::tally::Tally;
use crate::config::{Config, ConfigError};
use crate::dynamo;
use crate::dynamo::attributes::{Item, int, text};
use crate::dynamo::retry::back_off;
use crate::id::Workspace;
use crate::problem::Problem;
use crate::query::Filter;
use crate::store::Store;
use crate::store::votes::{Columns, Limit, Vote};
use crate::tables::STATS;
use crate::timestamp::{Granularity, Timestamp};

/// The most records that a filter leaves to be read for one answer.
pub const MAX_RECORDS: usize = 10_000;

/// The most records that are read for one ragged end of a range: two minutes at 100 votes a second are
/// 12,000.
pub const MAX_END_RECORDS: usize = 20_000;

/// The most roll-ups that one answer reads. Only a dimension of very many values has more.
pub const MAX_ROLLUPS: usize = 50_000;

/// The most roll-ups that are read by their keys. Beyond it a query over all values is less.
const MAX_KEYS: usize = 1_000;

/// The most keys of one BatchGetItem
/// (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
const BATCH_KEYS: usize = 100;

/// How long a change may take to reach an index: what was changed later than this may be missing from
/// an answer that reads records by one. They trail the table by milliseconds; this is generous.
const INDEX_DELAY: Duration = Duration::from_secs(10);

/// Counts by bucket and value.
pub type Cells = BTreeMap<(Timestamp, String), Tally>;

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The counts.
    pub cells: Cells,
    /// Every change of the workspace up to this moment is in them; `None` if none was counted yet.
    pub as_of: Option<Timestamp>,
}

/// Why a query has no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// More than this would have to be read of the records of this range.
    TooManyRecords(Limit, Range),
    /// More than [`MAX_ROLLUPS`] roll-ups would have to be read.
    TooManyGroups,
    /// A failure of DynamoDB, or an item that cannot be read.
    Problem(Problem),
}

impl From<Problem> for Unanswered {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

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

    fn contains(self, moment: Timestamp) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

/// The workspace, time range and bucket size of a query.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The time range.
    pub range: Range,
    /// The bucket size.
    pub buckets: Granularity,
    /// By which the records are found that are read one by one: each record by at most one of them.
    pub filters: &'a [Filter],
    /// The present.
    pub now: Timestamp,
}

/// How a range is read: which parts of it from what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    rollups: Vec<(Series, Range)>,
    records: Vec<Range>,
}

impl Plan {
    /// The parts of a range that is to be answered in buckets of `buckets`, from these series, the
    /// coarsest first.
    fn of(mut range: Range, buckets: Granularity, series: &[Series], now: Timestamp) -> Self {
        let series: Vec<Series> = series
            .iter()
            .copied()
            .filter(|series| series.fits(buckets))
            .collect();
        // No record is of the future, so a slot that is under way is as whole as it gets.
        if let Some(coarsest) = series.first().filter(|_| range.to > now) {
            range.to = coarsest.ceiling(range.to);
        }
        let mut plan = Self::default();
        plan.cover(range, &series);
        plan
    }

    /// Covers a range: its middle by the first series, what is before and behind by the others.
    fn cover(&mut self, range: Range, series: &[Series]) {
        if range.is_empty() {
            return;
        }
        let Some((coarsest, finer)) = series.split_first() else {
            self.records.push(range);
            return;
        };
        let whole = Range {
            from: coarsest.ceiling(range.from),
            to: coarsest.floor(range.to),
        };
        if whole.is_empty() {
            return self.cover(range, finer);
        }
        let before = Range {
            to: whole.from,
            ..range
        };
        let after = Range {
            from: whole.to,
            ..range
        };
        self.cover(before, finer);
        self.rollups.push((*coarsest, whole));
        self.cover(after, finer);
    }
}

/// Answers queries about counts.
#[derive(Clone, Debug)]
pub struct Reader {
    client: Client,
    stats: String,
    store: Store,
}

impl Reader {
    /// A reader of this configuration's tables.
    ///
    /// # Errors
    ///
    /// If the configuration lacks the name of [`FEEDBACK`](crate::tables::FEEDBACK) or [`STATS`].
    pub fn new(client: Client, config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            store: Store::new(client.clone(), config)?,
            stats: config.table(&STATS)?.to_owned(),
            client,
        })
    }

    /// The counts of a slice by bucket and by a dimension's value, exactly; of these values alone,
    /// if any are named.
    ///
    /// # Errors
    ///
    /// [`Unanswered`] if more roll-ups or records would have to be read than one answer may.
    pub async fn by_dimension(
        &self,
        slice: &Slice<'_>,
        dimension: Dimension,
        values: Option<&[String]>,
    ) -> Result<Counts, Unanswered> {
        let (generation, as_of) = self.counted(slice.workspace).await?;
        let plan = Plan::of(
            slice.range,
            slice.buckets,
            dimension.series(generation.schema),
            slice.now,
        );
        let parts = plan.rollups.iter().map(|(series, range)| {
            let part = Part {
                generation,
                dimension,
                series: *series,
                range: *range,
            };
            self.rollups(slice, part, values)
        });
        let mut cells = Cells::new();
        for (cell, tally) in try_join_all(parts).await?.into_iter().flatten() {
            *cells.entry(cell).or_default() += &tally;
        }
        let columns = Columns {
            indexed: true,
            metadata: dimension == Dimension::Model,
        };
        let value = |vote: &Vote| {
            let value = vote.value(dimension)?;
            let wanted = values.is_none_or(|values| values.contains(&value));
            wanted.then_some(value)
        };
        for range in &plan.records {
            let end = Unsummed {
                range: *range,
                most: MAX_END_RECORDS,
                columns,
            };
            self.records(slice, end, &value, &mut cells).await?;
        }
        Ok(Counts {
            cells,
            as_of: as_of_records(as_of, slice, !plan.records.is_empty()),
        })
    }

    /// No counts, as of the moment that others would be of.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a generation of a newer schema version.
    pub async fn nothing(&self, slice: &Slice<'_>) -> Result<Counts, Problem> {
        let (_, as_of) = self.counted(slice.workspace).await?;
        Ok(Counts {
            cells: Cells::new(),
            as_of,
        })
    }

    /// The counts of a slice's records by bucket and by whatever they are told apart by; a record
    /// without that is left out.
    ///
    /// # Errors
    ///
    /// [`Unanswered`] if more records would have to be read than one answer may.
    pub async fn by_record(
        &self,
        slice: &Slice<'_>,
        columns: Columns,
        value: impl Fn(&Vote) -> Option<String>,
    ) -> Result<Counts, Unanswered> {
        let (_, as_of) = self.counted(slice.workspace).await?;
        let mut cells = Cells::new();
        let all = Unsummed {
            range: slice.range,
            most: MAX_RECORDS,
            columns,
        };
        self.records(slice, all, &value, &mut cells).await?;
        Ok(Counts {
            cells,
            as_of: as_of_records(as_of, slice, true),
        })
    }

    /// Adds the records of a range, one by one.
    async fn records(
        &self,
        slice: &Slice<'_>,
        unsummed: Unsummed,
        value: &impl Fn(&Vote) -> Option<String>,
        cells: &mut Cells,
    ) -> Result<(), Unanswered> {
        let Unsummed { range, most, columns } = unsummed;
        let within = |filter: &Filter| Filter {
            from: Some(range.from),
            to: Some(range.to),
            ..filter.clone()
        };
        let filters: Vec<Filter> = slice.filters.iter().map(within).collect();
        let add = |vote: &Vote| {
            if let Some(value) = value(vote) {
                let created_at = vote.id.created_at();
                let cell = (slice.buckets.floor(created_at), value);
                *cells.entry(cell).or_default() += &Tally::of(vote.score, created_at);
            }
        };
        let read = self
            .store
            .each_vote(slice.workspace, &filters, columns, most, slice.now, add);
        read.await?
            .map_err(|limit| Unanswered::TooManyRecords(limit, range))
    }

    /// The counts of a part of a slice, from roll-ups: of named values by their keys, of all values by
    /// a query.
    async fn rollups(
        &self,
        slice: &Slice<'_>,
        part: Part,
        values: Option<&[String]>,
    ) -> Result<Cells, Unanswered> {
        let Part { series, range, .. } = part;
        let mut cells = Cells::new();
        let mut found = 0;
        let mut add = |item: &Item| {
            let (rollup, slots) = from_item(item)?;
            found += 1;
            if values.is_some_and(|values| !values.contains(&rollup.value)) {
                return Ok(());
            }
            for (slot, tally) in slots {
                let start = series.slot_start(rollup.start, slot);
                if range.contains(start) {
                    let cell = (slice.buckets.floor(start), rollup.value.clone());
                    *cells.entry(cell).or_default() += &tally;
                }
            }
            if found > MAX_ROLLUPS {
                return Err(Unanswered::TooManyGroups);
            }
            Ok(())
        };
        let partition = Rollup::partition(part.generation.number, slice.workspace, part.dimension, series);
        match values.filter(|values| series.items(range.from, range.to).count() * values.len() <= MAX_KEYS) {
            Some(values) => {
                let starts = series.items(range.from, range.to);
                let keys: Vec<Item> = starts
                    .flat_map(|start| values.iter().map(move |value| Rollup::sort(start, value)))
                    .map(|sort| key_item(&partition, &sort))
                    .collect();
                self.each_of_keys(keys, &mut add).await?;
            }
            None => self.each_of_range(&partition, series, range, &mut add).await?,
        }
        Ok(cells)
    }

    /// Reads the roll-ups of a range. Consistently, since the answer says as of when it is.
    async fn each_of_range(
        &self,
        partition: &str,
        series: Series,
        range: Range,
        visit: &mut impl FnMut(&Item) -> Result<(), Unanswered>,
    ) -> Result<(), Unanswered> {
        let (first, _) = series.place(range.from);
        let mut start = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.stats)
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", text(partition))
                .expression_attribute_values(":first", text(start_key(first)))
                // Every sort key of a start goes on with more, so the end itself is not in it.
                .expression_attribute_values(":last", text(start_key(range.to)))
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            page.items().iter().try_for_each(&mut *visit)?;
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
            // The deadline of the request is looked at between pages.
            tokio::task::yield_now().await;
        }
    }

    /// Reads the roll-ups of these keys that are there, in any order, consistently.
    async fn each_of_keys(
        &self,
        keys: Vec<Item>,
        visit: &mut impl FnMut(&Item) -> Result<(), Unanswered>,
    ) -> Result<(), Unanswered> {
        for batch in keys.chunks(BATCH_KEYS) {
            let (mut asked, mut attempt) = (batch.to_vec(), 0);
            while !asked.is_empty() {
                let keys = KeysAndAttributes::builder()
                    .set_keys(Some(asked))
                    .consistent_read(true)
                    .build()
                    .map_err(|error| {
                        Problem::internal(format!("a DynamoDB request is incomplete: {error}"))
                    })?;
                let answer = self
                    .client
                    .batch_get_item()
                    .request_items(&self.stats, keys)
                    .send()
                    .await
                    .map_err(|error| dynamo::problem(&error, false))?;
                let found = answer.responses.unwrap_or_default();
                found.into_values().flatten().try_for_each(|item| visit(&item))?;
                // What DynamoDB had no capacity for, or no room in its 16 MB.
                let left: HashMap<String, KeysAndAttributes> = answer.unprocessed_keys.unwrap_or_default();
                asked = left.into_values().flat_map(|keys| keys.keys).collect();
                if !asked.is_empty() {
                    back_off(attempt).await.ok_or(Problem::Throttled)?;
                    attempt += 1;
                }
            }
        }
        Ok(())
    }

    /// The generation that is read, and up to when a workspace's changes are counted in it. Read before
    /// the counts are: what is counted in between is in them and not yet promised.
    async fn counted(&self, workspace: &Workspace) -> Result<(Generation, Option<Timestamp>), Problem> {
        let generation = Generations::read(&self.client, &self.stats).await?.current;
        let newest = self
            .client
            .query()
            .table_name(&self.stats)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(
                ":pk",
                text(Rollup::partition(
                    generation.number,
                    workspace,
                    Dimension::All,
                    Series::Day,
                )),
            )
            .scan_index_forward(false)
            .limit(1)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let counted_to = newest.items().first().and_then(|item| {
            // Older code did not write the one; the other is no later.
            int(item, COUNTED_TO).or_else(|| int(item, "last_seen"))
        });
        Ok((generation, counted_to.map(Timestamp::from_millis)))
    }
}

/// Records to be read one by one.
#[derive(Clone, Copy)]
struct Unsummed {
    range: Range,
    most: usize,
    columns: Columns,
}

/// The part of a slice that one series answers.
#[derive(Clone, Copy)]
struct Part {
    generation: Generation,
    dimension: Dimension,
    series: Series,
    range: Range,
}

/// As of when an answer is that read records: indexes trail the table.
fn as_of_records(as_of: Option<Timestamp>, slice: &Slice<'_>, has_records: bool) -> Option<Timestamp> {
    if !has_records {
        return as_of;
    }
    let indexed = slice
        .now
        .millis()
        .saturating_sub(u64::try_from(INDEX_DELAY.as_millis()).unwrap_or(u64::MAX));
    as_of.map(|as_of| as_of.min(Timestamp::from_millis(indexed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: [Series; 2] = [Series::Day, Series::Minutes];

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
    fn a_range_is_cut_where_slots_begin() {
        let now = at("2027-01-01T00:00:00Z");
        let plan = |from, to, buckets| Plan::of(range(from, to), buckets, &SLOTS, now);
        assert_eq!(
            plan("2026-11-20T22:30:01Z", "2026-11-23T01:15:00Z", Granularity::Day),
            Plan {
                rollups: vec![
                    (
                        Series::Minutes,
                        range("2026-11-20T22:32:00Z", "2026-11-21T00:00:00Z")
                    ),
                    (Series::Day, range("2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z")),
                    (
                        Series::Minutes,
                        range("2026-11-23T00:00:00Z", "2026-11-23T01:14:00Z")
                    ),
                ],
                records: vec![
                    range("2026-11-20T22:30:01Z", "2026-11-20T22:32:00Z"),
                    range("2026-11-23T01:14:00Z", "2026-11-23T01:15:00Z"),
                ],
            }
        );
        let whole = plan("2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z", Granularity::Hour);
        assert_eq!(
            whole.rollups,
            [(
                Series::Minutes,
                range("2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z")
            )]
        );
        assert!(whole.records.is_empty());
        let within = plan("2026-11-20T10:10:10Z", "2026-11-20T10:11:50Z", Granularity::Hour);
        assert_eq!(
            within.records,
            [range("2026-11-20T10:10:10Z", "2026-11-20T10:11:50Z")]
        );
        assert!(within.rollups.is_empty());
    }

    #[test]
    fn the_first_schema_version_and_users_are_cut_at_hours() {
        let now = at("2027-01-01T00:00:00Z");
        for series in [&[Series::Day, Series::Hour][..], &[Series::Hours]] {
            let plan = Plan::of(
                range("2026-11-20T22:30:00Z", "2026-11-21T01:15:00Z"),
                Granularity::Hour,
                series,
                now,
            );
            let whole = range("2026-11-20T23:00:00Z", "2026-11-21T01:00:00Z");
            assert_eq!(plan.rollups, [(*series.last().unwrap(), whole)]);
            assert_eq!(plan.records.len(), 2);
        }
        let by_day = Plan::of(
            range("2026-11-20T22:30:00Z", "2026-11-22T01:00:00Z"),
            Granularity::Hour,
            &[Series::Day],
            now,
        );
        assert!(by_day.rollups.is_empty(), "a day has no hours");
    }

    #[test]
    fn a_slot_under_way_needs_no_records() {
        let now = at("2026-11-20T10:30:00Z");
        let plan = Plan::of(
            range("2026-11-20T09:00:00Z", "2026-11-20T10:45:01Z"),
            Granularity::Hour,
            &SLOTS,
            now,
        );
        assert_eq!(
            plan.rollups,
            [(
                Series::Minutes,
                range("2026-11-20T09:00:00Z", "2026-11-20T10:46:00Z")
            )]
        );
        assert!(plan.records.is_empty());
    }
}
