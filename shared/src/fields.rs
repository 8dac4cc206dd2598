//! Reading the fields of a JSON body so that every invalid one is reported at once.
//!
//! A body is kept as text ([`JsonRef`]) until a domain type parses its part. So numbers keep their
//! spelling, and metadata can be stored byte for byte.

mod json;

use std::collections::HashSet;

pub use json::{
    JsonRef, Kind, LONE_SURROGATE, MAX_DEPTH, Object, deeper_than, describe, document, elements, scalar_text,
    string, string_with,
};

use crate::problem::{Fault, Problem};

/// The reason why a value was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The value does not have the form that the type expects.
    Mismatch,
    /// The same, with a description of the value that may be quoted.
    Got(String),
    /// A message to follow the field's name.
    Because(String),
    /// The same, for a size over its limit.
    TooLarge(String),
    /// Faults of nested fields, with paths relative to this field.
    Inside(Vec<Fault>),
}

/// A domain type that is parsed from one JSON value.
pub trait FromJson: Sized {
    /// The expected form, as in `value: expected {EXPECTED}, got …`.
    const EXPECTED: &str;

    /// Parses the value.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the value is not valid for the type.
    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal>;
}

/// A field in an update: absent, `null` or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch<T> {
    /// Absent: keeps the stored value.
    Keep,
    /// `null`: removes the stored value.
    Clear,
    /// Replaces the stored value.
    Set(T),
}

/// A value that was parsed from a request, with warnings for its caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted<T> {
    /// The value.
    pub value: T,
    /// Messages for `warnings` in the response; usually none.
    pub warnings: Vec<String>,
}

/// The fields of one object, and the faults found in them so far. A field that is read must be present at
/// most once. A field that is never read is unknown: it is ignored with a warning.
#[derive(Debug)]
pub struct Fields<'a> {
    object: Object<'a>,
    read: Vec<&'static str>,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

/// The maximum number of unknown fields that warnings name.
const MAX_UNKNOWN: usize = 10;

/// The maximum length of an unknown field's name in a warning, in characters.
const MAX_UNKNOWN_NAME: usize = 64;

impl<'a> Fields<'a> {
    /// The fields of an object.
    pub fn new(object: Object<'a>) -> Self {
        Self {
            object,
            read: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Whether the object has this member, even if it is `null`.
    pub fn has(&mut self, name: &'static str) -> bool {
        self.read.push(name);
        self.object.get(name).is_some()
    }

    /// Returns the member's text if it is present and not `null`. If it is repeated, this is the first one,
    /// and reading it as a field then reports the fault.
    pub fn raw(&mut self, name: &'static str) -> Option<JsonRef<'a>> {
        self.read.push(name);
        let mut all = self.object.all(name);
        let first = all.next()?;
        (Kind::of(first) != Kind::Null || all.next().is_some()).then_some(first)
    }

    /// Reads a required field. Returns `None` after recording a fault.
    pub fn required<T: FromJson>(&mut self, name: &'static str) -> Option<T> {
        match self.once(name)? {
            Some(json) => self.take(name, json),
            None => {
                self.fault(Fault::new(name, format!("missing, expected {}", T::EXPECTED)));
                None
            }
        }
    }

    /// Reads a field that may be absent or `null`.
    pub fn optional<T: FromJson>(&mut self, name: &'static str) -> Option<T> {
        let json = self.once(name)??;
        if Kind::of(json) == Kind::Null {
            return None;
        }
        self.take(name, json)
    }

    /// A field of an update.
    pub fn patch<T: FromJson>(&mut self, name: &'static str) -> Patch<T> {
        match self.once(name).flatten() {
            None => Patch::Keep,
            Some(json) if Kind::of(json) == Kind::Null => Patch::Clear,
            Some(json) => self.take(name, json).map_or(Patch::Keep, Patch::Set),
        }
    }

    /// Returns the member with this name, if there is one. Returns `None` after recording a fault if it is
    /// repeated.
    fn once(&mut self, name: &'static str) -> Option<Option<JsonRef<'a>>> {
        self.read.push(name);
        match self.object.once(name) {
            Ok(member) => Some(member),
            Err(rest) => {
                self.fault(Fault::new(name, rest));
                None
            }
        }
    }

    /// Parses a value that was made of other fields. Returns `None` after recording a fault of `name`.
    pub fn take<T: FromJson>(&mut self, name: &str, json: JsonRef<'_>) -> Option<T> {
        match T::from_json(json) {
            Ok(value) => return Some(value),
            Err(Refusal::Mismatch) => {
                self.fault(Fault::new(
                    name,
                    format!("expected {}, got {}", T::EXPECTED, describe(json)),
                ));
            }
            Err(Refusal::Got(what)) => {
                self.fault(Fault::new(name, format!("expected {}, got {what}", T::EXPECTED)));
            }
            Err(Refusal::Because(rest)) => self.fault(Fault::new(name, rest)),
            Err(Refusal::TooLarge(rest)) => self.fault(Fault::too_large(name, rest)),
            Err(Refusal::Inside(faults)) => self.faults.extend(within(name, faults)),
        }
        None
    }

    /// Records a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Records a warning for the response.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Returns `value`, or all recorded faults. A parser that found no fault always has a value.
    ///
    /// # Errors
    ///
    /// The recorded faults.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }

    /// The names of the members that were not read so far, once each and in order. Long names are
    /// truncated, and a long list ends with the number of further names.
    pub fn unknown(&self) -> Vec<String> {
        let mut seen: HashSet<&str> = self.read.iter().copied().collect();
        let names = self.object.members().iter().map(|(name, _)| name.as_str());
        let names: Vec<&str> = names.filter(|name| seen.insert(name)).collect();
        let more = names.len().saturating_sub(MAX_UNKNOWN);
        let short = |name: &str| match name.char_indices().nth(MAX_UNKNOWN_NAME) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name.to_owned(),
        };
        let mut unknown: Vec<String> = names.into_iter().take(MAX_UNKNOWN).map(short).collect();
        if more > 0 {
            unknown.push(format!("{more} more"));
        }
        unknown
    }

    /// Returns `value` with all warnings, including one for each unknown field; or all recorded faults.
    ///
    /// # Errors
    ///
    /// The recorded faults.
    pub fn accept<T>(mut self, value: Option<T>) -> Result<Accepted<T>, Vec<Fault>> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(self.unknown().iter().map(|name| unknown_field(name)));
        self.finish(value).map(|value| Accepted { value, warnings })
    }
}

/// The warning about an unknown field.
pub fn unknown_field(name: &str) -> String {
    format!("{name}: unknown field, ignored")
}

/// Prefixes the paths of faults with `outer`: `value` becomes `feedback[3].value`.
pub fn within(outer: &str, faults: Vec<Fault>) -> impl Iterator<Item = Fault> {
    faults.into_iter().map(move |fault| Fault {
        message: format!("{outer}.{}", fault.message),
        field: format!("{outer}.{}", fault.field),
        too_large: fault.too_large,
    })
}

/// Parses a body that must be one object.
///
/// # Errors
///
/// [`Problem::Invalid`] if the body is not a JSON object.
pub fn body_fields(body: &str) -> Result<Fields<'_>, Problem> {
    Object::parse(body)
        .map(Fields::new)
        .map_err(|rest| Problem::invalid("body", rest))
}
