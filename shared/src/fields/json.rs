//! JSON as text: a value is kept as it came until a domain type parses it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Refusal;

/// The text of one JSON value in a body that is known to be well-formed.
pub type JsonRef<'a> = &'a RawValue;

/// The maximum nesting of a body, including the body itself: serde_json's own recursion limit.
pub const MAX_DEPTH: usize = 128;

/// The members of a JSON object, in order. A name may be repeated.
#[derive(Debug)]
pub struct Object<'a> {
    members: Vec<(String, JsonRef<'a>)>,
    has_lone_surrogates: bool,
}

impl<'a> Object<'a> {
    /// Parses an object from any text.
    ///
    /// # Errors
    ///
    /// A message to follow a field's name: what was expected and what came.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let json = document(text)?;
        if Kind::of(json) != Kind::Object {
            return Err(format!("expected a JSON object, got {}", describe(json)));
        }
        Self::from_json(json)
    }

    /// Reads the members of an object.
    ///
    /// # Errors
    ///
    /// A message to follow a field's name: what was expected and what came.
    pub fn from_json(json: JsonRef<'a>) -> Result<Self, String> {
        let members: Members<'a> = serde_json::from_str(json.get())
            .map_err(|error| format!("expected a JSON object: {}", position(&error)))?;
        let all = members.0.len();
        let members: Vec<_> = members
            .0
            .into_iter()
            .filter_map(|(Wtf8(name), value)| Some((String::from_utf8(name).ok()?, value)))
            .collect();
        Ok(Self {
            has_lone_surrogates: members.len() < all,
            members,
        })
    }

    /// Returns the member with this name. If the name is repeated, this is the last one, as in most JSON
    /// parsers.
    pub fn get(&self, name: &str) -> Option<JsonRef<'a>> {
        self.all(name).last()
    }

    /// Returns the member with this name, which must not be repeated.
    ///
    /// # Errors
    ///
    /// A message to follow the field's name, if the member is repeated: it is unclear which one was meant.
    pub fn once(&self, name: &str) -> Result<Option<JsonRef<'a>>, String> {
        match self.all(name).count() {
            0 | 1 => Ok(self.get(name)),
            times => Err(format!("expected once, got {times} times")),
        }
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = JsonRef<'a>> {
        let named = move |(member, value): &(String, JsonRef<'a>)| (member == name).then_some(*value);
        self.members.iter().filter_map(named)
    }

    /// The members whose names are valid text, in order. Names with a lone surrogate are left out; see
    /// [`Object::has_lone_surrogates`].
    pub fn members(&self) -> &[(String, JsonRef<'a>)] {
        &self.members
    }

    /// Whether any member's name contains a lone surrogate.
    pub fn has_lone_surrogates(&self) -> bool {
        self.has_lone_surrogates
    }

    /// Whether any name is repeated.
    pub fn has_repeated_names(&self) -> bool {
        let mut names: Vec<&str> = self.members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

struct Members<'a>(Vec<(Wtf8, JsonRef<'a>)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The content of a JSON string as serde_json returns it when asked for bytes: UTF-8, except that a lone
/// surrogate is encoded in three bytes like a character.
struct Wtf8(Vec<u8>);

impl<'de> Deserialize<'de> for Wtf8 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wtf8Visitor;

        impl Visitor<'_> for Wtf8Visitor {
            type Value = Wtf8;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Wtf8(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Wtf8Visitor)
    }
}

/// Checks that `text` is one JSON value, nested no deeper than [`MAX_DEPTH`].
///
/// # Errors
///
/// A message to follow the name of the text: what was expected and what came.
pub fn document(text: &str) -> Result<JsonRef<'_>, String> {
    if text.starts_with('\u{feff}') {
        return Err("expected JSON without a byte order mark".to_owned());
    }
    if text.trim_ascii().is_empty() {
        return Err("expected JSON, got nothing".to_owned());
    }
    if deeper_than(text, MAX_DEPTH) {
        return Err(format!(
            "expected at most {MAX_DEPTH} levels of nesting, got more"
        ));
    }
    serde_json::from_str(text).map_err(|error| format!("invalid JSON: {}", position(&error)))
}

