//! The hours, days, weeks and months of a range, in UTC.

use shared::stats::read::Range;
use shared::stats::tally::Tally;
use shared::timestamp::{Granularity, Timestamp};
use time::{Date, Month, OffsetDateTime, Time};

/// The length of a day in milliseconds. UTC has no others.
const DAY: u64 = 24 * HOUR;
const HOUR: u64 = 60 * 60 * 1000;

/// The longest ranges by the hour, by the day and by the week. The last 90 days begin on a whole hour, so they
/// may be almost an hour longer.
const MAX_BY_HOUR: u64 = 48 * HOUR;
const MAX_BY_DAY: u64 = 90 * DAY + HOUR;
const MAX_BY_WEEK: u64 = 366 * DAY;

/// The most buckets of a chart. A longer range is shown from its first bucket with votes to its last.
const MAX_BUCKETS: usize = 120;

/// What time is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Hours: up to two days.
    Hour,
    /// Days: up to 90.
    Day,
    /// Weeks, which begin on Monday: up to a year.
    Week,
    /// Months.
    Month,
}

impl Unit {
    /// The unit for a range of this length.
    pub fn of(range: Range) -> Self {
        let length = range.to.millis().saturating_sub(range.from.millis());
        if length <= MAX_BY_HOUR {
            Self::Hour
        } else if length <= MAX_BY_DAY {
            Self::Day
        } else if length <= MAX_BY_WEEK {
            Self::Week
        } else {
            Self::Month
        }
    }

    /// The granularity of the counts that it is made of.
    pub fn granularity(self) -> Granularity {
        match self {
            Self::Hour => Granularity::Hour,
            Self::Day | Self::Week | Self::Month => Granularity::Day,
        }
    }

    /// Its name, as the head of a column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "Hour (UTC)",
            Self::Day => "Day (UTC)",
            Self::Week => "Week (UTC)",
            Self::Month => "Month (UTC)",
        }
    }

    /// How many of them labels on an axis may be apart, finest first.
    pub fn distances(self) -> &'static [i64] {
        match self {
            Self::Hour => &[1, 2, 3, 4, 6, 12, 24],
            Self::Day => &[1, 2, 7, 14, 28],
            Self::Week => &[1, 2, 4, 8, 13, 26],
            Self::Month => &[1, 2, 3, 6, 12, 24, 60],
        }
    }

    /// The bucket that contains a moment.
    pub fn bucket(self, moment: Timestamp) -> Bucket {
        let days = moment.millis() / DAY;
        let start = match self {
            Self::Hour => moment.millis() / HOUR * HOUR,
            Self::Day => days * DAY,
            // The epoch is a Thursday, three days after a Monday.
            Self::Week => (days - ((days + 3) % 7).min(days)) * DAY,
            Self::Month => {
                let date = date_time(moment).date();
                (days - u64::from(date.day() - 1)) * DAY
            }
        };
        Bucket {
            unit: self,
            start: Timestamp::from_millis(start),
        }
    }

    /// Every bucket that a range overlaps with, earliest first, with what is counted in it. The counts are
    /// by this unit's granularity or finer.
    pub fn fill(self, range: Range, counts: &[(Timestamp, Tally)]) -> Vec<(Bucket, Tally)> {
        let Range { mut from, mut to } = range;
        let mut all = self.between(from, to);
        if all.is_none()
            && let (Some((first, _)), Some((last, _))) = (counts.first(), counts.last())
        {
            (from, to) = (from.max(*first), Timestamp::from_millis(last.millis() + 1));
            all = self.between(from, to);
        }
        let mut filled: Vec<(Bucket, Tally)> = all
            .unwrap_or_default()
            .into_iter()
            .map(|bucket| (bucket, Tally::default()))
            .collect();
        for (moment, tally) in counts {
            let bucket = self.bucket(*moment);
            if let Ok(index) = filled.binary_search_by_key(&bucket.start, |(bucket, _)| bucket.start)
                && let Some((_, sum)) = filled.get_mut(index)
            {
                *sum += tally;
            }
        }
        filled
    }

    /// The buckets from one moment to before another. Returns `None` if there are more than
    /// [`MAX_BUCKETS`].
    fn between(self, from: Timestamp, to: Timestamp) -> Option<Vec<Bucket>> {
        let mut buckets = Vec::new();
        let mut next = self.bucket(from);
        while next.start < to {
            if buckets.len() == MAX_BUCKETS {
                return None;
            }
            buckets.push(next);
            next = next.next();
        }
        Some(buckets)
    }
}

