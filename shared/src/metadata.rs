//! Metadata and comments.

use crate::fields::{
    FromJson, JsonRef, Kind, LONE_SURROGATE, Object, Refusal, deeper_than, describe, document, scalar_text,
    string, string_with,
};
use crate::indexed::{Field, Indexed, MAX_INDEXED};
use crate::problem::Fault;

/// The maximum size of metadata, in bytes of JSON.
pub const MAX_METADATA: usize = 64 * 1024;

/// The maximum nesting of metadata. Parsers commonly stop at 128 levels, and a list adds three.
pub const MAX_METADATA_DEPTH: usize = 100;

/// The maximum size of a comment, in bytes.
pub const MAX_COMMENT: usize = 16 * 1024;

/// The members in which Portkey's samples put a comment, in the order in which they are looked at.
const COMMENTS: [&str; 3] = ["comment", "comments", "text"];

/// A JSON object, kept as the text it came as. It is never converted, because DynamoDB's numbers cannot
/// hold all of JSON's (`1e300`, `1.0`, an integer of 40 digits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    json: String,
    indexed: Indexed,
}

impl Metadata {
    /// The object's JSON text, unchanged.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The fields that the record is indexed by.
    pub fn indexed(&self) -> &Indexed {
        &self.indexed
    }

    /// Metadata from the table, which may break rules that were added later. An invalid field is not
    /// indexed, and nothing is if the text is not a JSON object.
    pub fn from_stored(json: String) -> Self {
        let indexed = stored_object(&json)
            .and_then(|object| Object::from_json(object).ok())
            .map(|object| indexed(&object).0)
            .unwrap_or_default();
        Self { json, indexed }
    }

    /// The user who gave the feedback: `_user`, or else the text of `field` if it has 1 to 512 bytes.
    pub fn user(&self, field: Option<&str>) -> Option<String> {
        if let Some(user) = self.indexed.get(Field::User) {
            return Some(user.to_owned());
        }
        let object = Object::parse(&self.json).ok()?;
        scalar_text(object.get(field?)?).filter(|text| (1..=MAX_INDEXED).contains(&text.len()))
    }

    /// The first text among the members `comment`, `comments` and `text`. An empty text counts as missing. Lone
    /// surrogates are replaced as in a [`Comment`].
    pub fn comment(&self) -> Option<String> {
        let object = Object::parse(&self.json).ok()?;
        COMMENTS.into_iter().find_map(|name| {
            let text = string_with(object.get(name)?, replace_surrogate).ok()?;
            is_text(&text).then_some(text)
        })
    }

    /// The object, unless the stored text is not one.
    pub fn object(&self) -> Option<JsonRef<'_>> {
        stored_object(&self.json)
    }

    fn from_object(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if json.get().len() > MAX_METADATA {
            return Err(Refusal::TooLarge(format!(
                "expected at most {MAX_METADATA} bytes of JSON, got {}",
                json.get().len()
            )));
        }
        if deeper_than(json.get(), MAX_METADATA_DEPTH) {
            return Err(Refusal::Because(format!(
                "expected at most {MAX_METADATA_DEPTH} levels of nesting, got more"
            )));
        }
        let object = Object::from_json(json).map_err(Refusal::Because)?;
        match indexed(&object) {
            (indexed, faults) if faults.is_empty() => Ok(Self {
                indexed,
                json: json.get().to_owned(),
            }),
            (_, faults) => Err(Refusal::Inside(faults)),
        }
    }
}

/// Parses text that must be a JSON object, with any nesting.
fn stored_object(text: &str) -> Option<JsonRef<'_>> {
    serde_json::from_str::<JsonRef<'_>>(text)
        .ok()
        .filter(|json| Kind::of(json) == Kind::Object)
}

impl FromJson for Metadata {
    const EXPECTED: &str = "a JSON object";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        match Kind::of(json) {
            Kind::Object => Self::from_object(json),
            _ => Err(Refusal::Mismatch),
        }
    }
}

/// Metadata in Portkey's API: a JSON object, or a string that contains one.
#[derive(Debug)]
pub struct MaybeText(pub Metadata);

impl FromJson for MaybeText {
    const EXPECTED: &str = "a JSON object, or a string that holds one";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if Kind::of(json) != Kind::String {
            return Metadata::from_json(json).map(Self);
        }
        // The string contains the caller's JSON. A lone surrogate in it, which UTF-8 cannot hold, is
        // written as its escape sequence: inside a JSON string that means the same, and anywhere else it is
        // not JSON either way.
        let text = string_with(json, |unit| format!("\\u{unit:04x}"))?;
        let inner = document(&text)
            .map_err(|_| Refusal::Got(format!("a string of {} bytes that is not JSON", text.len())))?;
        if Kind::of(inner) != Kind::Object {
            return Err(Refusal::Got(format!("a string that holds {}", describe(inner))));
        }
        Metadata::from_object(inner).map(Self)
    }
}

