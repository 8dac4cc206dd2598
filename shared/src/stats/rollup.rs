//! The items of the table `stats` that hold counts.
//!
//! A roll-up's partition key is `{workspace}#{dimension}#{series}`, with `#{generation}` behind it
//! from the second generation on, its sort key `{start}#{value}`: so a time range of one dimension,
//! with all of its values, is one query, and a value whose name is known is read by its key.

use std::collections::{BTreeMap, HashMap};

use super::decimal::Decimal;
use super::generation::Generation;
use super::series::Series;
use super::tally::Tally;
use crate::dynamo::attributes::{Item, string};
use crate::id::Workspace;
use crate::indexed::Field;
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// By what feedback is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Everything together.
    All,
    /// `_model`
    Model,
    /// An indexed field.
    Field(Field),
}

impl Dimension {
    /// Every dimension.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::All, Self::Model]
            .into_iter()
            .chain(Field::ALL.map(Self::Field))
    }

    /// The name it has in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Model => "model",
            Self::Field(field) => field.name(),
        }
    }

    /// The dimension that counts by this metadata field.
    pub fn of_metadata(name: &str) -> Option<Self> {
        match name {
            "_model" => Some(Self::Model),
            _ => Field::of_metadata(name).map(Self::Field),
        }
    }

    /// The first schema version that counts by it.
    fn since(self) -> u32 {
        match self {
            Self::All | Self::Model => 1,
            Self::Field(field) => field.counted_since(),
        }
    }

    fn has_many_values(self) -> bool {
        matches!(self, Self::Field(field) if field.has_many_values())
    }

    /// The series that a generation of this schema version counts it in, the coarsest first. None is
    /// a dimension that the version does not count by: it must stay uncounted there, since records
    /// that were counted without it would be taken away with it, and leave less than nothing.
    pub fn series(self, schema: u32) -> &'static [Series] {
        match schema {
            _ if schema < self.since() => &[],
            1 if self.has_many_values() => &[Series::Day],
            1 => &[Series::Day, Series::Hour],
            _ if self.has_many_values() => &[Series::Hours],
            _ => &[Series::Day, Series::Minutes],
        }
    }
}

/// The key of one roll-up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rollup {
    /// The number of its generation.
    pub generation: u32,
    /// The workspace it counts.
    pub workspace: Workspace,
    /// By what it counts.
    pub dimension: Dimension,
    /// The series it is of.
    pub series: Series,
    /// The first moment it covers.
    pub start: Timestamp,
    /// The dimension's value; empty for [`Dimension::All`].
    pub value: String,
}

/// The counts of a roll-up by slot. A slot without any is missing.
pub type Slots = BTreeMap<u8, Tally>;

impl Rollup {
    /// The roll-up of everything in a workspace, for the day of a moment.
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

    /// The partition key of a dimension's series.
    pub fn partition(generation: u32, workspace: &Workspace, dimension: Dimension, series: Series) -> String {
        let first = format!("{workspace}#{}#{}", dimension.name(), series.name());
        match generation {
            0 => first,
            later => format!("{first}#{later}"),
        }
    }

    /// The sort key of a value from a moment on.
    pub fn sort(start: Timestamp, value: &str) -> String {
        format!("{}#{value}", start_key(start))
    }

    /// Its primary key.
    pub fn key(&self) -> (String, String) {
        (
            Self::partition(self.generation, &self.workspace, self.dimension, self.series),
            Self::sort(self.start, &self.value),
        )
    }

    /// The schema version it is written with: the first that has both its dimension and its series.
    pub fn schema(&self) -> u32 {
        self.dimension.since().max(self.series.schema())
    }

    /// The roll-up of a primary key. `None` if it is none.
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

    /// The roll-ups and slots that a record counts in, by a value of one dimension.
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

/// A start in a sort key: milliseconds in a width that keeps their order.
pub fn start_key(start: Timestamp) -> String {
    format!("{:015}", start.millis())
}

/// The attribute of a roll-up of everything that holds the time of the newest change counted by
/// then, in milliseconds.
pub const COUNTED_TO: &str = "counted_to";

/// One counter of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Value(i64),
    Rating(i64),
    /// What the weights sum up to; in an item of several slots, beyond 1 for each value.
    Weight,
    /// What the values by their weights sum up to; in an item of several slots, beyond the values.
    Weighted,
    /// When the latest record was created; in an item of several slots, since the slot's start.
    LastSeen,
}

