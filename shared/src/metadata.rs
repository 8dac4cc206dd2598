//! Whatever else the caller wants to keep with a feedback.

use crate::fields::{FromJson, JsonRef, Kind, Object, Refusal, check_inside, describe, document, string};

/// The most text of metadata, in bytes of JSON.
pub const MAX_METADATA: usize = 64 * 1024;

/// The deepest nesting of metadata. Parsers commonly give up at 128 levels, and a list adds three.
pub const MAX_METADATA_DEPTH: usize = 100;

/// The longest value of an indexed field, in bytes.
pub const MAX_INDEXED: usize = 512;

/// The longest comment, in bytes.
pub const MAX_COMMENT: usize = 16 * 1024;

/// A JSON object, kept as the text it came as. DynamoDB's number type could not hold what JSON
/// can (`1e300`, `1.0`, an integer of 40 digits), so it is never taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    json: String,
    indexed: Indexed,
}

/// The metadata fields that Portkey indexes by default, where they are there and not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// `_user`
    pub user: Option<String>,
    /// `_organisation`
    pub organisation: Option<String>,
    /// `_prompt`
    pub prompt: Option<String>,
    /// `_environment`
    pub environment: Option<String>,
}

impl Metadata {
    /// The object's JSON text, as it came.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The fields it is indexed by.
    pub fn indexed(&self) -> &Indexed {
        &self.indexed
    }

    /// Metadata as it is stored. `None` if it is not the text of a JSON object.
    pub fn from_stored(json: String) -> Option<Self> {
        let object = Object::parse(&json).ok()?;
        let indexed = Indexed::of(&object).ok()?;
        Some(Self { json, indexed })
    }

    fn from_object(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if json.get().len() > MAX_METADATA {
            return Err(Refusal::TooLarge(format!(
                "must be at most {MAX_METADATA} bytes of JSON, got {}",
                json.get().len()
            )));
        }
        check_inside(json, MAX_METADATA_DEPTH)?;
        let object = Object::from_json(json).map_err(Refusal::Because)?;
        Ok(Self {
            indexed: Indexed::of(&object).map_err(Refusal::Inside)?,
            json: json.get().to_owned(),
        })
    }
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

/// Portkey's spelling of metadata: a JSON object, or a string that holds one.
#[derive(Debug)]
pub struct MaybeText(pub Metadata);

impl FromJson for MaybeText {
    const EXPECTED: &str = "a JSON object, or a string that holds one";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        if Kind::of(json) != Kind::String {
            return Metadata::from_json(json).map(Self);
        }
        let text = string(json)?;
        let inner = document(&text)
            .map_err(|_| Refusal::Got(format!("a string of {} bytes that is not JSON", text.len())))?;
        if Kind::of(inner) != Kind::Object {
            return Err(Refusal::Got(format!("a string that holds {}", describe(inner))));
        }
        Metadata::from_object(inner).map(Self)
    }
}

impl Indexed {
    fn of(object: &Object<'_>) -> Result<Self, Vec<crate::problem::Fault>> {
        let mut faults = Vec::new();
        let mut take = |name: &str| match object.get(name).map(indexed_text) {
            None => None,
            Some(Ok(text)) => text,
            Some(Err(rest)) => {
                faults.push(crate::problem::Fault::new(name, rest));
                None
            }
        };
        let indexed = Self {
            user: take("_user"),
            organisation: take("_organisation"),
            prompt: take("_prompt"),
            environment: take("_environment"),
        };
        if faults.is_empty() {
            Ok(indexed)
        } else {
            Err(faults)
        }
    }
}

/// The text a field is indexed by: a string itself, a number or boolean by its JSON text. An
/// empty string and `null` are kept in the metadata and not indexed: there is nothing to find.
fn indexed_text(json: JsonRef<'_>) -> Result<Option<String>, String> {
    let expected = format!("must be a string, number or boolean of at most {MAX_INDEXED} bytes");
    let text = match Kind::of(json) {
        Kind::Null => return Ok(None),
        Kind::String => string(json).map_err(|_| expected.clone())?,
        Kind::Number | Kind::Bool => json.get().to_owned(),
        Kind::Array | Kind::Object => return Err(format!("{expected}, got {}", describe(json))),
    };
    match text.len() {
        0 => Ok(None),
        1..=MAX_INDEXED => Ok(Some(text)),
        _ => Err(format!("{expected}, got {}", describe(json))),
    }
}

/// TrueFoundry's comment: text of at most [`MAX_COMMENT`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment(String);

impl Comment {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A comment as it is stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

impl FromJson for Comment {
    const EXPECTED: &str = "a string of at most 16384 bytes";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        let text = string(json)?;
        if text.len() > MAX_COMMENT {
            return Err(Refusal::TooLarge(format!(
                "must be at most {MAX_COMMENT} bytes, got {}",
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
    fn metadata_is_kept_to_the_letter() {
        let nested = format!("{{\"deep\":{}1{}}}", "[".repeat(60), "]".repeat(60));
        for json in [
            "{}",
            r#"{"n":1e300,"big":1234567890123456789012345678901234567890,"f":1.0,"z":-0,"e":1e400}"#,
            r#"{"":"", "a" : [ ] ,"\u0000":"\u0000","ü":"😀\ud83d\ude00"}"#,
            &nested,
        ] {
            assert_eq!(read::<Metadata>(json).unwrap().json(), json);
            let quoted = serde_json::to_string(json).unwrap();
            assert_eq!(read::<MaybeText>(&quoted).unwrap().0.json(), json);
            assert!(Metadata::from_stored(json.to_owned()).is_some());
        }
    }

    #[test]
    fn what_is_no_object_is_no_metadata() {
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
    fn the_limit_is_on_the_text_and_is_told() {
        let of = |size: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(size - 8));
        assert!(read::<Metadata>(&of(MAX_METADATA)).is_ok());
        let refused = read::<Metadata>(&of(MAX_METADATA + 1)).unwrap_err();
        assert_eq!(
            refused,
            Refusal::TooLarge("must be at most 65536 bytes of JSON, got 65537".into())
        );
    }

    #[test]
    fn four_fields_are_indexed_as_text() {
        let metadata = read::<Metadata>(
            r#"{"_user":"fef653","_organisation":9876,"_prompt":true,"_environment":"","user":"no"}"#,
        );
        let expected = Indexed {
            user: Some("fef653".into()),
            organisation: Some("9876".into()),
            prompt: Some("true".into()),
            environment: None,
        };
        assert_eq!(metadata.unwrap().indexed(), &expected);
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
            "_prompt must be a string, number or boolean of at most 512 bytes, got an array"
        );
    }

    #[test]
    fn a_comment_has_a_limit_too() {
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
