//! TrueFoundry's feedback API, `/api/svc/v1/gateway-feedback`, as TrueFoundry documents it. GET is an
//! addition in the same style.

mod list;

use serde::Serialize;

use super::record::{Record, Spelling};
use super::{path_id, to_json, warn_of_comment};
use crate::feedback::{Change, Draft, Feedback, RecordRef, ScoreChange};
use crate::fields::{self, Accepted, Fields, FromJson, JsonRef, Kind, Object, Refusal, string};
use crate::id::FeedbackId;
use crate::metadata::{Comment, Metadata};
use crate::problem::{Fault, Problem};
use crate::reasons::Reasons;
use crate::score::{Rating, Score};
use crate::target::{Project, SpanId, Target, TraceId, decode_target_id};

pub use list::parse_list;

/// The span in a body's `target`: given by its target id, by its trace and span ids, or by both if they
/// agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetField {
    /// Always a span, because this dialect cannot address a whole trace.
    pub target: Target,
    /// The tracing project, which is stored but does not identify the target.
    pub project: Option<Project>,
    /// The names of unknown members, which are ignored.
    unknown: Vec<String>,
}

/// Adds a warning for each ignored member of a target.
fn warn_of_target(fields: &mut Fields<'_>, field: &TargetField) {
    for name in &field.unknown {
        fields.warn(fields::unknown_field(&format!("target.{name}")));
    }
}

impl FromJson for TargetField {
    const EXPECTED: &str = "an object with feedbackTargetId, or with traceId and spanId";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if Kind::of(json) != Kind::Object {
            return Err(Refusal::Mismatch);
        }
        let mut fields = Fields::new(Object::from_json(json).map_err(Refusal::Because)?);
        let by_id = fields.raw("feedbackTargetId").is_some();
        let by_names = fields.raw("traceId").is_some() || fields.raw("spanId").is_some();
        if !by_id && !by_names {
            return Err(Refusal::Because(format!("expected {}", Self::EXPECTED)));
        }
        let encoded = by_id
            .then(|| fields.required::<TargetId>("feedbackTargetId"))
            .flatten()
            .map(|TargetId(trace, span)| (trace, span));
        // Next to a target id, the names are optional and must agree with it. Without one, both are
        // required.
        let (trace, span): (Option<TraceId>, Option<SpanId>) = if by_id {
            (fields.optional("traceId"), fields.optional("spanId"))
        } else {
            (fields.required("traceId"), fields.required("spanId"))
        };
        // Read both, so that a fault in either is reported.
        let other_spelling = fields.optional("tracingProjectFqn");
        let project = fields.optional("tracingProjectFQN").or(other_spelling);
        if let Some((of_trace, of_span)) = &encoded {
            let agrees = trace.as_ref().is_none_or(|trace| trace == of_trace)
                && span.as_ref().is_none_or(|span| span == of_span);
            if !agrees {
                fields.fault(Fault::new(
                    "feedbackTargetId",
                    "expected the span of traceId and spanId, got another",
                ));
            }
        }
        // The vendor's name for the form of the target. The other members show which form it is.
        fields.has("type");
        let unknown = fields.unknown();
        let target = encoded.or(trace.zip(span)).map(|(trace, span)| Self {
            target: Target::Span(trace, span),
            project,
            unknown,
        });
        fields.finish(target).map_err(Refusal::Inside)
    }
}

struct TargetId(TraceId, SpanId);

impl FromJson for TargetId {
    const EXPECTED: &str = "a string";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        decode_target_id(&string(json)?)
            .map(|(trace, span)| Self(trace, span))
            .map_err(Refusal::Because)
    }
}

/// Parses the body of a POST.
///
/// # Errors
///
/// [`Problem::Invalid`] with every invalid field.
pub fn parse_create(body: &str) -> Result<Accepted<Draft>, Problem> {
    let mut fields = fields::body_fields(body)?;
    let target = fields.required::<TargetField>("target");
    if let Some(target) = &target {
        warn_of_target(&mut fields, target);
    }
    let rating = fields.required::<Rating>("rating");
    let comment = fields.optional::<Comment>("comment");
    warn_of_comment(&mut fields);
    let reasons = fields.optional::<Reasons>("reasons").unwrap_or_default();
    let metadata = fields.optional::<Metadata>("metadata");
    let draft = target.zip(rating).map(|(field, rating)| Draft {
        target: field.target,
        project: field.project,
        score: Score::Rating(rating),
        comment,
        reasons,
        metadata,
        person: None,
    });
    fields.accept(draft).map_err(Problem::Invalid)
}

