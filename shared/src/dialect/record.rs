//! Rendering a record as JSON: one structure, with each vendor's field names.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::feedback::Feedback;
use crate::fields::JsonRef;
use crate::id::FeedbackId;
use crate::score::Score;
use crate::target::encode_target_id;

/// A dialect's names for the fields that the two vendors call differently.
#[derive(Debug)]
pub struct Spelling {
    pub(super) id: fn(FeedbackId) -> String,
    pub(super) trace_id: &'static str,
    pub(super) span_id: &'static str,
    pub(super) tracing_project_fqn: &'static str,
    pub(super) feedback_target_id: &'static str,
    pub(super) written_by: &'static str,
    pub(super) created_at: &'static str,
    pub(super) updated_at: &'static str,
}

/// A record as JSON: the schemas `PortkeyRecord` and `TrueFoundryRecord` in openapi.yaml.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    feedback: &'a Feedback,
    spelling: &'static Spelling,
}

impl<'a> Record<'a> {
    /// The record with this dialect's names.
    pub(super) fn new(feedback: &'a Feedback, spelling: &'static Spelling) -> Self {
        Self { feedback, spelling }
    }
}

/// A record's metadata, byte for byte. If stored metadata is not a JSON object, it is rendered as a string.
#[derive(Serialize)]
#[serde(untagged)]
enum MetadataJson<'a> {
    Object(JsonRef<'a>),
    Text(&'a str),
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { feedback, spelling } = self;
        let draft = &feedback.draft;
        let (trace, span) = (draft.target.trace(), draft.target.span());
        let (value, weight, rating) = match draft.score {
            Score::Value(value, weight) => (Some(value.get()), Some(weight.get()), None),
            Score::Rating(rating) => (None, None, Some(rating.get())),
        };
        let metadata = draft.metadata.as_ref().map(|metadata| match metadata.object() {
            Some(object) => MetadataJson::Object(object),
            None => MetadataJson::Text(metadata.json()),
        });
        let mut record = serializer.serialize_struct("Record", 16)?;
        record.serialize_field("id", &(spelling.id)(feedback.id))?;
        record.serialize_field(spelling.trace_id, trace.as_str())?;
        record.serialize_field(spelling.span_id, &span.map(super::super::target::SpanId::as_str))?;
        record.serialize_field(
            spelling.tracing_project_fqn,
            &draft.project.as_ref().map(super::super::target::Project::as_str),
        )?;
        match span {
            Some(span) => {
                record.serialize_field(spelling.feedback_target_id, &encode_target_id(trace, span))?;
            }
            None => record.skip_field(spelling.feedback_target_id)?,
        }
        record.serialize_field("scale", draft.score.scale())?;
        record.serialize_field("value", &value)?;
        record.serialize_field("weight", &weight)?;
        record.serialize_field("rating", &rating)?;
        record.serialize_field(
            "comment",
            &draft
                .comment
                .as_ref()
                .map(super::super::metadata::Comment::as_str),
        )?;
        record.serialize_field("reasons", &draft.reasons.iter().collect::<Vec<_>>())?;
        record.serialize_field("metadata", &metadata)?;
        match &feedback.written_by {
            Some(key) => record.serialize_field(spelling.written_by, &key.to_string())?,
            None => record.skip_field(spelling.written_by)?,
        }
        record.serialize_field(spelling.created_at, &feedback.id.created_at().to_string())?;
        record.serialize_field(spelling.updated_at, &feedback.updated_at.to_string())?;
        record.serialize_field("version", &feedback.version)?;
        record.end()
    }
}
