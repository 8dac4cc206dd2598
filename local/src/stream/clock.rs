//! What time it is for a model.

use shared::timestamp::Timestamp;
use tokio::time::Instant;

/// The clock by which changes age.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's own.
    System,
    /// One that goes as tokio's does, and so stands still or leaps in a test.
    Tokio {
        /// What it showed at `from`.
        start: Timestamp,
        /// When it was set.
        from: Instant,
    },
}

impl Clock {
    /// A clock that shows this moment now, and goes on as tokio's does.
    pub fn starting_at(start: Timestamp) -> Self {
        let from = Instant::now();
        Self::Tokio { start, from }
    }

    /// The moment that it shows.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Tokio { start, from } => *start + from.elapsed(),
        }
    }
}
