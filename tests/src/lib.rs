//! Properties of the parsers and codecs for any input. Each function takes any text and panics if the
//! property does not hold. `api/properties.rs` tests them briefly, `fuzz/` at length.

use shared::access::key::{ApiKey, KeyId};
use shared::dialect::{portkey, truefoundry};
use shared::feedback::{Draft, Feedback};
use shared::fields::{FromJson as _, document};
use shared::id::{FeedbackId, Workspace};
use shared::metadata::{MAX_METADATA, MaybeText, Metadata};
use shared::problem::Problem;
use shared::query::{ListQuery, Order, decode_cursor, encode_cursor};
use shared::score::ScoreRange;
use shared::store::{item, keys};
use shared::target::{SpanId, Target, TraceId, decode_target_id, encode_target_id};
use shared::timestamp::Timestamp;

const ID: &str = "019ab2a9-8fc6-7804-83ea-e496e2dd611d";

/// The bodies of Portkey's POST and PUT are parsed, or rejected with the names of the invalid fields. A
/// parsed record is stored, read back and rendered as valid JSON.
pub fn portkey_body(text: &str) {
    match portkey::parse_create(text).map(|accepted| accepted.value) {
        Ok(portkey::Create::One(draft)) => stored(*draft),
        Ok(portkey::Create::Bulk(drafts)) => {
            assert!((1..=portkey::MAX_BULK).contains(&drafts.len()));
            drafts.into_iter().for_each(stored);
        }
        Err(problem) => told(&problem),
    }
    for path in [ID, "undefined", text] {
        if let Err(problem) = portkey::parse_update(path, text) {
            told(&problem);
        }
    }
}

/// The same for the bodies of TrueFoundry's POST, PUT and DELETE.
pub fn truefoundry_body(text: &str) {
    match truefoundry::parse_create(text).map(|accepted| accepted.value) {
        Ok(draft) => {
            assert!(draft.target.span().is_some());
            // A target that is valid in a create is valid in an update and a delete.
            let target = Some(draft.target.clone());
            assert_eq!(
                truefoundry::parse_update(ID, text).map(|accepted| accepted.value.0.target),
                Ok(target.clone())
            );
            assert_eq!(
                truefoundry::parse_delete(ID, text).map(|named| named.target),
                Ok(target)
            );
            stored(draft);
        }
        Err(problem) => told(&problem),
    }
    for path in [ID, text] {
        if let Err(problem) = truefoundry::parse_update(path, text) {
            told(&problem);
        }
        if let Err(problem) = truefoundry::parse_delete(path, text) {
            told(&problem);
        }
    }
}

/// Checks that a draft is the same after storing it, and that its record is valid JSON in either dialect.
fn stored(draft: Draft) {
    let (Some(workspace), Some(id)) = (Workspace::parse("w"), FeedbackId::parse(ID)) else {
        panic!("the workspace and id must be valid");
    };
    let feedback = Feedback {
        workspace,
        id,
        draft,
        written_by: KeyId::parse("0123456789abcdef"),
        updated_at: Timestamp::MAX,
        version: 1,
        expires_at: None,
    };
    let item = item::from_feedback(&feedback);
    assert_eq!(item::to_feedback(&item).as_ref(), Ok(&feedback));
    for json in [
        portkey::render_one(&feedback),
        truefoundry::render_one(&feedback),
        portkey::render_list(std::slice::from_ref(&feedback), None, None),
    ] {
        assert!(json.len() > 2 && document(&json).is_ok(), "{json}");
    }
}

/// Checks that a problem is about the request and has a message for each field.
fn told(problem: &Problem) {
    let Problem::Invalid(faults) = problem else {
        panic!("{problem:?}");
    };
    assert!(!faults.is_empty());
    for fault in faults {
        assert!(!fault.field.is_empty());
        assert!(fault.message.len() < 1024, "{} bytes", fault.message.len());
        assert!(fault.message.starts_with(&fault.field), "{}", fault.message);
    }
    assert!(portkey::render_problem(problem).starts_with('{'));
    assert!(truefoundry::render_problem(problem, 400).starts_with('{'));
}

/// Metadata of either dialect is kept unchanged, and is valid metadata when it is returned.
pub fn metadata(text: &str) {
    let Ok(json) = document(text) else {
        return;
    };
    if let Ok(metadata) = Metadata::from_json(json) {
        assert_eq!(metadata.json(), json.get());
        assert!(metadata.json().len() <= MAX_METADATA);
        assert_eq!(Metadata::from_stored(metadata.json().to_owned()), metadata);
        let MaybeText(same) = MaybeText::from_json(json).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert_eq!(same, metadata);
    }
    if let Ok(MaybeText(metadata)) = MaybeText::from_json(json) {
        assert_eq!(Metadata::from_stored(metadata.json().to_owned()), metadata);
    }
}

