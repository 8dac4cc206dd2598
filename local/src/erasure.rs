//! The command `erase`.

use indicatif::{ProgressBar, ProgressStyle};
use shared::config::Config;
use shared::dynamo;
use shared::erasure::{Eraser, Phase, Progress, UserName};
use shared::id::Workspace;
use shared::problem::Problem;
use shared::tables::{FEEDBACK, STATS};

use crate::args::Erase;
use crate::stats::{LOOKS, STANDSTILL, find};
use crate::stream;

/// Erases a user and returns what to print. The error is what to print before failing.
///
/// # Errors
///
/// A line to print.
pub async fn run(erase: Erase) -> Result<String, String> {
    let workspace = Workspace::parse(&erase.workspace)
        .ok_or_else(|| format!("--workspace: expected {}", Workspace::EXPECTED))?;
    let user = UserName::parse(&erase.user).ok_or("--user: expected 1 to 512 bytes")?;
    let place = find(&erase.place).await?;
    let config = Config::of_tables([(&FEEDBACK, place.feedback.clone()), (&STATS, place.stats.clone())]);
    let eraser = Eraser::new(place.client.clone(), &config).map_err(|error| error.to_string())?;
    let line = |problem: Problem| format!("{}; run it again to go on", problem.log_message());
    // The clock of this machine may be wrong.
    let now = async || {
        dynamo::server_time(&place.client, &place.stats)
            .await
            .map_err(line)
    };
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{pos} records deleted, {per_sec}; {msg}") {
        bar.set_style(style);
    }
    let (mut progress, mut idle) = (Progress::beginning(now().await?), 0);
    loop {
        let before = progress;
        progress = eraser
            .advance(&workspace, &user, before, now().await?)
            .await
            .map_err(line)?;
        bar.set_position(progress.records);
        bar.set_message(match progress.phase {
            Phase::Records => "waiting until every earlier write has landed",
            Phase::Counts | Phase::Done => "waiting until the deletions are counted",
        });
        if progress.phase == Phase::Done {
            break;
        }
        if progress.records > before.records {
            continue;
        }
        if let Some((engine, counter)) = &place.counting {
            // The server, if it runs, may be at it too. What one fails at, the other does.
            let _ = stream::drain(engine, counter).await;
        }
        idle = if progress == before { idle + 1 } else { 0 };
        if idle > STANDSTILL * LOOKS {
            return Err(format!(
                "deleted {} records, but the user's roll-ups still count some: if counting works (look at the alarms), \
                 run `stats verify` and `stats rebuild`, then erase again",
                progress.records
            ));
        }
        tokio::time::sleep(place.margin / LOOKS).await;
    }
    bar.finish();
    Ok(format!(
        "Erased the user: deleted {} records, {} roll-ups and {} parked changes. Backups and the stream hold nothing of \
         them after {}.",
        progress.records,
        progress.rollups,
        progress.parked,
        Progress::gone_at(now().await?)
    ))
}
