//! The best and the worst of a group, by what their votes can tell.

use shared::stats::interval::Share;
use shared::stats::tally::Tally;

/// One of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Its name.
    pub name: String,
    /// Its positive share.
    pub positive: Share,
    /// Its counts.
    pub tally: Tally,
}

/// The best and the worst. Nothing is in both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// The best, best first.
    pub best: Vec<Ranked>,
    /// The worst, worst first.
    pub worst: Vec<Ranked>,
}

impl Ranking {
    /// Ranks groups, at most so many in each list.
    ///
    /// The best are those with the highest lower bound of their positive share, the worst those with the
    /// lowest upper bound. So few votes, whose interval is wide, put a group into neither list. One that is
    /// among the first of both is where its place is better, or with the best.
    pub fn new(groups: Vec<(String, Tally)>, most: usize) -> Self {
        let ranked = groups.into_iter().filter_map(|(name, tally)| {
            let positive = tally.positive()?;
            Some(Ranked {
                name,
                positive,
                tally,
            })
        });
        let ranked: Vec<Ranked> = ranked.collect();
        let order = |bound: &dyn Fn(&Ranked) -> f64| -> Vec<usize> {
            let mut order: Vec<usize> = (0..ranked.len()).collect();
            // Of the same bound, the one with more votes is first: the groups come largest first, and the
            // sort is stable.
            order.sort_by(|one, two| match (ranked.get(*one), ranked.get(*two)) {
                (Some(one), Some(two)) => bound(one).total_cmp(&bound(two)),
                _ => std::cmp::Ordering::Equal,
            });
            order
        };
        let best = order(&|one| -one.positive.interval().low);
        let worst = order(&|one| one.positive.interval().high);
        let place = |order: &[usize], index: usize| order.iter().position(|other| *other == index);
        let is_best = |index: usize| place(&best, index) <= place(&worst, index);
        let first = |order: &[usize], of_best: bool| -> Vec<Ranked> {
            let first = order.iter().take(most);
            first
                .filter(|index| is_best(**index) == of_best)
                .filter_map(|index| ranked.get(*index).cloned())
                .collect()
        };
        Self {
            best: first(&best, true),
            worst: first(&worst, false),
        }
    }

    /// Whether there is nothing to rank.
    pub fn is_empty(&self) -> bool {
        self.best.is_empty() && self.worst.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Votes of 1 and −1.
    fn votes(up: i64, down: i64) -> Tally {
        let mut tally = Tally::default();
        *tally.value_mut(1).unwrap() = up;
        *tally.value_mut(-1).unwrap() = down;
        tally
    }

    fn names(list: &[Ranked]) -> Vec<&str> {
        list.iter().map(|ranked| ranked.name.as_str()).collect()
    }

    fn ranking(groups: &[(&str, i64, i64)], most: usize) -> Ranking {
        let groups = groups.iter();
        let groups = groups.map(|(name, up, down)| ((*name).to_owned(), votes(*up, *down)));
        Ranking::new(groups.collect(), most)
    }

    #[test]
    fn three_votes_do_not_top_a_thousand() {
        let ranking = ranking(
            &[
                ("good", 900, 100),
                ("bad", 100, 900),
                ("lucky", 3, 0),
                ("unlucky", 0, 3),
            ],
            2,
        );
        assert_eq!(names(&ranking.best), ["good", "lucky"]);
        assert_eq!(names(&ranking.worst), ["bad", "unlucky"]);
        let one = Ranking::new(vec![("only".to_owned(), votes(0, 5))], 5);
        assert_eq!((names(&one.best), names(&one.worst)), (vec!["only"], vec![]));
        assert!(ranking.best[0].positive.ratio() < ranking.best[1].positive.ratio());
        assert!(Ranking::new(vec![("none".to_owned(), votes(0, 0))], 5).is_empty());
    }

    #[test]
    fn few_votes_are_in_neither_list() {
        let ranking = ranking(
            &[("good", 90, 10), ("bad", 10, 90), ("new", 1, 1), ("newer", 1, 0)],
            1,
        );
        assert_eq!(
            (names(&ranking.best), names(&ranking.worst)),
            (vec!["good"], vec!["bad"])
        );
    }

    proptest! {
        #[test]
        fn lists_are_in_order_and_share_nothing(
            groups in proptest::collection::vec((0_i64..2_000, 0_i64..2_000), 0..30), most in 0_usize..8,
        ) {
            let groups: Vec<(String, Tally)> = groups
                .into_iter()
                .enumerate()
                .map(|(index, (up, down))| (index.to_string(), votes(up, down)))
                .collect();
            let Ranking { best, worst } = Ranking::new(groups.clone(), most);
            prop_assert!(best.len() <= most && worst.len() <= most);
            let low = |ranked: &Ranked| ranked.positive.interval().low;
            let high = |ranked: &Ranked| ranked.positive.interval().high;
            prop_assert!(best.windows(2).all(|pair| low(&pair[0]) >= low(&pair[1])));
            prop_assert!(worst.windows(2).all(|pair| high(&pair[0]) <= high(&pair[1])));
            prop_assert!(best.iter().all(|one| worst.iter().all(|other| one.name != other.name)));
            let has_votes = groups.iter().any(|(_, tally)| tally.total() > 0);
            prop_assert_eq!(most > 0 && has_votes, !(best.is_empty() && worst.is_empty()));
        }
    }
}
