//! The properties in `src/lib.rs`, tested briefly. `fuzz/` tests them at length.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use shared::access::key::ApiKey;
use shared::fields::{FromJson as _, document};
use shared::id::FeedbackId;
use shared::query::{Order, encode_cursor};
use shared::score::{Rating, Value as Vote, Weight};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any character as it may be written in a JSON string: as it is, escaped, or as a surrogate pair.
fn json_char() -> impl Strategy<Value = String> {
    (any::<char>(), any::<bool>()).prop_map(|(char, escaped)| {
        let must = char < ' ' || char == '"' || char == '\\';
        if escaped || must {
            let units = char.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
        } else {
            char.to_string()
        }
    })
}

fn json_string() -> impl Strategy<Value = String> {
    prop::collection::vec(json_char(), 0..8).prop_map(|chars| format!("\"{}\"", chars.concat()))
}

/// A number in any JSON spelling, including absurd ones.
fn json_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,3})",
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,6})?",
        prop::sample::select(vec!["-0", "-0.0", "1e400", "1E-400", "0e0", "5.0", "0.1e1"])
            .prop_map(str::to_owned),
    ]
}

/// Any JSON value as text, with optional white space.
fn json_value() -> BoxedStrategy<String> {
    let word = prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned);
    let leaf = prop_oneof![word, json_number(), json_string()];
    leaf.prop_recursive(5, 32, 4, |inner| {
        let array = (prop::collection::vec(inner.clone(), 0..4), "[ \n\t\r]{0,2}")
            .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},"))));
        prop_oneof![array, json_object(inner)]
    })
    .boxed()
}

/// An object with names of any kind, sometimes known ones, sometimes repeated.
fn json_object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let ours = prop::sample::select(vec![
        "_user",
        "_organisation",
        "_prompt",
        "_environment",
        "trace_id",
        "traceID",
        "value",
        "weight",
        "metadata",
        "rating",
        "comment",
        "target",
        "traceId",
        "spanId",
        "feedbackTargetId",
        "0",
        "1",
    ])
    .prop_map(|name| format!("\"{name}\""));
    let member = (prop_oneof![3 => json_string(), 1 => ours], value, "[ \n]{0,1}")
        .prop_map(|(name, value, space)| format!("{name}{space}:{space}{value}"));
    prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
}

/// Text with the separators of keys and their escapes.
fn separators() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[#%235\n]{0,12}", 1 => "\\PC{0,8}\n\\PC{0,8}", 1 => any::<String>()]
}

#[test]
fn any_metadata_is_kept_unchanged() {
    proptest!(cases(256), |(object in json_object(json_value()))| {
        tests::metadata(&object);
        // Also as a string that contains it.
        tests::metadata(&serde_json::to_string(&object).unwrap());
    });
}

