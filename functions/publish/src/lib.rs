//! Sends each change in the feedback table's stream to an event bus, at least once.

pub mod bus;
pub mod event_bridge;
pub mod publisher;

use lambda_http::LambdaEvent;
use shared::problem::Problem;
use shared::stats::parked::Consumer;
use shared::stream::{Done, Event, Payload, Reader, Response};
use shared::tables::{STATS, Table};

use crate::bus::Bus;
use crate::publisher::{Outcome, Publisher};

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&STATS];

/// The function `publish`, which sends the events of a batch and writes one log line about it.
#[derive(Debug)]
pub struct Publish<B> {
    publisher: Publisher<B>,
    reader: Reader,
}

impl<B: Bus> Publish<B> {
    /// The function with this publisher.
    pub fn new(publisher: Publisher<B>) -> Self {
        Self {
            publisher,
            reader: Reader::new(Consumer::Events),
        }
    }

    /// Handles an invocation.
    ///
    /// # Errors
    ///
    /// An error makes Lambda deliver the batch again.
    pub async fn answer(&self, event: LambdaEvent<Payload>) -> Result<Response, lambda_http::Error> {
        let send = async |event| {
            let Outcome { sent, parked } = handle(&self.publisher, event).await?;
            Ok(Done { count: sent, parked })
        };
        self.reader.answer(event, send).await
    }
}

/// Publishes a batch. After an error, Lambda delivers it again, and what was already sent is sent again.
///
/// # Errors
///
/// As [`Publisher::publish`].
pub async fn handle<B: Bus>(publisher: &Publisher<B>, event: Event) -> Result<Outcome, Problem> {
    publisher.publish(&event.shard_id, &event.records).await
}
