//! Portkey's feedback API, `/v1/feedback`, as Portkey documents it and its SDKs call it. DELETE and GET are
//! additions in the same style.

mod list;

use serde::Serialize;

use super::record::{Record, Spelling};
use super::{Action, path_id, to_json, warn_of_comment};
use crate::feedback::{Change, Draft, Feedback, ScoreChange};
use crate::fields::{
    self, Accepted, Fields, JsonRef, Kind, Object, Patch, Refusal, describe, document, elements, within,
};
use crate::id::FeedbackId;
use crate::metadata::{Comment, MaybeText};
use crate::problem::{Fault, Problem};
use crate::query::Summary;
use crate::reasons::Reasons;
use crate::score::{Score, Value, Weight};
use crate::target::{Target, TraceId};

pub use list::parse_list;

/// The fault of a span id that comes without a trace id.
pub(super) const SPAN_WITHOUT_TRACE: &str =
    "missing, expected with span_id: a span id is unique only within its trace";

/// The maximum number of records in a bulk request, which is the limit of one DynamoDB transaction.
pub const MAX_BULK: usize = 100;

/// The parsed body of a POST.
#[derive(Debug, PartialEq)]
pub enum Create {
    /// One object.
    One(Box<Draft>),
    /// An array, or an object with numeric keys, into which the Node SDK converts arrays.
    Bulk(Vec<Draft>),
}

/// Parses the body of a POST.
///
/// # Errors
///
/// [`Problem::Invalid`] with every invalid field, in each element of a bulk request.
pub fn parse_create(body: &str) -> Result<Accepted<Create>, Problem> {
    let json = document(body).map_err(|rest| Problem::invalid("body", rest))?;
    match Kind::of(json) {
        Kind::Array => {
            let items = elements(json).map_err(|_| Problem::invalid("body", "expected JSON"))?;
            parse_bulk(items)
        }
        Kind::Object => {
            let object = Object::from_json(json).map_err(|rest| Problem::invalid("body", rest))?;
            match numbered(&object) {
                Some(_) if object.has_repeated_names() => Err(Problem::invalid(
                    "body",
                    "expected array indexes without duplicates, got one twice",
                )),
                Some(items) => parse_bulk(items),
                None => draft(object).map_err(Problem::Invalid).map(|draft| Accepted {
                    value: Create::One(Box::new(draft.value)),
                    warnings: draft.warnings,
                }),
            }
        }
        _ => Err(Problem::invalid(
            "body",
            format!(
                "expected a JSON object or an array of them, got {}",
                describe(json)
            ),
        )),
    }
}

/// Returns the values of an object whose keys are all digits, in numeric order: an array that the Node SDK
/// has converted. Returns `None` for any other object, including the empty one.
fn numbered<'a>(object: &Object<'a>) -> Option<Vec<JsonRef<'a>>> {
    let members = object.members();
    let digits = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
    let are_digits = !object.has_lone_surrogates() && members.iter().all(|(key, _)| digits(key));
    if members.is_empty() || !are_digits {
        return None;
    }
    let mut sorted: Vec<(&str, JsonRef<'a>)> = members
        .iter()
        .map(|(key, value)| (key.trim_start_matches('0'), *value))
        .collect();
    // Shorter digit strings are smaller numbers, whatever their length.
    sorted.sort_by_key(|(key, _)| (key.len(), *key));
    Some(sorted.into_iter().map(|(_, value)| value).collect())
}

fn parse_bulk(items: Vec<JsonRef<'_>>) -> Result<Accepted<Create>, Problem> {
    if !(1..=MAX_BULK).contains(&items.len()) {
        return Err(Problem::invalid(
            "body",
            format!("expected 1 to {MAX_BULK} feedback objects, got {}", items.len()),
        ));
    }
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let mut drafts = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let name = format!("feedback[{index}]");
        if Kind::of(item) != Kind::Object {
            faults.push(Fault::new(
                name,
                format!("expected a JSON object, got {}", describe(item)),
            ));
            continue;
        }
        match Object::from_json(item) {
            Err(rest) => faults.push(Fault::new(name, rest)),
            Ok(object) => match draft(object) {
                Ok(draft) => {
                    drafts.push(draft.value);
                    warnings.extend(draft.warnings.iter().map(|warning| format!("{name}.{warning}")));
                }
                Err(inner) => faults.extend(within(&name, inner)),
            },
        }
    }
    if faults.is_empty() {
        Ok(Accepted {
            value: Create::Bulk(drafts),
            warnings,
        })
    } else {
        Err(Problem::Invalid(faults))
    }
}

fn draft(object: Object<'_>) -> Result<Accepted<Draft>, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let trace = trace_id(&mut fields);
    let value = fields.required::<Value>("value");
    let weight = fields.optional::<Weight>("weight");
    let metadata = fields.optional::<MaybeText>("metadata");
    let comment = fields.optional::<Comment>("comment");
    warn_of_comment(&mut fields);
    let reasons = fields.optional::<Reasons>("reasons").unwrap_or_default();
    let draft = trace.zip(value).map(|(trace, value)| Draft {
        target: Target::Trace(trace),
        project: None,
        score: Score::Value(value, weight.unwrap_or(Weight::DEFAULT)),
        comment,
        reasons,
        metadata: metadata.map(|MaybeText(metadata)| metadata),
        person: None,
    });
    fields.accept(draft)
}

