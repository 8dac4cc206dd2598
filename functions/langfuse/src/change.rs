//! A change of a record, as it is in the queue.

use serde::{Deserialize, Serialize};
use shared::id::{FeedbackId, Workspace};
use shared::target::{SpanId, Target, TraceId};

use crate::score::Scale;

/// A change of a record. It says which record may have changed, and not what the record is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The workspace of the record.
    pub workspace: Workspace,
    /// The record's id.
    pub id: FeedbackId,
    /// The version that the change made; `None` for a message of this function's own.
    pub version: Option<u64>,
    /// The record's target, by which it is read.
    pub target: Target,
    /// How often the deletes of this change were repeated.
    pub repeats: usize,
    /// The scales that the record may have had before or after the change.
    pub scales: Vec<Scale>,
}

/// The parts of an event's `detail` that matter here, and of this function's own messages.
#[derive(Deserialize)]
struct Detail {
    workspace: String,
    id: String,
    version: Option<u64>,
    target: TargetJson,
    before: Option<RecordJson>,
    after: Option<RecordJson>,
    #[serde(default)]
    before_omitted: bool,
    #[serde(default)]
    after_omitted: bool,
    #[serde(default)]
    repeats: usize,
}

#[derive(Deserialize, Serialize)]
struct TargetJson {
    trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
}

#[derive(Deserialize)]
struct RecordJson {
    scale: String,
}

/// A message of this function's own: the record and nothing it says.
#[derive(Serialize)]
struct Own<'a> {
    workspace: &'a str,
    id: String,
    target: TargetJson,
    repeats: usize,
}

impl Change {
    /// Reads a message. Returns `None` if it is not an event's `detail`, nor a message of this function's own.
    pub fn parse(body: &str) -> Option<Self> {
        let detail: Detail = serde_json::from_str(body).ok()?;
        let trace = TraceId::parse(&detail.target.trace_id)?;
        let scale = |record: &RecordJson| Scale::parse(&record.scale);
        let told: Option<Vec<Scale>> = [&detail.before, &detail.after]
            .into_iter()
            .flatten()
            .map(scale)
            .collect();
        // Nothing is known of what is left out. An event without a record after it is a delete.
        let is_known = detail.after.is_some() && !detail.before_omitted && !detail.after_omitted;
        Some(Self {
            workspace: Workspace::parse(&detail.workspace)?,
            id: FeedbackId::parse(&detail.id)?,
            version: detail.version,
            target: match &detail.target.span_id {
                Some(span) => Target::Span(trace, SpanId::parse(span)?),
                None => Target::Trace(trace),
            },
            repeats: detail.repeats,
            scales: told.filter(|_| is_known).unwrap_or_else(|| Scale::ALL.into()),
        })
    }

    /// The message for a later look at the record.
    pub fn message(&self, repeats: usize) -> String {
        let own = Own {
            workspace: self.workspace.as_str(),
            id: self.id.hyphenated(),
            target: TargetJson {
                trace_id: self.target.trace().as_str().to_owned(),
                span_id: self.target.span().map(|span| span.as_str().to_owned()),
            },
            repeats,
        };
        // Texts and numbers always serialize. An empty message would be refused.
        ascii(&serde_json::to_string(&own).unwrap_or_default())
    }
}

/// JSON with an escape for each character beyond ASCII. A queue takes no U+FFFE and U+FFFF
/// (docs.aws.amazon.com/AWSSimpleQueueService, "SendMessage").
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(more: serde_json::Value) -> String {
        let mut detail = json!({
            "workspace": "acme", "id": "019ab2a9-8fc6-7804-83ea-e496e2dd611d", "version": 3,
            "target": {"trace_id": "t", "tracing_project_fqn": "p"}, "stream_event_id": "e",
        });
        detail
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        detail.to_string()
    }

    #[test]
    fn an_event_tells_which_scales_there_were() {
        let record = |scale: &str| json!({"scale": scale, "metadata": {"a": [1]}});
        for (more, scales) in [
            (json!({"after": record("value")}), &[Scale::Value][..]),
            (
                json!({"before": record("value"), "after": record("value")}),
                &[Scale::Value, Scale::Value],
            ),
            (
                json!({"before": record("rating"), "after": record("value")}),
                &[Scale::Rating, Scale::Value],
            ),
            (
                json!({"before_omitted": true, "after": record("value")}),
                &Scale::ALL,
            ),
            (
                json!({"before": record("value"), "after_omitted": true}),
                &Scale::ALL,
            ),
            (json!({"after": record("stars")}), &Scale::ALL),
            (json!({"reason": "expired"}), &Scale::ALL),
        ] {
            assert_eq!(
                Change::parse(&event(more.clone())).unwrap().scales,
                scales,
                "{more}"
            );
        }
        // A lone surrogate and a repeated name in the metadata, which no string of Rust's can hold.
        let odd = event(json!({"after": {"scale": "value"}})).replace(
            "\"scale\":\"value\"",
            "\"scale\":\"value\",\"metadata\":{\"a\":\"\\ud800\",\"a\":1}",
        );
        assert_eq!(Change::parse(&odd).unwrap().scales, [Scale::Value]);
    }

    #[test]
    fn its_own_message_says_the_same_record_and_is_ascii() {
        let odd = "trace \"x\" \u{ffff} \u{1f600} \u{1}";
        for span in [None, Some("s\u{fffe}")] {
            let target = json!({"trace_id": odd, "span_id": span});
            let change =
                Change::parse(&event(json!({"target": target, "after": {"scale": "value"}}))).unwrap();
            let message = change.message(2);
            assert!(message.is_ascii(), "{message}");
            let again = Change::parse(&message).unwrap();
            assert_eq!((again.repeats, &again.scales[..]), (2, &Scale::ALL[..]));
            assert_eq!((change.version, again.version), (Some(3), None));
            assert_eq!(
                (again.workspace, again.id, again.target),
                (change.workspace, change.id, change.target)
            );
        }
    }

    #[test]
    fn other_messages_are_none() {
        for body in [
            "",
            "x",
            "{}",
            "[]",
            &event(json!({"id": "x"})),
            &event(json!({"target": {"trace_id": ""}})),
        ] {
            assert_eq!(Change::parse(body), None, "{body}");
        }
    }
}
