//! `cargo run -- --demo`: a month of plausible feedback in a database in memory.
//!
//! The records are stored as if they had come through the API during the last thirty days, and are counted. That
//! goes past the stream and the counter, which would take minutes.

pub mod generator;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use fastrand::Rng;
use shared::access::key::KeyId;
use shared::dynamo::attributes::{AttributeValue, Item};
use shared::feedback::{Feedback, Writer};
use shared::id::Workspace;
use shared::problem::Problem;
use shared::stats::generation::{Generation, Generations};
use shared::stats::image::Counted;
use shared::stats::rollup::{Rollup, Slots, to_item};
use shared::store::item;
use shared::tables::{FEEDBACK, STATS};
use shared::timestamp::Timestamp;

use self::generator::{Generator, Mix, Phase, Prompt, Question, Scale, Visit, Words, World};
use crate::data;
use crate::dynamodb::Engine;

/// The number of votes of `--demo`.
pub const VOTES: usize = 8_000;

/// The seed of `--demo`.
pub const SEED: u64 = 20_261_121;

/// How far back the votes go.
pub const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The prompt that got worse a week before the end.
pub const WORSE: &str = "draft-reply";

/// The prompt with [`RARE_VOTES`] votes.
pub const RARE: &str = "welcome-tour";

/// How many votes the rare prompt has.
pub const RARE_VOTES: usize = 3;

/// How much traffic there is in each hour of a day in UTC, and on each day from Sunday on. The busiest is 1.
const HOURS: [f64; 24] = [
    0.10, 0.07, 0.05, 0.05, 0.07, 0.12, 0.28, 0.55, 0.82, 0.95, 1.00, 0.97, 0.88, 0.95, 1.00, 0.98, 0.92,
    0.80, 0.66, 0.55, 0.45, 0.35, 0.25, 0.16,
];
const DAYS: [f64; 7] = [0.28, 0.95, 1.00, 0.98, 0.93, 0.80, 0.33];

/// The longest conversation, in votes, and the longest pause in it.
const LONGEST: usize = 4;
const PAUSE: u64 = 8 * 60 * 1000;

/// How many answers get a second vote, of another kind or on another span.
const SECOND: f64 = 0.12;

/// How many votes that can be changed are, and within what time.
const CHANGED: f64 = 0.06;
const CHANGE: u64 = 20 * 60 * 1000;

/// The application of the demo.
fn world(prompts: Mix<Arc<Prompt>>) -> World {
    World {
        prompts,
        users: 260,
        user: |number| {
            format!(
                "u-{:06x}",
                number.wrapping_add(1).wrapping_mul(2_654_435_761) >> 8
            )
        },
        organisation: Some(|number| {
            let organisations = [
                "halden-logistics",
                "brightside-dental",
                "halden-logistics",
                "kestrel-travel",
                "ostra-foods",
                "brightside-dental",
                "halden-logistics",
                "mapleton-schools",
                "verdane-energy",
                "kestrel-travel",
            ];
            organisations[number as usize % organisations.len()].to_owned()
        }),
        bias: 0.12,
        environments: Mix::weighted(0.9, "production")
            .or(0.07, "staging")
            .or(0.03, "eval"),
        channels: Some(Mix::weighted(0.6, "web").or(0.25, "mobile").or(0.15, "slack")),
        session: Some(|rng| format!("chat-{:08x}", rng.u32(..))),
        trace: |rng| format!("{:032x}", rng.u128(..)),
    }
}

