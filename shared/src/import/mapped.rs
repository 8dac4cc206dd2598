//! Rows of any CSV file, by a map of its columns ([`super::columns`]).

use sha2::{Digest as _, Sha256};

use super::columns::{LABELS, METADATA};
use super::{Label, Moment, Reading, Theirs, metadata, quoted, score};
use crate::feedback::{Draft, Feedback};
use crate::fields::{Fields, Object};
use crate::metadata::Comment;
use crate::problem::Fault;
use crate::reasons::Reasons;
use crate::target::{Project, SpanId, Target, TraceId};

/// Reads a row. Columns without a field are kept in the metadata, under their names.
pub(super) fn record(row: Object<'_>, reading: &Reading<'_>) -> Result<Feedback, Vec<Fault>> {
    let mut whole = Sha256::new();
    let mut kept = Vec::new();
    for (name, json) in row.members() {
        whole.update(name);
        whole.update(json.get());
        if let Some(member) = name.strip_prefix(METADATA) {
            kept.push((member.to_owned(), json.get().to_owned()));
        }
    }
    let mut fields = Fields::new(row);
    let id = fields.optional::<Label>("id").map(|Label(id)| id);
    let trace = fields.required::<TraceId>("trace_id");
    let span = fields.optional::<SpanId>("span_id");
    let project = fields.optional::<Project>("tracing_project_fqn");
    let score = score(&mut fields);
    let comment = fields.optional::<Comment>("comment");
    let reasons = fields.optional::<Reasons>("reasons").unwrap_or_default();
    let created_at = fields.required::<Moment>("created_at");
    let updated_at = fields.optional::<Moment>("updated_at");
    let mut members = Vec::new();
    for (field, member) in LABELS {
        if let Some(Label(text)) = fields.optional::<Label>(field) {
            members.push((member.to_owned(), quoted(&text)));
        }
    }
    members.append(&mut kept);
    let base = fields.raw("metadata");
    let metadata = metadata(&mut fields, base, members);
    let record = (|| {
        let trace = trace?;
        let theirs = Theirs {
            // Without an id, a row is known by all that it says.
            id: id.unwrap_or_else(|| format!("{:x?}", whole.finalize())),
            created_at: created_at?.0,
            updated_at: updated_at.map(|Moment(time)| time),
        };
        let draft = Draft {
            target: Target::new(trace, span),
            project,
            score: score?,
            comment,
            reasons,
            metadata,
            person: None,
        };
        Some(reading.derived(&theirs, draft))
    })();
    fields.finish(record)
}
