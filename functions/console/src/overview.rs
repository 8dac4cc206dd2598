//! The first page: the figures of a time range, what is best and worst in it, and what people say.
//!
//! Without a filter, the page takes about 33 reads of DynamoDB, whatever there is to count, in four round
//! trips: the session; the generation of roll-ups; the newest roll-up; and everything else at once. That is,
//! of each of five groupings one or two series of roll-ups, those of the range before and the records of its
//! first two minutes (eight shards), and the comments (eight shards). `tests/api/console_overview.rs` counts
//! them.

use askama::Template;
use lambda_http::http::StatusCode;
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::problem::Problem;
use shared::stats::question::{Group, Grouping, Question, Source};
use shared::stats::read::{Counts, Unanswered};
use shared::stats::tally::Tally;
use shared::timestamp::Granularity;

use crate::App;
use crate::buckets::{Bucket, Unit};
use crate::chart::{self, Bars, Figure, Line, Place};
use crate::comments::{self, Said};
use crate::number;
use crate::page::{self, Moment, Shell, Tab};
use crate::ranking::{Ranked, Ranking};
use crate::selection::{FilterBar, Selection};
use crate::session::{Session, Site};
use crate::tiles::{Tile, tiles};
use crate::unanswered;

/// The page's path.
const PATH: &str = "/console";

/// The most entries of a list of the best or the worst.
const MAX_RANKED: usize = 5;

/// The most reasons that are shown.
const MAX_REASONS: usize = 8;

/// The most comments that are shown.
const MAX_COMMENTS: usize = 6;

/// What is ranked: the parameter that filters by it, the metadata field, and the heading.
const RANKED: [(&str, &str, &str); 3] = [
    ("prompt", "_prompt", "Prompts"),
    ("model", "_model", "Models"),
    ("user", "_user", "Users"),
];

/// The overview.
#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    bar: FilterBar,
    words: String,
    /// What else there is to know about the figures.
    notes: Vec<String>,
    /// The figures, unless there is nothing to show.
    content: Result<Content, Empty>,
    as_of: Option<Moment>,
}

/// What is shown of votes.
struct Content {
    tiles: Vec<Tile>,
    /// What the changes are against.
    against: String,
    charts: Vec<Figure>,
    reasons: Section<Vec<Reason>>,
    rankings: Vec<Card>,
    comments: Vec<Said>,
    all_comments: String,
}

/// Something that may take too many reads, with what to do then.
type Section<T> = Result<T, String>;

/// Why there is nothing to show, and what to do.
struct Empty {
    heading: &'static str,
    text: String,
    /// What is easy to try.
    links: Vec<page::Link>,
    /// A call that stores a vote.
    call: Option<String>,
}

/// How often a reason was given.
struct Reason {
    name: String,
    href: String,
    votes: String,
    share: String,
    meter: String,
}

/// The best and the worst of a group.
struct Card {
    heading: &'static str,
    lists: Section<Vec<(&'static str, Vec<Row>)>>,
}

/// One of a group.
struct Row {
    name: String,
    href: String,
    share: String,
    range: String,
    votes: String,
}

impl Row {
    fn new(ranked: Ranked, selection: &Selection, parameter: &str) -> Self {
        Self {
            href: format!("{PATH}{}", selection.with(parameter, Some(&ranked.name))),
            share: number::percent(ranked.positive.ratio()),
            range: chart::range(ranked.positive),
            votes: number::counted(ranked.tally.total(), "vote"),
            name: ranked.name,
        }
    }
}

/// Shows the overview.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn show(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let selection = Selection::parse(visit.query(), &[], visit.now)?;
    let (workspace, now) = (session.workspace(), visit.now);
    let unit = Unit::of(selection.range());
    let question = Question::new(selection.range(), &selection.filter, selection.model.as_deref());
    let by = |field| Grouping {
        by: Group::Metadata(field),
        buckets: Granularity::Day,
    };
    let all = |buckets| Grouping {
        by: Group::All,
        buckets,
    };
    let groupings = [
        all(unit.granularity()),
        by("_reasons"),
        by(RANKED[0].1),
        by(RANKED[1].1),
        by(RANKED[2].1),
    ];
    let earlier = question.during(selection.before());
    let of_earlier = [all(Granularity::Day)];
    let (counts, before, said) = tokio::join!(
        app.reader.count_each(workspace, &question, &groupings, now),
        app.reader.count_each(workspace, &earlier, &of_earlier, now),
        comments::latest(app, visit, session, &selection, MAX_COMMENTS),
    );
    let mut counts = counts?.into_iter();
    let mut next = || counts.next().unwrap_or_else(|| Ok(Counts::default()));
    let (total, reasons, groups) = (next(), next(), [next(), next(), next()]);
    let before = before?.pop().unwrap_or_else(|| Ok(Counts::default()));

