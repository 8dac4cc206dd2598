//! Reading records by id and in lists.

pub(super) mod paths;
mod size;
mod summary;
pub mod walk;

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures_util::future::try_join_all;

use super::item;
use super::write::primary_key;
use super::{Store, keys};
use crate::dynamo;
use crate::dynamo::attributes::{Item, text};
use crate::feedback::Feedback;
use crate::id::{FeedbackId, Workspace};
use crate::problem::Problem;
use crate::query::{ListQuery, MAX_LIMIT, Order};
use crate::tables::{BY_TIME, FEEDBACK};
use crate::target::Target;
use crate::timestamp::Timestamp;
use paths::{Ids, Path, paths};
use size::text_size;

/// The age below which a record may be missing from an index. Indexes usually lag behind by milliseconds.
const YOUNG: Duration = Duration::from_secs(10);

/// The waits between look-ups of a young id, 1.3 seconds in total.
const WAITS: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
    Duration::from_millis(640),
];

/// The maximum number of records that a page examines to find those that match its filter. A page that
/// stops here may have fewer records than its limit, and a cursor.
const MAX_EXAMINED: usize = 1_000;

/// The maximum size of a page, in bytes by [`text_size`]. A Lambda response is limited to 6 MB; this leaves
/// room for the record that exceeds it and for field names.
const MAX_PAGE: usize = 5 * 1024 * 1024;

/// How many records of a path without order are held at a time: one more than a page.
const UNORDERED_AT_ONCE: usize = MAX_LIMIT + 1;

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records, in the requested order.
    pub records: Vec<Feedback>,
    /// The last record of the page if another page follows; `None` on the last page.
    pub next: Option<FeedbackId>,
}

impl Store {
    /// Finds the primary key of a record by its id. The shard of `by-time` follows from the id, so this is
    /// one query. Indexes lag behind the table, so a young id that is missing is looked up again.
    pub(super) async fn locate(
        &self,
        workspace: &Workspace,
        id: FeedbackId,
        now: Timestamp,
    ) -> Result<Item, Problem> {
        let mut waits = WAITS.iter();
        loop {
            let found = self
                .client
                .query()
                .table_name(&self.feedback)
                .index_name(BY_TIME.name)
                .key_condition_expression("time_key = :key AND id = :id")
                .expression_attribute_values(":key", text(keys::time(workspace, keys::shard(id))))
                .expression_attribute_values(":id", text(id.hyphenated()))
                .projection_expression("pk, sk")
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            if let Some(key) = found.items.unwrap_or_default().pop() {
                return Ok(key);
            }
            let young = id.created_at().age(now) < YOUNG && id.created_at() <= now + YOUNG;
            match waits.next() {
                Some(wait) if young => tokio::time::sleep(*wait).await,
                _ => return Err(Problem::NotFound),
            }
        }
    }

    /// Reads one record, consistently.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`]; a failure of DynamoDB; a record of a newer schema version.
    pub async fn get(
        &self,
        workspace: &Workspace,
        id: FeedbackId,
        now: Timestamp,
    ) -> Result<Feedback, Problem> {
        let key = self.locate(workspace, id, now).await?;
        let found = self
            .client
            .get_item()
            .table_name(&self.feedback)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?
            .item
            // A later vote of the same person may be there.
            .filter(|item| item::id(item) == Some(id))
            .ok_or(Problem::NotFound)?;
        let feedback = item::to_feedback(&found)?;
        if feedback.is_expired(now) {
            return Err(Problem::NotFound);
        }
        Ok(feedback)
    }

    /// Reads one record of this target, consistently, without an index that might be behind. Returns `None` if there
    /// is none, or it has expired.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB; a record that cannot be read.
    pub async fn current(
        &self,
        workspace: &Workspace,
        target: &Target,
        id: FeedbackId,
        now: Timestamp,
    ) -> Result<Option<Feedback>, Problem> {
        let found = if id.is_upserted() {
            self.find_upserted(workspace, target, id).await?
        } else {
            self.client
                .get_item()
                .table_name(&self.feedback)
                .set_key(Some(primary_key(keys::partition(target), workspace, id)))
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?
                .item
        };
        let record = found.as_ref().map(item::to_feedback).transpose()?;
        Ok(record.filter(|record| !record.is_expired(now)))
    }

    /// Finds an upserted record among those of its target. Its key cannot be made from its id.
    async fn find_upserted(
        &self,
        workspace: &Workspace,
        target: &Target,
        id: FeedbackId,
    ) -> Result<Option<Item>, Problem> {
        let (path, mut start) = (Path::upserted(workspace, target), None);
        loop {
            let page = self
                .query(&path, Ids::ALL)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            let items = page.items.unwrap_or_default();
            if let Some(found) = items.into_iter().find(|item| item::id(item) == Some(id)) {
                return Ok(Some(found));
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(None);
            }
        }
    }

