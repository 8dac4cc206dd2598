//! Returns Portkey's feedback analytics: `/v1/analytics/graphs/…` and `/v1/analytics/groups/…`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::analytics::{self, AnalyticsQuery};
use shared::http::{self, ApiService, Call, Function, Operation, Reply, Report, Wiring, no_document};
use shared::problem::Problem;
use shared::stats::question::{Group, Grouping};
use shared::stats::read::Reader;
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
    let (by, buckets) = match report {
        Report::Feedbacks | Report::Weighted => (Group::All, query.buckets()),
        Report::Scores => (Group::All, Granularity::Day),
        Report::Models => (Group::Metadata("_model"), Granularity::Day),
        Report::Groups => (Group::Metadata(call.id()), Granularity::Day),
    };
    let counts = reader
        .count(
            call.workspace(),
            &query.question,
            Grouping { by, buckets },
            call.now,
        )
        .await
        .map_err(analytics::problem)?;
    Ok(Reply::new(match report {
        Report::Feedbacks => analytics::render_feedbacks(&counts),
        Report::Scores => analytics::render_scores(&counts),
        Report::Weighted => analytics::render_weighted(&counts),
        Report::Models => analytics::render_models(&counts, &query),
        Report::Groups => analytics::render_groups(&counts, &query),
    }))
}
