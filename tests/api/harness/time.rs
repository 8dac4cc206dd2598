//! The time of a deployment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use shared::timestamp::{Clock, Timestamp};

/// By how much the time of a deployment moves before each call.
const TICK: Duration = Duration::from_millis(1);

/// The time of a deployment, which a test holds. It moves by a [`TICK`] before each call, so that
/// ids are in the order of the calls, and else when a test says so, however long the machine takes.
#[derive(Clone, Debug)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// The start of the hour in which the tests began, the same for every deployment: what a test
    /// writes is in one hour, whenever it runs.
    pub fn start() -> Self {
        static START: LazyLock<u64> = LazyLock::new(|| {
            let now = Timestamp::now().millis();
            now - now % 3_600_000
        });
        Self(Arc::new(AtomicU64::new(*START)))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// The clock of the functions, by which each call comes a millisecond after the last.
    pub fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::new(move || time.forward(TICK))
    }

    /// Lets it be another time.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.millis(), Ordering::Relaxed);
    }

    /// Lets time pass, and returns the new present.
    pub fn forward(&self, span: Duration) -> Timestamp {
        let span = u64::try_from(span.as_millis()).unwrap();
        Timestamp::from_millis(self.0.fetch_add(span, Ordering::Relaxed) + span)
    }
}
