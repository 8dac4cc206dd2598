//! What is known of the invocation that the current task works on: its id, and what it has consumed.
//!
//! The task carries it, so that it need not be handed through everything that logs a line or calls
//! DynamoDB.

use std::sync::{Arc, Mutex, PoisonError};

tokio::task_local! {
    static CURRENT: Invocation;
}

/// DynamoDB's request units, as far as its answers told of them: a call that failed does not say
/// what it consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Read units; half ones too.
    pub read: f64,
    /// Write units, of tables and indexes together.
    pub write: f64,
}

/// One invocation of a function. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    id: Option<Arc<str>>,
    units: Arc<Mutex<Units>>,
}

impl Invocation {
    /// The invocation that Lambda gave this id; none where there is no Lambda.
    pub fn new(id: Option<&str>) -> Self {
        Self {
            id: id.filter(|id| !id.is_empty()).map(Arc::from),
            units: Arc::default(),
        }
    }

    /// Lambda's id of it.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it has consumed up to now.
    pub fn units(&self) -> Units {
        *self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what it has consumed.
    pub fn consume(&self, units: Units) {
        let mut sum = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        sum.read += units.read;
        sum.write += units.write;
    }

    /// Runs its work, in which [`Invocation::current`] is this.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// The invocation that the current task works on, if it works on one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}
