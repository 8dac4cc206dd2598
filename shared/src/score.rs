//! The judgement: Portkey's value with its weight, or TrueFoundry's rating. Never converted into
//! one another.

use crate::fields::{FromJson, JsonRef, Kind, Refusal, document, string};

/// Portkey's feedback value: an integer from −10 to 10. 0 is a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(i8);

impl Value {
    /// `None` outside of −10 to 10.
    pub fn new(value: i64) -> Option<Self> {
        i8::try_from(value)
            .ok()
            .filter(|value| (-10..=10).contains(value))
            .map(Self)
    }

    /// The number, −10 to 10.
    pub fn get(self) -> i8 {
        self.0
    }
}

impl FromJson for Value {
    const EXPECTED: &str = "an integer from -10 to 10";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        integer(json)?.and_then(Self::new).ok_or_else(|| quoted(json))
    }
}

/// TrueFoundry's rating: an integer from 1 (lowest) to 5 (highest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rating(u8);

impl Rating {
    /// `None` outside of 1 to 5.
    pub fn new(rating: i64) -> Option<Self> {
        u8::try_from(rating)
            .ok()
            .filter(|rating| (1..=5).contains(rating))
            .map(Self)
    }

    /// The number, 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl FromJson for Rating {
    const EXPECTED: &str = "an integer from 1 to 5";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        integer(json)?.and_then(Self::new).ok_or_else(|| quoted(json))
    }
}

/// Portkey's weight: a number from 0 to 1. A weight of 0 is a vote that weighs nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight(f64);

impl Weight {
    /// What a vote weighs that does not say.
    pub const DEFAULT: Self = Self(1.0);

    /// `None` outside of 0 to 1, and for what is not a number.
    pub fn new(weight: f64) -> Option<Self> {
        // Adding zero turns -0 into 0: one way to write nothing is enough.
        (0.0..=1.0).contains(&weight).then_some(Self(weight + 0.0))
    }

    /// The number, 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromJson for Weight {
    const EXPECTED: &str = "a number from 0 to 1";

    fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
        number(json)?.and_then(Self::new).ok_or_else(|| quoted(json))
    }
}

/// A judgement on one of the two scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Portkey's scale.
    Value(Value, Weight),
    /// TrueFoundry's scale.
    Rating(Rating),
}

impl Score {
    /// The scale's name in a record: `value` or `rating`.
    pub fn scale(self) -> &'static str {
        match self {
            Self::Value(..) => "value",
            Self::Rating(_) => "rating",
        }
    }
}

/// A number, or a string that holds nothing but one. `Ok(None)` is a string that holds something
/// else. A number too large for an `f64` is infinite, and so within no range.
///
/// Parsed by the standard library, not by serde_json: its fast path may miss the nearest `f64` by
/// one place, and a weight is kept as it was given.
fn number(json: JsonRef<'_>) -> Result<Option<f64>, Refusal> {
    match Kind::of(json) {
        Kind::Number => Ok(json.get().parse().ok()),
        Kind::String => {
            let text = string(json)?;
            let is_number =
                document(&text).is_ok_and(|inner| Kind::of(inner) == Kind::Number && inner.get() == text);
            Ok(text.parse().ok().filter(|_| is_number))
        }
        _ => Err(Refusal::Mismatch),
    }
}

/// A number without a fraction: `5`, `5.0` and `"5"`. `Ok(None)` for anything else in their shape.
fn integer(json: JsonRef<'_>) -> Result<Option<i64>, Refusal> {
    // A float without a fraction is written as the integer it is; one that no range of ours holds
    // may fail to parse.
    Ok(number(json)?
        .filter(|number| number.fract() == 0.0)
        .and_then(|number| format!("{number:.0}").parse().ok()))
}

/// A score may be quoted to the caller, be it a short string: it is no secret of anybody's.
fn quoted(json: JsonRef<'_>) -> Refusal {
    match (Kind::of(json), string(json)) {
        (Kind::String, Ok(text)) if (1..=16).contains(&text.len()) => {
            Refusal::Got(format!("the string {}", json.get()))
        }
        _ => Refusal::Mismatch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::document;

    fn read<T: FromJson>(json: &str) -> Option<T> {
        T::from_json(document(json).unwrap()).ok()
    }

    #[test]
    fn an_integer_may_be_written_as_a_float_or_a_string() {
        for (json, value) in [
            ("5", 5),
            ("5.0", 5),
            ("\"5\"", 5),
            ("\"5.0\"", 5),
            ("5e0", 5),
            ("0", 0),
            ("-0", 0),
            ("-10", -10),
            ("10", 10),
            ("\"-1\"", -1),
        ] {
            assert_eq!(read(json), Value::new(value), "{json}");
            assert!(Value::new(value).is_some());
        }
    }

    #[test]
    fn nothing_else_is_an_integer_of_the_range() {
        for json in [
            "5.5",
            "true",
            "\"five\"",
            "\"\"",
            "null",
            "[5]",
            "{}",
            "11",
            "-11",
            "1e400",
            "\"1e400\"",
            "\" 5\"",
            "\"+5\"",
            "\"0x5\"",
            "\"NaN\"",
            "\"inf\"",
            "\"5,0\"",
            &"9".repeat(400),
        ] {
            assert_eq!(read::<Value>(json), None, "{json}");
        }
        for json in ["0", "6", "4.5", "-1", "true", "\"\""] {
            assert_eq!(read::<Rating>(json), None, "{json}");
        }
    }

    #[test]
    fn a_weight_is_any_number_from_0_to_1() {
        for (json, weight) in [
            ("0", 0.0),
            ("1", 1.0),
            ("0.5", 0.5),
            ("\"0.25\"", 0.25),
            ("-0.0", 0.0),
            ("1e-300", 1e-300),
        ] {
            assert_eq!(read::<Weight>(json).map(Weight::get), Some(weight), "{json}");
        }
        for json in ["-0.1", "1.0000001", "true", "\"\"", "\"half\"", "1e400", "null"] {
            assert!(read::<Weight>(json).is_none(), "{json}");
        }
        assert!(Weight::new(f64::NAN).is_none());
    }

    #[test]
    fn ratings_are_1_to_5() {
        for rating in 1..=5 {
            assert_eq!(
                read::<Rating>(&rating.to_string()).map(Rating::get),
                u8::try_from(rating).ok()
            );
        }
    }

    #[test]
    fn short_strings_are_quoted_back_and_long_ones_are_not() {
        let refusal = |json: &str| Value::from_json(document(json).unwrap()).unwrap_err();
        assert_eq!(refusal("\"five\""), Refusal::Got("the string \"five\"".into()));
        assert_eq!(refusal("\"a much longer string\""), Refusal::Mismatch);
        assert_eq!(refusal("11"), Refusal::Mismatch);
    }
}
