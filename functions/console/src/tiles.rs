//! The figures above a page's charts, each with its change against another range.

use shared::stats::tally::Tally;

use crate::number::{self, NO_BREAK};

/// A figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// What it is.
    pub label: &'static str,
    /// The figure.
    pub figure: String,
    /// What else there is to say about it, in parts that no line breaks.
    pub more: Vec<String>,
    /// Its change, if there is something to compare it with.
    pub change: Option<Change>,
}

/// The change of a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// By how much.
    pub text: String,
    /// Whether it is more than chance, if that can be told.
    pub words: &'static str,
    /// Its class: `good` or `bad` if it is more than chance, otherwise `muted`.
    pub class: &'static str,
}

impl Change {
    fn plain(text: String) -> Self {
        Self {
            text,
            words: "",
            class: "muted",
        }
    }
}

/// The two scales.
const VALUES: &str = "−10 to 10";
const RATINGS: &str = "1 to 5";

fn parts(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// The figures of some votes, with their change against those before them.
pub fn tiles(votes: &Tally, before: Option<&Tally>) -> Vec<Tile> {
    let before = before.filter(|before| before.total() > 0);
    let change = |of: fn(&Tally) -> Option<f64>| {
        let (now, then) = (of(votes)?, of(before?)?);
        Some(Change::plain(number::signed(now - then, 2)))
    };
    let scales = match (votes.count(), votes.rated()) {
        (0, 0) => Vec::new(),
        (_, 0) => parts(&["values", VALUES]),
        (0, _) => parts(&["ratings", RATINGS]),
        (values, ratings) => vec![
            format!("{},", number::counted(values, "value")),
            number::counted(ratings, "rating"),
        ],
    };
    vec![
        Tile {
            label: "Votes",
            figure: number::count(votes.total()),
            more: scales,
            change: before.map(|before| growth(votes.total(), before.total())),
        },
        Tile {
            label: "Average value",
            figure: number::or_none(votes.average(), |average| number::decimal(average, 2)),
            more: match votes.count() {
                0 => parts(&["no values"]),
                _ => parts(&["value × weight,", VALUES]),
            },
            change: change(Tally::average),
        },
        Tile {
            label: "Positive",
            figure: number::or_none(votes.positive(), |share| number::percent(share.ratio())),
            more: votes.positive().map_or_else(Vec::new, |share| {
                vec!["95 % interval".to_owned(), number::percent_interval(share)]
            }),
            change: before.and_then(|before| shift(votes, before)),
        },
        Tile {
            label: "Mean rating",
            figure: number::or_none(votes.mean_rating(), |mean| number::decimal(mean, 2)),
            more: match votes.rated() {
                0 => parts(&["no ratings"]),
                rated => vec![
                    format!("of {},", number::counted(rated, "rating")),
                    RATINGS.to_owned(),
                ],
            },
            change: change(Tally::mean_rating),
        },
    ]
}

/// The change of a number, which was above 0.
fn growth(now: i64, then: i64) -> Change {
    let share = (now - then) as f64 / then as f64;
    // Beyond this, percent say less than a factor.
    if share >= 9.95 {
        return Change::plain(format!("× {}", number::short((now as f64 / then as f64).round())));
    }
    Change::plain(format!("{}{NO_BREAK}%", number::signed(share * 100.0, 0)))
}

/// The change of the positive share, and whether it is more than chance.
fn shift(votes: &Tally, before: &Tally) -> Option<Change> {
    let difference = votes.positive()?.minus(before.positive()?);
    let (words, class) = match difference.is_more_than_chance() {
        true if difference.points > 0.0 => ("more than chance", "good"),
        true => ("more than chance", "bad"),
        false => ("could be chance", "muted"),
    };
    Some(Change {
        text: number::points(difference),
        words,
        class,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(up: i64, zero: i64, down: i64, fives: i64) -> Tally {
        let mut tally = Tally::default();
        for (value, count) in [(1, up), (0, zero), (-1, down)] {
            *tally.value_mut(value).unwrap() = count;
        }
        *tally.rating_mut(5).unwrap() = fives;
        tally
    }

    fn change(now: &Tally, before: &Tally, tile: usize) -> Change {
        tiles(now, Some(before)).remove(tile).change.unwrap()
    }

    #[test]
    fn a_figure_without_votes_is_a_dash() {
        let figures: Vec<String> = tiles(&Tally::default(), None)
            .into_iter()
            .map(|tile| tile.figure)
            .collect();
        assert_eq!(figures, ["0", "–", "–", "–"]);
        let both = tiles(&votes(1_200, 0, 0, 34), None);
        assert_eq!(both[0].more, ["1,200 values,", "34 ratings"]);
        assert_eq!(both[3].figure, "5.00");
    }

    #[test]
    fn a_change_says_whether_it_is_more_than_chance() {
        let many = change(&votes(900, 0, 100, 0), &votes(500, 0, 500, 0), 2);
        assert_eq!((many.text.as_str(), many.class), ("+40.0 points", "good"));
        let worse = change(&votes(500, 0, 500, 0), &votes(900, 0, 100, 0), 2);
        assert_eq!((worse.text.as_str(), worse.class), ("−40.0 points", "bad"));
        let few = change(&votes(3, 0, 1, 0), &votes(2, 0, 2, 0), 2);
        assert_eq!((few.words, few.class), ("could be chance", "muted"));
    }

    #[test]
    fn growth_is_in_percent_or_a_factor() {
        for (now, before, text) in [
            (150, 100, "+50\u{a0}%"),
            (50, 100, "−50\u{a0}%"),
            (100, 100, "±0\u{a0}%"),
            (4_000, 100, "× 40"),
        ] {
            let change = change(&votes(now, 0, 0, 0), &votes(before, 0, 0, 0), 0);
            assert_eq!(change.text, text);
        }
        let none = tiles(&votes(1, 0, 0, 0), Some(&Tally::default()));
        assert!(
            none.iter().all(|tile| tile.change.is_none()),
            "there is nothing to compare with"
        );
    }
}
