//! Schema versions of stored items, and the rejection of items that this code cannot read.
//!
//! Every item has its schema version in the attribute `schema`; an item without it has version 1. The
//! version increases when older code would misread an item. A new attribute that older code ignores and
//! preserves does not need a new version.
//!
//! After a rollback, items of newer versions remain. Older code rejects them ([`check`]) instead of
//! misreading or overwriting them.

use crate::dynamo::attributes::{Item, int};
use crate::problem::Problem;

/// The attribute with an item's schema version.
pub const ATTRIBUTE: &str = "schema";

/// The newest schema version of feedback: that of imported records ([`crate::store::import`]), which were stored later
/// than they were created.
pub const FEEDBACK: u32 = 3;

/// The schema version of upserted records ([`crate::store::upsert`]), whose id is not in their sort key. Other records
/// that were not imported have version 1.
pub const UPSERTED: u32 = 2;

/// The newest schema version of an API key: that of keys whose creates are upserts. Other keys have version 1.
pub const API_KEY: u32 = 2;

/// The schema version of the marker for an `Idempotency-Key`. Version 1 had the key itself in its own; version 2 has a
/// hash of it.
pub const MARKER: u32 = 2;

/// The schema version of the console's sessions and invites.
pub const SESSION: u32 = 1;

/// The newest schema version of roll-ups, checkpoints, parked changes and the item `generation`. Code that
/// counts or reads roll-ups reads `generation` first, whose version is the highest of its generations.
/// Version 2 added several slots per item ([`crate::stats::series`]), version 3 added the dimension
/// `_session`.
pub const STATS: u32 = 3;

/// Checks that code which supports versions up to `newest` can read an item.
///
/// # Errors
///
/// [`Problem::Unavailable`] for a newer version, which newer code can read. [`Problem::Internal`] if the
/// version is not a positive integer.
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
            "an item's schema version is not a positive integer",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamo::attributes::{number, text};

    #[test]
    fn newer_and_invalid_versions_are_rejected() {
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
