//! Roll-ups: the items of the table `stats` that hold counts.
//!
//! The partition key is `{workspace}#{dimension}#{series}`, followed by `#{generation}` from the second
//! generation on. The sort key is `{start}#{value}`. So a time range of a dimension with all its values is
//! one query, and a known value is read by key.

mod counters;

use std::collections::{BTreeMap, HashMap};

use counters::to_slots;
pub use counters::{counters, last_seen};

use super::dimension::Dimension;
use super::generation::Generation;
use super::series::Series;
use super::tally::Tally;
use crate::dynamo::attributes::{Item, number, string, text};
use crate::id::Workspace;
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// The key of one roll-up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rollup {
    /// The number of the generation.
    pub generation: u32,
    /// The workspace.
    pub workspace: Workspace,
    /// The dimension.
    pub dimension: Dimension,
    /// The series.
    pub series: Series,
    /// The start of its time, inclusive.
    pub start: Timestamp,
    /// The value of the dimension; empty for [`Dimension::All`].
    pub value: String,
}

/// The counts in a roll-up by slot. Slots without counts are absent.
pub type Slots = BTreeMap<u8, Tally>;

impl Rollup {
    /// The roll-up of all feedback in a workspace on the day of `moment`.
    pub fn of_everything(generation: u32, workspace: &Workspace, moment: Timestamp) -> Self {
        let (start, _) = Series::Day.place(moment);
        Self {
            generation,
            workspace: workspace.clone(),
            dimension: Dimension::All,
            series: Series::Day,
            start,
            value: String::new(),
        }
    }

    /// The partition key for a dimension's series.
    pub fn partition(generation: u32, workspace: &Workspace, dimension: Dimension, series: Series) -> String {
        let first = format!("{workspace}#{}#{}", dimension.name(), series.name());
        match generation {
            0 => first,
            later => format!("{first}#{later}"),
        }
    }

    /// The sort key for a value from a start time.
    pub fn sort(start: Timestamp, value: &str) -> String {
        format!("{}#{value}", start_key(start))
    }

    /// The primary key.
    pub fn key(&self) -> (String, String) {
        (
            Self::partition(self.generation, &self.workspace, self.dimension, self.series),
            Self::sort(self.start, &self.value),
        )
    }

    /// The schema version that it is written with: the first with both its dimension and its series.
    pub fn schema(&self) -> u32 {
        self.dimension.since().max(self.series.schema())
    }

    /// Whether the roll-up is deleted when it counts nothing any more. Its value names a person or a conversation,
    /// which must not outlive the feedback.
    pub fn is_fleeting(&self) -> bool {
        self.dimension.has_many_values()
    }

    /// Parses a primary key. Returns `None` if it is not a roll-up's.
    pub fn from_key(pk: &str, sk: &str) -> Option<Self> {
        let mut parts = pk.split('#');
        let (workspace, dimension, series) = (parts.next()?, parts.next()?, parts.next()?);
        let generation = match parts.next() {
            None => 0,
            Some(number) => number.parse().ok()?,
        };
        let (start, value) = sk.split_once('#')?;
        Some(Self {
            generation,
            workspace: Workspace::parse(workspace)?,
            dimension: Dimension::all().find(|known| known.name() == dimension)?,
            series: Series::parse(series)?,
            start: Timestamp::from_millis(start.parse().ok()?),
            value: value.to_owned(),
        })
    }

    /// Returns the roll-ups and slots that count a record by a value of one dimension.
    pub fn places(
        generation: Generation,
        workspace: &Workspace,
        dimension: Dimension,
        value: &str,
        created_at: Timestamp,
    ) -> impl Iterator<Item = (Self, u8)> {
        dimension.series(generation.schema).iter().map(move |series| {
            let (start, slot) = series.place(created_at);
            let rollup = Self {
                generation: generation.number,
                workspace: workspace.clone(),
                dimension,
                series: *series,
                start,
                value: value.to_owned(),
            };
            (rollup, slot)
        })
    }
}

/// A start time in a sort key: milliseconds padded to a fixed width, so that keys sort by time.
pub fn start_key(start: Timestamp) -> String {
    format!("{:015}", start.millis())
}

/// The attribute with the time of the newest counted change, in milliseconds. Only roll-ups of all feedback
/// have it.
pub const COUNTED_TO: &str = "counted_to";

/// The attribute with the number of times that a fleeting roll-up was written, by which its deletion knows that it
/// is still what was read. Roll-ups of older code lack it until they are written again.
pub const WRITES: &str = "writes";

/// The condition, with its names and values, that a roll-up is as it was read: that `item` has the same number of
/// writes.
pub fn unchanged(item: &Item) -> (String, HashMap<String, String>, Item) {
    let names = HashMap::from([("#writes".to_owned(), WRITES.to_owned())]);
    match item.get(WRITES) {
        Some(writes) => (
            "#writes = :writes".to_owned(),
            names,
            HashMap::from([(":writes".to_owned(), writes.clone())]),
        ),
        None => (
            "attribute_exists(pk) AND attribute_not_exists(#writes)".to_owned(),
            names,
            Item::new(),
        ),
    }
}

