//! What a list asks for, and where in it a page begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::id::FeedbackId;
use crate::metadata::Indexed;
use crate::problem::{Fault, Problem};
use crate::score::Score;
use crate::target::{SpanId, Target, TraceId, decode_target_id};
use crate::timestamp::Timestamp;

/// How many records a page holds that does not say.
const DEFAULT_LIMIT: usize = 50;

/// The most records of a page.
pub const MAX_LIMIT: usize = 100;

/// Newest first, or oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first: what a list is that does not say.
    Descending,
}

/// Which records a list holds: all that have every field that is given here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The trace, on its own or with all of its spans.
    pub trace: Option<TraceId>,
    /// A span of the trace.
    pub span: Option<SpanId>,
    /// `_user`
    pub user: Option<String>,
    /// `_organisation`
    pub organisation: Option<String>,
    /// `_prompt`
    pub prompt: Option<String>,
    /// `_environment`
    pub environment: Option<String>,
    /// Created at this moment or later.
    pub from: Option<Timestamp>,
    /// Created before this moment.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Whether a record of this target passes.
    pub fn is_about(&self, target: &Target) -> bool {
        self.trace.as_ref().is_none_or(|trace| target.trace() == trace)
            && self.span.as_ref().is_none_or(|span| target.span() == Some(span))
    }

    /// Whether a record with these indexed fields passes.
    pub fn admits(&self, indexed: &Indexed) -> bool {
        let same = |asked: &Option<String>, has: &Option<String>| asked.is_none() || asked == has;
        same(&self.user, &indexed.user)
            && same(&self.organisation, &indexed.organisation)
            && same(&self.prompt, &indexed.prompt)
            && same(&self.environment, &indexed.environment)
    }

    /// How many fields are given, times aside.
    pub fn fields(&self) -> usize {
        [
            self.trace.is_some(),
            self.span.is_some(),
            self.user.is_some(),
            self.organisation.is_some(),
            self.prompt.is_some(),
            self.environment.is_some(),
        ]
        .into_iter()
        .filter(|given| *given)
        .count()
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Which records.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// How many at most, 1 to 100.
    pub limit: usize,
    /// Only those beyond this one, in the list's order.
    pub after: Option<FeedbackId>,
}

/// The parameters of a query string, decoded, each name once.
pub(crate) struct Parameters<'a> {
    pairs: &'a [(String, String)],
    faults: Vec<Fault>,
}

impl<'a> Parameters<'a> {
    /// Refuses names outside of `known`: a filter that is misspelt would otherwise list more
    /// than was asked for, without a word. The names are the caller's text, so they are told to the
    /// caller, a few of them, and are no field's name.
    pub(crate) fn new(pairs: &'a [(String, String)], known: &[&str]) -> Self {
        let mut faults = Vec::new();
        let shown: Vec<String> = pairs
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .take(5)
            .map(|(name, _)| name.chars().take(32).collect())
            .collect();
        if !shown.is_empty() {
            let (known, shown) = (known.join(", "), shown.join(", "));
            faults.push(Fault::new(
                "query",
                format!("takes {known}; it does not know {shown}"),
            ));
        }
        for name in known {
            if pairs.iter().filter(|(pair, _)| pair == name).count() > 1 {
                faults.push(Fault::new(*name, "must be given once"));
            }
        }
        Self { pairs, faults }
    }

    /// A parameter, read by `parse`. Of one that is wrong a number or a time is told as it is, and
    /// of anything else, which may be the caller's own text, only the length.
    pub(crate) fn take<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (_, text) = self.pairs.iter().find(|(pair, _)| pair == name)?;
        let value = parse(text);
        if value.is_none() {
            let is_plain =
                text.len() <= 32 && text.chars().all(|c| c.is_ascii_digit() || "+-.,:TWZ".contains(c));
            let got = match text.len() {
                0 => "nothing".to_owned(),
                _ if is_plain => text.clone(),
                bytes => format!("{bytes} bytes that are not"),
            };
            self.fault(name, &format!("must be {expected}, got {got}"));
        }
        value
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, "1 to 512 bytes", |text| {
            (1..=512).contains(&text.len()).then(|| text.to_owned())
        })
    }

    pub(crate) fn moment(&mut self, name: &str) -> Option<Timestamp> {
        self.take(
            name,
            "an ISO 8601 date, or date and time, as 2026-01-31 or 2026-01-31T12:00:00Z",
            |text| {
                // The plus of an offset that was not percent-encoded has become a space; one right behind the
                // date stands for the T.
                match text.split_at_checked("2026-01-31T".len()) {
                    Some((date, rest)) => Timestamp::parse(&format!("{date}{}", rest.replace(' ', "+"))),
                    None => Timestamp::parse(text),
                }
            },
        )
    }

    fn limit(&mut self) -> usize {
        let limit = self.take("limit", "an integer from 1 to 100", |text| {
            text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
        });
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    fn cursor(&mut self, name: &str, order: Order) -> Option<FeedbackId> {
        let expected = "a cursor that a list of the same order has given out";
        self.take(name, expected, |text| decode_cursor(text, order))
    }

    /// A parameter that must be there.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<T> {
        if !self.pairs.iter().any(|(pair, _)| pair == name) {
            self.fault(name, "is required");
        }
        read(self, name)
    }

    pub(crate) fn fault(&mut self, name: &str, rest: &str) {
        self.faults.push(Fault::new(name, rest));
    }

    /// `value`, which a reader has when it noted no fault, or all the faults.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Problem::Invalid(self.faults)),
        }
    }
}