/// How a series names its counters.
impl Series {
    /// An item of one slot has plain names. One of several has names of two characters, since it is
    /// by the size of its names and numbers that it stays below 1 KB: the slot in base 36; then `A` to
    /// `J` for the values 1 to 10, `a` to `j` for −1 to −10, `Z` for 0, `1` to `5` for the ratings, `w`
    /// and `x` for the sums, which are missing where all weights are 1, and `t` for the time.
    fn attribute(self, slot: u8, counter: Counter) -> String {
        if self.slots() == 1 {
            return match counter {
                Counter::Value(value) => format!("v{value}"),
                Counter::Rating(rating) => format!("r{rating}"),
                Counter::Weight => "weight".to_owned(),
                Counter::Weighted => "weighted".to_owned(),
                Counter::LastSeen => "last_seen".to_owned(),
            };
        }
        let letter = |first: u8, number: i64| {
            let place = u8::try_from(number.unsigned_abs().saturating_sub(1)).unwrap_or_default();
            char::from(first + place)
        };
        let code = match counter {
            Counter::Value(0) => 'Z',
            Counter::Value(value @ 1..) => letter(b'A', value),
            Counter::Value(value) => letter(b'a', value),
            Counter::Rating(rating) => letter(b'1', rating),
            Counter::Weight => 'w',
            Counter::Weighted => 'x',
            Counter::LastSeen => 't',
        };
        let slot = char::from_digit(u32::from(slot), 36).unwrap_or('z');
        format!("{slot}{code}")
    }

    /// The slot and counter of an attribute's name. `None` for another attribute.
    fn counter(self, name: &str) -> Option<(u8, Counter)> {
        if self.slots() == 1 {
            let counter = match name {
                "weight" => Counter::Weight,
                "weighted" => Counter::Weighted,
                "last_seen" => Counter::LastSeen,
                _ => match name.split_at_checked(1)? {
                    ("v", value) => Counter::Value(value.parse().ok()?),
                    ("r", rating) => Counter::Rating(rating.parse().ok()?),
                    _ => return None,
                },
            };
            return Some((0, counter));
        }
        let [slot, code] = *name.as_bytes() else {
            return None;
        };
        let slot = u8::try_from(char::from(slot).to_digit(36)?).ok()?;
        let counter = match code {
            b'Z' => Counter::Value(0),
            b'A'..=b'J' => Counter::Value(i64::from(code - b'A') + 1),
            b'a'..=b'j' => Counter::Value(-i64::from(code - b'a') - 1),
            b'1'..=b'5' => Counter::Rating(i64::from(code - b'0')),
            b'w' => Counter::Weight,
            b'x' => Counter::Weighted,
            b't' => Counter::LastSeen,
            _ => return None,
        };
        (slot < self.slots()).then_some((slot, counter))
    }
}

/// What to add to a roll-up, by attribute, as DynamoDB's numbers. Only what is not zero.
pub fn counters(series: Series, slots: &Slots) -> BTreeMap<String, String> {
    let mut counters = BTreeMap::new();
    for (slot, tally) in slots {
        let mut put = |counter, number: String| {
            if number != "0" {
                counters.insert(series.attribute(*slot, counter), number);
            }
        };
        for (value, count) in tally.by_value() {
            put(Counter::Value(value), count.to_string());
        }
        for (rating, count) in tally.by_rating() {
            put(Counter::Rating(rating), count.to_string());
        }
        let (weight, weighted) = unweighted(series, tally);
        put(Counter::Weight, (tally.weight - weight).to_string());
        put(Counter::Weighted, (tally.weighted - weighted).to_string());
    }
    counters
}

/// What to set in a roll-up, by attribute: when each slot's latest record was created.
pub fn last_seen(rollup: &Rollup, slots: &Slots) -> BTreeMap<String, String> {
    let seen = slots.iter().filter_map(|(slot, tally)| {
        let since = tally.last_seen?.millis() - origin(rollup, *slot);
        let name = rollup.series.attribute(*slot, Counter::LastSeen);
        Some((name, since.to_string()))
    });
    seen.collect()
}