/// Whether brackets outside strings nest deeper than `limit`. The text need not be valid JSON.
pub fn deeper_than(text: &str, limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Describes where and why serde_json stopped. Only its syntax errors are used as they are, because its
/// other messages quote the input.
fn position(error: &serde_json::Error) -> String {
    if error.is_data() {
        format!(
            "unexpected value at line {} column {}",
            error.line(),
            error.column()
        )
    } else {
        error.to_string()
    }
}

/// The six kinds of JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The kind of a well-formed value, from its first byte.
    pub fn of(json: JsonRef<'_>) -> Self {
        match json.get().as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Bool,
            Some(b'"') => Self::String,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            _ => Self::Number,
        }
    }
}

/// Describes a value for a message: a short number as it is, a string by its length only.
pub fn describe(json: JsonRef<'_>) -> String {
    let text = json.get();
    match Kind::of(json) {
        Kind::Null | Kind::Bool => text.to_owned(),
        Kind::Number if text.len() <= 24 => text.to_owned(),
        Kind::Number => format!("a number of {} characters", text.len()),
        Kind::String => match string(json) {
            Ok(text) if text.is_empty() => "an empty string".to_owned(),
            Ok(text) => format!("a string of {} bytes", text.len()),
            Err(_) => "a string with a lone surrogate".to_owned(),
        },
        Kind::Array => "an array".to_owned(),
        Kind::Object => "an object".to_owned(),
    }
}

/// The text of a string value.
///
/// # Errors
///
/// [`Refusal::Mismatch`] for another kind, [`Refusal::Because`] for a lone surrogate.
pub fn string(json: JsonRef<'_>) -> Result<String, Refusal> {
    if Kind::of(json) != Kind::String {
        return Err(Refusal::Mismatch);
    }
    serde_json::from_str(json.get()).map_err(|_| lone_surrogate())
}

/// The text of a string value, in which `replace` substitutes each lone surrogate.
///
/// # Errors
///
/// [`Refusal::Mismatch`] for another kind.
pub fn string_with(json: JsonRef<'_>, replace: impl Fn(u16) -> String) -> Result<String, Refusal> {
    let Wtf8(bytes) = match Kind::of(json) {
        Kind::String => serde_json::from_str(json.get()).map_err(|_| Refusal::Mismatch)?,
        _ => return Err(Refusal::Mismatch),
    };
    let (mut text, mut surrogate) = (String::with_capacity(bytes.len()), Vec::new());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        surrogate.extend_from_slice(chunk.invalid());
        // A lone surrogate in three bytes: 1110xxxx 10xxxxxx 10xxxxxx.
        if let [first, second, third] = surrogate[..] {
            let bits = |byte: u8, mask: u8| u16::from(byte & mask);
            text.push_str(&replace(
                bits(first, 0x0f) << 12 | bits(second, 0x3f) << 6 | bits(third, 0x3f),
            ));
            surrogate.clear();
        }
    }
    Ok(text)
}

/// The name for half of a surrogate pair in messages. It cannot be encoded in UTF-8.
pub const LONE_SURROGATE: &str = "a lone surrogate (\\ud800 to \\udfff)";

fn lone_surrogate() -> Refusal {
    Refusal::Because(format!("expected text without {LONE_SURROGATE}"))
}

