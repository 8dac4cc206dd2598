//! Records of other systems, and of an export, as feedback.
//!
//! Each system has a parser of its records. It reads a record from JSON, with the types that the API's bodies are read
//! with, and names every field at fault. A row of a CSV file becomes such JSON first ([`columns`]).
//!
//! A record keeps its times. One of an export keeps its id; the id of another system's record is derived from the one
//! that it has there, so that a second import finds it.

pub mod columns;
mod hindsight;
mod langfuse;
mod mapped;
mod open_webui;

use std::time::Duration;

use crate::feedback::{Draft, Feedback};
use crate::fields::{Fields, FromJson, JsonRef, Object, Refusal, document, scalar_text, string};
use crate::id::{FeedbackId, Workspace};
use crate::indexed::MAX_INDEXED;
use crate::metadata::Metadata;
use crate::problem::Fault;
use crate::score::{Rating, Score, Value, Weight};
use crate::stats::rebuild::CLOCK_SKEW;
use crate::timestamp::Timestamp;

/// The system that a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// An export of this service: JSON Lines or CSV.
    Hindsight,
    /// Scores of Langfuse: responses of its API, or an export of its table of scores as JSON, JSON Lines or CSV.
    Langfuse,
    /// Feedback of Open WebUI: the JSON that its administrators export.
    OpenWebui,
    /// Any CSV file, with a map of its columns.
    Csv,
}

impl System {
    /// The name, of which ids are derived.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hindsight => "hindsight",
            Self::Langfuse => "langfuse",
            Self::OpenWebui => "open-webui",
            Self::Csv => "csv",
        }
    }

    /// The field with the creation time.
    fn creation(self) -> &'static str {
        match self {
            Self::Langfuse => "timestamp",
            Self::Hindsight | Self::OpenWebui | Self::Csv => "created_at",
        }
    }
}

/// How a number of Langfuse's is read, which has no fixed range there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numeric {
    /// As a value: an integer from −10 to 10.
    #[default]
    Value,
    /// As a rating: an integer from 1 to 5.
    Rating,
    /// As a thumb: 1 is up, 0 and −1 are down.
    Thumbs,
}

/// How records are read.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// The system that they come from.
    pub system: System,
    /// The workspace that they go to.
    pub workspace: &'a Workspace,
    /// The metadata field that stands for `_user` in upserted records of an export, as in
    /// [`Upserts`](crate::access::Upserts).
    pub user_field: Option<&'a str>,
    /// How Langfuse's numbers are read.
    pub numeric: Numeric,
    /// How long feedback is kept; `None` means forever.
    pub retention: Option<Duration>,
    /// The current time, which no record may be later than.
    pub now: Timestamp,
}

impl Reading<'_> {
    /// Reads one record from its JSON.
    ///
    /// # Errors
    ///
    /// Every fault of the record. They quote no text of it.
    pub fn record(&self, json: &str) -> Result<Feedback, Vec<Fault>> {
        let object = Object::parse(json).map_err(|rest| vec![Fault::new("record", rest)])?;
        let mut record = match self.system {
            System::Hindsight => hindsight::record(object, self),
            System::Langfuse => langfuse::record(object, self),
            System::OpenWebui => open_webui::record(object, self),
            System::Csv => mapped::record(object, self),
        }?;
        let created_at = record.id.created_at();
        if created_at > self.now + CLOCK_SKEW {
            let rest = format!("expected a time before now, got {created_at}");
            return Err(vec![Fault::new(self.system.creation(), rest)]);
        }
        record.expires_at = self.retention.map(|keep| (created_at + keep).seconds());
        Ok(record)
    }

    /// A record of another system.
    fn derived(&self, theirs: &Theirs, draft: Draft) -> Feedback {
        Feedback {
            workspace: self.workspace.clone(),
            id: FeedbackId::derive(theirs.created_at, self.system.name(), self.workspace, &theirs.id),
            draft,
            written_by: None,
            updated_at: theirs
                .updated_at
                .unwrap_or(theirs.created_at)
                .max(theirs.created_at),
            version: 1,
            expires_at: None,
        }
    }
}

/// What identifies a record of another system.
struct Theirs {
    id: String,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
}

/// A text that lists can filter by, or another system's id.
struct Label(String);

