//! The heaviest analytics queries: over large records, and over a day with 100 votes a second.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use fastrand::Rng;
use lambda_http::http::Method;
use local::dynamodb::Engine;
use serde_json::{Value, json};
use shared::dialect::portkey::{self, Create};
use shared::indexed::Field;
use shared::problem::Problem;
use shared::score::{Score, Value as Vote, Weight};
use shared::stats::dimension::Dimension;
use shared::stats::generation::Generations;
use shared::stats::rollup::{Rollup, Slots, counters, key_item, last_seen};
use shared::stats::series::Series;
use shared::stats::tally::Tally;
use shared::tables::STATS;
use shared::timestamp::Timestamp;
use tokio::process::Command;

use crate::event::event_json;
use crate::lambda::Bootstrap;
use crate::measure::peak_memory;
use crate::metered::Metered;
use crate::scenario::Service;
use crate::share::Share;

/// The number of large records, and the size of each one's metadata in bytes.
const RECORDS: usize = 10_000;
const METADATA: usize = 60_000;

/// The number of large records per request, whose body is limited to 1 MiB.
const BULK: usize = 16;

/// The votes per second of the busy day, and the number of their prompts.
const RATE: u64 = 100;
const PROMPTS: usize = 30;

/// The range of the busy day: 24 hours that begin and end within a slot of two minutes.
const FROM: &str = "2026-10-10T09:14:20.000Z";
const TO: &str = "2026-10-11T09:14:20.000Z";

