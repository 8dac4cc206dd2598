//! Open WebUI's feedback, as its administrators export it. docs/import.md says where its fields are published.

use super::{Label, Reading, Theirs, metadata, nested, object, quoted};
use crate::feedback::{Draft, Feedback};
use crate::fields::{Fields, FromJson, JsonRef, Kind, Object, Refusal, scalar_text, string, within};
use crate::metadata::Comment;
use crate::problem::Fault;
use crate::reasons::Reasons;
use crate::score::{Score, Value, Weight};
use crate::target::{Target, TraceId};
use crate::timestamp::Timestamp;

/// Members of `data` and of `meta` that have a place in a record.
const DATA: [&str; 4] = ["rating", "reason", "comment", "model_id"];
const META: [&str; 2] = ["chat_id", "message_id"];

/// The only type of feedback that there is.
struct RatingType;

impl FromJson for RatingType {
    const EXPECTED: &str = "\"rating\"";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        match string(json)?.as_str() {
            "rating" => Ok(Self),
            _ => Err(Refusal::Mismatch),
        }
    }
}

/// A time in seconds since the Unix epoch.
struct Seconds(Timestamp);

impl FromJson for Seconds {
    const EXPECTED: &str = "a Unix time in whole seconds";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        let seconds: Option<u64> = scalar_text(json).and_then(|text| text.parse().ok());
        let millis = seconds.and_then(|seconds| seconds.checked_mul(1_000));
        millis
            .filter(|millis| *millis <= Timestamp::MAX.millis())
            .map(|millis| Self(Timestamp::from_millis(millis)))
            .ok_or(Refusal::Mismatch)
    }
}

/// Gives an inner object's faults to the outer one.
fn close<T>(outer: &mut Fields<'_>, name: &'static str, inner: Fields<'_>, value: Option<T>) -> Option<T> {
    match inner.finish(value) {
        Ok(value) => Some(value),
        Err(faults) => {
            for fault in within(name, faults) {
                outer.fault(fault);
            }
            None
        }
    }
}

/// The members of an object that have no place in a record.
fn rest(json: Option<JsonRef<'_>>, mapped: &[&str]) -> String {
    let known = json.and_then(|json| Object::from_json(json).ok());
    let members: Vec<(String, String)> = known
        .iter()
        .flat_map(Object::members)
        .filter(|(name, json)| !mapped.contains(&name.as_str()) && Kind::of(json) != Kind::Null)
        .map(|(name, json)| (name.clone(), json.get().to_owned()))
        .collect();
    object(&members)
}

/// A text, if it is there and not empty. An empty one is how a form is sent that was not filled in.
fn filled<T: FromJson>(fields: &mut Fields<'_>, name: &'static str) -> Option<T> {
    let is_empty = fields.raw(name).is_some_and(|json| json.get() == "\"\"");
    if is_empty { None } else { fields.optional(name) }
}

/// A reason, which is one of several here.
struct Reason(Reasons);

impl FromJson for Reason {
    const EXPECTED: &str = "a string of at most 64 bytes";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if Kind::of(json) != Kind::String {
            return Err(Refusal::Mismatch);
        }
        let list = format!("[{}]", json.get());
        let list = crate::fields::document(&list).map_err(Refusal::Because)?;
        Reasons::from_json(list).map(Self).map_err(|_| Refusal::Mismatch)
    }
}

/// What `data` says of a vote.
struct Data {
    value: Value,
    reasons: Reasons,
    comment: Option<Comment>,
    model: Option<String>,
}

fn data(mut fields: Fields<'_>) -> (Fields<'_>, Option<Data>) {
    let value = fields.required::<Value>("rating");
    let reasons = filled::<Reason>(&mut fields, "reason");
    let comment = filled::<Comment>(&mut fields, "comment");
    let model = filled::<Label>(&mut fields, "model_id");
    let data = value.map(|value| Data {
        value,
        reasons: reasons.map(|Reason(reasons)| reasons).unwrap_or_default(),
        comment,
        model: model.map(|Label(text)| text),
    });
    (fields, data)
}

/// Reads a vote on a message. What else it says is kept in the metadata, in `open_webui`, except for the user's profile
/// and the copy of the chat.
pub(super) fn record(outer: Object<'_>, reading: &Reading<'_>) -> Result<Feedback, Vec<Fault>> {
    let mut fields = Fields::new(outer);
    let id = fields.required::<Label>("id");
    fields.required::<RatingType>("type");
    let user = fields.required::<Label>("user_id");
    let created_at = fields.required::<Seconds>("created_at");
    let updated_at = fields.optional::<Seconds>("updated_at");
    let vote = match nested(&mut fields, "data") {
        Some(inner) => {
            let (inner, data) = data(inner);
            close(&mut fields, "data", inner, data)
        }
        None => {
            fields.fault(Fault::new("data", "missing, expected an object"));
            None
        }
    };
    let place = match nested(&mut fields, "meta") {
        Some(mut inner) => {
            let chat = inner.required::<Label>("chat_id");
            let message = inner.required::<Label>("message_id");
            close(&mut fields, "meta", inner, chat.zip(message))
        }
        None => {
            fields.fault(Fault::new("meta", "missing, expected an object"));
            None
        }
    };
    let trace = place.as_ref().and_then(|(Label(chat), Label(message))| {
        let trace = TraceId::parse(&format!("{chat}:{message}"));
        if trace.is_none() {
            let rest = "expected at most 512 bytes in chat_id and message_id, got more";
            fields.fault(Fault::new("meta", rest));
        }
        trace
    });
    let mut members = Vec::new();
    if let Some(Label(user)) = &user {
        members.push(("_user".to_owned(), quoted(user)));
    }
    if let Some((Label(chat), _)) = &place {
        members.push(("_session".to_owned(), quoted(chat)));
    }
    if let Some(model) = vote.as_ref().and_then(|vote| vote.model.as_ref()) {
        members.push(("_model".to_owned(), quoted(model)));
    }
    let kept = [
        ("data".to_owned(), rest(fields.raw("data"), &DATA)),
        ("meta".to_owned(), rest(fields.raw("meta"), &META)),
    ];
    members.push(("open_webui".to_owned(), object(&kept)));
    let metadata = metadata(&mut fields, None, members);
    let record = (|| {
        let theirs = Theirs {
            id: id?.0,
            created_at: created_at?.0,
            updated_at: updated_at.map(|Seconds(time)| time),
        };
        let vote = vote?;
        let draft = Draft {
            target: Target::Trace(trace?),
            project: None,
            score: Score::Value(vote.value, Weight::DEFAULT),
            comment: vote.comment,
            reasons: vote.reasons,
            metadata,
            person: None,
        };
        Some(reading.derived(&theirs, draft))
    })();
    fields.finish(record)
}
