//! How analytics grow with the number of records: time and read units of each query at 10,000, 100,000 and
//! 1,000,000 records.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use local::demo::generator::{
    Generator, Mix, Phase, Prompt, Question, Scale as Answers, Sides, Words, World,
};
use shared::problem::Problem;
use shared::stats::count::Counter;
use shared::tables::STATS;
use shared::timestamp::Timestamp;

use crate::metered::Metered;

/// The numbers of records at which the queries are sent.
pub const STAGES: [usize; 3] = [10_000, 100_000, 1_000_000];

/// The days of the records: October 2026.
const FROM: &str = "2026-10-01T00:00:00Z";
const DAYS: u64 = 30;

/// The number of records that one transaction writes.
const BULK: usize = 100;

/// The number of records after which the stream is counted.
const COUNTED: usize = 20_000;

/// The queries: a title, what the response is computed from, path and query.
const QUERIES: [(&str, &str, &str); 10] = [
    (
        "votes by day, a month",
        "roll-ups",
        "graphs/feedbacks?time_of_generation_min=2026-10-01T00:00:00Z&time_of_generation_max=2026-10-31T00:00:00Z",
    ),
    (
        "votes by hour, two days",
        "roll-ups",
        "graphs/feedbacks?time_of_generation_min=2026-10-10T00:00:00Z&time_of_generation_max=2026-10-12T00:00:00Z",
    ),
    (
        "score distribution, a month",
        "roll-ups",
        "graphs/feedbacks/scores?time_of_generation_min=2026-10-01T00:00:00Z&time_of_generation_max=2026-10-31T00:00:00Z",
    ),
    (
        "weighted average, a month",
        "roll-ups",
        "graphs/feedbacks/weighted?time_of_generation_min=2026-10-01T00:00:00Z&time_of_generation_max=2026-10-31T00:00:00Z",
    ),
    (
        "by model, a month",
        "roll-ups",
        "graphs/feedbacks/ai-models?time_of_generation_min=2026-10-01T00:00:00Z&time_of_generation_max=2026-10-31T00:00:00Z",
    ),
    (
        "one prompt, a month",
        "roll-ups",
        "graphs/feedbacks?prompt_slug=prompt-3&time_of_generation_min=2026-10-01T00:00:00Z&time_of_generation_max=2026-10-31T00:00:00Z",
    ),
    (
        "grouped by prompt, a month",
        "roll-ups",
        "groups/metadata/_prompt?time_of_generation_min=2026-10-01T00:00:00Z&time_of_generation_max=2026-10-31T00:00:00Z",
    ),
    (
        "grouped by user, a day",
        "roll-ups, as many as the day had users",
        "groups/metadata/_user?time_of_generation_min=2026-10-10T00:00:00Z&time_of_generation_max=2026-10-11T00:00:00Z",
    ),
    (
        "ten days, ragged ends",
        "roll-ups, and the records of 64 seconds",
        "graphs/feedbacks?time_of_generation_min=2026-10-01T00:34:56Z&time_of_generation_max=2026-10-11T00:18:00Z",
    ),
    (
        "one trace, a month",
        "records",
        "graphs/feedbacks?trace_id=trace-7&time_of_generation_min=2026-10-01T00:00:00Z&time_of_generation_max=2026-10-31T00:00:00Z",
    ),
];

/// The results of one query at each stage.
#[derive(Clone, Debug)]
pub struct Row {
    title: &'static str,
    source: &'static str,
    answers: Vec<(Duration, f64)>,
}

/// The results of loading and querying.
#[derive(Clone, Debug)]
pub struct Scale {
    rows: Vec<Row>,
    stages: Vec<(usize, Duration, Duration)>,
}

/// Loads up to `most` records, and sends the queries at each stage.
///
/// # Errors
///
/// If a record is not stored or counted, or a response is not a 200.
pub async fn measure(most: usize) -> io::Result<Scale> {
    let failed = |problem: Problem| io::Error::other(problem.log_message());
    let metered = Metered::new().await?;
    let counter = Counter::new(metered.client.clone(), STATS.name);
    let mut generator = Generator::new(world(), 20_261_001);
    let mut scale = Scale {
        rows: QUERIES
            .iter()
            .map(|&(title, source, _)| Row {
                title,
                source,
                answers: Vec::new(),
            })
            .collect(),
        stages: Vec::new(),
    };
    let from = Timestamp::parse(FROM).ok_or_else(|| io::Error::other("no time"))?;
    let length = DAYS * 24 * 60 * 60 * 1000;
    let mut stored = 0;
    for stage in STAGES.into_iter().filter(|stage| *stage <= most) {
        let began = Instant::now();
        let mut counting = Duration::ZERO;
        let (before, added) = (stored, stage - stored);
        while stored < stage {
            let count = BULK.min(stage - stored);
            // Spread evenly over the whole time, so that every range grows with each stage.
            let place = length * (stored - before) as u64 / added as u64;
            let now = Timestamp::from_millis(from.millis() + place);
            let drafts = (0..count)
                .map(|_| {
                    let visit = generator.visit(0.0);
                    generator.vote(&visit)
                })
                .collect::<Result<_, _>>()
                .map_err(failed)?;
            metered
                .store
                .create(&metered.writer, drafts, now)
                .await
                .map_err(failed)?;
            stored += count;
            if stored.is_multiple_of(COUNTED) || stored == stage {
                let began = Instant::now();
                local::stream::drain(&metered.engine, &counter)
                    .await
                    .map_err(io::Error::other)?;
                counting += began.elapsed();
                // A stream forgets changes after a day. Keeping them would take as much memory as the
                // records.
                let tomorrow = Timestamp::now() + Duration::from_secs(2 * 24 * 60 * 60);
                metered.engine.trim_stream(tomorrow).map_err(io::Error::other)?;
            }
        }
        scale.stages.push((stage, began.elapsed() - counting, counting));
        eprintln!("{stage} records are stored and counted.");
        for (row, (_, _, query)) in scale.rows.iter_mut().zip(QUERIES) {
            row.answers.push(metered.ask(query).await?);
        }
    }
    Ok(scale)
}

