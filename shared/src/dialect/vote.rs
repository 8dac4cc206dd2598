//! Votes from a page: `/v1/vote` and `/v1/votes/read`, with vote tokens. Errors are short, for a page to show.

use serde::Serialize;

use super::parameters::Parameters;
use super::to_json;
use crate::access::token::VoteToken;
use crate::feedback::{Draft, Feedback};
use crate::fields::{self, Fields, FromJson, JsonRef, Kind, Object, Refusal, body_fields, elements};
use crate::metadata::Comment;
use crate::problem::{Fault, Problem};
use crate::reasons::Reasons;
use crate::score::{Rating, Score, Value};
use crate::target::{SpanId, Target, TraceId};

/// The most targets of one read.
pub const MAX_TARGETS: usize = 100;

/// Reads the body of a PUT: a whole vote, as far as the token allows it.
///
/// # Errors
///
/// [`Problem::Invalid`] with every faulty field, [`Problem::Denied`] for what the token does not allow.
pub fn parse_vote(token: &VoteToken, body: &str) -> Result<Draft, Problem> {
    let mut fields = body_fields(body)?;
    let (trace, span) = (fields.optional("trace"), fields.optional("span"));
    let value = fields.optional::<Value>("value");
    let rating = fields.optional::<Rating>("rating");
    let comment = fields.optional::<Comment>("comment");
    let reasons = fields.optional::<Reasons>("reasons");
    if fields.raw("value").is_some() == fields.raw("rating").is_some() {
        fields.fault(Fault::new("value", "expected either value or rating"));
    }
    for name in fields.unknown() {
        fields.fault(Fault::new(name, "unknown field"));
    }
    fields.finish(Some(())).map_err(Problem::Invalid)?;
    let target = token.target(trace, span)?;
    let score = match (value, rating) {
        (Some(value), _) => token.value(value)?,
        (_, Some(rating)) => token.rating(rating)?,
        (None, None) => return Err(Problem::invalid("value", "expected either value or rating")),
    };
    if comment.is_some() {
        token.check_comment()?;
    }
    let reasons = reasons.unwrap_or_default();
    token.check_reasons(&reasons)?;
    Ok(Draft {
        target,
        project: token.project.clone(),
        score,
        comment,
        reasons,
        metadata: Some(token.metadata().clone()),
        person: Some(token.person.clone()),
    })
}

/// Reads the query of a GET or DELETE: the target.
///
/// # Errors
///
/// [`Problem::Invalid`] with every faulty parameter, [`Problem::Denied`] for a target that the token does not reach.
pub fn parse_target(token: &VoteToken, pairs: &[(String, String)]) -> Result<Target, Problem> {
    let mut parameters = Parameters::new(pairs, &["trace", "span"]);
    let trace = parameters.take("trace", "1 to 512 bytes", TraceId::parse);
    let span = parameters.take("span", "1 to 128 bytes", SpanId::parse);
    let (trace, span) = parameters.finish(Some((trace, span)))?;
    token.target(trace, span)
}

/// One target of a read.
struct TargetField {
    trace: Option<TraceId>,
    span: Option<SpanId>,
}

impl FromJson for TargetField {
    const EXPECTED: &str = "an object with trace and span";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if Kind::of(json) != Kind::Object {
            return Err(Refusal::Mismatch);
        }
        let mut fields = Fields::new(Object::from_json(json).map_err(Refusal::Because)?);
        let field = Self {
            trace: fields.optional("trace"),
            span: fields.optional("span"),
        };
        fields.finish(Some(field)).map_err(Refusal::Inside)
    }
}

/// Reads the body of a read of several votes.
///
/// # Errors
///
/// As [`parse_vote`].
pub fn parse_targets(token: &VoteToken, body: &str) -> Result<Vec<Target>, Problem> {
    let mut fields = body_fields(body)?;
    let json = fields.raw("targets");
    let targets = json.and_then(|json| elements(json).ok());
    let Some(targets) = targets.filter(|targets| (1..=MAX_TARGETS).contains(&targets.len())) else {
        return Err(Problem::invalid(
            "targets",
            format!("expected an array of 1 to {MAX_TARGETS} objects"),
        ));
    };
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    for (index, json) in targets.into_iter().enumerate() {
        let name = format!("targets[{index}]");
        match TargetField::from_json(json) {
            Ok(field) => read.push(field),
            Err(Refusal::Inside(inner)) => faults.extend(fields::within(&name, inner)),
            Err(_) => faults.push(Fault::new(name, format!("expected {}", TargetField::EXPECTED))),
        }
    }
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    read.into_iter()
        .map(|field| token.target(field.trace, field.span))
        .collect()
}

/// A vote as its person sees it: what they wrote, and nothing else of the record.
#[derive(Serialize)]
struct Own<'a> {
    id: String,
    version: u64,
    trace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'a str>,
}

#[derive(Serialize)]
struct Wrapped<T> {
    data: T,
}

fn own(feedback: &Feedback) -> Own<'_> {
    let draft = &feedback.draft;
    let (value, rating) = match draft.score {
        Score::Value(value, _) => (Some(value.get()), None),
        Score::Rating(rating) => (None, Some(rating.get())),
    };
    Own {
        id: feedback.id.hyphenated(),
        version: feedback.version,
        trace: draft.target.trace().as_str(),
        span: draft.target.span().map(SpanId::as_str),
        value,
        rating,
        comment: draft.comment.as_ref().map(Comment::as_str),
        reasons: draft.reasons.iter().collect(),
    }
}

/// The response about one vote; `null` where it is not known any more.
pub fn render_one(feedback: Option<&Feedback>) -> String {
    to_json(&Wrapped {
        data: feedback.map(own),
    })
}

/// The response to a read of several votes: in their order, `null` where there is none.
pub fn render_all(votes: &[Option<Feedback>]) -> String {
    to_json(&Wrapped {
        data: votes
            .iter()
            .map(|vote| vote.as_ref().map(own))
            .collect::<Vec<_>>(),
    })
}

/// The error body.
pub fn render_problem(problem: &Problem) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'static str,
        message: &'a str,
    }
    to_json(&Body {
        error: Error {
            code: problem.code(),
            message: &problem.message(),
        },
    })
}
