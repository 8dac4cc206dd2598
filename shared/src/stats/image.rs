//! The counted parts of a record's state.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;

use super::dimension::Dimension;
use super::generation::Generation;
use super::rollup::{Rollup, Slots};
use super::tally::Tally;
use crate::dynamo::attributes::{AttributeValue, Item};
use crate::feedback::Feedback;
use crate::id::{FeedbackId, Workspace};
use crate::indexed::{Field, Indexed};
use crate::metadata::{self, Metadata};
use crate::reasons::Reasons;
use crate::schema;
use crate::score::Score;
use crate::store::item::STORED_AT;
use crate::store::keys::{self, Owner};
use crate::timestamp::Timestamp;

/// An attribute in a stream record. Other types are ignored, and all the same.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub enum StreamAttribute {
    /// A string.
    S(String),
    /// A number.
    N(String),
    /// Bytes, in base64.
    B(String),
    /// Any other type.
    #[serde(untagged)]
    Other(serde::de::IgnoredAny),
}

/// The state of a `feedback` item in a stream record.
pub type Image = HashMap<String, StreamAttribute>;

/// The generation that an item in the stream was last touched for; 0 if there was none.
pub fn touched_for(image: &Image) -> u32 {
    match image.get("generation") {
        Some(StreamAttribute::N(number)) => number.parse().unwrap_or_default(),
        _ => 0,
    }
}

/// The workspace and id of an item in the stream, of any schema version.
pub fn owner(image: &Image) -> Option<(Workspace, FeedbackId)> {
    let text = |name: &str| match image.get(name) {
        Some(StreamAttribute::S(text)) => Some(text.as_str()),
        _ => None,
    };
    match keys::owner(text("sk")?)? {
        Owner::Plain(workspace, id) => Some((workspace, id)),
        Owner::Upserted(workspace) => Some((workspace, FeedbackId::parse(text("id")?)?)),
    }
}

/// When an item in the stream expires, in seconds since the epoch.
pub fn expires_at(image: &Image) -> Option<u64> {
    match image.get("expires_at") {
        Some(StreamAttribute::N(number)) => number.parse().ok(),
        _ => None,
    }
}

/// The reason why a change cannot be counted. It quotes nothing from the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The record has a schema version that only newer code supports.
    NewerSchema(i64),
    /// The named part is missing or invalid.
    Part(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerSchema(version) => write!(
                f,
                "schema version {version}: expected at most {}",
                schema::FEEDBACK
            ),
            Self::Part(part) => write!(f, "{part}: cannot be read"),
        }
    }
}

/// Converts a state in a stream record to the item that it is of. An attribute of a type that no record is read from
/// becomes a null, which is there and cannot be read.
pub fn to_item(image: &Image) -> Item {
    let attribute = |value: &StreamAttribute| match value {
        StreamAttribute::S(text) => AttributeValue::S(text.clone()),
        StreamAttribute::N(number) => AttributeValue::N(number.clone()),
        StreamAttribute::B(_) | StreamAttribute::Other(_) => AttributeValue::Null(true),
    };
    let attributes = image.iter().map(|(name, value)| (name.clone(), attribute(value)));
    attributes.collect()
}

/// Why an item that cannot be read cannot be read.
pub fn unreadable(item: &Item) -> Unreadable {
    match Counted::from_item(item) {
        Err(reason) => reason,
        // What is not counted.
        Ok(_) => Unreadable::Part("record"),
    }
}

/// The counted parts of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The workspace.
    pub workspace: Workspace,
    /// The id, which contains the creation time.
    pub id: FeedbackId,
    /// The score.
    pub score: Score,
    /// The record's value in each dimension that it has one for.
    pub values: Vec<(Dimension, String)>,
    /// When it was stored: created, or imported.
    pub stored_at: Timestamp,
    /// The generation that it was last touched for.
    pub touched_for: u32,
}

