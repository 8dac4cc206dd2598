//! How numbers are written on pages.

use shared::stats::interval::{Difference, Share};

/// The minus sign, as wide as a plus.
pub const MINUS: char = '\u{2212}';

/// A space that no line breaks at: between a number and its unit.
pub const NO_BREAK: char = '\u{a0}';

/// What stands where there is no number.
pub const NONE: &str = "–";

/// A whole number with commas between thousands: `12,345`.
pub fn count(number: i64) -> String {
    let sign = if number < 0 {
        MINUS.to_string()
    } else {
        String::new()
    };
    sign + &grouped(&number.unsigned_abs().to_string())
}

/// Text that begins with digits, with commas between their thousands: `10,000 records`.
pub fn grouped(text: &str) -> String {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let mut grouped = String::new();
    for (place, character) in text.chars().enumerate() {
        if place > 0 && place < digits && (digits - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(character);
    }
    grouped
}

/// A number with this many decimal places. What rounds to zero has no sign.
pub fn decimal(number: f64, places: usize) -> String {
    let text = format!("{:.places$}", number.abs());
    if number < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        format!("{MINUS}{text}")
    } else {
        text
    }
}

/// A number with as few decimal places as it needs, at most two: for axes.
pub fn short(number: f64) -> String {
    let text = decimal(number, 2);
    match text.trim_end_matches('0').strip_suffix('.') {
        Some(whole) => match whole.strip_prefix(MINUS) {
            Some(digits) => format!("{MINUS}{}", grouped(digits)),
            None => grouped(whole),
        },
        None => text.trim_end_matches('0').to_owned(),
    }
}

/// The numbers of an axis, all with as many decimal places as one of them needs, at most two.
pub fn axis(numbers: &[f64]) -> Vec<String> {
    let needs = |number: &f64| {
        short(*number)
            .split_once('.')
            .map_or(0, |(_, places)| places.len())
    };
    match numbers.iter().map(needs).max().unwrap_or_default() {
        0 => numbers.iter().map(|number| short(*number)).collect(),
        places => numbers.iter().map(|number| decimal(*number, places)).collect(),
    }
}

/// A number with its sign: `+0.12`, `−0.12`, `±0.00`.
pub fn signed(number: f64, places: usize) -> String {
    let text = decimal(number, places);
    if text.starts_with(MINUS) {
        text
    } else if text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        format!("+{text}")
    } else {
        format!("±{text}")
    }
}

/// A share in percent: `61.4 %`. Whole only where it is 0 or 100.
pub fn percent(share: f64) -> String {
    let places = usize::from(share != 0.0 && share != 1.0);
    format!("{}{NO_BREAK}%", decimal(share * 100.0, places))
}

/// An interval of a share in whole percent: `58–65 %`, rounded outwards.
pub fn percent_interval(share: Share) -> String {
    let interval = share.interval();
    let (low, high) = ((interval.low * 100.0).floor(), (interval.high * 100.0).ceil());
    format!("{}–{}{NO_BREAK}%", decimal(low, 0), decimal(high, 0))
}

/// A difference of shares in percentage points: `+3.1 points`.
pub fn points(difference: Difference) -> String {
    format!("{} points", signed(difference.points * 100.0, 1))
}

/// A number of things, with the noun in the singular or with an s: `1 vote`, `1,204 votes`.
pub fn counted(number: i64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// Text of something or the dash of nothing.
pub fn or_none<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart_and_minus_is_a_minus() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-12_345, "−12,345"),
            (1_234_567, "1,234,567"),
            (i64::MIN, "−9,223,372,036,854,775,808"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(grouped("10000 records"), "10,000 records");
        assert_eq!(
            (counted(1, "vote"), counted(1_204, "vote")),
            ("1 vote".into(), "1,204 votes".into())
        );
    }

    #[test]
    fn decimals_are_rounded_and_zero_has_no_sign() {
        for (number, text) in [
            (0.614, "0.61"),
            (-0.615, "−0.61"),
            (-0.001, "0.00"),
            (-1.0, "−1.00"),
        ] {
            assert_eq!(decimal(number, 2), text, "{number}");
        }
        for (number, text) in [
            (0.5, "0.5"),
            (-10.0, "−10"),
            (0.25, "0.25"),
            (2_000.0, "2,000"),
            (0.0, "0"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
        assert_eq!(axis(&[0.0, 0.5, 1.0]), ["0.0", "0.5", "1.0"]);
        assert_eq!(axis(&[0.0, 1_000.0]), ["0", "1,000"]);
        for (number, text) in [(0.5, "+0.5"), (-0.5, "−0.5"), (0.01, "±0.0")] {
            assert_eq!(signed(number, 1), text, "{number}");
        }
    }

    #[test]
    fn shares_are_in_percent() {
        for (share, text) in [
            (0.0, "0\u{a0}%"),
            (1.0, "100\u{a0}%"),
            (0.6137, "61.4\u{a0}%"),
            (0.9999, "100.0\u{a0}%"),
        ] {
            assert_eq!(percent(share), text);
        }
        let share = Share::new(2, 3).unwrap();
        assert_eq!(percent_interval(share), "20–94\u{a0}%");
        assert_eq!(points(share.minus(Share::new(1, 3).unwrap())), "+33.3 points");
    }
}
