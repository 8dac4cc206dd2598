//! Keeps the scores in a Langfuse project as the records are.
//!
//! A change says which record to look at, and never what to send: changes come at least once and in no order. So each
//! one is answered with the record as it is now, or with the deletes of what it was. Langfuse takes both for later,
//! in no order either, and a delete that follows a create within seconds gets lost, so deletes are repeated.

pub mod change;
pub mod client;
pub mod failure;
pub mod queue;
pub mod score;
pub mod settings;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use lambda_http::{LambdaEvent, tracing};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::feedback::Feedback;
use shared::invocation::Invocation;
use shared::log::milliseconds;
use shared::store::Store;
use shared::tables::{FEEDBACK, Table};
use shared::timestamp::Clock;

use change::Change;
use client::Client;
use failure::Failure;
use queue::Queue;
use score::Scale;

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&FEEDBACK];

/// The waits before each repeat of a change's deletes. Langfuse processes what it took within seconds, or within ten
/// minutes when it is busy (its API reference). The longest delay that SQS knows is 15 minutes.
pub const REPEATS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(15 * 60)];

/// How often a record is looked at for one message while it keeps changing.
const MAX_LOOKS: usize = 5;

/// The maximum time for one message. The function has a minute.
const TIMEOUT: Duration = Duration::from_secs(45);

/// The waits before a message comes again double from the first to the longest. With the queue's 110 receipts that
/// is a day.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// A batch of messages (docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    approximate_receive_count: String,
}

/// The messages that stay in the queue
/// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The messages that stay in the queue.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A message that stays in the queue.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// The message's id.
    pub item_identifier: String,
}

/// The function `langfuse`.
#[derive(Debug)]
pub struct Forward {
    store: Store,
    client: Client,
    queue: Queue,
    clock: Clock,
    /// Whether this process has handled a batch before.
    warm: AtomicBool,
}

impl Forward {
    /// The function with these dependencies.
    pub fn new(store: Store, client: Client, queue: Queue, clock: Clock) -> Self {
        Self {
            store,
            client,
            queue,
            clock,
            warm: AtomicBool::new(false),
        }
    }

    /// Handles an invocation: a batch of messages, of which the response names those that failed.
    ///
    /// # Errors
    ///
    /// If the event is not a batch of SQS.
    pub async fn answer(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Response, lambda_http::Error> {
        let (started, cold) = (Instant::now(), !self.warm.swap(true, Ordering::Relaxed));
        let LambdaEvent { payload, context } = event;
        // serde's error would quote the event.
        let batch: Batch = serde_json::from_str(payload.get()).map_err(|error| {
            let cause = format!(
                "event: expected a batch of SQS, got something else at column {}",
                error.column()
            );
            tracing::error!(request_id = context.request_id.as_str(), cause, "failed");
            cause
        })?;
        let invocation = Invocation::new(Some(&context.request_id));
        // Boxed, because the compiler cannot compute the layout of the whole nested future.
        let work = join_all(batch.messages.iter().map(|message| self.take(message))).boxed();
        let taken = invocation.run(work).await;
        let response = Response {
            batch_item_failures: batch
                .messages
                .into_iter()
                .zip(&taken)
                .filter(|(_, is_done)| !**is_done)
                .map(|(message, _)| BatchItemFailure {
                    item_identifier: message.message_id,
                })
                .collect(),
        };
        let units = invocation.units();
        tracing::info!(
            request_id = invocation.id(),
            function_version = context.env_config.version.as_str(),
            changes = taken.len(),
            failed = response.batch_item_failures.len(),
            ms = milliseconds(started.elapsed()),
            cold,
            read_units = units.read,
            "forwarded"
        );
        Ok(response)
    }

    /// Handles a message, and returns whether it is done with.
    async fn take(&self, message: &Message) -> bool {
        let receipts = message
            .attributes
            .approximate_receive_count
            .parse()
            .unwrap_or(u32::MAX);
        let change = Change::parse(&message.body);
        let work = async {
            match &change {
                Some(change) => self.forward(change, receipts > 1).await,
                None => Err(Failure::refused(
                    "message: expected the detail of an event of Hindsight's",
                )),
            }
        };
        let work = AssertUnwindSafe(work).catch_unwind();
        let result = match tokio::time::timeout(TIMEOUT, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::later("forwarding panicked")),
            Err(_) => Err(Failure::later(format!("it took longer than {TIMEOUT:?}"))),
        };
        let Err(failure) = result else {
            return true;
        };
        let request_id = Invocation::current();
        let request_id = request_id.as_ref().and_then(Invocation::id);
        let message_id = message.message_id.as_str();
        let cause = failure.text();
        match &failure {
            Failure::Refused { .. } => {
                tracing::error!(request_id, message_id, cause, "a change is refused");
                // What the record says is not copied.
                let body =
                    change.map_or_else(|| message.body.clone(), |change| change.message(change.repeats));
                let sent = self.queue.dead_letter(body).await;
                if let Err(failure) = &sent {
                    tracing::error!(
                        request_id,
                        message_id,
                        cause = failure.text(),
                        "a refused change stays in the queue"
                    );
                }
                sent.is_ok()
            }
            Failure::Later { retry_after, .. } => {
                let wait = wait(receipts).max(retry_after.unwrap_or_default());
                tracing::warn!(
                    request_id,
                    message_id,
                    receipts,
                    wait_s = wait.as_secs(),
                    cause,
                    "a change is retried"
                );
                if let Err(failure) = self.queue.hide(&message.receipt_handle, wait).await {
                    tracing::warn!(
                        request_id,
                        message_id,
                        cause = failure.text(),
                        "a change comes at the queue's time"
                    );
                }
                false
            }
        }
    }

