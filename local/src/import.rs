//! The command `import`: records of an export, or of another system, with their times.
//!
//! The file is read record by record, a hundred at a time. For each hundred it is looked up which were deleted and which
//! are there; the rest is written, each on the condition that nothing is in its place. So the command can be repeated:
//! ids are those of the export, or derived from those of the other system.

mod records;

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::pin::pin;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use clap::ValueEnum;
use futures_util::stream::{self, StreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use shared::config::Config;
use shared::dynamo;
use shared::dynamo::batch::MAX_KEYS;
use shared::feedback::Feedback;
use shared::id::Workspace;
use shared::import::{Numeric, Reading, System};
use shared::invocation::Invocation;
use shared::problem::{Fault, Problem};
use shared::stats::count::Counter;
use shared::stats::deleted;
use shared::stats::read::Reader;
use shared::stats::rebuild::WRITE_TIME;
use shared::store::Store;
use shared::store::import::Imported;
use shared::tables::{FEEDBACK, STATS};
use shared::timestamp::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use self::records::{Place, Records, unread};
use crate::args::Import;
use crate::console;
use crate::data::WORKSPACE;
use crate::dynamodb::Engine;
use crate::pace::{Pace, patiently};
use crate::{stats, stream as changes};

/// The write units a second that a deployed table is written with unless told otherwise: a quarter of the 4,000 that a
/// table on demand takes from the start
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html).
pub const WRITE_UNITS: u32 = 1_000;

/// How many records are looked up at a time.
const AT_ONCE: usize = MAX_KEYS;

/// The number of records that are written concurrently.
const CONCURRENCY: usize = 25;

/// The maximum number of refused records that are reported.
const TOLD: u64 = 100;

/// How long a reading of DynamoDB's clock is used.
const CLOCK_READING: Duration = Duration::from_secs(2);

/// How often it is looked whether the last records can be found, and for how long at most.
const LOOK: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(120);

/// The system that a file comes from, as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// An export of Hindsight: JSON Lines or CSV
    Hindsight,
    /// Scores of Langfuse: its API's responses, or an export as JSON, JSON Lines or CSV
    Langfuse,
    /// Feedback of Open WebUI: its administrators' export
    OpenWebui,
    /// Any CSV file with a header
    Csv,
}

impl From {
    fn system(self) -> System {
        match self {
            Self::Hindsight => System::Hindsight,
            Self::Langfuse => System::Langfuse,
            Self::OpenWebui => System::OpenWebui,
            Self::Csv => System::Csv,
        }
    }
}

/// How Langfuse's NUMERIC scores are read, as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Numbers {
    /// Integers from -10 to 10
    Value,
    /// Integers from 1 to 5
    Rating,
    /// 1 for thumbs up; 0 or -1 for thumbs down
    Thumbs,
}

impl Numbers {
    fn numeric(self) -> Numeric {
        match self {
            Self::Value => Numeric::Value,
            Self::Rating => Numeric::Rating,
            Self::Thumbs => Numeric::Thumbs,
        }
    }
}

/// What to import.
#[derive(Clone, Debug)]
pub struct Request {
    /// The system that the file comes from.
    pub system: System,
    /// Pairs of a field and a column, for a CSV file.
    pub map: Vec<(String, String)>,
    /// The metadata field that stands for `_user` in upserted records of an export.
    pub user_field: Option<String>,
    /// How Langfuse's numbers are read.
    pub numeric: Numeric,
    /// The workspace that the records go to.
    pub workspace: Workspace,
    /// How long feedback is kept; `None` means forever.
    pub retention: Option<Duration>,
    /// Whether to write nothing.
    pub is_dry_run: bool,
}

