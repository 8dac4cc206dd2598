//! The clock of a deployment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use shared::timestamp::{Clock, Timestamp};

/// How far the time of a deployment advances before each call.
const TICK: Duration = Duration::from_millis(1);

/// The time of a deployment, controlled by a test. It advances by one [`TICK`] before each call, so that
/// ids are in the order of the calls. Otherwise it advances only when a test says so, however long the
/// machine takes.
#[derive(Clone, Debug)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// The start of the hour in which the tests began, the same for every deployment. So everything a test
    /// writes is in one hour.
    pub fn start() -> Self {
        static START: LazyLock<u64> = LazyLock::new(|| {
            let now = Timestamp::now().millis();
            now - now % 3_600_000
        });
        Self(Arc::new(AtomicU64::new(*START)))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// The clock of the functions, which advances a millisecond per call.
    pub fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::new(move || time.forward(TICK))
    }

    /// Sets the time.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.millis(), Ordering::Relaxed);
    }

    /// Advances the time, and returns the new one.
    pub fn forward(&self, span: Duration) -> Timestamp {
        let span = u64::try_from(span.as_millis()).unwrap();
        Timestamp::from_millis(self.0.fetch_add(span, Ordering::Relaxed) + span)
    }
}
