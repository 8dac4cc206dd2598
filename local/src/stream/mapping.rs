//! A model of Lambda's event source mapping for a DynamoDB stream, as the developer guide describes
//! it; where the guide is silent, the model is the unkinder of what could be meant.
//!
//! Pages of docs.aws.amazon.com/lambda/latest/dg/ are cited by their names:
//!
//! - `with-ddb.html`, `services-dynamodb-eventsourcemapping.html`, `services-ddb-params.html`: polling
//!   and batching, and what the settings mean
//! - `services-dynamodb-errors.html`: retries, halving, ages and what is discarded
//! - `services-ddb-batchfailurereporting.html`: partial failures
//! - `services-ddb-windows.html`: tumbling windows
//! - `invocation-retries.html`: "Repeated errors block processing of the affected shard until the
//!   error is resolved or the items expire"

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::{Value, json};
use shared::stats::change::SequenceNumber;
use shared::timestamp::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::clock::Clock;
use super::event::{self, Condition, ENVELOPE, End, MOST_BYTES, Outcome, Window};
use super::faults::Faults;
use super::source::{Change, Place, RETENTION, Reader, Rest, Shard, Source};

/// For how long a window that is over stays open for changes that are late: "When no new records are
/// being added to the current window, Lambda waits for up to 2 minutes before assuming that the
/// window is over" (services-kinesis-windows.html).
const LINGER: Duration = Duration::from_secs(2 * 60);

/// After how many intervals of polling it is looked for new shards, where none has ended.
const DISCOVERY: u32 = 10;

/// An event source mapping's settings, and its function's. There is one batch of a shard at a time:
/// `ParallelizationFactor` is 1.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most changes of a batch.
    pub batch_size: usize,
    /// How long changes are gathered for a batch that is not full.
    pub batching_window: Duration,
    /// How long a tumbling window is; `None` for no windows.
    pub tumbling_window: Option<Duration>,
    /// Whether `FunctionResponseTypes` has `ReportBatchItemFailures`.
    pub reports_batch_item_failures: bool,
    /// Whether a batch is halved when its invocation fails.
    pub bisects_batch: bool,
    /// How often a batch is retried; `None`, which is -1 there, for as long as it is kept.
    pub maximum_retry_attempts: Option<u32>,
    /// How old a change may be to be delivered; `None`, which is -1 there, for as long as it is kept.
    pub maximum_record_age: Option<Duration>,
    /// How long the function has for an invocation.
    pub timeout: Duration,
    /// How long to wait before a shard is read again that had nothing more. Lambda polls "at a base
    /// rate of 4 times per second" (with-ddb.html).
    pub poll_interval: Duration,
    /// The wait before the first retry. The guide names none; here each is twice the one before.
    pub first_wait: Duration,
    /// The longest wait before a retry.
    pub longest_wait: Duration,
}