/// Where the records go.
pub struct Target {
    /// A client of the database.
    pub client: Client,
    /// The name of the table of feedback.
    pub feedback: String,
    /// The name of the table of roll-ups.
    pub stats: String,
    /// What counts the changes here, where a server may not run that does.
    pub counting: Option<(Engine, Counter)>,
    /// The maximum write units per second, if they are limited.
    pub max_write_units: Option<u32>,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Stored, or would be.
    pub imported: u64,
    /// There already.
    pub there: u64,
    /// Deleted here since they were imported or exported.
    pub deleted: u64,
    /// Older than feedback is kept.
    pub expired: u64,
    /// Not valid, or in the place of another.
    pub refused: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = if self.imported == 1 { "record" } else { "records" };
        write!(f, "{} {records}", self.imported)?;
        let left_out: Vec<_> = [
            (self.there, "already there"),
            (self.deleted, "deleted here"),
            (self.expired, "expired"),
            (self.refused, "refused"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
        if left_out.is_empty() {
            return Ok(());
        }
        write!(f, "; left out: {}", left_out.join(", "))
    }
}

/// Runs the command until it is done or `stop` completes, and returns what to say of it.
///
/// # Errors
///
/// What to print before failing. Records that were refused are a failure.
pub async fn run(import: Import, stop: impl Future<Output = ()>) -> Result<String, String> {
    let place = stats::find(&import.place).await?;
    let is_local = place.counting.is_some();
    let (workspace, retention) = match is_local {
        true => (
            import.workspace.unwrap_or_else(|| WORKSPACE.to_owned()),
            match import.retention_days {
                Some(days) => days_of(days),
                None => Config::embedded().map_err(|error| error.to_string())?.retention,
            },
        ),
        false => (
            import
                .workspace
                .ok_or("--workspace: missing; `keys list` shows the workspaces of a stack")?,
            days_of(import.retention_days.ok_or(
                "--retention-days: missing; give the stack's parameter FeedbackRetentionDays, 0 to keep the records \
                 forever",
            )?),
        ),
    };
    let request = Request {
        system: import.from.system(),
        map: import
            .map
            .iter()
            .map(|pair| mapping(pair))
            .collect::<Result<_, _>>()?,
        user_field: import.user_field,
        numeric: import.numeric.numeric(),
        workspace: Workspace::parse(&workspace)
            .ok_or_else(|| format!("--workspace: expected {}, got {workspace:?}", Workspace::EXPECTED))?,
        retention,
        is_dry_run: import.dry_run,
    };
    let target = Target {
        client: place.client,
        feedback: place.feedback,
        stats: place.stats,
        counting: place.counting,
        max_write_units: import.max_write_units.or((!is_local).then_some(WRITE_UNITS)),
    };
    let name = import.file.display();
    let file = File::open(&import.file).map_err(|error| format!("cannot read {name}: {error}"))?;
    // It is drawn only on a terminal.
    let bar = ProgressBar::new(file.metadata().map_or(0, |found| found.len()));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}, {elapsed} elapsed, {eta} left") {
        bar.set_style(style);
    }
    let input = BufReader::new(bar.wrap_read(file));
    let mut tell = |line: String| bar.suspend(|| console::report(line));
    let done = load(&target, &request, input, &bar, &mut tell, stop).await;
    bar.finish_and_clear();
    let summary = done?;
    let verb = if request.is_dry_run {
        "Would import"
    } else {
        "Imported"
    };
    let text = format!("{verb} {summary}.");
    match summary.refused {
        0 => Ok(text),
        _ => Err(text),
    }
}

fn days_of(days: u32) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 60 * 60))
}

fn mapping(pair: &str) -> Result<(String, String), String> {
    pair.split_once('=')
        .map(|(field, column)| (field.to_owned(), column.to_owned()))
        .ok_or_else(|| format!("--map: expected FIELD=COLUMN, got {pair}"))
}

/// Imports the records of a file, then waits until the last ones are found by every read. `tell` gets a line for each
/// refused record, up to a hundred, and for what it waited for in vain. If `stop` completes first, or DynamoDB fails
/// for long, the same call goes on.
///
/// # Errors
///
/// One line to print.
pub async fn load(
    target: &Target,
    request: &Request,
    input: impl BufRead,
    bar: &ProgressBar,
    tell: &mut impl FnMut(String),
    stop: impl Future<Output = ()>,
) -> Result<Summary, String> {
    let mut records = Records::open(request.system, &request.map, input)?;
    let mut loader = Loader::new(target, request)?;
    let mut stop = pin!(stop);
    let line = |problem: Problem| problem.log_message();
    let broken = |cause: String, summary: Summary| {
        format!("{cause} after {summary}; run the same command again to go on")
    };
    // What is deleted but not counted yet has no marker.
    loader.count().await;
    // The first of the next hundred, whose place is taken in this one.
    let mut next = None;
    loop {
        let now = loader.clock.now().await.map_err(line)?;
        let mut batch: Vec<(Place, Feedback)> = next.take().into_iter().collect();
        let mut places: HashSet<_> = batch.iter().map(|(_, record)| Store::place(record)).collect();
        let mut is_over = false;
        while batch.len() < AT_ONCE {
            let Some((place, text)) = records.next().map_err(unread)? else {
                is_over = true;
                break;
            };
            match loader.read(text, now) {
                Err(cause) => loader.refuse(place, &cause, tell),
                Ok(record) if record.is_expired(now) => loader.summary.expired += 1,
                Ok(record) if places.insert(Store::place(&record)) => batch.push((place, record)),
                Ok(record) => {
                    next = Some((place, record));
                    break;
                }
            }
        }
        let step = tokio::select! {
            biased;
            () = &mut stop => Err("interrupted".to_owned()),
            step = loader.write(batch, tell) => step.map_err(line),
        };
        step.map_err(|cause| broken(cause, loader.summary))?;
        bar.set_message(format!(
            "{} imported, {} there",
            loader.summary.imported, loader.summary.there
        ));
        if is_over && next.is_none() {
            break;
        }
    }
    let summary = loader.summary;
    bar.set_message(format!(
        "{} imported, waiting until lists and analytics have them",
        summary.imported
    ));
    tokio::select! {
        biased;
        () = &mut stop => Err(broken("interrupted".to_owned(), summary)),
        settled = loader.settle() => {
            if let Some(late) = settled.map_err(line)? {
                tell(late);
            }
            Ok(summary)
        }
    }
}

