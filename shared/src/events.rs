//! Events: what changed in feedback, for others than Hindsight.
//!
//! A change in the stream becomes no event, one or two. Events are delivered at least once and in no promised order.
//! Of the events of an id the one with the highest version is what holds now: a deletion counts as a write, so its
//! event has the version after the record's last one, and nothing comes after it.

pub mod entry;

use serde::Deserialize;

use crate::feedback::Feedback;
use crate::indexed::Field;
use crate::stats::change::{Change, StreamRecord};
use crate::stats::image::{self, Image, Unreadable};
use crate::store::item::{self, Identity};
use crate::timestamp::Timestamp;

/// The attributes of a record that a parked change keeps: what tells which record it is, and nothing that its user
/// wrote. An erasure need not look for them.
const KEPT: [&str; 8] = [
    "pk",
    "sk",
    "id",
    "version",
    "schema",
    "expires_at",
    "updated_at",
    "project",
];

/// What the hash follows in the sort key of an upserted record. No workspace, and no id, contains it.
const UPSERTED: &str = "#~";

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The id of the stream record. A change that makes two events gives both the same.
    pub stream_event_id: String,
    /// When the change happened, rounded down to the second.
    pub happened_at: Timestamp,
    /// What happened to which record.
    pub what: What,
}

/// What happened to a record.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// It is new.
    Created(Box<Feedback>),
    /// It was changed.
    Updated {
        /// The record before; `None` if it is not known.
        before: Option<Box<Feedback>>,
        /// The record now.
        after: Box<Feedback>,
    },
    /// It is gone.
    Deleted {
        /// Which it was.
        record: Identity,
        /// Whether it was kept for as long as it was to be kept.
        is_expired: bool,
    },
}

/// A change without the content of its records.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    stream_event_id: String,
    happened_at: Timestamp,
    /// Whether DynamoDB deleted the item by its time to live.
    is_swept: bool,
    old: Option<Identity>,
    new: Option<Identity>,
}

/// Where a stream record comes from, in Lambda's names and in those of the DynamoDB Streams API.
#[derive(Deserialize)]
struct Origin {
    #[serde(rename = "eventID")]
    event_id: String,
    #[serde(rename = "userIdentity", default)]
    user_identity: Option<Principal>,
}

/// Who made a change. For a deletion by time to live: type `Service`, principal `dynamodb.amazonaws.com`
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html).
#[derive(Deserialize)]
struct Principal {
    #[serde(rename = "type", alias = "Type", default)]
    kind: String,
    #[serde(rename = "principalId", alias = "PrincipalId", default)]
    id: String,
}

impl Principal {
    fn is_time_to_live(&self) -> bool {
        self.kind == "Service" && self.id == "dynamodb.amazonaws.com"
    }
}

impl Outline {
    /// Reads which records a change is of. Returns `None` if it changed nothing that a caller sees, as when a rebuild
    /// touches a record.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if this code cannot tell.
    pub fn of(record: &StreamRecord) -> Result<Option<Self>, Unreadable> {
        let change = record.change.as_ref().map_err(Clone::clone)?;
        if is_touch(change) {
            return Ok(None);
        }
        if change.old_image.is_none() && change.new_image.is_none() {
            return Err(Unreadable::Part("images"));
        }
        // serde's own error would quote the record.
        let origin: Origin = serde_json::from_str(record.json()).map_err(|_| Unreadable::Part("event id"))?;
        Ok(Some(Self {
            stream_event_id: origin.event_id,
            happened_at: record.happened_at,
            is_swept: origin
                .user_identity
                .is_some_and(|principal| principal.is_time_to_live()),
            old: change.old_image.as_ref().map(identity).transpose()?,
            new: change.new_image.as_ref().map(identity).transpose()?,
        }))
    }

    /// The event of the record that the change ended: it was deleted, it expired, or another took its place.
    pub fn ended(&self) -> Option<Event> {
        let old = self.old.as_ref()?;
        let replaced_at = match &self.new {
            Some(new) if new.id == old.id => return None,
            Some(new) => new.updated_at,
            None => self.happened_at,
        };
        let until = self.happened_at.max(replaced_at).seconds();
        Some(self.event(What::Deleted {
            record: old.clone(),
            is_expired: self.is_swept || old.expires_at.is_some_and(|end| end <= until),
        }))
    }

