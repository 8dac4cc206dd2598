//! The latest comments, beside the figures that they explain.

use shared::feedback::Feedback;
use shared::http::visit::Visit;
use shared::indexed::Field;
use shared::problem::Problem;

use crate::App;
use crate::list;
use crate::page::Moment;
use crate::record::{Excerpt, ScoreView, trace_href};
use crate::selection::Selection;
use crate::session::Session;

/// The most bytes of a comment that are shown.
const MAX_SHOWN: usize = 280;

/// A comment with the vote that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The score.
    pub score: ScoreView,
    /// The comment, perhaps its beginning.
    pub comment: Excerpt,
    /// The reasons.
    pub reasons: Vec<String>,
    /// The prompt.
    pub prompt: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// When it was said.
    pub at: Moment,
    /// The page of its trace.
    pub trace: String,
}

impl Said {
    /// What a record says. Returns `None` if it has no comment.
    fn of(feedback: &Feedback) -> Option<Self> {
        let draft = &feedback.draft;
        let indexed = draft.indexed();
        Some(Self {
            score: ScoreView::new(draft.score),
            comment: Excerpt::new(&draft.comment_text()?, MAX_SHOWN),
            reasons: draft.reasons.iter().map(str::to_owned).collect(),
            prompt: indexed.get(Field::Prompt).map(str::to_owned),
            user: indexed.get(Field::User).map(str::to_owned),
            at: Moment(feedback.id.created_at()),
            trace: trace_href(draft.target.trace().as_str()),
        })
    }
}

/// Reads the latest comments that a selection matches, newest first.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn latest(
    app: &App,
    visit: &Visit,
    session: &Session,
    selection: &Selection,
    limit: usize,
) -> Result<Vec<Said>, Problem> {
    let mut with_comment = selection.clone();
    with_comment.filter.has_comment = Some(true);
    let page = list::page(app, visit, session, &with_comment, None, limit).await?;
    Ok(page.records.iter().filter_map(Said::of).collect())
}
