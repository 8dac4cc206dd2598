//! The command `stats`.

use std::fmt::{self, Write as _};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use indicatif::{ProgressBar, ProgressStyle};
use shared::problem::Problem;
use shared::stats::count::{Counter, Recounted};
use shared::stats::generation::Generation;
use shared::stats::parked::Parked;
use shared::stats::rebuild::{Progress, Rebuild};
use shared::stats::rollup::Slots;
use shared::stats::tally::Tally;
use shared::stats::verify::{Comparison, Difference, Tables, UnreadableItem};
use shared::tables::{FEEDBACK, STATS};

use crate::args::{Stats, StatsAction, StatsPlace};
use crate::data::DataDir;
use crate::dynamodb::Engine;
use crate::stack::Account;
use crate::stream;

/// How many differences, parked changes and unreadable records are shown of each.
const SHOWN: usize = 100;

/// How far ahead of DynamoDB's clock a generation begins: more than the clocks of writers are, and
/// than an invocation of `aggregate` may take, which goes on with the generations it has read.
const DEPLOYED_MARGIN: Duration = Duration::from_secs(75);
const LOCAL_MARGIN: Duration = Duration::from_secs(5);

/// How often within a margin it is looked whether the touches are counted, and after how many
/// margins without one it is not waited for any longer.
pub(crate) const LOOKS: u32 = 10;
pub(crate) const STANDSTILL: u32 = 10;

/// Where the numbers are.
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) feedback: String,
    pub(crate) stats: String,
    pub(crate) margin: Duration,
    /// What counts the changes here, where a server may not run that does.
    pub(crate) counting: Option<(Engine, Counter)>,
}

/// Does what was asked and returns what to print. The error is what to print before failing.
///
/// # Errors
///
/// A line to print.
pub async fn run(stats: Stats) -> Result<String, String> {
    match stats.action {
        StatsAction::Verify { place } => {
            let Place {
                client,
                feedback,
                stats,
                ..
            } = find(&place).await?;
            verify(&Tables::new(client, feedback, stats)).await
        }
        StatsAction::Rebuild { place } => rebuild(find(&place).await?).await,
        StatsAction::CountParked { place } => count_parked(find(&place).await?).await,
    }
}

pub(crate) async fn find(place: &StatsPlace) -> Result<Place, String> {
    let deployed = |client, feedback, stats| Place {
        client,
        feedback,
        stats,
        margin: DEPLOYED_MARGIN,
        counting: None,
    };
    if let (Some(feedback), Some(stats)) = (&place.feedback_table, &place.stats_table) {
        return Ok(deployed(
            Account::find().await?.dynamodb()?,
            feedback.clone(),
            stats.clone(),
        ));
    }
    if let Some(name) = &place.stack {
        let account = Account::find().await?;
        let feedback = account.resource(name, "FeedbackTable").await?;
        let stats = account.resource(name, "StatsTable").await?;
        let client = account.dynamodb()?;
        return Ok(deployed(client, feedback, stats));
    }
    let engine = DataDir::existing(&place.data_dir)?.database()?;
    let client = engine.patient_client();
    Ok(Place {
        feedback: FEEDBACK.name.to_owned(),
        stats: STATS.name.to_owned(),
        margin: LOCAL_MARGIN,
        counting: Some((engine, Counter::new(client.clone(), STATS.name))),
        client,
    })
}

async fn rebuild(place: Place) -> Result<String, String> {
    let line = |problem: Problem| problem.log_message();
    let rebuild = Rebuild::new(place.client.clone(), &place.feedback, &place.stats);
    let generation = rebuild.begin(place.margin).await.map_err(line)?;
    eprintln!(
        "Generation {} of the roll-ups is being built. It begins at {}; waiting until every earlier write has landed.",
        generation.number, generation.since
    );
    rebuild.wait_for_writes(generation).await.map_err(line)?;
    // An estimate that DynamoDB makes every six hours: enough for a bar.
    let described = place
        .client
        .describe_table()
        .table_name(&place.feedback)
        .send()
        .await;
    let count = described
        .ok()
        .and_then(|table| table.table?.item_count)
        .unwrap_or_default();
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or_default());
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos} of about {len} records, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    rebuild
        .touch(generation, |records| {
            bar.inc(u64::try_from(records).unwrap_or_default());
        })
        .await
        .map_err(|problem| format!("{}; call it again to go on", problem.log_message()))?;
    bar.finish();
    let missing = wait_until_counted(&place, &rebuild, generation).await?;
    rebuild.finish(generation).await.map_err(line)?;
    tokio::time::sleep(place.margin).await;
    let cleared = rebuild.clear(generation).await.map_err(line)?;
    let touched = bar.position();
    let mut done = format!(
        "Recounted {touched} records into generation {}, and deleted {cleared} roll-ups of earlier ones.",
        generation.number
    );
    if missing > 0 {
        let _ = write!(
            done,
            "\n{missing} of them are not counted yet, and counting stands still: look at the alarms and the on-failure \
             queue, then run `stats verify`."
        );
    }
    Ok(done)
}

