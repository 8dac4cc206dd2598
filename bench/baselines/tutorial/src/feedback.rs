//! The body of a create: what it may hold, and everything that is wrong with it.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

const MAX_METADATA: usize = 64 * 1024;
const MAX_INDEXED: usize = 512;

const TRACE_ID: &str = "a string of 1 to 512 bytes";
const VALUE: &str = "an integer from -10 to 10";
const WEIGHT: &str = "a number from 0 to 1";
const METADATA: &str = "a JSON object, or a string that holds one";

/// What a body asks to be stored.
pub struct Feedback {
    pub trace_id: String,
    pub value: i8,
    pub weight: f64,
    pub metadata: Option<Metadata>,
}

/// A JSON object as the text it came as, and the fields of it that are indexed.
pub struct Metadata {
    pub json: String,
    pub indexed: Indexed,
}

#[derive(Default)]
pub struct Indexed {
    pub user: Option<String>,
    pub organisation: Option<String>,
    pub prompt: Option<String>,
    pub environment: Option<String>,
}

/// One thing wrong with one field.
pub struct Fault {
    pub field: String,
    pub message: String,
    pub too_large: bool,
}

impl Fault {
    fn new(field: &str, rest: impl AsRef<str>) -> Self {
        Self {
            field: field.to_string(),
            message: format!("{field} {}", rest.as_ref()),
            too_large: false,
        }
    }

    pub fn too_large(field: &str, rest: impl AsRef<str>) -> Self {
        Self {
            too_large: true,
            ..Self::new(field, rest)
        }
    }
}

/// The fields as they come. Any type is taken here, so that all that is wrong can be named at once.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default, deserialize_with = "present")]
    trace_id: Option<Value>,
    #[serde(rename = "traceID")]
    alias: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
    weight: Option<Value>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// `null` is a value here, and not the same as an absent field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub fn parse(text: &str) -> Result<Feedback, Vec<Fault>> {
    let not_json = |error| vec![Fault::new("body", format!("must be JSON: {error}"))];
    // A derived struct would take an array for its fields in their order.
    if !text.trim_start().starts_with('{') {
        let other: Value = serde_json::from_str(text).map_err(not_json)?;
        let rest = format!("must be a JSON object, got {}", describe(&other));
        return Err(vec![Fault::new("body", rest)]);
    }
    let body: Body = serde_json::from_str(text).map_err(not_json)?;
    let mut faults = Vec::new();
    let trace_id = trace_id(&body, &mut faults);
    let value = required("value", body.value.as_ref(), VALUE, vote, &mut faults);
    let weight = match &body.weight {
        Some(weight) => required("weight", Some(weight), WEIGHT, share, &mut faults),
        None => Some(1.0),
    };
    let metadata = body.metadata.and_then(|json| match metadata(json) {
        Ok(metadata) => Some(metadata),
        Err(inner) => {
            faults.extend(inner);
            None
        }
    });
    match (trace_id, value, weight) {
        (Some(trace_id), Some(value), Some(weight)) if faults.is_empty() => Ok(Feedback {
            trace_id,
            value,
            weight,
            metadata,
        }),
        _ => Err(faults),
    }
}

/// `trace_id`, or `traceID`; of the two, both must agree.
fn trace_id(body: &Body, faults: &mut Vec<Fault>) -> Option<String> {
    let own = body.trace_id.as_ref();
    match (own.filter(|own| !own.is_null()), body.alias.as_ref()) {
        (_, None) => required("trace_id", own, TRACE_ID, name, faults),
        (None, alias) => required("traceID", alias, TRACE_ID, name, faults),
        (own, alias) => {
            let own = required("trace_id", own, TRACE_ID, name, faults);
            let alias = required("traceID", alias, TRACE_ID, name, faults);
            if own.is_some() && alias.is_some() && own != alias {
                let rest = "must be the same as trace_id where both are given";
                faults.push(Fault::new("traceID", rest));
            }
            own
        }
    }
}

/// A field that must be there, and one that `read` can take.
fn required<T>(
    field: &str,
    value: Option<&Value>,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let Some(value) = value else {
        faults.push(Fault::new(field, format!("is required and must be {expected}")));
        return None;
    };
    let read = read(value);
    if read.is_none() {
        let got = match value {
            Value::String(text) if expected != TRACE_ID && (1..=16).contains(&text.len()) => {
                format!("the string {value}")
            }
            _ => describe(value),
        };
        faults.push(Fault::new(field, format!("must be {expected}, got {got}")));
    }
    read
}

fn name(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (1..=512).contains(&text.len()).then(|| text.to_string())
}

fn vote(value: &Value) -> Option<i8> {
    let number = number(value)?;
    (number.fract() == 0.0 && (-10.0..=10.0).contains(&number)).then_some(number as i8)
}

fn share(value: &Value) -> Option<f64> {
    // Adding zero turns -0 into 0.
    number(value)
        .filter(|number| (0.0..=1.0).contains(number))
        .map(|number| number + 0.0)
}

/// A number, or a string that holds nothing but one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if text.trim() == text => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn metadata(json: &RawValue) -> Result<Metadata, Vec<Fault>> {
    let mismatch = |got: String| vec![Fault::new("metadata", format!("must be {METADATA}, got {got}"))];
    // It has been parsed once already, but a lone surrogate is told only here.
    let read = |json: &str| {
        serde_json::from_str::<Value>(json).map_err(|_| {
            vec![Fault::new(
                "metadata",
                "must hold no lone surrogate, nor nest too deep",
            )]
        })
    };
    let mut json = json.get().to_string();
    let mut value = read(&json)?;
    if let Value::String(text) = value {
        json = text.trim().to_string();
        value = serde_json::from_str(&json)
            .map_err(|_| mismatch(format!("a string of {} bytes that is not JSON", text.len())))?;
        if !value.is_object() {
            return Err(mismatch(format!("a string that holds {}", describe(&value))));
        }
    }
    if !value.is_object() {
        return Err(mismatch(describe(&value)));
    }
    if json.len() > MAX_METADATA {
        let rest = format!("must be at most {MAX_METADATA} bytes of JSON, got {}", json.len());
        return Err(vec![Fault::too_large("metadata", rest)]);
    }
    let mut faults = Vec::new();
    let indexed = Indexed {
        user: indexed(&value, "_user", &mut faults),
        organisation: indexed(&value, "_organisation", &mut faults),
        prompt: indexed(&value, "_prompt", &mut faults),
        environment: indexed(&value, "_environment", &mut faults),
    };
    if faults.is_empty() {
        Ok(Metadata { json, indexed })
    } else {
        Err(faults)
    }
}

/// The text a field is indexed by; an empty one is not indexed.
fn indexed(metadata: &Value, name: &str, faults: &mut Vec<Fault>) -> Option<String> {
    let value = &metadata[name];
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => String::new(),
    };
    if value.is_array() || value.is_object() || text.len() > MAX_INDEXED {
        let rest = format!(
            "must be a string, number or boolean of at most {MAX_INDEXED} bytes, got {}",
            describe(value)
        );
        faults.push(Fault::new(&format!("metadata.{name}"), rest));
        return None;
    }
    Some(text).filter(|text| !text.is_empty())
}

/// What came, for a message: of text only how much there was.
fn describe(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.is_empty() => "an empty string".to_string(),
        Value::String(text) => format!("a string of {} bytes", text.len()),
        Value::Array(_) => "an array".to_string(),
        Value::Object(_) => "an object".to_string(),
    }
}
