//! The body of a create, by the rules that take time: JSON, three ranges, and the fields that are indexed,
//! which are the members of metadata that begin with an underscore.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// What a body asks to be stored.
pub struct Feedback {
    pub trace_id: String,
    pub value: i8,
    pub weight: f64,
    pub metadata: Option<Metadata>,
}

/// A JSON object as the text it came as, and the indexed fields of it without their underscore.
pub struct Metadata {
    pub json: String,
    pub indexed: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Body<'a> {
    trace_id: String,
    value: i8,
    #[serde(default = "one")]
    weight: f64,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

fn one() -> f64 {
    1.0
}

/// Reads a body. The error is a message for the caller.
pub fn parse(text: &str) -> Result<Feedback, String> {
    let invalid = |error: serde_json::Error| format!("body: invalid: {error}");
    let body: Body = serde_json::from_str(text).map_err(invalid)?;
    if !(1..=512).contains(&body.trace_id.len()) {
        return Err("trace_id: expected 1 to 512 bytes".to_string());
    }
    if !(-10..=10).contains(&body.value) {
        return Err("value: expected an integer from -10 to 10".to_string());
    }
    if !(0.0..=1.0).contains(&body.weight) {
        return Err("weight: expected a number from 0 to 1".to_string());
    }
    let metadata = body.metadata.map(|json| {
        let members: Map<String, Value> = serde_json::from_str(json.get())?;
        let indexed = members.into_iter().filter_map(|(name, value)| {
            let name = name.strip_prefix('_')?.to_string();
            match value {
                Value::String(text) => (!text.is_empty()).then_some((name, text)),
                Value::Number(_) | Value::Bool(_) => Some((name, value.to_string())),
                _ => None,
            }
        });
        let indexed = indexed.collect();
        Ok(Metadata {
            json: json.get().to_string(),
            indexed,
        })
    });
    Ok(Feedback {
        trace_id: body.trace_id,
        value: body.value,
        weight: body.weight,
        metadata: metadata.transpose().map_err(invalid)?,
    })
}