/// An hour, day, week or month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    unit: Unit,
    /// When it begins.
    pub start: Timestamp,
}

impl Bucket {
    /// The one after it.
    fn next(self) -> Self {
        let days = match self.unit {
            Unit::Hour => {
                return Self {
                    start: Timestamp::from_millis(self.start.millis() + HOUR),
                    ..self
                };
            }
            Unit::Day => 1,
            Unit::Week => 7,
            // No month has more days than 31, and none fewer than 28.
            Unit::Month => 31,
        };
        self.unit
            .bucket(Timestamp::from_millis(self.start.millis() + days * DAY))
    }

    /// Its label on an axis, at most six characters.
    pub fn label(self) -> String {
        let at = date_time(self.start);
        match self.unit {
            Unit::Hour if at.hour() > 0 => format!("{:02}:00", at.hour()),
            Unit::Hour | Unit::Day | Unit::Week => format!("{} {}", month(at.month()), at.day()),
            Unit::Month if at.month() == Month::January => at.year().to_string(),
            Unit::Month => month(at.month()).to_owned(),
        }
    }

    /// Its full name, such as `Sat, Nov 21, 2026`.
    pub fn name(self) -> String {
        let at = date_time(self.start);
        let date = format!("{} {}, {}", month(at.month()), at.day(), at.year());
        match self.unit {
            Unit::Hour => format!("{date}, {:02}:00", at.hour()),
            Unit::Day => {
                let weekday = at.weekday().to_string();
                format!("{}, {date}", weekday.get(..3).unwrap_or_default())
            }
            Unit::Week => format!("Week of {date}"),
            Unit::Month => format!("{} {}", month(at.month()), at.year()),
        }
    }

    /// Its number among all of its unit. Labels fall on multiples.
    pub fn ordinal(self) -> i64 {
        let at = date_time(self.start);
        let days = i64::try_from(self.start.millis() / DAY).unwrap_or(i64::MAX);
        match self.unit {
            Unit::Hour => days * 24 + i64::from(at.hour()),
            // Counted from a Monday.
            Unit::Day => days + 3,
            Unit::Week => (days + 3) / 7,
            Unit::Month => i64::from(at.year()) * 12 + i64::from(u8::from(at.month())) - 1,
        }
    }
}

