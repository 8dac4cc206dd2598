//! The responses to analytics requests.

use serde::Serialize;

use super::AnalyticsQuery;
use super::query::MAX_PAGE;
use crate::dialect::to_json;
use crate::stats::interval::Interval;
use crate::stats::read::Counts;
use crate::stats::tally::Tally;
use crate::timestamp::Timestamp;

/// The default page size for groups, which is Portkey's own.
const DEFAULT_GROUPS: usize = 50;

/// The page of a list that a query asks for.
fn page<T>(all: Vec<T>, query: &AnalyticsQuery, default: usize) -> impl Iterator<Item = T> {
    let size = query.page_size.unwrap_or(default);
    all.into_iter().skip(query.page.saturating_mul(size)).take(size)
}

/// The fields that every response has in addition to Portkey's.
#[derive(Serialize)]
struct Extra {
    /// All changes up to this time are counted. Later ones may be missing.
    as_of: Option<String>,
    ratings: Ratings,
}

impl Extra {
    fn new(total: &Tally, as_of: Option<Timestamp>) -> Self {
        Self {
            as_of: as_of.map(|moment| moment.to_string()),
            ratings: Ratings::of(total),
        }
    }
}

/// The analytics of TrueFoundry's ratings.
#[derive(Serialize)]
struct Ratings {
    total: i64,
    mean: Option<f64>,
    distribution: Vec<Rated>,
}

#[derive(Serialize)]
struct Rated {
    rating: i64,
    total: i64,
}

impl Ratings {
    fn of(tally: &Tally) -> Self {
        Self {
            total: tally.rated(),
            mean: tally.mean_rating(),
            distribution: tally
                .by_rating()
                .filter(|(_, total)| *total != 0)
                .map(|(rating, total)| Rated { rating, total })
                .collect(),
        }
    }
}

/// Σ(value × weight) / n, or 0 if there are no votes, because Portkey has a number there.
fn average(tally: &Tally) -> f64 {
    tally.average().unwrap_or_default()
}

/// The share of votes above 0, with its 95 % confidence interval.
#[derive(Serialize)]
struct Positive {
    share: f64,
    low: f64,
    high: f64,
}

impl Positive {
    fn of(tally: &Tally) -> Option<Self> {
        let share = tally.positive_values()?;
        let Interval { low, high } = share.interval();
        Some(Self {
            share: share.ratio(),
            low,
            high,
        })
    }
}

#[derive(Serialize)]
struct Graph<S, P> {
    summary: S,
    data_points: Vec<P>,
    object: &'static str,
    #[serde(flatten)]
    extra: Extra,
}

fn graph<S: Serialize, P: Serialize>(
    summary: S,
    data_points: Vec<P>,
    total: &Tally,
    as_of: Option<Timestamp>,
) -> String {
    to_json(&Graph {
        summary,
        data_points,
        object: "analytics-graph",
        extra: Extra::new(total, as_of),
    })
}

#[derive(Serialize)]
struct Total {
    total: i64,
}

/// The buckets that have votes.
fn voted(counts: &Counts) -> impl Iterator<Item = (Timestamp, Tally)> {
    let buckets = counts.by_bucket().into_iter();
    buckets.filter(|(_, tally)| tally.count() > 0)
}

/// `…/graphs/feedbacks`: the number of votes over time.
pub fn render_feedbacks(counts: &Counts) -> String {
    #[derive(Serialize)]
    struct Point {
        timestamp: String,
        total: i64,
    }
    let total = counts.total();
    let points = voted(counts)
        .map(|(bucket, tally)| Point {
            timestamp: bucket.to_string(),
            total: tally.count(),
        })
        .collect();
    graph(Total { total: total.count() }, points, &total, counts.as_of)
}

/// `…/feedbacks/scores`: the number of votes per value.
pub fn render_scores(counts: &Counts) -> String {
    #[derive(Serialize)]
    struct Point {
        score: i64,
        total: i64,
    }
    let total = counts.total();
    let points = total
        .by_value()
        .filter(|(_, count)| *count != 0)
        .map(|(score, total)| Point { score, total })
        .collect();
    graph(Total { total: total.count() }, points, &total, counts.as_of)
}

/// `…/feedbacks/weighted`: the average of value × weight over time.
pub fn render_weighted(counts: &Counts) -> String {
    #[derive(Serialize)]
    struct Summary {
        avg: f64,
        /// Σ(value × weight) / Σ weight
        mean: Option<f64>,
        positive: Option<Positive>,
    }
    #[derive(Serialize)]
    struct Point {
        timestamp: String,
        avg: f64,
    }
    let total = counts.total();
    let summary = Summary {
        avg: average(&total),
        mean: total.weighted_mean(),
        positive: Positive::of(&total),
    };
    let points = voted(counts)
        .map(|(bucket, tally)| Point {
            timestamp: bucket.to_string(),
            avg: average(&tally),
        })
        .collect();
    graph(summary, points, &total, counts.as_of)
}

/// `…/feedbacks/ai-models`: one page of the models that callers named in metadata.
pub fn render_models(counts: &Counts, query: &AnalyticsQuery) -> String {
    #[derive(Serialize)]
    struct Models {
        summary: Nothing,
        data_points: Vec<Point>,
        object: &'static str,
        /// The number of models on all pages.
        total: usize,
        #[serde(flatten)]
        extra: Extra,
    }
    #[derive(Serialize)]
    struct Nothing {}
    #[derive(Serialize)]
    struct Point {
        ai_model: String,
        total: i64,
        avg_weighted_feedback: f64,
        ratings: Ratings,
    }
    let total = counts.total();
    let models = counts.by_value();
    to_json(&Models {
        summary: Nothing {},
        object: "analytics-graph",
        total: models.len(),
        data_points: page(models, query, MAX_PAGE)
            .map(|(ai_model, tally)| Point {
                ai_model,
                total: tally.count(),
                avg_weighted_feedback: average(&tally),
                ratings: Ratings::of(&tally),
            })
            .collect(),
        extra: Extra::new(&total, counts.as_of),
    })
}

/// `…/groups/metadata/{key}`: one page of the values of a metadata field.
pub fn render_groups(counts: &Counts, query: &AnalyticsQuery) -> String {
    #[derive(Serialize)]
    struct Groups {
        object: &'static str,
        total: usize,
        data: Vec<Group>,
        #[serde(flatten)]
        extra: Extra,
    }
    #[derive(Serialize)]
    struct Group {
        metadata_value: String,
        requests_with_feedback: i64,
        avg_weighted_feedback: f64,
        last_seen: Option<String>,
        object: &'static str,
        ratings: Ratings,
    }
    let total = counts.total();
    let groups = counts.by_value();
    let count = groups.len();
    let data = page(groups, query, DEFAULT_GROUPS)
        .map(|(metadata_value, tally)| Group {
            metadata_value,
            requests_with_feedback: tally.count() + tally.rated(),
            avg_weighted_feedback: average(&tally),
            last_seen: tally.last_seen.map(|moment| moment.to_string()),
            object: "analytics-group",
            ratings: Ratings::of(&tally),
        })
        .collect();
    to_json(&Groups {
        object: "list",
        total: count,
        data,
        extra: Extra::new(&total, counts.as_of),
    })
}
