//! Moments, to the millisecond, in UTC.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment as whole milliseconds since the Unix epoch: the resolution of a UUIDv7, and so of
/// everything this service orders by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last moment that RFC 3339 can write, the end of the year 9999. It is within the 48 bits
    /// of milliseconds that a UUIDv7 can carry (RFC 9562, section 5.7).
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The present, by the machine's clock.
    pub fn now() -> Self {
        // A clock before 1970 is broken beyond what an id could express; the epoch is as good.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the epoch, capped at [`Timestamp::MAX`].
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.0))
    }

    /// Seconds since the epoch, with a fraction; what is before it is moved to it.
    pub fn from_seconds(seconds: f64) -> Self {
        let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: the unit of DynamoDB's time to live.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Reads RFC 3339, any offset. What is finer than a millisecond is rounded up, so that a
    /// half-open range `from..to` cuts between the same records whichever precision it is given
    /// in. `None` if the text is not RFC 3339; moments outside 1970 to [`Timestamp::MAX`] are
    /// moved to the nearer end.
    pub fn parse(text: &str) -> Option<Self> {
        let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
        let millis = nanos.max(0).unsigned_abs().div_ceil(1_000_000);
        Some(Self::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// How long ago this was at `now`; zero if it lies ahead.
    pub fn age(self, now: Self) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.0))
    }
}

/// Tells the time: the machine's clock, or one that a test holds.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// A clock that shows what `now` returns.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present, by this clock.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
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
    /// RFC 3339 in UTC with milliseconds: `2026-11-21T02:53:05.042Z`.
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

/// An hour or a day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// From :00 to :59.
    Hour,
    /// From 00:00 to 23:59.
    Day,
}

impl Granularity {
    /// The name it has in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The granularity of this name.
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

    /// The first moment of the hour or day that `moment` is in. Days of UTC have no odd lengths,
    /// so they are multiples since the epoch.
    pub fn floor(self, moment: Timestamp) -> Timestamp {
        Timestamp(moment.0 - moment.0 % self.millis())
    }

    /// The first moment of an hour or day that is not before `moment`.
    pub fn ceiling(self, moment: Timestamp) -> Timestamp {
        Timestamp(moment.0.next_multiple_of(self.millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_and_reads_rfc_3339() {
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
    fn what_is_outside_moves_to_the_nearer_end() {
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