/// A moment's date and time in UTC.
fn date_time(moment: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(moment.seconds()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or_else(|_| OffsetDateTime::new_utc(Date::MAX, Time::MIDNIGHT))
}

/// The first three letters of a month.
fn month(month: Month) -> &'static str {
    match month {
        Month::January => "Jan",
        Month::February => "Feb",
        Month::March => "Mar",
        Month::April => "Apr",
        Month::May => "May",
        Month::June => "Jun",
        Month::July => "Jul",
        Month::August => "Aug",
        Month::September => "Sep",
        Month::October => "Oct",
        Month::November => "Nov",
        Month::December => "Dec",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::score::{Rating, Score};

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
    fn the_unit_follows_from_the_length() {
        for (from, to, unit) in [
            ("2026-11-21T12:30", "2026-11-21T13:30", Unit::Hour),
            ("2026-11-19T12:30", "2026-11-21T12:30", Unit::Hour),
            ("2026-11-19T12:30", "2026-11-21T12:31", Unit::Day),
            ("2026-08-23", "2026-11-21", Unit::Day),
            ("2026-08-23", "2026-11-21T00:59:59.999Z", Unit::Day),
            ("2026-08-22", "2026-11-21", Unit::Week),
            ("2025-11-21", "2026-11-21", Unit::Week),
            ("2025-11-19", "2026-11-21", Unit::Month),
        ] {
            assert_eq!(Unit::of(range(from, to)), unit, "{from} to {to}");
        }
    }

    #[test]
    fn buckets_begin_where_the_calendar_has_them() {
        let moment = at("2026-11-21T14:35:07Z");
        for (unit, start, label, name) in [
            (Unit::Hour, "2026-11-21T14:00", "14:00", "Nov 21, 2026, 14:00"),
            (Unit::Day, "2026-11-21", "Nov 21", "Sat, Nov 21, 2026"),
            (Unit::Week, "2026-11-16", "Nov 16", "Week of Nov 16, 2026"),
            (Unit::Month, "2026-11-01", "Nov", "Nov 2026"),
        ] {
            let bucket = unit.bucket(moment);
            assert_eq!(bucket.start, at(start), "{unit:?}");
            assert_eq!((bucket.label().as_str(), bucket.name().as_str()), (label, name));
        }
        assert_eq!(Unit::Hour.bucket(at("2026-11-21")).label(), "Nov 21");
        assert_eq!(Unit::Month.bucket(at("2026-01-31")).label(), "2026");
        assert_eq!(Unit::Week.bucket(Timestamp::EPOCH).start, Timestamp::EPOCH);
    }

    #[test]
    fn a_long_range_is_cut_to_what_has_votes() {
        let vote = Tally::of(Score::Rating(Rating::new(5).unwrap()), at("2026-02-03"));
        let counts = [(at("2026-02-03"), vote.clone()), (at("2026-04-05"), vote)];
        let all = Range {
            from: Timestamp::EPOCH,
            to: Timestamp::MAX,
        };
        let filled = Unit::of(all).fill(all, &counts);
        let sizes: Vec<(String, i64)> = filled
            .iter()
            .map(|(bucket, tally)| (bucket.name(), tally.total()))
            .collect();
        let expected = [("Feb 2026", 1), ("Mar 2026", 0), ("Apr 2026", 1)];
        assert_eq!(sizes, expected.map(|(name, votes)| (name.to_owned(), votes)));
        assert!(Unit::of(all).fill(all, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn buckets_follow_each_other_and_every_vote_is_in_one(
            from in 0_u64..4_000_000_000_000, length in 0_u64..(500 * DAY),
            votes in proptest::collection::vec(0_u64..1_000, 0..20),
        ) {
            let range = Range {
                from: Timestamp::from_millis(from),
                to: Timestamp::from_millis(from + length),
            };
            let unit = Unit::of(range);
            let mut moments: Vec<Timestamp> = votes
                .iter()
                .map(|share| Timestamp::from_millis(from + length / 1_000 * share))
                .filter(|moment| *moment < range.to)
                .collect();
            moments.sort();
            let score = Score::Rating(Rating::new(3).unwrap());
            let counts: Vec<(Timestamp, Tally)> = moments
                .iter()
                .map(|moment| (unit.granularity().floor(*moment), Tally::of(score, *moment)))
                .collect();
            let filled = unit.fill(range, &counts);
            prop_assert!(filled.len() <= MAX_BUCKETS);
            let pairs = || filled.windows(2).map(|pair| (pair[0].0, pair[1].0));
            prop_assert!(pairs().all(|(one, two)| one.start < two.start && one.next() == two));
            prop_assert!(pairs().all(|(one, two)| one.ordinal() + 1 == two.ordinal()));
            prop_assert!(filled.iter().all(|(bucket, _)| bucket.label().chars().count() <= 6));
            if let (Some((first, _)), Some((last, _))) = (filled.first(), filled.last()) {
                prop_assert!(first.start <= range.from && last.start < range.to);
            }
            let counted: i64 = filled.iter().map(|(_, tally)| tally.total()).sum();
            prop_assert_eq!(usize::try_from(counted).unwrap(), moments.len());
        }
    }
}
