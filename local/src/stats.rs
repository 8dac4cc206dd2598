//! The command `stats`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use indicatif::{ProgressBar, ProgressStyle};
use shared::config::Config;
use shared::problem::Problem;
use shared::stats::count::Counter;
use shared::stats::generation::Generation;
use shared::stats::image::Counted;
use shared::stats::rebuild::{Progress, Rebuild};
use shared::stats::rollup::{Rollup, counters};
use shared::stats::tally::Tally;
use shared::stats::verify::Tables;
use shared::tables::{FEEDBACK, STATS};
use shared::timestamp::Timestamp;

use crate::args::{Stats, StatsAction, StatsPlace};
use crate::data::DataDir;
use crate::dynamodb::Engine;
use crate::stack::Account;
use crate::stream;

/// How many differences are shown.
const SHOWN: usize = 20;

/// How long counting may go on with generations it has read: a little more than the longest an
/// invocation of `aggregate` may take, and than the local server takes for a batch.
const DEPLOYED_MARGIN: Duration = Duration::from_secs(75);
const LOCAL_MARGIN: Duration = Duration::from_secs(5);

/// How often within a margin it is looked whether the touches are counted, and after how many
/// margins without one it is not waited for any longer.
const LOOKS: u32 = 10;
const STANDSTILL: u32 = 10;

/// Where the numbers are.
struct Place {
    client: Client,
    feedback: String,
    stats: String,
    margin: Duration,
    /// What counts the changes here, where a server may not run that does.
    counting: Option<(Engine, Counter)>,
}

/// Does what was asked and returns what to print. The error is what to print before failing.
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
    }
}

async fn find(place: &StatsPlace) -> Result<Place, String> {
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
        let feedback = account.table(name, "FeedbackTable").await?;
        let stats = account.table(name, "StatsTable").await?;
        let client = account.dynamodb()?;
        return Ok(deployed(client, feedback, stats));
    }
    let engine = DataDir::existing(&place.data_dir)?.database()?;
    let client = engine.patient_client();
    let config = Config::embedded().map_err(|error| error.to_string())?;
    Ok(Place {
        feedback: FEEDBACK.name.to_owned(),
        stats: STATS.name.to_owned(),
        margin: LOCAL_MARGIN,
        counting: Some((engine, Counter::new(client.clone(), Arc::new(config)))),
        client,
    })
}

async fn rebuild(place: Place) -> Result<String, String> {
    let line = |problem: Problem| problem.log_message();
    let rebuild = Rebuild::new(place.client.clone(), &place.feedback, &place.stats);
    let generation = rebuild
        .begin(place.margin, Timestamp::now())
        .await
        .map_err(line)?;
    eprintln!("Generation {} of the roll-ups is being made.", generation.number);
    wait_until(generation.since).await;
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
    let done = format!(
        "{touched} records are counted anew, in generation {}; {cleared} roll-ups of before are deleted.",
        generation.number
    );
    Ok(match missing {
        0 => done,
        missing => format!(
            "{done}\n{missing} of them were not counted, although counting stood still: look at the on-failure queue, and \
             at what `stats verify` says."
        ),
    })
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

async fn wait_until(moment: Timestamp) {
    let now = Timestamp::now();
    if let Some(wait) = moment.millis().checked_sub(now.millis()) {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

async fn verify(tables: &Tables) -> Result<String, String> {
    let generation = tables
        .generation()
        .await
        .map_err(|problem| problem.log_message())?;
    let (mut expected, mut records) = (BTreeMap::<Rollup, Tally>::new(), 0_u64);
    tables
        .each_record(|feedback| {
            records += 1;
            for (rollup, tally) in Counted::from_feedback(&feedback).contributions(generation) {
                *expected.entry(rollup).or_default() += &tally;
            }
        })
        .await
        .map_err(|problem| problem.log_message())?;
    let mut differences = Vec::new();
    let mut rollups = 0_u64;
    tables
        .each_rollup(generation, |rollup, tally| {
            rollups += 1;
            let due = expected.remove(&rollup).unwrap_or_default();
            if counters(&due) != counters(&tally) {
                differences.push(difference(&rollup, &due, &tally));
            }
        })
        .await
        .map_err(|problem| problem.log_message())?;
    // What is left was never counted.
    let missing = expected.iter().filter(|(_, due)| !due.is_zero());
    differences.extend(missing.map(|(rollup, due)| difference(rollup, due, &Tally::default())));
    if differences.is_empty() {
        return Ok(format!(
            "The numbers agree: {records} records, {rollups} roll-ups."
        ));
    }
    let mut text = format!(
        "{} roll-ups do not agree with {records} records:",
        differences.len()
    );
    for line in differences.iter().take(SHOWN) {
        text = format!("{text}\n  {line}");
    }
    if differences.len() > SHOWN {
        text = format!("{text}\n  and {} more", differences.len() - SHOWN);
    }
    Err(format!(
        "{text}\nChanges of the last moments may not be counted yet; if it stays so, the stream was missed."
    ))
}

fn difference(rollup: &Rollup, due: &Tally, counted: &Tally) -> String {
    let numbers = |tally: &Tally| {
        let (votes, ratings, sum) = (tally.count(), tally.rated(), tally.weighted);
        format!("{votes} votes, {ratings} ratings, weighted sum {sum}")
    };
    format!(
        "{} {} {} of {} by {}: the records say {}, the roll-up {}",
        rollup.workspace,
        rollup.granularity.name(),
        rollup.bucket,
        if rollup.value.is_empty() {
            "everything".to_owned()
        } else {
            format!("{:?}", rollup.value)
        },
        rollup.dimension.name(),
        numbers(due),
        numbers(counted),
    )
}
