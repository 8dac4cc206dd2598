//! Choosing the table or index partitions that hold the records of a filter.

use crate::id::{FeedbackId, Workspace};
use crate::query::{Filter, ListQuery, Order};
use crate::store::keys;
use crate::tables::{BY_TIME, BY_TRACE, Index};
use crate::target::{Target, TraceId};

/// The partition of the table or of an index that holds a set of records.
pub(in crate::store) struct Path {
    pub(super) index: Option<Index>,
    pub(in crate::store) hash: String,
    /// The part of the sort key before the id.
    pub(super) prefix: String,
    pub(super) consistent: bool,
    /// Whether its sort keys hold no ids: its records come in no order, and all of them.
    pub(super) is_unordered: bool,
}

impl Path {
    /// The feedback of exactly this target, from the table itself, read consistently.
    pub(super) fn target(workspace: &Workspace, target: &Target) -> Self {
        Self {
            index: None,
            hash: keys::partition(target),
            prefix: format!("{workspace}#"),
            consistent: true,
            is_unordered: false,
        }
    }

    /// The upserted feedback of exactly this target.
    pub(super) fn upserted(workspace: &Workspace, target: &Target) -> Self {
        Self {
            prefix: keys::upserted_prefix(workspace),
            is_unordered: true,
            ..Self::target(workspace, target)
        }
    }

    pub(super) fn trace(workspace: &Workspace, trace: &TraceId) -> Self {
        Self::index(BY_TRACE, keys::spread(workspace, trace.as_str()))
    }

    fn index(index: Index, hash: String) -> Self {
        Self {
            index: Some(index),
            hash,
            prefix: String::new(),
            consistent: false,
            is_unordered: false,
        }
    }
}

/// Returns the paths for the filter's narrowest fields, and how many fields they cover. The other fields
/// are checked afterwards.
pub(in crate::store) fn paths(workspace: &Workspace, filter: &Filter) -> (Vec<Path>, usize) {
    match (&filter.trace, &filter.span) {
        (Some(trace), Some(span)) => {
            let target = Target::Span(trace.clone(), span.clone());
            let paths = [Path::target, Path::upserted].map(|path| path(workspace, &target));
            return (paths.into(), 2);
        }
        (Some(trace), None) => return (vec![Path::trace(workspace, trace)], 1),
        (None, _) => {}
    }
    if let Some((field, text)) = filter.indexed.iter().next() {
        let keys = keys::all_indexed(field, workspace, text).into_iter();
        let index = Index::new(field.index(), field.key());
        return (keys.map(|key| Path::index(index, key)).collect(), 1);
    }
    let path = |shard| Path::index(BY_TIME, keys::time(workspace, shard));
    ((0..keys::SHARDS).map(path).collect(), 0)
}

/// A range of ids, both ends inclusive. It is empty if the first is above the last.
#[derive(Clone, Copy)]
pub(in crate::store) struct Ids {
    pub(super) first: u128,
    pub(super) last: u128,
}

impl Ids {
    pub(super) const ALL: Self = Self {
        first: 0,
        last: u128::MAX,
    };
    const NONE: Self = Self { first: 1, last: 0 };

    /// The ids that match a query's times and follow its cursor.
    pub(in crate::store) fn of(query: &ListQuery) -> Self {
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

    /// The part of the range that follows `id` in this order.
    pub(super) fn beyond(self, id: FeedbackId, order: Order) -> Self {
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

    pub(in crate::store) fn contains(self, id: FeedbackId) -> bool {
        (self.first..=self.last).contains(&id.as_u128())
    }

    pub(in crate::store) fn is_empty(self) -> bool {
        self.first > self.last
    }
}
