//! What a record is in Langfuse: one numeric score.
//!
//! The rules are those of Langfuse's source (github.com/langfuse/langfuse, v3.49.0 to v4.9.0,
//! `worker/src/services/IngestionService` and `packages/shared/clickhouse/migrations`):
//!
//! - ClickHouse replaces a row of `scores` only where project, date, name and id are the same. The date is that of the
//!   event's `timestamp`, which only `POST /api/public/ingestion` takes. So these never change here.
//! - The events of a score that Langfuse still has are merged in the order of their timestamps, and those with the same
//!   timestamp in no useful order. So each version of a record has a timestamp of its own, on the same date.
//! - A field that an event lacks keeps its last value, metadata are merged member by member, and arrays in them element
//!   by element. So an event states everything, an absent comment is null, and every member of the metadata is a text.

use std::borrow::Cow;

use serde_json::{Value, json};
use shared::feedback::Feedback;
use shared::id::FeedbackId;
use shared::indexed::Field;
use shared::score::Score;
use shared::timestamp::Timestamp;

/// The name of a score whose record has no `_name` that stays.
pub const DEFAULT_NAME: &str = "user-feedback";

/// A record's scale. A record has one score in Langfuse for each scale it was ever on, at most one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Portkey's value.
    Value,
    /// TrueFoundry's rating.
    Rating,
}

impl Scale {
    /// Every scale.
    pub const ALL: [Self; 2] = [Self::Value, Self::Rating];

    /// The scale of a record.
    pub fn of(record: &Feedback) -> Self {
        match record.draft.score {
            Score::Value(..) => Self::Value,
            Score::Rating(_) => Self::Rating,
        }
    }

    /// Parses the name of a scale, as records have it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scale| scale.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Rating => "rating",
        }
    }

    /// The other scale.
    pub fn other(self) -> Self {
        match self {
            Self::Value => Self::Rating,
            Self::Rating => Self::Value,
        }
    }
}

/// The id of a record's score on a scale.
pub fn id(record: FeedbackId, scale: Scale) -> String {
    format!("{}-{}", record.hyphenated(), scale.name())
}

/// The event that creates or replaces a record's score: `ScoreEvent` in Langfuse's OpenAPI. `event_id` is new for each
/// request, since Langfuse ignores an event id that it has just processed.
pub fn event(record: &Feedback, event_id: &str) -> Value {
    let scale = Scale::of(record);
    let draft = &record.draft;
    let (value, weight) = match draft.score {
        Score::Value(value, weight) => (i64::from(value.get()), weight.get().to_string()),
        Score::Rating(rating) => (i64::from(rating.get()), String::new()),
    };
    let mut body = json!({
        "id": id(record.id, scale),
        "traceId": draft.target.trace().as_str(),
        "name": name(record, scale),
        "value": value,
        "dataType": "NUMERIC",
        "comment": draft.comment_text(),
        "metadata": {
            "source": "hindsight",
            "workspace": record.workspace.as_str(),
            "feedback_id": record.id.hyphenated(),
            "version": record.version.to_string(),
            "updated_at": record.updated_at.to_string(),
            "scale": scale.name(),
            "weight": weight,
            "reasons": draft.reasons.to_stored(),
            "name": draft.name(),
        },
    });
    if let Some(span) = draft.target.span() {
        body["observationId"] = span.as_str().into();
    }
    if let Some(environment) = environment(record) {
        body["environment"] = environment.into();
    }
    json!({
        "id": event_id,
        "timestamp": timestamp(record.id.created_at(), record.version).to_string(),
        "type": "score-create",
        "body": body,
    })
}

/// The name of a record's score, which never changes: an upserted record's `_name` stays, any other may be given
/// another by an update.
fn name(record: &Feedback, scale: Scale) -> Cow<'static, str> {
    let asked = record.draft.person.as_ref().map(|person| person.name.as_str());
    let name = asked
        .filter(|name| !name.trim().is_empty())
        .map_or(Cow::Borrowed(DEFAULT_NAME), |name| Cow::Owned(name.to_owned()));
    match scale {
        Scale::Value => name,
        Scale::Rating => Cow::Owned(format!("{name}-rating")),
    }
}

