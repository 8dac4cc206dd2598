//! Reasons for a score, such as "wrong" or "too long".

use crate::fields::{FromJson, JsonRef, Refusal, describe, elements, string};

/// The maximum number of reasons of one vote.
pub const MAX_REASONS: usize = 8;

/// The maximum length of a reason, in bytes.
pub const MAX_REASON: usize = 64;

/// The reasons of a vote: up to [`MAX_REASONS`] texts of 1 to [`MAX_REASON`] bytes, without duplicates, in
/// their original order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Vec<String>);

impl Reasons {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether this text is one of the reasons.
    pub fn contains(&self, reason: &str) -> bool {
        self.0.iter().any(|known| known == reason)
    }

    /// The stored form: a JSON array of strings.
    pub fn to_stored(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// Reads the stored form. Text that is not an array of strings contains no reasons.
    pub fn from_stored(json: &str) -> Self {
        Self(serde_json::from_str(json).unwrap_or_default())
    }
}

impl FromJson for Reasons {
    const EXPECTED: &str = "an array of at most 8 strings of 1 to 64 bytes";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        let mut reasons: Vec<String> = Vec::new();
        for element in elements(json)? {
            let reason = string(element)
                .ok()
                .filter(|text| (1..=MAX_REASON).contains(&text.len()));
            let Some(reason) = reason else {
                return Err(Refusal::Got(format!("{} in it", describe(element))));
            };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
            if reasons.len() > MAX_REASONS {
                return Err(Refusal::Got("more".to_owned()));
            }
        }
        Ok(Self(reasons))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::document;

    fn read(json: &str) -> Result<Reasons, Refusal> {
        Reasons::from_json(document(json).unwrap())
    }

    #[test]
    fn repeated_reasons_are_one_and_the_order_stays() {
        let reasons = read(r#"["wrong","too long","wrong"]"#).unwrap();
        assert_eq!(reasons.iter().collect::<Vec<_>>(), ["wrong", "too long"]);
        assert_eq!(Reasons::from_stored(&reasons.to_stored()), reasons);
        assert!(reasons.contains("wrong") && !reasons.contains("Wrong"));
        assert!(read("[]").unwrap().is_empty());
        let many = format!("[{}]", vec!["\"same\""; 100].join(","));
        assert_eq!(read(&many).unwrap().iter().count(), 1);
    }

    #[test]
    fn invalid_reasons_are_rejected() {
        let long = format!("[\"{}\"]", "ü".repeat(33));
        let nine: Vec<String> = (0..9).map(|number| format!("\"{number}\"")).collect();
        for (json, got) in [
            (r#"["ok",""]"#, "an empty string in it"),
            (r#"["ok",5]"#, "5 in it"),
            (&long, "a string of 66 bytes in it"),
            (&format!("[{}]", nine.join(",")), "more"),
        ] {
            assert_eq!(read(json), Err(Refusal::Got(got.to_owned())), "{json}");
        }
        assert_eq!(read("\"wrong\""), Err(Refusal::Mismatch));
    }

    #[test]
    fn invalid_stored_text_contains_no_reasons() {
        for json in ["", "x", "{}", "[1]"] {
            assert!(Reasons::from_stored(json).is_empty(), "{json}");
        }
    }
}
