//! Answering analytics queries: whole slots of a time range from roll-ups, the rest from records.

mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::future::{join_all, join3, try_join_all};

use plan::Plan;
pub use plan::Range;

use super::dimension::Dimension;
use super::generation::{Generation, Generations};
use super::question::{Grouping, Question, Source, Way};
use super::rollup::{COUNTED_TO, Rollup, from_item, key_item, start_key};
use super::series::Series;
use super::tally::Tally;
use crate::config::{Config, ConfigError};
use crate::dynamo;
use crate::dynamo::attributes::{Item, int, text};
use crate::dynamo::batch::{self, items_of_keys};
use crate::id::Workspace;
use crate::problem::Problem;
use crate::query::Filter;
use crate::store::Store;
use crate::store::votes::{Columns, Limit, Vote};
use crate::tables::STATS;
use crate::timestamp::{Granularity, Timestamp};

/// The maximum number of records that one query reads because of its filter.
pub const MAX_RECORDS: usize = 10_000;

/// The maximum number of records that one query reads at each end of its range that cuts through a slot.
/// Two minutes at 100 votes a second are 12,000.
pub const MAX_END_RECORDS: usize = 20_000;

/// The maximum number of roll-ups that one query reads. Only a dimension with very many values has more.
pub const MAX_ROLLUPS: usize = 50_000;

/// The maximum number of roll-ups that are read by key. Beyond it, querying all values is cheaper.
const MAX_KEYS: usize = 1_000;

/// The maximum number of times that everything is read again because votes with a name changed meanwhile.
const MAX_REREADS: usize = 8;

/// The longest time that a change is expected to take to reach an index. Usually it is milliseconds.
/// Changes within this time may be missing from a result that was read through an index.
const INDEX_DELAY: Duration = Duration::from_secs(10);

/// Counts by bucket and by a dimension's value.
pub type Cells = BTreeMap<(Timestamp, String), Tally>;

/// The result of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The counts.
    pub cells: Cells,
    /// All changes of the workspace up to this time are included; `None` if none was counted yet.
    pub as_of: Option<Timestamp>,
    /// What they were read from.
    pub source: Source,
}

/// The reason why a query has no result.
#[derive(Clone, Debug)]
pub enum Unanswered {
    /// The records of this range that would have to be read exceed the limit.
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

/// The workspace, time range and bucket size of a query.
#[derive(Clone, Copy, Debug)]
struct Slice<'a> {
    workspace: &'a Workspace,
    range: Range,
    buckets: Granularity,
    /// Filters that find the records to be read one by one. A record must match at most one of them.
    filters: &'a [Filter],
    now: Timestamp,
}

/// The current generation of roll-ups, and the time up to which a workspace's changes are counted in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    generation: Generation,
    pub(super) as_of: Option<Timestamp>,
}

/// Counting by a dimension: by which time, and of which values; `None` means all.
#[derive(Clone, Copy, Debug)]
struct OfDimension<'a> {
    buckets: Granularity,
    dimension: Dimension,
    values: Option<&'a [String]>,
}

impl OfDimension<'_> {
    /// The values that a record counts in.
    fn values_of(&self, vote: &Vote) -> Vec<String> {
        let mut values = self.dimension.values_of(vote);
        values.retain(|value| match self.values {
            Some(values) => values.contains(value),
            None => self.dimension == Dimension::All || !value.is_empty(),
        });
        values
    }
}

/// Runs analytics queries.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) client: Client,
    pub(super) stats: String,
    pub(super) store: Store,
}

impl Reader {
    /// A reader for this configuration's tables.
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

    /// Counts the records of a question, exactly.
    ///
    /// # Errors
    ///
    /// [`Unanswered`] if more roll-ups or records would have to be read than one query may.
    pub async fn count(
        &self,
        workspace: &Workspace,
        question: &Question,
        grouping: Grouping<'_>,
        now: Timestamp,
    ) -> Result<Counts, Unanswered> {
        let mut counts = self.count_each(workspace, question, &[grouping], now).await?;
        counts.pop().unwrap_or_else(|| Ok(Counts::default()))
    }

