//! Reading pages of feedback that a selection matches.

use shared::feedback::Feedback;
use shared::http::visit::Visit;
use shared::id::FeedbackId;
use shared::metadata;
use shared::problem::Problem;
use shared::query::{ListQuery, Order, decode_cursor, encode_cursor};

use crate::App;
use crate::selection::Selection;
use crate::session::Session;

/// How many pages of the store are read for one page that is filtered by the model, which the store does not know.
const MAX_PAGES: usize = 10;

/// The order of every list here.
pub const ORDER: Order = Order::Descending;

/// A page of feedback, newest first.
#[derive(Debug)]
pub struct Listed {
    /// The records.
    pub records: Vec<Feedback>,
    /// The cursor of the page after it.
    pub next: Option<FeedbackId>,
}

/// Reads a page of at most `limit` records after a cursor. It may have fewer and still be followed by another.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn page(
    app: &App,
    visit: &Visit,
    session: &Session,
    selection: &Selection,
    after: Option<FeedbackId>,
    limit: usize,
) -> Result<Listed, Problem> {
    let mut query = ListQuery {
        filter: selection.list_filter(),
        order: ORDER,
        limit,
        after,
    };
    let mut records: Vec<Feedback> = Vec::new();
    for _ in 0..MAX_PAGES {
        query.limit = limit - records.len();
        let page = app.store.list(session.workspace(), &query, visit.now).await?;
        let matching = page.records.into_iter().filter(|record| {
            let asked = selection.model.as_ref();
            asked.is_none_or(|asked| metadata::model(record.draft.metadata.as_ref()) == *asked)
        });
        records.extend(matching);
        query.after = page.next;
        if page.next.is_none() || records.len() == limit || selection.model.is_none() {
            break;
        }
    }
    Ok(Listed {
        records,
        next: query.after,
    })
}

/// Reads the cursor of a page from the URL.
///
/// # Errors
///
/// [`Problem::Invalid`] if it is not one.
pub fn cursor(visit: &Visit) -> Result<Option<FeedbackId>, Problem> {
    match parameter(visit, "cursor") {
        None => Ok(None),
        Some(text) => decode_cursor(text, ORDER).map(Some).ok_or_else(|| {
            let rest = format!("expected one of a link on this page, got {} bytes", text.len());
            Problem::invalid("cursor", rest)
        }),
    }
}

/// The text of the cursor after a record.
pub fn cursor_text(last: FeedbackId) -> String {
    encode_cursor(last, ORDER)
}

/// The value of a parameter that is not empty.
pub fn parameter<'a>(visit: &'a Visit, name: &str) -> Option<&'a str> {
    let found = visit
        .query()
        .iter()
        .find(|(field, value)| field == name && !value.is_empty());
    found.map(|(_, value)| value.as_str())
}
