//! The command `export`: all records of a workspace that match a filter, as JSON Lines or CSV.
//!
//! It reads as lists do, by the index that the filter chooses; without a filter that is `by-time`. So it reads one
//! workspace and one time range instead of scanning the table, and the records come in the order of their ids:
//! the last id is all that an interrupted export needs to go on.

mod csv;
mod part;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use shared::config::Config;
use shared::dialect::portkey;
use shared::dynamo;
use shared::feedback::Feedback;
use shared::id::{FeedbackId, Workspace};
use shared::invocation::Invocation;
use shared::problem::Problem;
use shared::query::Filter;
use shared::stats::rebuild::{CLOCK_SKEW, WRITE_TIME};
use shared::store::Store;
use shared::store::read::walk::{Step, Walk};
use shared::tables::FEEDBACK;
use shared::timestamp::Timestamp;

use self::part::Part;
use crate::args::Export;
use crate::console;
use crate::data::{DataDir, WORKSPACE};
use crate::pace::{Pace, WAITS};
use crate::stack::Account;

/// The read units a second that a deployed table is read with unless told otherwise: a sixth of the 3,000 that one
/// partition takes, and a twenty-fourth of the 12,000 that a table on demand takes from the start
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html).
pub const READ_UNITS: u32 = 500;

/// How many records are read between two saves of the position.
const SAVED: u64 = 5_000;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object per line, as the API returns it
    Jsonl,
    /// Comma-separated values (RFC 4180)
    Csv,
}

impl Format {
    /// What comes before the first record.
    fn head(self) -> Vec<u8> {
        match self {
            Self::Jsonl => Vec::new(),
            Self::Csv => csv::head(),
        }
    }

    fn render(self, feedback: &Feedback) -> Vec<u8> {
        match self {
            // A line break in a record can only stand between two tokens of the caller's metadata, where a space
            // is as good.
            Self::Jsonl => {
                format!("{}\n", portkey::render_one(feedback).replace(['\n', '\r'], " ")).into_bytes()
            }
            Self::Csv => csv::row(feedback),
        }
    }
}

/// What to export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The format.
    pub format: Format,
    /// The table of feedback, and the directory if it is local.
    pub table: String,
    /// The workspace.
    pub workspace: String,
    /// The filter, by the names of the list's parameters.
    pub filter: BTreeMap<String, String>,
}

impl Request {
    fn parse(&self) -> Result<(Workspace, Filter), String> {
        let workspace = Workspace::parse(&self.workspace).ok_or_else(|| {
            format!(
                "--workspace: expected {}, got {:?}",
                Workspace::EXPECTED,
                self.workspace
            )
        })?;
        let pairs: Vec<(String, String)> = self.filter.clone().into_iter().collect();
        let query = portkey::parse_list(&pairs).map_err(|problem| option_faults(&problem))?;
        Ok((workspace, query.filter))
    }
}

/// The faults of a list's parameters, as those of options.
fn option_faults(problem: &Problem) -> String {
    let Problem::Invalid(faults) = problem else {
        return problem.log_message();
    };
    let option = |name: &str| format!("--{}", name.replace('_', "-"));
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| fault.message.replacen(&fault.field, &option(&fault.field), 1))
        .collect();
    lines.join("; ")
}

/// Where the records are.
#[derive(Clone, Debug)]
pub struct Source {
    /// A client of the database.
    pub client: Client,
    /// The name of the table of feedback.
    pub table: String,
    /// How long after its creation time a record may be missing from its index. Without `--to`, an export ends so
    /// long before it began.
    pub margin: Duration,
    /// The maximum read units per second, if they are limited.
    pub max_read_units: Option<u32>,
}