/// The results of the measurement.
#[derive(Clone, Debug)]
pub struct Heavy {
    /// Each query about large records: title, status, time and peak memory of the process in bytes.
    large: Vec<(&'static str, u64, Duration, u64)>,
    /// Each query about the busy day: title, median time and read units.
    busy: Vec<(&'static str, Duration, f64)>,
}

/// Measures `analytics`. `command` starts it for a DynamoDB endpoint, with the share of a small function if
/// there is one.
///
/// # Errors
///
/// If the records cannot be stored, or a response is wrong.
pub async fn measure(
    command: impl Fn(&Service, &str) -> Command,
    endpoint: impl AsyncFn(&Engine) -> io::Result<String>,
    share: Option<&Share>,
) -> io::Result<Heavy> {
    Ok(Heavy {
        large: large_records(command, endpoint, share).await?,
        busy: busy_day().await?,
    })
}

/// Measures queries that read every record: one by score, one by metadata.
async fn large_records(
    command: impl Fn(&Service, &str) -> Command,
    endpoint: impl AsyncFn(&Engine) -> io::Result<String>,
    share: Option<&Share>,
) -> io::Result<Vec<(&'static str, u64, Duration, u64)>> {
    let service = Service::new().await?;
    let long = "x".repeat(METADATA - 16);
    let vote = json!({"trace_id": "large", "value": 1, "metadata": {"k": "v", "long": long}});
    let body = Value::Array(vec![vote; BULK]);
    for stored in 0..RECORDS / BULK {
        service.create("/v1/feedback", &body).await?;
        if stored % 100 == 0 {
            eprintln!("{} of {RECORDS} large records are stored.", stored * BULK);
        }
    }
    let endpoint = endpoint(&service.engine).await?;
    let now = Timestamp::now();
    let hour = Duration::from_secs(3600);
    let from = Timestamp::from_millis(now.millis() - 3_600_000);
    let range = format!(
        "time_of_generation_min={from}&time_of_generation_max={}",
        now + hour
    );
    let mut rows = Vec::new();
    for (title, filter) in [
        ("by their score", "weighted_feedback_min=0"),
        ("by their metadata", "metadata=%7B%22k%22%3A%22v%22%7D"),
    ] {
        let query = format!("{range}&{filter}");
        let path = "/v1/analytics/graphs/feedbacks";
        let event = event_json(
            &Method::GET,
            path,
            &query,
            &[("x-portkey-api-key", &service.key)],
            "",
            false,
        );
        let mut process = Bootstrap::start("analytics", command(&service, &endpoint)).await?;
        process.next_request().await?;
        let id = process
            .id()
            .ok_or_else(|| io::Error::other("the process ended"))?;
        if let Some(share) = share {
            share.hold(id)?;
        }
        let invoked = process.invoke(event).await?;
        process.next_request().await?;
        let memory = peak_memory(id)?;
        process.stop().await?;
        let status = invoked
            .outcome
            .map_err(|error| io::Error::other(error.to_string()))?["statusCode"]
            .as_u64()
            .unwrap_or_default();
        rows.push((title, status, invoked.took, memory));
    }
    Ok(rows)
}

/// Measures 24 hours at 100 votes a second. The roll-ups are written directly, because counting 8.6 million
/// votes would take hours. The records at both ends of the range exist.
async fn busy_day() -> io::Result<Vec<(&'static str, Duration, f64)>> {
    let failed = |problem: Problem| io::Error::other(problem.log_message());
    let metered = Metered::new().await?;
    let client = &metered.client;
    let time = |text| Timestamp::parse(text).ok_or_else(|| io::Error::other("no time"));
    let (from, to) = (time(FROM)?, time(TO)?);
    let generations = Generations::read_or_begin(client, STATS.name)
        .await
        .map_err(failed)?;
    let mut rng = Rng::with_seed(20_261_010);
    let mut start = Series::Minutes.floor(from);
    let end = Series::Minutes.ceiling(to);
    let mut items: std::collections::BTreeMap<Rollup, Slots> = std::collections::BTreeMap::new();
    let votes = RATE * Series::Minutes.slot_length().as_secs();
    while start < end {
        for prompt in 0..PROMPTS {
            let mut tally = Tally::default();
            for value in -10..=10 {
                let vote = Vote::new(value).ok_or_else(|| io::Error::other("no value"))?;
                let one = Tally::of(Score::Value(vote, Weight::DEFAULT), start);
                for _ in 0..votes / PROMPTS as u64 / 21 {
                    tally += &one;
                }
            }
            for (dimension, value) in [
                (Dimension::All, String::new()),
                (Dimension::Field(Field::Prompt), format!("prompt-{prompt}")),
            ] {
                let places = Rollup::places(
                    generations.current,
                    &metered.writer.workspace,
                    dimension,
                    &value,
                    start,
                );
                for (rollup, slot) in places {
                    *items.entry(rollup).or_default().entry(slot).or_default() += &tally;
                }
            }
        }
        start = start + Series::Minutes.slot_length();
    }
    for (rollup, slots) in &items {
        let (pk, sk) = rollup.key();
        let mut item = key_item(&pk, &sk);
        let mut numbers = counters(rollup.series, slots);
        numbers.extend(last_seen(rollup, slots));
        item.extend(
            numbers
                .into_iter()
                .map(|(name, number)| (name, AttributeValue::N(number))),
        );
        client
            .put_item()
            .table_name(STATS.name)
            .set_item(Some(item))
            .send()
            .await
            .map_err(io::Error::other)?;
    }
    // The ends of the range: from its start to the end of that slot, and from the start of its last slot.
    for (first, last) in [
        (from, Series::Minutes.ceiling(from)),
        (Series::Minutes.floor(to), to),
    ] {
        let mut second = first;
        while second < last {
            let votes: Vec<Value> = (0..RATE)
                .map(|_| {
                    let metadata = json!({"_prompt": format!("prompt-{}", rng.usize(..PROMPTS)), "_model": "gpt-4o"});
                    json!({"trace_id": format!("trace-{}", rng.u64(..)), "value": rng.i8(-10..=10), "metadata": metadata})
                })
                .collect();
            let Create::Bulk(drafts) = portkey::parse_create(&json!(votes).to_string())
                .map_err(failed)?
                .value
            else {
                return Err(io::Error::other("no bulk"));
            };
            metered
                .store
                .create(&metered.writer, drafts, second)
                .await
                .map_err(failed)?;
            second = second + Duration::from_secs(1);
        }
    }
    let mut rows = Vec::new();
    let range = format!("time_of_generation_min={FROM}&time_of_generation_max={TO}");
    for (title, path) in [
        ("everything, by hour", format!("graphs/feedbacks?{range}")),
        (
            "one prompt, by hour",
            format!("graphs/feedbacks?prompt_slug=prompt-3&{range}"),
        ),
        (
            "grouped by 30 prompts",
            format!("groups/metadata/_prompt?{range}"),
        ),
    ] {
        let (took, read) = metered.ask(&path).await?;
        rows.push((title, took, read));
    }
    Ok(rows)
}

impl Heavy {
    /// The results as two tables.
    pub fn table(&self) -> String {
        let mut table = format!(
            "| {RECORDS} records of {METADATA} bytes, counted | status | ms | peak RSS MB |\n|---|--:|--:|--:|\n"
        );
        for (title, status, took, memory) in &self.large {
            let (ms, megabytes) = (took.as_secs_f64() * 1000.0, *memory as f64 / 1e6);
            let _ = writeln!(table, "| {title} | {status} | {ms:.0} | {megabytes:.1} |");
        }
        let _ = write!(
            table,
            "\n| 24 hours at {RATE} votes a second | ms | read units |\n|---|--:|--:|\n"
        );
        for (title, took, units) in &self.busy {
            let _ = writeln!(
                table,
                "| {title} | {:.1} | {units:.0} |",
                took.as_secs_f64() * 1000.0
            );
        }
        table
    }
}