/// Reads the indexed fields of an object, and the faults of invalid ones.
fn indexed(object: &Object<'_>) -> (Indexed, Vec<Fault>) {
    let mut faults = Vec::new();
    let indexed = Indexed::from_fn(|field| {
        let text = match object.once(field.metadata()) {
            Ok(member) => member.map(indexed_text).transpose(),
            Err(rest) => Err(rest),
        };
        text.unwrap_or_else(|rest| {
            faults.push(Fault::new(field.metadata(), rest));
            None
        })
        .flatten()
    });
    (indexed, faults)
}

/// The text that a field is indexed by: a string's content, or the JSON of a number or boolean. An empty
/// string and `null` stay in the metadata but are not indexed.
fn indexed_text(json: JsonRef<'_>) -> Result<Option<String>, String> {
    if Kind::of(json) == Kind::Null {
        return Ok(None);
    }
    match scalar_text(json) {
        Some(text) if text.is_empty() => Ok(None),
        Some(text) if text.len() <= MAX_INDEXED => Ok(Some(text)),
        _ => Err(format!(
            "expected a string, number or boolean of at most {MAX_INDEXED} bytes, got {}",
            describe(json)
        )),
    }
}

/// Returns the question that the feedback answers: `_name` from metadata as text. Returns an empty string
/// if it is missing or does not have 1 to 512 bytes.
pub fn name(metadata: Option<&Metadata>) -> String {
    let read = || {
        let object = Object::parse(metadata?.json()).ok()?;
        scalar_text(object.get("_name")?).filter(|text| (1..=MAX_INDEXED).contains(&text.len()))
    };
    read().unwrap_or_default()
}

/// Returns a member of a metadata object as text: a string's content, or the JSON of a number or boolean.
/// If the name is repeated, the last one counts.
pub fn member(json: &str, name: &str) -> Option<String> {
    let object = Object::parse(json).ok()?;
    scalar_text(object.get(name)?)
}

/// The model of a vote whose metadata names none.
pub const UNKNOWN_MODEL: &str = "unknown";

/// Returns `_model` or `ai_model` from metadata as text, or [`UNKNOWN_MODEL`] if there is neither or it
/// does not have 1 to 512 bytes.
pub fn model(metadata: Option<&Metadata>) -> String {
    let read = || {
        let object = Object::parse(metadata?.json()).ok()?;
        let json = object.get("_model").or_else(|| object.get("ai_model"))?;
        scalar_text(json).filter(|text| (1..=MAX_INDEXED).contains(&text.len()))
    };
    read().unwrap_or_else(|| UNKNOWN_MODEL.to_owned())
}

/// Stands for a lone surrogate in a comment, which UTF-8 cannot hold.
fn replace_surrogate(_: u16) -> String {
    char::REPLACEMENT_CHARACTER.to_string()
}

/// Whether a text says anything: it is neither empty nor only white space.
fn is_text(text: &str) -> bool {
    !text.trim().is_empty()
}

/// A comment: text of at most [`MAX_COMMENT`] bytes. Lone surrogates, which UTF-8 cannot hold, are replaced
/// with U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment(String);

impl Comment {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, unless it is empty or only white space.
    pub fn text(&self) -> Option<&str> {
        is_text(&self.0).then_some(&self.0)
    }

    /// Returns a warning if the comment is not stored exactly as it was sent.
    pub fn warning(json: JsonRef<'_>) -> Option<String> {
        let is_changed = Kind::of(json) == Kind::String && string(json).is_err();
        is_changed.then(|| format!("comment held {LONE_SURROGATE}, stored as U+FFFD"))
    }