    /// Counts the records of a question in several ways, and returns a result for each. Roll-ups are read
    /// concurrently, and a record is read once for all that need it.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a generation of a newer schema version.
    pub async fn count_each(
        &self,
        workspace: &Workspace,
        question: &Question,
        groupings: &[Grouping<'_>],
        now: Timestamp,
    ) -> Result<Vec<Result<Counts, Unanswered>>, Problem> {
        let counted = self.counted(workspace).await?;
        let slice = |buckets| Slice {
            workspace,
            range: question.range,
            buckets,
            filters: &question.filters,
            now,
        };
        let ways: Vec<Way> = groupings
            .iter()
            .map(|grouping| question.way(grouping.by))
            .collect();
        let pairs = || groupings.iter().zip(&ways);
        let of_dimensions: Vec<OfDimension<'_>> = pairs()
            .filter_map(|(grouping, way)| match way {
                Way::Dimension(dimension, values) => Some(OfDimension {
                    buckets: grouping.buckets,
                    dimension: *dimension,
                    values: values.as_deref(),
                }),
                _ => None,
            })
            .collect();
        let unnamed = pairs().filter(|(_, way)| **way == Way::Unnamed);
        let unnamed = unnamed.map(|(grouping, _)| self.unnamed(slice(grouping.buckets), counted));
        let of_records: Vec<Grouping<'_>> = pairs()
            .filter(|(_, way)| **way == Way::Records)
            .map(|(grouping, _)| *grouping)
            .collect();
        // Each bucket size is that of its grouping, not the slice's.
        let whole = slice(Granularity::Day);
        let (by_dimension, unnamed, by_records) = join3(
            self.by_dimensions(&whole, counted, &of_dimensions),
            join_all(unnamed),
            self.by_records(&whole, counted, question, &of_records),
        )
        .await;
        let by_records = match by_records {
            Ok(counts) => counts.into_iter().map(Ok).collect(),
            Err(unanswered) => vec![Err(unanswered); of_records.len()],
        };
        let mut by_dimension = by_dimension.into_iter();
        let (mut unnamed, mut by_records) = (unnamed.into_iter(), by_records.into_iter());
        let counts = ways.iter().map(|way| match way {
            Way::Nothing => Some(Ok(Counts {
                as_of: counted.as_of,
                ..Counts::default()
            })),
            Way::Dimension(..) => by_dimension.next(),
            Way::Unnamed => unnamed.next(),
            Way::Records => by_records.next(),
        });
        Ok(counts.flatten().collect())
    }

    /// Counts a slice by bucket and by a dimension's value, exactly.
    async fn by_dimension(
        &self,
        slice: &Slice<'_>,
        counted: Counted,
        dimension: Dimension,
    ) -> Result<Counts, Unanswered> {
        let asked = OfDimension {
            buckets: slice.buckets,
            dimension,
            values: None,
        };
        let mut counts = self.by_dimensions(slice, counted, &[asked]).await;
        counts.pop().unwrap_or_else(|| Ok(Counts::default()))
    }

    /// Counts the range of a slice by several dimensions, exactly. Records at its ends that several of them
    /// need are read once.
    async fn by_dimensions(
        &self,
        slice: &Slice<'_>,
        counted: Counted,
        asked: &[OfDimension<'_>],
    ) -> Vec<Result<Counts, Unanswered>> {
        let plan = |asked: &OfDimension<'_>| {
            let series = asked.dimension.series(counted.generation.schema);
            Plan::of(slice.range, asked.buckets, series, slice.now)
        };
        let plans: Vec<Plan> = asked.iter().map(plan).collect();
        let pairs = || asked.iter().zip(&plans);
        let whole = pairs().map(|(asked, plan)| self.whole_slots(slice, counted, *asked, plan));
        let mut counts = join_all(whole).await;
        let mut ends: Vec<Range> = Vec::new();
        for end in plans.iter().flat_map(|plan| &plan.records) {
            if !ends.contains(end) {
                ends.push(*end);
            }
        }
        // One after the other, to hold few pages at a time.
        for end in ends {
            let needs = |plan: &Plan| plan.records.contains(&end);
            let needs_metadata = pairs().any(|(asked, plan)| needs(plan) && asked.dimension.needs_metadata());
            let records = RecordRange {
                range: end,
                most: MAX_END_RECORDS,
                columns: Columns {
                    indexed: true,
                    metadata: needs_metadata,
                },
            };
            let read = self
                .records(slice, records, |vote| {
                    for ((asked, plan), counts) in pairs().zip(&mut counts) {
                        let Some(counts) = counts.as_mut().ok().filter(|_| needs(plan)) else {
                            continue;
                        };
                        for value in asked.values_of(vote) {
                            add(&mut counts.cells, asked.buckets, value, vote);
                        }
                    }
                })
                .await;
            if let Err(unanswered) = read {
                for (plan, counts) in plans.iter().zip(&mut counts) {
                    if counts.is_ok() && needs(plan) {
                        *counts = Err(unanswered.clone());
                    }
                }
            }
        }
        counts
    }

    /// Counts the part of a slice that roll-ups cover.
    async fn whole_slots(
        &self,
        slice: &Slice<'_>,
        counted: Counted,
        asked: OfDimension<'_>,
        plan: &Plan,
    ) -> Result<Counts, Unanswered> {
        let slice = Slice {
            buckets: asked.buckets,
            ..*slice
        };
        let parts = plan.rollups.iter().map(|(series, range)| {
            let part = Part {
                generation: counted.generation,
                dimension: asked.dimension,
                series: *series,
                range: *range,
            };
            self.rollups(&slice, part, asked.values)
        });
        let mut cells = Cells::new();
        for (cell, tally) in try_join_all(parts).await?.into_iter().flatten() {
            *cells.entry(cell).or_default() += &tally;
        }
        Ok(Counts {
            cells,
            as_of: as_of_records(counted.as_of, &slice, !plan.records.is_empty()),
            source: Source::Rollups,
        })
    }

    /// Counts the records of a slice without a name: all records minus those with a name. A record that is
    /// counted between the two reads would be in only one of them, so those with a name are read before and
    /// after.
    async fn unnamed(&self, slice: Slice<'_>, mut counted: Counted) -> Result<Counts, Unanswered> {
        let mut named = self.by_dimension(&slice, counted, Dimension::Name).await?;
        for _ in 0..MAX_REREADS {
            let mut counts = self.by_dimension(&slice, counted, Dimension::All).await?;
            let again = self.by_dimension(&slice, counted, Dimension::Name).await?;
            if again.cells == named.cells {
                counts.as_of = counts.as_of.min(named.as_of);
                for ((bucket, _), tally) in named.cells {
                    *counts.cells.entry((bucket, String::new())).or_default() += &-tally;
                }
                counts.cells.retain(|_, tally| !tally.is_zero());
                return Ok(counts);
            }
            counted = self.counted(slice.workspace).await?;
            named = again;
        }
        Err(Problem::unavailable("roll-ups by name change faster than they are read").into())
    }

    /// Counts the records of a slice one by one, in each of these groupings. Reads nothing if there are
    /// none.
    async fn by_records(
        &self,
        slice: &Slice<'_>,
        counted: Counted,
        question: &Question,
        groupings: &[Grouping<'_>],
    ) -> Result<Vec<Counts>, Unanswered> {
        let mut counts = vec![
            Counts {
                cells: Cells::new(),
                as_of: as_of_records(counted.as_of, slice, true),
                source: Source::Records,
            };
            groupings.len()
        ];
        if groupings.is_empty() {
            return Ok(counts);
        }
        let all = RecordRange {
            range: slice.range,
            most: MAX_RECORDS,
            columns: question.columns(groupings.iter().map(|grouping| grouping.by)),
        };
        self.records(slice, all, |vote| {
            if !question.admits(vote) {
                return;
            }
            for (grouping, counts) in groupings.iter().zip(&mut counts) {
                for value in question.values(grouping.by, vote) {
                    add(&mut counts.cells, grouping.buckets, value, vote);
                }
            }
        })
        .await?;
        Ok(counts)
    }

    /// Visits the records of a range one by one.
    async fn records(
        &self,
        slice: &Slice<'_>,
        record_range: RecordRange,
        visit: impl FnMut(&Vote),
    ) -> Result<(), Unanswered> {
        let RecordRange { range, most, columns } = record_range;
        let within = |filter: &Filter| Filter {
            from: Some(range.from),
            to: Some(range.to),
            ..filter.clone()
        };
        let filters: Vec<Filter> = slice.filters.iter().map(within).collect();
        let read = self
            .store
            .each_vote(slice.workspace, &filters, columns, most, slice.now, visit);
        read.await?
            .map_err(|limit| Unanswered::TooManyRecords(limit, range))
    }

    /// Adds the counts of a part of a slice from roll-ups: by key for given values, with a query for all
    /// values.
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

    /// Reads the roll-ups of a range, consistently, because the result has an `as_of`.
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
                // Every sort key continues after its start, so no roll-up that starts at the end of the
                // range is included.
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
            // Lets the request's deadline take effect between pages.
            tokio::task::yield_now().await;
        }
    }

