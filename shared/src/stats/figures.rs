//! What counts mean: the figures of a [`Tally`], and the sums of [`Counts`].

use std::collections::BTreeMap;

use super::interval::Share;
use super::read::Counts;
use super::tally::Tally;
use crate::timestamp::Timestamp;

/// What a score says about what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opinion {
    /// A value above 0, or a rating of 4 or 5.
    Positive,
    /// A value of 0, or a rating of 3.
    Neutral,
    /// A value below 0, or a rating of 1 or 2.
    Negative,
}

impl Opinion {
    /// Every opinion.
    pub const ALL: [Self; 3] = [Self::Positive, Self::Neutral, Self::Negative];

    /// The opinion of a value, −10 to 10.
    pub fn of_value(value: i64) -> Self {
        Self::of_excess(value)
    }

    /// The opinion of a rating, 1 to 5.
    pub fn of_rating(rating: i64) -> Self {
        Self::of_excess(rating - 3)
    }

    fn of_excess(excess: i64) -> Self {
        match excess {
            1.. => Self::Positive,
            0 => Self::Neutral,
            _ => Self::Negative,
        }
    }
}

impl Tally {
    /// The number of records of both scales.
    pub fn total(&self) -> i64 {
        self.count() + self.rated()
    }

    /// The number of records of both scales with an opinion. The scales are counted together here, but no
    /// score becomes one of the other.
    pub fn with_opinion(&self, opinion: Opinion) -> i64 {
        let values = self
            .by_value()
            .filter(|(value, _)| Opinion::of_value(*value) == opinion);
        let ratings = self
            .by_rating()
            .filter(|(rating, _)| Opinion::of_rating(*rating) == opinion);
        values.chain(ratings).map(|(_, count)| count).sum()
    }

    /// The share of positive records among those of both scales, regardless of weight. `None` if there are
    /// none.
    pub fn positive(&self) -> Option<Share> {
        Share::new(self.with_opinion(Opinion::Positive), self.total())
    }

    /// The share of values above 0 among the values, regardless of weight. `None` if there are none.
    pub fn positive_values(&self) -> Option<Share> {
        let positive = self
            .by_value()
            .filter(|(value, _)| Opinion::of_value(*value) == Opinion::Positive);
        Share::new(positive.map(|(_, count)| count).sum(), self.count())
    }

    /// Σ(value × weight) / number of values. `None` if there are none.
    pub fn average(&self) -> Option<f64> {
        ratio(self.weighted.to_f64(), self.count())
    }

    /// Σ(value × weight) / Σ weight. `None` if the weights sum to 0.
    pub fn weighted_mean(&self) -> Option<f64> {
        let weight = self.weight.to_f64();
        (weight > 0.0).then(|| self.weighted.to_f64() / weight)
    }

    /// The mean rating. `None` if there are none.
    pub fn mean_rating(&self) -> Option<f64> {
        let sum: i64 = self.by_rating().map(|(rating, count)| rating * count).sum();
        ratio(sum as f64, self.rated())
    }
}