/// A world with a realistic distribution: seven in ten votes are thumbs, few users give most of them, and four
/// models and twenty prompts share them unevenly. It is plain, so that what is measured is what is asked.
fn world() -> World {
    static WORDS: Words = Words {
        comments: Sides::NONE,
        reasons: Sides::NONE,
        samples: &[],
    };
    let question = |scale| Question {
        name: None,
        scale,
        weights: Mix::weighted(2.0, 1.0).or(1.0, 0.5).or(1.0, 0.1),
        upserted: false,
    };
    World {
        prompts: Mix::skewed(20, |number| {
            Arc::new(Prompt {
                name: format!("prompt-{number}"),
                questions: Mix::weighted(7.0, question(Answers::Thumbs(10))).or(3.0, question(Answers::Even)),
                phase: Phase {
                    version: None,
                    models: Mix::skewed(4, |number| format!("model-{number}")),
                    liked: 5.0 / 7.0,
                },
                later: Vec::new(),
                words: &WORDS,
            })
        }),
        users: 5_000,
        user: |number| format!("user-{number}"),
        organisation: None,
        bias: 0.0,
        environments: Mix::weighted(2.0, "production").or(1.0, "staging"),
        channels: None,
        session: None,
        trace: |rng| format!("trace-{}", rng.u32(..500_000)),
    }
}

impl Scale {
    /// The results as two tables: the time to load, and the time and read units of each query.
    pub fn table(&self) -> String {
        let mut table = String::from("| Records | stored in s | counted in s |\n|--:|--:|--:|\n");
        for (stage, stored, counted) in &self.stages {
            let _ = writeln!(
                table,
                "| {stage} | {:.0} | {:.0} |",
                stored.as_secs_f64(),
                counted.as_secs_f64()
            );
        }
        table.push_str("\n| Query | computed from |");
        let mut line = String::from("\n|---|---|");
        for unit in ["ms", "read units"] {
            for (stage, ..) in &self.stages {
                let _ = write!(table, " {unit} at {stage} |");
                line.push_str("--:|");
            }
        }
        table.push_str(&line);
        for row in &self.rows {
            let _ = write!(table, "\n| {} | {} |", row.title, row.source);
            for (took, _) in &row.answers {
                let _ = write!(table, " {:.2} |", took.as_secs_f64() * 1000.0);
            }
            for (_, units) in &row.answers {
                let _ = write!(table, " {units:.1} |");
            }
        }
        table.push('\n');
        table
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::indexed::Field;
    use shared::metadata::model;
    use shared::score::Score;

    use super::*;

    #[test]
    fn votes_have_the_distribution_that_the_results_are_of() -> Result<(), Problem> {
        let mut generator = Generator::new(world(), 1);
        let (mut thumbs, mut early) = (0, 0);
        let (mut prompts, mut models) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..10_000 {
            let visit = generator.visit(0.0);
            let draft = generator.vote(&visit)?;
            let indexed = draft.indexed();
            thumbs += u32::from(matches!(draft.score, Score::Value(value, _) if value.get().abs() == 10));
            let user: Option<u32> = indexed
                .get(Field::User)
                .and_then(|user| user.strip_prefix("user-")?.parse().ok());
            early += u32::from(user.is_some_and(|user| user < 1_000));
            *prompts
                .entry(indexed.get(Field::Prompt).map(str::to_owned))
                .or_insert(0) += 1;
            *models.entry(model(draft.metadata.as_ref())).or_insert(0) += 1;
        }
        // Two in twenty-one of the other three tenths are thumbs by chance.
        assert!((7_100..7_500).contains(&thumbs), "{thumbs}");
        // The cube root of a fifth is 0.585.
        assert!((5_600..6_100).contains(&early), "{early}");
        assert_eq!((prompts.len(), models.len()), (20, 4));
        assert!(
            (3_500..3_900).contains(&prompts[&Some("prompt-0".to_owned())]),
            "{prompts:?}"
        );
        assert!((6_100..6_500).contains(&models["model-0"]), "{models:?}");
        Ok(())
    }
}
