//! The query parameters of `GET /api/svc/v1/gateway-feedback`.

use crate::dialect::parameters::Parameters;
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, Order};
use crate::target::{SpanId, TraceId, decode_target_id};

/// Parses the query of `GET /api/svc/v1/gateway-feedback`, which lists a trace or span, newest first.
///
/// # Errors
///
/// [`Problem::Invalid`] with every parameter that is missing, unknown or invalid.
pub fn parse_list(pairs: &[(String, String)]) -> Result<ListQuery, Problem> {
    let mut parameters = Parameters::new(
        pairs,
        &["feedbackTargetId", "traceId", "spanId", "limit", "pageToken"],
    );
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

    fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
        query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn faulty(result: Result<ListQuery, Problem>) -> Vec<String> {
        let Err(Problem::Invalid(faults)) = result else {
            panic!("{result:?} must be refused");
        };
        faults.into_iter().map(|fault| fault.field).collect()
    }

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
    fn lists_filter_by_trace() {
        assert_eq!(faulty(parse_list(&[])), ["traceId"]);
    }
}
