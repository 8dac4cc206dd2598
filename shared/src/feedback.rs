//! One record: what a dialect makes of a request, what is stored, and what a change does to it.

use crate::fields::Patch;
use crate::id::{FeedbackId, Workspace};
use crate::indexed::{Field, Indexed};
use crate::metadata::{self, Comment, Metadata};
use crate::person::Person;
use crate::reasons::Reasons;
use crate::score::{Rating, Score, Value, Weight};
use crate::target::{Project, Target};
use crate::timestamp::Timestamp;

/// Feedback as a caller asks for it, before it has an id.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What it judges.
    pub target: Target,
    /// TrueFoundry's tracing project.
    pub project: Option<Project>,
    /// The judgement.
    pub score: Score,
    /// The comment, if any.
    pub comment: Option<Comment>,
    /// The reasons, if any.
    pub reasons: Reasons,
    /// The metadata, if any.
    pub metadata: Option<Metadata>,
    /// Whose only vote it is, if it is upserted.
    pub person: Option<Person>,
}

impl Draft {
    /// The fields it is indexed by. The user of an upserted record is its person's.
    pub fn indexed(&self) -> Indexed {
        let metadata = self.metadata.as_ref();
        let mut indexed = metadata
            .map(|metadata| metadata.indexed().clone())
            .unwrap_or_default();
        if let Some(person) = &self.person {
            indexed.set(Field::User, person.user.clone());
        }
        indexed
    }

    /// Which question was asked; the empty name where none is told.
    pub fn name(&self) -> String {
        match &self.person {
            Some(person) => person.name.clone(),
            None => metadata::name(self.metadata.as_ref()),
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// Whose it is.
    pub workspace: Workspace,
    /// Its name, and when it was created.
    pub id: FeedbackId,
    /// What the caller said.
    pub draft: Draft,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// How often it was written: 1 after the create.
    pub version: u64,
    /// When it ends to exist, in seconds since the epoch; `None` is never.
    pub expires_at: Option<u64>,
}

impl Feedback {
    /// Whether it is past its end at `now`, swept or not.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now.seconds())
    }
}

/// A record that a caller names: by its id alone, or by its id and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// The record.
    pub id: FeedbackId,
    /// What it must be about, if the caller says: a record about something else is not found.
    pub target: Option<Target>,
}

/// What an update asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The new judgement, or what of the old one stays.
    pub score: ScoreChange,
    /// The comment.
    pub comment: Patch<Comment>,
    /// The reasons.
    pub reasons: Patch<Reasons>,
    /// The metadata.
    pub metadata: Patch<Metadata>,
}

/// What an update does to the score. Either dialect replaces the other's, scale and all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreChange {
    /// It stays.
    Keep,
    /// A value. A weight that is kept is that of the stored value, or the default where a rating
    /// was stored; one that is cleared is the default.
    Value(Value, Patch<Weight>),
    /// A rating.
    Rating(Rating),
}
