//! Queries of lists: filter, order, page and cursor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::feedback::Draft;
use crate::id::FeedbackId;
use crate::indexed::Indexed;
use crate::score::Score;
use crate::target::{SpanId, Target, TraceId};
use crate::timestamp::Timestamp;

/// How many records a page holds unless its request says.
pub const DEFAULT_LIMIT: usize = 50;

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
    /// The texts that indexed fields must have.
    pub indexed: Indexed,
    /// `_name`, which may be the empty one.
    pub name: Option<String>,
    /// One of the reasons.
    pub reason: Option<String>,
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
    pub fn admits_indexed(&self, indexed: &Indexed) -> bool {
        indexed.has_all(&self.indexed)
    }

    /// Whether a record passes, times aside.
    pub fn admits(&self, draft: &Draft) -> bool {
        self.is_about(&draft.target)
            && (self.indexed == Indexed::default() || self.admits_indexed(&draft.indexed()))
            && self.name.as_ref().is_none_or(|name| draft.name() == *name)
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| draft.reasons.contains(reason))
    }

    /// How many fields are given, times aside.
    pub fn fields(&self) -> usize {
        [
            self.trace.is_some(),
            self.span.is_some(),
            self.name.is_some(),
            self.reason.is_some(),
        ]
        .into_iter()
        .filter(|given| *given)
        .count()
            + self.indexed.iter().count()
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

/// The first byte of every cursor: its version.
const CURSOR_VERSION: u8 = 1;

/// The cursor of the page that follows a record. It names a place in an order, and the record need not exist
/// any more. It grants nothing: a list is bounded by its caller's workspace.
///
/// ```
/// use shared::id::FeedbackId;
/// use shared::query::{Order, decode_cursor, encode_cursor};
///
/// let last = FeedbackId::parse("019ab2a98fc6e80483eae496e2dd611d").unwrap();
/// let cursor = encode_cursor(last, Order::Descending);
/// assert_eq!(decode_cursor(&cursor, Order::Descending), Some(last));
/// assert_eq!(decode_cursor(&cursor, Order::Ascending), None);
/// ```
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
    let mut bytes = vec![CURSOR_VERSION, direction];
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
