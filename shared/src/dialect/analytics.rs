//! Portkey's feedback analytics, `/v1/analytics/…`, as Portkey's published OpenAPI describes them.

mod query;
mod render;

pub use query::AnalyticsQuery;
pub use render::{render_feedbacks, render_groups, render_models, render_scores, render_weighted};

use crate::problem::Problem;
use crate::stats::read::{MAX_ROLLUPS, Unanswered};

/// Converts the reason why a query has no result into a problem that names Portkey's parameters.
pub fn problem(unanswered: Unanswered) -> Problem {
    match unanswered {
        Unanswered::TooManyRecords(limit, range) => Problem::invalid(
            "time_of_generation_max",
            format!(
                "more than {limit} would have to be read one by one, from {} to {}: begin and end the range on \
                 whole hours of UTC, or narrow the range or the filter",
                range.from, range.to
            ),
        ),
        Unanswered::TooManyGroups => Problem::invalid(
            "time_of_generation_max",
            format!("more than {MAX_ROLLUPS} groups in this range: narrow it"),
        ),
        Unanswered::Problem(problem) => problem,
    }
}
