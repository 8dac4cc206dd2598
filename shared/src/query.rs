//! List queries: filter, order, page size and cursor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::feedback::Draft;
use crate::id::FeedbackId;
use crate::indexed::Indexed;
use crate::score::{Score, ScoreRange};
use crate::target::{SpanId, Target, TraceId};
use crate::timestamp::Timestamp;

/// The default page size.
pub const DEFAULT_LIMIT: usize = 50;

/// The maximum page size.
pub const MAX_LIMIT: usize = 100;

/// The order of a list, by creation time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first, which is the default.
    Descending,
}

/// The filter of a list. A record passes if it matches every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The trace, including all of its spans.
    pub trace: Option<TraceId>,
    /// One span of the trace.
    pub span: Option<SpanId>,
    /// The indexed metadata fields and the text that each must have.
    pub indexed: Indexed,
    /// The text of `_name`; empty for records without one.
    pub name: Option<String>,
    /// The scores that a record may have.
    pub score: Option<ScoreRange>,
    /// A reason that a record must have.
    pub reason: Option<String>,
    /// Whether a record must have a comment ([`Draft::comment_text`]), or must have none.
    pub has_comment: Option<bool>,
    /// The earliest creation time, inclusive.
    pub from: Option<Timestamp>,
    /// The latest creation time, exclusive.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Whether a record with this target passes.
    pub fn is_about(&self, target: &Target) -> bool {
        self.trace.as_ref().is_none_or(|trace| target.trace() == trace)
            && self.span.as_ref().is_none_or(|span| target.span() == Some(span))
    }

    /// Whether a record with these indexed fields passes.
    pub fn admits_indexed(&self, indexed: &Indexed) -> bool {
        indexed.has_all(&self.indexed)
    }

    /// Whether a record passes the filter, not counting times.
    pub fn admits(&self, draft: &Draft) -> bool {
        self.is_about(&draft.target)
            && (self.indexed == Indexed::default() || self.admits_indexed(&draft.indexed()))
            && self.name.as_ref().is_none_or(|name| draft.name() == *name)
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| draft.reasons.contains(reason))
            && self
                .score
                .as_ref()
                .is_none_or(|range| range.contains(draft.score))
            && self
                .has_comment
                .is_none_or(|asked| draft.comment_text().is_some() == asked)
    }

    /// The number of fields that are set, not counting times.
    pub fn fields(&self) -> usize {
        [
            self.trace.is_some(),
            self.span.is_some(),
            self.name.is_some(),
            self.score.is_some(),
            self.reason.is_some(),
            self.has_comment.is_some(),
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
    /// The filter.
    pub filter: Filter,
    /// The order.
    pub order: Order,
    /// The maximum number of records, 1 to 100.
    pub limit: usize,
    /// The cursor: only records after this one, in the list's order, are returned.
    pub after: Option<FeedbackId>,
}

/// The version of the cursor format, which is a cursor's first byte.
const CURSOR_VERSION: u8 = 1;

/// Encodes a cursor for the page after a record. It marks a position in an order, so the record may since
/// have been deleted. It grants no access: a list contains only records of its caller's workspace.
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

/// Decodes a cursor. Returns `None` if it is malformed or was made for the other order.
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

/// Four check bytes that distinguish a cursor from other base64. They are not a signature: see
/// [`encode_cursor`].
fn cursor_check(body: &[u8]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(b"cursor")
        .chain_update(body)
        .finalize();
    let mut check = [0; 4];
    check.copy_from_slice(&digest[..4]);
    check
}

/// The maximum number of records in a [`Summary`], because reading a trace costs per record.
pub const MAX_SUMMARY: usize = 10_000;

/// A summary of all feedback of one trace, as Portkey's log page shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The number of records of both scales.
    pub count: usize,
    /// The value and weight of each record on Portkey's scale, oldest first.
    pub pairs: Vec<Pair>,
    /// The rating of each record on TrueFoundry's scale, oldest first.
    pub ratings: Vec<u8>,
    /// `true` if the trace has more than [`MAX_SUMMARY`] records and only the oldest are included;
    /// otherwise absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A value and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The value, −10 to 10.
    pub value: i8,
    /// The weight, 0 to 1.
    pub weight: f64,
}

impl Summary {
    /// Adds the score of one record.
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
    fn a_cursor_round_trips_and_other_text_is_rejected() {
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
