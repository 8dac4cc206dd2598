//! Events as entries of EventBridge's PutEvents, with its limit on their size.

use serde::{Serialize, Serializer};

use super::{Event, What};
use crate::dialect::portkey;
use crate::dialect::record::Record;
use crate::feedback::Feedback;
use crate::id::FeedbackId;
use crate::store::item::Identity;
use crate::target::{Project, SpanId, Target};
use crate::timestamp::Timestamp;

/// The source of every event.
pub const SOURCE: &str = "hindsight";

/// The maximum size of the entries of one request together, and so of one entry, in bytes by [`Entry::size`].
///
/// The user guide says "less than 256KB" and leaves out what JSON adds to an entry; the API reference says 256 KB and
/// counts "any necessary characters and keys of the JSON representation of the event"
/// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html and .../APIReference/API_PutEvents.html). A
/// kilobyte is left for these. That buses take 1 MB since January 2026 is in neither, and not every target does.
pub const MAX_BYTES: usize = 255 * 1024;

/// The maximum number of entries of one request (API_PutEvents, "Array Members").
pub const MAX_ENTRIES: usize = 10;

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is new.
    Created,
    /// It was changed.
    Updated,
    /// It is gone.
    Deleted,
}

impl Kind {
    /// The event's `detail-type`.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Created => "Feedback Created",
            Self::Updated => "Feedback Updated",
            Self::Deleted => "Feedback Deleted",
        }
    }
}

/// An event as an entry of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub kind: Kind,
    /// When it happened.
    pub time: Timestamp,
    /// The event's `detail`, as JSON.
    pub detail: String,
    /// The same without any record, if there is one in `detail`.
    outline: Option<String>,
}

impl Entry {
    /// The entry of an event. What it would exceed [`MAX_BYTES`] with is left out: the record before first, then
    /// the record itself.
    pub fn of(event: &Event) -> Self {
        let (kind, detail) = Detail::of(event);
        let without_before = Detail {
            before: None,
            before_omitted: detail.before.is_some() || detail.before_omitted,
            ..detail
        };
        let outline = Detail {
            after: None,
            after_omitted: detail.after.is_some(),
            ..without_before
        };
        let entry = |detail: Detail<'_>| Self {
            kind,
            time: event.happened_at,
            detail: detail.json(),
            outline: detail.after.map(|_| outline.json()),
        };
        [detail, without_before]
            .into_iter()
            .map(entry)
            .find(|entry| entry.size() <= MAX_BYTES)
            .unwrap_or_else(|| entry(outline))
    }

    /// The same event without any record.
    ///
    /// # Errors
    ///
    /// The entry itself if it has none.
    pub fn into_outline(self) -> Result<Self, Self> {
        match self.outline {
            Some(detail) => Ok(Self {
                detail,
                outline: None,
                ..self
            }),
            None => Err(self),
        }
    }

    /// The size that EventBridge counts: 14 bytes for the time, and the bytes of source, detail type and detail in
    /// UTF-8 (eb-putevent-size.html).
    pub fn size(&self) -> usize {
        14 + SOURCE.len() + self.kind.detail_type().len() + self.detail.len()
    }
}

/// An event's `detail`: `FeedbackEvent` in docs/schemas/feedback-event.schema.json.
#[derive(Clone, Copy, Serialize)]
struct Detail<'a> {
    workspace: &'a str,
    #[serde(serialize_with = "hyphenated")]
    id: FeedbackId,
    version: u64,
    target: TargetNames<'a>,
    stream_event_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Record<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    after_omitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Record<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    before_omitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Clone, Copy, Serialize)]
struct TargetNames<'a> {
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracing_project_fqn: Option<&'a str>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn hyphenated<S: Serializer>(id: &FeedbackId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.hyphenated())
}

impl<'a> TargetNames<'a> {
    fn of(target: &'a Target, project: Option<&'a Project>) -> Self {
        Self {
            trace_id: target.trace().as_str(),
            span_id: target.span().map(SpanId::as_str),
            tracing_project_fqn: project.map(Project::as_str),
        }
    }
}

impl<'a> Detail<'a> {
    fn of(event: &'a Event) -> (Kind, Self) {
        let id = event.stream_event_id.as_str();
        match &event.what {
            What::Created(record) => (Kind::Created, Self::with(record, id)),
            What::Updated { before, after } => {
                let detail = Self {
                    before: before.as_deref().map(portkey::record),
                    before_omitted: before.is_none(),
                    ..Self::with(after, id)
                };
                (Kind::Updated, detail)
            }
            What::Deleted { record, is_expired } => {
                let detail = Self {
                    reason: is_expired.then_some("expired"),
                    ..Self::without(record, id)
                };
                (Kind::Deleted, detail)
            }
        }
    }

    /// Of a record as it is now.
    fn with(record: &'a Feedback, stream_event_id: &'a str) -> Self {
        Self {
            workspace: record.workspace.as_str(),
            id: record.id,
            version: record.version,
            target: TargetNames::of(&record.draft.target, record.draft.project.as_ref()),
            stream_event_id,
            after: Some(portkey::record(record)),
            after_omitted: false,
            before: None,
            before_omitted: false,
            reason: None,
        }
    }

    /// Of a record that is gone. Its deletion counts as a write.
    fn without(record: &'a Identity, stream_event_id: &'a str) -> Self {
        Self {
            workspace: record.workspace.as_str(),
            id: record.id,
            version: record.version.saturating_add(1),
            target: TargetNames::of(&record.target, record.project.as_ref()),
            stream_event_id,
            after: None,
            after_omitted: false,
            before: None,
            before_omitted: false,
            reason: None,
        }
    }

    fn json(self) -> String {
        // Strings, numbers and validated JSON text always serialize.
        serde_json::to_string(&self).unwrap_or_default()
    }
}
