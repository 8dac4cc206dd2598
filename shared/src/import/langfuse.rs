//! Langfuse's scores: of `GET /api/public/scores`, `/v2/scores` and `/v3/scores`, and of the export of its table of
//! scores. docs/import.md says where their fields are published.

use super::{Label, Moment, Numeric, Reading, Theirs, metadata, nested, object, quoted};
use crate::feedback::{Draft, Feedback};
use crate::fields::{Fields, FromJson, JsonRef, Kind, Object, Refusal, scalar_text, string};
use crate::metadata::Comment;
use crate::problem::Fault;
use crate::reasons::Reasons;
use crate::score::{Rating, Score, Value, Weight};
use crate::target::{SpanId, Target, TraceId};

/// Members that have a place in a record, or none anywhere.
const MAPPED: [&str; 14] = [
    "id",
    "traceId",
    "observationId",
    "subject",
    "name",
    "value",
    "comment",
    "metadata",
    "timestamp",
    "updatedAt",
    "userId",
    "sessionId",
    "environment",
    "_deprecation",
];

/// A thumb: 1 or `true` is up, 0, −1 or `false` is down.
struct Thumb(Value);

impl FromJson for Thumb {
    const EXPECTED: &str = "1 or true, or 0, -1 or false";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        match scalar_text(json).as_deref() {
            Some("1" | "1.0" | "true" | "True") => Ok(Self(Value::UP)),
            Some("0" | "0.0" | "-1" | "-1.0" | "false" | "False") => Ok(Self(Value::DOWN)),
            _ => Err(Refusal::Mismatch),
        }
    }
}

/// The type of a score, if it is a number or a boolean.
enum DataType {
    Numeric,
    Boolean,
}

impl FromJson for DataType {
    const EXPECTED: &str = "NUMERIC or BOOLEAN";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        match string(json)?.as_str() {
            "NUMERIC" => Ok(Self::Numeric),
            "BOOLEAN" => Ok(Self::Boolean),
            // The other types of Langfuse's. Anything else is not quoted.
            other @ ("CATEGORICAL" | "TEXT" | "CORRECTION") => Err(Refusal::Got(other.to_owned())),
            _ => Err(Refusal::Mismatch),
        }
    }
}

/// What a score is about.
fn target(fields: &mut Fields<'_>) -> Option<Target> {
    let Some(mut subject) = nested(fields, "subject") else {
        let trace = fields.required::<TraceId>("traceId");
        let span = fields.optional::<SpanId>("observationId");
        return trace.map(|trace| Target::new(trace, span));
    };
    let kind = subject.raw("kind").and_then(|json| string(json).ok());
    let target = match kind.as_deref() {
        Some("trace") => subject.required::<TraceId>("id").map(Target::Trace),
        Some("observation") => {
            let (trace, span) = (subject.required("traceId"), subject.required("id"));
            trace.zip(span).map(|(trace, span)| Target::Span(trace, span))
        }
        _ => {
            subject.fault(Fault::new(
                "kind",
                "expected trace or observation, got something else",
            ));
            None
        }
    };
    match subject.finish(target) {
        Ok(target) => Some(target),
        Err(faults) => {
            for fault in crate::fields::within("subject", faults) {
                fields.fault(fault);
            }
            None
        }
    }
}

fn score(fields: &mut Fields<'_>, numeric: Numeric) -> Option<Score> {
    let value = |value| Score::Value(value, Weight::DEFAULT);
    match (fields.required::<DataType>("dataType")?, numeric) {
        (DataType::Boolean, _) | (DataType::Numeric, Numeric::Thumbs) => {
            fields.required("value").map(|Thumb(thumb)| value(thumb))
        }
        (DataType::Numeric, Numeric::Value) => fields.required("value").map(value),
        (DataType::Numeric, Numeric::Rating) => fields.required::<Rating>("value").map(Score::Rating),
    }
}

/// Whether the metadata of a score are those that this service sends: the record is here, or was deleted.
fn is_forwarded(metadata: JsonRef<'_>) -> bool {
    Object::from_json(metadata).is_ok_and(|metadata| {
        let source = metadata.get("source").and_then(scalar_text);
        source.as_deref() == Some("hindsight") && metadata.get("feedback_id").is_some()
    })
}

/// Reads a score. What has no place in a record is kept in the metadata, in `langfuse`.
pub(super) fn record(object_: Object<'_>, reading: &Reading<'_>) -> Result<Feedback, Vec<Fault>> {
    let mut rest: Vec<(String, String)> = object_
        .members()
        .iter()
        .filter(|(name, json)| {
            !MAPPED.contains(&name.as_str()) && name != "trace" && Kind::of(json) != Kind::Null
        })
        .map(|(name, json)| (name.clone(), json.get().to_owned()))
        .collect();
    let mut fields = Fields::new(object_);
    let id = fields.required::<Label>("id");
    let target = target(&mut fields);
    let score = score(&mut fields, reading.numeric);
    let comment = fields.optional::<Comment>("comment");
    let created_at = fields.required::<Moment>("timestamp");
    let updated_at = fields.optional::<Moment>("updatedAt");
    let name = fields.required::<Label>("name");
    // What version 2 of the API says of the trace.
    let mut trace = nested(&mut fields, "trace");
    let mut of_trace = |name: &'static str| trace.as_mut().and_then(|trace| trace.raw(name));
    let user = fields.raw("userId").or_else(|| of_trace("userId"));
    let session = fields.raw("sessionId").or_else(|| of_trace("sessionId"));
    let environment = fields.raw("environment").or_else(|| of_trace("environment"));
    let tags = of_trace("tags");
    let mut members = Vec::new();
    if let Some(Label(name)) = &name {
        members.push(("_name".to_owned(), quoted(name)));
    }
    for (name, json) in [
        ("_user", user),
        ("_session", session),
        ("_environment", environment),
    ] {
        members.extend(json.map(|json| (name.to_owned(), json.get().to_owned())));
    }
    if let Some(tags) = tags {
        rest.push(("traceTags".to_owned(), tags.get().to_owned()));
    }
    let mut base = fields.raw("metadata");
    if let Some(json) = base.filter(|json| Kind::of(json) != Kind::Object) {
        rest.push(("metadata".to_owned(), json.get().to_owned()));
        base = None;
    }
    if base.is_some_and(is_forwarded) {
        fields.fault(Fault::new(
            "metadata.source",
            "expected a score that was not forwarded from here, got hindsight",
        ));
    }
    if !rest.is_empty() {
        members.push(("langfuse".to_owned(), object(&rest)));
    }
    let metadata = metadata(&mut fields, base, members);
    let record = (|| {
        let theirs = Theirs {
            id: id?.0,
            created_at: created_at?.0,
            updated_at: updated_at.map(|Moment(time)| time),
        };
        let draft = Draft {
            target: target?,
            project: None,
            score: score?,
            comment,
            reasons: Reasons::default(),
            metadata,
            person: None,
        };
        Some(reading.derived(&theirs, draft))
    })();
    fields.finish(record)
}
