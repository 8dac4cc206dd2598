//! Random feedback, as the users of a made-up application give it. `--demo` and the benchmark use it, each with
//! a [`World`] of its own. The same world and seed give the same feedback.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};
use shared::dialect::portkey::{self, Create};
use shared::dialect::truefoundry;
use shared::feedback::Draft;
use shared::person::Person;
use shared::problem::Problem;

/// Choices with weights. There is at least one.
#[derive(Clone, Debug)]
pub struct Mix<T> {
    first: (f64, T),
    rest: Vec<(f64, T)>,
}

impl<T> Mix<T> {
    /// A single choice.
    pub fn of(choice: T) -> Self {
        Self::weighted(1.0, choice)
    }

    /// A first choice with a weight.
    pub fn weighted(weight: f64, choice: T) -> Self {
        Self {
            first: (weight, choice),
            rest: Vec::new(),
        }
    }

    /// Adds a choice with a weight.
    #[must_use]
    pub fn or(mut self, weight: f64, choice: T) -> Self {
        self.rest.push((weight, choice));
        self
    }

    /// As many choices as `count`, at least one, with the distribution of `skewed`.
    pub fn skewed(count: u32, choice: impl Fn(u32) -> T) -> Self {
        let end = |number: u32| (f64::from(number) / f64::from(count)).cbrt();
        let weight = |number| end(number + 1) - end(number);
        (1..count).fold(Self::weighted(weight(0), choice(0)), |mix, number| {
            mix.or(weight(number), choice(number))
        })
    }

    fn draw(&self, rng: &mut Rng) -> &T {
        let total = self.first.0 + self.rest.iter().map(|(weight, _)| weight).sum::<f64>();
        let mut place = rng.f64() * total;
        for (weight, choice) in &self.rest {
            if place < *weight {
                return choice;
            }
            place -= weight;
        }
        &self.first.1
    }
}

/// A random number below `end`, with low numbers far more often: the cube of a uniform one. A fifth of the
/// numbers get three fifths of the draws.
fn skewed(rng: &mut Rng, end: u32) -> u32 {
    let even = rng.f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let number = (even * even * even * f64::from(end)) as u32;
    number
}

/// A made-up application: what it asks models to do, and who uses it.
#[derive(Clone, Debug)]
pub struct World {
    /// Its prompts, by how often answers to them are voted on.
    pub prompts: Mix<Arc<Prompt>>,
    /// The number of its users. Few of them give most of the feedback.
    pub users: u32,
    /// The `_user` of the user with this number.
    pub user: fn(u32) -> String,
    /// The `_organisation` of the user with this number, if users have one.
    pub organisation: Option<fn(u32) -> String>,
    /// How much more or less than the others a user likes answers, at most.
    pub bias: f64,
    /// The `_environment`s.
    pub environments: Mix<&'static str>,
    /// The values of the metadata field `channel`, if there is one.
    pub channels: Option<Mix<&'static str>>,
    /// Makes a `_session`, if votes have one.
    pub session: Option<fn(&mut Rng) -> String>,
    /// Makes a trace id.
    pub trace: fn(&mut Rng) -> String,
}

/// A prompt, and what its answers are like.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The `_prompt`.
    pub name: String,
    /// What users are asked about an answer.
    pub questions: Mix<Question>,
    /// How it begins.
    pub phase: Phase,
    /// How it goes on, each from a part of the time on: 0.5 is halfway. In the order of time.
    pub later: Vec<(f64, Phase)>,
    /// What users say.
    pub words: &'static Words,
}

impl Prompt {
    fn phase(&self, place: f64) -> &Phase {
        let begun = self.later.iter().rev().find(|(from, _)| *from <= place);
        begun.map_or(&self.phase, |(_, phase)| phase)
    }
}

/// A prompt during some time.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The metadata field `prompt_version`, if there is one.
    pub version: Option<&'static str>,
    /// The `_model`s that answer.
    pub models: Mix<String>,
    /// The share of answers that are liked.
    pub liked: f64,
}

