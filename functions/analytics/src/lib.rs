//! Answers Portkey's feedback analytics: `/v1/analytics/graphs/…` and `/v1/analytics/groups/…`.

use std::sync::Arc;

use shared::dialect::analytics::{self, Question, member};
use shared::feedback::Feedback;
use shared::http::{Call, Reply};
use shared::problem::Problem;
use shared::stats::image::model;
use shared::stats::read::{Cells, Reader, Slice};
use shared::stats::rollup::Dimension;

/// Answers a GET of any of the routes.
pub async fn handle(reader: Arc<Reader>, call: Call) -> Result<Reply, Problem> {
    let question = Question::parse(call.query(), call.workspace())?;
    // Read before the counts: what is counted in between is in them and not yet promised.
    let as_of = reader.counted_to().await?;
    let body = match call.route.path.rsplit('/').next() {
        Some("feedbacks") => analytics::render_feedbacks(&graph(&reader, &call, &question).await?, as_of),
        Some("scores" | "score") => analytics::render_scores(&graph(&reader, &call, &question).await?, as_of),
        Some("weighted") => analytics::render_weighted(&graph(&reader, &call, &question).await?, as_of),
        Some("ai-models") => {
            let cells = groups(&reader, &call, &question, "_model").await?;
            analytics::render_models(&cells, &question, as_of)
        }
        _ => {
            let cells = groups(&reader, &call, &question, call.id()).await?;
            analytics::render_groups(&cells, &question, as_of)
        }
    };
    Ok(Reply::new(body))
}

fn slice<'a>(call: &'a Call, question: &'a Question) -> Slice<'a> {
    Slice {
        workspace: call.workspace(),
        range: question.range,
        buckets: question.buckets(),
        filter: &question.filter,
        now: call.now,
    }
}

/// The counts by time.
async fn graph(reader: &Reader, call: &Call, question: &Question) -> Result<Cells, Problem> {
    if question.matches_nothing() {
        return Ok(Cells::new());
    }
    let slice = slice(call, question);
    match question.dimension() {
        Some((dimension, values)) => reader.by_dimension(&slice, dimension, values.as_deref()).await,
        None => {
            let value = |record: &Feedback| question.admits(record).then(String::new);
            reader.by_record(&slice, value).await
        }
    }
}

/// The counts by a metadata field: from roll-ups, where the field has them and the filter is about
/// nothing else.
async fn groups(reader: &Reader, call: &Call, question: &Question, field: &str) -> Result<Cells, Problem> {
    if question.matches_nothing() {
        return Ok(Cells::new());
    }
    let slice = slice(call, question);
    let by = Dimension::of_field(field);
    if let (Some(by), Some((dimension, values))) = (by, question.dimension())
        && (dimension == Dimension::All || dimension == by)
    {
        return reader.by_dimension(&slice, by, values.as_deref()).await;
    }
    let value = |record: &Feedback| {
        let metadata = record.draft.metadata.as_ref();
        let value = match by {
            Some(Dimension::Model) => Some(model(metadata)),
            _ => metadata
                .and_then(|metadata| member(metadata.json(), field))
                .filter(|text| !text.is_empty()),
        };
        value.filter(|_| question.admits(record))
    };
    reader.by_record(&slice, value).await
}
