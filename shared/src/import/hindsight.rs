//! Records of an export: those of `GET /v1/feedback/{id}`, and the rows of the CSV.

use super::{Label, Moment, Reading, score};
use crate::access::key::KeyId;
use crate::feedback::{Draft, Feedback};
use crate::fields::{Fields, FromJson, JsonRef, Object, Refusal, scalar_text, string};
use crate::id::FeedbackId;
use crate::metadata::{self, Comment, Metadata};
use crate::person::Person;
use crate::problem::Fault;
use crate::reasons::Reasons;
use crate::target::{Project, SpanId, Target, TraceId};

/// Members that follow from others.
const DERIVED: [&str; 7] = [
    "feedback_target_id",
    "scale",
    "session",
    "prompt",
    "organisation",
    "environment",
    "model",
];

struct Id(FeedbackId);

impl FromJson for Id {
    const EXPECTED: &str = FeedbackId::EXPECTED;

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        FeedbackId::parse(&string(json)?)
            .map(Self)
            .ok_or(Refusal::Mismatch)
    }
}

struct Version(u64);

impl FromJson for Version {
    const EXPECTED: &str = "an integer from 1";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        let number = scalar_text(json).and_then(|text| text.parse().ok());
        number
            .filter(|version| *version > 0)
            .map(Self)
            .ok_or(Refusal::Mismatch)
    }
}

struct Writer(KeyId);

impl FromJson for Writer {
    const EXPECTED: &str = "hsk_ and 16 hex digits";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        KeyId::parse(&string(json)?).map(Self).ok_or(Refusal::Mismatch)
    }
}

/// Reads a record of an export. Nothing of it may be left out, so an unknown member is a fault.
pub(super) fn record(object: Object<'_>, reading: &Reading<'_>) -> Result<Feedback, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let id = fields.required::<Id>("id");
    let trace = fields.required::<TraceId>("trace_id");
    let span = fields.optional::<SpanId>("span_id");
    let project = fields.optional::<Project>("tracing_project_fqn");
    let score = score(&mut fields);
    let comment = fields.optional::<Comment>("comment");
    let reasons = fields.optional::<Reasons>("reasons").unwrap_or_default();
    let metadata = fields.optional::<Metadata>("metadata");
    let written_by = fields.optional::<Writer>("written_by").map(|Writer(key)| key);
    let created_at = fields.required::<Moment>("created_at");
    let updated_at = fields.required::<Moment>("updated_at");
    let version = fields.required::<Version>("version");
    // Only the CSV has them. Of an upserted record they say more than the metadata may.
    let user = fields.optional::<Label>("user").map(|Label(text)| text);
    let name = fields.optional::<Label>("name").map(|Label(text)| text);
    for name in DERIVED {
        fields.has(name);
    }
    for name in fields.unknown() {
        fields.fault(Fault::new(name, "unknown field"));
    }
    let mut person = None;
    if let Some(Id(id)) = &id {
        if let Some(Moment(created_at)) = created_at
            && id.created_at() != created_at
        {
            let rest = format!(
                "expected {}, the time in the id, got {created_at}",
                id.created_at()
            );
            fields.fault(Fault::new("created_at", rest));
        }
        if id.is_upserted() {
            person = self::person(*id, user, name, metadata.as_ref(), reading.user_field);
            if person.is_none() {
                fields.fault(Fault::new(
                    "user",
                    "expected whose only vote it is, got metadata that does not say so: give --user-field, or import \
                     a CSV export, which has the column user",
                ));
            }
        }
    }
    let record = (|| {
        let (Id(id), trace) = (id?, trace?);
        Some(Feedback {
            workspace: reading.workspace.clone(),
            id,
            draft: Draft {
                target: Target::new(trace, span),
                project,
                score: score?,
                comment,
                reasons,
                metadata,
                person,
            },
            written_by,
            updated_at: updated_at?.0,
            version: version?.0,
            expires_at: None,
        })
    })();
    fields.finish(record)
}

/// Whose only vote an upserted record is. The last byte of its id is of the person's hash.
fn person(
    id: FeedbackId,
    user: Option<String>,
    name: Option<String>,
    metadata: Option<&Metadata>,
    user_field: Option<&str>,
) -> Option<Person> {
    let person = Person {
        user: user.or_else(|| metadata?.user(user_field))?,
        name: name.unwrap_or_else(|| metadata::name(metadata)),
    };
    (person.hash()[31] == id.as_bytes()[15]).then_some(person)
}
