//! Reading the fields of a JSON body so that every faulty one is named at once.
//!
//! A body is kept as text ([`JsonRef`]) until a domain type takes its part of it: numbers keep
//! their spelling, and metadata can be stored exactly as it came.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::{Fault, Problem};

/// The text of one JSON value inside a body that is known to be well-formed.
pub type JsonRef<'a> = &'a RawValue;

/// The deepest nesting of a body, counting the body itself: serde_json's own recursion limit.
pub const MAX_DEPTH: usize = 128;

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has not the form the type expects.
    Mismatch,
    /// It has not the form the type expects, and what came can be quoted.
    Got(String),
    /// The rest of a sentence that begins with the field's name.
    Because(String),
    /// The same, of a size over its limit.
    TooLarge(String),
    /// Faults of fields inside this one; their paths are relative to it.
    Inside(Vec<Fault>),
}

/// A domain type that one JSON value can become.
pub trait FromJson: Sized {
    /// What is expected, as in `value must be {EXPECTED}`.
    const EXPECTED: &str;

    /// Takes the value, or says why not.
    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal>;
}

/// A field of an update: absent, `null`, or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch<T> {
    /// Absent: the stored value stays.
    Keep,
    /// `null`: the stored value goes.
    Clear,
    /// The new value.
    Set(T),
}

/// The members of a JSON object, in their order.
#[derive(Debug)]
pub struct Object<'a>(Vec<(String, JsonRef<'a>)>);

impl<'a> Object<'a> {
    /// Reads an object from text that need not be JSON at all. The error is a sentence's rest.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let json = document(text)?;
        if Kind::of(json) != Kind::Object {
            return Err(format!("must be a JSON object, got {}", describe(json)));
        }
        Self::from_json(json)
    }

    /// Reads the members of a value that is an object. Fails if a name occurs twice: which of the
    /// two was meant cannot be known, and readers differ.
    pub fn from_json(json: JsonRef<'a>) -> Result<Self, String> {
        let members: Members<'a> = serde_json::from_str(json.get()).map_err(|error| {
            format!(
                "must be a JSON object with sound member names: {}",
                position(&error)
            )
        })?;
        let mut names = HashSet::with_capacity(members.0.len());
        if members.0.iter().all(|(name, _)| names.insert(name.as_str())) {
            Ok(Self(members.0))
        } else {
            Err(NAME_TWICE.to_owned())
        }
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<JsonRef<'a>> {
        self.0
            .iter()
            .find_map(|(member, value)| (member == name).then_some(*value))
    }

    /// All members, in their order.
    pub fn members(&self) -> &[(String, JsonRef<'a>)] {
        &self.0
    }
}

struct Members<'a>(Vec<(String, JsonRef<'a>)>);

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

/// Checks that `text` is one JSON value, nested no deeper than [`MAX_DEPTH`]. The error is the
/// rest of a sentence that begins with the name of what the text is.
pub fn document(text: &str) -> Result<JsonRef<'_>, String> {
    if text.starts_with('\u{feff}') {
        return Err("must be JSON without a byte order mark".to_owned());
    }
    if text.trim_ascii().is_empty() {
        return Err("must be JSON, got nothing".to_owned());
    }
    if deeper_than(text, MAX_DEPTH) {
        return Err(format!("must not be nested deeper than {MAX_DEPTH} levels"));
    }
    serde_json::from_str(text).map_err(|error| format!("must be JSON: {}", position(&error)))
}