    /// Reads the existing roll-ups among these keys, in any order, consistently.
    pub(super) async fn each_of_keys(
        &self,
        keys: Vec<Item>,
        visit: &mut impl FnMut(&Item) -> Result<(), Unanswered>,
    ) -> Result<(), Unanswered> {
        let consistent = KeysAndAttributes::builder().consistent_read(true);
        for batch in keys.chunks(batch::MAX_KEYS) {
            let found = items_of_keys(&self.client, &self.stats, batch.to_vec(), &consistent).await?;
            found.iter().try_for_each(&mut *visit)?;
        }
        Ok(())
    }

    /// Reads the current generation and the time up to which a workspace's changes are counted in it. This
    /// must come before reading the counts, so that they include at least all changes up to that time.
    pub(super) async fn counted(&self, workspace: &Workspace) -> Result<Counted, Problem> {
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
            // Older code did not write `counted_to`. `last_seen` is never later.
            int(item, COUNTED_TO).or_else(|| int(item, "last_seen"))
        });
        Ok(Counted {
            generation,
            as_of: counted_to.map(Timestamp::from_millis),
        })
    }
}

/// Adds a record to the cell of its bucket and this value.
fn add(cells: &mut Cells, buckets: Granularity, value: String, vote: &Vote) {
    let created_at = vote.id.created_at();
    let cell = (buckets.floor(created_at), value);
    *cells.entry(cell).or_default() += &Tally::of(vote.score, created_at);
}

/// A range whose records are read one by one.
#[derive(Clone, Copy)]
struct RecordRange {
    range: Range,
    most: usize,
    columns: Columns,
}

/// A part of a slice that is read from one series.
#[derive(Clone, Copy)]
struct Part {
    generation: Generation,
    dimension: Dimension,
    series: Series,
    range: Range,
}

/// The `as_of` of a result that includes records, which is earlier because indexes lag behind the table.
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
