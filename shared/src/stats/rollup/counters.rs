//! The counters of a roll-up as attributes of its item.

use std::collections::BTreeMap;

use super::{Rollup, Slots};
use crate::dynamo::attributes::Item;
use crate::stats::decimal::Decimal;
use crate::stats::series::Series;
use crate::stats::tally::Tally;
use crate::timestamp::Timestamp;

/// A counter of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Value(i64),
    Rating(i64),
    /// The sum of weights. In an item with several slots, only the excess over 1 per value.
    Weight,
    /// The sum of value × weight. In an item with several slots, only the excess over the sum of values.
    Weighted,
    /// When the latest record was created. In an item with several slots, relative to the slot's start.
    LastSeen,
}

/// The names of counters in a series.
impl Series {
    /// The attribute of a counter. An item with one slot has plain names. With several slots, names have
    /// two characters, because names and numbers must keep the item below 1 KB. The first is the slot in
    /// base 36. The second is `A` to `J` for the values 1 to 10, `a` to `j` for −1 to −10, `Z` for 0, `1`
    /// to `5` for the ratings, `w` and `x` for the two sums, which are absent if all weights are 1, and `t`
    /// for the time.
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

    /// Parses an attribute's name into slot and counter. Returns `None` for other attributes.
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

/// The numbers to add to a roll-up's attributes, without zeros.
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

/// The creation times of each slot's latest record, to be set as attributes of a roll-up.
pub fn last_seen(rollup: &Rollup, slots: &Slots) -> BTreeMap<String, String> {
    let seen = slots.iter().filter_map(|(slot, tally)| {
        let since = tally.last_seen?.millis() - origin(rollup, *slot);
        let name = rollup.series.attribute(*slot, Counter::LastSeen);
        Some((name, since.to_string()))
    });
    seen.collect()
}

/// The time that a slot's latest creation time is relative to, in milliseconds since the epoch.
fn origin(rollup: &Rollup, slot: u8) -> u64 {
    if rollup.series.slots() == 1 {
        return 0;
    }
    rollup.series.slot_start(rollup.start, slot).millis()
}

/// The sums that a slot would have if all weights were 1, for series that store only the excess; otherwise
/// zero.
fn unweighted(series: Series, tally: &Tally) -> (Decimal, Decimal) {
    if series.slots() == 1 {
        return (Decimal::ZERO, Decimal::ZERO);
    }
    let values: i64 = tally.by_value().map(|(value, count)| value * count).sum();
    (Decimal::from(tally.count()), Decimal::from(values))
}

/// Reads the slots of an item. A missing counter is zero. Returns `None` if a counter is invalid, which is
/// a defect because only this service writes the table.
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