/// From when on a slot's time of the latest record is counted, in milliseconds since the epoch.
fn origin(rollup: &Rollup, slot: u8) -> u64 {
    if rollup.series.slots() == 1 {
        return 0;
    }
    rollup.series.slot_start(rollup.start, slot).millis()
}

/// What the sums of a slot would be if all its weights were 1, where the series leaves that out.
fn unweighted(series: Series, tally: &Tally) -> (Decimal, Decimal) {
    if series.slots() == 1 {
        return (Decimal::ZERO, Decimal::ZERO);
    }
    let values: i64 = tally.by_value().map(|(value, count)| value * count).sum();
    (Decimal::from(tally.count()), Decimal::from(values))
}

/// The slots of an item. A counter that is missing is zero; one that cannot be read, in a table
/// that is ours alone, is a defect: `None`.
fn to_slots(rollup: &Rollup, item: &Item) -> Option<Slots> {
    let mut slots = Slots::new();
    for (name, attribute) in item {
        let Some((slot, counter)) = rollup.series.counter(name) else {
            continue;
        };
        let number = attribute.as_n().ok()?;
        let tally = slots.entry(slot).or_default();
        match counter {
            Counter::Value(value) => *tally.value_mut(value)? = number.parse().ok()?,
            Counter::Rating(rating) => *tally.rating_mut(rating)? = number.parse().ok()?,
            Counter::Weight => tally.weight = Decimal::parse(number)?,
            Counter::Weighted => tally.weighted = Decimal::parse(number)?,
            Counter::LastSeen => {
                let since: u64 = number.parse().ok()?;
                tally.last_seen = Some(Timestamp::from_millis(origin(rollup, slot) + since));
            }
        }
    }
    for tally in slots.values_mut() {
        let (weight, weighted) = unweighted(rollup.series, tally);
        tally.weight += weight;
        tally.weighted += weighted;
    }
    Some(slots)
}

/// The roll-up and counts of an item of the table. An item that is neither these nor known by its
/// key to be something else is a defect; one of a newer schema version is not ours to read.
///
/// # Errors
///
/// [`Problem::Unavailable`] for a newer schema version, [`Problem::Internal`] for a defect.
pub fn from_item(item: &Item) -> Result<(Rollup, Slots), Problem> {
    schema::check(item, schema::STATS)?;
    let read = || {
        let rollup = Rollup::from_key(string(item, "pk")?, string(item, "sk")?)?;
        let slots = to_slots(&rollup, item)?;
        Some((rollup, slots))
    };
    read().ok_or_else(|| Problem::internal("a roll-up cannot be read"))
}

/// An item's key attributes.
pub fn key_item(pk: &str, sk: &str) -> Item {
    use crate::dynamo::attributes::text;
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamo::attributes::{AttributeValue, text};
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

    /// The item that counting leaves of these slots.
    fn item(rollup: &Rollup, slots: &Slots) -> Item {
        let (pk, sk) = rollup.key();
        let mut item = key_item(&pk, &sk);
        item.insert("later".to_owned(), text("an attribute of later code"));
        let mut numbers = counters(rollup.series, slots);
        numbers.extend(last_seen(rollup, slots));
        item.extend(
            numbers
                .into_iter()
                .map(|(name, number)| (name, AttributeValue::N(number))),
        );
        item
    }

    /// Every counter in every slot, with weights that are not 1.
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
    fn an_item_says_what_was_counted() {
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

    /// Sizes as DynamoDB counts them: the bytes of names and texts, and of a number one for every two
    /// digits and one more (docs.aws.amazon.com/amazondynamodb/latest/developerguide/
    /// CapacityUnitCalculations.html), here one for a sign too.
    #[test]
    fn the_busiest_item_is_one_write_unit() {
        let mut rollup = rollup(Series::Minutes);
        rollup.workspace = Workspace::parse(&"w".repeat(16)).unwrap();
        rollup.value = "v".repeat(40);
        // 100 votes a second, over all values and ratings alike.
        let mut item = item(&rollup, &full(&rollup, 100 * 120 / 26));
        item.remove("later");
        item.insert(schema::ATTRIBUTE.to_owned(), AttributeValue::N("2".to_owned()));
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
    fn keys_come_back() {
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
