//! The prompts, and two of them or two ranges of one side by side.

use askama::Template;
use lambda_http::http::StatusCode;
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::indexed::Field;
use shared::problem::{Fault, Problem};
use shared::stats::question::{Group, Grouping, Question, Source};
use shared::stats::read::{Range, Unanswered};
use shared::stats::tally::Tally;
use shared::timestamp::Timestamp;

use crate::App;
use crate::buckets::{Bucket, Unit};
use crate::chart;
use crate::comments::{self, Said};
use crate::number;
use crate::overview::votes_over_time;
use crate::page::{self, Moment, Shell, Tab};
use crate::selection::{FilterBar, Selection};
use crate::session::Session;
use crate::tiles::{Tile, tiles};
use crate::unanswered;

/// The page's path.
const PATH: &str = "/console/prompts";

/// The most prompts that one page shows.
const MAX_SHOWN: usize = 40;

/// The most points of a line in the list. Of a longer range, each is of several buckets.
const MAX_TREND: usize = 31;

/// The most comments of each side of a comparison.
const MAX_COMMENTS: usize = 4;

/// The parameters that only this page has: the prompt that is compared, the other prompt, and the other range
/// of the same prompt, by its ends or as `before`.
const OWN: [&str; 6] = ["compare", "with", "range2", "from2", "to2", "page"];

/// The value of `range2` for the range of the same length before the selected one.
const BEFORE: &str = "before";

/// The list of prompts.
#[derive(Template)]
#[template(path = "prompts.html")]
struct PromptsPage {
    shell: Shell,
    bar: FilterBar,
    notes: Vec<String>,
    /// Why there is no list.
    why: Option<String>,
    rows: Vec<Row>,
    /// The names in the comparison's fields.
    names: Vec<String>,
    /// The selection's parameters, which the comparison's form sends too.
    kept: Vec<(String, String)>,
    /// What the list shows of how many.
    shown: String,
    next: Option<String>,
    previous: Option<String>,
    as_of: Option<Moment>,
}

/// A prompt.
struct Row {
    name: String,
    /// The overview of it.
    href: String,
    votes: String,
    average: String,
    share: String,
    range: String,
    interval: String,
    rating: String,
    trend: String,
    /// This prompt beside itself in the range before.
    compare: String,
}

/// Two prompts or ranges side by side.
#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    shell: Shell,
    bar: FilterBar,
    notes: Vec<String>,
    why: Option<String>,
    verdict: Option<Verdict>,
    sides: Vec<Side>,
    all: String,
}

/// One side of a comparison.
struct Side {
    name: String,
    words: String,
    tiles: Vec<Tile>,
    /// The chart of votes over time.
    chart: String,
    comments: Vec<Said>,
}

/// Whether a difference is more than chance.
struct Verdict {
    text: String,
    numbers: String,
}

/// What a comparison is between.
#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    sides: [(String, Range, String); 2],
}

/// Shows the prompts, or a comparison.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn show(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let own = Own::parse(visit.query())?;
    let selection = Selection::parse(visit.query(), &OWN, visit.now)?;
    match own.comparison(&selection, visit.now)? {
        Some(comparison) => compare(app, visit, session, &selection, comparison).await,
        None => list(app, visit, session, &selection, own.page).await,
    }
}

/// The page's own parameters.
#[derive(Debug, Default)]
struct Own {
    compare: Option<String>,
    with: Option<String>,
    is_before: bool,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// From 0.
    page: usize,
}

impl Own {
    fn parse(query: &[(String, String)]) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        for name in OWN {
            if query.iter().filter(|(field, _)| field == name).count() > 1 {
                faults.push(Fault::new(name, "expected once, got several"));
            }
        }
        let text = |name: &str| {
            let found = query
                .iter()
                .find(|(field, value)| field == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let mut moment = |name: &str| {
            let text = text(name)?;
            let moment = Timestamp::parse(&text);
            if moment.is_none() {
                faults.push(Fault::new(name, "expected an ISO 8601 date, or date and time"));
            }
            moment
        };
        let (from, to) = (moment("from2"), moment("to2"));
        let is_before = match text("range2").as_deref() {
            Some(BEFORE) => true,
            Some(_) => {
                faults.push(Fault::new("range2", format!("expected {BEFORE}")));
                false
            }
            None => false,
        };
        let page = match text("page").map(|text| text.parse::<u16>()) {
            None => 0,
            Some(Ok(page @ 1..)) => usize::from(page) - 1,
            Some(_) => {
                faults.push(Fault::new("page", "expected an integer from 1 to 65535"));
                0
            }
        };
        if faults.is_empty() {
            Ok(Self {
                compare: text("compare"),
                with: text("with"),
                is_before,
                from,
                to,
                page,
            })
        } else {
            Err(Problem::Invalid(faults))
        }
    }

    /// What is compared, if anything.
    fn comparison(&self, selection: &Selection, now: Timestamp) -> Result<Option<Comparison>, Problem> {
        let Some(one) = self.compare.clone().or_else(|| self.with.clone()) else {
            return Ok(None);
        };
        let other = self.with.clone().unwrap_or_else(|| one.clone());
        let (range, words) = (selection.range(), selection.words());
        let (other_range, other_words) = match (self.is_before, self.from, self.to) {
            (true, _, _) => (selection.before(), selection.words_before()),
            (false, None, None) => (range, words.clone()),
            (false, from, to) => {
                let to = to.unwrap_or(now);
                let from = from.ok_or_else(|| Problem::invalid("from2", "missing, expected with to2"))?;
                if to < from {
                    return Err(Problem::invalid("to2", "expected at or after from2"));
                }
                let range = Range { from, to };
                (range, format!("{} to {}", Moment(from), Moment(to)))
            }
        };
        Ok(Some(Comparison {
            sides: [(one, range, words), (other, other_range, other_words)],
        }))
    }
}

impl Comparison {
    /// Why its sides cannot be compared.
    fn fault(&self) -> Option<&'static str> {
        let [(one, range, _), (other, other_range, _)] = &self.sides;
        if one != other {
            return None;
        }
        if range == other_range {
            return Some("Both sides are the same. Choose another prompt, or another range of this one.");
        }
        let overlap = range.from < other_range.to && other_range.from < range.to;
        overlap.then_some(
            "The two ranges overlap, so some votes are in both. Choose ranges that do not overlap to tell \
             whether the difference is more than chance.",
        )
    }
}