/// Reads the query of `GET /v1/feedback`.
pub fn parse_portkey(pairs: &[(String, String)]) -> Result<ListQuery, Problem> {
    let mut parameters = Parameters::new(
        pairs,
        &[
            "trace_id",
            "span_id",
            "user",
            "organisation",
            "prompt",
            "environment",
            "from",
            "to",
            "limit",
            "cursor",
            "order",
        ],
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
        user: parameters.text("user"),
        organisation: parameters.text("organisation"),
        prompt: parameters.text("prompt"),
        environment: parameters.text("environment"),
        from: parameters.moment("from"),
        to: parameters.moment("to"),
    };
    let given = |name: &str| pairs.iter().any(|(pair, _)| pair == name);
    if given("span_id") && !given("trace_id") {
        parameters.faults.push(Fault::new(
            "trace_id",
            "is required beside span_id: a span is named within its trace",
        ));
    }
    if filter.from.zip(filter.to).is_some_and(|(from, to)| to < from) {
        parameters
            .faults
            .push(Fault::new("to", "must not be before from"));
    }
    let query = ListQuery {
        filter,
        order,
        limit: parameters.limit(),
        after: parameters.cursor("cursor", order),
    };
    parameters.finish(Some(query))
}

/// Reads the query of `GET /api/svc/v1/gateway-feedback`: newest first, of one trace or span.
pub fn parse_truefoundry(pairs: &[(String, String)]) -> Result<ListQuery, Problem> {
    let mut parameters = Parameters::new(
        pairs,
        &["feedbackTargetId", "traceId", "spanId", "limit", "pageToken"],
    );
    let mut encoded = None;
    if let Some((name, text)) = pairs.iter().find(|(name, _)| name == "feedbackTargetId") {
        // In a query, an unescaped plus of standard base64 has become a space.
        match decode_target_id(&text.replace(' ', "+")) {
            Ok(target) => encoded = Some(target),
            Err(rest) => parameters.faults.push(Fault::new(name, format!("must {rest}"))),
        }
    }
    let mut trace = parameters.take("traceId", "1 to 512 bytes", TraceId::parse);
    let mut span = parameters.take("spanId", "1 to 128 bytes", SpanId::parse);
    let given = |name: &str| pairs.iter().any(|(pair, _)| pair == name);
    if !given("traceId") && !given("feedbackTargetId") {
        parameters.faults.push(Fault::new(
            "traceId",
            "is required where there is no feedbackTargetId",
        ));
    }
    if let Some((encoded_trace, encoded_span)) = encoded {
        let agrees = trace.as_ref().is_none_or(|trace| *trace == encoded_trace)
            && span.as_ref().is_none_or(|span| *span == encoded_span);
        if !agrees {
            parameters.faults.push(Fault::new(
                "feedbackTargetId",
                "must name the same span as traceId and spanId where both are given",
            ));
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

/// The first byte of every cursor: the form the rest has.
const CURSOR_FORM: u8 = 1;

/// The text a page's caller comes back with: the id of the page's last record. It names a place
/// in an order and not a record that must exist, so records may come and go around it; and it
/// grants nothing, since a list is bounded by its caller's workspace wherever it begins.
pub fn encode_cursor(last: FeedbackId, order: Order) -> String {
    let mut bytes = cursor_body(last, order);
    let check = cursor_check(&bytes);
    bytes.extend_from_slice(&check);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place a cursor names. `None` for garbage, and for a cursor of the other order.
pub fn decode_cursor(text: &str, order: Order) -> Option<FeedbackId> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let id = bytes.get(2..18)?.try_into().ok().map(FeedbackId::from_bytes)?;
    (encode_cursor(id, order) == text).then_some(id)
}

fn cursor_body(last: FeedbackId, order: Order) -> Vec<u8> {
    let direction = match order {
        Order::Ascending => 0,
        Order::Descending => 1,
    };
    let mut bytes = vec![CURSOR_FORM, direction];
    bytes.extend_from_slice(last.as_bytes());
    bytes
}

/// Four bytes that tell a cursor from other base64. Not a signature: see [`encode_cursor`].
fn cursor_check(body: &[u8]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(b"cursor")
        .chain_update(body)
        .finalize();
    let mut check = [0; 4];
    check.copy_from_slice(&digest[..4]);
    check
}

/// The most records a [`Summary`] takes in: reading a trace costs by the record.
pub const MAX_SUMMARY: usize = 10_000;

/// All feedback of one trace in brief: what Portkey's log page shows beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many records the trace has, of either scale.
    pub count: usize,
    /// The value and weight of each record that has one, oldest first.
    pub pairs: Vec<Pair>,
    /// The rating of each record that has one, oldest first.
    pub ratings: Vec<u8>,
    /// Present, and `true`, where the trace has more than [`MAX_SUMMARY`] records and only that
    /// many of the oldest are in here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// One `Value: Weight` pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// −10 to 10.
    pub value: i8,
    /// 0 to 1.
    pub weight: f64,
}

impl Summary {
    /// Takes in one more record's score.
    pub fn add(&mut self, score: Score) {
        self.count += 1;
        match score {
            Score::Value(value, weight) => self.pairs.push(Pair {
                value: value.get(),
                weight: weight.get(),
            }),
            Score::Rating(rating) => self.ratings.push(rating.get()),
        }
    }
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
    fn a_list_without_parameters_is_the_newest_fifty() {
        let query = parse_portkey(&[]).unwrap();
        assert_eq!(
            (query.limit, query.order, query.after),
            (50, Order::Descending, None)
        );
        assert_eq!(query.filter, Filter::default());
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
            faulty(parse_portkey(&query)),
            ["query", "limit", "order", "trace_id", "from", "limit", "cursor"]
        );
        assert_eq!(faulty(parse_portkey(&pairs(&[("span_id", "s")]))), ["trace_id"]);
        assert_eq!(faulty(parse_truefoundry(&[])), ["traceId"]);
        let range = pairs(&[("from", "2026-01-02T00:00:00Z"), ("to", "2026-01-01T00:00:00Z")]);
        assert_eq!(faulty(parse_portkey(&range)), ["to"]);
    }

    #[test]
    fn an_offset_s_plus_may_have_become_a_space() {
        let query = parse_portkey(&pairs(&[("from", "2026-01-01T05:30:00 05:30")])).unwrap();
        assert_eq!(query.filter.from, Timestamp::parse("2026-01-01T00:00:00Z"));
    }

    #[test]
    fn a_target_id_names_trace_and_span() {
        let (trace, span) = (TraceId::parse("t").unwrap(), SpanId::parse("s").unwrap());
        let encoded = crate::target::encode_target_id(&trace, &span);
        let query = parse_truefoundry(&pairs(&[("feedbackTargetId", &encoded)])).unwrap();
        assert_eq!((query.filter.trace, query.filter.span), (Some(trace), Some(span)));
        let other = pairs(&[("feedbackTargetId", &encoded), ("traceId", "u")]);
        assert_eq!(faulty(parse_truefoundry(&other)), ["feedbackTargetId"]);
    }

    #[test]
    fn a_cursor_comes_back_and_nothing_else_is_one() {
        let id = FeedbackId::from_bytes([7; 16]);
        let cursor = encode_cursor(id, Order::Ascending);
        assert_eq!(decode_cursor(&cursor, Order::Ascending), Some(id));
        assert_eq!(decode_cursor(&cursor, Order::Descending), None);
        for index in 0..cursor.len() {
            let mut other = cursor.clone().into_bytes();
            other[index] = if other[index] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(decode_cursor(&other, Order::Ascending), None, "{other}");
        }
        for garbage in [
            "",
            "a",
            "====",
            &cursor[1..],
            &format!("{cursor}A"),
            &"A".repeat(100_000),
        ] {
            assert_eq!(decode_cursor(garbage, Order::Ascending), None);
        }
    }
}
