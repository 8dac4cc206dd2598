//! Parsing query string parameters, for every dialect.

use crate::id::FeedbackId;
use crate::indexed::MAX_INDEXED;
use crate::problem::{Fault, Problem};
use crate::query::{DEFAULT_LIMIT, MAX_LIMIT, Order, decode_cursor};
use crate::timestamp::Timestamp;

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