/// The text of a string, or the JSON of a number or boolean. Returns `None` for other kinds and for a
/// string with a lone surrogate.
pub fn scalar_text(json: JsonRef<'_>) -> Option<String> {
    match Kind::of(json) {
        Kind::String => string(json).ok(),
        Kind::Number | Kind::Bool => Some(json.get().to_owned()),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// The elements of an array.
///
/// # Errors
///
/// [`Refusal::Mismatch`] for another kind.
pub fn elements(json: JsonRef<'_>) -> Result<Vec<JsonRef<'_>>, Refusal> {
    if Kind::of(json) != Kind::Array {
        return Err(Refusal::Mismatch);
    }
    serde_json::from_str(json.get()).map_err(|_| Refusal::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_limit_counts_brackets_outside_of_strings() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(document(&nested(MAX_DEPTH)).is_ok());
        let error = document(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(error, "expected at most 128 levels of nesting, got more");
        let brackets = format!(r#""{}\"{}""#, "[".repeat(200), "{".repeat(200));
        assert!(document(&brackets).is_ok());
        assert!(document(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn invalid_json_is_reported_with_its_position() {
        for (text, says) in [
            ("", "expected JSON, got nothing"),
            (" \n", "expected JSON, got nothing"),
            ("\u{feff}{}", "expected JSON without a byte order mark"),
            ("{'a':1}", "invalid JSON: key must be a string at line 1 column 2"),
            ("{} {}", "invalid JSON: trailing characters at line 1 column 4"),
            ("NaN", "invalid JSON: expected value at line 1 column 1"),
            (
                "{\"a\":\"\u{1}\"}",
                "invalid JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 6",
            ),
        ] {
            assert_eq!(document(text).unwrap_err(), says, "{text}");
        }
    }

    #[test]
    fn get_returns_the_last_of_repeated_names_and_once_rejects_them() {
        let object = Object::parse(r#"{"a":1,"b":0,"\u0061":2}"#).unwrap();
        assert_eq!(object.get("a").map(RawValue::get), Some("2"));
        assert_eq!(object.once("a").unwrap_err(), "expected once, got 2 times");
        assert_eq!(object.once("b").unwrap().map(RawValue::get), Some("0"));
        assert!(object.once("c").unwrap().is_none());
        assert!(object.has_repeated_names());
        assert!(
            !Object::parse(r#"{"a":{"a":1},"b":{"a":1}}"#)
                .unwrap()
                .has_repeated_names()
        );
    }

    #[test]
    fn a_name_with_a_lone_surrogate_matches_no_field() {
        let object = Object::parse(r#"{"\ud83d":1,"\ufffd":2,"a\udc00":3}"#).unwrap();
        assert!(object.has_lone_surrogates());
        assert_eq!(object.members().len(), 1);
        assert_eq!(object.get("\u{fffd}").map(RawValue::get), Some("2"));
        assert!(
            !Object::parse(r#"{"\ud83d\ude00":1}"#)
                .unwrap()
                .has_lone_surrogates()
        );
    }

    #[test]
    fn only_lone_surrogates_are_replaced() {
        for (json, text) in [
            (r#""""#, ""),
            (r#""\ud83d\ude00 \ufffd ü""#, "😀 \u{fffd} ü"),
            (r#""\ud83d""#, "<d83d>"),
            (r#""a\udfff\ud800\ud800b😀""#, "a<dfff><d800><d800>b😀"),
            (r#""\ud83dx\ude00""#, "<d83d>x<de00>"),
        ] {
            let replaced = string_with(document(json).unwrap(), |unit| format!("<{unit:x}>"));
            assert_eq!(replaced.unwrap(), text, "{json}");
        }
        assert_eq!(
            string_with(document("5").unwrap(), |_| String::new()),
            Err(Refusal::Mismatch)
        );
    }

    #[test]
    fn values_are_described_without_quoting_text() {
        for (json, says) in [
            ("null", "null"),
            ("5.5", "5.5"),
            ("true", "true"),
            (r#""secret""#, "a string of 6 bytes"),
            (r#""""#, "an empty string"),
            (r#""\ud800""#, "a string with a lone surrogate"),
            ("[1]", "an array"),
            ("{}", "an object"),
            ("1000000000000000000000000", "a number of 25 characters"),
        ] {
            assert_eq!(describe(document(json).unwrap()), says);
        }
    }
}
