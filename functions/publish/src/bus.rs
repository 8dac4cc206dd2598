//! Where events go.

use std::future::Future;

use shared::events::entry::Entry;
use shared::problem::Problem;

/// What takes events.
pub trait Bus: Send + Sync {
    /// Sends entries that one request can hold ([`MAX_ENTRIES`](shared::events::entry::MAX_ENTRIES) and
    /// [`MAX_BYTES`](shared::events::entry::MAX_BYTES)). The result has an answer for each entry, in their order.
    ///
    /// # Errors
    ///
    /// The bus cannot be reached, or refuses everything. None of the entries may have been sent, or all.
    fn put(&self, entries: &[&Entry]) -> impl Future<Output = Result<Vec<Answer>, Problem>> + Send;
}

/// The answer to one entry.
pub type Answer = Result<(), Refusal>;

/// Why an entry was not taken. It quotes nothing from the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It may be taken if it is sent again: the bus is busy, failed, or does not let us.
    ForNow(String),
    /// It is not going to be taken.
    ForGood(String),
}
