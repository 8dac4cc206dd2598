//! The prompts.

use askama::Template;
use lambda_http::http::StatusCode;
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::problem::Problem;

use crate::App;
use crate::page::{self, Shell, Tab};
use crate::selection::{FilterBar, Selection};
use crate::session::Session;

/// The prompts.
#[derive(Template)]
#[template(path = "prompts.html")]
struct PromptsPage {
    shell: Shell,
    bar: FilterBar,
}

/// Shows the prompts.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn show(_: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let selection = Selection::parse(visit.query(), &[], visit.now)?;
    let page = PromptsPage {
        shell: Shell::new(session, "Prompts", Tab::Prompts, Some(&selection)),
        bar: FilterBar::new("/console/prompts", &selection),
    };
    Ok(page::html(StatusCode::OK, &page))
}