impl Settings {
    /// What template.yaml sets. `CountingDelay` is its default there.
    pub fn deployed() -> Self {
        Self {
            batch_size: 1_000,
            batching_window: Duration::from_secs(5),
            tumbling_window: Some(Duration::from_secs(60)),
            reports_batch_item_failures: false,
            bisects_batch: true,
            maximum_retry_attempts: None,
            maximum_record_age: Some(Duration::from_secs(79_200)),
            timeout: Duration::from_secs(15),
            poll_interval: Duration::from_millis(250),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }

    /// What template.yaml sets for `publish`.
    pub fn deployed_events() -> Self {
        Self {
            batch_size: 100,
            batching_window: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            ..Self::deployed()
        }
    }

    /// The same as [`deployed`](Self::deployed) in a hurry, for one machine: changes are counted within half a second.
    pub fn local() -> Self {
        Self::deployed().in_a_hurry()
    }

    /// The same as [`deployed_events`](Self::deployed_events) for one machine.
    pub fn local_events() -> Self {
        Self::deployed_events().in_a_hurry()
    }

    fn in_a_hurry(self) -> Self {
        Self {
            batching_window: Duration::ZERO,
            poll_interval: Duration::from_millis(500),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(5),
            ..self
        }
    }

    /// The age beyond which a change is not delivered any more.
    fn oldest(&self) -> Duration {
        self.maximum_record_age.unwrap_or(RETENTION).min(RETENTION)
    }
}

/// An event source mapping between a stream and a function.
pub struct Mapping<S, F> {
    source: S,
    function: F,
    settings: Settings,
    clock: Clock,
    faults: Faults,
    tell: fn(&str),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Up to where each shard is done.
    checkpoints: HashMap<String, SequenceNumber>,
    /// The shards that are closed, and done to their end.
    done: HashSet<String>,
    /// What the on-failure destination has received.
    failures: Vec<Value>,
}

impl<S: fmt::Debug, F> fmt::Debug for Mapping<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("source", &self.source)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A shard that is being delivered.
struct Lane<R> {
    shard: String,
    reader: R,
    /// What was read and is in no batch yet.
    ahead: VecDeque<Change>,
    /// What the last read said of what follows.
    rest: Rest,
    /// Whether the next read can be made at once.
    is_behind: bool,
    window: Option<Window>,
    /// How many invocations in a row came to nothing.
    setbacks: u32,
}

/// What a shard has next.
enum Next {
    Batch(Vec<Change>, End),
    /// The window is over, and its end is not delivered yet.
    WindowEnd,
    /// Nothing for now.
    Nothing,
    /// Nothing ever.
    Closed,
}

/// A batch on its way.
struct Batch {
    changes: Vec<Change>,
    end: End,
    /// How often it was retried, which the limit is for.
    retries: u32,
    /// How often the function was invoked with it.
    invoked: u32,
}

impl<S: Source, F, A> Mapping<S, F>
where
    F: Fn(Value) -> A,
    A: Future<Output = Result<Value, String>>,
{
    /// A mapping that begins with the oldest changes there are (`TRIM_HORIZON`), by the machine's
    /// clock and without faults. `function` answers an event; an error is an invocation that failed.
    pub fn new(source: S, function: F, settings: Settings) -> Self {
        Self {
            source,
            function,
            settings,
            clock: Clock::System,
            faults: Faults::none(),
            tell: |_| {},
            state: Mutex::default(),
        }
    }

    /// The same by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The same with these faults.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The same, going on after this change of a shard.
    #[must_use]
    pub fn resuming(self, shard: &str, after: Option<SequenceNumber>) -> Self {
        if let Some(after) = after {
            self.state().checkpoints.insert(shard.to_owned(), after);
        }
        self
    }

    /// The same, telling in a line of whatever goes wrong.
    #[must_use]
    pub fn telling(mut self, tell: fn(&str)) -> Self {
        self.tell = tell;
        self
    }

    /// The faults, which know how often they happened.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Takes what the on-failure destination has received.
    pub fn take_failures(&self) -> Vec<Value> {
        std::mem::take(&mut self.state().failures)
    }

    /// Up to where a shard is done.
    pub fn checkpoint(&self, shard: &str) -> Option<SequenceNumber> {
        self.state().checkpoints.get(shard).cloned()
    }

    /// Delivers changes for as long as it is polled. Dropped and run again, it goes on from its
    /// checkpoints, so that what was under way is delivered again.
    pub async fn run(&self) {
        self.follow(true).await;
    }

    /// Delivers the changes that there are, retries included, and returns. A window may stay open.
    pub async fn catch_up(&self) {
        self.follow(false).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One worker for each shard that can be read: a shard that fails holds up itself alone.
    async fn follow(&self, is_endless: bool) {
        let mut workers = FuturesUnordered::new();
        let mut busy: HashSet<String> = HashSet::new();
        let mut idle: HashSet<String> = HashSet::new();
        loop {
            let found = self.source.shards().await;
            if let Err(cause) = &found {
                (self.tell)(&format!("the stream's shards are not known: {cause}"));
            }
            let shards = found.as_deref().unwrap_or_default();
            for parent in shards.iter().filter_map(|shard| shard.parent.as_deref()) {
                // It has been closed since it had nothing more.
                idle.remove(parent);
            }
            for shard in shards {
                if !busy.contains(&shard.id) && !idle.contains(&shard.id) && self.is_due(shard, shards) {
                    busy.insert(shard.id.clone());
                    workers.push(self.work(shard.id.clone(), is_endless));
                }
            }
            if found.is_ok() && workers.is_empty() && !is_endless {
                return;
            }
            // A shard that ends may have children that can begin.
            tokio::select! {
                Some((shard, is_closed)) = workers.next() => {
                    busy.remove(&shard);
                    if is_closed {
                        self.state().done.insert(shard);
                    } else {
                        idle.insert(shard);
                    }
                }
                () = sleep(self.settings.poll_interval * DISCOVERY) => {}
            }
        }
    }

    /// Whether a shard can be read now: not before its parent is done. "Because shards have a lineage
    /// (parent and children), an application must always process a parent shard before it processes a
    /// child shard" (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html, "Reading
    /// and processing a stream"). A parent that the stream has forgotten is not waited for.
    fn is_due(&self, shard: &Shard, shards: &[Shard]) -> bool {
        let state = self.state();
        let is_waiting = shard.parent.as_ref().is_some_and(|parent| {
            !state.done.contains(parent) && shards.iter().any(|shard| shard.id == *parent)
        });
        !is_waiting && !state.done.contains(&shard.id)
    }

    /// Delivers one shard, and says whether it was to its end.
    async fn work(&self, shard: String, is_endless: bool) -> (String, bool) {
        let place = self.checkpoint(&shard).map_or(Place::TrimHorizon, Place::After);
        let mut lane = Lane {
            reader: self.source.reader(&shard, place),
            shard,
            ahead: VecDeque::new(),
            rest: Rest::More,
            is_behind: true,
            window: None,
            setbacks: 0,
        };
        loop {
            match self.next(&mut lane, is_endless).await {
                Next::Batch(changes, end) => self.deliver(&mut lane, changes, end).await,
                Next::WindowEnd => self.deliver(&mut lane, Vec::new(), End::Final).await,
                Next::Nothing => return (lane.shard, false),
                Next::Closed => return (lane.shard, true),
            }
        }
    }

    /// Reads until there is something to deliver: "Before invoking the function, Lambda continues to
    /// read records from the event source until it has gathered a full batch, the batching window
    /// expires, or the batch reaches the payload limit of 6 MB" (with-ddb.html).
    async fn next(&self, lane: &mut Lane<S::Reader>, is_endless: bool) -> Next {
        let most = self.faults.batch_size(self.settings.batch_size).max(1);
        let mut gathering_since = None;
        loop {
            let (count, full) = self.fitting(lane, most);
            if let Some(full) = full {
                return match full {
                    // A window's last changes come with its end, or before it.
                    Full::Window if count == 0 => Next::WindowEnd,
                    Full::Window if self.faults.ends_window_with_changes() => {
                        self.batch(lane, count, End::Final)
                    }
                    _ => self.batch(lane, count, End::Open),
                };
            }
            let mut wait = self.settings.poll_interval;
            if count > 0 {
                let since = *gathering_since.get_or_insert_with(Instant::now);
                let left = self.settings.batching_window.saturating_sub(since.elapsed());
                if left.is_zero() || lane.rest == Rest::Closed {
                    return self.batch(lane, count, End::Open);
                }
                wait = wait.min(left);
            } else if lane.rest == Rest::Closed {
                // "When the shard ends, Lambda considers the window closed" (services-ddb-windows).
                return match lane.window {
                    Some(_) => Next::WindowEnd,
                    None => Next::Closed,
                };
            } else if lane
                .window
                .as_ref()
                .is_some_and(|window| window.end + LINGER <= self.clock.now())
            {
                return Next::WindowEnd;
            } else if lane.rest == Rest::Nothing && !is_endless {
                return Next::Nothing;
            }
            if !lane.is_behind && (is_endless || count > 0) {
                sleep(wait).await;
            }
            let limit = self.settings.batch_size;
            match lane.reader.read(limit).await {
                Ok(page) => {
                    if page.trimmed {
                        (self.tell)(&format!(
                            "{}: changes were forgotten before they were read",
                            lane.shard
                        ));
                    }
                    // What comes meanwhile is read with what follows it, rather than one by one.
                    lane.is_behind = page.changes.len() >= limit || page.rest == Rest::Closed;
                    lane.rest = page.rest;
                    lane.ahead.extend(page.changes);
                }
                Err(cause) => {
                    (self.tell)(&format!("{}: changes cannot be read: {cause}", lane.shard));
                    sleep(self.settings.poll_interval).await;
                }
            }
        }
    }

    /// How many of the changes that were read go into one batch, and what keeps the next one out of
    /// it, if one is there.
    fn fitting(&self, lane: &Lane<S::Reader>, most: usize) -> (usize, Option<Full>) {
        let state = lane.window.as_ref().map(|window| window.state.to_string().len());
        let mut bytes = MOST_BYTES - ENVELOPE - state.unwrap_or_default();
        let mut open = lane.window.as_ref().map(|window| window.start);
        for (count, change) in lane.ahead.iter().enumerate() {
            if count == most {
                return (count, Some(Full::Size));
            }
            if let Some(start) = self.window_start(change) {
                // What is late is in the window that is open.
                if start > *open.get_or_insert(start) {
                    return (count, Some(Full::Window));
                }
            }
            // With the name of its stream, which an event's records have.
            let size = change.size + self.source.arn().len() + 32;
            if size > bytes && count > 0 {
                return (count, Some(Full::Size));
            }
            bytes = bytes.saturating_sub(size);
        }
        let is_full = lane.ahead.len() == most;
        (lane.ahead.len(), is_full.then_some(Full::Size))
    }

    /// "Lambda determines tumbling window boundaries based on the time when records were inserted
    /// into the stream" (services-ddb-windows.html).
    fn window_start(&self, change: &Change) -> Option<Timestamp> {
        let length = u64::try_from(self.settings.tumbling_window?.as_millis()).ok()?;
        let moment = change.created_at.millis();
        Some(Timestamp::from_millis(moment - moment.checked_rem(length)?))
    }

    fn batch(&self, lane: &mut Lane<S::Reader>, count: usize, end: End) -> Next {
        let changes: Vec<Change> = lane.ahead.drain(..count).collect();
        if let (None, Some(first), Some(length)) =
            (&lane.window, changes.first(), self.settings.tumbling_window)
        {
            lane.window = self.window_start(first).map(|start| Window {
                start,
                end: start + length,
                state: json!({}),
            });
        }
        Next::Batch(changes, end)
    }

    /// Delivers a batch until it is done or discarded. Nothing else of its shard goes on meanwhile.
    async fn deliver(&self, lane: &mut Lane<S::Reader>, changes: Vec<Change>, end: End) {
        let batch = |changes, end, retries| Batch {
            changes,
            end,
            retries,
            invoked: 0,
        };
        let mut queue = VecDeque::from([batch(changes, end, 0)]);
        while let Some(mut next) = queue.pop_front() {
            self.discard_old(lane, &mut next);
            if next.changes.is_empty() {
                match next.end {
                    End::Open => continue,
                    End::Early => {}
                    End::Final => {
                        let is_kept = |window: &Window| {
                            window.end.age(self.clock.now()) <= self.settings.oldest() + LINGER
                        };
                        if !lane.window.as_ref().is_some_and(is_kept) {
                            lane.window = None;
                            continue;
                        }
                    }
                }
            }
            // "If Lambda throttles the function or returns an error without invoking the function,
            // Lambda retries until the records expire or exceed the maximum age"
            // (services-dynamodb-errors.html): neither a retry nor a reason to halve.
            if self.faults.throttles() {
                self.back_off(lane).await;
                queue.push_front(next);
                continue;
            }
            match self.invoke(lane, &mut next).await {
                Outcome::Done(state) => {
                    lane.setbacks = 0;
                    self.advance(lane, &next.changes);
                    let is_too_large = state.is_none();
                    match (&mut lane.window, next.end) {
                        (None, _) => {}
                        // "And then the state is dropped" (services-ddb-windows.html).
                        (window, End::Final) => *window = None,
                        (Some(window), End::Early) => window.state = json!({}),
                        // "If it exceeds that size, Lambda terminates the window early": an
                        // invocation says so, with what was kept before, and the next one begins
                        // without a state.
                        (Some(_), End::Open) if is_too_large => {
                            queue.push_front(batch(Vec::new(), End::Early, 0));
                        }
                        (Some(window), End::Open) => window.state = state.unwrap_or_default(),
                    }
                }
                // "The batch is bisected at the returned sequence number, and Lambda retries only the
                // remaining records" (services-ddb-batchfailurereporting.html). That it got on does
                // not give it back the retries it has had, nor is it halved if it did not.
                Outcome::Partial(number, state) => {
                    let place = next.changes.iter().position(|change| change.number == number);
                    let rest = next.changes.split_off(place.unwrap_or_default());
                    self.advance(lane, &next.changes);
                    if let (Some(window), Some(state)) = (&mut lane.window, state) {
                        window.state = state;
                    }
                    next.changes = rest;
                    (self.tell)(&format!("{}: not processed from {} on", lane.shard, number.0));
                    self.retry(lane, &mut queue, next).await;
                }
                Outcome::Failed(cause) => {
                    (self.tell)(&format!("{}: {cause}", lane.shard));
                    // "Splitting batches doesn't consume the retry quota"
                    // (services-dynamodb-errors.html).
                    if self.settings.bisects_batch && next.changes.len() > 1 {
                        let second = next.changes.split_off(next.changes.len().div_ceil(2));
                        queue.push_front(batch(second, next.end, next.retries));
                        queue.push_front(batch(next.changes, End::Open, next.retries));
                        self.back_off(lane).await;
                    } else {
                        self.retry(lane, &mut queue, next).await;
                    }
                }
            }
        }
    }

    async fn invoke(&self, lane: &Lane<S::Reader>, batch: &mut Batch) -> Outcome {
        let window = lane.window.as_ref();
        let event = event::event(self.source.arn(), &lane.shard, &batch.changes, window, batch.end);
        batch.invoked += 1;
        let answer = self.faults.invoke(&self.function, event);
        match timeout(self.settings.timeout, answer).await {
            Ok(Ok(answer)) => event::outcome(
                &answer,
                &batch.changes,
                window.is_some(),
                self.settings.reports_batch_item_failures,
            ),
            Ok(Err(cause)) => Outcome::Failed(cause),
            Err(_) => Outcome::Failed(format!("no answer within {:?}", self.settings.timeout)),
        }
    }

    /// Has a batch be retried, or discarded if it was retried often enough.
    async fn retry(&self, lane: &mut Lane<S::Reader>, queue: &mut VecDeque<Batch>, mut batch: Batch) {
        let is_over = |most| batch.retries >= most;
        if !self.settings.maximum_retry_attempts.is_some_and(is_over) {
            batch.retries += 1;
            queue.push_front(batch);
            self.back_off(lane).await;
            return;
        }
        lane.setbacks = 0;
        if batch.changes.is_empty() {
            lane.window = None;
            return;
        }
        self.discard(
            lane,
            &batch.changes,
            Condition::RetryAttemptsExhausted,
            batch.invoked,
        );
        if batch.end == End::Final {
            // Its window ends all the same.
            queue.push_front(Batch {
                changes: Vec::new(),
                retries: 0,
                invoked: 0,
                ..batch
            });
        }
    }

    /// Discards what is too old to be delivered. With an unlimited age and unlimited retries that is
    /// what the stream itself would have forgotten: "failed records are retried until the record
    /// expires. The data retention limit for DynamoDB Streams is 24 hours" (services-ddb-params.html).
    fn discard_old(&self, lane: &Lane<S::Reader>, batch: &mut Batch) {
        let (now, oldest) = (self.clock.now(), self.settings.oldest());
        let is_old = |change: &Change| change.created_at.age(now) > oldest;
        let young = batch.changes.iter().position(|change| !is_old(change));
        let rest = batch.changes.split_off(young.unwrap_or(batch.changes.len()));
        let old = std::mem::replace(&mut batch.changes, rest);
        if !old.is_empty() {
            self.discard(lane, &old, Condition::RecordAgeExceeded, batch.invoked);
        }
    }

    /// "If the error handling measures fail, Lambda discards the records and continues processing
    /// batches from the stream", and the destination receives "metadata about the failed invocation"
    /// (services-dynamodb-errors.html).
    fn discard(&self, lane: &Lane<S::Reader>, changes: &[Change], condition: Condition, invoked: u32) {
        let (arn, now) = (self.source.arn(), self.clock.now());
        let failure = event::failure(arn, &lane.shard, changes, condition, invoked, now);
        (self.tell)(&format!("changes were discarded: {failure}"));
        self.state().failures.push(failure);
        self.advance(lane, changes);
    }

    fn advance(&self, lane: &Lane<S::Reader>, changes: &[Change]) {
        if let Some(last) = changes.last() {
            let mut state = self.state();
            state.checkpoints.insert(lane.shard.clone(), last.number.clone());
        }
    }

    async fn back_off(&self, lane: &mut Lane<S::Reader>) {
        let factor = 2_u32.saturating_pow(lane.setbacks);
        lane.setbacks = lane.setbacks.saturating_add(1);
        let wait = self.settings.first_wait.saturating_mul(factor);
        sleep(wait.min(self.settings.longest_wait)).await;
    }
}

/// What keeps a change out of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// The batch has as many changes or bytes as it may have.
    Size,
    /// The change is of a later window.
    Window,
}
