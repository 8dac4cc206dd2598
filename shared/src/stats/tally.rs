//! Tallies: the counts of feedback, separate for each scale, to which records can be added and from which
//! they can be removed.

use std::ops::{AddAssign, Neg};

use super::decimal::Decimal;
use crate::score::Score;
use crate::timestamp::Timestamp;

/// The number of different values, −10 to 10.
pub const VALUES: usize = 21;

/// The number of different ratings, 1 to 5.
pub const RATINGS: usize = 5;

/// The counts of a set of records, or the difference between two sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of records with each value, −10 first.
    pub values: [i64; VALUES],
    /// The number of records with each rating, 1 first.
    pub ratings: [i64; RATINGS],
    /// The sum of the weights.
    pub weight: Decimal,
    /// The sum of value × weight.
    pub weighted: Decimal,
    /// When the latest record was created. Removing a record does not change it.
    pub last_seen: Option<Timestamp>,
}

impl Tally {
    /// The counts of one record.
    pub fn of(score: Score, created_at: Timestamp) -> Self {
        let mut tally = Self {
            last_seen: Some(created_at),
            ..Self::default()
        };
        match score {
            Score::Value(value, weight) => {
                let weight = Decimal::from_f64(weight.get()).unwrap_or_default();
                tally.weight = weight;
                tally.weighted = weight * i64::from(value.get());
                if let Some(count) = tally.value_mut(i64::from(value.get())) {
                    *count = 1;
                }
            }
            Score::Rating(rating) => {
                if let Some(count) = tally.rating_mut(i64::from(rating.get())) {
                    *count = 1;
                }
            }
        }
        tally
    }

    /// The number of records with a value.
    pub fn count(&self) -> i64 {
        self.values.iter().sum()
    }

    /// The number of records with a rating.
    pub fn rated(&self) -> i64 {
        self.ratings.iter().sum()
    }

    /// Whether all counts and sums are zero.
    pub fn is_zero(&self) -> bool {
        self.values.iter().chain(&self.ratings).all(|count| *count == 0)
            && self.weight == Decimal::ZERO
            && self.weighted == Decimal::ZERO
    }

    /// The count of a value. Returns `None` outside −10 to 10.
    pub fn value_mut(&mut self, value: i64) -> Option<&mut i64> {
        self.values.get_mut(usize::try_from(value + 10).ok()?)
    }

    /// The count of a rating. Returns `None` outside 1 to 5.
    pub fn rating_mut(&mut self, rating: i64) -> Option<&mut i64> {
        self.ratings.get_mut(usize::try_from(rating - 1).ok()?)
    }

    /// Each value and its count.
    pub fn by_value(&self) -> impl Iterator<Item = (i64, i64)> {
        (-10..).zip(self.values)
    }

    /// Each rating and its count.
    pub fn by_rating(&self) -> impl Iterator<Item = (i64, i64)> {
        (1..).zip(self.ratings)
    }
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.values.iter_mut().zip(other.values) {
            *count += more;
        }
        for (count, more) in self.ratings.iter_mut().zip(other.ratings) {
            *count += more;
        }
        self.weight += other.weight;
        self.weighted += other.weighted;
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

impl Neg for Tally {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            values: self.values.map(|count| -count),
            ratings: self.ratings.map(|count| -count),
            weight: -self.weight,
            weighted: -self.weighted,
            // Removing a record says nothing about the latest creation time.
            last_seen: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{Rating, Value, Weight};

    #[test]
    fn subtracting_a_record_reverses_adding_it() {
        let at = Timestamp::from_millis(1);
        let value = |value, weight| Score::Value(Value::new(value).unwrap(), Weight::new(weight).unwrap());
        let scores = [
            value(-10, 0.1),
            value(10, 0.0),
            value(0, 1.0),
            Score::Rating(Rating::new(5).unwrap()),
        ];
        let mut tally = Tally::default();
        for score in scores {
            tally += &Tally::of(score, at);
        }
        assert_eq!((tally.count(), tally.rated()), (3, 1));
        assert_eq!(tally.weighted.to_string(), "-1");
        assert_eq!(tally.weight.to_string(), "1.1");
        let voted: Vec<i64> = tally
            .by_value()
            .filter(|(_, count)| *count > 0)
            .map(|(value, _)| value)
            .collect();
        assert_eq!(voted, [-10, 0, 10]);
        for score in scores {
            tally += &-Tally::of(score, at);
        }
        assert!(tally.is_zero());
        assert_eq!(tally.last_seen, Some(at));
    }
}