fn prompts() -> Mix<Arc<Prompt>> {
    let thumbs = |name| Question {
        name: Some(name),
        scale: Scale::Thumbs(1),
        weights: Mix::of(1.0),
        upserted: true,
    };
    let signal = || Question {
        name: None,
        scale: Scale::Signal {
            liked: "copied",
            disliked: "regenerated",
        },
        weights: Mix::of(0.25),
        upserted: false,
    };
    let of = |scale| Question {
        name: None,
        scale,
        weights: Mix::of(1.0),
        upserted: false,
    };
    let phase = |version, models: &[(f64, &str)], liked| {
        let mut models = models
            .iter()
            .map(|(weight, model)| (*weight, (*model).to_owned()));
        let (weight, model) = models.next().unwrap_or_default();
        Phase {
            version: Some(version),
            models: models.fold(Mix::weighted(weight, model), |mix, (weight, model)| {
                mix.or(weight, model)
            }),
            liked,
        }
    };
    let prompt = |name: &str, words: &'static Words, questions, phase, later| {
        Arc::new(Prompt {
            name: name.to_owned(),
            questions,
            phase,
            later,
            words,
        })
    };
    Mix::weighted(
        0.35,
        prompt(
            "support-answer",
            &words::SUPPORT_ANSWER,
            Mix::weighted(0.75, thumbs("helpful")).or(0.25, signal()),
            phase("v31", &[(1.0, "gpt-4.1-mini")], 0.73),
            // A change of the model.
            vec![(
                0.52,
                phase("v31", &[(0.9, "claude-haiku-4-5"), (0.1, "gpt-4.1-mini")], 0.83),
            )],
        ),
    )
    .or(
        0.21,
        prompt(
            "summarize-ticket",
            &words::SUMMARIZE_TICKET,
            Mix::of(of(Scale::Stars)),
            phase("v8", &[(1.0, "gpt-4.1-mini")], 0.85),
            Vec::new(),
        ),
    )
    .or(
        0.17,
        prompt(
            WORSE,
            &words::DRAFT_REPLY,
            Mix::weighted(0.7, of(Scale::Points)).or(0.3, signal()),
            phase("v12", &[(1.0, "claude-sonnet-4-5")], 0.82),
            // A new version of the prompt, a week before the end.
            vec![(23.0 / 30.0, phase("v13", &[(1.0, "claude-sonnet-4-5")], 0.44))],
        ),
    )
    .or(
        0.14,
        prompt(
            "search-docs",
            &words::SEARCH_DOCS,
            Mix::weighted(0.6, thumbs("helpful")).or(0.4, signal()),
            phase("v4", &[(0.7, "gemini-2.5-flash"), (0.3, "gpt-4.1-mini")], 0.66),
            Vec::new(),
        ),
    )
    .or(
        0.08,
        prompt(
            "translate",
            &words::TRANSLATE,
            Mix::of(of(Scale::Stars)),
            phase("v2", &[(1.0, "gemini-2.5-flash")], 0.90),
            Vec::new(),
        ),
    )
    .or(
        0.05,
        prompt(
            "extract-invoice",
            &words::EXTRACT_INVOICE,
            Mix::of(thumbs("accurate")),
            phase("v17", &[(1.0, "llama-3.3-70b")], 0.62),
            Vec::new(),
        ),
    )
}

/// The prompt that is hardly used. Its few votes are all good.
fn rare() -> Mix<Arc<Prompt>> {
    Mix::of(Arc::new(Prompt {
        name: RARE.to_owned(),
        questions: Mix::of(Question {
            name: Some("helpful"),
            scale: Scale::Thumbs(1),
            weights: Mix::of(1.0),
            upserted: true,
        }),
        phase: Phase {
            version: Some("v1"),
            models: Mix::of("gpt-4.1-mini".to_owned()),
            liked: 2.0,
        },
        later: Vec::new(),
        words: &words::WELCOME_TOUR,
    }))
}

/// So many records of the thirty days before `now`, in the order of their ids. The same seed and time give the same
/// records.
///
/// # Errors
///
/// If the API would refuse one of them, which is a defect.
pub fn month(by: &Writer, votes: usize, seed: u64, now: Timestamp) -> Result<Vec<Feedback>, Problem> {
    let mut cast = Cast {
        by,
        start: Timestamp::from_millis(now.millis().saturating_sub(millis(MONTH))),
        now,
        records: Vec::with_capacity(votes),
    };
    let mut few = Generator::new(world(rare()), seed);
    for number in 1..=RARE_VOTES {
        let time = cast.start.millis() + millis(MONTH) / (RARE_VOTES + 1) as u64 * number as u64;
        let visit = few.visit(cast.place(time));
        cast.vote(&mut few, &visit, time)?;
    }
    let mut generator = Generator::new(world(prompts()), seed);
    while cast.records.len() < votes {
        let mut time = cast.arrival(generator.rng());
        let mut visit = generator.visit(cast.place(time));
        for _ in 0..generator.rng().usize(1..=LONGEST) {
            if time >= now.millis() || cast.records.len() == votes {
                break;
            }
            cast.vote(&mut generator, &visit, time)?;
            if generator.rng().f64() < SECOND && cast.records.len() < votes {
                let later = (time + generator.rng().u64(2_000..30_000)).min(now.millis() - 1);
                cast.second(&mut generator, &visit, later)?;
            }
            time += generator.rng().u64(20_000..PAUSE);
            let place = cast.place(time);
            generator.go_on(&mut visit, place);
        }
    }
    cast.records.sort_by_key(|record| record.id);
    Ok(cast.records)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The records so far.
struct Cast<'a> {
    by: &'a Writer,
    start: Timestamp,
    now: Timestamp,
    records: Vec<Feedback>,
}

