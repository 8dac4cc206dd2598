//! Answers Portkey's feedback analytics: `/v1/analytics/graphs/…` and `/v1/analytics/groups/…`.

use std::sync::Arc;

use shared::dialect::analytics::{self, Question, member};
use shared::http::{Call, Reply};
use shared::problem::Problem;
use shared::stats::read::{Counts, Reader, Slice};
use shared::stats::rollup::Dimension;
use shared::store::votes::{Columns, Vote};
use shared::timestamp::Granularity;

/// Answers a GET of any of the routes.
pub async fn handle(reader: Arc<Reader>, call: Call) -> Result<Reply, Problem> {
    let question = Question::parse(call.query(), call.workspace())?;
    let body = match call.route.path.rsplit('/').next() {
        Some("feedbacks") => {
            let counts = graph(&reader, &call, &question, question.buckets()).await?;
            analytics::render_feedbacks(&counts.cells, counts.as_of)
        }
        Some("scores" | "score") => {
            let counts = graph(&reader, &call, &question, Granularity::Day).await?;
            analytics::render_scores(&counts.cells, counts.as_of)
        }
        Some("weighted") => {
            let counts = graph(&reader, &call, &question, question.buckets()).await?;
            analytics::render_weighted(&counts.cells, counts.as_of)
        }
        Some("ai-models") => {
            let counts = groups(&reader, &call, &question, "_model").await?;
            analytics::render_models(&counts.cells, &question, counts.as_of)
        }
        _ => {
            let counts = groups(&reader, &call, &question, call.id()).await?;
            analytics::render_groups(&counts.cells, &question, counts.as_of)
        }
    };
    Ok(Reply::new(body))
}

/// A slice in buckets of this size: days, where the answer is not by time.
fn slice<'a>(call: &'a Call, question: &'a Question, buckets: Granularity) -> Slice<'a> {
    Slice {
        workspace: call.workspace(),
        range: question.range,
        buckets,
        filters: &question.filters,
        now: call.now,
    }
}

/// The counts by time.
async fn graph(
    reader: &Reader,
    call: &Call,
    question: &Question,
    buckets: Granularity,
) -> Result<Counts, Problem> {
    let slice = slice(call, question, buckets);
    if question.matches_nothing() {
        return reader.nothing(&slice).await;
    }
    match question.dimension() {
        Some((dimension, values)) => reader.by_dimension(&slice, dimension, values.as_deref()).await,
        None => {
            let value = |vote: &Vote| question.admits(vote).then(String::new);
            reader.by_record(&slice, question.columns(), value).await
        }
    }
}

/// The counts by a metadata field: from roll-ups, where the field has them and the filter is about
/// nothing else.
async fn groups(reader: &Reader, call: &Call, question: &Question, field: &str) -> Result<Counts, Problem> {
    let slice = slice(call, question, Granularity::Day);
    if question.matches_nothing() {
        return reader.nothing(&slice).await;
    }
    let by = Dimension::of_field(field);
    if let (Some(by), Some((dimension, values))) = (by, question.dimension())
        && (dimension == Dimension::All || dimension == by)
    {
        return reader.by_dimension(&slice, by, values.as_deref()).await;
    }
    let asked = question.columns();
    let columns = Columns {
        indexed: asked.indexed || by.is_some(),
        metadata: asked.metadata || by.is_none_or(|by| by == Dimension::Model),
    };
    let value = |vote: &Vote| {
        let value = match by {
            Some(by) => vote.value(by),
            None => vote
                .metadata
                .as_ref()
                .and_then(|metadata| member(metadata.json(), field))
                .filter(|text| !text.is_empty()),
        };
        value.filter(|_| question.admits(vote))
    };
    reader.by_record(&slice, columns, value).await
}
