//! Look-ups and lists.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::item::{self, text};
use super::write::primary_key;
use super::{Store, keys};
use crate::dynamo;
use crate::feedback::Feedback;
use crate::id::{FeedbackId, Workspace};
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, MAX_SUMMARY, Order, Summary};
use crate::tables::{BY_ENVIRONMENT, BY_ORGANISATION, BY_PROMPT, BY_TIME, BY_TRACE, BY_USER, Index};
use crate::target::{SpanId, Target, TraceId};
use crate::timestamp::Timestamp;

/// How long after its creation a record may still be missing from an index. They trail the table
/// by milliseconds; this is generous.
const YOUNG: Duration = Duration::from_secs(10);

/// The waits between look-ups of a young id, 1.3 seconds in all.
const WAITS: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
    Duration::from_millis(640),
];

/// The most records a page looks at to find those a filter asks for. A page that comes to an end
/// here holds fewer than it could, and a cursor to go on with.
const MAX_EXAMINED: usize = 1_000;

/// The most text a page holds, in bytes of metadata and comments: a Lambda answer ends at 6 MiB.
const MAX_PAGE: usize = 3 * 1024 * 1024;

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records, in the order asked for.
    pub records: Vec<Feedback>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<FeedbackId>,
}

impl Store {
    /// The partition of a record, by its id alone. The shard of `by-time` follows from the id, so
    /// this is one query. An index trails its table: a young id that is missing is looked up again.
    pub(super) async fn locate(
        &self,
        workspace: &Workspace,
        id: FeedbackId,
        now: Timestamp,
    ) -> Result<String, Problem> {
        let mut waits = WAITS.iter();
        loop {
            let found = self
                .client
                .query()
                .table_name(&self.config.feedback)
                .index_name(BY_TIME.name)
                .key_condition_expression("time_key = :key AND id = :id")
                .expression_attribute_values(":key", text(keys::time(workspace, keys::shard(id))))
                .expression_attribute_values(":id", text(id.hyphenated()))
                .projection_expression("pk")
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            if let Some(partition) = found.items().first().and_then(|item| item::string(item, "pk")) {
                return Ok(partition.to_owned());
            }
            let young = id.created_at().age(now) < YOUNG && id.created_at() <= now + YOUNG;
            match waits.next() {
                Some(wait) if young => tokio::time::sleep(*wait).await,
                _ => return Err(Problem::NotFound),
            }
        }
    }

