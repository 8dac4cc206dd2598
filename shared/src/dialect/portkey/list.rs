//! The query parameters of `GET /v1/feedback`.

use super::SPAN_WITHOUT_TRACE;
use crate::dialect::parameters::Parameters;
use crate::indexed::{Field, Indexed, MAX_INDEXED};
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, Order};
use crate::reasons::MAX_REASON;
use crate::target::{SpanId, TraceId};

/// The supported parameters, besides one for each indexed field.
const PARAMETERS: [&str; 9] = [
    "trace_id", "span_id", "name", "reason", "from", "to", "limit", "cursor", "order",
];

/// Parses the query of `GET /v1/feedback`.
///
/// # Errors
///
/// [`Problem::Invalid`] with every parameter that is unknown or invalid.
pub fn parse_list(pairs: &[(String, String)]) -> Result<ListQuery, Problem> {
    let mut parameters = Parameters::new(
        pairs,
        &PARAMETERS
            .into_iter()
            .chain(Field::ALL.map(Field::name))
            .collect::<Vec<_>>(),
    );
    let order = parameters
        .take("order", "asc or desc", |text| match text {
            "asc" => Some(Order::Ascending),
            "desc" => Some(Order::Descending),
            _ => None,
        })
        .unwrap_or(Order::Descending);
    let filter = Filter {
        trace: parameters.take("trace_id", "1 to 512 bytes", TraceId::parse),
        span: parameters.take("span_id", "1 to 128 bytes", SpanId::parse),
        indexed: Indexed::from_fn(|field| parameters.text(field.name())),
        name: parameters.take("name", &format!("at most {MAX_INDEXED} bytes"), |text| {
            (text.len() <= MAX_INDEXED).then(|| text.to_owned())
        }),
        reason: parameters.take("reason", &format!("1 to {MAX_REASON} bytes"), |text| {
            (1..=MAX_REASON).contains(&text.len()).then(|| text.to_owned())
        }),
        from: parameters.moment("from"),
        to: parameters.moment("to"),
    };
    if parameters.has("span_id") && !parameters.has("trace_id") {
        parameters.fault("trace_id", SPAN_WITHOUT_TRACE);
    }
    if filter.from.zip(filter.to).is_some_and(|(from, to)| to < from) {
        parameters.fault("to", "expected at or after from");
    }
    let query = ListQuery {
        filter,
        order,
        limit: parameters.limit(),
        after: parameters.cursor("cursor", order),
    };
    parameters.finish(Some(query))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

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
    fn a_list_without_parameters_is_the_newest_fifty() {
        let query = parse_list(&[]).unwrap();
        assert_eq!(
            (query.limit, query.order, query.after),
            (50, Order::Descending, None)
        );
        assert_eq!(query.filter, Filter::default());
    }

    #[test]
    fn every_indexed_field_has_a_filter() {
        for field in Field::ALL {
            let query = parse_list(&pairs(&[(field.name(), "x")])).unwrap();
            assert_eq!(query.filter.indexed.iter().collect::<Vec<_>>(), [(field, "x")]);
        }
    }

    #[test]
    fn every_faulty_parameter_is_named() {
        let query = pairs(&[
            ("trace_id", ""),
            ("limit", "0"),
            ("order", "up"),
            ("from", "yesterday"),
            ("cursor", "!"),
            ("trase", "x"),
            ("limit", "2"),
        ]);
        assert_eq!(
            faulty(parse_list(&query)),
            ["query", "limit", "order", "trace_id", "from", "limit", "cursor"]
        );
        assert_eq!(faulty(parse_list(&pairs(&[("span_id", "s")]))), ["trace_id"]);
        let range = pairs(&[("from", "2026-01-02T00:00:00Z"), ("to", "2026-01-01T00:00:00Z")]);
        assert_eq!(faulty(parse_list(&range)), ["to"]);
    }

    #[test]
    fn the_plus_of_an_offset_may_have_become_a_space() {
        let query = parse_list(&pairs(&[("from", "2026-01-01T05:30:00 05:30")])).unwrap();
        assert_eq!(query.filter.from, Timestamp::parse("2026-01-01T00:00:00Z"));
    }
}