/// Where an export goes.
pub enum Output<'a> {
    /// A file, which can be continued.
    File(&'a Path),
    /// A stream, such as standard output.
    Stream(&'a mut dyn Write),
}

/// Runs the command until it is done or `stop` completes, and returns what to say of it.
///
/// # Errors
///
/// One line to print.
pub async fn run(export: Export, stop: impl Future<Output = ()>) -> Result<String, String> {
    let (mut source, label) = find(&export).await?;
    source.max_read_units = export.max_read_units.or(source.max_read_units);
    let is_local = export.place.stack.is_none() && export.place.feedback_table.is_none();
    let workspace = match export.workspace {
        Some(workspace) => workspace,
        None if is_local => WORKSPACE.to_owned(),
        None => return Err("--workspace: missing; `keys list` shows the workspaces of a stack".to_owned()),
    };
    let request = Request {
        format: export.format,
        table: label,
        workspace,
        filter: export.filters.pairs(),
    };
    let mut stdout = BufWriter::new(io::stdout());
    let output = match &export.output {
        Some(path) => Output::File(path),
        None => Output::Stream(&mut stdout),
    };
    let bar = match export.output {
        // It would be drawn between the records.
        None if io::stdout().is_terminal() => {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        }
        // It is drawn only on a terminal.
        _ => ProgressBar::new(0),
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}, {elapsed} elapsed, {eta} left") {
        bar.set_style(style);
    }
    let done = write(&source, &request, output, &bar, stop).await;
    bar.finish_and_clear();
    let records = done?;
    Ok(match &export.output {
        Some(path) => format!("Exported {records} records to {}.", path.display()),
        None => format!("Exported {records} records."),
    })
}

/// The database to read, and what it is called in the saved position.
async fn find(export: &Export) -> Result<(Source, String), String> {
    let place = &export.place;
    let deployed = |client, table: String| Source {
        client,
        table,
        margin: WRITE_TIME + CLOCK_SKEW,
        max_read_units: Some(READ_UNITS),
    };
    let source = match (&place.feedback_table, &place.stack) {
        (Some(table), _) => deployed(Account::find().await?.dynamodb()?, table.clone()),
        (None, Some(stack)) => {
            let account = Account::find().await?;
            let table = account.resource(stack, "FeedbackTable").await?;
            deployed(account.dynamodb()?, table)
        }
        (None, None) => {
            let source = Source {
                client: DataDir::existing(&place.data_dir)?.database()?.patient_client(),
                table: FEEDBACK.name.to_owned(),
                margin: Duration::ZERO,
                max_read_units: None,
            };
            let directory = std::path::absolute(&place.data_dir).unwrap_or_else(|_| place.data_dir.clone());
            return Ok((source, directory.display().to_string()));
        }
    };
    let label = source.table.clone();
    Ok((source, label))
}

/// Writes the records that a request asks for, and returns how many there are. A file has the name that was asked
/// for once it is complete. If `stop` completes first, or reading fails for long, the same call goes on from there.
///
/// # Errors
///
/// One line to print.
pub async fn write(
    source: &Source,
    request: &Request,
    output: Output<'_>,
    bar: &ProgressBar,
    stop: impl Future<Output = ()>,
) -> Result<u64, String> {
    let (workspace, mut filter) = request.parse()?;
    let mut sink = match output {
        Output::File(path) => Sink::File(Box::new(Part::open(path, request)?)),
        Output::Stream(stream) => Sink::Stream(stream),
    };
    let now = dynamo::server_time(&source.client, &source.table)
        .await
        .map_err(|problem| problem.log_message())?;
    let mut position = match sink.resumed() {
        Some(position) => {
            console::report(format_args!("going on after {} records", position.records));
            position
        }
        None => {
            sink.write(&request.format.head()).map_err(unwritten)?;
            let settled = source.settled(now);
            Position {
                until: filter.to.map_or(settled, |to| to.min(settled)),
                records: 0,
                last: None,
            }
        }
    };
    filter.to = Some(position.until);
    let mut reader = Reader::new(source, &workspace, filter, position.last, now)?;
    let mut stop = pin!(stop);
    let mut unsaved = 0;
    loop {
        let step = tokio::select! {
            biased;
            () = &mut stop => Err("interrupted".to_owned()),
            step = reader.next() => step.map_err(|problem| problem.log_message()),
        };
        let (id, written) = match step {
            Ok(None) => break,
            Ok(Some(Step::Skipped(id))) => (id, Ok(())),
            Ok(Some(Step::Matched(record))) => {
                position.records += 1;
                (record.id, sink.write(&request.format.render(&record)))
            }
            Err(cause) => {
                sink.save(&position).map_err(unwritten)?;
                let again = match sink {
                    Sink::File(_) => "; run the same command again to go on",
                    Sink::Stream(_) => "",
                };
                return Err(format!("{cause} after {} records{again}", position.records));
            }
        };
        position.last = Some(id);
        unsaved += 1;
        let is_due = unsaved == SAVED;
        match written.and_then(|()| if is_due { sink.save(&position) } else { Ok(()) }) {
            Ok(()) => {}
            Err(error) if has_enough(&error) => return Ok(position.records),
            Err(error) => return Err(unwritten(error)),
        }
        if is_due {
            unsaved = 0;
        }
        show(bar, &position, id.created_at());
    }
    match sink.finish(&position) {
        Ok(()) => {}
        Err(error) if has_enough(&error) => return Ok(position.records),
        Err(error) => return Err(unwritten(error)),
    }
    match reader.walk.unreadable() {
        0 => Ok(position.records),
        count => Err(format!(
            "exported {} records, and left out {count} that cannot be read; `stats verify` names them",
            position.records
        )),
    }
}

