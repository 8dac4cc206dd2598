//! A feedback record, the draft it is created from, and changes to it.

use std::borrow::Cow;

use crate::access::key::KeyId;
use crate::fields::Patch;
use crate::id::{Entropy, FeedbackId, Workspace};
use crate::indexed::{Field, Indexed};
use crate::metadata::{self, Comment, Metadata};
use crate::person::Person;
use crate::reasons::Reasons;
use crate::score::{Rating, Score, Value, Weight};
use crate::target::{Project, Target};
use crate::timestamp::Timestamp;

/// Feedback as the caller sent it, before it has an id.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The trace or span it is about.
    pub target: Target,
    /// TrueFoundry's tracing project.
    pub project: Option<Project>,
    /// The score.
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

    /// What a person reads as the comment: `comment`, or else what the metadata has in its place
    /// ([`Metadata::comment`]). An empty text counts as missing.
    pub fn comment_text(&self) -> Option<Cow<'_, str>> {
        match self.comment.as_ref().and_then(Comment::text) {
            Some(text) => Some(Cow::Borrowed(text)),
            None => self.metadata.as_ref()?.comment().map(Cow::Owned),
        }
    }
}

/// Who makes a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The workspace that the write acts in.
    pub workspace: Workspace,
    /// The API key it is made with; of a vote by token, the key that signed the token.
    pub key: KeyId,
}

/// A stored feedback record.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// The workspace it belongs to.
    pub workspace: Workspace,
    /// The id, which contains the creation time.
    pub id: FeedbackId,
    /// The content.
    pub draft: Draft,
    /// The API key that wrote it last; `None` if it was written by a version of Hindsight that did not store it.
    pub written_by: Option<KeyId>,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// The number of writes so far: 1 after the create.
    pub version: u64,
    /// When it expires, in seconds since the Unix epoch; `None` means never.
    pub expires_at: Option<u64>,
}

impl Feedback {
    /// The record that a draft becomes at `now`, as the `index`-th of its request. It never expires.
    pub fn new(by: &Writer, draft: Draft, now: Timestamp, index: usize, entropy: Entropy) -> Self {
        let id = match &draft.person {
            Some(person) => FeedbackId::mint_upserted(now, index, entropy, person.hash()[31]),
            None => FeedbackId::mint(now, index, entropy),
        };
        Self {
            workspace: by.workspace.clone(),
            id,
            draft,
            written_by: Some(by.key.clone()),
            updated_at: now,
            version: 1,
            expires_at: None,
        }
    }

    /// Whether it has expired at `now`, even if DynamoDB has not deleted it yet.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now.seconds())
    }
}

/// A reference to a record: by its id, or by its id and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// The record's id.
    pub id: FeedbackId,
    /// The record's target, if the caller names it. A record with another target is not found.
    pub target: Option<Target>,
}

/// The change that an update makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The change of the score.
    pub score: ScoreChange,
    /// The change of the comment.
    pub comment: Patch<Comment>,
    /// The change of the reasons.
    pub reasons: Patch<Reasons>,
    /// The change of the metadata.
    pub metadata: Patch<Metadata>,
}

/// The change of the score. A score of either dialect replaces one of the other, including the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreChange {
    /// Leaves the score unchanged.
    Keep,
    /// Sets a value. Keeping the weight keeps that of the stored value, or sets the default if a rating was
    /// stored. Clearing it sets the default.
    Value(Value, Patch<Weight>),
    /// Sets a rating.
    Rating(Rating),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TraceId;

    #[test]
    fn the_comment_is_the_record_s_own_or_one_in_its_metadata() {
        for (comment, metadata, text) in [
            (None, None, None),
            (Some("own"), Some(r#"{"comment":"other"}"#), Some("own")),
            (Some(""), Some(r#"{"comments":"other"}"#), Some("other")),
            (Some(" \n"), None, None),
            (None, Some(r#"{"text":"other"}"#), Some("other")),
            (None, Some(r#"{"note":"other"}"#), None),
        ] {
            let draft = Draft {
                target: Target::Trace(TraceId::parse("t").unwrap()),
                project: None,
                score: Score::Rating(Rating::MAX),
                comment: comment.map(|text| Comment::from_stored(text.to_owned())),
                reasons: Reasons::default(),
                metadata: metadata.map(|json| Metadata::from_stored(json.to_owned())),
                person: None,
            };
            assert_eq!(draft.comment_text().as_deref(), text, "{comment:?} {metadata:?}");
        }
    }
}
