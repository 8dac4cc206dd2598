//! Points in time, with millisecond precision, in UTC.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time, in whole milliseconds since the Unix epoch. This is the precision of a UUIDv7, and thus
/// of everything that the service sorts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The end of the year 9999, the last time that RFC 3339 can express. It fits into the 48 bits of
    /// milliseconds in a UUIDv7 (RFC 9562, section 5.7).
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// The current time by the machine's clock.
    pub fn now() -> Self {
        // A clock before 1970 is broken, and an id cannot express its time anyway.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Converts milliseconds since the epoch. Later times than [`Timestamp::MAX`] become that.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.0))
    }

    /// Converts seconds since the epoch, with a fraction. Times before the epoch become the epoch.
    pub fn from_seconds(seconds: f64) -> Self {
        let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down, as in DynamoDB's time to live.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Parses a date, or a date and time, in the calendar forms of ISO 8601: extended
    /// (`2025-01-31T12:00:00.5+02:00`) or basic (`20250131T120000Z`). A time may omit seconds, or minutes
    /// and seconds; a missing time is midnight, and a missing offset is UTC. RFC 3339's lower case is
    /// accepted too, its space for the T before a time with seconds (`2025-01-31 12:00` might be a date
    /// with `+12:00` whose plus was lost), an offset without its colon, 24:00 as the end of a day, and a
    /// leap second, which is the first moment of the next minute.
    ///
    /// Fractions finer than a millisecond are rounded up, so that a half-open range `from..to` separates
    /// the same records at any precision. Times outside 1970 to [`Timestamp::MAX`] become the nearer limit.
    /// Returns `None` for anything else, including weeks (`2025-W05-5`) and ordinal dates (`2025-031`).
    pub fn parse(text: &str) -> Option<Self> {
        let (complete, days) = complete(text)?;
        let moment = OffsetDateTime::parse(&complete, &Rfc3339).ok()?;
        let nanos = moment.unix_timestamp_nanos() + days * 86_400_000_000_000;
        let millis = nanos.max(0).unsigned_abs().div_ceil(1_000_000);
        Some(Self::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// The duration from this time until `later`, or zero if that is not later.
    pub fn until(self, later: Self) -> Duration {
        self.age(later)
    }

    /// The duration from this time until `now`, or zero if this is later.
    pub fn age(self, now: Self) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.0))
    }
}

/// A clock: the machine's, or one that a test controls.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// A clock that returns the result of `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The current time by this clock.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Converts an ISO 8601 calendar date, or date and time, to RFC 3339, and returns the number of days to add
/// to it: 1 for the end of a day, otherwise 0. If the input is something else, so is the result. Returns
/// `None` for text that is not ASCII.
fn complete(text: &str) -> Option<(String, i128)> {
    if !text.is_ascii() {
        return None;
    }
    let (date, rest) = match text.split_once(['T', 't', ' ']) {
        Some((date, rest)) => (date, Some(rest)),
        None => (text, None),
    };
    // Either both date and time have separators, or neither has.
    let is_basic = date.len() == 8 && !date.contains('-');
    let date = if is_basic {
        format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..])
    } else {
        date.to_owned()
    };
    let Some(rest) = rest else {
        return Some((format!("{date}T00:00:00Z"), 0));
    };
    let (time, offset) = rest.split_at(rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len()));
    let (time, fraction) = match time.split_once(['.', ',']) {
        Some((time, fraction)) => (time, rounded_up(fraction)),
        None => (time, String::new()),
    };
    let mut time = if is_basic {
        with_colons(time)
    } else {
        time.to_owned()
    };
    if fraction.is_empty() && !text.contains(' ') {
        // Omitted parts at the end are zero.
        let missing = match time.len() {
            2 => ":00:00",
            5 => ":00",
            _ => "",
        };
        time.push_str(missing);
    }
    let offset = match offset.len() {
        0 => "Z".to_owned(),
        3 => format!("{offset}:00"),
        5 => format!("{}:{}", &offset[..3], &offset[3..]),
        _ => offset.to_owned(),
    };
    let is_end = time == "24:00:00" && fraction.bytes().all(|byte| b".0".contains(&byte));
    let (time, days) = if is_end {
        ("00:00:00", 1)
    } else {
        (time.as_str(), 0)
    };
    Some((format!("{date}T{time}{fraction}{offset}"), days))
}

