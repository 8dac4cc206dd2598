//! Scores: Portkey's value and weight, or TrueFoundry's rating. They are never converted into one another.

use std::ops::RangeInclusive;

use crate::fields::{FromJson, JsonRef, Kind, Refusal, document, string};

/// Portkey's feedback value: an integer from −10 to 10. 0 is a vote too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(i8);

impl Value {
    /// The lowest value, −10.
    pub const MIN: Self = Self(-10);

    /// The highest value, 10.
    pub const MAX: Self = Self(10);

    /// A thumb up: 1.
    pub const UP: Self = Self(1);

    /// A thumb down: −1.
    pub const DOWN: Self = Self(-1);

    /// Creates a value. Returns `None` outside −10 to 10.
    pub fn new(value: i64) -> Option<Self> {
        let value = Self(i8::try_from(value).ok()?);
        (Self::MIN..=Self::MAX).contains(&value).then_some(value)
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
    /// The lowest rating, 1.
    pub const MIN: Self = Self(1);

    /// The highest rating, 5.
    pub const MAX: Self = Self(5);

    /// Creates a rating. Returns `None` outside 1 to 5.
    pub fn new(rating: i64) -> Option<Self> {
        let rating = Self(u8::try_from(rating).ok()?);
        (Self::MIN..=Self::MAX).contains(&rating).then_some(rating)
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

/// Portkey's weight: a number from 0 to 1. A weight of 0 is valid: the vote is counted. It
/// is stored as the nearest `f64`: `1e-400` is valid and stored as 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight(f64);

impl Weight {
    /// The default weight.
    pub const DEFAULT: Self = Self(1.0);

    /// Creates a weight. Returns `None` outside 0 to 1, and for NaN.
    pub fn new(weight: f64) -> Option<Self> {
        // Adding zero turns -0 into 0, so that zero is always stored in the same way.
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
        Number::from_json(json)?
            .filter(Number::is_share)
            .and_then(|number| number.nearest())
            .and_then(Self::new)
            .ok_or_else(|| quoted(json))
    }
}

/// A score on one of the two scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Portkey's scale.
    Value(Value, Weight),
    /// TrueFoundry's scale.
    Rating(Rating),
}

impl Score {
    /// Reads a stored rating. Returns `None` if it is missing or invalid.
    pub fn of_stored_rating(rating: Option<&str>) -> Option<Self> {
        Some(Self::Rating(Rating::new(rating?.parse().ok()?)?))
    }

    /// Reads a stored value and weight. Returns `None` if either is missing or invalid.
    pub fn of_stored_value(value: Option<&str>, weight: Option<&str>) -> Option<Self> {
        let (value, weight) = (Value::new(value?.parse().ok()?)?, weight?.parse().ok()?);
        Some(Self::Value(value, Weight::new(weight)?))
    }

    /// The scale's name in records: `value` or `rating`.
    pub fn scale(self) -> &'static str {
        match self {
            Self::Value(..) => "value",
            Self::Rating(_) => "rating",
        }
    }
}

/// A range of scores on one scale, both ends inclusive. A score on the other scale is outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScoreRange {
    /// A range on Portkey's scale.
    Values(RangeInclusive<Value>),
    /// A range on TrueFoundry's scale.
    Ratings(RangeInclusive<Rating>),
}

impl ScoreRange {
    /// Whether the score is on the range's scale and within it.
    pub fn contains(&self, score: Score) -> bool {
        match (self, score) {
            (Self::Values(range), Score::Value(value, _)) => range.contains(&value),
            (Self::Ratings(range), Score::Rating(rating)) => range.contains(&rating),
            (Self::Values(_), Score::Rating(_)) | (Self::Ratings(_), Score::Value(..)) => false,
        }
    }
}

/// A number by its decimal digits. Ranges are checked against these instead of the nearest `f64`:
/// `4.99999999999999999999` is not 5.
struct Number {
    text: String,
    negative: bool,
    /// The digits without leading and trailing zeros; empty for zero.
    digits: String,
    /// The number of digits before the decimal point. It is negative if zeros follow the point, and larger
    /// than the number of digits if the number ends in zeros before the point.
    point: i64,
}

impl Number {
    /// Parses a number, or a string that contains only one. Returns `Ok(None)` for any other string.
    fn from_json(json: JsonRef<'_>) -> Result<Option<Self>, Refusal> {
        match Kind::of(json) {
            Kind::Number => Ok(Some(Self::of(json.get()))),
            Kind::String => {
                let text = string(json)?;
                let is_number =
                    document(&text).is_ok_and(|inner| Kind::of(inner) == Kind::Number && inner.get() == text);
                Ok(is_number.then(|| Self::of(&text)))
            }
            _ => Err(Refusal::Mismatch),
        }
    }

