//! The first page: the counts of a time range.

use askama::Template;
use lambda_http::http::StatusCode;
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::problem::Problem;

use crate::App;
use crate::page::{self, Shell, Tab};
use crate::selection::{FilterBar, Selection};
use crate::session::Session;

/// The overview.
#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    bar: FilterBar,
}

/// Shows the overview.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn show(_: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let selection = Selection::parse(visit.query(), &[], visit.now)?;
    let page = OverviewPage {
        shell: Shell::new(session, "Overview", Tab::Overview, Some(&selection)),
        bar: FilterBar::new("/console", &selection),
    };
    Ok(page::html(StatusCode::OK, &page))
}
