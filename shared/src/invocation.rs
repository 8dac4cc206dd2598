//! The current invocation: its id and its consumed capacity.
//!
//! It is a task-local value, so that it does not have to be passed to everything that writes a log line or
//! calls DynamoDB.

use std::sync::{Arc, Mutex, PoisonError};

tokio::task_local! {
    static CURRENT: Invocation;
}

/// Consumed DynamoDB request units, as its responses report them. Failed calls do not report any.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Read units, in steps of 0.5.
    pub read: f64,
    /// Write units, of tables and indexes together.
    pub write: f64,
}

/// One invocation of a function. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    id: Option<Arc<str>>,
    units: Arc<Mutex<Units>>,
}

impl Invocation {
    /// An invocation with the id from Lambda; `None` outside Lambda.
    pub fn new(id: Option<&str>) -> Self {
        Self {
            id: id.filter(|id| !id.is_empty()).map(Arc::from),
            units: Arc::default(),
        }
    }

    /// Lambda's id of the invocation.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The units consumed so far.
    pub fn units(&self) -> Units {
        *self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds consumed units.
    pub fn consume(&self, units: Units) {
        let mut sum = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        sum.read += units.read;
        sum.write += units.write;
    }

    /// Runs `work` with this as [`Invocation::current`].
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// The invocation of the current task, if there is one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}
