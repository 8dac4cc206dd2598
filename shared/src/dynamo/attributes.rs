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

/// A whole number of an item. `None` if the attribute is absent, or no number that `T` holds.
pub fn int<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// A text of an item. `None` if the attribute is absent or no text.
pub fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
