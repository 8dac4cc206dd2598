//! Converting records to and from items of the table `feedback`.

use std::collections::HashMap;

use super::keys::{self, Owner};
use crate::access::key::KeyId;
use crate::dynamo::attributes::{Item, int, number, string, text};
use crate::feedback::{Draft, Feedback};
use crate::id::{FeedbackId, Workspace};
use crate::indexed::{Field, Indexed};
use crate::metadata::{Comment, Metadata};
use crate::person::Person;
use crate::problem::Problem;
use crate::reasons::Reasons;
use crate::schema;
use crate::score::Score;
use crate::target::{Project, Target};
use crate::timestamp::Timestamp;

/// A record's score, without its other content.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The record's id.
    pub id: FeedbackId,
    /// The partition key.
    pub partition: String,
    /// The score.
    pub score: Score,
}

/// The schema version of records that are not upserted.
const PLAIN: u32 = 1;

/// The attribute with the id of the API key that wrote a record last.
pub(super) const WRITTEN_BY: &str = "written_by";

/// The attribute with the version that the key in [`WRITTEN_BY`] wrote. Code that does not know of the two
/// raises `version` alone. Then the record was last written by a key that is not known.
pub(super) const WRITTEN_VERSION: &str = "written_version";

/// The attribute with the time at which an imported record was stored, in milliseconds. Other records are stored when
/// they are created.
pub const STORED_AT: &str = "stored_at";

/// Converts a record that is imported at `stored_at` to its item.
pub fn from_imported(feedback: &Feedback, stored_at: Timestamp) -> Item {
    let mut item = from_feedback(feedback);
    item.insert(STORED_AT.to_owned(), number(stored_at.millis()));
    item.insert(schema::ATTRIBUTE.to_owned(), number(schema::FEEDBACK));
    item
}

/// Which record an item is, at which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The workspace.
    pub workspace: Workspace,
    /// The id.
    pub id: FeedbackId,
    /// The number of writes so far.
    pub version: u64,
    /// The target.
    pub target: Target,
    /// TrueFoundry's tracing project.
    pub project: Option<Project>,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// When it expires, in seconds since the epoch.
    pub expires_at: Option<u64>,
}

/// Converts a record to its item. A weight is stored as text, because DynamoDB's numbers go down to 1e-130
/// only.
pub fn from_feedback(feedback: &Feedback) -> Item {
    let Feedback {
        workspace, id, draft, ..
    } = feedback;
    let (sort, version) = match &draft.person {
        Some(person) => (keys::upserted_sort(workspace, person), schema::UPSERTED),
        None => (keys::sort(workspace, *id), PLAIN),
    };
    let trace = draft.target.trace().as_str();
    let mut item = HashMap::from([
        ("pk".to_owned(), text(keys::partition(&draft.target))),
        ("sk".to_owned(), text(sort)),
        ("id".to_owned(), text(id.hyphenated())),
        (
            "time_key".to_owned(),
            text(keys::time(workspace, keys::shard(*id))),
        ),
        ("trace_key".to_owned(), text(keys::spread(workspace, trace))),
        ("updated_at".to_owned(), number(feedback.updated_at.millis())),
        ("version".to_owned(), number(feedback.version)),
        (schema::ATTRIBUTE.to_owned(), number(version)),
    ]);
    match draft.score {
        Score::Value(value, weight) => {
            item.insert("value".to_owned(), number(value.get()));
            item.insert("weight".to_owned(), text(weight.get().to_string()));
        }
        Score::Rating(rating) => {
            item.insert("rating".to_owned(), number(rating.get()));
        }
    }
    if let Some(project) = &draft.project {
        item.insert("project".to_owned(), text(project.as_str()));
    }
    if let Some(comment) = &draft.comment {
        item.insert("comment".to_owned(), text(comment.as_str()));
    }
    if !draft.reasons.is_empty() {
        item.insert("reasons".to_owned(), text(draft.reasons.to_stored()));
    }
    if let Some(metadata) = &draft.metadata {
        item.insert("metadata".to_owned(), text(metadata.json()));
    }
    if let Some(person) = &draft.person {
        item.insert("person".to_owned(), text(&person.user));
        item.insert("question".to_owned(), text(&person.name));
    }
    for (name, key) in index_keys(workspace, *id, &draft.indexed()) {
        if let Some(key) = key {
            item.insert(name.to_owned(), text(key));
        }
    }
    if let Some(key) = &feedback.written_by {
        item.insert(WRITTEN_BY.to_owned(), text(key.as_str()));
        item.insert(WRITTEN_VERSION.to_owned(), number(feedback.version));
    }
    if let Some(end) = feedback.expires_at {
        item.insert("expires_at".to_owned(), number(end));
    }
    item
}