impl FromJson for Label {
    const EXPECTED: &str = "a string of 1 to 512 bytes";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        let text = scalar_text(json).ok_or(Refusal::Mismatch)?;
        (1..=MAX_INDEXED)
            .contains(&text.len())
            .then_some(Self(text))
            .ok_or(Refusal::Mismatch)
    }
}

/// A time as text.
struct Moment(Timestamp);

impl FromJson for Moment {
    const EXPECTED: &str = "an ISO 8601 date and time";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        Timestamp::parse(&string(json)?)
            .map(Self)
            .ok_or(Refusal::Mismatch)
    }
}

/// Reads `value` and `weight`, or `rating`.
fn score(fields: &mut Fields<'_>) -> Option<Score> {
    let value = fields.optional::<Value>("value");
    let weight = fields.optional::<Weight>("weight");
    let rating = fields.optional::<Rating>("rating");
    match (fields.raw("value").is_some(), fields.raw("rating").is_some()) {
        (true, false) => value.map(|value| Score::Value(value, weight.unwrap_or(Weight::DEFAULT))),
        (false, true) => rating.map(Score::Rating),
        _ => {
            fields.fault(Fault::new("value", "expected either value or rating"));
            None
        }
    }
}

/// The fields of a nested object; `None` if it is absent or `null`, or after recording a fault.
fn nested<'a>(fields: &mut Fields<'a>, name: &'static str) -> Option<Fields<'a>> {
    let json = fields.raw(name)?;
    match Object::from_json(json) {
        Ok(object) => Some(Fields::new(object)),
        Err(rest) => {
            fields.fault(Fault::new(name, rest));
            None
        }
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A JSON object of these members, whose values are JSON.
fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", quoted(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Reads metadata from the object that the record has, if any, to the letter, followed by members that it lacks.
fn metadata(
    fields: &mut Fields<'_>,
    base: Option<JsonRef<'_>>,
    mut members: Vec<(String, String)>,
) -> Option<Metadata> {
    let mut text = String::new();
    if let Some(base) = base {
        match Object::from_json(base) {
            Ok(known) => {
                members.retain(|(name, _)| known.get(name).is_none());
                text = base.get().to_owned();
            }
            Err(rest) => {
                fields.fault(Fault::new("metadata", rest));
                return None;
            }
        }
    }
    if !members.is_empty() {
        let more = object(&members);
        text = match text.trim_end_matches('}').trim_end() {
            // Without members of its own.
            "" | "{" => more,
            _ => format!("{},{}", &text[..text.len() - 1], &more[1..]),
        };
    }
    if text.is_empty() {
        return None;
    }
    match document(&text) {
        Ok(json) => fields.take("metadata", json),
        Err(rest) => {
            fields.fault(Fault::new("metadata", rest));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_its_letters_and_gets_the_members_that_it_lacks() {
        let read = |base: Option<&str>, members: &[(&str, &str)]| {
            let mut fields = Fields::new(Object::parse("{}").unwrap());
            let members = members
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let read = metadata(
                &mut fields,
                base.map(|text| document(text).unwrap()),
                members.collect(),
            );
            read.map(|metadata| metadata.json().to_owned())
        };
        let own = r#"{ "a" : 1.50, "_user":"x" , "b":{}}"#;
        assert_eq!(read(Some(own), &[]).as_deref(), Some(own));
        assert_eq!(
            read(Some(own), &[("_user", "\"y\""), ("_name", "\"n\"")]).as_deref(),
            Some(r#"{ "a" : 1.50, "_user":"x" , "b":{},"_name":"n"}"#)
        );
        for empty in ["{}", "{ }", "{\n}"] {
            assert_eq!(read(Some(empty), &[]).as_deref(), Some(empty));
            assert_eq!(read(Some(empty), &[("k", "1")]).as_deref(), Some("{\"k\":1}"));
        }
        assert_eq!(
            read(Some(r#"{"a":{}}"#), &[("k", "1")]).as_deref(),
            Some(r#"{"a":{},"k":1}"#)
        );
        assert_eq!(read(None, &[]), None);
        assert_eq!(read(None, &[("k", "{}")]).as_deref(), Some(r#"{"k":{}}"#));
    }
}
