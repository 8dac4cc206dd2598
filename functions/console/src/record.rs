//! One record as a page shows it.

use std::collections::HashMap;

use askama::Template;
use shared::access::key::KeyId;
use shared::dialect::portkey;
use shared::feedback::Feedback;
use shared::fields::{Object, scalar_text};
use shared::indexed::Field;
use shared::metadata::{self, UNKNOWN_MODEL};
use shared::problem::Problem;
use shared::query::Summary;
use shared::score::Score;
use shared::stats::figures::Opinion;
use shared::timestamp::Timestamp;

use crate::App;
use crate::number;
use crate::page::Moment;
use crate::selection::query_string;
use crate::session::Session;

/// The longest part of a text beside a vote, in bytes: of a prompt's input, output and correction, and of a
/// comment in a list.
pub const MAX_EXCERPT: usize = 2 * 1024;

/// The members of metadata that stand beside a vote, with their labels.
const SAID: [(&str, &str); 3] = [
    ("_input", "Input"),
    ("_output", "Output"),
    ("_correction", "Correction"),
];

/// How many of a trace's scores a page shows.
const MAX_PAIRS: usize = 12;

/// One record.
#[derive(Debug, Template)]
#[template(path = "record.html")]
pub struct RecordView {
    /// The id, hyphenated.
    pub id: String,
    /// The score.
    pub score: ScoreView,
    /// The comment.
    pub comment: Option<Excerpt>,
    /// The reasons.
    pub reasons: Vec<String>,
    /// What was asked, answered, and should have been.
    pub said: Vec<Said>,
    /// The fields that it can be filtered by.
    pub fields: Vec<FieldView>,
    /// When it was created.
    pub created: Moment,
    /// When it was changed last, if it was.
    pub updated: Option<Moment>,
    /// The key that wrote it last.
    pub writer: Option<WriterView>,
    /// The page of its trace.
    pub trace_href: String,
    /// Its trace.
    pub trace: String,
    /// Its span.
    pub span: Option<String>,
    /// The scores of its trace, where the page shows them.
    pub others: Option<OthersView>,
    /// The forms to change and delete it, for who may.
    pub forms: Option<Forms>,
}

/// A score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreView {
    /// `Value: Weight` or a rating.
    pub text: String,
    /// The same in words.
    pub words: String,
    /// Its class: `up`, `down` or `flat`.
    pub class: &'static str,
    /// The filled stars of a rating.
    pub stars: Option<String>,
}

/// A text, or the beginning of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text.
    pub text: String,
    /// The size of the whole in bytes, if this is not all.
    pub cut_from: Option<usize>,
}

/// A text of the conversation that a vote is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whose it is.
    pub label: &'static str,
    /// The text.
    pub excerpt: Excerpt,
}

/// A field that lists can be filtered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldView {
    /// Its label.
    pub label: &'static str,
    /// Its text.
    pub value: String,
    /// The list of the records with this text.
    pub href: String,
}

/// A key that wrote a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterView {
    /// Its id.
    pub id: String,
    /// Its name, if it is still known.
    pub name: Option<String>,
}

/// The scores of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OthersView {
    /// How many there are.
    pub count: String,
    /// Some of them.
    pub scores: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// Where a record is changed and deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms {
    /// The form that changes it.
    pub edit: String,
    /// The question whether to delete it.
    pub delete: String,
}

impl RecordView {
    /// A record on a page of this session. A list shows the beginning of a long comment.
    pub fn new(record: &Feedback, session: &Session, names: &Names, max_comment: usize) -> Self {
        let draft = &record.draft;
        let indexed = draft.indexed();
        let id = record.id.hyphenated();
        let (model, name) = (metadata::model(draft.metadata.as_ref()), draft.name());
        let fields = [
            ("prompt", "Prompt", indexed.get(Field::Prompt)),
            (
                "model",
                "Model",
                Some(model.as_str()).filter(|model| *model != UNKNOWN_MODEL),
            ),
            ("user", "User", indexed.get(Field::User)),
            ("session", "Session", indexed.get(Field::Session)),
            ("organisation", "Organisation", indexed.get(Field::Organisation)),
            ("environment", "Environment", indexed.get(Field::Environment)),
            (
                "name",
                "Name",
                Some(name.as_str()).filter(|name| !name.is_empty()),
            ),
        ];
        let form = |path: &str| format!("{path}{}", query_string(&[("id".to_owned(), id.clone())]));
        Self {
            score: ScoreView::new(draft.score),
            comment: draft.comment_text().map(|text| Excerpt::new(&text, max_comment)),
            reasons: draft.reasons.iter().map(str::to_owned).collect(),
            said: said(record),
            fields: fields
                .into_iter()
                .filter_map(|(parameter, label, value)| {
                    let value = value?.to_owned();
                    let query = query_string(&[(parameter.to_owned(), value.clone())]);
                    let href = format!("/console/feedback{query}");
                    Some(FieldView { label, value, href })
                })
                .collect(),
            created: Moment(record.id.created_at()),
            updated: (record.version > 1).then_some(Moment(record.updated_at)),
            writer: record.written_by.as_ref().map(|key| WriterView {
                id: key.to_string(),
                name: names.0.get(key).cloned(),
            }),
            trace_href: trace_href(draft.target.trace().as_str()),
            trace: draft.target.trace().as_str().to_owned(),
            span: draft.target.span().map(|span| span.as_str().to_owned()),
            others: None,
            forms: session.may_write().then(|| Forms {
                edit: form("/console/edit"),
                delete: form("/console/delete"),
            }),
            id,
        }
    }

