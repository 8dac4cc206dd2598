//! The command `stats`.

use std::collections::BTreeMap;

use shared::stats::image::Counted;
use shared::stats::rollup::{Rollup, counters};
use shared::stats::tally::Tally;
use shared::stats::verify::Tables;

use crate::args::{Stats, StatsAction, StatsPlace};
use crate::data::DataDir;

/// How many differences are shown.
const SHOWN: usize = 20;

/// Does what was asked and returns what to print. The error is what to print before failing.
pub async fn run(stats: Stats) -> Result<String, String> {
    match stats.action {
        StatsAction::Verify { place } => verify(&tables(&place).await?).await,
    }
}

async fn tables(place: &StatsPlace) -> Result<Tables, String> {
    match (&place.feedback_table, &place.stats_table) {
        (Some(feedback), Some(stats)) => Ok(Tables::new(
            shared::dynamo::client().await,
            feedback.clone(),
            stats.clone(),
        )),
        _ => {
            let engine = DataDir::existing(&place.data_dir)?.database()?;
            let (feedback, stats) = (shared::tables::FEEDBACK.name, shared::tables::STATS.name);
            Ok(Tables::new(engine.patient_client(), feedback, stats))
        }
    }
}

async fn verify(tables: &Tables) -> Result<String, String> {
    let (mut expected, mut records) = (BTreeMap::<Rollup, Tally>::new(), 0_u64);
    tables
        .each_record(|feedback| {
            records += 1;
            for (rollup, tally) in Counted::from_feedback(&feedback).contributions() {
                *expected.entry(rollup).or_default() += &tally;
            }
        })
        .await
        .map_err(|problem| problem.log_message())?;
    let mut differences = Vec::new();
    let mut rollups = 0_u64;
    tables
        .each_rollup(|rollup, tally| {
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