/// The keys of the sparse indexes by attribute; `None` if the record is not in the index.
pub fn index_keys(
    workspace: &Workspace,
    id: FeedbackId,
    indexed: &Indexed,
) -> [(&'static str, Option<String>); Field::ALL.len()] {
    Field::ALL.map(|field| {
        let key = indexed
            .get(field)
            .map(|text| keys::indexed(field, workspace, id, text));
        (field.key(), key)
    })
}

/// Returns the index keys that do not match an item's metadata, with their correct values; `None` means to
/// remove the key. A key is missing if the record was written before the field was indexed, and outdated if
/// older code has changed the record since. The result is empty for an item that cannot be read.
pub fn wrong_index_keys(item: &Item) -> Vec<(&'static str, Option<String>)> {
    let Some((workspace, id)) = owner(item) else {
        return Vec::new();
    };
    if schema::check(item, schema::FEEDBACK).is_err() {
        return Vec::new();
    }
    let mut indexed = string(item, "metadata")
        .map(|json| Metadata::from_stored(json.to_owned()).indexed().clone())
        .unwrap_or_default();
    if let Some(person) = person(item) {
        indexed.set(Field::User, person.user);
    }
    index_keys(&workspace, id, &indexed)
        .into_iter()
        .filter(|(name, key)| string(item, name) != key.as_deref())
        .collect()
}

/// Converts an item to its record.
///
/// # Errors
///
/// [`Problem::Unavailable`] for a newer schema version, [`Problem::Internal`] if the item is not a valid
/// record.
pub fn to_feedback(item: &Item) -> Result<Feedback, Problem> {
    schema::check(item, schema::FEEDBACK)?;
    read(item).ok_or_else(|| unreadable(item))
}

/// Reads which record an item is, whatever its content.
///
/// # Errors
///
/// [`Problem::Unavailable`] for a newer schema version, [`Problem::Internal`] if the item does not say.
pub fn identity(item: &Item) -> Result<Identity, Problem> {
    schema::check(item, schema::FEEDBACK)?;
    let read = || {
        let (workspace, id) = owner(item)?;
        Some(Identity {
            workspace,
            id,
            version: int(item, "version")?,
            target: keys::target(string(item, "pk")?)?,
            project: string(item, "project").and_then(Project::parse),
            updated_at: Timestamp::from_millis(int(item, "updated_at")?),
            expires_at: expires_at(item),
        })
    };
    read().ok_or_else(|| unreadable(item))
}

/// Reads only the score of an item, with its id and partition.
///
/// # Errors
///
/// [`Problem::Unavailable`] for a newer schema version, [`Problem::Internal`] if the item is not a valid
/// record.
pub fn to_scored(item: &Item) -> Result<Scored, Problem> {
    schema::check(item, schema::FEEDBACK)?;
    let read = || {
        Some(Scored {
            id: id(item)?,
            partition: string(item, "pk")?.to_owned(),
            score: score(item)?,
        })
    };
    read().ok_or_else(|| unreadable(item))
}

fn unreadable(item: &Item) -> Problem {
    let sk = string(item, "sk").unwrap_or("without a sort key");
    Problem::internal(format!("an item of the feedback table cannot be read: {sk}"))
}

/// Reads the workspace and id of an item.
pub fn owner(item: &Item) -> Option<(Workspace, FeedbackId)> {
    match keys::owner(string(item, "sk")?)? {
        Owner::Plain(workspace, id) => Some((workspace, id)),
        Owner::Upserted(workspace) => Some((workspace, FeedbackId::parse(string(item, "id")?)?)),
    }
}

/// Reads the id of an item.
pub fn id(item: &Item) -> Option<FeedbackId> {
    owner(item).map(|(_, id)| id)
}

/// When an item was stored: when it was imported, or else when it was created.
pub fn stored_at(item: &Item) -> Option<Timestamp> {
    match item.get(STORED_AT) {
        Some(_) => int(item, STORED_AT).map(Timestamp::from_millis),
        None => id(item).map(FeedbackId::created_at),
    }
}

/// Whose only vote an item is, if it is upserted.
fn person(item: &Item) -> Option<Person> {
    Some(Person {
        user: string(item, "person")?.to_owned(),
        name: string(item, "question")?.to_owned(),
    })
}

fn score(item: &Item) -> Option<Score> {
    let number = |name: &str| item.get(name)?.as_n().ok().map(String::as_str);
    if item.contains_key("rating") {
        Score::of_stored_rating(number("rating"))
    } else {
        Score::of_stored_value(number("value"), string(item, "weight"))
    }
}

fn read(item: &Item) -> Option<Feedback> {
    let (workspace, id) = owner(item)?;
    let version = int(item, "version")?;
    Some(Feedback {
        workspace,
        id,
        draft: Draft {
            target: keys::target(string(item, "pk")?)?,
            project: optional(item, "project", Project::parse)?,
            score: score(item)?,
            comment: optional(item, "comment", |text| {
                Some(Comment::from_stored(text.to_owned()))
            })?,
            reasons: reasons(item),
            metadata: optional(item, "metadata", |json| {
                Some(Metadata::from_stored(json.to_owned()))
            })?,
            person: person(item),
        },
        written_by: written_by(item, version),
        updated_at: Timestamp::from_millis(int(item, "updated_at")?),
        version,
        expires_at: expires_at(item),
    })
}

/// Reads which key wrote this version of an item; `None` if that is not known.
fn written_by(item: &Item, version: u64) -> Option<KeyId> {
    let written: u64 = int(item, WRITTEN_VERSION)?;
    (written == version).then_some(())?;
    KeyId::parse(string(item, WRITTEN_BY)?)
}

/// Reads the reasons of an item.
pub fn reasons(item: &Item) -> Reasons {
    string(item, "reasons")
        .map(Reasons::from_stored)
        .unwrap_or_default()
}

/// When an item expires, in seconds since the epoch.
pub fn expires_at(item: &Item) -> Option<u64> {
    int(item, "expires_at")
}

/// Whether an item has expired at `now`, even if DynamoDB has not deleted it yet.
pub fn is_expired(item: &Item, now: Timestamp) -> bool {
    expires_at(item).is_some_and(|end| end <= now.seconds())
}

/// Parses an optional attribute: `Some(None)` if it is absent, `None` if it is invalid.
fn optional<T>(item: &Item, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    match item.get(name) {
        None => Some(None),
        Some(_) => parse(string(item, name)?).map(Some),
    }
}
