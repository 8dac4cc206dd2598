//! Deciding which parts of a time range are read from which roll-ups and which from records.

use crate::stats::series::Series;
use crate::timestamp::{Granularity, Timestamp};

/// A half-open time range: `from` is included, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The start, inclusive.
    pub from: Timestamp,
    /// The end, exclusive.
    pub to: Timestamp,
}

impl Range {
    pub(super) fn is_empty(self) -> bool {
        self.from >= self.to
    }

    pub(super) fn contains(self, moment: Timestamp) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

/// The parts of a range by what they are read from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) rollups: Vec<(Series, Range)>,
    pub(super) records: Vec<Range>,
}

impl Plan {
    /// Plans a range for a query with buckets of this size, using these series, coarsest first.
    pub(super) fn of(mut range: Range, buckets: Granularity, series: &[Series], now: Timestamp) -> Self {
        let series: Vec<Series> = series
            .iter()
            .copied()
            .filter(|series| series.fits(buckets))
            .collect();
        // No record is in the future, so an unfinished slot can be read like a complete one.
        if let Some(coarsest) = series.first().filter(|_| range.to > now) {
            range.to = coarsest.ceiling(range.to);
        }
        let mut plan = Self::default();
        plan.cover(range, &series);
        plan
    }

    /// Covers the middle of a range with the first series, and both ends with the others.
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
    fn ranges_are_split_at_slot_boundaries() {
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
    fn schema_version_1_and_users_are_split_at_hours() {
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
