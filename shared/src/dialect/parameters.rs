//! Parsing query string parameters, for every dialect.

use crate::fields::{FromJson, Kind, document};
use crate::id::FeedbackId;
use crate::indexed::MAX_INDEXED;
use crate::problem::{Fault, Problem};
use crate::query::{DEFAULT_LIMIT, MAX_LIMIT, Order, decode_cursor};
use crate::reasons::MAX_REASON;
use crate::score::{Rating, ScoreRange, Value};
use crate::timestamp::Timestamp;

/// The names of the parameters that select records by their score.
pub(super) struct ScoreNames {
    pub(super) value_min: &'static str,
    pub(super) value_max: &'static str,
    pub(super) rating_min: &'static str,
    pub(super) rating_max: &'static str,
}

/// The decoded parameters of a query string, each name once.
pub(super) struct Parameters<'a> {
    pairs: &'a [(String, String)],
    faults: Vec<Fault>,
}

impl<'a> Parameters<'a> {
    /// Rejects names outside `known`. If a misspelled filter were ignored, the list would silently contain
    /// more than was asked for. The message shows a few of the unknown names; they come from the caller, so
    /// they are never logged as field names.
    pub(super) fn new(pairs: &'a [(String, String)], known: &[&str]) -> Self {
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
                format!("unknown parameter {shown}, expected {known}"),
            ));
        }
        for name in known {
            if pairs.iter().filter(|(pair, _)| pair == name).count() > 1 {
                faults.push(Fault::new(*name, "expected once, got several"));
            }
        }
        Self { pairs, faults }
    }

    /// Parses a parameter. The error shows an invalid number or time as it came. For anything else it gives
    /// only the length, because the text may be the caller's data.
    pub(super) fn take<T>(
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
                bytes => format!("{bytes} bytes of something else"),
            };
            self.fault(name, &format!("expected {expected}, got {got}"));
        }
        value
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, &format!("1 to {MAX_INDEXED} bytes"), |text| {
            (1..=MAX_INDEXED).contains(&text.len()).then(|| text.to_owned())
        })
    }

    pub(super) fn moment(&mut self, name: &str) -> Option<Timestamp> {
        self.take(
            name,
            "an ISO 8601 date, or date and time, as 2026-01-31 or 2026-01-31T12:00:00Z",
            |text| {
                // An unescaped plus of an offset arrives as a space. A space right after the date stands
                // for the T.
                match text.split_at_checked("2026-01-31T".len()) {
                    Some((date, rest)) => Timestamp::parse(&format!("{date}{}", rest.replace(' ', "+"))),
                    None => Timestamp::parse(text),
                }
            },
        )
    }

    pub(super) fn reason(&mut self) -> Option<String> {
        self.take("reason", &format!("1 to {MAX_REASON} bytes"), |text| {
            (1..=MAX_REASON).contains(&text.len()).then(|| text.to_owned())
        })
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, "true or false", |text| text.parse().ok())
    }

    /// Parses the range of scores. A range without one of its ends goes to the end of its scale.
    pub(super) fn scores(&mut self, names: &ScoreNames) -> Option<ScoreRange> {
        let values = self.range::<Value>(names.value_min, names.value_max);
        let ratings = self.range::<Rating>(names.rating_min, names.rating_max);
        let of_values = [names.value_min, names.value_max];
        let of_ratings = [names.rating_min, names.rating_max];
        let first = |of: [&'static str; 2]| of.into_iter().find(|name| self.has(name));
        if let Some((value, rating)) = first(of_values).zip(first(of_ratings)) {
            self.fault(
                value,
                &format!("expected a range of values or of ratings, got {value} and {rating}"),
            );
        }
        match (values, ratings) {
            ((None, None), (None, None)) => None,
            ((None, None), (min, max)) => Some(ScoreRange::Ratings(
                min.unwrap_or(Rating::MIN)..=max.unwrap_or(Rating::MAX),
            )),
            ((min, max), _) => Some(ScoreRange::Values(
                min.unwrap_or(Value::MIN)..=max.unwrap_or(Value::MAX),
            )),
        }
    }

    /// Parses both ends of a range.
    fn range<T: FromJson + PartialOrd>(&mut self, min: &str, max: &str) -> (Option<T>, Option<T>) {
        let ends = (self.number::<T>(min), self.number::<T>(max));
        if let (Some(least), Some(most)) = &ends
            && most < least
        {
            self.fault(max, &format!("expected at least {min}, got less"));
        }
        ends
    }

    /// Parses a number as a body has it, such as `5` or `5.0`.
    fn number<T: FromJson>(&mut self, name: &str) -> Option<T> {
        self.take(name, T::EXPECTED, |text| {
            let json = document(text).ok()?;
            // Without white space around it, and not as a string.
            let is_plain = Kind::of(json) == Kind::Number && json.get() == text;
            is_plain.then(|| T::from_json(json).ok()).flatten()
        })
    }

    pub(super) fn limit(&mut self) -> usize {
        let limit = self.take("limit", "an integer from 1 to 100", |text| {
            text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
        });
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    pub(super) fn cursor(&mut self, name: &str, order: Order) -> Option<FeedbackId> {
        let expected = "a cursor that a list of the same order has given out";
        self.take(name, expected, |text| decode_cursor(text, order))
    }

    /// Parses a required parameter.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<T> {
        if !self.has(name) {
            self.fault(name, "missing");
        }
        read(self, name)
    }

    pub(super) fn fault(&mut self, name: &str, rest: &str) {
        self.faults.push(Fault::new(name, rest));
    }

    /// Returns `value`, or all faults. A parser that found no fault always has a value.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Problem::Invalid(self.faults)),
        }
    }

    /// Whether the parameter is present.
    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(pair, _)| pair == name)
    }
}

/// What the tests of the parsers share.
#[cfg(test)]
pub(super) mod testing {
    use crate::problem::Problem;
    use crate::query::ListQuery;

    /// The pairs of a query string.
    pub(in crate::dialect) fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
        query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// The names of the parameters that a refused query is faulty in.
    pub(in crate::dialect) fn faulty(result: Result<ListQuery, Problem>) -> Vec<String> {
        let Err(Problem::Invalid(faults)) = result else {
            panic!("{result:?} must be refused");
        };
        faults.into_iter().map(|fault| fault.field).collect()
    }
}