    /// The record that the change made or changed, which may have changed again or be gone since.
    pub fn current(&self) -> Option<&Identity> {
        self.new.as_ref()
    }

    /// The event that says what the record is now that the change made or changed.
    pub fn restated(&self, now: Feedback) -> Event {
        self.event(match self.continues() {
            true => What::Updated {
                before: None,
                after: Box::new(now),
            },
            false => What::Created(Box::new(now)),
        })
    }

    /// Whether the change left the same record, changed.
    fn continues(&self) -> bool {
        matches!((&self.old, &self.new), (Some(old), Some(new)) if old.id == new.id)
    }

    fn event(&self, what: What) -> Event {
        Event {
            stream_event_id: self.stream_event_id.clone(),
            happened_at: self.happened_at,
            what,
        }
    }
}

/// The events of a change. There are two if it ended one record and made another in its place.
///
/// # Errors
///
/// [`Unreadable`] if this code cannot read what the events would hold.
pub fn of(record: &StreamRecord) -> Result<Vec<Event>, Unreadable> {
    let Some(outline) = Outline::of(record)? else {
        return Ok(Vec::new());
    };
    let change = record.change.as_ref().map_err(Clone::clone)?;
    let mut events: Vec<Event> = outline.ended().into_iter().collect();
    if let Some(image) = &change.new_image {
        let after = Box::new(feedback(image)?);
        let before = change.old_image.as_ref().filter(|_| outline.continues());
        events.push(outline.event(match before {
            // A state that cannot be read any more does not hold up the one that replaced it.
            Some(image) => What::Updated {
                before: feedback(image).ok().map(Box::new),
                after,
            },
            None => What::Created(after),
        }));
    }
    Ok(events)
}

/// The change without the content of its records: what is parked of one that cannot be sent. The sort key of an upserted
/// record is kept without its hash, by which it could be tested whether it was a certain person's.
///
/// # Errors
///
/// [`Unreadable`] if the record's JSON is not that of a stream record.
pub fn without_content(record: &StreamRecord) -> Result<StreamRecord, Unreadable> {
    let unreadable = || Unreadable::Part("record");
    let mut json: serde_json::Value = serde_json::from_str(record.json()).map_err(|_| unreadable())?;
    if let Some(record) = json.as_object_mut() {
        record.retain(|name, _| ["eventID", "userIdentity", "dynamodb"].contains(&name.as_str()));
    }
    if let Some(change) = json.get_mut("dynamodb").and_then(|change| change.as_object_mut()) {
        change.remove("Keys");
        let images = change.iter_mut().filter(|(name, _)| name.ends_with("Image"));
        for (_, image) in images {
            match image.as_object_mut() {
                Some(attributes) => {
                    attributes.retain(|name, _| KEPT.contains(&name.as_str()));
                    let sort = attributes.get_mut("sk").and_then(|sort| sort.get_mut("S"));
                    if let Some(serde_json::Value::String(sort)) = sort
                        && let Some(prefix) = sort.find(UPSERTED)
                    {
                        sort.truncate(prefix + UPSERTED.len());
                    }
                }
                // Whatever it is, it is there.
                None => *image = serde_json::json!({}),
            }
        }
    }
    serde_json::from_str(&json.to_string()).map_err(|_| unreadable())
}

/// Whether a change is of nothing that a record shows: of a rebuild's number and index keys, or of the record's end.
fn is_touch(change: &Change) -> bool {
    let (Some(old), Some(new)) = (&change.old_image, &change.new_image) else {
        return false;
    };
    let is_touched = |name: &str| {
        ["generation", "expires_at"].contains(&name) || Field::ALL.iter().any(|field| field.key() == name)
    };
    let names = old.keys().chain(new.keys());
    names
        .filter(|name| !is_touched(name))
        .all(|name| old.get(name) == new.get(name))
}

fn identity(image: &Image) -> Result<Identity, Unreadable> {
    let item = image::to_item(image);
    item::identity(&item).map_err(|_| image::unreadable(&item))
}

fn feedback(image: &Image) -> Result<Feedback, Unreadable> {
    let item = image::to_item(image);
    item::to_feedback(&item).map_err(|_| image::unreadable(&item))
}
