//! What one state of a record counts for.

use std::collections::HashMap;

use serde::Deserialize;

use super::rollup::{Dimension, Rollup};
use super::tally::Tally;
use crate::feedback::Feedback;
use crate::fields::{Kind, Object, string};
use crate::id::{FeedbackId, Workspace};
use crate::metadata::{MAX_INDEXED, Metadata};
use crate::schema;
use crate::score::{Rating, Score, Value, Weight};
use crate::store::keys;

/// What is counted where no model was said.
pub const UNKNOWN: &str = "unknown";

/// An attribute of a stream record, as far as it is needed.
#[derive(Clone, Debug, Deserialize)]
pub enum StreamAttribute {
    /// Text.
    S(String),
    /// A number.
    N(String),
    /// Bytes, in base64.
    B(String),
    /// What nobody reads here.
    #[serde(untagged)]
    Other(serde::de::IgnoredAny),
}

/// An item of the table `feedback`, as the stream shows it.
pub type Image = HashMap<String, StreamAttribute>;

/// The generation that an item in the stream bears the number of; 0 if it bears none.
pub fn mark(image: &Image) -> u32 {
    match image.get("generation") {
        Some(StreamAttribute::N(number)) => number.parse().unwrap_or_default(),
        _ => 0,
    }
}

/// The counted side of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Whose.
    pub workspace: Workspace,
    /// Which, and since when.
    pub id: FeedbackId,
    /// The judgement.
    pub score: Score,
    /// Its values by dimension.
    pub values: Vec<(Dimension, String)>,
    /// The generation that it bears the number of.
    pub mark: u32,
}

impl Counted {
    /// The counted side of an item in the stream. `None` for an item that cannot be read, or is of
    /// a newer form.
    pub fn from_image(image: &Image) -> Option<Self> {
        let text = |name: &str| match image.get(name) {
            Some(StreamAttribute::S(text)) => Some(text.as_str()),
            _ => None,
        };
        let number = |name: &str| match image.get(name) {
            Some(StreamAttribute::N(number)) => number.parse().ok(),
            _ => None,
        };
        // Where there is none it is the first.
        if image.contains_key(schema::ATTRIBUTE)
            && !(1..=i64::from(schema::FEEDBACK)).contains(&number(schema::ATTRIBUTE)?)
        {
            return None;
        }
        let (workspace, id) = keys::owner(text("sk")?)?;
        let score = if image.contains_key("rating") {
            Score::Rating(Rating::new(number("rating")?)?)
        } else {
            Score::Value(
                Value::new(number("value")?)?,
                Weight::new(text("weight")?.parse().ok()?)?,
            )
        };
        let metadata = match text("metadata") {
            Some(json) => Some(Metadata::from_stored(json.to_owned())?),
            None => None,
        };
        Some(Self {
            workspace,
            id,
            score,
            values: values(metadata.as_ref()),
            mark: mark(image),
        })
    }

    /// The counted side of a record.
    pub fn from_feedback(feedback: &Feedback) -> Self {
        Self {
            workspace: feedback.workspace.clone(),
            id: feedback.id,
            score: feedback.draft.score,
            values: values(feedback.draft.metadata.as_ref()),
            mark: 0,
        }
    }

    /// What it adds to which roll-ups of a generation, be it counted there or not: those of the hour
    /// and day it was created in.
    pub fn contributions(&self, generation: u32) -> impl Iterator<Item = (Rollup, Tally)> {
        let created_at = self.id.created_at();
        let tally = Tally::of(self.score, created_at);
        self.values.iter().flat_map(move |(dimension, value)| {
            let tally = tally.clone();
            dimension.granularities().iter().map(move |granularity| {
                let rollup = Rollup {
                    generation,
                    workspace: self.workspace.clone(),
                    dimension: *dimension,
                    granularity: *granularity,
                    bucket: granularity.floor(created_at),
                    value: value.clone(),
                };
                (rollup, tally.clone())
            })
        })
    }

    /// Its value by a dimension, if it has one.
    pub fn value(&self, dimension: Dimension) -> Option<&str> {
        self.values
            .iter()
            .find_map(|(known, value)| (*known == dimension).then_some(value.as_str()))
    }
}

fn values(metadata: Option<&Metadata>) -> Vec<(Dimension, String)> {
    let mut values = vec![
        (Dimension::All, String::new()),
        (Dimension::Model, model(metadata)),
    ];
    if let Some(indexed) = metadata.map(Metadata::indexed) {
        let fields = [
            (Dimension::User, &indexed.user),
            (Dimension::Organisation, &indexed.organisation),
            (Dimension::Prompt, &indexed.prompt),
            (Dimension::Environment, &indexed.environment),
        ];
        for (dimension, value) in fields {
            values.extend(value.clone().map(|value| (dimension, value)));
        }
    }
    values
}

/// What the caller put in metadata as `_model` or `ai_model`, as text; [`UNKNOWN`] where it is
/// neither, or no text of 1 to 512 bytes.
pub fn model(metadata: Option<&Metadata>) -> String {
    let read = || {
        let object = Object::parse(metadata?.json()).ok()?;
        let json = object.get("_model").or_else(|| object.get("ai_model"))?;
        let text = match Kind::of(json) {
            Kind::String => string(json).ok()?,
            Kind::Number | Kind::Bool => json.get().to_owned(),
            _ => return None,
        };
        (1..=MAX_INDEXED).contains(&text.len()).then_some(text)
    };
    read().unwrap_or_else(|| UNKNOWN.to_owned())
}