/// Whether brackets outside of strings nest deeper than `limit`. The text need not be JSON.
fn deeper_than(text: &str, limit: usize) -> bool {
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

/// Where and why serde_json stopped. Of its classes only syntax errors are worded, since the
/// words of the others quote the input.
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
    /// A number, in any spelling JSON has.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The kind of a well-formed value, by its first byte.
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

/// What came, for a message: numbers as they are, of text only how much there was.
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

/// The text of a string value; [`Refusal::Mismatch`] for another kind.
pub fn string(json: JsonRef<'_>) -> Result<String, Refusal> {
    if Kind::of(json) != Kind::String {
        return Err(Refusal::Mismatch);
    }
    serde_json::from_str(json.get()).map_err(|_| lone_surrogate())
}

/// Checks, in one pass, what the parser skips over when it leaves a value as text: lone surrogates,
/// member names that occur twice, and nesting deeper than `limit`.
pub fn check_inside(json: JsonRef<'_>, limit: usize) -> Result<(), Refusal> {
    let text = json.get();
    // The names of each object that is open, and `None` for each array.
    let mut open: Vec<Option<HashSet<String>>> = Vec::new();
    let mut at_name = false;
    let mut rest = 0;
    while let Some(found) = text[rest..].find(['"', '{', '[', '}', ']', ',']) {
        let start = rest + found;
        rest = start + 1;
        match text.as_bytes()[start] {
            b'"' => {
                rest += string_length(&text[rest..]);
                let plain: String = serde_json::from_str(&text[start..rest]).map_err(|_| lone_surrogate())?;
                if at_name
                    && let Some(Some(names)) = open.last_mut()
                    && !names.insert(plain)
                {
                    return Err(Refusal::Because(NAME_TWICE.to_owned()));
                }
                at_name = false;
            }
            b'{' => {
                open.push(Some(HashSet::new()));
                at_name = true;
            }
            b'[' => open.push(None),
            b',' => at_name = matches!(open.last(), Some(Some(_))),
            _ => {
                open.pop();
                at_name = false;
            }
        }
        if open.len() > limit {
            return Err(Refusal::Because(format!(
                "must not be nested deeper than {limit} levels"
            )));
        }
    }
    Ok(())
}

/// How far it is from behind the opening quote of a string to behind its closing one.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    text.bytes()
        .position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })
        .map_or(text.len(), |end| end + 1)
}

const NAME_TWICE: &str = "must not hold a member name twice in one object";

fn lone_surrogate() -> Refusal {
    Refusal::Because("must not hold a lone surrogate (\\ud800 to \\udfff)".to_owned())
}

/// The elements of a value that is an array; [`Refusal::Mismatch`] for another kind.
pub fn elements(json: JsonRef<'_>) -> Result<Vec<JsonRef<'_>>, Refusal> {
    if Kind::of(json) != Kind::Array {
        return Err(Refusal::Mismatch);
    }
    serde_json::from_str(json.get()).map_err(|_| Refusal::Mismatch)
}

/// The fields of one object, and the faults found in them so far.
#[derive(Debug)]
pub struct Fields<'a> {
    object: Object<'a>,
    faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// The fields of an object.
    pub fn new(object: Object<'a>) -> Self {
        Self {
            object,
            faults: Vec::new(),
        }
    }

    /// Whether the object has this member, be it `null`.
    pub fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some()
    }

    /// The member's text, if it is there and not `null`.
    pub fn raw(&self, name: &str) -> Option<JsonRef<'a>> {
        self.object.get(name).filter(|json| Kind::of(json) != Kind::Null)
    }

    /// A field that must be there. `None` has been noted as a fault.
    pub fn required<T: FromJson>(&mut self, name: &str) -> Option<T> {
        match self.object.get(name) {
            Some(json) => self.take(name, json),
            None => {
                self.fault(Fault::new(
                    name,
                    format!("is required and must be {}", T::EXPECTED),
                ));
                None
            }
        }
    }

    /// A field that may be absent or `null`.
    pub fn optional<T: FromJson>(&mut self, name: &str) -> Option<T> {
        let json = self.raw(name)?;
        self.take(name, json)
    }

    /// A field of an update.
    pub fn patch<T: FromJson>(&mut self, name: &str) -> Patch<T> {
        match self.object.get(name) {
            None => Patch::Keep,
            Some(json) if Kind::of(json) == Kind::Null => Patch::Clear,
            Some(json) => self.take(name, json).map_or(Patch::Keep, Patch::Set),
        }
    }

    fn take<T: FromJson>(&mut self, name: &str, json: JsonRef<'_>) -> Option<T> {
        match T::from_json(json) {
            Ok(value) => return Some(value),
            Err(Refusal::Mismatch) => {
                self.fault(Fault::new(
                    name,
                    format!("must be {}, got {}", T::EXPECTED, describe(json)),
                ));
            }
            Err(Refusal::Got(what)) => {
                self.fault(Fault::new(name, format!("must be {}, got {what}", T::EXPECTED)));
            }
            Err(Refusal::Because(rest)) => self.fault(Fault::new(name, rest)),
            Err(Refusal::TooLarge(rest)) => self.fault(Fault::too_large(name, rest)),
            Err(Refusal::Inside(faults)) => self.faults.extend(within(name, faults)),
        }
        None
    }

    /// Notes a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// The faults noted, in the order of the reads; empty if all is well.
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// `value`, which a reader has when it noted no fault, or all the faults.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }
}