impl Cast<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a place need not be exact")]
    fn place(&self, time: u64) -> f64 {
        (time - self.start.millis()) as f64 / millis(MONTH) as f64
    }

    /// A random time, in the rhythm of hours and days.
    fn arrival(&self, rng: &mut Rng) -> u64 {
        loop {
            let time = rng.u64(self.start.millis()..self.now.millis());
            let hours = usize::try_from(time / 3_600_000).unwrap_or_default();
            // The epoch was a Thursday.
            let busy = HOURS[hours % HOURS.len()] * DAYS[(hours / 24 + 4) % DAYS.len()];
            if rng.f64() < busy {
                return time;
            }
        }
    }

    /// Adds a vote at a time.
    fn vote(&mut self, generator: &mut Generator, visit: &Visit, time: u64) -> Result<(), Problem> {
        let draft = generator.vote(visit)?;
        self.add(generator.rng(), draft, time);
        Ok(())
    }

    /// Adds another vote on the same answer, unless it would replace the one before.
    fn second(&mut self, generator: &mut Generator, visit: &Visit, time: u64) -> Result<(), Problem> {
        let draft = generator.vote(visit)?;
        let before = self.records.last().map(|record| &record.draft);
        let replaces = before.is_some_and(|before| {
            draft.person.is_some() && before.target == draft.target && before.person == draft.person
        });
        if !replaces {
            self.add(generator.rng(), draft, time);
        }
        Ok(())
    }

    fn add(&mut self, rng: &mut Rng, draft: shared::feedback::Draft, time: u64) {
        let mut entropy = [0; 10];
        rng.fill(&mut entropy);
        let created_at = Timestamp::from_millis(time);
        let is_final = draft.score.scale() == "value" && draft.person.is_none();
        let mut record = Feedback::new(self.by, draft, created_at, 0, entropy);
        if !is_final && rng.f64() < CHANGED {
            let later = created_at + Duration::from_millis(rng.u64(3_000..CHANGE));
            record.updated_at = later.min(self.now);
            record.version = 2;
        }
        self.records.push(record);
    }
}

/// Fills the database of a server that starts, as written with its key, and returns with how many votes.
///
/// # Errors
///
/// One line to print.
pub async fn start(
    engine: &Engine,
    client: &Client,
    key: &KeyId,
    retention: Option<Duration>,
) -> Result<usize, String> {
    let workspace =
        Workspace::parse(data::WORKSPACE).ok_or_else(|| format!("not a workspace: {}", data::WORKSPACE))?;
    let by = Writer {
        workspace,
        key: key.clone(),
    };
    let now = Timestamp::now();
    let records = month(&by, VOTES, SEED, now).map_err(|problem| problem.log_message())?;
    fill(engine, client, records, retention, now).await
}

/// Stores records, and counts them, in a database with nothing in it. Those that would have expired by `now` are
/// left out. Returns how many were stored.
///
/// # Errors
///
/// One line to print.
pub async fn fill(
    engine: &Engine,
    client: &Client,
    records: Vec<Feedback>,
    retention: Option<Duration>,
    now: Timestamp,
) -> Result<usize, String> {
    let generation = Generations::read_or_begin(client, STATS.name)
        .await
        .map_err(|problem| problem.log_message())?
        .current;
    let mut kept = Vec::with_capacity(records.len());
    for mut record in records {
        record.expires_at = retention.map(|keep| (record.id.created_at() + keep).seconds());
        if !record.is_expired(now) {
            kept.push(record);
        }
    }
    let failed = |error| format!("cannot store the demo: {error}");
    // Counting takes about as long as storing.
    let rollups = thread::scope(|scope| {
        let counting = scope.spawn(|| counted(&kept, generation));
        engine
            .import(&FEEDBACK, kept.iter().map(stored).collect())
            .map_err(failed)?;
        counting
            .join()
            .map_err(|_| "cannot count the demo: its thread panicked".to_owned())
    })?;
    engine.import(&STATS, rollups).map_err(failed)?;
    Ok(kept.len())
}

/// The items of the roll-ups that count these records.
fn counted(records: &[Feedback], generation: Generation) -> Vec<Item> {
    let mut rollups = BTreeMap::<Rollup, Slots>::new();
    // A change counts at the second that the stream has for it.
    let mut counted_to = BTreeMap::<Rollup, Timestamp>::new();
    for record in records {
        for time in [record.id.created_at(), record.updated_at] {
            let day = Rollup::of_everything(generation.number, &record.workspace, time);
            let second = Timestamp::from_millis(time.seconds() * 1000);
            rollups.entry(day.clone()).or_default();
            let latest = counted_to.entry(day).or_default();
            *latest = second.max(*latest);
        }
        Counted::from_feedback(record).add_to(&mut rollups, generation);
    }
    rollups
        .iter()
        .map(|(rollup, slots)| to_item(rollup, slots, counted_to.get(rollup).copied()))
        .collect()
}

/// A record's item, with the mark that an update and an upsert leave.
fn stored(record: &Feedback) -> Item {
    let mut item = item::from_feedback(record);
    if record.version > 1 || record.draft.person.is_some() {
        let mark = record.id.as_bytes()[8..].to_vec();
        item.insert("write_id".to_owned(), AttributeValue::B(mark.into()));
    }
    item
}
