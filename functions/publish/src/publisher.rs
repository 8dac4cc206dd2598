//! Sending the events of changes, and parking the changes whose events cannot be sent.

use std::collections::VecDeque;
use std::fmt::Display;

use aws_sdk_dynamodb::Client;
use shared::dynamo::retry::back_off;
use shared::events::entry::{Entry, MAX_BYTES, MAX_ENTRIES};
use shared::events::{self, Outline};
use shared::problem::Problem;
use shared::stats::change::StreamRecord;
use shared::stats::parked::{self, Consumer, Parked};
use shared::store::Store;
use shared::timestamp::Timestamp;

use crate::bus::{Bus, Refusal};

/// Sends events to a bus.
#[derive(Clone, Debug)]
pub struct Publisher<B> {
    bus: B,
    client: Client,
    stats: String,
}

/// The result of publishing a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The number of events that were sent.
    pub sent: usize,
    /// The changes that were parked because they cannot be read, or because the bus refuses their events.
    pub parked: Vec<Parked>,
}

/// The result of sending parked changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// The number of changes that are no longer parked.
    pub changes: usize,
    /// The number of events that were sent for them.
    pub events: usize,
    /// The changes that still cannot be sent.
    pub left: Vec<Parked>,
}

/// An entry, with the place of its change in the batch.
struct Queued {
    change: usize,
    entry: Entry,
}

impl<B: Bus> Publisher<B> {
    /// A publisher to this bus, which parks in this table.
    pub fn new(bus: B, client: Client, stats: impl Into<String>) -> Self {
        Self {
            bus,
            client,
            stats: stats.into(),
        }
    }

    /// Sends the events of one shard's changes.
    ///
    /// # Errors
    ///
    /// A failure of the bus, or of DynamoDB. Some events are sent then, and the next delivery sends all of them again.
    pub async fn publish(&self, shard: &str, records: &[StreamRecord]) -> Result<Outcome, Problem> {
        let mut outcome = Outcome::default();
        let mut queue = VecDeque::new();
        for (change, record) in records.iter().enumerate() {
            match events::of(record) {
                Ok(events) => {
                    let entries = events.iter().map(Entry::of);
                    queue.extend(entries.map(|entry| Queued { change, entry }));
                }
                Err(reason) => outcome.parked.push(self.park(shard, record, &reason).await?),
            }
        }
        outcome.sent = queue.len();
        let mut refused = self.send(queue).await?;
        outcome.sent -= refused.len();
        // Of two events of a change both may be refused.
        refused.dedup_by_key(|(change, _)| *change);
        for (change, code) in refused {
            if let Some(record) = records.get(change) {
                let reason = format!("the bus refuses its event: {code}");
                outcome.parked.push(self.park(shard, record, &reason).await?);
            }
        }
        Ok(outcome)
    }

    /// Sends what the parked changes say now: of a record that is there its present state, of one that is gone its
    /// deletion. A change whose events are sent is no longer parked.
    ///
    /// # Errors
    ///
    /// A failure of the bus, or of DynamoDB. What was sent before it is no longer parked.
    pub async fn send_parked(&self, store: &Store, now: Timestamp) -> Result<Resent, Problem> {
        let mut resent = Resent::default();
        for (parked, record) in parked::records(&self.client, &self.stats, Consumer::Events).await? {
            let events = match Self::restated(&record, store, now).await {
                Ok(events) => events,
                Err(reason) => {
                    resent.left.push(parked.because(&reason));
                    continue;
                }
            };
            let queue = events
                .iter()
                .map(Entry::of)
                .map(|entry| Queued { change: 0, entry });
            let refused = self.send(queue.collect()).await?;
            resent.events += events.len() - refused.len();
            match refused.into_iter().next() {
                Some((_, code)) => {
                    let reason = format!("the bus refuses its event: {code}");
                    resent.left.push(parked.because(&reason));
                }
                None => {
                    parked::remove_event(&self.client, &self.stats, &parked).await?;
                    resent.changes += 1;
                }
            }
        }
        Ok(resent)
    }

    /// The events that a parked change stands for now. The error says why they are not known.
    async fn restated(
        record: &StreamRecord,
        store: &Store,
        now: Timestamp,
    ) -> Result<Vec<events::Event>, String> {
        let Some(outline) = Outline::of(record).map_err(|reason| reason.to_string())? else {
            return Ok(Vec::new());
        };
        let mut events: Vec<events::Event> = outline.ended().into_iter().collect();
        if let Some(record) = outline.current() {
            match store.get(&record.workspace, record.id, now).await {
                Ok(feedback) => events.push(outline.restated(feedback)),
                // Its end is a change of its own.
                Err(Problem::NotFound) => {}
                Err(problem) => return Err(problem.log_message()),
            }
        }
        Ok(events)
    }

    async fn park(
        &self,
        shard: &str,
        record: &StreamRecord,
        reason: &impl Display,
    ) -> Result<Parked, Problem> {
        let parked = Parked::new(shard, record, reason);
        parked::park_event(&self.client, &self.stats, &parked, record).await?;
        Ok(parked)
    }

    /// Sends entries, those again that the bus does not take for now, and returns the changes whose entries it refuses,
    /// with its code.
    async fn send(&self, mut queue: VecDeque<Queued>) -> Result<Vec<(usize, String)>, Problem> {
        let (mut refused, mut setbacks) = (Vec::new(), 0);
        while !queue.is_empty() {
            let batch: Vec<Queued> = queue.drain(..fitting(&queue)).collect();
            let entries: Vec<&Entry> = batch.iter().map(|queued| &queued.entry).collect();
            let answers = self.bus.put(&entries).await?;
            let (mut again, mut cause) = (Vec::new(), None);
            for (Queued { change, entry }, answer) in batch.into_iter().zip(answers) {
                match answer {
                    Ok(()) => setbacks = 0,
                    Err(Refusal::ForNow(code)) => {
                        cause = Some(code);
                        again.push(Queued { change, entry });
                    }
                    // It may be the record that it refuses: JSON that is valid, and too deep or with half an emoji.
                    Err(Refusal::ForGood(code)) => match entry.into_outline() {
                        Ok(entry) => again.push(Queued { change, entry }),
                        Err(_) => refused.push((change, code)),
                    },
                }
            }
            for queued in again.into_iter().rev() {
                queue.push_front(queued);
            }
            if let Some(code) = cause {
                back_off(setbacks)
                    .await
                    .ok_or_else(|| Problem::unavailable(format!("the bus does not take events: {code}")))?;
                setbacks += 1;
            }
        }
        refused.sort_unstable();
        Ok(refused)
    }
}

/// How many entries go into the next request: at least one.
fn fitting(queue: &VecDeque<Queued>) -> usize {
    let mut bytes = 0;
    let fits = queue.iter().take(MAX_ENTRIES).take_while(|queued| {
        bytes += queued.entry.size();
        bytes <= MAX_BYTES
    });
    fits.count().max(1)
}