#[test]
fn bodies_are_parsed_or_every_fault_is_reported() {
    proptest!(cases(256), |(
        value in json_value(),
        metadata in json_object(json_value()),
        text in json_string(),
        number in json_number(),
    )| {
        tests::portkey_body(&value);
        tests::truefoundry_body(&value);
        let small = r#""value":3,"rating":3"#;
        for scores in [small, &format!(r#""value":{number},"rating":{number},"weight":{number}"#)] {
            let target = format!(r#""target":{{"traceId":{text},"spanId":{text}}}"#);
            let body = format!(r#"{{"trace_id":{text},"comment":{text},{target},{scores},"metadata":{metadata}}}"#);
            tests::portkey_body(&body);
            tests::truefoundry_body(&body);
            tests::portkey_body(&format!("[{body},{body}]"));
        }
    });
}

#[test]
fn every_span_has_a_target_id_that_names_it() {
    proptest!(cases(512), |(text in any::<String>(), pair in "(.|\n){1,20}\n(.|\n){1,20}", base64 in "[A-Za-z0-9+/_=-]{0,60}")| {
        for text in [&text, &pair, &base64] {
            tests::target_id(text);
        }
    });
}

#[test]
fn every_target_has_a_partition_key_of_its_own() {
    proptest!(cases(512), |(one in separators(), other in separators())| {
        tests::partition_key(&one);
        tests::partition_key(&format!("{one}\n{other}"));
        tests::partition_key(&format!("{one}#{other}"));
    });
}

#[test]
fn a_position_has_exactly_one_cursor() {
    proptest!(cases(256), |(id in any::<u128>(), text in "[A-Za-z0-9_-]{0,40}", flip in any::<prop::sample::Index>())| {
        tests::cursor(&text);
        tests::cursor(&FeedbackId::from_u128(id).hyphenated());
        let cursor = encode_cursor(FeedbackId::from_u128(id), Order::Descending);
        tests::cursor(&cursor);
        let mut other = cursor.into_bytes();
        let place = flip.index(other.len());
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        tests::cursor(&String::from_utf8(other).unwrap());
    });
}

#[test]
fn an_api_key_has_exactly_one_text() {
    proptest!(cases(256), |(
        id in any::<[u8; 8]>(),
        secret in any::<[u8; 32]>(),
        text in any::<String>(),
        flip in any::<prop::sample::Index>(),
        to in "[0-9a-f_]",
    )| {
        tests::api_key(&text);
        let mut key = ApiKey::from_random(id, secret).reveal();
        tests::api_key(&key);
        let place = flip.index(key.len());
        let changed = !key[place..].starts_with(&to);
        key.replace_range(place..=place, &to);
        tests::api_key(&key);
        prop_assert_eq!(ApiKey::parse(&key).is_none(), changed);
    });
}

#[test]
fn a_query_is_parsed_within_its_limits_or_rejected() {
    let name = "(trace_id|span_id|user|from|to|limit|cursor|order|traceId|spanId|feedbackTargetId|pageToken|\\PC{0,8})";
    let value = "([0-9]{1,4}|asc|desc|2026-0[1-9]-0[1-9]T00:00:00(Z|[+ ]05:30)|\\PC{0,20})";
    let pair = format!("{name}={value}");
    proptest!(cases(512), |(pairs in prop::collection::vec(pair.as_str(), 0..6), any in any::<String>())| {
        tests::query(&pairs.join("&"));
        tests::query(&any);
    });
}

/// A decimal with up to 20 places in some spelling, and its exact value in units of 10^-20. The expected
/// value uses only integer arithmetic.
fn decimal() -> impl Strategy<Value = (String, i128)> {
    let near = prop::sample::select(vec![-11, -10, -1, 0, 1, 2, 5, 6, 10, 11, 100]);
    let units = prop_oneof![
        // An integer, or a number that differs from one by the smallest unit or a little more.
        3 => (near.clone(), -1..=1_i128).prop_map(|(whole, off)| whole * UNIT + off),
        2 => (near, -1_000_000..1_000_000_i128).prop_map(|(whole, off)| whole * UNIT + off),
        2 => (0..=UNIT).prop_map(|units| units),
        1 => -12 * UNIT..12 * UNIT,
    ];
    let spelling = (
        -30..=20_i32,
        0..4_usize,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    (units, spelling).prop_map(|(units, (shift, zeros, capital, plus, quoted))| {
        // units × 10^-20 = (units with its point moved by `shift`) × 10^(-shift).
        let digits = format!("{:0>width$}", units.unsigned_abs(), width = 60);
        let point = usize::try_from(40 + shift).unwrap();
        let (whole, fraction) = digits.split_at(point);
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            whole => whole,
        };
        let mut text = if units < 0 {
            format!("-{whole}")
        } else {
            whole.to_owned()
        };
        let fraction = format!("{}{}", fraction.trim_end_matches('0'), "0".repeat(zeros));
        if !fraction.is_empty() {
            text = format!("{text}.{fraction}");
        }
        if shift != 0 || plus {
            let e = if capital { 'E' } else { 'e' };
            let sign = if plus && shift <= 0 { "+" } else { "" };
            text = format!("{text}{e}{sign}{}", -shift);
        }
        (if quoted { format!("\"{text}\"") } else { text }, units)
    })
}

/// One, in units of [`decimal`].
const UNIT: i128 = 100_000_000_000_000_000_000;

#[test]
fn scores_are_parsed_by_their_exact_digits() {
    let whole = |units: i128| (units % UNIT == 0).then_some(units / UNIT);
    proptest!(cases(4_096), |((text, units) in decimal())| {
        let json = document(&text).unwrap();
        let value = whole(units).filter(|whole| (-10..=10).contains(whole));
        prop_assert_eq!(Vote::from_json(json).ok().map(|vote| i128::from(vote.get())), value, "{}", text);
        let rating = whole(units).filter(|whole| (1..=5).contains(whole));
        prop_assert_eq!(Rating::from_json(json).ok().map(|rating| i128::from(rating.get())), rating, "{}", text);
        let weight = Weight::from_json(json).ok().map(Weight::get);
        prop_assert_eq!(weight.is_some(), (0..=UNIT).contains(&units), "{}", text);
        // It is stored as the nearest f64.
        if let Some(weight) = weight {
            let exact = text.trim_matches('"').parse::<f64>().unwrap();
            prop_assert_eq!(weight.to_string(), (exact + 0.0).to_string(), "{}", text);
        }
    });
}
