//! Schema versions: how items are written, and what becomes of an item that is not understood.
//!
//! Every item holds its schema version in the attribute `schema`. An item without it has version 1,
//! which did not have the attribute at first. A version rises when code that does not know the new
//! one would misread the item. An attribute that such code ignores and leaves alone needs no new
//! version.
//!
//! A rollback leaves items of newer versions behind. Older code refuses them rather than misread or
//! overwrite them: [`check`].

use crate::dynamo::attributes::{Item, int};
use crate::problem::Problem;

/// The attribute that holds an item's schema version.
pub const ATTRIBUTE: &str = "schema";

/// The newest schema version of feedback: that of upserted records ([`crate::store::upsert`]), whose id is not in
/// their sort key. Other records have version 1.
pub const FEEDBACK: u32 = 2;

/// The newest schema version of an API key: that of keys whose creates are upserts. Other keys have version 1.
pub const API_KEY: u32 = 2;

/// The schema version of an `Idempotency-Key`'s marker.
pub const MARKER: u32 = 1;

/// The newest schema version of roll-ups, checkpoints, parked changes and the item `generation`.
/// Whoever counts or reads roll-ups reads `generation` first, and its version is the highest of the
/// generations in it. Version 2 has slots within an item ([`crate::stats::series`]), version 3
/// counts by `_session`.
pub const STATS: u32 = 3;

/// Checks that code which knows the versions up to `newest` can read an item.
///
/// # Errors
///
/// [`Problem::Unavailable`] for a newer version: the item is fine, and newer code reads it.
/// [`Problem::Internal`] for a version that is no positive integer.
pub fn check(item: &Item, newest: u32) -> Result<(), Problem> {
    let version = if item.contains_key(ATTRIBUTE) {
        int(item, ATTRIBUTE)
    } else {
        Some(1)
    };
    match version {
        Some(version) if (1..=newest).contains(&version) => Ok(()),
        Some(version) if version > newest => Err(Problem::unavailable(format!(
            "an item has schema version {version}: expected at most {newest}"
        ))),
        _ => Err(Problem::internal(
            "an item's schema version is no positive integer",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamo::attributes::{number, text};

    #[test]
    fn a_version_is_known_or_refused() {
        let of = |schema| Item::from([("pk".to_owned(), text("x")), (ATTRIBUTE.to_owned(), schema)]);
        assert_eq!(check(&Item::new(), 1), Ok(()));
        for version in 1..=3 {
            assert_eq!(check(&of(number(version)), 3), Ok(()));
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