fn unwritten(error: io::Error) -> String {
    format!("cannot write the export: {error}")
}

/// Whether the reader of a stream has closed it, as `head` does.
fn has_enough(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

impl Source {
    /// The time before which every record is in the indexes, given the time of DynamoDB, which is rounded down to
    /// the second.
    fn settled(&self, now: Timestamp) -> Timestamp {
        if self.margin.is_zero() {
            return now + Duration::from_secs(1);
        }
        let margin = u64::try_from(self.margin.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(now.millis().saturating_sub(margin))
    }
}

/// Reads records, no faster than it may and with patience.
struct Reader {
    store: Store,
    walk: Walk,
    metered: Invocation,
    pace: Pace,
    now: Timestamp,
}

impl Reader {
    fn new(
        source: &Source,
        workspace: &Workspace,
        filter: Filter,
        after: Option<FeedbackId>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let config = Config::of_tables([(&FEEDBACK, source.table.clone())]);
        let store = Store::new(source.client.clone(), &config).map_err(|error| error.to_string())?;
        Ok(Self {
            walk: store.walk(workspace, filter, after),
            store,
            metered: Invocation::new(None),
            pace: Pace::new(source.max_read_units),
            now,
        })
    }

    /// The next record. Waits and tries again while DynamoDB throttles or does not answer.
    async fn next(&mut self) -> Result<Option<Step>, Problem> {
        let mut waits = WAITS.iter();
        loop {
            self.pace.wait(self.metered.units().read).await;
            let step = self.store.step(&mut self.walk, self.now);
            match (self.metered.run(step).await, waits.next()) {
                (Err(Problem::Throttled | Problem::Unavailable { .. }), Some(wait)) => {
                    tokio::time::sleep(*wait).await;
                }
                (done, _) => return done,
            }
        }
    }
}

/// Shows how far the export is, by creation time: how many records follow is not known.
fn show(bar: &ProgressBar, position: &Position, reached: Timestamp) {
    if bar.length() == Some(0) {
        bar.set_length(reached.until(position.until).as_secs().max(1));
    }
    let left = reached.until(position.until).as_secs();
    bar.set_position(bar.length().unwrap_or_default().saturating_sub(left));
    if position.records.is_multiple_of(100) {
        let day = reached.to_string();
        bar.set_message(format!("{} records to {}", position.records, &day[..10]));
    }
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The time, in milliseconds since the epoch, before which exported records were created.
    #[serde(with = "millis")]
    until: Timestamp,
    /// How many records were written.
    records: u64,
    /// The last record that was looked at.
    #[serde(with = "id")]
    last: Option<FeedbackId>,
}

mod millis {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use shared::timestamp::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.millis())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(deserializer).map(Timestamp::from_millis)
    }
}

mod id {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use shared::id::FeedbackId;

    pub(super) fn serialize<S: Serializer>(
        id: &Option<FeedbackId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        id.map(FeedbackId::hyphenated).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<FeedbackId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| FeedbackId::parse(&text).ok_or_else(|| D::Error::custom(FeedbackId::EXPECTED)))
            .transpose()
    }
}

/// Where the bytes go.
enum Sink<'a> {
    File(Box<Part>),
    Stream(&'a mut dyn Write),
}

impl Sink<'_> {
    /// Where an earlier run of the same export stopped.
    fn resumed(&self) -> Option<Position> {
        match self {
            Self::File(part) => part.resumed(),
            Self::Stream(_) => None,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(part) => part.write(bytes),
            Self::Stream(stream) => stream.write_all(bytes),
        }
    }

    fn save(&mut self, position: &Position) -> io::Result<()> {
        match self {
            Self::File(part) => part.save(position),
            Self::Stream(stream) => stream.flush(),
        }
    }

    fn finish(self, position: &Position) -> io::Result<()> {
        match self {
            Self::File(part) => part.finish(position),
            Self::Stream(stream) => stream.flush(),
        }
    }
}
