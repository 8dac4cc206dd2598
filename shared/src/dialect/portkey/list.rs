//! The query parameters of `GET /v1/feedback`.

use super::SPAN_WITHOUT_TRACE;
use crate::dialect::parameters::{Parameters, ScoreNames};
use crate::indexed::{Field, Indexed, MAX_INDEXED};
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, Order};
use crate::target::{SpanId, TraceId};

/// The supported parameters, besides one for each indexed field.
const PARAMETERS: [&str; 14] = [
    "trace_id",
    "span_id",
    "name",
    SCORES.value_min,
    SCORES.value_max,
    SCORES.rating_min,
    SCORES.rating_max,
    "reason",
    "has_comment",
    "from",
    "to",
    "limit",
    "cursor",
    "order",
];

const SCORES: ScoreNames = ScoreNames {
    value_min: "value_min",
    value_max: "value_max",
    rating_min: "rating_min",
    rating_max: "rating_max",
};

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
        score: parameters.scores(&SCORES),
        reason: parameters.reason(),
        has_comment: parameters.flag("has_comment"),
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
    use crate::dialect::parameters::testing::{faulty, pairs};
    use crate::score::{Rating, ScoreRange, Value};
    use crate::timestamp::Timestamp;

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
    fn scores_are_selected_by_a_range_of_one_scale() {
        let value = |value| Value::new(value).unwrap();
        let rating = |rating| Rating::new(rating).unwrap();
        for (query, range) in [
            (&[][..], None),
            (
                &[("value_min", "-1"), ("value_max", "2.0")],
                Some(ScoreRange::Values(value(-1)..=value(2))),
            ),
            (
                &[("value_min", "0")],
                Some(ScoreRange::Values(value(0)..=value(10))),
            ),
            (
                &[("value_max", "-0")],
                Some(ScoreRange::Values(value(-10)..=value(0))),
            ),
            (
                &[("rating_max", "3"), ("rating_min", "3")],
                Some(ScoreRange::Ratings(rating(3)..=rating(3))),
            ),
            (
                &[("rating_min", "2")],
                Some(ScoreRange::Ratings(rating(2)..=rating(5))),
            ),
            (
                &[("rating_max", "4")],
                Some(ScoreRange::Ratings(rating(1)..=rating(4))),
            ),
        ] {
            let filter = parse_list(&pairs(query)).unwrap().filter;
            assert_eq!(filter.fields(), usize::from(range.is_some()), "{query:?}");
            assert_eq!(filter.score, range, "{query:?}");
        }
        for (query, fields) in [
            (
                &[("value_min", "11"), ("rating_max", "0")][..],
                &["value_min", "rating_max", "value_min"][..],
            ),
            (&[("value_max", "1"), ("rating_min", "1")], &["value_max"]),
            (&[("value_min", "2"), ("value_max", "1")], &["value_max"]),
            (&[("rating_min", "2"), ("rating_max", "1")], &["rating_max"]),
            (&[("rating_min", "2"), ("rating_max", "1.5")], &["rating_max"]),
        ] {
            assert_eq!(faulty(parse_list(&pairs(query))), fields, "{query:?}");
        }
    }

    #[test]
    fn a_comment_is_asked_for_by_true_or_false() {
        for (text, asked) in [("true", true), ("false", false)] {
            let filter = parse_list(&pairs(&[("has_comment", text)])).unwrap().filter;
            assert_eq!((filter.has_comment, filter.fields()), (Some(asked), 1));
        }
        for text in ["", "1", "TRUE", "yes", "null"] {
            assert_eq!(
                faulty(parse_list(&pairs(&[("has_comment", text)]))),
                ["has_comment"]
            );
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
