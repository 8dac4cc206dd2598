//! The counters of a roll-up as attributes of its item.

use std::collections::BTreeMap;

use super::{Rollup, Slots};
use crate::dynamo::attributes::Item;
use crate::stats::decimal::Decimal;
use crate::stats::series::Series;
use crate::stats::tally::Tally;
use crate::timestamp::Timestamp;

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
pub(super) fn to_slots(rollup: &Rollup, item: &Item) -> Option<Slots> {
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
