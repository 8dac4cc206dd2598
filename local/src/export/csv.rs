//! CSV as in RFC 4180: CRLF after each record, quotes where they are needed.

use csv::{Terminator, WriterBuilder};
use shared::feedback::Feedback;
use shared::indexed::Field;
use shared::metadata::{Comment, model};
use shared::score::Score;
use shared::target::{Project, SpanId};

/// The columns, in their order. docs/export.md describes them.
pub(super) const COLUMNS: [&str; 22] = [
    "id",
    "trace_id",
    "span_id",
    "tracing_project_fqn",
    "scale",
    "value",
    "weight",
    "rating",
    "comment",
    "reasons",
    "name",
    "user",
    "session",
    "prompt",
    "organisation",
    "environment",
    "model",
    "metadata",
    "written_by",
    "created_at",
    "updated_at",
    "version",
];

/// The line with the names of the columns.
pub(super) fn head() -> Vec<u8> {
    line(&COLUMNS.map(str::to_owned))
}

/// The line of a record.
pub(super) fn row(feedback: &Feedback) -> Vec<u8> {
    let draft = &feedback.draft;
    let (value, weight, rating) = match draft.score {
        Score::Value(value, weight) => (value.get().to_string(), number(weight.get()), String::new()),
        Score::Rating(rating) => (String::new(), String::new(), rating.get().to_string()),
    };
    let indexed = draft.indexed();
    let field = |field| indexed.get(field).unwrap_or_default().to_owned();
    line(&[
        feedback.id.hyphenated(),
        draft.target.trace().as_str().to_owned(),
        draft
            .target
            .span()
            .map(SpanId::as_str)
            .unwrap_or_default()
            .to_owned(),
        draft
            .project
            .as_ref()
            .map(Project::as_str)
            .unwrap_or_default()
            .to_owned(),
        draft.score.scale().to_owned(),
        value,
        weight,
        rating,
        draft
            .comment
            .as_ref()
            .map(Comment::as_str)
            .unwrap_or_default()
            .to_owned(),
        draft.reasons.to_stored(),
        draft.name(),
        field(Field::User),
        field(Field::Session),
        field(Field::Prompt),
        field(Field::Organisation),
        field(Field::Environment),
        model(draft.metadata.as_ref()),
        draft
            .metadata
            .as_ref()
            .map_or_else(String::new, |metadata| metadata.json().to_owned()),
        feedback
            .written_by
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        feedback.id.created_at().to_string(),
        feedback.updated_at.to_string(),
        feedback.version.to_string(),
    ])
}

/// A number as JSON has it: 1.0, and not 1.
fn number(number: f64) -> String {
    serde_json::to_string(&number).unwrap_or_default()
}

fn line(cells: &[String; COLUMNS.len()]) -> Vec<u8> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .buffer_capacity(1_024)
        .from_writer(Vec::new());
    // Writing to memory does not fail, and all lines have as many cells.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_indexed_field_has_a_column() {
        for field in Field::ALL {
            assert!(COLUMNS.contains(&field.name()), "{field:?}");
        }
    }
}
