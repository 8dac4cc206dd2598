//! The query parameters of `GET /api/svc/v1/gateway-feedback`.

use crate::dialect::parameters::{Parameters, ScoreNames};
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, Order};
use crate::target::{SpanId, TraceId, decode_target_id};

const SCORES: ScoreNames = ScoreNames {
    value_min: "valueMin",
    value_max: "valueMax",
    rating_min: "ratingMin",
    rating_max: "ratingMax",
};

/// The supported parameters.
const PARAMETERS: [&str; 11] = [
    "feedbackTargetId",
    "traceId",
    "spanId",
    SCORES.value_min,
    SCORES.value_max,
    SCORES.rating_min,
    SCORES.rating_max,
    "reason",
    "hasComment",
    "limit",
    "pageToken",
];

/// Parses the query of `GET /api/svc/v1/gateway-feedback`, which lists a trace or span, newest first.
///
/// # Errors
///
/// [`Problem::Invalid`] with every parameter that is missing, unknown or invalid.
pub fn parse_list(pairs: &[(String, String)]) -> Result<ListQuery, Problem> {
    let mut parameters = Parameters::new(pairs, &PARAMETERS);
    let mut encoded = None;
    if let Some((name, text)) = pairs.iter().find(|(name, _)| name == "feedbackTargetId") {
        // An unescaped plus of standard base64 arrives as a space.
        match decode_target_id(&text.replace(' ', "+")) {
            Ok(target) => encoded = Some(target),
            Err(rest) => parameters.fault(name, &rest),
        }
    }
    let mut trace = parameters.take("traceId", "1 to 512 bytes", TraceId::parse);
    let mut span = parameters.take("spanId", "1 to 128 bytes", SpanId::parse);
    if !parameters.has("traceId") && !parameters.has("feedbackTargetId") {
        parameters.fault("traceId", "missing, expected unless feedbackTargetId is present");
    }
    if let Some((encoded_trace, encoded_span)) = encoded {
        let agrees = trace.as_ref().is_none_or(|trace| *trace == encoded_trace)
            && span.as_ref().is_none_or(|span| *span == encoded_span);
        if !agrees {
            parameters.fault(
                "feedbackTargetId",
                "expected the span of traceId and spanId, got another",
            );
        }
        (trace, span) = (Some(encoded_trace), Some(encoded_span));
    }
    let order = Order::Descending;
    let query = ListQuery {
        filter: Filter {
            trace,
            span,
            score: parameters.scores(&SCORES),
            reason: parameters.reason(),
            has_comment: parameters.flag("hasComment"),
            ..Filter::default()
        },
        order,
        limit: parameters.limit(),
        after: parameters.cursor("pageToken", order),
    };
    parameters.finish(Some(query))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::parameters::testing::{faulty, pairs};

    #[test]
    fn a_target_id_names_trace_and_span() {
        let (trace, span) = (TraceId::parse("t").unwrap(), SpanId::parse("s").unwrap());
        let encoded = crate::target::encode_target_id(&trace, &span);
        let query = parse_list(&pairs(&[("feedbackTargetId", &encoded)])).unwrap();
        assert_eq!((query.filter.trace, query.filter.span), (Some(trace), Some(span)));
        let other = pairs(&[("feedbackTargetId", &encoded), ("traceId", "u")]);
        assert_eq!(faulty(parse_list(&other)), ["feedbackTargetId"]);
    }

    #[test]
    fn filters_are_those_of_the_other_dialect_in_camel_case() {
        let ours = [
            ("traceId", "t"),
            ("ratingMin", "2"),
            ("ratingMax", "4"),
            ("reason", "wrong"),
            ("hasComment", "true"),
        ];
        let theirs = [
            ("trace_id", "t"),
            ("rating_min", "2"),
            ("rating_max", "4"),
            ("reason", "wrong"),
            ("has_comment", "true"),
        ];
        assert_eq!(
            parse_list(&pairs(&ours)).unwrap(),
            crate::dialect::portkey::parse_list(&pairs(&theirs)).unwrap()
        );
        let both = [("traceId", "t"), ("valueMax", "1"), ("ratingMin", "1")];
        assert_eq!(faulty(parse_list(&pairs(&both))), ["valueMax"]);
    }

    #[test]
    fn lists_filter_by_trace() {
        assert_eq!(faulty(parse_list(&[])), ["traceId"]);
    }
}
