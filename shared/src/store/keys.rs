//! The keys of the table `feedback` and its indexes.
//!
//! A workspace's name holds no `#`, so what follows the first `#` of a key that begins with one is
//! the rest, whatever it holds. Only the partition key begins with the caller's text, and escapes it.

use std::fmt::Write as _;

use crate::id::{FeedbackId, Workspace};
use crate::indexed::Field;
use crate::person::Person;
use crate::target::{SpanId, Target, TraceId};

/// How many partitions share a key that all traffic of a workspace would otherwise have in
/// common. An index partition takes 1,000 writes a second.
pub const SHARDS: u8 = 8;

/// The shard of an id. The last byte of a UUIDv7 is random.
pub fn shard(id: FeedbackId) -> u8 {
    id.as_bytes()[15] % SHARDS
}

/// The partition key: `esc(trace)#esc(span)`, the span empty for feedback on a whole trace. A
/// span id has a byte at least, so no trace is mistaken for a span of its own.
pub fn partition(target: &Target) -> String {
    let span = target
        .span()
        .map(|span| escape(span.as_str()))
        .unwrap_or_default();
    format!("{}#{span}", escape(target.trace().as_str()))
}

/// The target of a partition key. `None` if it is none.
pub fn target(partition: &str) -> Option<Target> {
    let (trace, span) = partition.split_once('#')?;
    let trace = TraceId::parse(&unescape(trace)?)?;
    if span.is_empty() {
        return Some(Target::Trace(trace));
    }
    Some(Target::Span(trace, SpanId::parse(&unescape(span)?)?))
}

/// `%` becomes `%25` and `#` becomes `%23`; so an escaped text holds no `#`.
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

/// The sort key: a workspace can name its own items only.
pub fn sort(workspace: &Workspace, id: FeedbackId) -> String {
    format!("{workspace}#{}", id.hyphenated())
}

/// The sort key of an upserted record: behind those of all others, since no id begins with `~`.
pub fn upserted_sort(workspace: &Workspace, person: &Person) -> String {
    let mut sort = upserted_prefix(workspace);
    for byte in person.hash() {
        let _ = write!(sort, "{byte:02x}");
    }
    sort
}

/// What the sort keys of a workspace's upserted records begin with.
pub fn upserted_prefix(workspace: &Workspace) -> String {
    format!("{workspace}#~")
}

/// What a sort key says of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The workspace and id of a plain record.
    Plain(Workspace, FeedbackId),
    /// The workspace of an upserted record, whose id is an attribute.
    Upserted(Workspace),
}

/// The owner of a sort key. `None` if it is none.
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

/// The key of an index whose values are many, so that its records spread by themselves: `by-trace`, and those
/// of fields with many values.
pub fn spread(workspace: &Workspace, text: &str) -> String {
    format!("{workspace}#{text}")
}

/// The key of an index whose values are few, each in many records.
fn sharded(workspace: &Workspace, shard: u8, text: &str) -> String {
    format!("{workspace}#{shard}#{text}")
}

/// The key of a record in the index of a field, by the field's text.
pub fn indexed(field: Field, workspace: &Workspace, id: FeedbackId, text: &str) -> String {
    if field.has_many_values() {
        spread(workspace, text)
    } else {
        sharded(workspace, shard(id), text)
    }
}

/// All keys of the index of a field under which records of this text are.
pub fn all_indexed(field: Field, workspace: &Workspace, text: &str) -> Vec<String> {
    if field.has_many_values() {
        vec![spread(workspace, text)]
    } else {
        (0..SHARDS).map(|shard| sharded(workspace, shard, text)).collect()
    }
}

/// The text in a key of the index of a field. `None` if it is none.
pub fn indexed_text(field: Field, key: &str) -> Option<&str> {
    let parts = if field.has_many_values() { 2 } else { 3 };
    key.splitn(parts, '#').nth(parts - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_key_holds_its_text_whatever_that_is() {
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
    fn separators_in_ids_do_not_meet() {
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
    fn what_no_partition_key_is_names_no_target() {
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