    /// Reads one page of a list.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn list(
        &self,
        workspace: &Workspace,
        query: &ListQuery,
        now: Timestamp,
    ) -> Result<Page, Problem> {
        let (paths, covered) = paths(workspace, &query.filter);
        // Twice what each path contributes on average. If the filter may drop most records, a whole page's
        // worth.
        let batch = if query.filter.fields() > covered {
            MAX_LIMIT
        } else {
            (query.limit * 2).div_ceil(paths.len()).max(4)
        };
        let ids = Ids::of(query);
        let mut merge = Merge {
            lanes: paths.into_iter().map(|path| Lane::new(path, ids)).collect(),
            order: query.order,
            batch,
        };
        let (mut records, mut examined, mut bytes, mut last) = (Vec::new(), 0, 0, None);
        while let Some(feedback) = merge.next(self).await? {
            if records.len() == query.limit || examined == MAX_EXAMINED || bytes > MAX_PAGE {
                // At least one record follows this page, whether it matches or not.
                return Ok(Page { records, next: last });
            }
            examined += 1;
            last = Some(feedback.id);
            let filter = &query.filter;
            if filter.admits(&feedback.draft) && !feedback.is_expired(now) {
                bytes += text_size(&feedback);
                records.push(feedback);
            }
        }
        Ok(Page { records, next: None })
    }

    /// Builds a query for the records of a path whose ids are in a range, oldest first. The range must not
    /// be empty. For a path without order, it queries all records.
    pub(super) fn query(&self, path: &Path, ids: Ids) -> QueryFluentBuilder {
        let Path {
            index,
            hash,
            prefix,
            consistent,
            is_unordered,
        } = path;
        let end = |id: u128| text(format!("{prefix}{}", FeedbackId::from_u128(id).hyphenated()));
        let query = self
            .client
            .query()
            .table_name(&self.feedback)
            .consistent_read(*consistent);
        if *is_unordered {
            return query
                .key_condition_expression("#hash = :hash AND begins_with(#range, :prefix)")
                .expression_attribute_names("#hash", FEEDBACK.hash)
                .expression_attribute_names("#range", "sk")
                .expression_attribute_values(":hash", text(hash))
                .expression_attribute_values(":prefix", text(prefix));
        }
        query
            .set_index_name(index.map(|index| index.name.to_owned()))
            .key_condition_expression("#hash = :hash AND #range BETWEEN :first AND :last")
            .expression_attribute_names("#hash", index.map_or(FEEDBACK.hash, |index| index.hash))
            .expression_attribute_names("#range", index.map_or("sk", |index| index.range))
            .expression_attribute_values(":hash", text(hash))
            .expression_attribute_values(":first", end(ids.first))
            .expression_attribute_values(":last", end(ids.last))
    }

    /// The first records of a path that has no order, by reading all of them: as many as are held at a time.
    async fn first_of_all(&self, path: &Path, ids: Ids, order: Order) -> Result<VecDeque<Feedback>, Problem> {
        let (mut first, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .query(path, ids)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            first.extend(
                page.items()
                    .iter()
                    .filter(|item| item::id(item).is_some_and(|id| ids.contains(id)))
                    .filter_map(|item| readable(item::to_feedback(item))),
            );
            match order {
                Order::Ascending => first.sort_by_key(|feedback| feedback.id),
                Order::Descending => first.sort_by_key(|feedback| Reverse(feedback.id)),
            }
            first.truncate(UNORDERED_AT_ONCE);
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(first.into());
            }
            // The deadline of the request is looked at between pages.
            tokio::task::yield_now().await;
        }
    }

    /// Reads the next records of a lane, at most `batch`.
    async fn refill(&self, lane: &mut Lane, order: Order, batch: usize) -> Result<(), Problem> {
        while lane.ready.is_empty() && !lane.done {
            if lane.rest.is_empty() {
                lane.done = true;
                return Ok(());
            }
            if lane.path.is_unordered {
                lane.ready = self.first_of_all(&lane.path, lane.rest, order).await?;
                lane.done = lane.ready.len() < UNORDERED_AT_ONCE;
                if let Some(last) = lane.ready.back() {
                    lane.rest = lane.rest.beyond(last.id, order);
                }
                continue;
            }
            let page = self
                .query(&lane.path, lane.rest)
                .scan_index_forward(order == Order::Ascending)
                .limit(i32::try_from(batch).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            match page.items().last().and_then(item::id) {
                Some(last) => lane.rest = lane.rest.beyond(last, order),
                // DynamoDB may return an empty page with a key to continue from only if it filters, and
                // this query has no filter. If it ever did, continuing would repeat the same query forever.
                None => lane.done = true,
            }
            lane.done |= page.last_evaluated_key().is_none();
            lane.ready.extend(
                page.items()
                    .iter()
                    .filter_map(|item| readable(item::to_feedback(item))),
            );
            lane.unreadable += page.items().len() - lane.ready.len();
        }
        Ok(())
    }
}

/// Skips a record that cannot be read, and logs the defect, so that the other records are still listed.
pub(super) fn readable<T>(record: Result<T, Problem>) -> Option<T> {
    record
        .inspect_err(|problem| tracing::error!(cause = problem.log_message(), "left out of a list"))
        .ok()
}

/// One path, read in batches.
struct Lane {
    path: Path,
    rest: Ids,
    ready: VecDeque<Feedback>,
    done: bool,
    /// How many of its records could not be read.
    unreadable: usize,
}

impl Lane {
    fn new(path: Path, ids: Ids) -> Self {
        Self {
            path,
            rest: ids,
            ready: VecDeque::new(),
            done: false,
            unreadable: 0,
        }
    }
}

/// Several paths, merged in the order of the ids.
struct Merge {
    lanes: Vec<Lane>,
    order: Order,
    batch: usize,
}

impl Merge {
    /// Returns the next record of all lanes. Every lane must have a record ready or be finished, so empty
    /// lanes are refilled first, concurrently.
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
