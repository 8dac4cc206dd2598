//! Sends each change in the feedback table's stream to an event bus, at least once.

pub mod bus;
pub mod event_bridge;
pub mod publisher;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::FutureExt as _;
use lambda_http::{LambdaEvent, tracing};
use shared::invocation::Invocation;
use shared::log::milliseconds;
use shared::problem::Problem;
use shared::stream::{Event, Payload, Response};
use shared::tables::{STATS, Table};
use shared::timestamp::Timestamp;

use crate::bus::Bus;
use crate::publisher::{Outcome, Publisher};

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&STATS];

/// The function `publish`, which sends the events of a batch and writes one log line about it.
#[derive(Debug)]
pub struct Publish<B> {
    publisher: Publisher<B>,
    /// Whether this process has handled a batch before.
    warm: AtomicBool,
}

impl<B: Bus> Publish<B> {
    /// The function with this publisher.
    pub fn new(publisher: Publisher<B>) -> Self {
        Self {
            publisher,
            warm: AtomicBool::new(false),
        }
    }

    /// Handles an invocation.
    ///
    /// # Errors
    ///
    /// An error makes Lambda deliver the batch again.
    pub async fn answer(&self, event: LambdaEvent<Payload>) -> Result<Response, lambda_http::Error> {
        let (started, cold) = (Instant::now(), !self.warm.swap(true, Ordering::Relaxed));
        let LambdaEvent { payload, context } = event;
        let (mut size, mut newest) = (None, None);
        let batch = payload.into_event();
        if let Ok(event) = &batch {
            size = Some(event.records.len());
            newest = event.newest();
        }
        let invocation = Invocation::new(Some(&context.request_id));
        // Boxed, because the compiler cannot compute the layout of the whole nested future.
        let work = async { handle(&self.publisher, batch?).await }.boxed();
        let result = match invocation.run(AssertUnwindSafe(work).catch_unwind()).await {
            Ok(result) => result,
            Err(_) => Err(Problem::internal("publishing panicked")),
        };
        let problem = result.as_ref().err();
        let outcome = result.as_ref().ok();
        for parked in outcome.iter().flat_map(|outcome| &outcome.parked) {
            tracing::error!(
                request_id = invocation.id(),
                shard = parked.shard.as_str(),
                sequence = parked.sequence.0.as_str(),
                cause = parked.reason.as_str(),
                "a change is parked"
            );
        }
        let cause = problem.map(Problem::log_message);
        let units = invocation.units();
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id = invocation.id(),
                    function_version = context.env_config.version.as_str(),
                    records = size,
                    sent = outcome.map(|outcome| outcome.sent),
                    parked = outcome
                        .map(|outcome| outcome.parked.len())
                        .filter(|count| *count > 0),
                    // Not `lag_ms`, which is a metric of counting.
                    behind_ms = newest.map(|newest| milliseconds(newest.age(Timestamp::now()))),
                    ms = milliseconds(started.elapsed()),
                    cold,
                    read_units = units.read,
                    write_units = units.write,
                    problem = problem.map(Problem::code),
                    cause,
                    $message
                )
            };
        }
        match &cause {
            None => line!(info, "published"),
            Some(_) => line!(error, "failed"),
        }
        result
            .map(|_| Response::default())
            .map_err(|problem| problem.log_message().into())
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
