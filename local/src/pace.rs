//! How fast and how patiently the commands call a deployed table.

use std::time::Duration;

use shared::problem::Problem;
use tokio::time::Instant;

/// The waits before a failed call is repeated.
pub(crate) const WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// Repeats a call, with waits, while DynamoDB throttles or does not answer.
pub(crate) async fn patiently<T>(call: impl AsyncFn() -> Result<T, Problem>) -> Result<T, Problem> {
    let mut waits = WAITS.iter();
    loop {
        match (call().await, waits.next()) {
            (Err(Problem::Throttled | Problem::Unavailable { .. }), Some(wait)) => {
                tokio::time::sleep(*wait).await;
            }
            (done, _) => return done,
        }
    }
}

/// Keeps what is consumed below a rate.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The units per second, if they are limited.
    rate: Option<f64>,
    /// The units that were waited for.
    paid: f64,
    /// When the next call may begin.
    due: Instant,
}

impl Pace {
    /// A rate in units per second, if they are limited.
    pub(crate) fn new(rate: Option<u32>) -> Self {
        Self {
            rate: rate.map(f64::from),
            paid: 0.0,
            due: Instant::now(),
        }
    }

    /// Waits until what was consumed in all is within the rate. Time that was not used is not made up for.
    pub(crate) async fn wait(&mut self, consumed: f64) {
        let Some(rate) = self.rate else {
            return;
        };
        if consumed > self.paid {
            let span = Duration::try_from_secs_f64((consumed - self.paid) / rate).unwrap_or_default();
            self.due = self.due.max(Instant::now()) + span;
            self.paid = consumed;
        }
        // Not even once around the scheduler if there is nothing to wait for.
        if self.due > Instant::now() {
            tokio::time::sleep_until(self.due).await;
        }
    }
}