/// Reads `trace_id`, or `traceID`, which the Node SDK sends in bulk requests. If both are present, they
/// must be equal.
fn trace_id(fields: &mut Fields<'_>) -> Option<TraceId> {
    match (fields.raw("trace_id").is_some(), fields.raw("traceID").is_some()) {
        (false, true) => fields.required("traceID"),
        (true, true) => {
            let (trace, alias) = (fields.required("trace_id"), fields.required("traceID"));
            let (trace, alias): (TraceId, TraceId) = trace.zip(alias)?;
            if trace == alias {
                return Some(trace);
            }
            fields.fault(Fault::new(
                "traceID",
                "expected the same as trace_id, got another",
            ));
            None
        }
        _ => fields.required("trace_id"),
    }
}

/// Parses the body of a PUT. The Node SDK repeats the id in the body. The vendor's own sample calls `PUT
/// /v1/feedback/undefined`, so in that case the body's id is used.
///
/// # Errors
///
/// [`Problem::Invalid`] with every invalid field, including the id.
pub fn parse_update(path: &str, body: &str) -> Result<Accepted<(FeedbackId, Change)>, Problem> {
    let mut fields = fields::body_fields(body)?;
    let id = if path == "undefined" && fields.has("feedback_id") {
        fields.required::<BodyId>("feedback_id").map(|BodyId(id)| id)
    } else {
        path_id(path).map_err(|fault| fields.fault(fault)).ok()
    };
    // The Node SDK repeats the id in the body, but the id in the path is used.
    fields.has("feedback_id");
    let value = fields.required::<Value>("value");
    let weight = fields.patch::<Weight>("weight");
    let comment = fields.patch::<Comment>("comment");
    warn_of_comment(&mut fields);
    let reasons = fields.patch::<Reasons>("reasons");
    let metadata = match fields.patch::<MaybeText>("metadata") {
        Patch::Keep => Patch::Keep,
        Patch::Clear => Patch::Clear,
        Patch::Set(MaybeText(metadata)) => Patch::Set(metadata),
    };
    let change = id.zip(value).map(|(id, value)| {
        let change = Change {
            score: ScoreChange::Value(value, weight),
            comment,
            reasons,
            metadata,
        };
        (id, change)
    });
    fields.accept(change).map_err(Problem::Invalid)
}

struct BodyId(FeedbackId);

impl fields::FromJson for BodyId {
    const EXPECTED: &str = FeedbackId::EXPECTED;

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        FeedbackId::parse(&fields::string(json)?)
            .map(Self)
            .ok_or(Refusal::Mismatch)
    }
}

/// Parses the id in the path of a GET or DELETE.
///
/// # Errors
///
/// [`Problem::Invalid`] if it is not an id.
pub fn parse_id(path: &str) -> Result<FeedbackId, Problem> {
    path_id(path).map_err(|fault| Problem::Invalid(vec![fault]))
}

/// Renders the response to a write, with any warnings.
pub fn render_written(action: Action, ids: &[FeedbackId], warnings: &[String]) -> String {
    #[derive(Serialize)]
    struct Written<'a> {
        status: &'static str,
        message: &'static str,
        feedback_ids: Vec<String>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        warnings: &'a [String],
    }
    to_json(&Written {
        status: "success",
        message: match action {
            Action::Saved => "Feedback successfully saved",
            Action::Updated => "Feedback successfully updated",
            Action::Deleted => "Feedback successfully deleted",
        },
        feedback_ids: ids.iter().map(|id| id.hyphenated()).collect(),
        warnings,
    })
}

const SPELLING: Spelling = Spelling {
    id: FeedbackId::hyphenated,
    trace_id: "trace_id",
    span_id: "span_id",
    tracing_project_fqn: "tracing_project_fqn",
    feedback_target_id: "feedback_target_id",
    written_by: "written_by",
    created_at: "created_at",
    updated_at: "updated_at",
};

/// A record as a GET returns it, to be part of other JSON.
pub fn record(feedback: &Feedback) -> Record<'_> {
    Record::new(feedback, &SPELLING)
}

/// Renders the response to a GET of one record.
pub fn render_one(feedback: &Feedback) -> String {
    to_json(&record(feedback))
}

/// Renders a page of a list, with the summary of its trace if one was requested.
pub fn render_list(records: &[Feedback], next_cursor: Option<&str>, summary: Option<&Summary>) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Record<'a>>,
        next_cursor: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<&'a Summary>,
    }
    to_json(&List {
        object: "list",
        data: records.iter().map(record).collect(),
        next_cursor,
        summary,
    })
}

/// Renders an error body that both SDKs turn into a readable message.
pub fn render_problem(problem: &Problem) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        status: &'static str,
        success: bool,
        message: &'a str,
        error: Error<'a>,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        message: &'a str,
        code: &'static str,
        param: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        message: &'a str,
        #[serde(rename = "errorCode")]
        error_code: &'static str,
    }
    let (message, code) = (problem.message(), code(problem));
    let param = match problem {
        Problem::Invalid(faults) => faults.first().map(|fault| fault.field.as_str()),
        _ => None,
    };
    to_json(&Body {
        status: "failure",
        success: false,
        message: &message,
        error: Error {
            message: &message,
            code,
            param,
        },
        data: Data {
            message: &message,
            error_code: code,
        },
    })
}

/// Portkey's error code for a problem.
fn code(problem: &Problem) -> &'static str {
    match problem {
        Problem::Invalid(_) | Problem::VersionMismatch => "AB01",
        Problem::Forbidden { .. } | Problem::ForeignWorkspace | Problem::Denied(_) | Problem::ForeignForm => {
            "AB03"
        }
        Problem::Unavailable { .. } | Problem::Internal { .. } => "AB04",
        Problem::Unauthorized | Problem::BadToken(_) => "AB05",
        Problem::Throttled => "AB06",
        Problem::KeyReused => "AB07",
        Problem::NotFound => "AB08",
    }
}
