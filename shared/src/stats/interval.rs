//! Shares with their confidence intervals, and differences of two shares.
//!
//! Every interval is at 95 %. It assumes that the votes are independent of each other, as one vote per person
//! is. Both formulas hold for few votes too, and for shares of 0 and 1:
//!
//! - of one share, the score interval of E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209–212;
//! - of a difference, method 10 of R. G. Newcombe, Stat. Med. 17 (1998), 873–890, which combines the two
//!   shares' Wilson intervals.

/// The 97.5th percentile of the normal distribution: 95 % lies within this many standard deviations.
const Z: f64 = 1.959_963_984_540_054;

/// An interval, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound, not below the lower.
    pub high: f64,
}

/// A part of a number of things: `part` of `total`, which is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    part: i64,
    total: i64,
}

impl Share {
    /// A share. Returns `None` of nothing, and if the part is not from 0 to the total.
    pub fn new(part: i64, total: i64) -> Option<Self> {
        (total > 0 && (0..=total).contains(&part)).then_some(Self { part, total })
    }

    /// How many are in the part.
    pub fn part(self) -> i64 {
        self.part
    }

    /// How many there are, at least 1.
    pub fn total(self) -> i64 {
        self.total
    }

    /// The share, 0 to 1.
    pub fn ratio(self) -> f64 {
        self.part as f64 / self.total as f64
    }

    /// Wilson's interval of the share, within 0 to 1. The ratio is in it.
    pub fn interval(self) -> Interval {
        let (share, n) = (self.ratio(), self.total as f64);
        let z2 = Z * Z;
        let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let spread = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        // At 0 and 1 the bound is the share itself, which rounding may miss.
        Interval {
            low: if self.part == 0 {
                0.0
            } else {
                (centre - spread).max(0.0)
            },
            high: if self.part == self.total {
                1.0
            } else {
                (centre + spread).min(1.0)
            },
        }
    }

    /// This share minus another of other things.
    pub fn minus(self, other: Self) -> Difference {
        let (one, two) = (self.ratio(), other.ratio());
        let (of_one, of_two) = (self.interval(), other.interval());
        let points = one - two;
        Difference {
            points,
            interval: Interval {
                low: points - (one - of_one.low).hypot(of_two.high - two),
                high: points + (of_one.high - one).hypot(two - of_two.low),
            },
        }
    }
}

/// The difference of two shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The first share minus the second, −1 to 1.
    pub points: f64,
    /// Newcombe's interval of it.
    pub interval: Interval,
}

impl Difference {
    /// Whether the difference is more than chance would explain: its interval excludes 0.
    pub fn is_more_than_chance(self) -> bool {
        self.interval.low > 0.0 || self.interval.high < 0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(part: i64, total: i64) -> Share {
        Share::new(part, total).unwrap()
    }

    #[track_caller]
    fn assert_near(interval: Interval, low: f64, high: f64) {
        assert!(
            (interval.low - low).abs() < 5.1e-5 && (interval.high - high).abs() < 5.1e-5,
            "{interval:?} is not {low} to {high}"
        );
    }

    /// Table I of R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 17
    /// (1998), 857–872, method 3.
    #[test]
    fn the_interval_of_a_share_is_as_published() {
        for (part, total, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            assert_near(share(part, total).interval(), low, high);
        }
    }

    /// Table II of R. G. Newcombe, "Interval estimation for the difference between independent proportions",
    /// Stat. Med. 17 (1998), 873–890, method 10.
    #[test]
    fn the_interval_of_a_difference_is_as_published() {
        for ((part, total), (other, of), low, high, more) in [
            ((56, 70), (48, 80), 0.0524, 0.3339, true),
            ((9, 10), (3, 10), 0.1705, 0.8090, true),
            ((6, 7), (2, 7), 0.0582, 0.8062, true),
            ((5, 56), (0, 29), -0.0381, 0.1926, false),
            ((0, 10), (0, 20), -0.1611, 0.2775, false),
            ((0, 10), (0, 10), -0.2775, 0.2775, false),
            ((10, 10), (0, 20), 0.6791, 1.0, true),
            ((10, 10), (0, 10), 0.6075, 1.0, true),
        ] {
            let difference = share(part, total).minus(share(other, of));
            assert_near(difference.interval, low, high);
            assert_eq!(difference.is_more_than_chance(), more, "{difference:?}");
        }
    }

    #[test]
    fn there_is_no_share_of_nothing() {
        for (part, total) in [(0, 0), (1, 0), (2, 1), (-1, 3), (0, -1)] {
            assert_eq!(Share::new(part, total), None);
        }
    }

    fn shares() -> impl Strategy<Value = Share> {
        (1_i64..100_000).prop_flat_map(|total| (0..=total).prop_map(move |part| share(part, total)))
    }

    proptest! {
        #[test]
        fn an_interval_contains_its_share_and_narrows_with_more_votes(one in shares(), times in 2_i64..20) {
            let Interval { low, high } = one.interval();
            prop_assert!(0.0 <= low && low <= one.ratio() && one.ratio() <= high && high <= 1.0);
            let many = share(one.part() * times, one.total() * times).interval();
            prop_assert!(many.high - many.low < high - low);
        }

        #[test]
        fn a_difference_is_the_other_way_round_from_the_other_side(one in shares(), two in shares()) {
            let (there, back) = (one.minus(two), two.minus(one));
            let Interval { low, high } = there.interval;
            prop_assert!(low <= there.points && there.points <= high);
            prop_assert!(low >= -1.0 - 1e-9 && high <= 1.0 + 1e-9);
            prop_assert!((low + back.interval.high).abs() < 1e-9 && (high + back.interval.low).abs() < 1e-9);
            prop_assert_eq!(there.is_more_than_chance(), back.is_more_than_chance());
        }

        #[test]
        fn the_same_share_twice_is_no_difference(one in shares()) {
            prop_assert!(!one.minus(one).is_more_than_chance());
        }
    }
}