/// Writes records, no faster than it may and with patience.
struct Loader<'a> {
    target: &'a Target,
    request: &'a Request,
    store: Store,
    reader: Reader,
    clock: Clock<'a>,
    metered: Invocation,
    pace: Pace,
    summary: Summary,
    /// The records that were stored last.
    last: VecDeque<Feedback>,
}

impl<'a> Loader<'a> {
    fn new(target: &'a Target, request: &'a Request) -> Result<Self, String> {
        let config = Config::of_tables([
            (&FEEDBACK, target.feedback.clone()),
            (&STATS, target.stats.clone()),
        ]);
        let line = |error: shared::config::ConfigError| error.to_string();
        Ok(Self {
            target,
            request,
            store: Store::new(target.client.clone(), &config).map_err(line)?,
            reader: Reader::new(target.client.clone(), &config).map_err(line)?,
            clock: Clock::new(target),
            metered: Invocation::new(None),
            pace: Pace::new(target.max_write_units),
            summary: Summary::default(),
            last: VecDeque::new(),
        })
    }

    fn read(&self, text: records::Text, now: Timestamp) -> Result<Feedback, String> {
        let reading = Reading {
            system: self.request.system,
            workspace: &self.request.workspace,
            user_field: self.request.user_field.as_deref(),
            numeric: self.request.numeric,
            retention: self.request.retention,
            now,
        };
        reading.record(&text?).map_err(|faults: Vec<Fault>| {
            let messages: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
            messages.join("; ")
        })
    }

    fn refuse(&mut self, place: Place, cause: &str, tell: &mut impl FnMut(String)) {
        self.summary.refused += 1;
        match self.summary.refused {
            ..=TOLD => tell(format!("{place}: {cause}")),
            count if count == TOLD + 1 => tell("more records are refused, and only counted".to_owned()),
            _ => {}
        }
    }

