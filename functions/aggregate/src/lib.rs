//! Counts the changes in the feedback table's stream into roll-ups. The shard of a batch selects the checkpoint.

use lambda_http::LambdaEvent;
use shared::problem::Problem;
use shared::stats::count::{Counter, Outcome};
use shared::stats::parked::Consumer;
use shared::stream::{Done, Reader};
pub use shared::stream::{Event, Payload, Response};

/// The function `aggregate`, which counts a batch and writes one log line about it.
#[derive(Debug)]
pub struct Aggregate {
    counter: Counter,
    reader: Reader,
}

impl Aggregate {
    /// The function with this counter.
    pub fn new(counter: Counter) -> Self {
        Self {
            counter,
            reader: Reader::new(Consumer::Counting),
        }
    }

    /// Handles an invocation.
    ///
    /// # Errors
    ///
    /// An error makes Lambda deliver the batch again.
    pub async fn answer(&self, event: LambdaEvent<Payload>) -> Result<Response, lambda_http::Error> {
        let count = async |event| {
            let Outcome { counted, parked } = handle(&self.counter, event).await?;
            Ok(Done {
                count: counted,
                parked,
            })
        };
        self.reader.answer(event, count).await
    }
}

/// Counts a batch. After an error, Lambda delivers it again, and what was already counted is skipped.
///
/// # Errors
///
/// As [`Counter::count`].
pub async fn handle(counter: &Counter, event: Event) -> Result<Outcome, Problem> {
    if event.records.is_empty() {
        return Ok(Outcome::default());
    }
    counter.count(&event.shard_id, event.records).await
}