    /// Makes Langfuse's scores of a record what the record is now.
    async fn forward(&self, change: &Change, is_repeated: bool) -> Result<(), Failure> {
        let (mut scales, mut deletes) = (change.scales.clone(), false);
        let mut record = self.current(change).await?;
        let version = record.as_ref().map(|record| record.version);
        // An earlier attempt may have sent what the record was between the change and now.
        if is_repeated && version != change.version {
            scales = Scale::ALL.into();
        }
        for _ in 0..MAX_LOOKS {
            let now = self.clock.now();
            match &record {
                Some(record) => {
                    self.client.put(record, now).await?;
                    scales.push(Scale::of(record));
                }
                None => scales = Scale::ALL.into(),
            }
            let scale = record.as_ref().map(Scale::of);
            for stale in Scale::ALL {
                if scales.contains(&stale) && scale != Some(stale) {
                    self.client.delete(change.id, stale, now).await?;
                    deletes = true;
                }
            }
            let again = self.current(change).await?;
            if again == record {
                return self.repeat(change, deletes).await;
            }
            record = again;
        }
        Err(Failure::later("the record keeps changing"))
    }

    /// The record that a change is of, as it is now.
    async fn current(&self, change: &Change) -> Result<Option<Feedback>, Failure> {
        self.store
            .current(&change.workspace, &change.target, change.id, self.clock.now())
            .await
            .map_err(|problem| Failure::of_problem(&problem))
    }

    /// Has the deletes of a change repeated.
    async fn repeat(&self, change: &Change, deletes: bool) -> Result<(), Failure> {
        match REPEATS.get(change.repeats) {
            Some(delay) if deletes => {
                let message = change.message(change.repeats + 1);
                self.queue.send_later(message, *delay).await
            }
            _ => Ok(()),
        }
    }
}

/// The wait before a message that was received so often comes again.
fn wait(receipts: u32) -> Duration {
    let doubled = 1_u32 << receipts.saturating_sub(1).min(16);
    FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_of_110_receipts_are_more_than_a_day() {
        assert_eq!(wait(1), FIRST_WAIT);
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
        let all: Duration = (1..110).map(wait).sum();
        assert!((24..48).contains(&(all.as_secs() / 3600)), "{all:?}");
    }
}