    /// Writes those of up to a hundred records that are neither there nor were deleted.
    async fn write(
        &mut self,
        batch: Vec<(Place, Feedback)>,
        tell: &mut impl FnMut(String),
    ) -> Result<(), Problem> {
        if batch.is_empty() {
            return Ok(());
        }
        self.pace.wait(self.metered.units().write).await;
        let now = self.clock.now().await?;
        let (client, workspace) = (&self.target.client, &self.request.workspace);
        let deleted = patiently(async || {
            let ids = batch.iter().map(|(_, record)| record.id).collect::<HashSet<_>>();
            deleted::among(client, &self.target.stats, workspace, ids, now).await
        });
        let met = patiently(async || {
            let places = batch.iter().map(|(_, record)| Store::place(record));
            self.store.in_places(places.collect()).await
        });
        let (deleted, met) = tokio::try_join!(deleted, met)?;
        let mut fresh = Vec::new();
        for (place, record) in batch {
            if deleted.contains(&record.id) {
                self.summary.deleted += 1;
            } else if let Some(id) = met.get(&Store::place(&record)) {
                self.is_taken(place, &record, *id, tell);
            } else {
                fresh.push((place, record));
            }
        }
        if self.request.is_dry_run {
            self.summary.imported += u64::try_from(fresh.len()).unwrap_or_default();
            return Ok(());
        }
        let writes = stream::iter(fresh)
            .map(async |(place, record)| {
                let done = self.put(&record).await;
                (place, record, done)
            })
            .buffer_unordered(CONCURRENCY)
            .collect::<Vec<_>>();
        let mut failure = None;
        for (place, record, done) in self.metered.run(writes).await {
            match done {
                Ok(Imported::Stored) => {
                    self.summary.imported += 1;
                    self.last.push_back(record);
                    if self.last.len() > AT_ONCE {
                        self.last.pop_front();
                    }
                }
                Ok(Imported::Met(id)) => self.is_taken(place, &record, id, tell),
                Err(problem) => failure = Some(problem),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Counts a record in whose place one with this id is.
    fn is_taken(
        &mut self,
        place: Place,
        record: &Feedback,
        id: Option<shared::id::FeedbackId>,
        tell: &mut impl FnMut(String),
    ) {
        if id == Some(record.id) {
            self.summary.there += 1;
        } else {
            self.refuse(
                place,
                "user: expected a person without a vote on the trace, got one whose vote is there",
                tell,
            );
        }
    }

    /// Stores a record. Each attempt says when it was made: a rebuild that begins meanwhile goes by it.
    async fn put(&self, record: &Feedback) -> Result<Imported, Problem> {
        let was_uncertain = Cell::new(false);
        let stored = patiently(async || {
            let now = self.clock.now().await?;
            let done = timeout(WRITE_TIME, self.store.import(record, now))
                .await
                .unwrap_or_else(|_| Err(Problem::unavailable("DynamoDB did not answer in time")));
            if matches!(done, Err(Problem::Unavailable { .. })) {
                was_uncertain.set(true);
            }
            done
        });
        Ok(match stored.await? {
            Imported::Met(Some(id)) if id == record.id && was_uncertain.get() => Imported::Stored,
            done => done,
        })
    }

    /// Counts what is not counted yet, if no server may be there that does. What one fails at, the other does.
    async fn count(&self) {
        if let Some((engine, counter)) = &self.target.counting
            && !self.request.is_dry_run
        {
            let _ = changes::drain(engine, counter).await;
        }
    }

    /// Waits until the records that were stored last are in the indexes, and counted. Returns what is still missing
    /// after two minutes.
    async fn settle(&mut self) -> Result<Option<String>, Problem> {
        if self.last.is_empty() {
            return Ok(None);
        }
        let stored_at = self.clock.now().await?;
        let began = Instant::now();
        let mut is_counted = false;
        loop {
            while let Some(record) = self.last.front()
                && patiently(async || self.store.is_indexed(record).await).await?
            {
                self.last.pop_front();
            }
            if !is_counted {
                self.count().await;
                let as_of = patiently(async || self.reader.as_of(&self.request.workspace).await).await?;
                // Both are rounded down to the second.
                is_counted = as_of.is_some_and(|as_of| as_of + Duration::from_secs(1) >= stored_at);
            }
            if self.last.is_empty() && is_counted {
                return Ok(None);
            }
            if began.elapsed() >= PATIENCE {
                let missing = match (self.last.is_empty(), is_counted) {
                    (true, _) => {
                        "analytics do not count the last records yet: look at the alarms of counting"
                    }
                    (_, true) => "not every list has the last records yet: wait for DynamoDB's indexes",
                    _ => "lists and analytics do not have the last records yet: look at the alarms",
                };
                return Ok(Some(missing.to_owned()));
            }
            sleep(LOOK).await;
        }
    }
}

/// DynamoDB's clock, which is asked every few seconds.
struct Clock<'a> {
    target: &'a Target,
    reading: Mutex<Option<(Timestamp, Instant, SystemTime)>>,
}

impl<'a> Clock<'a> {
    fn new(target: &'a Target) -> Self {
        Self {
            target,
            reading: Mutex::new(None),
        }
    }

    /// The current time, up to a second late.
    async fn now(&self) -> Result<Timestamp, Problem> {
        let mut reading = self.reading.lock().await;
        if let Some((server, at, wall)) = *reading {
            // A machine that was suspended meanwhile shows by its wall clock.
            let slept = wall.elapsed().unwrap_or(CLOCK_READING);
            let since = at.elapsed();
            if since < CLOCK_READING && slept < CLOCK_READING {
                return Ok(server + since);
            }
        }
        let (client, table) = (&self.target.client, &self.target.feedback);
        let server = patiently(async || dynamo::server_time(client, table).await).await?;
        *reading = Some((server, Instant::now(), SystemTime::now()));
        Ok(server)
    }
}
