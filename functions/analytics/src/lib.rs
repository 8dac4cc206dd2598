//! Returns Portkey's feedback analytics: `/v1/analytics/graphs/…` and `/v1/analytics/groups/…`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::analytics::{self, AnalyticsQuery, member};
use shared::http::{self, ApiService, Call, Function, Operation, Reply, Report, Wiring, no_document};
use shared::problem::Problem;
use shared::stats::dimension::Dimension;
use shared::stats::read::{Counts, Reader, Slice};
use shared::store::votes::{Columns, Vote};
use shared::tables::{API_KEYS, FEEDBACK, STATS, Table};
use shared::timestamp::Granularity;

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&FEEDBACK, &API_KEYS, &STATS];

/// Builds the function's service.
///
/// # Errors
///
/// If the configuration lacks the name of a table.
pub fn service(wiring: Wiring) -> Result<ApiService, ConfigError> {
    let reader = Reader::new(wiring.client.clone(), &wiring.config)?;
    Ok(http::service(
        Function::Analytics,
        wiring,
        reader,
        no_document,
        handle,
    ))
}

/// Handles a GET of any analytics route.
///
/// # Errors
///
/// The faults of the request, a range that takes too many reads, or a failure of DynamoDB.
pub async fn handle(reader: Arc<Reader>, call: Call) -> Result<Reply, Problem> {
    let Operation::Analytics(report) = call.route.operation else {
        return Err(Problem::internal("the route belongs to another function"));
    };
    let query = AnalyticsQuery::parse(call.query(), call.workspace())?;
    let body = match report {
        Report::Feedbacks => {
            let counts = graph(&reader, &call, &query, query.buckets()).await?;
            analytics::render_feedbacks(&counts.cells, counts.as_of)
        }
        Report::Scores => {
            let counts = graph(&reader, &call, &query, Granularity::Day).await?;
            analytics::render_scores(&counts.cells, counts.as_of)
        }
        Report::Weighted => {
            let counts = graph(&reader, &call, &query, query.buckets()).await?;
            analytics::render_weighted(&counts.cells, counts.as_of)
        }
        Report::Models => {
            let counts = groups(&reader, &call, &query, "_model").await?;
            analytics::render_models(&counts.cells, &query, counts.as_of)
        }
        Report::Groups => {
            let counts = groups(&reader, &call, &query, call.id()).await?;
            analytics::render_groups(&counts.cells, &query, counts.as_of)
        }
    };
    Ok(Reply::new(body))
}

/// The slice that a query asks for, in buckets of this size.
fn slice<'a>(call: &'a Call, query: &'a AnalyticsQuery, buckets: Granularity) -> Slice<'a> {
    Slice {
        workspace: call.workspace(),
        range: query.range,
        buckets,
        filters: &query.filters,
        now: call.now,
    }
}

/// Returns the counts over time.
async fn graph(
    reader: &Reader,
    call: &Call,
    query: &AnalyticsQuery,
    buckets: Granularity,
) -> Result<Counts, Problem> {
    let slice = slice(call, query, buckets);
    if query.matches_nothing() {
        return reader.nothing(&slice).await;
    }
    match query.dimension() {
        Some((Dimension::Name, Some(values))) if values == [""] => {
            reader.unnamed(&slice).await.map_err(analytics::problem)
        }
        Some((dimension, values)) => reader
            .by_dimension(&slice, dimension, values.as_deref())
            .await
            .map_err(analytics::problem),
        None => {
            let value = |vote: &Vote| query.admits(vote).then(String::new).into_iter().collect();
            reader
                .by_record(&slice, query.columns(), value)
                .await
                .map_err(analytics::problem)
        }
    }
}

/// Returns the counts by a metadata field. They come from roll-ups if the field has them and the filter is
/// about nothing else, and otherwise from records.
async fn groups(
    reader: &Reader,
    call: &Call,
    query: &AnalyticsQuery,
    field: &str,
) -> Result<Counts, Problem> {
    let slice = slice(call, query, Granularity::Day);
    if query.matches_nothing() {
        return reader.nothing(&slice).await;
    }
    let by = Dimension::of_metadata(field);
    if let (Some(by), Some((dimension, values))) = (by, query.dimension())
        && (dimension == Dimension::All || dimension == by)
    {
        return reader
            .by_dimension(&slice, by, values.as_deref())
            .await
            .map_err(analytics::problem);
    }
    let asked = query.columns();
    let columns = Columns {
        indexed: asked.indexed || by.is_some(),
        metadata: asked.metadata || by.is_none_or(Dimension::needs_metadata),
    };
    let values = |vote: &Vote| {
        if !query.admits(vote) {
            return Vec::new();
        }
        let mut values = match by {
            Some(by) => by.values_of(vote),
            None => vote
                .metadata
                .as_ref()
                .and_then(|metadata| member(metadata.json(), field))
                .into_iter()
                .collect(),
        };
        values.retain(|value| !value.is_empty());
        values
    };
    reader
        .by_record(&slice, columns, values)
        .await
        .map_err(analytics::problem)
}
