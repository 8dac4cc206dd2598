//! What goes wrong between a stream and a function, drawn by a seeded generator.
//!
//! AWS promises that each change is processed at least once, in order the first time, and says that
//! one which is processed more than once may be processed out of order
//! (docs.aws.amazon.com/lambda/latest/dg/services-ddb-windows.html; "Event source mappings process
//! each event at least once", invocation-eventsourcemapping.html). All of this is within that.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use fastrand::Rng;
use futures_util::future::join;
use serde_json::Value;

/// How many deliveries are remembered, to come again when they are old.
const REMEMBERED: usize = 8;

/// The most changes of a delivery that is remembered.
const REMEMBERED_CHANGES: usize = 200;

/// After how many waits a function is cut off, at most.
const LONGEST_WAITS: u32 = 24;

/// What can go wrong with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A batch is smaller than the changes that there are.
    CutBatch,
    /// The function is throttled and does not begin.
    Throttled,
    /// The function does not begin, and its invocation fails.
    Failed,
    /// The function is cut off while it waits for something, as by its timeout.
    CutOff,
    /// The function does its work, and nobody hears of it.
    LostAnswer,
    /// The function is invoked twice at a time.
    Twice,
    /// Beside the delivery an old one comes again, in another order.
    Late,
    /// The last delivery of a window brings changes, where the end of a window can also come alone.
    FinalWithChanges,
}

/// Faults that happen at random, or never.
#[derive(Debug, Default)]
pub struct Faults {
    state: Option<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    /// The only kinds that happen; all where there are none.
    only: Vec<Fault>,
    past: Vec<Value>,
    seen: BTreeMap<Fault, u64>,
}

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Faults of every kind, the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        let state = State {
            rng: Rng::with_seed(seed),
            only: Vec::new(),
            past: Vec::new(),
            seen: BTreeMap::new(),
        };
        Self {
            state: Some(Mutex::new(state)),
        }
    }

    /// The same, of these kinds alone.
    #[must_use]
    pub fn only(self, kinds: impl IntoIterator<Item = Fault>) -> Self {
        self.with(|state| state.only.extend(kinds));
        self
    }

    /// How often each kind has happened.
    pub fn seen(&self) -> BTreeMap<Fault, u64> {
        self.with(|state| state.seen.clone()).unwrap_or_default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> Option<T> {
        let state = self.state.as_ref()?;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(&mut state))
    }

    /// Whether this fault happens now, as it does once in so many times.
    fn happens(&self, fault: Fault, once_in: u32) -> bool {
        let happens = self.with(|state| {
            let is_possible = state.only.is_empty() || state.only.contains(&fault);
            let happens = is_possible && state.rng.u32(..once_in) == 0;
            if happens {
                *state.seen.entry(fault).or_default() += 1;
            }
            happens
        });
        happens.unwrap_or_default()
    }

    /// How many changes the next batch takes, of so many that it may take.
    pub(super) fn batch_size(&self, most: usize) -> usize {
        if self.happens(Fault::CutBatch, 2) {
            self.with(|state| state.rng.usize(1..=most)).unwrap_or(most)
        } else {
            most
        }
    }

    /// Whether the next invocation is throttled.
    pub(super) fn throttles(&self) -> bool {
        self.happens(Fault::Throttled, 8)
    }

    /// Whether the last changes of a window come with its end.
    pub(super) fn ends_window_with_changes(&self) -> bool {
        self.happens(Fault::FinalWithChanges, 2)
    }

    /// Invokes a function, or does to it what goes wrong.
    pub(super) async fn invoke<A>(&self, invoke: &impl Fn(Value) -> A, event: Value) -> Result<Value, String>
    where
        A: Future<Output = Result<Value, String>>,
    {
        if self.state.is_none() {
            return invoke(event).await;
        }
        if self.happens(Fault::Failed, 16) {
            return Err("the function did not begin".to_owned());
        }
        let late = self.late();
        let memory = self.memory(&event);
        let memory = memory.as_ref();
        let attempt = |event| async move {
            let answer = invoke(event).await;
            if answer.as_ref().is_ok_and(is_complete) {
                self.remember(memory);
            }
            answer
        };
        let answer = async {
            if self.happens(Fault::LostAnswer, 8) {
                // Whatever it was.
                let _ = attempt(event).await;
                return Err("the answer was lost".to_owned());
            }
            if self.happens(Fault::CutOff, 8) {
                let waits = self.with(|state| state.rng.u32(1..=LONGEST_WAITS)).unwrap_or(1);
                let answer = cut_off(attempt(event), waits).await;
                return answer.unwrap_or_else(|| Err("the function was cut off".to_owned()));
            }
            if self.happens(Fault::Twice, 8) {
                let (one, other) = join(attempt(event.clone()), attempt(event)).await;
                let one_is_heard = self.with(|state| state.rng.bool()).unwrap_or(true);
                return if one_is_heard { one } else { other };
            }
            attempt(event).await
        };
        match late {
            Some(late) => join(answer, invoke(late)).await.0,
            None => answer.await,
        }
    }

    /// An old delivery that comes again now, in another order, if one does.
    fn late(&self) -> Option<Value> {
        let is_any = self.with(|state| !state.past.is_empty())?;
        if !is_any || !self.happens(Fault::Late, 8) {
            return None;
        }
        self.with(|state| {
            let State { rng, past, .. } = state;
            let mut event = rng.choice(past.iter())?.clone();
            if let Some(records) = event["Records"].as_array_mut() {
                rng.shuffle(records);
            }
            Some(event)
        })?
    }

    /// An event, if it is to come again one day.
    fn memory(&self, event: &Value) -> Option<Value> {
        let size = event["Records"].as_array().map_or(0, Vec::len);
        let is_chosen = |state: &mut State| state.past.len() < REMEMBERED || state.rng.u32(..4) == 0;
        let is_wanted = (1..=REMEMBERED_CHANGES).contains(&size) && self.with(is_chosen)?;
        is_wanted.then(|| event.clone())
    }

    /// Remembers an event that was processed: one that never was would not come out of order.
    fn remember(&self, event: Option<&Value>) {
        let Some(event) = event else { return };
        self.with(|State { rng, past, .. }| {
            if past.len() < REMEMBERED {
                past.push(event.clone());
            } else {
                // Any of them goes, so that some become very old.
                let place = rng.usize(..past.len());
                past[place] = event.clone();
            }
        });
    }
}

/// Whether an answer says that all of the batch is done.
fn is_complete(answer: &Value) -> bool {
    answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty)
}

/// What a future comes to, unless it waits this often: then it is dropped where it waits.
async fn cut_off<T>(future: impl Future<Output = T>, mut waits: u32) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            waits = waits.saturating_sub(1);
            if waits == 0 {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}
