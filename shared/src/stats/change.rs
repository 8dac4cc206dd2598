//! Changes of the feedback table, as its stream delivers them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::generation::{Generation, Generations};
use super::image::{Counted, Image, Unreadable, expires_at, owner, touched_for};
use super::rollup::{Rollup, Slots};
use super::tally::Tally;
use crate::id::{FeedbackId, Workspace};
use crate::store::item::STORED_AT;
use crate::timestamp::Timestamp;

/// One record of the stream. It can be read even if the change in it cannot.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    /// The record's position in its shard.
    pub sequence_number: SequenceNumber,
    /// When the change happened, rounded down to the second; the epoch if the record does not say.
    pub happened_at: Timestamp,
    /// The change, or why it cannot be read.
    pub change: Result<Change, Unreadable>,
    json: Box<RawValue>,
}

/// A change: the states of a feedback record before and after it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
    /// The state after the change; `None` after a delete.
    pub new_image: Option<Image>,
    /// The state before the change; `None` before a create.
    pub old_image: Option<Image>,
}

impl<'de> Deserialize<'de> for StreamRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Record<T> {
            dynamodb: T,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Place {
            #[serde(default)]
            approximate_creation_date_time: f64,
            sequence_number: SequenceNumber,
        }
        let json = Box::<RawValue>::deserialize(deserializer)?;
        // serde's own error would quote the record.
        let place: Record<Place> = serde_json::from_str(json.get())
            .map_err(|_| serde::de::Error::custom("a record without a sequence number"))?;
        let change = serde_json::from_str::<Record<Change>>(json.get());
        Ok(Self {
            sequence_number: place.dynamodb.sequence_number,
            happened_at: Timestamp::from_seconds(place.dynamodb.approximate_creation_date_time),
            change: change
                .map(|record| record.dynamodb)
                .map_err(|_| Unreadable::Part("images")),
            json,
        })
    }
}

/// The counts that a change adds to each roll-up's slots, without zeros.
pub type Difference = BTreeMap<Rollup, Slots>;

impl StreamRecord {
    /// The record's JSON, unchanged.
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// Whether an imported record is there after the change.
    pub fn is_imported(&self) -> bool {
        let new = self
            .change
            .as_ref()
            .ok()
            .and_then(|change| change.new_image.as_ref());
        new.is_some_and(|image| image.contains_key(STORED_AT))
    }

    /// The record that the change deleted; `None` if it deleted none, or an expired one: no import stores what has
    /// expired.
    pub fn deleted(&self) -> Option<(Workspace, FeedbackId)> {
        let change = self.change.as_ref().ok()?;
        let old = change.old_image.as_ref()?;
        let (workspace, id) = owner(old)?;
        let is_there = change
            .new_image
            .as_ref()
            .and_then(owner)
            .is_some_and(|(_, new)| new == id);
        let has_expired = expires_at(old).is_some_and(|end| end <= self.happened_at.seconds());
        (!is_there && !has_expired).then_some((workspace, id))
    }

    /// The counts that the change adds in all these generations.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if either state cannot be read.
    pub fn difference(&self, generations: Generations) -> Result<Difference, Unreadable> {
        let mut difference = Difference::new();
        for side in self.change.as_ref().map_err(Clone::clone)?.sides() {
            let (counted, sign) = (side.counted?, side.sign);
            add(&mut difference, &counted, sign, generations.counted());
        }
        difference.retain(|_, slots| {
            slots.retain(|_, tally| !tally.is_zero());
            !slots.is_empty()
        });
        Ok(difference)
    }

    /// The counts that the readable states of the change add in one generation. They are missing there
    /// while the change is parked.
    pub fn readable_difference(&self, generation: Generation) -> Difference {
        let mut difference = Difference::new();
        for side in self.change.iter().flat_map(Change::sides) {
            if let Ok(counted) = side.counted {
                add(&mut difference, &counted, side.sign, std::iter::once(generation));
            }
        }
        difference
    }
}

fn add(
    difference: &mut Difference,
    counted: &Counted,
    sign: fn(Tally) -> Tally,
    generations: impl Iterator<Item = Generation>,
) {
    for generation in
        generations.filter(|generation| generation.counts(counted.touched_for, counted.stored_at))
    {
        for (rollup, slot, tally) in counted.contributions(generation) {
            *difference.entry(rollup).or_default().entry(slot).or_default() += &sign(tally);
        }
    }
}

/// One state of a change, to be added or subtracted.
struct Side {
    counted: Result<Counted, Unreadable>,
    sign: fn(Tally) -> Tally,
}

impl Change {
    /// The states of the change: the new one is added, the old one subtracted.
    fn sides(&self) -> impl Iterator<Item = Side> {
        let side = |image: &Option<Image>, sign: fn(Tally) -> Tally| {
            let counted = Counted::from_image(image.as_ref()?);
            Some(Side { counted, sign })
        };
        let sides = [
            side(&self.new_image, |tally| tally),
            side(&self.old_image, |tally| -tally),
        ];
        sides.into_iter().flatten()
    }

    /// Whether the change is a rebuild's touch, which sets a generation's number on a record.
    pub fn touches(&self, generation: u32) -> bool {
        let is_touched = |image: &Option<Image>| image.as_ref().map(|image| touched_for(image) >= generation);
        is_touched(&self.old_image) == Some(false) && is_touched(&self.new_image) == Some(true)
    }
}

/// The position of a change in its shard: a decimal number of up to 40 digits.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub struct SequenceNumber(pub String);

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let digits = |number: &Self| number.0.trim_start_matches('0').to_owned();
        let (one, two) = (digits(self), digits(other));
        (one.len(), one).cmp(&(two.len(), two))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_ordered_as_numbers() {
        let number = |text: &str| SequenceNumber(text.to_owned());
        assert!(number("9") < number("10"));
        assert!(number("09") < number("10"));
        assert!(number("400000000000000499660") < number("4000000000000004996601"));
    }

    #[test]
    fn a_record_is_read_even_if_its_change_cannot_be() {
        let read = |json: &str| serde_json::from_str::<StreamRecord>(json);
        let json =
            r#"{"dynamodb":{"SequenceNumber":"7","NewImage":"no image","ApproximateCreationDateTime":12}}"#;
        let record = read(json).unwrap();
        assert_eq!(record.sequence_number, SequenceNumber("7".to_owned()));
        assert_eq!(record.happened_at, Timestamp::from_millis(12_000));
        assert_eq!(record.json(), json);
        assert_eq!(
            record.difference(Generations::NEWEST),
            Err(Unreadable::Part("images"))
        );
        let error = read(r#"{"dynamodb":{"NewImage":{"comment":{"S":"secret"}}}}"#).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