    /// A comment from the table.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

impl FromJson for Comment {
    const EXPECTED: &str = "a string of at most 16384 bytes";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        let text = string_with(json, replace_surrogate)?;
        if text.len() > MAX_COMMENT {
            return Err(Refusal::TooLarge(format!(
                "expected at most {MAX_COMMENT} bytes, got {}",
                text.len()
            )));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromJson>(json: &str) -> Result<T, Refusal> {
        T::from_json(document(json).unwrap())
    }

    #[test]
    fn metadata_is_kept_unchanged() {
        let nested = format!("{{\"deep\":{}1{}}}", "[".repeat(60), "]".repeat(60));
        for json in [
            "{}",
            r#"{"n":1e300,"big":1234567890123456789012345678901234567890,"f":1.0,"z":-0,"e":1e400}"#,
            r#"{"":"", "a" : [ ] ,"\u0000":"\u0000","ü":"😀\ud83d\ude00"}"#,
            r#"{"a":1,"a":[{"\ud83d":1,"\ud83d":"\udc00"}],"_user":"u"}"#,
            &nested,
        ] {
            assert_eq!(read::<Metadata>(json).unwrap().json(), json);
            let quoted = serde_json::to_string(json).unwrap();
            assert_eq!(read::<MaybeText>(&quoted).unwrap().0.json(), json);
            assert_eq!(Metadata::from_stored(json.to_owned()).json(), json);
        }
    }

    #[test]
    fn metadata_must_be_an_object() {
        for json in ["[]", "1", "true", "\"x\""] {
            assert_eq!(read::<Metadata>(json).unwrap_err(), Refusal::Mismatch, "{json}");
        }
        for (json, says) in [
            ("\"x\"", "a string of 1 bytes that is not JSON"),
            ("\"[1]\"", "a string that holds an array"),
            ("\"\\\"{}\\\"\"", "a string that holds a string of 2 bytes"),
        ] {
            assert_eq!(
                read::<MaybeText>(json).unwrap_err(),
                Refusal::Got(says.into()),
                "{json}"
            );
        }
    }

    #[test]
    fn metadata_over_the_size_limit_is_rejected() {
        let of = |size: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(size - 8));
        assert!(read::<Metadata>(&of(MAX_METADATA)).is_ok());
        let refused = read::<Metadata>(&of(MAX_METADATA + 1)).unwrap_err();
        assert_eq!(
            refused,
            Refusal::TooLarge("expected at most 65536 bytes of JSON, got 65537".into())
        );
    }

    #[test]
    fn fields_are_indexed_as_text() {
        let metadata = read::<Metadata>(
            r#"{"_user":"fef653","_organisation":9876,"_prompt":true,"_environment":"","user":"no"}"#,
        );
        let metadata = metadata.unwrap();
        let indexed: Vec<_> = metadata.indexed().iter().collect();
        let expected = [
            (Field::User, "fef653"),
            (Field::Prompt, "true"),
            (Field::Organisation, "9876"),
        ];
        assert_eq!(indexed, expected);
        assert_eq!(
            read::<Metadata>(r#"{"_user":null}"#).unwrap().indexed(),
            &Indexed::default()
        );
    }

    #[test]
    fn every_field_that_cannot_be_indexed_is_named() {
        let json = format!(r#"{{"_user":"{}","_prompt":["x"]}}"#, "x".repeat(MAX_INDEXED + 1));
        let Err(Refusal::Inside(faults)) = read::<Metadata>(&json) else {
            panic!("must be refused");
        };
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["_user", "_prompt"]);
        assert_eq!(
            faults[1].message,
            "_prompt: expected a string, number or boolean of at most 512 bytes, got an array"
        );
    }

    #[test]
    fn a_comment_is_the_first_text_among_the_members_that_hold_one() {
        for (json, comment) in [
            (r"{}", None),
            (r#"{"comment":"a","comments":"b","text":"c"}"#, Some("a")),
            (r#"{"text":"c","comments":"b"}"#, Some("b")),
            (r#"{"text":"c","Comment":"no","note":"no"}"#, Some("c")),
            (r#"{"comment":"","comments":" \n","text":"c"}"#, Some("c")),
            (
                r#"{"comment":null,"comments":["b"],"text":{"comment":"c"}}"#,
                None,
            ),
            (r#"{"comment":5,"comments":true,"text":" 5 "}"#, Some(" 5 ")),
            (r#"{"comment":"first","comment":"last"}"#, Some("last")),
            (r#"{"comment":"half \ud83d"}"#, Some("half \u{fffd}")),
            (r#"{"\ud83d":1,"text":"c"}"#, Some("c")),
            ("[]", None),
            ("not JSON", None),
        ] {
            let metadata = Metadata::from_stored(json.to_owned());
            assert_eq!(metadata.comment().as_deref(), comment, "{json}");
        }
    }

    #[test]
    fn a_comment_over_the_size_limit_is_rejected() {
        let of = |size: usize| format!("\"{}\"", "x".repeat(size));
        assert!(read::<Comment>(&of(MAX_COMMENT)).is_ok());
        assert!(matches!(
            read::<Comment>(&of(MAX_COMMENT + 1)),
            Err(Refusal::TooLarge(_))
        ));
        assert_eq!(read::<Comment>("\"\"").unwrap().as_str(), "");
        assert!(read::<Comment>("5").is_err());
    }
}