/// The quotient, or `None` if the count is 0.
fn ratio(sum: f64, count: i64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

impl Counts {
    /// All cells together.
    pub fn total(&self) -> Tally {
        self.cells.values().fold(Tally::default(), |mut sum, tally| {
            sum += tally;
            sum
        })
    }

    /// The counts of each bucket that has any, earliest first.
    pub fn by_bucket(&self) -> Vec<(Timestamp, Tally)> {
        let mut buckets: Vec<(Timestamp, Tally)> = Vec::new();
        for ((bucket, _), tally) in &self.cells {
            match buckets.last_mut() {
                Some((last, sum)) if last == bucket => *sum += tally,
                _ => buckets.push((*bucket, tally.clone())),
            }
        }
        buckets.retain(|(_, tally)| tally.total() > 0);
        buckets
    }

    /// The counts of each value that has any, largest first; ties by name, so that pages do not overlap.
    pub fn by_value(&self) -> Vec<(String, Tally)> {
        let mut values: BTreeMap<&str, Tally> = BTreeMap::new();
        for ((_, value), tally) in &self.cells {
            *values.entry(value).or_default() += tally;
        }
        let mut groups: Vec<(String, Tally)> = values
            .into_iter()
            .filter(|(_, tally)| tally.total() > 0)
            .map(|(value, tally)| (value.to_owned(), tally))
            .collect();
        groups.sort_by(|(one_name, one), (other_name, other)| {
            other
                .total()
                .cmp(&one.total())
                .then_with(|| one_name.cmp(other_name))
        });
        groups
    }

    /// The counts by bucket of one value.
    pub fn of_value(&self, value: &str) -> Vec<(Timestamp, Tally)> {
        let cells = self.cells.iter().filter(|((_, of), _)| of == value);
        cells
            .map(|((bucket, _), tally)| (*bucket, tally.clone()))
            .filter(|(_, tally)| tally.total() > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{Rating, Score, Value, Weight};

    fn tally(values: &[(i64, f64)], ratings: &[i64]) -> Tally {
        let values = values
            .iter()
            .map(|(value, weight)| Score::Value(Value::new(*value).unwrap(), Weight::new(*weight).unwrap()));
        let ratings = ratings
            .iter()
            .map(|rating| Score::Rating(Rating::new(*rating).unwrap()));
        let mut tally = Tally::default();
        for score in values.chain(ratings) {
            tally += &Tally::of(score, Timestamp::EPOCH);
        }
        tally
    }

    #[test]
    fn every_score_has_one_opinion() {
        let all = tally(
            &(-10..=10).map(|value| (value, 1.0)).collect::<Vec<_>>(),
            &[1, 2, 3, 4, 5],
        );
        let counts = Opinion::ALL.map(|opinion| all.with_opinion(opinion));
        assert_eq!(counts, [10 + 2, 1 + 1, 10 + 2]);
        assert_eq!(Opinion::of_rating(4), Opinion::Positive);
        assert_eq!(Opinion::of_rating(2), Opinion::Negative);
    }

    #[test]
    fn the_figures_of_both_scales_are_apart_but_for_their_opinion() {
        let both = tally(&[(5, 1.0), (-1, 0.5), (0, 0.0)], &[4, 1]);
        assert_eq!(both.total(), 5);
        assert_eq!(both.average(), Some(4.5 / 3.0));
        assert_eq!(both.weighted_mean(), Some(4.5 / 1.5));
        assert_eq!(both.mean_rating(), Some(2.5));
        assert_eq!(both.positive(), Share::new(2, 5));
        assert_eq!(both.positive_values(), Share::new(1, 3));
        let none = Tally::default();
        assert_eq!((none.average(), none.mean_rating()), (None, None));
        assert_eq!((none.weighted_mean(), none.positive()), (None, None));
    }

    #[test]
    fn cells_are_summed_by_bucket_and_by_value() {
        let at = Timestamp::from_millis;
        let mut counts = Counts::default();
        for (bucket, value, votes) in [(1, "a", 1), (1, "b", 2), (2, "b", 1), (3, "c", 1), (4, "gone", 0)] {
            let votes = vec![(1, 1.0); votes];
            counts
                .cells
                .insert((at(bucket), value.to_owned()), tally(&votes, &[]));
        }
        let sizes = |groups: Vec<(Timestamp, Tally)>| -> Vec<(u64, i64)> {
            let sizes = groups.iter();
            sizes
                .map(|(bucket, tally)| (bucket.millis(), tally.total()))
                .collect()
        };
        assert_eq!(sizes(counts.by_bucket()), [(1, 3), (2, 1), (3, 1)]);
        assert_eq!(sizes(counts.of_value("b")), [(1, 2), (2, 1)]);
        let values = counts.by_value();
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert_eq!(counts.total().total(), 5);
    }
}
