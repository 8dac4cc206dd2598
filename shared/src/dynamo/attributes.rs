//! Items and their attributes.

use std::collections::HashMap;

pub use aws_sdk_dynamodb::types::AttributeValue;

/// An item's attributes by name.
pub type Item = HashMap<String, AttributeValue>;

/// A string attribute.
pub fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
pub fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Reads an integer attribute. Returns `None` if it is absent or does not fit into `T`.
pub fn int<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Reads a string attribute. Returns `None` if it is absent or not a string.
pub fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
