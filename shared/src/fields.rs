//! Reading the fields of a JSON body so that every faulty one is named at once.
//!
//! A body is kept as text ([`JsonRef`]) until a domain type takes its part of it: numbers keep
//! their spelling, and metadata can be stored exactly as it came.

mod json;

use std::collections::HashSet;

pub use json::{
    JsonRef, Kind, LONE_SURROGATE, MAX_DEPTH, Object, deeper_than, describe, document, elements, scalar_text,
    string, string_with,
};

use crate::problem::{Fault, Problem};

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
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the type does not take it.
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

/// What was read of a request, and what its caller should know of it although it was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted<T> {
    /// What was read.
    pub value: T,
    /// Sentences for the answer's `warnings`; mostly none.
    pub warnings: Vec<String>,
}

/// The fields of one object, and the faults found in them so far. A field that is read must be there
/// once; one that nobody reads is unknown, and ignored with a warning.
#[derive(Debug)]
pub struct Fields<'a> {
    object: Object<'a>,
    read: Vec<&'static str>,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

/// The most unknown fields that are named in warnings.
const MAX_UNKNOWN: usize = 10;

/// The longest name of an unknown field that is told whole, in characters.
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

    /// Whether the object has this member, be it `null`.
    pub fn has(&mut self, name: &'static str) -> bool {
        self.read.push(name);
        self.object.get(name).is_some()
    }

    /// The member's text, if it is there and not `null`; of several the first, whatever it is, so that whoever
    /// reads it then finds the fault.
    pub fn raw(&mut self, name: &'static str) -> Option<JsonRef<'a>> {
        self.read.push(name);
        let mut all = self.object.all(name);
        let first = all.next()?;
        (Kind::of(first) != Kind::Null || all.next().is_some()).then_some(first)
    }

    /// A field that must be there. `None` has been noted as a fault.
    pub fn required<T: FromJson>(&mut self, name: &'static str) -> Option<T> {
        match self.once(name)? {
            Some(json) => self.take(name, json),
            None => {
                self.fault(Fault::new(name, format!("missing, expected {}", T::EXPECTED)));
                None
            }
        }
    }

    /// A field that may be absent or `null`.
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

    /// The member of this name, if there is one. `None` has been noted as a fault: there are several.
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

    fn take<T: FromJson>(&mut self, name: &str, json: JsonRef<'_>) -> Option<T> {
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

    /// Notes a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Notes something for the answer's `warnings`.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// `value`, which a reader has when it noted no fault, or all the faults.
    ///
    /// # Errors
    ///
    /// The faults.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }

    /// The names of members that nobody has read so far, each once and in their order, as far as they are
    /// to be told: cut where they are long, and in place of many a last one that says how many.
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

    /// The same as [`Fields::finish`], with the warnings noted, and one for each unknown field.
    ///
    /// # Errors
    ///
    /// The faults.
    pub fn accept<T>(mut self, value: Option<T>) -> Result<Accepted<T>, Vec<Fault>> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(self.unknown().iter().map(|name| unknown_field(name)));
        self.finish(value).map(|value| Accepted { value, warnings })
    }
}

/// The warning of a field that is ignored.
pub fn unknown_field(name: &str) -> String {
    format!("{name}: unknown field, ignored")
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
///
/// # Errors
///
/// [`Problem::Invalid`] if the body is no JSON object.
pub fn body_fields(body: &str) -> Result<Fields<'_>, Problem> {
    Object::parse(body)
        .map(Fields::new)
        .map_err(|rest| Problem::invalid("body", rest))
}