async fn list(
    app: &App,
    visit: &Visit,
    session: &Session,
    selection: &Selection,
    page: usize,
) -> Result<Reply, Problem> {
    let unit = Unit::of(selection.range());
    let question = Question::new(selection.range(), &selection.filter, selection.model.as_deref());
    let grouping = Grouping {
        by: Group::Metadata(Field::Prompt.metadata()),
        buckets: unit.granularity(),
    };
    // Generation, newest roll-up, then at most two series of roll-ups: four reads in three round trips.
    let counts = app
        .reader
        .count(session.workspace(), &question, grouping, visit.now)
        .await;
    let mut shown = PromptsPage {
        shell: Shell::new(session, "Prompts", Tab::Prompts, Some(selection)),
        bar: FilterBar::new(PATH, selection),
        notes: Vec::new(),
        why: None,
        rows: Vec::new(),
        names: Vec::new(),
        kept: selection.parameters().to_vec(),
        shown: String::new(),
        next: None,
        previous: None,
        as_of: None,
    };
    let counts = match counts {
        Ok(counts) => counts,
        Err(Unanswered::Problem(problem)) => return Err(problem),
        Err(too_many) => {
            shown.why = Some(unanswered::words(&too_many, selection));
            return Ok(page::html(StatusCode::OK, &shown));
        }
    };
    if counts.source == Source::Records {
        shown.notes.push(unanswered::from_records(selection));
    }
    let prompts = counts.by_value();
    let all = prompts.len();
    let first = page.saturating_mul(MAX_SHOWN).min(all);
    let last = (first + MAX_SHOWN).min(all);
    let link = |page: usize| format!("{PATH}{}", selection.with("page", Some(&page.to_string())));
    shown.next = (last < all).then(|| link(page + 2));
    shown.previous = (page > 0).then(|| link(page));
    if all > MAX_SHOWN {
        shown.shown = format!(
            "{}–{last} of {all} prompts, those with the most votes first",
            first + 1
        );
    }
    shown.as_of = counts.as_of.map(Moment);
    for (name, tally) in prompts.into_iter().skip(first).take(MAX_SHOWN) {
        let over_time = unit.fill(selection.range(), &counts.of_value(&name));
        shown.names.push(name.clone());
        shown.rows.push(row(name, &tally, &over_time, selection));
    }
    if shown.rows.is_empty() {
        let which = if unanswered::has_filter(selection) {
            " that passes the filters"
        } else {
            ""
        };
        shown.why = Some(format!("No vote{which} in {} names a prompt.", selection.words()));
    }
    Ok(page::html(StatusCode::OK, &shown))
}

fn row(name: String, tally: &Tally, over_time: &[(Bucket, Tally)], selection: &Selection) -> Row {
    let share = |tally: &Tally| tally.positive().map(shared::stats::interval::Share::ratio);
    let point = |buckets: &[(Bucket, Tally)]| {
        let tallies = buckets.iter();
        share(&tallies.fold(Tally::default(), |mut sum, (_, tally)| {
            sum += tally;
            sum
        }))
    };
    let per_point = over_time.len().div_ceil(MAX_TREND).max(1);
    let trend: Vec<Option<f64>> = over_time.chunks(per_point).map(point).collect();
    let mut known = trend.iter().flatten();
    let ends = known
        .next()
        .map(|first| (first, known.next_back().unwrap_or(first)));
    let title = ends.map_or_else(String::new, |(first, last)| {
        format!(
            "Positive share over time: {} at first, {} at last",
            number::percent(*first),
            number::percent(*last)
        )
    });
    let compare = [("compare", name.as_str()), ("range2", BEFORE)];
    Row {
        href: format!("/console{}", selection.with("prompt", Some(&name))),
        votes: number::count(tally.total()),
        average: number::or_none(tally.average(), |average| number::decimal(average, 2)),
        share: number::or_none(share(tally), number::percent),
        range: tally.positive().map(chart::range).unwrap_or_default(),
        interval: number::or_none(tally.positive(), number::percent_interval),
        rating: number::or_none(tally.mean_rating(), |mean| number::decimal(mean, 2)),
        trend: chart::sparkline(&title, &trend),
        compare: format!("{PATH}{}", selection.with_each(&compare)),
        name,
    }
}

