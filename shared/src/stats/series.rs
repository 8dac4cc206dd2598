//! Series of roll-ups: the time that an item covers, and how finely it counts.
//!
//! An item of a series covers a span of time and is divided into slots with separate counters. The number
//! of writes for a vote depends only on the number of series, so finer results come from more slots per
//! item instead of more items.

use std::time::Duration;

use crate::timestamp::{Granularity, Timestamp};

const MINUTE: u64 = 60 * 1000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A series of roll-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// Items of one day, with one slot.
    Day,
    /// Items of one hour, with one slot. Only in schema version 1.
    Hour,
    /// Items of one day, with 24 slots of one hour.
    Hours,
    /// Items of 12 minutes, with six slots of two minutes. With every counter in use, an item stays below 1
    /// KB, which is one write unit. At 100 votes a second a slot has 12,000 records, few enough to be read
    /// one by one where a range ends within the slot.
    Minutes,
}

impl Series {
    /// Every series.
    pub const ALL: [Self; 4] = [Self::Day, Self::Hour, Self::Hours, Self::Minutes];

    /// The series' name in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Hours => "hours",
            Self::Minutes => "minutes",
        }
    }

    /// The series with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|series| series.name() == name)
    }

    /// The first schema version that has the series, which its items are written with.
    pub fn schema(self) -> u32 {
        match self {
            Self::Day | Self::Hour => 1,
            Self::Hours | Self::Minutes => 2,
        }
    }

    /// The length of a slot in milliseconds.
    fn slot_millis(self) -> u64 {
        match self {
            Self::Day => DAY,
            Self::Hour | Self::Hours => HOUR,
            Self::Minutes => 2 * MINUTE,
        }
    }

    /// The length of an item in milliseconds, a multiple of a slot's.
    fn item_millis(self) -> u64 {
        match self {
            Self::Day | Self::Hours => DAY,
            Self::Hour => HOUR,
            Self::Minutes => 12 * MINUTE,
        }
    }

    /// The number of slots per item, 1 to 24.
    pub fn slots(self) -> u8 {
        u8::try_from(self.item_millis() / self.slot_millis()).unwrap_or(u8::MAX)
    }

    /// The length of a slot.
    pub fn slot_length(self) -> Duration {
        Duration::from_millis(self.slot_millis())
    }

    /// Whether each slot lies within one bucket of this size.
    pub fn fits(self, buckets: Granularity) -> bool {
        match buckets {
            Granularity::Hour => self.slot_millis() <= HOUR,
            Granularity::Day => true,
        }
    }

    /// Returns the start of the item that counts a moment, and the slot in it. UTC hours and days all have
    /// the same length, so their starts are multiples since the epoch.
    pub fn place(self, moment: Timestamp) -> (Timestamp, u8) {
        let start = moment.millis() - moment.millis() % self.item_millis();
        let slot = (moment.millis() - start) / self.slot_millis();
        (
            Timestamp::from_millis(start),
            u8::try_from(slot).unwrap_or(u8::MAX),
        )
    }

    /// The start of the item that is `items` items after the one that starts at `item`.
    pub fn later(self, item: Timestamp, items: usize) -> Timestamp {
        let items = u64::try_from(items).unwrap_or(u64::MAX);
        Timestamp::from_millis(
            item.millis()
                .saturating_add(items.saturating_mul(self.item_millis())),
        )
    }

    /// The start of a slot in an item.
    pub fn slot_start(self, item: Timestamp, slot: u8) -> Timestamp {
        Timestamp::from_millis(item.millis() + u64::from(slot) * self.slot_millis())
    }

    /// The start of the slot that contains `moment`.
    pub fn floor(self, moment: Timestamp) -> Timestamp {
        Timestamp::from_millis(moment.millis() - moment.millis() % self.slot_millis())
    }

    /// The start of the first slot that does not begin before `moment`.
    pub fn ceiling(self, moment: Timestamp) -> Timestamp {
        Timestamp::from_millis(moment.millis().next_multiple_of(self.slot_millis()))
    }

    /// The starts of the items that overlap with `from..to`.
    pub fn items(self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Timestamp> {
        let first = from.millis() - from.millis() % self.item_millis();
        let step = usize::try_from(self.item_millis()).unwrap_or(usize::MAX);
        (first..to.millis()).step_by(step).map(Timestamp::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_moment_is_in_one_slot_of_one_item() {
        let moment = at("2026-11-21T13:59:59.999Z");
        for (series, start, slot) in [
            (Series::Day, "2026-11-21T00:00:00Z", 0),
            (Series::Hour, "2026-11-21T13:00:00Z", 0),
            (Series::Hours, "2026-11-21T00:00:00Z", 13),
            (Series::Minutes, "2026-11-21T13:48:00Z", 5),
        ] {
            assert_eq!(series.place(moment), (at(start), slot), "{series:?}");
            assert!(slot < series.slots());
            assert_eq!(series.slot_start(at(start), slot), series.floor(moment));
            assert_eq!(
                series.floor(moment) + series.slot_length(),
                series.ceiling(moment)
            );
            assert_eq!(Series::parse(series.name()), Some(series));
        }
    }

    #[test]
    fn the_items_of_a_range_are_those_it_touches() {
        let items = |from, to| -> Vec<String> {
            let items = Series::Minutes.items(at(from), at(to));
            items.map(|item| item.to_string()[11..16].to_owned()).collect()
        };
        assert_eq!(
            items("2026-11-21T13:04:00Z", "2026-11-21T13:24:00Z"),
            ["13:00", "13:12"]
        );
        assert_eq!(items("2026-11-21T13:12:00Z", "2026-11-21T13:14:00Z"), ["13:12"]);
        assert!(items("2026-11-21T13:12:00Z", "2026-11-21T13:12:00Z").is_empty());
    }

    #[test]
    fn a_series_fits_buckets_that_contain_its_slots() {
        assert!(!Series::Day.fits(Granularity::Hour));
        for series in [Series::Hour, Series::Hours, Series::Minutes] {
            assert!(series.fits(Granularity::Hour) && series.fits(Granularity::Day));
        }
    }
}