async fn count_parked(place: Place) -> Result<String, String> {
    let counter = Counter::new(place.client.clone(), &place.stats);
    let Recounted { counted, left } = counter
        .count_parked()
        .await
        .map_err(|problem| format!("{}; run it again to go on", problem.log_message()))?;
    if left.is_empty() {
        return Ok(format!("Counted {counted} parked changes; none are left."));
    }
    Err(format!(
        "Counted {counted} parked changes; this version cannot read {}:{}",
        left.len(),
        Shown(&left, parked_line)
    ))
}

/// Waits until the touches are counted: until then, the numbers of the new generation are short.
/// Returns how many are missing after nothing was counted for [`STANDSTILL`] margins.
async fn wait_until_counted(place: &Place, rebuild: &Rebuild, generation: Generation) -> Result<u64, String> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} counted, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    let mut idle = 0;
    loop {
        if let Some((engine, counter)) = &place.counting {
            // The server, if it runs, may be at it too. What one fails at, the other does.
            let _ = stream::drain(engine, counter).await;
        }
        let Progress { touched, counted } = rebuild
            .progress(generation)
            .await
            .map_err(|problem| format!("{}; call it again to go on", problem.log_message()))?;
        bar.set_length(touched);
        idle = if counted > bar.position() { 0 } else { idle + 1 };
        bar.set_position(counted);
        if counted >= touched || idle > STANDSTILL * LOOKS {
            bar.finish();
            return Ok(touched.saturating_sub(counted));
        }
        tokio::time::sleep(place.margin / LOOKS).await;
    }
}

async fn verify(tables: &Tables) -> Result<String, String> {
    let comparison = tables.compare().await.map_err(|problem| problem.log_message())?;
    report(&comparison)
}

/// What a comparison says. The error is one that says what is off.
fn report(comparison: &Comparison) -> Result<String, String> {
    let Comparison {
        records,
        rollups,
        differences,
        parked,
        unreadable,
        unreadable_rollups,
    } = comparison;
    let mut text = if comparison.agrees() {
        format!("The roll-ups agree: {records} records, {rollups} roll-ups.")
    } else {
        format!(
            "{} roll-ups do not agree with {records} records:",
            differences.len()
        )
    };
    let _ = write!(text, "{}", Shown(differences, difference_line));
    if !unreadable_rollups.is_empty() {
        let _ = write!(
            text,
            "\n{} roll-ups cannot be read:{}",
            unreadable_rollups.len(),
            Shown(unreadable_rollups, String::clone)
        );
    }
    if !unreadable.is_empty() {
        let _ = write!(
            text,
            "\n{} records cannot be read, and are left out:{}",
            unreadable.len(),
            Shown(unreadable, unreadable_line)
        );
    }
    if !parked.is_empty() {
        let _ = write!(
            text,
            "\n{} changes are parked, and not counted; run `stats count-parked` with a version that can read them:{}",
            parked.len(),
            Shown(parked, parked_line)
        );
    }
    if !comparison.agrees() {
        text.push_str(
            "\nChanges of the last moments may not be counted yet. If it stays so, run `stats rebuild`.",
        );
    }
    if comparison.is_complete() {
        Ok(text)
    } else {
        Err(text)
    }
}

/// The first [`SHOWN`] of these, a line each.
pub(crate) struct Shown<'a, T>(pub(crate) &'a [T], pub(crate) fn(&T) -> String);

impl<T> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in self.0.iter().take(SHOWN) {
            write!(f, "\n  {}", self.1(one))?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

pub(crate) fn parked_line(parked: &Parked) -> String {
    format!(
        "shard {}, sequence number {}: {}",
        parked.shard, parked.sequence.0, parked.reason
    )
}

fn unreadable_line(item: &UnreadableItem) -> String {
    format!("{}: {}", item.key, item.reason)
}

fn difference_line(difference: &Difference) -> String {
    let Difference { rollup, due, counted } = difference;
    let sum = |slots: &Slots| {
        let mut sum = Tally::default();
        for tally in slots.values() {
            sum += tally;
        }
        format!(
            "{} votes, {} ratings, weighted sum {}",
            sum.count(),
            sum.rated(),
            sum.weighted
        )
    };
    format!(
        "workspace {}, {} from {}, {} {}: expected {}, got {}",
        rollup.workspace,
        rollup.series.name(),
        rollup.start,
        rollup.dimension.name(),
        if rollup.value.is_empty() {
            "votes".to_owned()
        } else {
            format!("{:?}", rollup.value)
        },
        sum(due),
        sum(counted),
    )
}