async fn compare(
    app: &App,
    visit: &Visit,
    session: &Session,
    selection: &Selection,
    comparison: Comparison,
) -> Result<Reply, Problem> {
    let own = visit.query().iter();
    let own = own
        .filter(|(name, value)| OWN.contains(&name.as_str()) && name != "page" && !value.is_empty())
        .cloned()
        .collect();
    let [one, other] = &comparison.sides;
    let side = |(name, range, _): &(String, Range, String)| {
        let mut side = selection.clone();
        (side.from, side.to) = (range.from, range.to);
        side.filter.indexed.set(Field::Prompt, name.clone());
        (side, Unit::of(*range))
    };
    let (one_side, other_side) = (side(one), side(other));
    let counts = async |(side, unit): &(Selection, Unit)| {
        let question = Question::new(side.range(), &side.filter, side.model.as_deref());
        let grouping = Grouping {
            by: Group::All,
            buckets: unit.granularity(),
        };
        tokio::join!(
            app.reader
                .count(session.workspace(), &question, grouping, visit.now),
            comments::latest(app, visit, session, side, MAX_COMMENTS),
        )
    };
    let (first, second) = tokio::join!(counts(&one_side), counts(&other_side));
    let mut page = ComparePage {
        shell: Shell::new(session, "Compare", Tab::Prompts, Some(selection)),
        bar: FilterBar::new(PATH, selection).keeping(own),
        notes: Vec::new(),
        why: comparison.fault().map(str::to_owned),
        verdict: None,
        sides: Vec::new(),
        all: format!("{PATH}{}", selection.query()),
    };
    let (mut totals, mut charts) = (Vec::new(), Vec::new());
    let sides = [(one, one_side, first), (other, other_side, second)];
    for ((name, range, words), (_, unit), (counts, said)) in sides {
        let counts = match counts {
            Ok(counts) => counts,
            Err(Unanswered::Problem(problem)) => return Err(problem),
            Err(too_many) => {
                page.why = Some(unanswered::words(&too_many, selection));
                return Ok(page::html(StatusCode::OK, &page));
            }
        };
        if counts.source == Source::Records && page.notes.is_empty() {
            page.notes.push(unanswered::from_records(selection));
        }
        let votes = counts.total();
        charts.push((unit, unit.fill(*range, &counts.by_bucket())));
        page.sides.push(Side {
            name: name.clone(),
            words: words.clone(),
            tiles: tiles(&votes, None),
            chart: String::new(),
            comments: said?,
        });
        totals.push(votes);
    }
    // Charts side by side have one scale.
    let buckets = charts.iter().flat_map(|(_, over_time)| over_time);
    let highest = buckets.map(|(_, tally)| tally.total()).max().unwrap_or_default();
    for (index, (side, (unit, over_time))) in page.sides.iter_mut().zip(&charts).enumerate() {
        let chart = votes_over_time(*unit, over_time, highest);
        side.chart = chart.figure(&format!("votes-{index}")).to_string();
    }
    if let (None, [one, other]) = (&page.why, totals.as_slice()) {
        let names = if comparison.sides[0].0 == comparison.sides[1].0 {
            [comparison.sides[0].2.clone(), comparison.sides[1].2.clone()]
        } else {
            [comparison.sides[0].0.clone(), comparison.sides[1].0.clone()]
        };
        page.verdict = Some(Verdict::new(one, other, &names));
    }
    Ok(page::html(StatusCode::OK, &page))
}

impl Verdict {
    /// What the positive shares of two sides say about their difference.
    fn new(one: &Tally, other: &Tally, names: &[String; 2]) -> Self {
        let (Some(first), Some(second)) = (one.positive(), other.positive()) else {
            return Self {
                text: "There is nothing to compare: one side has no votes.".to_owned(),
                numbers: String::new(),
            };
        };
        let difference = first.minus(second);
        let [one, other] = names;
        let better = if difference.points > 0.0 { one } else { other };
        let text = if difference.is_more_than_chance() {
            format!("The difference is more than chance would explain (95 %). Better: {better}.")
        } else {
            "Could be chance: with this many votes, either side may be the better one (95 %).".to_owned()
        };
        let percent = |share: f64| number::signed(share * 100.0, 1);
        Self {
            text,
            numbers: format!(
                "Positive: {} of {} against {} of {}. Difference {} (95 % interval {} to {}).",
                number::percent(first.ratio()),
                number::counted(first.total(), "vote"),
                number::percent(second.ratio()),
                number::counted(second.total(), "vote"),
                number::points(difference),
                percent(difference.interval.low),
                percent(difference.interval.high),
            ),
        }
    }
}
