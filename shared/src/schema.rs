//! The forms that items are written in, and what becomes of one that is not known.
//!
//! Every item says the number of its form in the attribute `schema`; one that does not is of form 1,
//! which was written without at first. A number rises when code that does not know the new form
//! would misread it. What such code leaves unread and untouched, a further attribute, is no new form.
//!
//! An item of a newer form is what a roll-back leaves behind. It is refused, for as long as the code
//! is the older one, rather than misread or written over: [`check`].

use crate::problem::Problem;
use crate::store::item::{Item, int};

/// The attribute that holds the number.
pub const ATTRIBUTE: &str = "schema";

/// The form of feedback.
pub const FEEDBACK: u32 = 1;

/// The form of an API key.
pub const API_KEY: u32 = 1;

/// The form of an `Idempotency-Key`'s marker.
pub const MARKER: u32 = 1;

/// The newest form of roll-ups, checkpoints, parked changes and the item `generation`. Whoever counts
/// or reads roll-ups reads `generation` first, and its number is the highest of the generations in
/// it. 2 has slots within an item ([`crate::stats::series`]).
pub const STATS: u32 = 2;

/// Whether code that knows the forms up to `newest` knows an item's. [`Problem::Unavailable`] if it
/// does not: what was written is there, and newer code reads it.
pub fn check(item: &Item, newest: u32) -> Result<(), Problem> {
    let form = if item.contains_key(ATTRIBUTE) {
        int(item, ATTRIBUTE)
    } else {
        Some(1)
    };
    match form {
        Some(form) if (1..=newest).contains(&form) => Ok(()),
        Some(form) if form > newest => Err(Problem::unavailable(format!(
            "an item of form {form}, which only a newer version of this service knows"
        ))),
        _ => Err(Problem::internal("an item whose form cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::item::{number, text};

    #[test]
    fn a_form_is_known_or_refused() {
        let of = |schema| Item::from([("pk".to_owned(), text("x")), (ATTRIBUTE.to_owned(), schema)]);
        assert_eq!(check(&Item::new(), 1), Ok(()));
        for form in 1..=3 {
            assert_eq!(check(&of(number(form)), 3), Ok(()));
        }
        assert!(matches!(
            check(&of(number(4)), 3),
            Err(Problem::Unavailable { .. })
        ));
        for none in [number(0), number(-1), number("1.5"), text("1")] {
            assert!(matches!(check(&of(none), 3), Err(Problem::Internal { .. })));
        }
    }
}
