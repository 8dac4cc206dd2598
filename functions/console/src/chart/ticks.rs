//! Round numbers for an axis.

/// Round numbers, one step apart, from at or below `low` to at or above `high`: at least two, and at most
/// `most` + 1 where that is two or more. A step is 1, 2 or 5 times a power of ten, and at least `finest`.
pub(super) fn ticks(low: f64, high: f64, most: usize, finest: f64) -> Vec<f64> {
    let (low, high) = if (high - low).is_finite() && low < high {
        (low, high)
    } else {
        (0.0, finest)
    };
    let least = ((high - low) / most.max(1) as f64).max(finest);
    let magnitude = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|times| times * magnitude);
    let fits =
        |step: f64| step >= finest * 0.999 && ((high / step).ceil() - (low / step).floor()) <= most as f64;
    let step = steps.into_iter().find(|step| fits(*step)).unwrap_or(least);
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    let mut ticks = Vec::new();
    let mut place = first;
    while place <= last && ticks.len() <= most.max(1) + 1 {
        // Multiplied, since a sum of steps drifts. Adding zero removes the sign of −0.
        ticks.push(place * step + 0.0);
        place += 1.0;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_round() {
        for (low, high, finest, expected) in [
            (0.0, 7.0, 1.0, vec![0.0, 2.0, 4.0, 6.0, 8.0]),
            (0.0, 1.0, 1.0, vec![0.0, 1.0]),
            (0.0, 3.0, 1.0, vec![0.0, 1.0, 2.0, 3.0]),
            (0.0, 873.0, 1.0, vec![0.0, 500.0, 1000.0]),
            (0.0, 0.74, 0.01, vec![0.0, 0.2, 0.4, 0.6, 0.8]),
            (-0.3, 0.4, 0.01, vec![-0.4, -0.2, 0.0, 0.2, 0.4]),
            (0.0, 0.0, 1.0, vec![0.0, 1.0]),
        ] {
            let got = ticks(low, high, 4, finest);
            let same = got.len() == expected.len()
                && got
                    .iter()
                    .zip(&expected)
                    .all(|(got, expected)| (got - expected).abs() < 1e-9);
            assert!(same, "{low} to {high}: {got:?}");
        }
    }

    proptest! {
        #[test]
        fn they_rise_and_cover_the_range(low in -1e6_f64..1e6, length in 0_f64..1e9, whole in any::<bool>()) {
            let (high, finest) = (low + length, if whole { 1.0 } else { 0.01 });
            let ticks = ticks(low, high, 4, finest);
            prop_assert!((2..=6).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.iter().all(|tick| tick.is_finite()));
            prop_assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] >= finest * 0.99));
            if length > 0.0 {
                let slack = 1e-9 * (1.0 + low.abs() + length);
                prop_assert!(ticks[0] <= low + slack && *ticks.last().unwrap() >= high - slack, "{ticks:?}");
            }
        }

        #[test]
        fn whatever_is_asked_ends(low in any::<f64>(), high in any::<f64>()) {
            prop_assert!(ticks(low, high, 4, 1.0).len() <= 6);
        }
    }
}