/// A question about an answer.
#[derive(Clone, Debug)]
pub struct Question {
    /// The `_name`, if it has one.
    pub name: Option<&'static str>,
    /// How it is answered.
    pub scale: Scale,
    /// The weights of a vote that is not a rating.
    pub weights: Mix<f64>,
    /// Whether a person has only one vote on an answer.
    pub upserted: bool,
}

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// This value or its negative.
    Thumbs(i8),
    /// Any value, higher ones for what is liked.
    Points,
    /// Any value, whether liked or not.
    Even,
    /// A rating of a span.
    Stars,
    /// What the user did with the answer, which is the `_name`: 1 if liked, otherwise -1.
    Signal {
        /// The `_name` where the answer is liked.
        liked: &'static str,
        /// The `_name` where it is not.
        disliked: &'static str,
    },
}

/// What users say about the answers to a prompt. In comments, `{n}` stands for some number.
#[derive(Debug)]
pub struct Words {
    /// Comments on answers that are liked, and on others.
    pub comments: Sides,
    /// Reasons for liking an answer, and for not liking it.
    pub reasons: Sides,
    /// Pairs of input and output, for the metadata fields `_input`, `_output` and `_correction`.
    pub samples: &'static [Sample],
}

/// Texts for answers that are liked, and for others.
#[derive(Debug)]
pub struct Sides {
    /// For answers that are liked.
    pub liked: &'static [&'static str],
    /// For the others.
    pub disliked: &'static [&'static str],
}

impl Sides {
    /// No texts.
    pub const NONE: Self = Self {
        liked: &[],
        disliked: &[],
    };

    fn of(&self, liked: bool) -> &'static [&'static str] {
        if liked { self.liked } else { self.disliked }
    }
}

/// An input, what it should be answered with, and what it was answered with where that is not liked.
#[derive(Debug)]
pub struct Sample {
    /// The input.
    pub input: &'static str,
    /// The right output.
    pub good: &'static str,
    /// A wrong one.
    pub bad: &'static str,
}

/// How many of the votes on answers that are liked, and of the others, have a comment.
const COMMENTED: [f64; 2] = [0.05, 0.18];

/// The same for reasons.
const REASONED: [f64; 2] = [0.06, 0.45];

/// How many votes on a prompt with samples have one in their metadata, and how many of these with a wrong
/// output have a correction.
const SAMPLED: f64 = 0.25;
const CORRECTED: f64 = 0.6;

/// How many comments on Portkey's scale are in metadata, where Portkey's own samples put them.
const IN_METADATA: f64 = 0.25;

/// A user's look at one answer.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When, as a part of the whole time: 0.5 is halfway.
    pub place: f64,
    /// The trace of the answer.
    pub trace: String,
    prompt: Arc<Prompt>,
    user: u32,
    session: Option<String>,
    environment: &'static str,
}

/// Generates feedback.
#[derive(Debug)]
pub struct Generator {
    world: World,
    rng: Rng,
    /// How many of a prompt's comments, for each side, have been used. They are used in turn, so that the same
    /// one does not come soon again.
    used: BTreeMap<(String, bool), usize>,
}

