//! The responses to analytics requests.

use serde::Serialize;

use super::AnalyticsQuery;
use super::query::MAX_PAGE;
use crate::dialect::to_json;
use crate::stats::read::Cells;
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
        let sum: i64 = tally.by_rating().map(|(rating, count)| rating * count).sum();
        Self {
            total: tally.rated(),
            mean: ratio(sum as f64, tally.rated()),
            distribution: tally
                .by_rating()
                .filter(|(_, total)| *total != 0)
                .map(|(rating, total)| Rated { rating, total })
                .collect(),
        }
    }
}

/// The quotient, or `None` if the count is 0.
fn ratio(sum: f64, count: i64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

/// Σ(value × weight) / n, or 0 if there are no votes, because Portkey has a number there.
fn average(tally: &Tally) -> f64 {
    ratio(tally.weighted.to_f64(), tally.count()).unwrap_or_default()
}

/// The share of votes above 0, with its 95 % confidence interval (Wilson, J. Am. Stat. Assoc. 22, 1927).
#[derive(Serialize)]
struct Positive {
    share: f64,
    low: f64,
    high: f64,
}

impl Positive {
    fn of(tally: &Tally) -> Option<Self> {
        const Z: f64 = 1.959_963_984_540_054;
        let positive: i64 = tally
            .by_value()
            .filter(|(value, _)| *value > 0)
            .map(|(_, count)| count)
            .sum();
        let share = ratio(positive as f64, tally.count())?;
        let n = tally.count() as f64;
        let z2 = Z * Z;
        let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let spread = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        Some(Self {
            share,
            low: (centre - spread).max(0.0),
            high: (centre + spread).min(1.0),
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

fn sum<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Tally {
    tallies.into_iter().fold(Tally::default(), |mut sum, tally| {
        sum += tally;
        sum
    })
}

fn by_bucket(cells: &Cells) -> Vec<(Timestamp, Tally)> {
    let mut buckets: Vec<(Timestamp, Tally)> = Vec::new();
    for ((bucket, _), tally) in cells {
        match buckets.last_mut() {
            Some((last, sum)) if last == bucket => *sum += tally,
            _ => buckets.push((*bucket, tally.clone())),
        }
    }
    buckets.retain(|(_, tally)| tally.count() > 0);
    buckets
}

fn by_value(cells: &Cells) -> Vec<(String, Tally)> {
    let mut values: std::collections::BTreeMap<&str, Tally> = std::collections::BTreeMap::new();
    for ((_, value), tally) in cells {
        *values.entry(value).or_default() += tally;
    }
    let mut groups: Vec<(String, Tally)> = values
        .into_iter()
        .filter(|(_, tally)| tally.count() + tally.rated() > 0)
        .map(|(value, tally)| (value.to_owned(), tally))
        .collect();
    // Largest first, ties by name, so that pages do not overlap.
    groups.sort_by(|(one_name, one), (other_name, other)| {
        let size = |tally: &Tally| tally.count() + tally.rated();
        size(other).cmp(&size(one)).then_with(|| one_name.cmp(other_name))
    });
    groups
}

/// `…/graphs/feedbacks`: the number of votes over time.
pub fn render_feedbacks(cells: &Cells, as_of: Option<Timestamp>) -> String {
    #[derive(Serialize)]
    struct Point {
        timestamp: String,
        total: i64,
    }
    let total = sum(cells.values());
    let points = by_bucket(cells)
        .into_iter()
        .map(|(bucket, tally)| Point {
            timestamp: bucket.to_string(),
            total: tally.count(),
        })
        .collect();
    graph(Total { total: total.count() }, points, &total, as_of)
}

/// `…/feedbacks/scores`: the number of votes per value.
pub fn render_scores(cells: &Cells, as_of: Option<Timestamp>) -> String {
    #[derive(Serialize)]
    struct Point {
        score: i64,
        total: i64,
    }
    let total = sum(cells.values());
    let points = total
        .by_value()
        .filter(|(_, count)| *count != 0)
        .map(|(score, total)| Point { score, total })
        .collect();
    graph(Total { total: total.count() }, points, &total, as_of)
}

/// `…/feedbacks/weighted`: the average of value × weight over time.
pub fn render_weighted(cells: &Cells, as_of: Option<Timestamp>) -> String {
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
    let total = sum(cells.values());
    let weight = total.weight.to_f64();
    let summary = Summary {
        avg: average(&total),
        mean: (weight > 0.0).then(|| total.weighted.to_f64() / weight),
        positive: Positive::of(&total),
    };
    let points = by_bucket(cells)
        .into_iter()
        .map(|(bucket, tally)| Point {
            timestamp: bucket.to_string(),
            avg: average(&tally),
        })
        .collect();
    graph(summary, points, &total, as_of)
}

/// `…/feedbacks/ai-models`: one page of the models that callers named in metadata.
pub fn render_models(cells: &Cells, query: &AnalyticsQuery, as_of: Option<Timestamp>) -> String {
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
    let total = sum(cells.values());
    let models = by_value(cells);
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
        extra: Extra::new(&total, as_of),
    })
}

/// `…/groups/metadata/{key}`: one page of the values of a metadata field.
pub fn render_groups(cells: &Cells, query: &AnalyticsQuery, as_of: Option<Timestamp>) -> String {
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
    let total = sum(cells.values());
    let groups = by_value(cells);
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
        extra: Extra::new(&total, as_of),
    })
}