    let mut notes = Vec::new();
    let shell = Shell::new(session, "Overview", Tab::Overview, Some(&selection));
    let bar = FilterBar::new(PATH, &selection);
    let page = |notes, content, as_of| {
        let page = OverviewPage {
            shell,
            bar,
            words: selection.words(),
            notes,
            content,
            as_of,
        };
        Ok(page::html(StatusCode::OK, &page))
    };
    let total = match total {
        Ok(total) => total,
        Err(Unanswered::Problem(problem)) => return Err(problem),
        Err(too_many) => {
            let empty = Empty {
                heading: "Too much to count one by one",
                text: unanswered::words(&too_many, &selection),
                links: narrower(&selection),
                call: None,
            };
            return page(notes, Err(empty), None);
        }
    };
    let as_of = total.as_of.map(Moment);
    let votes = total.total();
    if votes.total() == 0 {
        let origin = Site::of(visit).origin();
        let empty = nothing(&selection, total.as_of.is_none(), origin.as_deref());
        return page(notes, Err(empty), as_of);
    }
    if total.source == Source::Records {
        notes.push(unanswered::from_records(&selection));
    } else if groupings
        .iter()
        .any(|grouping| question.source(grouping.by) == Source::Records)
    {
        notes.push(unanswered::groups_from_records(&selection));
    }
    let before = match before {
        Ok(before) => Some(before.total()),
        Err(Unanswered::Problem(problem)) => return Err(problem),
        Err(_) => None,
    };
    let content = Content {
        tiles: tiles(&votes, before.as_ref()),
        against: against(&selection, before.as_ref()),
        charts: charts(unit, &selection, &total, &votes),
        reasons: section(reasons, &selection)?.map(|counts| reasons_of(&counts, &votes, &selection)),
        rankings: RANKED
            .into_iter()
            .zip(groups)
            .map(|((parameter, _, heading), counts)| {
                let lists = section(counts, &selection)?.map(|counts| ranked(&counts, parameter, &selection));
                Ok(Card { heading, lists })
            })
            .collect::<Result<_, Problem>>()?,
        comments: said?,
        all_comments: format!("/console/feedback{}", selection.with("has_comment", Some("true"))),
    };
    page(notes, Ok(content), as_of)
}

/// Counts, or what to do where there are too many.
fn section(counts: Result<Counts, Unanswered>, selection: &Selection) -> Result<Section<Counts>, Problem> {
    match counts {
        Ok(counts) => Ok(Ok(counts)),
        Err(Unanswered::Problem(problem)) => Err(problem),
        Err(too_many) => Ok(Err(unanswered::of_group(&too_many, selection))),
    }
}

/// What the tiles' changes are against.
fn against(selection: &Selection, before: Option<&Tally>) -> String {
    let length = selection.words_before();
    match before {
        Some(before) if before.total() > 0 => {
            format!(
                "Changes are against {length}: {}.",
                number::counted(before.total(), "vote")
            )
        }
        Some(_) => format!("There were no votes in {length}."),
        None => format!("There are too many votes in {length} to compare with."),
    }
}

/// The charts: votes and averages over time, and the distributions, of what there is.
fn charts(unit: Unit, selection: &Selection, counts: &Counts, votes: &Tally) -> Vec<Figure> {
    let over_time = unit.fill(selection.range(), &counts.by_bucket());
    let line = |title: &str, of, value: fn(&Tally) -> Option<f64>, ends| Line {
        title: title.to_owned(),
        axis: unit.name(),
        of,
        points: over_time
            .iter()
            .map(|(bucket, tally)| (Place::of(*bucket), value(tally)))
            .collect(),
        distances: unit.distances(),
        ends,
    };
    let mut charts = vec![votes_over_time(unit, &over_time, 0).figure("votes")];
    if votes.count() > 0 {
        charts.push(line("Average value over time", "Average", Tally::average, None).figure("average"));
    }
    if votes.rated() > 0 {
        charts.push(
            line(
                "Mean rating over time",
                "Mean rating",
                Tally::mean_rating,
                Some((1.0, 5.0)),
            )
            .figure("rating"),
        );
    }
    if votes.count() > 0 {
        charts.push(chart::values(votes).figure("values"));
    }
    if votes.rated() > 0 {
        charts.push(chart::ratings(votes).figure("ratings"));
    }
    charts
}

