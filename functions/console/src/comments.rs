//! The latest comments, beside the figures that they explain.

use shared::feedback::Feedback;
use shared::id::Workspace;
use shared::indexed::Field;
use shared::problem::Problem;
use shared::query::{Filter, ListQuery, Order};
use shared::score::Score;
use shared::stats::figures::Opinion;
use shared::store::Store;
use shared::timestamp::Timestamp;

use crate::number;
use crate::page::Moment;
use crate::selection::query_string;
use crate::tiles::class;

/// The most characters of a comment that are shown.
const MAX_SHOWN: usize = 280;

/// A comment with the vote that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The score: `+5`, or `4 of 5`.
    pub score: String,
    /// The class of the score's opinion.
    pub class: &'static str,
    /// The comment, perhaps its beginning.
    pub text: String,
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
        let text = draft.comment_text()?;
        let mut shown: String = text.chars().take(MAX_SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        let indexed = draft.indexed();
        let (score, opinion) = match draft.score {
            Score::Value(value, weight) => {
                let value = i64::from(value.get());
                let text = number::signed_count(value);
                let text = if weight.get() == 1.0 {
                    text
                } else {
                    format!("{text} × {}", number::short(weight.get()))
                };
                (text, Opinion::of_value(value))
            }
            Score::Rating(rating) => {
                let rating = i64::from(rating.get());
                (format!("{rating} of 5"), Opinion::of_rating(rating))
            }
        };
        let trace = [("trace_id".to_owned(), draft.target.trace().as_str().to_owned())];
        Some(Self {
            score,
            class: class(opinion),
            text: shown,
            reasons: draft.reasons.iter().map(str::to_owned).collect(),
            prompt: indexed.get(Field::Prompt).map(str::to_owned),
            user: indexed.get(Field::User).map(str::to_owned),
            at: Moment(feedback.id.created_at()),
            trace: format!("/console/trace{}", query_string(&trace)),
        })
    }
}

/// Reads the latest comments of records that pass a filter, newest first.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn latest(
    store: &Store,
    workspace: &Workspace,
    filter: Filter,
    model: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Said>, Problem> {
    let query = ListQuery {
        filter: Filter {
            has_comment: Some(true),
            ..filter
        },
        order: Order::Descending,
        // Lists do not filter by model, so more are read where the page does.
        limit: if model.is_some() { limit * 4 } else { limit },
        after: None,
    };
    let page = store.list(workspace, &query, now).await?;
    let of_model = page.records.iter().filter(|feedback| {
        let metadata = feedback.draft.metadata.as_ref();
        model.is_none_or(|model| shared::metadata::model(metadata) == model)
    });
    Ok(of_model.filter_map(Said::of).take(limit).collect())
}