/// Reads an item of the table as a roll-up with its counts.
///
/// # Errors
///
/// [`Problem::Unavailable`] for a newer schema version, [`Problem::Internal`] if the item is not a valid
/// roll-up.
pub fn from_item(item: &Item) -> Result<(Rollup, Slots), Problem> {
    schema::check(item, schema::STATS)?;
    let read = || {
        let rollup = Rollup::from_key(string(item, "pk")?, string(item, "sk")?)?;
        let slots = to_slots(&rollup, item)?;
        Some((rollup, slots))
    };
    read().ok_or_else(|| Problem::internal("a roll-up cannot be read"))
}

/// Builds the item that counting these slots results in, with the time up to which the workspace is counted
/// if the roll-up has it.
pub fn to_item(rollup: &Rollup, slots: &Slots, counted_to: Option<Timestamp>) -> Item {
    let (pk, sk) = rollup.key();
    let mut item = key_item(&pk, &sk);
    item.insert(schema::ATTRIBUTE.to_owned(), number(rollup.schema()));
    let mut numbers = counters(rollup.series, slots);
    numbers.extend(last_seen(rollup, slots));
    numbers.extend(counted_to.map(|time| (COUNTED_TO.to_owned(), time.millis().to_string())));
    item.extend(numbers.into_iter().map(|(name, text)| (name, number(text))));
    item
}

/// Builds the key attributes of an item.
pub fn key_item(pk: &str, sk: &str) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamo::attributes::AttributeValue;
    use crate::indexed::Field;
    use crate::score::{Rating, Score, Value, Weight};

    fn rollup(series: Series) -> Rollup {
        Rollup {
            generation: 2,
            workspace: Workspace::parse("test").unwrap(),
            dimension: Dimension::Field(Field::Prompt),
            series,
            start: Timestamp::parse("2026-11-21T00:00:00Z").unwrap(),
            value: "a#b".to_owned(),
        }
    }

    /// The item that counting these slots results in.
    fn item(rollup: &Rollup, slots: &Slots) -> Item {
        let mut item = to_item(rollup, slots, None);
        item.insert("later".to_owned(), text("an attribute of later code"));
        item
    }

    /// Every counter in every slot, with weights other than 1.
    fn full(rollup: &Rollup, votes: usize) -> Slots {
        let mut slots = Slots::new();
        for slot in 0..rollup.series.slots() {
            let moment = rollup.series.slot_start(rollup.start, slot);
            let last = Timestamp::from_millis(moment.millis() + 59_999);
            let tally = slots.entry(slot).or_default();
            for _ in 0..votes {
                for value in -10..=10 {
                    let score = Score::Value(Value::new(value).unwrap(), Weight::new(0.3).unwrap());
                    *tally += &Tally::of(score, last);
                }
                for rating in 1..=5 {
                    *tally += &Tally::of(Score::Rating(Rating::new(rating).unwrap()), last);
                }
            }
        }
        slots
    }

    #[test]
    fn an_item_contains_all_counts() {
        for series in Series::ALL {
            let rollup = rollup(series);
            let slots = full(&rollup, 7);
            assert_eq!(
                from_item(&item(&rollup, &slots)).unwrap(),
                (rollup, slots),
                "{series:?}"
            );
        }
    }

    #[test]
    fn plain_votes_store_no_sums() {
        let rollup = rollup(Series::Minutes);
        let vote = Score::Value(Value::new(-1).unwrap(), Weight::DEFAULT);
        let slots = Slots::from([(5, Tally::of(vote, rollup.series.slot_start(rollup.start, 5)))]);
        let expected = BTreeMap::from([("5a".to_owned(), "1".to_owned())]);
        assert_eq!(counters(rollup.series, &slots), expected);
        assert_eq!(
            last_seen(&rollup, &slots),
            BTreeMap::from([("5t".to_owned(), "0".to_owned())])
        );
        let negative = Slots::from([(5, -slots[&5].clone())]);
        assert_eq!(counters(rollup.series, &negative)["5a"], "-1");
    }

    /// Sizes are calculated like in DynamoDB: the bytes of names and strings; for a number, one byte per
    /// two digits and one more
    /// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html), and here
    /// one for a sign too.
    #[test]
    fn the_busiest_item_is_one_write_unit() {
        let mut rollup = rollup(Series::Minutes);
        rollup.workspace = Workspace::parse(&"w".repeat(16)).unwrap();
        rollup.value = "v".repeat(40);
        // 100 votes a second, spread evenly over all values and ratings.
        let mut item = item(&rollup, &full(&rollup, 100 * 120 / 26));
        item.remove("later");
        let size: usize = item
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    AttributeValue::N(number) => {
                        let digits = number.bytes().filter(u8::is_ascii_digit).count();
                        digits.div_ceil(2) + 1 + usize::from(number.starts_with('-'))
                    }
                    value => value.as_s().unwrap().len(),
                };
                name.len() + value
            })
            .sum();
        assert!(size <= 1024, "{size} bytes");
    }

    #[test]
    fn keys_round_trip() {
        for series in Series::ALL {
            for generation in [0, 7] {
                let rollup = Rollup {
                    generation,
                    ..rollup(series)
                };
                let (pk, sk) = rollup.key();
                assert_eq!(Rollup::from_key(&pk, &sk), Some(rollup));
            }
        }
        assert_eq!(Rollup::from_key("checkpoint", "shard"), None);
        assert_eq!(Rollup::from_key("parked", "1#2"), None);
    }
}