/// When a record was created, and a millisecond later for each version, on the same date in UTC. A record of the
/// last minute of a day is dated to that minute's begin, so that there is room for its versions.
fn timestamp(created_at: Timestamp, version: u64) -> Timestamp {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    const MINUTE: u64 = 60 * 1000;
    let created = created_at.millis();
    let end = created - created % DAY + DAY;
    let first = created.min(end - MINUTE);
    let later = first.saturating_add(version.saturating_sub(1));
    Timestamp::from_millis(later.min(end - 1))
}

/// The record's `_environment`, if Langfuse takes it as one: up to 40 of `a-z`, `0-9`, `-` and `_`, not beginning with
/// `langfuse`. Langfuse keeps the first that a score had.
fn environment(record: &Feedback) -> Option<String> {
    let indexed = record.draft.indexed();
    let name = indexed.get(Field::Environment)?.to_lowercase();
    let is_taken = name.len() <= 40
        && !name.starts_with("langfuse")
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    is_taken.then_some(name)
}

#[cfg(test)]
mod tests {
    use shared::access::key::KeyId;
    use shared::dialect::portkey::{self, Create};
    use shared::dialect::truefoundry;
    use shared::feedback::{Draft, Writer};
    use shared::id::Workspace;
    use shared::person::Person;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn every_version_has_a_time_of_its_own_on_the_same_date() {
        for created in [
            "2026-02-28T00:00:00Z",
            "2026-02-28T12:00:00.123Z",
            "2026-02-28T23:59:59.999Z",
            "1970-01-01T00:00:00Z",
        ] {
            let date = &at(created).to_string()[..10];
            let times: Vec<_> = (1..=60_000)
                .map(|version| timestamp(at(created), version))
                .collect();
            assert!(times.is_sorted_by(|one, next| one < next), "{created}");
            for time in [times[0], times[59_999], timestamp(at(created), u64::MAX)] {
                assert!(time.to_string().starts_with(date), "{created} {time}");
            }
            assert!(times[0].age(at(created)).as_secs() < 60);
        }
        assert_eq!(
            timestamp(at("2026-02-28T12:00:00.123Z"), 1),
            at("2026-02-28T12:00:00.123Z")
        );
    }

    /// The record that a draft becomes, the same each time.
    fn record(draft: Draft) -> Feedback {
        let by = Writer {
            workspace: Workspace::parse("acme").unwrap(),
            key: KeyId::parse("hsk_0123456789abcdef").unwrap(),
        };
        Feedback::new(&by, draft, at("2026-11-22T03:00:00.123Z"), 0, [7; 10])
    }

    /// The events in tests/fixtures, which tests/clients/langfuse_scores.py reads with Langfuse's own models.
    #[test]
    fn the_events_are_those_that_langfuse_s_own_models_read() {
        let vote = r#"{"trace_id": "a \"trace\"", "value": -1, "weight": 0.5, "reasons": ["wrong", "too long"],
            "metadata": {"_user": "erin-9f", "_name": "helpful", "_environment": "Production", "text": "No.\n\"Never\""}}"#;
        let rating = r#"{"target": {"traceId": "t", "spanId": "s"}, "rating": 4}"#;
        let Create::One(plain) = portkey::parse_create(vote).unwrap().value else {
            panic!("a bulk");
        };
        let mut upserted = plain.clone();
        upserted.person = Some(Person {
            user: "erin-9f".to_owned(),
            name: "helpful".to_owned(),
        });
        let rating = truefoundry::parse_create(rating).unwrap().value;
        let events = [*upserted, *plain, rating]
            .map(|draft| event(&record(draft), "6f1f3c7e-5b1d-4c86-9d2e-0f3a6a1b2c3d"));
        let expected: Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/langfuse/scores.json")).unwrap();
        assert_eq!(Value::from(events.to_vec()), expected);
    }

    #[test]
    fn a_scale_is_parsed_by_its_name() {
        for scale in Scale::ALL {
            assert_eq!(Scale::parse(scale.name()), Some(scale));
            assert_eq!(scale.other().other(), scale);
            assert_ne!(scale.other(), scale);
        }
        assert_eq!(Scale::parse("stars"), None);
    }
}