impl Generator {
    /// A generator for this world.
    pub fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            rng: Rng::with_seed(seed),
            used: BTreeMap::new(),
        }
    }

    /// The source of randomness, to draw from in between.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// A random user looks at an answer to a random prompt.
    pub fn visit(&mut self, place: f64) -> Visit {
        let prompt = Arc::clone(self.world.prompts.draw(&mut self.rng));
        Visit {
            place,
            prompt,
            user: skewed(&mut self.rng, self.world.users),
            session: self.world.session.map(|session| session(&mut self.rng)),
            environment: self.world.environments.draw(&mut self.rng),
            trace: (self.world.trace)(&mut self.rng),
        }
    }

    /// The user goes on to the next answer.
    pub fn go_on(&mut self, visit: &mut Visit, place: f64) {
        visit.place = place;
        visit.trace = (self.world.trace)(&mut self.rng);
    }

    /// A vote of a user on an answer, parsed as the API parses its body.
    ///
    /// # Errors
    ///
    /// If the API would refuse it, which is a defect of the world.
    pub fn vote(&mut self, visit: &Visit) -> Result<Draft, Problem> {
        let rng = &mut self.rng;
        let prompt = &visit.prompt;
        let phase = prompt.phase(visit.place);
        // The same for each vote of the user.
        let bias =
            (f64::from(visit.user.wrapping_mul(2_654_435_761) >> 16) / 32_768.0 - 1.0) * self.world.bias;
        let liked = rng.f64() < phase.liked + bias;
        let side = usize::from(!liked);
        let question = prompt.questions.draw(rng);
        let (name, is_signal) = match question.scale {
            Scale::Signal { liked: name, .. } if liked => (Some(name), true),
            Scale::Signal { disliked: name, .. } => (Some(name), true),
            _ => (question.name, false),
        };
        let mut metadata = Map::new();
        let mut put = |name: &str, text: Option<&str>| {
            if let Some(text) = text {
                metadata.insert(name.to_owned(), json!(text));
            }
        };
        let user = (self.world.user)(visit.user);
        let organisation = self
            .world
            .organisation
            .map(|organisation| organisation(visit.user));
        put("_user", Some(&user));
        put("_organisation", organisation.as_deref());
        put("_session", visit.session.as_deref());
        put("_prompt", Some(&prompt.name));
        put("_environment", Some(visit.environment));
        put("_model", Some(phase.models.draw(rng)));
        put("_name", name);
        put("prompt_version", phase.version);
        put(
            "channel",
            self.world.channels.as_ref().map(|channels| *channels.draw(rng)),
        );
        let words = prompt.words;
        if !words.samples.is_empty() && rng.f64() < SAMPLED {
            let sample = &words.samples[rng.usize(..words.samples.len())];
            put("_input", Some(sample.input));
            put("_output", Some(if liked { sample.good } else { sample.bad }));
            if !liked && rng.f64() < CORRECTED {
                put("_correction", Some(sample.good));
            }
        }
        let reasons = words.reasons.of(liked);
        let mut given: Vec<&str> = Vec::new();
        if !is_signal && !reasons.is_empty() && rng.f64() < REASONED[side] {
            for _ in 0..=usize::from(rng.f64() < 0.2) {
                given.push(reasons[rng.usize(..reasons.len())]);
            }
        }
        let lines = words.comments.of(liked);
        let mut comment = None;
        if !is_signal && !lines.is_empty() && rng.f64() < COMMENTED[side] {
            let used = self.used.entry((prompt.name.clone(), liked)).or_default();
            let number = rng.u32(1_000..10_000).to_string();
            comment = Some(lines[*used % lines.len()].replace("{n}", &number));
            *used += 1;
        }
        let mut body = if question.scale == Scale::Stars {
            let target = json!({
                "traceId": visit.trace,
                "spanId": format!("{:016x}", rng.u64(..)),
                "tracingProjectFQN": "acme:support",
            });
            json!({"target": target, "rating": stars(rng, liked)})
        } else {
            if let Some(text) = comment.take_if(|_| rng.f64() < IN_METADATA) {
                metadata.insert("comment".to_owned(), json!(text));
            }
            let value = value(rng, question.scale, liked);
            let weight = *question.weights.draw(rng);
            json!({"trace_id": visit.trace, "value": value, "weight": weight})
        };
        body["metadata"] = Json::Object(metadata);
        if let Some(comment) = comment {
            body["comment"] = json!(comment);
        }
        if !given.is_empty() {
            body["reasons"] = json!(given);
        }
        let mut draft = parse(question.scale, &body.to_string())?;
        draft.person = question.upserted.then(|| Person {
            user,
            name: name.unwrap_or_default().to_owned(),
        });
        Ok(draft)
    }
}

fn parse(scale: Scale, body: &str) -> Result<Draft, Problem> {
    if scale == Scale::Stars {
        return Ok(truefoundry::parse_create(body)?.value);
    }
    match portkey::parse_create(body)?.value {
        Create::One(draft) => Ok(*draft),
        Create::Bulk(_) => Err(Problem::internal("one object was parsed as several")),
    }
}

fn stars(rng: &mut Rng, liked: bool) -> u8 {
    match (liked, rng.u8(..10)) {
        (true, 0..6) => 5,
        (true, _) => 4,
        (false, 0..4) => 3,
        (false, 4..7) => 2,
        (false, _) => 1,
    }
}

fn value(rng: &mut Rng, scale: Scale, liked: bool) -> i8 {
    match scale {
        Scale::Thumbs(value) if liked => value,
        Scale::Thumbs(value) => -value,
        Scale::Points if liked => rng.i8(3..=10).max(rng.i8(3..=10)),
        Scale::Points => rng.i8(-10..=2),
        Scale::Even => rng.i8(-10..=10),
        Scale::Stars | Scale::Signal { .. } if liked => 1,
        Scale::Stars | Scale::Signal { .. } => -1,
    }
}