impl Counted {
    /// Reads the counted parts of an item in the stream.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if the item has a newer schema version or is not a valid record.
    pub fn from_image(image: &Image) -> Result<Self, Unreadable> {
        let text = |name: &str| match image.get(name) {
            Some(StreamAttribute::S(text)) => Some(text.as_str()),
            _ => None,
        };
        let number = |name: &str| match image.get(name) {
            Some(StreamAttribute::N(number)) => number.parse().ok(),
            _ => None,
        };
        // A missing version means version 1.
        if image.contains_key(schema::ATTRIBUTE) {
            match number(schema::ATTRIBUTE) {
                Some(version) if version > i64::from(schema::FEEDBACK) => {
                    return Err(Unreadable::NewerSchema(version));
                }
                Some(1..) => {}
                _ => return Err(Unreadable::Part("schema version")),
            }
        }
        let (workspace, id) = match text("sk").and_then(keys::owner) {
            Some(Owner::Plain(workspace, id)) => (workspace, id),
            Some(Owner::Upserted(workspace)) => {
                let id = text("id").and_then(FeedbackId::parse);
                (workspace, id.ok_or(Unreadable::Part("id"))?)
            }
            None => return Err(Unreadable::Part("sort key")),
        };
        let stored_at = match image.get(STORED_AT) {
            None => id.created_at(),
            Some(_) => number(STORED_AT)
                .and_then(|millis| u64::try_from(millis).ok())
                .map(Timestamp::from_millis)
                .ok_or(Unreadable::Part(STORED_AT))?,
        };
        let numeral = |name: &str| match image.get(name) {
            Some(StreamAttribute::N(number)) => Some(number.as_str()),
            _ => None,
        };
        let score = if image.contains_key("rating") {
            Score::of_stored_rating(numeral("rating")).ok_or(Unreadable::Part("rating"))?
        } else {
            Score::of_stored_value(numeral("value"), text("weight"))
                .ok_or(Unreadable::Part("value or weight"))?
        };
        let metadata = match image.get("metadata") {
            Some(StreamAttribute::S(json)) => Some(Metadata::from_stored(json.clone())),
            Some(_) => return Err(Unreadable::Part("metadata")),
            None => None,
        };
        let reasons = text("reasons").map(Reasons::from_stored).unwrap_or_default();
        let mut indexed = metadata
            .as_ref()
            .map(|metadata| metadata.indexed().clone())
            .unwrap_or_default();
        if let Some(user) = text("person") {
            indexed.set(Field::User, user.to_owned());
        }
        let name = text("question").map_or_else(|| metadata::name(metadata.as_ref()), str::to_owned);
        Ok(Self {
            workspace,
            id,
            score,
            values: values(metadata.as_ref(), &indexed, name, &reasons),
            stored_at,
            touched_for: touched_for(image),
        })
    }

    /// Reads the counted parts of an item of the table, as the stream would have it.
    ///
    /// # Errors
    ///
    /// As [`Counted::from_image`].
    pub fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let attribute = |value: &AttributeValue| match value {
            AttributeValue::S(text) => StreamAttribute::S(text.clone()),
            AttributeValue::N(number) => StreamAttribute::N(number.clone()),
            _ => StreamAttribute::Other(serde::de::IgnoredAny),
        };
        let image = item.iter().map(|(name, value)| (name.clone(), attribute(value)));
        Self::from_image(&image.collect())
    }

    /// The counted parts of a record that was never touched and not imported.
    pub fn from_feedback(feedback: &Feedback) -> Self {
        Self {
            workspace: feedback.workspace.clone(),
            id: feedback.id,
            score: feedback.draft.score,
            values: values(
                feedback.draft.metadata.as_ref(),
                &feedback.draft.indexed(),
                feedback.draft.name(),
                &feedback.draft.reasons,
            ),
            stored_at: feedback.id.created_at(),
            touched_for: 0,
        }
    }

    /// The record's tally, with every roll-up and slot that it belongs to in a generation, whether or not
    /// it is counted there. Its creation time decides which.
    pub fn contributions(&self, generation: Generation) -> impl Iterator<Item = (Rollup, u8, Tally)> {
        let created_at = self.id.created_at();
        let tally = Tally::of(self.score, created_at);
        self.values.iter().flat_map(move |(dimension, value)| {
            let tally = tally.clone();
            Rollup::places(generation, &self.workspace, *dimension, value, created_at)
                .map(move |(rollup, slot)| (rollup, slot, tally.clone()))
        })
    }

    /// Adds the record to every roll-up that it belongs to in a generation.
    pub fn add_to(&self, rollups: &mut BTreeMap<Rollup, Slots>, generation: Generation) {
        for (rollup, slot, tally) in self.contributions(generation) {
            *rollups.entry(rollup).or_default().entry(slot).or_default() += &tally;
        }
    }
}

fn values(
    metadata: Option<&Metadata>,
    indexed: &Indexed,
    name: String,
    reasons: &Reasons,
) -> Vec<(Dimension, String)> {
    let mut values = vec![
        (Dimension::All, String::new()),
        (Dimension::Model, metadata::model(metadata)),
    ];
    if !name.is_empty() {
        values.push((Dimension::Name, name));
    }
    values.extend(
        reasons
            .iter()
            .map(|reason| (Dimension::Reason, reason.to_owned())),
    );
    let fields = indexed.iter();
    values.extend(fields.map(|(field, text)| (Dimension::Field(field), text.to_owned())));
    values
}