/// Parses the path and body of a PUT: the record, its target if the body names one, and the change.
///
/// # Errors
///
/// [`Problem::Invalid`] with every invalid field, including the id.
pub fn parse_update(path: &str, body: &str) -> Result<Accepted<(RecordRef, Change)>, Problem> {
    let mut fields = fields::body_fields(body)?;
    let id = path_id(path).map_err(|fault| fields.fault(fault)).ok();
    let target = fields.optional::<TargetField>("target");
    if let Some(target) = &target {
        warn_of_target(&mut fields, target);
    }
    let target = target.map(|field| field.target);
    if ["rating", "comment", "reasons", "metadata"]
        .into_iter()
        .all(|name| !fields.has(name))
    {
        fields.fault(Fault::new(
            "body",
            "expected at least one of rating, comment, reasons and metadata",
        ));
    }
    let score = if fields.has("rating") {
        fields.required::<Rating>("rating").map(ScoreChange::Rating)
    } else {
        Some(ScoreChange::Keep)
    };
    let comment = fields.patch::<Comment>("comment");
    warn_of_comment(&mut fields);
    let reasons = fields.patch::<Reasons>("reasons");
    let metadata = fields.patch::<Metadata>("metadata");
    let update = id.zip(score).map(|(id, score)| {
        let change = Change {
            score,
            comment,
            reasons,
            metadata,
        };
        (RecordRef { id, target }, change)
    });
    fields.accept(update).map_err(Problem::Invalid)
}

/// Parses the path and body of a DELETE. The body is optional, because some clients and proxies drop it.
///
/// # Errors
///
/// [`Problem::Invalid`] with every invalid field, including the id.
pub fn parse_delete(path: &str, body: &str) -> Result<RecordRef, Problem> {
    let id = path_id(path);
    if body.trim_ascii().is_empty() {
        return id
            .map(|id| RecordRef { id, target: None })
            .map_err(|fault| Problem::Invalid(vec![fault]));
    }
    let mut fields = fields::body_fields(body)?;
    let id = id.map_err(|fault| fields.fault(fault)).ok();
    let target = fields.optional::<TargetField>("target").map(|field| field.target);
    // Accepted but not stored. It is still validated, so that mistakes are reported.
    fields.optional::<Metadata>("metadata");
    fields
        .finish(id.map(|id| RecordRef { id, target }))
        .map_err(Problem::Invalid)
}

/// Parses the id in the path of a GET.
///
/// # Errors
///
/// [`Problem::Invalid`] if it is not an id.
pub fn parse_id(path: &str) -> Result<FeedbackId, Problem> {
    path_id(path).map_err(|fault| Problem::Invalid(vec![fault]))
}

/// A response other than an error or a list: its content in `data`, next to any warnings about a write.
#[derive(Serialize)]
struct Wrapped<'a, T> {
    data: T,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// Renders the response to a write of one record, with any warnings.
pub fn render_written(ids: &[FeedbackId], warnings: &[String]) -> String {
    #[derive(Serialize)]
    struct Written {
        id: Option<String>,
    }
    to_json(&Wrapped {
        data: Written {
            id: ids.first().map(|id| id.simple()),
        },
        warnings,
    })
}

const SPELLING: Spelling = Spelling {
    id: FeedbackId::simple,
    trace_id: "traceId",
    span_id: "spanId",
    tracing_project_fqn: "tracingProjectFQN",
    feedback_target_id: "feedbackTargetId",
    written_by: "writtenBy",
    created_at: "createdAt",
    updated_at: "updatedAt",
};

/// Renders the response to a GET of one record.
pub fn render_one(feedback: &Feedback) -> String {
    to_json(&Wrapped {
        data: Record::new(feedback, &SPELLING),
        warnings: &[],
    })
}

/// Renders a page of a list.
pub fn render_list(records: &[Feedback], next_page_token: Option<&str>) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        data: Vec<Record<'a>>,
        pagination: Pagination<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Pagination<'a> {
        next_page_token: Option<&'a str>,
    }
    to_json(&List {
        data: records
            .iter()
            .map(|record| Record::new(record, &SPELLING))
            .collect(),
        pagination: Pagination { next_page_token },
    })
}

/// Renders an error body, which contains the HTTP status.
pub fn render_problem(problem: &Problem, status: u16) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        status_code: u16,
        message: &'a str,
        code: &'static str,
        details: Vec<Detail<'a>>,
    }
    #[derive(Serialize)]
    struct Detail<'a> {
        field: &'a str,
        message: &'a str,
    }
    let faults: &[Fault] = match problem {
        Problem::Invalid(faults) => faults,
        _ => &[],
    };
    to_json(&Body {
        status_code: status,
        message: &problem.message(),
        code: code(status),
        details: faults
            .iter()
            .map(|fault| Detail {
                field: &fault.field,
                message: &fault.message,
            })
            .collect(),
    })
}

/// The name of an HTTP status, as NestJS-like services spell it.
fn code(status: u16) -> &'static str {
    match status {
        400 => "BAD_REQUEST",
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        404 => "NOT_FOUND",
        409 => "CONFLICT",
        412 => "PRECONDITION_FAILED",
        413 => "PAYLOAD_TOO_LARGE",
        429 => "TOO_MANY_REQUESTS",
        503 => "SERVICE_UNAVAILABLE",
        _ => "INTERNAL_SERVER_ERROR",
    }
}