    /// Parses the text of a JSON number.
    fn of(text: &str) -> Self {
        let (negative, plain) = match text.strip_prefix('-') {
            Some(plain) => (true, plain),
            None => (false, text),
        };
        let (mantissa, exponent) = plain.split_once(['e', 'E']).unwrap_or((plain, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        Self {
            text: text.to_owned(),
            negative,
            digits: significant.trim_end_matches('0').to_owned(),
            point: (length(whole) - (length(&all) - length(significant))).saturating_add(saturated(exponent)),
        }
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The number as an integer, if it has no fraction and at most two digits, which all supported ranges
    /// do.
    fn integer(&self) -> Option<i64> {
        if self.is_zero() {
            return Some(0);
        }
        let places = usize::try_from(self.point).ok().filter(|places| *places <= 2)?;
        if self.digits.len() > places {
            return None;
        }
        let magnitude: i64 = format!("{:0<places$}", self.digits).parse().ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// Whether the number is from 0 to 1.
    fn is_share(&self) -> bool {
        let is_one = self.digits == "1" && self.point == 1;
        self.is_zero() || !self.negative && (self.point <= 0 || is_one)
    }

    /// The nearest `f64`, as the standard library parses it. serde_json's fast path may be off by one
    /// place.
    fn nearest(&self) -> Option<f64> {
        self.text.parse().ok()
    }
}

/// The exponent of a JSON number, limited to a range that does not overflow.
fn saturated(exponent: &str) -> i64 {
    const FARTHEST: i64 = i64::MAX / 4;
    match exponent.parse::<i64>() {
        Ok(exponent) => exponent.clamp(-FARTHEST, FARTHEST),
        Err(_) if exponent.starts_with('-') => -FARTHEST,
        Err(_) => FARTHEST,
    }
}

/// Parses an integer: `5`, `5.0`, `50e-1` or `"5"`. Returns `Ok(None)` for other numbers and strings.
fn integer(json: JsonRef<'_>) -> Result<Option<i64>, Refusal> {
    Ok(Number::from_json(json)?.and_then(|number| number.integer()))
}

/// The error for an invalid score. It quotes the value if it is short, because a score is not sensitive.
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
            ("50e-1", 5),
            ("\"0.5e1\"", 5),
            ("5.000000000000000000000000000000", 5),
            ("0e99999999999999999999", 0),
            ("1000000e-5", 10),
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
    fn other_values_are_not_integers_in_range() {
        for json in [
            "5.5",
            "4.99999999999999999999",
            "5.00000000000000000001",
            "10.00000000000000000001",
            "1e-99999999999999999999",
            "1e99999999999999999999",
            "\"4.99999999999999999999\"",
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
            ("10e-1", 1.0),
            ("0.99999999999999999999", 1.0),
            ("1e-400", 0.0),
            ("\"1e-99999999999999999999\"", 0.0),
        ] {
            assert_eq!(read::<Weight>(json).map(Weight::get), Some(weight), "{json}");
        }
        for json in [
            "-0.1",
            "-1e-400",
            "1.0000001",
            "1.00000000000000001",
            "\"100000000000000001e-17\"",
            "true",
            "\"\"",
            "\"half\"",
            "1e400",
            "null",
        ] {
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
    fn a_range_contains_its_ends_and_no_score_of_the_other_scale() {
        let value = |value| Value::new(value).unwrap();
        let rating = |rating| Rating::new(rating).unwrap();
        let (values, ratings) = (
            ScoreRange::Values(value(-1)..=value(2)),
            ScoreRange::Ratings(rating(2)..=rating(3)),
        );
        let of = |range: &ScoreRange| {
            let votes = (-10..=10).filter(|vote| range.contains(Score::Value(value(*vote), Weight::DEFAULT)));
            let rated = (1..=5).filter(|rated| range.contains(Score::Rating(rating(*rated))));
            (votes.collect::<Vec<_>>(), rated.collect::<Vec<_>>())
        };
        assert_eq!(of(&values), (vec![-1, 0, 1, 2], vec![]));
        assert_eq!(of(&ratings), (vec![], vec![2, 3]));
        let all = of(&ScoreRange::Values(Value::MIN..=Value::MAX));
        assert_eq!(all, ((-10..=10).collect(), vec![]));
        let all = of(&ScoreRange::Ratings(Rating::MIN..=Rating::MAX));
        assert_eq!(all, (vec![], (1..=5).collect()));
    }

    #[test]
    fn short_strings_are_quoted_back_and_long_ones_are_not() {
        let refusal = |json: &str| Value::from_json(document(json).unwrap()).unwrap_err();
        assert_eq!(refusal("\"five\""), Refusal::Got("the string \"five\"".into()));
        assert_eq!(refusal("\"a much longer string\""), Refusal::Mismatch);
        assert_eq!(refusal("11"), Refusal::Mismatch);
    }
}