    /// The same record, with the scores of its trace.
    pub fn with_others(self, summary: &Summary) -> Self {
        let others = Some(OthersView::new(summary));
        Self { others, ..self }
    }
}

impl ScoreView {
    /// A score as people read it.
    pub fn new(score: Score) -> Self {
        let class = |opinion| match opinion {
            Opinion::Positive => "up",
            Opinion::Neutral => "flat",
            Opinion::Negative => "down",
        };
        match score {
            Score::Value(value, weight) => Self {
                text: pair(value.get().into(), weight.get()),
                words: format!(
                    "value {} of weight {}",
                    number::count(value.get().into()),
                    weight.get()
                ),
                class: class(Opinion::of_value(value.get().into())),
                stars: None,
            },
            Score::Rating(rating) => Self {
                text: format!("{} of 5", rating.get()),
                words: format!("{} of 5 stars", rating.get()),
                class: class(Opinion::of_rating(rating.get().into())),
                stars: Some("★".repeat(rating.get().into())),
            },
        }
    }

    /// The stars that a rating lacks.
    pub fn empty_stars(&self) -> String {
        let filled = self.stars.as_ref().map_or(5, |stars| stars.chars().count());
        "☆".repeat(5_usize.saturating_sub(filled))
    }
}

impl Excerpt {
    /// At most `max` bytes of a text, cut between characters.
    pub fn new(text: &str, max: usize) -> Self {
        let end = text.floor_char_boundary(max);
        Self {
            text: text[..end].to_owned(),
            cut_from: (end < text.len()).then_some(text.len()),
        }
    }
}

impl OthersView {
    /// The scores of a trace, oldest first.
    pub fn new(summary: &Summary) -> Self {
        let pairs = summary
            .pairs
            .iter()
            .map(|scored| pair(scored.value.into(), scored.weight));
        let ratings = summary.ratings.iter().map(|rating| format!("{rating} of 5"));
        Self {
            count: match (summary.count, summary.truncated) {
                (count, true) => format!("{count} and more"),
                (count, false) => count.to_string(),
            },
            scores: pairs.chain(ratings).take(MAX_PAIRS).collect(),
            more: summary.count.saturating_sub(MAX_PAIRS),
        }
    }
}

/// `Value: Weight`.
fn pair(value: i64, weight: f64) -> String {
    format!("{}: {weight}", number::count(value))
}

/// The page of a trace.
pub fn trace_href(trace: &str) -> String {
    let query = query_string(&[("trace_id".to_owned(), trace.to_owned())]);
    format!("/console/trace{query}")
}

/// What was asked, answered and should have been, as metadata has it: the text of a string, the JSON of anything
/// else.
fn said(record: &Feedback) -> Vec<Said> {
    let Some(metadata) = &record.draft.metadata else {
        return Vec::new();
    };
    let Ok(object) = Object::parse(metadata.json()) else {
        return Vec::new();
    };
    let said = SAID.into_iter().filter_map(|(name, label)| {
        let json = object.get(name)?;
        let text = scalar_text(json).unwrap_or_else(|| json.get().to_owned());
        let excerpt = Excerpt::new(&text, MAX_EXCERPT);
        (!text.trim().is_empty() && text != "null").then_some(Said { label, excerpt })
    });
    said.collect()
}

/// The names of keys, by their ids.
#[derive(Clone, Debug, Default)]
pub struct Names(HashMap<KeyId, String>);

impl Names {
    /// The names of the keys that wrote these records. A name is asked for once a minute.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn of(
        app: &App,
        session: &Session,
        records: &[Feedback],
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let mut names = HashMap::new();
        for id in records.iter().filter_map(|record| record.written_by.as_ref()) {
            if names.contains_key(id) {
                continue;
            }
            if let Some(key) = app.keyring.find(id, now).await?
                && key.workspace == *session.workspace()
            {
                names.insert(id.clone(), key.name);
            }
        }
        Ok(Self(names))
    }

    /// The name of a key, if it is known.
    pub fn get(&self, id: &KeyId) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}

/// Reads an id from a URL or a form.
///
/// # Errors
///
/// [`Problem::Invalid`] if it is missing or no id.
pub fn parse_id(text: Option<&str>) -> Result<shared::id::FeedbackId, Problem> {
    portkey::parse_id(text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::score::{Rating, Value, Weight};

    #[test]
    fn a_score_is_a_pair_or_stars() {
        let pair = ScoreView::new(Score::Value(Value::new(-7).unwrap(), Weight::new(0.25).unwrap()));
        assert_eq!((pair.text.as_str(), pair.class), ("−7: 0.25", "down"));
        let rating = ScoreView::new(Score::Rating(Rating::new(4).unwrap()));
        assert_eq!((rating.text.as_str(), rating.class), ("4 of 5", "up"));
        assert_eq!(
            (rating.stars.clone(), rating.empty_stars()),
            (Some("★★★★".to_owned()), "☆".to_owned())
        );
    }

    #[test]
    fn an_excerpt_ends_between_characters_and_says_what_it_is_of() {
        assert_eq!(Excerpt::new("abc", 3).cut_from, None);
        let cut = Excerpt::new("aéé", 4);
        assert_eq!((cut.text.as_str(), cut.cut_from), ("aé", Some(5)));
    }
}
