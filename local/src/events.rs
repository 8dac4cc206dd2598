//! Events on this machine: `cargo run -- --events`, and the command `events`.

pub mod bus;

use std::fmt::Write as _;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use publish::event_bridge::EventBridge;
use publish::publisher::{Publisher, Resent};
use publish::{bus::Bus, handle};
use serde_json::{Value, json};
use shared::config::Config;
use shared::dynamo;
use shared::dynamo::attributes::{string, text};
use shared::stats::change::SequenceNumber;
use shared::stats::count::CHECKPOINTS;
use shared::stats::parked::{self, Consumer};
use shared::stats::rollup::key_item;
use shared::store::Store;
use shared::tables::{FEEDBACK, STATS};
use shared::timestamp::Timestamp;

use self::bus::LocalBus;
use crate::args::{Events, EventsAction, EventsPlace};
use crate::console;
use crate::dynamodb::Engine;
use crate::stack::Account;
use crate::stats::{self, Shown, parked_line};
use crate::stream;
use crate::stream::mapping::Settings;

/// The pause before a failed start is retried.
const INTERVAL: Duration = Duration::from_secs(5);

/// The events of an embedded database's changes.
#[derive(Clone, Debug)]
pub struct Feed<B> {
    engine: Engine,
    client: Client,
    publisher: Publisher<B>,
}

impl<B: Bus> Feed<B> {
    /// Events to this bus.
    pub fn new(engine: Engine, bus: B) -> Self {
        let client = engine.client();
        Self {
            engine,
            publisher: Publisher::new(bus, client.clone(), STATS.name),
            client,
        }
    }

    /// Sends the events of changes until the future is dropped. Failures are reported and retried.
    pub async fn run(&self) {
        // First of everything written before the last stop, however old.
        let place = loop {
            match self.resume().await {
                Ok(place) => break place,
                Err(cause) => report_lag(&cause),
            }
            tokio::time::sleep(INTERVAL).await;
        };
        let send = |event| self.send(event);
        let settings = Settings::local_events();
        stream::feed_after(self.engine.clone(), place, send, settings, report_lag).await;
    }

    async fn resume(&self) -> Result<Option<SequenceNumber>, String> {
        self.drain().await?;
        self.checkpoint().await
    }

    /// Sends the events of all pending changes and returns the number of these.
    ///
    /// # Errors
    ///
    /// One line to print, at the first failure. The next call continues from the checkpoint.
    pub async fn drain(&self) -> Result<usize, String> {
        let place = self.checkpoint().await?;
        let limit = Settings::local_events().batch_size;
        stream::deliver(&self.engine, place, limit, |event| self.send(event)).await
    }

    /// Sends the events of a batch, and moves the checkpoint, which Lambda keeps itself.
    async fn send(&self, event: Value) -> Result<Value, String> {
        let last = event["Records"]
            .as_array()
            .and_then(|records| records.last())
            .and_then(|record| record["dynamodb"]["SequenceNumber"].as_str())
            .map(str::to_owned);
        let event = serde_json::from_value(event)
            // Serde's message would quote feedback.
            .map_err(|_| "cannot read the stream")?;
        let outcome = handle(&self.publisher, event)
            .await
            .map_err(|problem| problem.log_message())?;
        for parked in outcome.parked {
            console::report(format_args!(
                "the event of a change was not sent, and parked; see `hindsight events list-parked`: {}",
                parked_line(&parked)
            ));
        }
        if let Some(last) = last {
            self.advance(&last).await?;
        }
        Ok(json!({"state": {}}))
    }

    async fn advance(&self, sequence: &str) -> Result<(), String> {
        let mut item = checkpoint_key();
        item.insert("sequence".to_owned(), text(sequence));
        let put = self.client.put_item().table_name(STATS.name).set_item(Some(item));
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(dynamo::problem(&error, true).log_message()),
        }
    }

    /// The sequence number up to which events were sent.
    async fn checkpoint(&self) -> Result<Option<SequenceNumber>, String> {
        let get = self.client.get_item().table_name(STATS.name);
        let found = get
            .set_key(Some(checkpoint_key()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false).log_message())?;
        let item = found.item.unwrap_or_default();
        Ok(string(&item, "sequence").map(|number| SequenceNumber(number.to_owned())))
    }
}

/// The key of the checkpoint, beside that of counting.
fn checkpoint_key() -> dynamo::attributes::Item {
    key_item(CHECKPOINTS, &format!("events#{}", stream::shard()))
}

fn report_lag(cause: &str) {
    console::report(format_args!("events are behind: {cause}"));
}

/// Does what was asked and returns what to print. The error is what to print before failing.
///
/// # Errors
///
/// A line to print.
pub async fn run(events: Events) -> Result<String, String> {
    match events.action {
        EventsAction::ListParked { place } => list_parked(stats::find(&place).await?).await,
        EventsAction::SendParked { place } => send_parked(place).await,
    }
}

async fn list_parked(place: stats::Place) -> Result<String, String> {
    let parked = parked::list(&place.client, &place.stats, Consumer::Events)
        .await
        .map_err(|problem| problem.log_message())?;
    Ok(format!(
        "{} changes are parked whose events were not sent:{}",
        parked.len(),
        Shown(&parked, parked_line)
    ))
}

async fn send_parked(place: EventsPlace) -> Result<String, String> {
    let tables = stats::find(&place.tables).await?;
    if let Some(destination) = &place.to {
        return send_parked_to(LocalBus::open(destination)?, tables).await;
    }
    if place.bus.is_none() && place.tables.stack.is_none() {
        return Err(
            "where to: expected --stack or --bus for a deployed table, --to for a local one".to_owned(),
        );
    }
    let account = Account::find().await?;
    let bus = match place.bus {
        Some(bus) => bus,
        None => account
            .resource(place.tables.stack.as_deref().unwrap_or_default(), "EventBus")
            .await
            .map_err(|line| format!("{line}; if it sends to a bus of another name, give it with --bus"))?,
    };
    send_parked_to(account.event_bridge(&bus)?, tables).await
}

async fn send_parked_to(bus: impl Bus, tables: stats::Place) -> Result<String, String> {
    let config = Config::of_tables([(&FEEDBACK, tables.feedback)]);
    let store = Store::new(tables.client.clone(), &config).map_err(|error| error.to_string())?;
    let publisher = Publisher::new(bus, tables.client, tables.stats);
    let Resent {
        changes,
        events,
        left,
    } = publisher
        .send_parked(&store, Timestamp::now())
        .await
        .map_err(|problem| format!("{}; run it again to go on", problem.log_message()))?;
    let mut text = format!("Sent {events} events of {changes} parked changes");
    if left.is_empty() {
        text.push_str("; none are left.");
        return Ok(text);
    }
    let _ = write!(
        text,
        "; {} cannot be sent:{}",
        left.len(),
        Shown(&left, parked_line)
    );
    Err(text)
}

impl Account {
    /// An event bus of the account.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub fn event_bridge(&self, bus: &str) -> Result<EventBridge, String> {
        EventBridge::of(self.config(), bus).map_err(|error| format!("cannot set up TLS: {error}"))
    }
}
