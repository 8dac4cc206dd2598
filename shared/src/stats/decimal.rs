//! Exact sums of weights.

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Neg, Sub};

/// The number of decimal places. A weight with more places, which must be below about 0.00001, is truncated
/// to this many.
const PLACES: usize = 22;

/// 10 to the power of [`PLACES`].
const ONE: i128 = 10_i128.pow(22);

/// An exact number with 22 decimal places. DynamoDB's numbers have 38 digits, which leaves 16 before the
/// decimal point: more than all votes need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i128);

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Converts the shortest decimal that reads back as this `f64`. Returns `None` if the number is not
    /// finite or has more than 16 digits before the decimal point.
    pub fn from_f64(number: f64) -> Option<Self> {
        Self::parse(&number.to_string())
    }

    /// Parses decimal text without an exponent. Places beyond the 22nd are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 16 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let kept = &fraction[..fraction.len().min(PLACES)];
        let scaled: i128 = format!("{whole}{kept:0<PLACES$}").parse().ok()?;
        Some(Self(if negative { -scaled } else { scaled }))
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        // Converted through text, because dividing two rounded numbers would round twice. The text always
        // parses.
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Decimal {
    /// Formats the number for DynamoDB: without an exponent or trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (
            self.0.unsigned_abs() / ONE.unsigned_abs(),
            self.0.unsigned_abs() % ONE.unsigned_abs(),
        );
        let fraction = format!("{fraction:0PLACES$}");
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            fraction => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self(i128::from(number) * ONE)
    }
}

impl Add for Decimal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Decimal {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Decimal {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Mul<i64> for Decimal {
    type Output = Self;

    fn mul(self, factor: i64) -> Self {
        Self(self.0 * i128::from(factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_drift() {
        let tenth = Decimal::from_f64(0.1).unwrap();
        let sum = (0..1_000_000).fold(Decimal::ZERO, |sum, _| sum + tenth);
        assert_eq!(sum.to_string(), "100000");
        assert_eq!((sum + -sum), Decimal::ZERO);
        assert_eq!((tenth * -3).to_string(), "-0.3");
        assert_eq!((tenth * -3).to_f64(), -0.3);
    }

    #[test]
    fn text_round_trips() {
        for text in [
            "0",
            "1",
            "-10",
            "0.5",
            "0.0033333333333333335",
            "1234567890123456.1234567890123456789012",
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Decimal::from_f64(1e-300), Some(Decimal::ZERO));
        assert_eq!(Decimal::parse("0.50").unwrap().to_string(), "0.5");
        for not in [
            "",
            "-",
            ".5",
            "1e5",
            "NaN",
            "inf",
            "12345678901234567",
            "1,5",
            "+1",
        ] {
            assert_eq!(Decimal::parse(not), None, "{not}");
        }
    }
}