/// Any text is decoded as a feedback target id or rejected. A decoded one has an id that decodes to the
/// same. Any trace and span, one on each line, have an id that decodes to them.
pub fn target_id(text: &str) {
    if let Ok((trace, span)) = decode_target_id(text) {
        assert_eq!(
            decode_target_id(&encode_target_id(&trace, &span)),
            Ok((trace, span))
        );
    }
    if let Some((trace, span)) = names(text) {
        let standard = encode_target_id(&trace, &span);
        let url_safe = standard.replace('+', "-").replace('/', "_");
        for encoded in [
            &standard,
            &url_safe,
            standard.trim_end_matches('='),
            url_safe.trim_end_matches('='),
        ] {
            assert_eq!(
                decode_target_id(encoded),
                Ok((trace.clone(), span.clone())),
                "{encoded}"
            );
        }
    }
}

/// A target has a unique partition key, within DynamoDB's limit, from which it can be parsed.
pub fn partition_key(text: &str) {
    if let Some(target) = keys::target(text) {
        assert_eq!(keys::target(&keys::partition(&target)), Some(target));
    }
    let (trace, span) = text.split_once('\n').unwrap_or((text, ""));
    let targets: Vec<Target> = [(trace, span), (span, trace), (text, "")]
        .iter()
        .filter_map(|(trace, span)| target(trace, span))
        // Similar targets: the same bytes, divided differently into trace and span.
        .chain(
            text.char_indices()
                .filter_map(|(at, _)| target(&text[..at], &text[at..])),
        )
        .collect();
    let mut seen = std::collections::HashMap::new();
    for target in targets {
        let key = keys::partition(&target);
        assert!(key.len() <= 2048);
        assert_eq!(keys::target(&key).as_ref(), Some(&target));
        let other = seen.insert(key, target.clone()).unwrap_or(target.clone());
        assert_eq!(other, target, "one key for two targets");
    }
}

fn target(trace: &str, span: &str) -> Option<Target> {
    let trace = TraceId::parse(trace)?;
    if span.is_empty() {
        return Some(Target::Trace(trace));
    }
    Some(Target::Span(trace, SpanId::parse(span)?))
}

fn names(text: &str) -> Option<(TraceId, SpanId)> {
    let (trace, span) = text.split_once('\n')?;
    Some((TraceId::parse(trace)?, SpanId::parse(span)?))
}

/// A position and order have exactly one cursor.
pub fn cursor(text: &str) {
    let orders = [Order::Ascending, Order::Descending];
    let read = orders.map(|order| decode_cursor(text, order));
    for (order, place) in orders.iter().zip(read) {
        if let Some(place) = place {
            assert_eq!(encode_cursor(place, *order), text);
        }
    }
    assert!(read.iter().flatten().count() <= 1);
    if let Some(id) = FeedbackId::parse(text) {
        assert_eq!(FeedbackId::parse(&id.hyphenated()), Some(id));
        assert_eq!(FeedbackId::parse(&id.simple()), Some(id));
        for order in orders {
            assert_eq!(decode_cursor(&encode_cursor(id, order), order), Some(id));
        }
    }
}

/// An API key has exactly one text, and its `Debug` does not show its secret.
pub fn api_key(text: &str) {
    if let Some(key) = ApiKey::parse(text) {
        assert_eq!(key.reveal(), text);
        assert!(key.matches(&key.hash()));
        assert!(!format!("{key:?}").contains(&text[21..]));
    }
    if let Some(id) = KeyId::parse(text) {
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
    }
    // The text as random bytes, truncated or padded.
    let byte = |at: usize| text.as_bytes().get(at).copied().unwrap_or_default();
    let key = ApiKey::from_random(std::array::from_fn(byte), std::array::from_fn(|at| byte(at + 8)));
    assert_eq!(ApiKey::parse(&key.reveal()), Some(key));
}

/// The decoded parameters of either list, as `name=value&…`: parsed within their limits, or rejected.
pub fn query(text: &str) {
    let pairs: Vec<(String, String)> = text
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for list in [portkey::parse_list(&pairs), truefoundry::parse_list(&pairs)] {
        match list {
            Ok(ListQuery { filter, limit, .. }) => {
                assert!((1..=100).contains(&limit));
                assert!(filter.span.is_none() || filter.trace.is_some());
                assert!(filter.from.zip(filter.to).is_none_or(|(from, to)| from <= to));
                assert!(!match filter.score {
                    None => false,
                    Some(ScoreRange::Values(range)) => range.is_empty(),
                    Some(ScoreRange::Ratings(range)) => range.is_empty(),
                });
            }
            Err(problem) => {
                told(&problem);
                assert!(problem.message().len() < 16 * 1024);
            }
        }
    }
}