/// The chart of votes over time, by opinion. Its axis ends at `least` or above.
pub fn votes_over_time(unit: Unit, over_time: &[(Bucket, Tally)], least: i64) -> Bars {
    let columns = over_time.iter();
    Bars {
        title: "Votes over time".to_owned(),
        axis: unit.name(),
        columns: columns
            .map(|(bucket, tally)| (Place::of(*bucket), chart::opinions(tally)))
            .collect(),
        distances: unit.distances(),
        least,
        is_stacked: true,
    }
}

/// The most frequent reasons, with bars beside each other's.
fn reasons_of(counts: &Counts, votes: &Tally, selection: &Selection) -> Vec<Reason> {
    let reasons = counts.by_value();
    let most = reasons.first().map_or(1, |(_, tally)| tally.total().max(1)) as f64;
    let all = votes.total().max(1) as f64;
    let reasons = reasons.into_iter().take(MAX_REASONS);
    reasons
        .map(|(name, tally)| {
            let share = number::percent(tally.total() as f64 / all);
            Reason {
                href: format!("{PATH}{}", selection.with("reason", Some(&name))),
                votes: number::count(tally.total()),
                meter: chart::meter(&format!("{share} of all votes"), tally.total() as f64 / most),
                share,
                name,
            }
        })
        .collect()
}

/// The best and the worst of a group, as far as there are any.
fn ranked(counts: &Counts, parameter: &str, selection: &Selection) -> Vec<(&'static str, Vec<Row>)> {
    let groups = counts.by_value();
    let all = groups.len();
    let Ranking { best, worst } = Ranking::new(groups, MAX_RANKED);
    let rows = |list: Vec<Ranked>| -> Vec<Row> {
        let rows = list.into_iter();
        rows.map(|ranked| Row::new(ranked, selection, parameter))
            .collect()
    };
    let heading = if best.len() == all { "All" } else { "Best" };
    let mut lists = vec![(heading, rows(best)), ("Worst", rows(worst))];
    lists.retain(|(_, rows)| !rows.is_empty());
    lists
}

/// The page over all time, and without its filters.
fn wider(selection: &Selection) -> Vec<page::Link> {
    let link = |text: &str, query: String| page::Link {
        text: text.to_owned(),
        href: format!("{PATH}{query}"),
        is_current: false,
    };
    let mut links = Vec::new();
    if selection.get("range") != Some("1y") {
        links.push(link("Show the last year", selection.with("range", Some("1y"))));
    }
    if unanswered::has_filter(selection) {
        links.push(page::Link {
            text: "Remove the filters".to_owned(),
            href: FilterBar::new(PATH, selection).clear,
            is_current: false,
        });
    }
    links
}

/// The page in a shorter range.
fn narrower(selection: &Selection) -> Vec<page::Link> {
    let mut links = Vec::new();
    for (name, words) in [("24h", "Show the last 24 hours"), ("1h", "Show the last hour")] {
        if selection.get("range") != Some(name) {
            links.push(page::Link {
                text: words.to_owned(),
                href: format!("{PATH}{}", selection.with("range", Some(name))),
                is_current: false,
            });
        }
    }
    links
}

/// Why there are no votes, and what to do. `is_new` means that none was ever counted.
fn nothing(selection: &Selection, is_new: bool, origin: Option<&str>) -> Empty {
    if !is_new {
        let which = if unanswered::has_filter(selection) {
            " that match the filters"
        } else {
            ""
        };
        return Empty {
            heading: "Nothing here",
            text: format!("There are no votes{which} in {}.", selection.words()),
            links: wider(selection),
            call: None,
        };
    }
    let origin = origin.unwrap_or("https://your-api.example.com");
    Empty {
        heading: "No feedback yet",
        text: "Send the first vote with an API key of scope write. It is counted within seconds.".to_owned(),
        links: Vec::new(),
        call: Some(format!(
            "curl {origin}/v1/feedback \\\n  -H \"Authorization: Bearer $KEY\" \\\n  -d '{{\"trace_id\": \
             \"trace-1\", \"value\": 1, \"metadata\": {{\"_prompt\": \"greeting\"}}}}'"
        )),
    }
}