/// Inserts a colon after every two digits.
fn with_colons(digits: &str) -> String {
    let colon = |(place, digit)| {
        let before = (place > 0 && place % 2 == 0).then_some(':');
        before.into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(colon).collect()
}

/// Rounds a fraction of a second up to milliseconds, by keeping one further digit if the rest is not zero.
/// The parser reads nine digits at most.
fn rounded_up(fraction: &str) -> String {
    let is_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    match fraction.split_at_checked(3) {
        Some((millis, rest)) if is_digits => {
            let more = if rest.bytes().any(|digit| digit != b'0') {
                "1"
            } else {
                ""
            };
            format!(".{millis}{more}")
        }
        _ => format!(".{fraction}"),
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(span))
    }
}

impl fmt::Display for Timestamp {
    /// Formats RFC 3339 in UTC with milliseconds: `2026-11-21T02:53:05.042Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0) * 1_000_000;
        let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            moment.year(),
            u8::from(moment.month()),
            moment.day(),
            moment.hour(),
            moment.minute(),
            moment.second(),
            moment.millisecond()
        )
    }
}

/// A bucket size: an hour or a day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// An hour, from :00 to :59.
    Hour,
    /// A day, from 00:00 to 23:59.
    Day,
}

impl Granularity {
    /// The granularity's name in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The granularity with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Hour, Self::Day]
            .into_iter()
            .find(|known| known.name() == name)
    }

    fn millis(self) -> u64 {
        match self {
            Self::Hour => 60 * 60 * 1000,
            Self::Day => 24 * 60 * 60 * 1000,
        }
    }

    /// The start of the hour or day that contains `moment`. UTC hours and days all have the same length, so
    /// their starts are multiples since the epoch.
    pub fn floor(self, moment: Timestamp) -> Timestamp {
        Timestamp(moment.0 - moment.0 % self.millis())
    }

    /// The start of the first hour or day that does not begin before `moment`.
    pub fn ceiling(self, moment: Timestamp) -> Timestamp {
        Timestamp(moment.0.next_multiple_of(self.millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-11-21T02:53:05.042Z", 1_795_229_585_042),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp::from_millis(millis)));
        }
    }

    #[test]
    fn offsets_mean_the_same_moment() {
        let utc = Timestamp::parse("2026-11-21T02:53:05Z");
        assert_eq!(Timestamp::parse("2026-11-21T08:23:05+05:30"), utc);
        assert!(utc.is_some());
    }

    #[test]
    fn finer_than_a_millisecond_is_rounded_up() {
        assert_eq!(
            Timestamp::parse("1970-01-01T00:00:00.0000001Z"),
            Some(Timestamp(1))
        );
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00.001Z"), Some(Timestamp(1)));
    }

    #[test]
    fn times_out_of_range_become_the_nearest_limit() {
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), Some(Timestamp(0)));
        assert_eq!(Timestamp::from_millis(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn hours_and_days_begin_and_end_where_utc_has_them() {
        let at = |text| Timestamp::parse(text).unwrap();
        let moment = at("2026-11-21T02:53:05.042Z");
        assert_eq!(Granularity::Hour.floor(moment), at("2026-11-21T02:00:00Z"));
        assert_eq!(Granularity::Hour.ceiling(moment), at("2026-11-21T03:00:00Z"));
        assert_eq!(Granularity::Day.floor(moment), at("2026-11-21T00:00:00Z"));
        assert_eq!(Granularity::Day.ceiling(moment), at("2026-11-22T00:00:00Z"));
        let midnight = at("2026-11-21T00:00:00Z");
        for granularity in [Granularity::Hour, Granularity::Day] {
            assert_eq!(
                (granularity.floor(midnight), granularity.ceiling(midnight)),
                (midnight, midnight)
            );
        }
    }

    #[test]
    fn the_last_moment_can_be_written() {
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }
}
