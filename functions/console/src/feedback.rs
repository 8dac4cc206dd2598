//! The list of feedback.

use std::collections::BTreeSet;

use askama::Template;
use futures_util::future::try_join_all;
use lambda_http::http::StatusCode;
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::problem::Problem;
use shared::query::Summary;
use shared::target::TraceId;

use crate::App;
use crate::list::{self, cursor, cursor_text};
use crate::page::{self, Shell, Tab};
use crate::record::{MAX_EXCERPT, Names, RecordView};
use crate::selection::{FilterBar, Selection};
use crate::session::Session;

/// Where the list is.
const PATH: &str = "/console/feedback";

/// How many records are on a page.
const PAGE: usize = 25;

/// The list.
#[derive(Template)]
#[template(path = "feedback.html")]
struct FeedbackPage {
    shell: Shell,
    bar: FilterBar,
    records: Vec<RecordView>,
    /// The page of the records before these.
    older: Option<String>,
    /// The first page, if this is another.
    newest: Option<String>,
    csv: String,
}

/// Shows a page of the list.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn show(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let selection = Selection::of_list(visit.query(), &["cursor"], visit.now)?;
    let after = cursor(visit)?;
    let listed = list::page(app, visit, session, &selection, after, PAGE).await?;
    let names = Names::of(app, session, &listed.records, visit.now).await?;
    // Every trace is read once, all of them at the same time.
    let traces: BTreeSet<&str> = listed
        .records
        .iter()
        .map(|record| record.draft.target.trace().as_str())
        .collect();
    let summaries = traces.into_iter().filter_map(TraceId::parse).map(async |trace| {
        let summary = app
            .store
            .summary(session.workspace(), &trace, None, visit.now)
            .await?;
        Ok::<(TraceId, Summary), Problem>((trace, summary))
    });
    let summaries = try_join_all(summaries).await?;
    let records = listed.records.iter().map(|record| {
        let view = RecordView::new(record, session, &names, MAX_EXCERPT);
        let trace = record.draft.target.trace();
        match summaries.iter().find(|(of, _)| of == trace) {
            // Of a trace with this record alone there is nothing more to say.
            Some((_, summary)) if summary.count > 1 => view.with_others(summary),
            _ => view,
        }
    });
    let page = FeedbackPage {
        shell: Shell::new(session, "Feedback", Tab::Feedback, Some(&selection)),
        bar: FilterBar::of_list(PATH, &selection),
        records: records.collect(),
        older: listed
            .next
            .map(|last| format!("{PATH}{}", selection.with("cursor", Some(&cursor_text(last))))),
        newest: after.map(|_| format!("{PATH}{}", selection.query())),
        csv: format!("{PATH}.csv{}", selection.query()),
    };
    Ok(page::html(StatusCode::OK, &page))
}
