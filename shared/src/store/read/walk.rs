//! Reading all records that match a filter, one after another.

use super::paths::{Ids, paths};
use super::{Lane, Merge};
use crate::feedback::Feedback;
use crate::id::{FeedbackId, Workspace};
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, MAX_LIMIT, Order};
use crate::store::Store;
use crate::timestamp::Timestamp;

/// A walk over the records that may match a filter, oldest first. It holds a batch of each partition that it
/// reads, whatever the number of records.
pub struct Walk {
    filter: Filter,
    merge: Merge,
}

/// A record that a walk came to.
#[derive(Clone, Debug)]
pub enum Step {
    /// It matches.
    Matched(Box<Feedback>),
    /// It does not match, or has expired.
    Skipped(FeedbackId),
}

impl Store {
    /// Begins a walk at the start of the filter's time range, or after a record.
    pub fn walk(&self, workspace: &Workspace, filter: Filter, after: Option<FeedbackId>) -> Walk {
        let (paths, _) = paths(workspace, &filter);
        let query = ListQuery {
            filter,
            order: Order::Ascending,
            limit: MAX_LIMIT,
            after,
        };
        let ids = Ids::of(&query);
        Walk {
            filter: query.filter,
            merge: Merge {
                lanes: paths.into_iter().map(|path| Lane::new(path, ids)).collect(),
                order: query.order,
                batch: MAX_LIMIT,
            },
        }
    }

    /// Goes on to the next record. Returns `None` at the end.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB. The next call continues where this one failed.
    pub async fn step(&self, walk: &mut Walk, now: Timestamp) -> Result<Option<Step>, Problem> {
        let record = walk.merge.next(self).await?;
        Ok(record.map(|record| {
            if walk.filter.admits(&record.draft) && !record.is_expired(now) {
                Step::Matched(Box::new(record))
            } else {
                Step::Skipped(record.id)
            }
        }))
    }
}

impl Walk {
    /// How many records could not be read so far. They are left out.
    pub fn unreadable(&self) -> usize {
        self.merge.lanes.iter().map(|lane| lane.unreadable).sum()
    }
}