/// Faults with their paths put below `outer`: `value` becomes `feedback[3].value`.
pub fn within(outer: &str, faults: Vec<Fault>) -> impl Iterator<Item = Fault> {
    faults.into_iter().map(move |fault| Fault {
        message: format!("{outer}.{}", fault.message),
        field: format!("{outer}.{}", fault.field),
        too_large: fault.too_large,
    })
}

/// The one object of a body, to read fields from.
pub fn body_fields(body: &str) -> Result<Fields<'_>, Problem> {
    Object::parse(body)
        .map(Fields::new)
        .map_err(|rest| Problem::invalid("body", rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_limit_counts_brackets_outside_of_strings() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(document(&nested(MAX_DEPTH)).is_ok());
        let error = document(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(error, "must not be nested deeper than 128 levels");
        let brackets = format!(r#""{}\"{}""#, "[".repeat(200), "{".repeat(200));
        assert!(document(&brackets).is_ok());
        assert!(document(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        for (text, says) in [
            ("", "must be JSON, got nothing"),
            (" \n", "must be JSON, got nothing"),
            ("\u{feff}{}", "must be JSON without a byte order mark"),
            ("{'a':1}", "must be JSON: key must be a string at line 1 column 2"),
            ("{} {}", "must be JSON: trailing characters at line 1 column 4"),
            ("NaN", "must be JSON: expected value at line 1 column 1"),
            (
                "{\"a\":\"\u{1}\"}",
                "must be JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 6",
            ),
        ] {
            assert_eq!(document(text).unwrap_err(), says, "{text}");
        }
    }

    #[test]
    fn an_object_with_a_name_twice_is_refused_at_any_depth() {
        assert!(Object::parse(r#"{"a":1,"a":2}"#).is_err());
        assert!(Object::parse(r#"{"a":1,"\u0061":2}"#).is_err());
        let inside = document(r#"{"x":[{"a":1,"a":1}]}"#).unwrap();
        assert!(check_inside(inside, MAX_DEPTH).is_err());
        let apart = document(r#"[{"a":{"a":"a","b":["a","a"]},"b":"a"},{"a":1}]"#).unwrap();
        assert_eq!(check_inside(apart, MAX_DEPTH), Ok(()));
    }

    #[test]
    fn lone_surrogates_are_refused_in_names_and_values() {
        for text in [
            r#"{"x":["\ud800"]}"#,
            r#"{"\udc00":1}"#,
            r#"{"x":"\ud800\ud800"}"#,
        ] {
            let refused = check_inside(document(text).unwrap(), MAX_DEPTH);
            assert!(refused.is_err(), "{text}");
        }
        for text in [r#"{"x":"\ud83d\ude00"}"#, r#"{"\\":"\"","{[":"]}\\"}"#] {
            assert_eq!(check_inside(document(text).unwrap(), MAX_DEPTH), Ok(()), "{text}");
        }
        assert_eq!(check_inside(document("[[1]]").unwrap(), 2), Ok(()));
        assert!(check_inside(document("[[[]]]").unwrap(), 2).is_err());
    }

    #[test]
    fn what_came_is_described_without_quoting_text() {
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