    /// One record, as it is now.
    pub async fn get(
        &self,
        workspace: &Workspace,
        id: FeedbackId,
        now: Timestamp,
    ) -> Result<Feedback, Problem> {
        let partition = self.locate(workspace, id, now).await?;
        let found = self
            .client
            .get_item()
            .table_name(&self.config.feedback)
            .set_key(Some(primary_key(partition, workspace, id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?
            .item
            .ok_or(Problem::NotFound)?;
        let feedback = item::to_feedback(&found)?;
        if feedback.is_expired(now) {
            return Err(Problem::NotFound);
        }
        Ok(feedback)
    }

    /// One page of a list.
    pub async fn list(
        &self,
        workspace: &Workspace,
        query: &ListQuery,
        now: Timestamp,
    ) -> Result<Page, Problem> {
        let paths = paths(workspace, &query.filter);
        // Twice what one lane must yield if all yield alike; a lane that runs dry is asked again.
        let batch = (query.limit * 2)
            .div_ceil(paths.len())
            .max(4)
            .min(query.limit + 1);
        let ids = Ids::of(query);
        let mut merge = Merge {
            lanes: paths.into_iter().map(|path| Lane::new(path, ids)).collect(),
            order: query.order,
            batch,
        };
        let (mut records, mut examined, mut bytes, mut last) = (Vec::new(), 0, 0, None);
        while let Some(feedback) = merge.next(self).await? {
            if records.len() == query.limit || examined == MAX_EXAMINED || bytes > MAX_PAGE {
                // There is something beyond this page, wanted or not.
                return Ok(Page { records, next: last });
            }
            examined += 1;
            last = Some(feedback.id);
            if !feedback.is_expired(now) && wanted(&feedback, &query.filter) {
                bytes += text_size(&feedback);
                records.push(feedback);
            }
        }
        Ok(Page { records, next: None })
    }

    /// The scores of a trace, over all of its spans. Those of `span`, if one is given, are read
    /// consistently; the others from the index.
    pub async fn summary(
        &self,
        workspace: &Workspace,
        trace: &TraceId,
        span: Option<&SpanId>,
        now: Timestamp,
    ) -> Result<Summary, Problem> {
        let mut records = self.all(Path::trace(workspace, trace)).await?;
        if let Some(span) = span {
            let target = Target::Span(trace.clone(), span.clone());
            records.retain(|feedback| feedback.draft.target != target);
            records.extend(self.all(Path::target(workspace, &target)).await?);
            records.sort_by_key(|feedback| feedback.id);
        }
        records.retain(|feedback| !feedback.is_expired(now));
        let mut summary = Summary {
            truncated: records.len() > MAX_SUMMARY,
            ..Summary::default()
        };
        for feedback in records.iter().take(MAX_SUMMARY) {
            summary.add(feedback.draft.score);
        }
        Ok(summary)
    }

    /// The records of one path, oldest first, up to one more than a summary takes.
    async fn all(&self, path: Path) -> Result<Vec<Feedback>, Problem> {
        let mut merge = Merge {
            lanes: vec![Lane::new(path, Ids::ALL)],
            order: Order::Ascending,
            batch: MAX_SUMMARY + 1,
        };
        let mut records = Vec::new();
        while records.len() <= MAX_SUMMARY
            && let Some(feedback) = merge.next(self).await?
        {
            records.push(feedback);
        }
        Ok(records)
    }

    /// The next records of a lane, `batch` at most.
    async fn refill(&self, lane: &mut Lane, order: Order, batch: usize) -> Result<(), Problem> {
        while lane.ready.is_empty() && !lane.done {
            let Some((first, last)) = lane.rest.ends() else {
                lane.done = true;
                return Ok(());
            };
            let Path {
                index,
                hash,
                consistent,
                prefix,
                ..
            } = &lane.path;
            let range = index.map_or("sk", |index| index.range);
            let page = self
                .client
                .query()
                .table_name(&self.config.feedback)
                .set_index_name(index.map(|index| index.name.to_owned()))
                .key_condition_expression("#hash = :hash AND #range BETWEEN :first AND :last")
                .expression_attribute_names("#hash", index.map_or("pk", |index| index.hash))
                .expression_attribute_names("#range", range)
                .expression_attribute_values(":hash", text(hash))
                .expression_attribute_values(":first", text(format!("{prefix}{}", first.hyphenated())))
                .expression_attribute_values(":last", text(format!("{prefix}{}", last.hyphenated())))
                .consistent_read(*consistent)
                .scan_index_forward(order == Order::Ascending)
                .limit(i32::try_from(batch).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            lane.done = page.last_evaluated_key().is_none();
            for item in page.items() {
                lane.ready.push_back(item::to_feedback(item)?);
            }
            match lane.ready.back() {
                Some(last) => lane.rest = lane.rest.beyond(last.id, order),
                // DynamoDB may end an empty page before the end of the range. Nothing is filtered
                // by it here, so it does not; were it to, this would ask the same for ever.
                None => lane.done = true,
            }
        }
        Ok(())
    }
}

/// How a set of records is reached: the partition of the table or of an index that holds them.
struct Path {
    index: Option<&'static Index>,
    hash: String,
    /// What stands before the id in the sort key.
    prefix: String,
    consistent: bool,
}

impl Path {
    /// The feedback of exactly this target: the table itself, read consistently.
    fn target(workspace: &Workspace, target: &Target) -> Self {
        Self {
            index: None,
            hash: keys::partition(target),
            prefix: format!("{workspace}#"),
            consistent: true,
        }
    }

    fn trace(workspace: &Workspace, trace: &TraceId) -> Self {
        Self::index(&BY_TRACE, keys::spread(workspace, trace.as_str()))
    }

    fn index(index: &'static Index, hash: String) -> Self {
        Self {
            index: Some(index),
            hash,
            prefix: String::new(),
            consistent: false,
        }
    }
}

/// The paths to what a filter asks for: those of its narrowest field. What its other fields
/// refuse is left out afterwards.
fn paths(workspace: &Workspace, filter: &Filter) -> Vec<Path> {
    let sharded = |index, value: &str| {
        (0..keys::SHARDS)
            .map(|shard| Path::index(index, keys::sharded(workspace, shard, value)))
            .collect()
    };
    match filter {
        Filter {
            trace: Some(trace),
            span: Some(span),
            ..
        } => vec![Path::target(
            workspace,
            &Target::Span(trace.clone(), span.clone()),
        )],
        Filter {
            trace: Some(trace), ..
        } => vec![Path::trace(workspace, trace)],
        Filter { user: Some(user), .. } => vec![Path::index(&BY_USER, keys::spread(workspace, user))],
        Filter {
            prompt: Some(prompt), ..
        } => sharded(&BY_PROMPT, prompt),
        Filter {
            organisation: Some(organisation),
            ..
        } => sharded(&BY_ORGANISATION, organisation),
        Filter {
            environment: Some(environment),
            ..
        } => sharded(&BY_ENVIRONMENT, environment),
        _ => (0..keys::SHARDS)
            .map(|shard| Path::index(&BY_TIME, keys::time(workspace, shard)))
            .collect(),
    }
}

/// A range of ids, both ends in it; empty where the first is above the last.
#[derive(Clone, Copy)]
struct Ids {
    first: u128,
    last: u128,
}

impl Ids {
    const ALL: Self = Self {
        first: 0,
        last: u128::MAX,
    };
    const NONE: Self = Self { first: 1, last: 0 };

    /// What a query asks for: its times, and beyond its cursor.
    fn of(query: &ListQuery) -> Self {
        let mut ids = Self::ALL;
        if let Some(from) = query.filter.from {
            ids.first = FeedbackId::floor(from).as_u128();
        }
        if let Some(to) = query.filter.to {
            match FeedbackId::floor(to).as_u128().checked_sub(1) {
                Some(last) => ids.last = last,
                None => return Self::NONE,
            }
        }
        match query.after {
            Some(after) => ids.beyond(after, query.order),
            None => ids,
        }
    }

    /// What of the range comes after `id` in this order.
    fn beyond(self, id: FeedbackId, order: Order) -> Self {
        match order {
            Order::Ascending => id.as_u128().checked_add(1).map(|first| Self {
                first: first.max(self.first),
                ..self
            }),
            Order::Descending => id.as_u128().checked_sub(1).map(|last| Self {
                last: last.min(self.last),
                ..self
            }),
        }
        .unwrap_or(Self::NONE)
    }

    fn ends(self) -> Option<(FeedbackId, FeedbackId)> {
        (self.first <= self.last).then(|| {
            (
                FeedbackId::from_u128(self.first),
                FeedbackId::from_u128(self.last),
            )
        })
    }
}

/// One path, read in batches.
struct Lane {
    path: Path,
    rest: Ids,
    ready: VecDeque<Feedback>,
    done: bool,
}

impl Lane {
    fn new(path: Path, ids: Ids) -> Self {
        Self {
            path,
            rest: ids,
            ready: VecDeque::new(),
            done: false,
        }
    }
}

/// Several paths as one, in the order of the ids.
struct Merge {
    lanes: Vec<Lane>,
    order: Order,
    batch: usize,
}

impl Merge {
    /// The next record of all lanes. It is known once every lane has one ready or has ended, so
    /// lanes that have run dry are read first, all at once.
    async fn next(&mut self, store: &Store) -> Result<Option<Feedback>, Problem> {
        let (order, batch) = (self.order, self.batch);
        try_join_all(self.lanes.iter_mut().map(|lane| store.refill(lane, order, batch))).await?;
        let ready = self.lanes.iter_mut().filter(|lane| !lane.ready.is_empty());
        let first = |lane: &&mut Lane| lane.ready.front().map(|feedback| feedback.id);
        let next = match order {
            Order::Ascending => ready.min_by_key(first),
            Order::Descending => ready.max_by_key(first),
        };
        Ok(next.and_then(|lane| lane.ready.pop_front()))
    }
}

fn wanted(feedback: &Feedback, filter: &Filter) -> bool {
    let indexed = feedback.indexed();
    let same = |asked: &Option<String>, has: &Option<String>| asked.is_none() || asked == has;
    let target = &feedback.draft.target;
    filter.trace.as_ref().is_none_or(|trace| target.trace() == trace)
        && filter
            .span
            .as_ref()
            .is_none_or(|span| target.span() == Some(span))
        && same(&filter.user, &indexed.user)
        && same(&filter.organisation, &indexed.organisation)
        && same(&filter.prompt, &indexed.prompt)
        && same(&filter.environment, &indexed.environment)
}

fn text_size(feedback: &Feedback) -> usize {
    let metadata = feedback
        .draft
        .metadata
        .as_ref()
        .map_or(0, |metadata| metadata.json().len());
    let comment = feedback
        .draft
        .comment
        .as_ref()
        .map_or(0, |comment| comment.as_str().len());
    metadata + comment
}
