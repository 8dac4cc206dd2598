//! The keys of the table `feedback` and its indexes.
//!
//! A workspace's name contains no `#`. So in a key that begins with a workspace, everything after the first
//! `#` is the rest, whatever characters it has. Only the partition key begins with a caller's text, which
//! is escaped.

use std::fmt::Write as _;

use crate::id::{FeedbackId, Workspace};
use crate::indexed::Field;
use crate::person::Person;
use crate::target::{SpanId, Target, TraceId};

/// The number of index partitions that share a value used by all of a workspace's traffic. One partition
/// takes 1,000 writes a second.
pub const SHARDS: u8 = 8;

/// The shard of an id. The last byte of a UUIDv7 is random.
pub fn shard(id: FeedbackId) -> u8 {
    id.as_bytes()[15] % SHARDS
}

/// The partition key: `esc(trace)#esc(span)`, with an empty span for feedback on a whole trace. A span id
/// is never empty, so a trace cannot be confused with a span.
pub fn partition(target: &Target) -> String {
    let span = target
        .span()
        .map(|span| escape(span.as_str()))
        .unwrap_or_default();
    format!("{}#{span}", escape(target.trace().as_str()))
}

/// Parses a partition key into its target. Returns `None` if it is invalid.
pub fn target(partition: &str) -> Option<Target> {
    let (trace, span) = partition.split_once('#')?;
    let trace = TraceId::parse(&unescape(trace)?)?;
    if span.is_empty() {
        return Some(Target::Trace(trace));
    }
    Some(Target::Span(trace, SpanId::parse(&unescape(span)?)?))
}

/// Replaces `%` with `%25` and `#` with `%23`, so that escaped text contains no `#`.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('#', "%23")
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = match part.get(..2)? {
            "25" => ('%', &part[2..]),
            "23" => ('#', &part[2..]),
            _ => return None,
        };
        plain.push(escaped);
        plain.push_str(rest);
    }
    Some(plain)
}

/// The sort key. It begins with the workspace, so a workspace can address only its own items.
pub fn sort(workspace: &Workspace, id: FeedbackId) -> String {
    format!("{workspace}#{}", id.hyphenated())
}

/// The sort key of an upserted record. It sorts after those of all other records, because no id begins
/// with `~`.
pub fn upserted_sort(workspace: &Workspace, person: &Person) -> String {
    upserted_prefix(workspace) + &hex(&person.hash())
}

/// The key of a marker, from the hash of its `Idempotency-Key`.
pub fn marker(workspace: &Workspace, hash: &[u8; 32]) -> String {
    spread(workspace, &hex(hash))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The prefix of the sort keys of a workspace's upserted records.
pub fn upserted_prefix(workspace: &Workspace) -> String {
    format!("{workspace}#~")
}

/// The owner of a record, as parsed from its sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The workspace and id of a plain record.
    Plain(Workspace, FeedbackId),
    /// The workspace of an upserted record, whose id is an attribute.
    Upserted(Workspace),
}

/// Parses a sort key. Returns `None` if it is invalid.
pub fn owner(sort: &str) -> Option<Owner> {
    let (workspace, rest) = sort.split_once('#')?;
    let workspace = Workspace::parse(workspace)?;
    if rest.starts_with('~') {
        return Some(Owner::Upserted(workspace));
    }
    Some(Owner::Plain(workspace, FeedbackId::parse(rest)?))
}

/// The key of `by-time`.
pub fn time(workspace: &Workspace, shard: u8) -> String {
    format!("{workspace}#{shard}")
}

/// The key of an index with many values, whose records spread over partitions by themselves: `by-trace` and
/// the fields with many values.
pub fn spread(workspace: &Workspace, text: &str) -> String {
    format!("{workspace}#{text}")
}

/// The key of an index with few values, each in many records, which are spread over shards.
fn sharded(workspace: &Workspace, shard: u8, text: &str) -> String {
    format!("{workspace}#{shard}#{text}")
}

/// The key of a record in a field's index.
pub fn indexed(field: Field, workspace: &Workspace, id: FeedbackId, text: &str) -> String {
    if field.has_many_values() {
        spread(workspace, text)
    } else {
        sharded(workspace, shard(id), text)
    }
}

/// All keys in a field's index that records with this text may have.
pub fn all_indexed(field: Field, workspace: &Workspace, text: &str) -> Vec<String> {
    if field.has_many_values() {
        vec![spread(workspace, text)]
    } else {
        (0..SHARDS).map(|shard| sharded(workspace, shard, text)).collect()
    }
}

/// Parses the text from a key in a field's index. Returns `None` if the key is invalid.
pub fn indexed_text(field: Field, key: &str) -> Option<&str> {
    let parts = if field.has_many_values() { 2 } else { 3 };
    key.splitn(parts, '#').nth(parts - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_key_contains_any_text() {
        let workspace = Workspace::parse("test").unwrap();
        let id = FeedbackId::from_bytes([7; 16]);
        for field in Field::ALL {
            for text in ["plain", "a#b", "#", "0#1#2"] {
                let key = indexed(field, &workspace, id, text);
                assert_eq!(indexed_text(field, &key), Some(text));
                assert!(all_indexed(field, &workspace, text).contains(&key));
            }
        }
    }

    #[test]
    fn the_partition_key_of_plain_ids_is_plain() {
        let trace = TraceId::parse("1729").unwrap();
        let span = SpanId::parse("a2d6").unwrap();
        assert_eq!(partition(&Target::Trace(trace.clone())), "1729#");
        assert_eq!(partition(&Target::Span(trace, span)), "1729#a2d6");
    }

    #[test]
    fn separators_in_ids_are_escaped() {
        let trace = |text: &str| TraceId::parse(text).unwrap();
        let span = |text: &str| SpanId::parse(text).unwrap();
        let targets = [
            Target::Trace(trace("a#b")),
            Target::Span(trace("a"), span("b")),
            Target::Trace(trace("a")),
            Target::Trace(trace("a#")),
            Target::Span(trace("a#"), span("#")),
            Target::Trace(trace("a%23b")),
            Target::Trace(trace("a%2523b")),
            Target::Span(trace("a%"), span("23b")),
        ];
        for one in &targets {
            assert_eq!(target(&partition(one)).as_ref(), Some(one));
            for other in &targets {
                assert_eq!(partition(one) == partition(other), one == other);
            }
        }
    }

    #[test]
    fn invalid_partition_keys_are_rejected() {
        for text in ["", "a", "#", "a%#", "a%2#", "a%41#", "%é#"] {
            assert_eq!(target(text), None, "{text}");
        }
    }

    #[test]
    fn the_longest_key_is_within_dynamodb_s_limit() {
        let longest = Target::Span(
            TraceId::parse(&"#".repeat(512)).unwrap(),
            SpanId::parse(&"%".repeat(128)).unwrap(),
        );
        assert!(partition(&longest).len() <= 2048);
    }
}
