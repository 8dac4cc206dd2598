//! Charts as SVG, with a table of the same numbers beside each.
//!
//! [`Bars::layout`] and [`Line::layout`] place everything, and the `Display` of a [`Figure`] writes it. A
//! chart scales with its width by its `viewBox`. On a phone the style sheet more than halves that, and
//! enlarges the text to `FONT` units, for which labels are placed. Colors are classes.

mod ticks;

use std::fmt::{self, Display, Formatter, Write as _};

use askama::filters::{Escaper as _, Html};
use shared::stats::figures::Opinion;
use shared::stats::interval::Share;
use shared::stats::tally::Tally;

use crate::buckets::Bucket;
use crate::number;
use ticks::ticks;

/// The width of a chart, in units of its `viewBox`.
pub const WIDTH: f64 = 560.0;

/// The height of a chart.
pub const HEIGHT: f64 = 230.0;

/// The largest text, in units: `.chart text` in charts.css on a phone.
const FONT: f64 = 20.0;

/// The width of a character of [`FONT`], at most: figures are 0.56 em wide in the system's fonts, and a
/// label has wider and narrower letters.
const CHARACTER: f64 = FONT * 0.6;

/// The least gap between two labels.
const LABEL_GAP: f64 = 14.0;

/// The widest bar.
const MAX_BAR: f64 = 44.0;

/// At most so many steps on the vertical axis.
const MAX_STEPS: usize = 4;

/// The part of the chart where the data is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plot {
    /// The left edge.
    pub left: f64,
    /// The right edge.
    pub right: f64,
    /// The upper edge.
    pub top: f64,
    /// The lower edge.
    pub bottom: f64,
}

/// One thing on the horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Its label under the axis.
    pub label: String,
    /// Its full name, in the table and on hover.
    pub name: String,
    /// Its number on the axis: it may have a label if the number is a multiple of the distance between
    /// labels.
    pub ordinal: i64,
}

impl Place {
    /// The place of a bucket.
    pub fn of(bucket: Bucket) -> Self {
        Self {
            label: bucket.label(),
            name: bucket.name(),
            ordinal: bucket.ordinal(),
        }
    }
}

/// A label and where its middle is.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The middle of its baseline.
    pub x: f64,
    /// The text.
    pub text: String,
}

/// A line of the grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where it is.
    pub y: f64,
    /// What it stands for.
    pub value: f64,
    /// The same as text.
    pub text: String,
}

/// A bar or a part of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
    /// The height, above 0.
    pub height: f64,
    /// Which of the series it is of.
    pub series: usize,
}

/// A bar chart, with the positive below, then the neutral and the negative.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What the chart shows: a short title.
    pub title: String,
    /// What the places are: the head of the table's first column.
    pub axis: &'static str,
    /// The places and how many of each opinion, in the order of [`Opinion::ALL`].
    pub columns: Vec<(Place, [i64; 3])>,
    /// How far apart labels may be, finest first.
    pub distances: &'static [i64],
    /// The height of the axis at least, for charts that stand side by side.
    pub least: i64,
    /// Whether the table tells the opinions apart. Where a place has just one, its name says it.
    pub is_stacked: bool,
}

/// A line chart, with gaps where there is nothing.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the chart shows: a short title.
    pub title: String,
    /// What the places are: the head of the table's first column.
    pub axis: &'static str,
    /// What the values are: the head of the table's second column.
    pub of: &'static str,
    /// The places and their values.
    pub points: Vec<(Place, Option<f64>)>,
    /// How far apart labels may be, finest first.
    pub distances: &'static [i64],
    /// The ends of the vertical axis, if they are given; otherwise it contains 0 and every value.
    pub ends: Option<(f64, f64)>,
}

/// Where everything of a chart is.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Where the data is.
    pub plot: Plot,
    /// The lines of the grid, lowest first.
    pub ticks: Vec<Tick>,
    /// The labels under the axis.
    pub labels: Vec<Label>,
    /// The bars.
    pub bars: Vec<Bar>,
    /// The line, in pieces without a gap: each at least one point.
    pub pieces: Vec<Vec<(f64, f64)>>,
}

/// The names and classes of the series, in the order of [`Opinion::ALL`].
const SERIES: [(&str, &str); 3] = [
    ("Positive", "positive"),
    ("Neutral", "neutral"),
    ("Negative", "negative"),
];

/// Whether a chart of so many places has short hints, since their text is most of its bytes.
fn is_dense(places: usize) -> bool {
    places > 60
}

/// The counts of a tally by opinion.
pub fn opinions(tally: &Tally) -> [i64; 3] {
    Opinion::ALL.map(|opinion| tally.with_opinion(opinion))
}

/// The distribution of values, −10 to 10.
pub fn values(votes: &Tally) -> Bars {
    distribution(
        "Values",
        "Value",
        &[1, 5, 10],
        votes.by_value(),
        Opinion::of_value,
    )
}

/// The distribution of ratings, 1 to 5.
pub fn ratings(votes: &Tally) -> Bars {
    distribution("Ratings", "Rating", &[1], votes.by_rating(), Opinion::of_rating)
}

fn distribution(
    title: &str,
    axis: &'static str,
    distances: &'static [i64],
    counts: impl Iterator<Item = (i64, i64)>,
    opinion: fn(i64) -> Opinion,
) -> Bars {
    let columns = counts.map(|(score, count)| {
        let place = Place {
            label: number::count(score),
            name: format!("{axis} {}", number::count(score)),
            ordinal: score,
        };
        let parts = Opinion::ALL.map(|each| if each == opinion(score) { count } else { 0 });
        (place, parts)
    });
    Bars {
        title: title.to_owned(),
        axis,
        columns: columns.collect(),
        distances,
        least: 0,
        is_stacked: false,
    }
}

impl Bars {
    /// Places the bars.
    pub fn layout(&self) -> Layout {
        let heights = self.columns.iter().map(|(_, parts)| parts.iter().sum::<i64>());
        let highest = heights.max().unwrap_or_default().max(self.least).max(1);
        let axis = Axis::new(0.0, highest as f64, 1.0, self.columns.len());
        let width = (axis.step() * 0.72).min(MAX_BAR);
        let mut bars = Vec::new();
        for (index, (_, parts)) in self.columns.iter().enumerate() {
            let mut below = 0;
            for (series, part) in parts.iter().enumerate().filter(|(_, part)| **part > 0) {
                let (bottom, top) = (axis.y(below as f64), axis.y((below + part) as f64));
                below += part;
                bars.push(Bar {
                    x: axis.x(index) - width / 2.0,
                    y: top,
                    width,
                    height: bottom - top,
                    series,
                });
            }
        }
        Layout {
            labels: axis.labels(self.columns.iter().map(|(place, _)| place), self.distances),
            plot: axis.plot,
            ticks: axis.ticks,
            bars,
            pieces: Vec::new(),
        }
    }

    /// The chart with its table. `id` is unique on the page.
    pub fn figure(&self, id: &str) -> Figure {
        let sum = |parts: &[i64; 3]| parts.iter().sum::<i64>();
        let all: i64 = self.columns.iter().map(|(_, parts)| sum(parts)).sum();
        let most = self.columns.iter().max_by_key(|(_, parts)| sum(parts));
        let description = match most.filter(|(_, parts)| sum(parts) > 0) {
            Some((place, parts)) => format!(
                "{} in all. The most, {}, at {}.",
                number::count(all),
                number::count(sum(parts)),
                place.name
            ),
            None => "Nothing in this range.".to_owned(),
        };
        let told = |parts: &[i64; 3]| -> Vec<String> {
            let parts = parts.iter().map(|part| number::count(*part));
            if self.is_stacked {
                parts.collect()
            } else {
                Vec::new()
            }
        };
        let heads: &[&'static str] = if self.is_stacked {
            &["Positive", "Neutral", "Negative", "All"]
        } else {
            &["Votes"]
        };
        let rows = self.columns.iter().map(|(place, parts)| {
            let mut cells = told(parts);
            cells.push(number::count(sum(parts)));
            (place.name.clone(), cells)
        });
        let hints = self.columns.iter().map(|(place, parts)| {
            if is_dense(self.columns.len()) {
                return format!("{}: {}", place.label, number::count(sum(parts)));
            }
            let mut hint = format!("{}: {}", place.name, number::count(sum(parts)));
            if self.is_stacked && sum(parts) > 0 {
                let named = SERIES.iter().zip(parts).filter(|(_, part)| **part > 0);
                let named: Vec<String> = named
                    .map(|((name, _), part)| format!("{} {}", number::count(*part), name.to_lowercase()))
                    .collect();
                let _ = write!(hint, " ({})", named.join(", "));
            }
            hint
        });
        Figure {
            id: id.to_owned(),
            title: self.title.clone(),
            description,
            layout: self.layout(),
            hints: hints.collect(),
            has_legend: self.is_stacked,
            heads: [self.axis].into_iter().chain(heads.iter().copied()).collect(),
            rows: rows.collect(),
        }
    }
}

impl Line {
    /// Places the line.
    pub fn layout(&self) -> Layout {
        let values = self.points.iter().filter_map(|(_, value)| *value);
        let (low, high) = self.ends.unwrap_or_else(|| {
            values.fold((0.0, 0.0), |(low, high): (f64, f64), value| {
                (low.min(value), high.max(value))
            })
        });
        let axis = Axis::new(low, if low < high { high } else { 1.0 }, 0.01, self.points.len());
        let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
        for (index, (_, value)) in self.points.iter().enumerate() {
            match (value, pieces.last_mut()) {
                (Some(value), Some(piece)) => piece.push((axis.x(index), axis.y(*value))),
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        Layout {
            labels: axis.labels(self.points.iter().map(|(place, _)| place), self.distances),
            plot: axis.plot,
            ticks: axis.ticks,
            bars: Vec::new(),
            pieces,
        }
    }

    /// The chart with its table. `id` is unique on the page.
    pub fn figure(&self, id: &str) -> Figure {
        let text = |value: &Option<f64>| number::or_none(*value, |value| number::decimal(value, 2));
        let mut known = self
            .points
            .iter()
            .filter_map(|(place, value)| Some((place, (*value)?)));
        let first = known.next();
        let description = match (first, known.next_back().or(first)) {
            (Some((from, first)), Some((to, last))) => format!(
                "{} at {}, {} at {}.",
                number::decimal(first, 2),
                from.name,
                number::decimal(last, 2),
                to.name
            ),
            _ => "Nothing in this range.".to_owned(),
        };
        let points = self.points.iter();
        Figure {
            id: id.to_owned(),
            title: self.title.clone(),
            description,
            layout: self.layout(),
            hints: points
                .clone()
                .map(|(place, value)| {
                    let is_dense = is_dense(self.points.len());
                    let name = if is_dense { &place.label } else { &place.name };
                    format!("{name}: {}", text(value))
                })
                .collect(),
            has_legend: false,
            heads: vec![self.axis, self.of],
            rows: points
                .map(|(place, value)| (place.name.clone(), vec![text(value)]))
                .collect(),
        }
    }
}

/// Both axes of a chart.
struct Axis {
    plot: Plot,
    ticks: Vec<Tick>,
    low: f64,
    high: f64,
    places: usize,
}

impl Axis {
    fn new(low: f64, high: f64, finest: f64, places: usize) -> Self {
        let values = ticks(low, high, MAX_STEPS, finest);
        let texts = number::axis(&values);
        let widest = texts.iter().map(|text| width(text)).fold(0.0, f64::max);
        let mut axis = Self {
            plot: Plot {
                left: widest + 10.0,
                right: WIDTH - 4.0,
                top: FONT / 2.0 + 2.0,
                bottom: HEIGHT - FONT - 12.0,
            },
            ticks: Vec::new(),
            low: values.first().copied().unwrap_or_default(),
            high: values.last().copied().unwrap_or(1.0),
            places: places.max(1),
        };
        let tick = |(value, text)| Tick {
            y: axis.y(value),
            value,
            text,
        };
        axis.ticks = values.into_iter().zip(texts).map(tick).collect();
        axis
    }

    /// The width that each place has.
    fn step(&self) -> f64 {
        (self.plot.right - self.plot.left) / self.places as f64
    }

    /// The middle of a place.
    fn x(&self, index: usize) -> f64 {
        self.plot.left + self.step() * (index as f64 + 0.5)
    }

    /// The height of a value, within the plot.
    fn y(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.plot.bottom - share * (self.plot.bottom - self.plot.top)
    }

    /// As many labels as fit beside each other.
    fn labels<'a>(&self, places: impl Iterator<Item = &'a Place>, distances: &[i64]) -> Vec<Label> {
        let places: Vec<&Place> = places.collect();
        let at = |distance: i64| -> Vec<Label> {
            let labelled = places.iter().enumerate();
            labelled
                .filter(|(_, place)| place.ordinal.rem_euclid(distance.max(1)) == 0)
                .map(|(index, place)| Label {
                    x: self.x(index),
                    text: place.label.clone(),
                })
                .filter(|label| {
                    let half = width(&label.text) / 2.0;
                    label.x - half >= 0.0 && label.x + half <= WIDTH
                })
                .collect()
        };
        let fits = |labels: &Vec<Label>| {
            labels.windows(2).all(|pair| {
                let halves = (width(&pair[0].text) + width(&pair[1].text)) / 2.0;
                pair[1].x - pair[0].x >= halves + LABEL_GAP
            })
        };
        let mut choices = distances.iter().map(|distance| at(*distance));
        choices.find(fits).unwrap_or_default()
    }
}

/// The width of a label, at most.
fn width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// A chart with title, description, legend and table, as HTML.
#[derive(Clone, Debug)]
pub struct Figure {
    id: String,
    title: String,
    description: String,
    layout: Layout,
    /// What each place shows on hover.
    hints: Vec<String>,
    has_legend: bool,
    heads: Vec<&'static str>,
    rows: Vec<(String, Vec<String>)>,
}

impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (id, title) = (Escaped(&self.id), Escaped(&self.title));
        write!(
            f,
            "<figure class=\"card plot\"><figcaption><h2>{title}</h2>{}</figcaption>\
             <svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\"><title id=\"{id}-title\">{title}</title>\
             <desc id=\"{id}-desc\">{}</desc>",
            if self.has_legend { LEGEND } else { "" },
            Escaped(&self.description)
        )?;
        self.layout.fmt(f)?;
        let Plot {
            left,
            right,
            top,
            bottom,
        } = self.layout.plot;
        // Each place's hint appears wherever the pointer is above or below it.
        let step = (right - left) / self.hints.len().max(1) as f64;
        write!(f, "<g class=\"hits\" stroke-width=\"{}\">", Units(step))?;
        for (index, hint) in self.hints.iter().enumerate() {
            write!(
                f,
                "<path d=\"M{} {}V{}\"><title>{}</title></path>",
                Units(left + step * (index as f64 + 0.5)),
                Units(top),
                Units(bottom),
                Escaped(hint)
            )?;
        }
        f.write_str("</g>")?;
        write!(
            f,
            "</svg><details class=\"more-data\"><summary>Show as a table</summary>\
             <div class=\"table\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\"><table><thead><tr>"
        )?;
        for head in &self.heads {
            write!(f, "<th scope=\"col\">{}</th>", Escaped(head))?;
        }
        f.write_str("</tr></thead><tbody>")?;
        for (name, cells) in &self.rows {
            write!(f, "<tr><th scope=\"row\">{}</th>", Escaped(name))?;
            for cell in cells {
                write!(f, "<td>{}</td>", Escaped(cell))?;
            }
            f.write_str("</tr>")?;
        }
        f.write_str("</tbody></table></div></details></figure>")
    }
}

/// The legend of the opinions.
const LEGEND: &str = "<span class=\"legend\" aria-hidden=\"true\"><span class=\"key positive\">positive</span>\
                      <span class=\"key neutral\">neutral</span><span class=\"key negative\">negative</span></span>";

impl Display for Layout {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Plot {
            left, right, bottom, ..
        } = self.plot;
        for Tick { y, value, text } in &self.ticks {
            write!(
                f,
                "<path class=\"{}\" d=\"M{} {}H{}\"/><text class=\"y\" x=\"{}\" y=\"{}\">{}</text>",
                if *value == 0.0 { "axis" } else { "gridline" },
                Units(left),
                Units(*y),
                Units(right),
                Units(left - 8.0),
                Units(*y),
                text
            )?;
        }
        for Label { x, text } in &self.labels {
            write!(
                f,
                "<text class=\"x\" x=\"{}\" y=\"{}\">{}</text>",
                Units(*x),
                Units(bottom + 10.0),
                Escaped(text)
            )?;
        }
        for (series, (_, class)) in SERIES.iter().enumerate() {
            let mut bars = self.bars.iter().filter(|bar| bar.series == series).peekable();
            if bars.peek().is_none() {
                continue;
            }
            write!(f, "<path class=\"{class}\" d=\"")?;
            for bar in bars {
                let (width, height) = (Units(bar.width), Units(bar.height));
                write!(f, "M{} {}h{width}v{height}h-{width}z", Units(bar.x), Units(bar.y))?;
            }
            f.write_str("\"/>")?;
        }
        line(f, &self.pieces)
    }
}

/// Writes a line, and a dot for a point that has no neighbor.
fn line(f: &mut impl fmt::Write, pieces: &[Vec<(f64, f64)>]) -> fmt::Result {
    for piece in pieces {
        if let [(x, y)] = piece.as_slice() {
            write!(
                f,
                "<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"3\"/>",
                Units(*x),
                Units(*y)
            )?;
            continue;
        }
        f.write_str("<path class=\"line\" d=\"")?;
        for (index, (x, y)) in piece.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            write!(f, "{command}{} {}", Units(*x), Units(*y))?;
        }
        f.write_str("\"/>")?;
    }
    Ok(())
}

/// The size of a sparkline, in units.
const SPARKLINE: (f64, f64) = (120.0, 30.0);

/// A line of shares, 0 at the bottom and 1 at the top, without axes.
pub fn sparkline(title: &str, shares: &[Option<f64>]) -> String {
    let (width, height) = SPARKLINE;
    // A dot at an end is not cut off.
    let margin = 3.0;
    let step = (width - 2.0 * margin) / shares.len().max(1) as f64;
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (index, share) in shares.iter().enumerate() {
        match (share, pieces.last_mut()) {
            (Some(share), Some(piece)) => {
                let y = height - 4.0 - share.clamp(0.0, 1.0) * (height - 8.0);
                piece.push((margin + step * (index as f64 + 0.5), y));
            }
            _ => pieces.push(Vec::new()),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    let mut svg = format!(
        "<svg class=\"sparkline\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\
         <title>{title}</title><path class=\"gridline\" d=\"M0 {middle}H{width}\"/>",
        title = Escaped(title),
        middle = Units(height / 2.0)
    );
    // Writing to a string does not fail.
    let _ = line(&mut svg, &pieces);
    svg.push_str("</svg>");
    svg
}

/// A share and its interval on a scale from 0 to 100 %: a band with a mark in it.
pub fn range(share: Share) -> String {
    let (width, height) = (100.0, 12.0);
    let interval = share.interval();
    // A band of no width could not be seen.
    let (low, high) = (
        interval.low * width,
        (interval.high * width).max(interval.low * width + 1.0),
    );
    let mark = (share.ratio() * width).clamp(1.0, width - 1.0);
    let title = format!(
        "{}, 95 % interval {}",
        number::percent(share.ratio()),
        number::percent_interval(share)
    );
    format!(
        "<svg class=\"range\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\">\
         <title>{title}</title><path class=\"track\" d=\"M0 6H{width}\"/>\
         <path class=\"band\" d=\"M{} 6H{}\"/><path class=\"point\" d=\"M{} 1V11\"/></svg>",
        Units(low.min(width - 1.0)),
        Units(high.min(width)),
        Units(mark)
    )
}

/// A bar of a share of the whole, 0 to 1.
pub fn meter(title: &str, share: f64) -> String {
    let (title, width) = (Escaped(title), Units((share.clamp(0.0, 1.0) * 100.0).max(1.0)));
    format!(
        "<svg class=\"range meter\" viewBox=\"0 0 100 12\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\">\
         <title>{title}</title><path class=\"track\" d=\"M0 6H100\"/><path class=\"band\" d=\"M0 6H{width}\"/></svg>"
    )
}

/// A coordinate, with one decimal place where it has one.
#[derive(Clone, Copy)]
struct Units(f64);

impl Display for Units {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 10.0).round() / 10.0 + 0.0;
        write!(f, "{rounded}")
    }
}

/// Text in HTML and SVG, in elements and in quoted attributes, escaped as the templates do.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Html.write_escaped_str(f, self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DISTANCES: &[i64] = &[1, 2, 7, 14, 28, 56, 112];

    fn place(index: usize) -> Place {
        Place {
            label: format!("Nov {index}"),
            name: format!("day {index}"),
            ordinal: i64::try_from(index).unwrap(),
        }
    }

    fn bars(columns: &[[i64; 3]]) -> Bars {
        Bars {
            title: "Votes".to_owned(),
            axis: "Day",
            columns: columns
                .iter()
                .enumerate()
                .map(|(index, parts)| (place(index), *parts))
                .collect(),
            distances: DISTANCES,
            least: 0,
            is_stacked: true,
        }
    }

    fn line_of(values: &[Option<f64>]) -> Line {
        Line {
            title: "Average".to_owned(),
            axis: "Day",
            of: "Average",
            points: values
                .iter()
                .enumerate()
                .map(|(index, value)| (place(index), *value))
                .collect(),
            distances: DISTANCES,
            ends: None,
        }
    }

    fn assert_axes(layout: &Layout) -> Result<(), TestCaseError> {
        let Plot {
            left,
            right,
            top,
            bottom,
        } = layout.plot;
        prop_assert!(0.0 <= left && left < right && right <= WIDTH && 0.0 <= top && top < bottom);
        prop_assert!(bottom + FONT <= HEIGHT, "labels are below the axis");
        prop_assert!(
            layout
                .ticks
                .windows(2)
                .all(|pair| pair[0].value < pair[1].value && pair[0].y > pair[1].y)
        );
        prop_assert!(layout.ticks.iter().all(|tick| (top..=bottom).contains(&tick.y)));
        let edges = layout.labels.iter().map(|label| {
            let half = width(&label.text) / 2.0;
            (label.x - half, label.x + half)
        });
        let edges: Vec<(f64, f64)> = edges.collect();
        prop_assert!(edges.iter().all(|(from, to)| *from >= 0.0 && *to <= WIDTH));
        prop_assert!(
            edges.windows(2).all(|pair| pair[0].1 < pair[1].0),
            "labels collide"
        );
        Ok(())
    }

    fn assert_markup(figure: &Figure) -> Result<(), TestCaseError> {
        let html = figure.to_string();
        prop_assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        prop_assert!(!html.contains("style="));
        prop_assert_eq!(html.matches("<tr>").count(), figure.rows.len() + 1);
        Ok(())
    }

    proptest! {
        #[test]
        fn every_bar_is_in_the_plot_and_stands_on_the_one_below(
            columns in proptest::collection::vec([0_i64..5_000, 0_i64..5_000, 0_i64..1_000_000], 0..120),
        ) {
            let chart = bars(&columns);
            let layout = chart.layout();
            assert_axes(&layout)?;
            let plot = layout.plot;
            for bar in &layout.bars {
                prop_assert!(bar.width > 0.0 && bar.height > 0.0, "{bar:?}");
                prop_assert!(bar.x >= plot.left && bar.x + bar.width <= plot.right + 1e-9, "{bar:?}");
                prop_assert!(bar.y >= plot.top - 1e-9 && bar.y + bar.height <= plot.bottom + 1e-9, "{bar:?}");
            }
            for pair in layout.bars.windows(2) {
                let (below, above) = (pair[0], pair[1]);
                if below.x == above.x {
                    prop_assert!((above.y + above.height - below.y).abs() < 1e-6 && below.series < above.series);
                } else {
                    prop_assert!(below.x + below.width < above.x, "bars do not touch");
                }
            }
            let parts = columns.iter().flatten().filter(|part| **part > 0).count();
            prop_assert_eq!(layout.bars.len(), parts);
            assert_markup(&chart.figure("c"))?;
        }

        #[test]
        fn a_line_is_in_the_plot_and_breaks_where_there_is_nothing(
            values in proptest::collection::vec(proptest::option::of(-10.0..=10.0), 0..120),
        ) {
            let chart = line_of(&values);
            let layout = chart.layout();
            assert_axes(&layout)?;
            let plot = layout.plot;
            let points: Vec<(f64, f64)> = layout.pieces.iter().flatten().copied().collect();
            prop_assert_eq!(points.len(), values.iter().flatten().count());
            for (x, y) in points {
                prop_assert!((plot.left..=plot.right).contains(&x) && (plot.top..=plot.bottom).contains(&y));
            }
            let runs = values.split(Option::is_none).filter(|run| !run.is_empty()).count();
            prop_assert_eq!(layout.pieces.len(), runs);
            prop_assert!(layout.ticks.iter().any(|tick| tick.value == 0.0), "the axis contains zero");
            assert_markup(&chart.figure("c"))?;
        }

        #[test]
        fn higher_values_are_higher_up(one in -10.0_f64..=10.0, two in -10.0_f64..=10.0) {
            prop_assume!((one - two).abs() > 1e-6);
            let layout = line_of(&[Some(one), Some(two)]).layout();
            let [(_, first), (_, second)] = layout.pieces[0][..] else {
                panic!("two points");
            };
            prop_assert_eq!(one > two, first < second);
        }

        #[test]
        fn a_range_has_its_mark_in_its_band(total in 1_i64..100_000, seed in any::<u64>()) {
            let part = i64::try_from(seed % (u64::try_from(total).unwrap() + 1)).unwrap();
            let svg = range(Share::new(part, total).unwrap());
            prop_assert!(!svg.contains("NaN") && !svg.contains("d=\"M-"), "{svg}");
        }
    }

    #[test]
    fn text_cannot_leave_its_place() {
        let hostile = "\"><script>alert('1')</script>&";
        let mut chart = bars(&[[1, 2, 3]]);
        chart.title = hostile.to_owned();
        chart.columns[0].0.name = hostile.to_owned();
        chart.columns[0].0.label = hostile.to_owned();
        let html = chart.figure(hostile).to_string() + &sparkline(hostile, &[Some(0.5)]);
        assert!(!html.contains("<script") && !html.contains("('1')"), "{html}");
        assert_eq!(
            html.matches("&lt;script&gt;").count(),
            html.matches("script&gt;").count() / 2
        );
    }

    #[test]
    fn an_axis_may_have_ends_of_its_own() {
        let mut chart = line_of(&[Some(4.2), Some(4.4)]);
        chart.ends = Some((1.0, 5.0));
        let values: Vec<f64> = chart.layout().ticks.iter().map(|tick| tick.value).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn a_figure_has_a_title_a_description_and_a_table() {
        let html = bars(&[[3, 1, 0], [1_200, 0, 4]]).figure("votes").to_string();
        for part in [
            "role=\"img\" aria-labelledby=\"votes-title votes-desc\"",
            "<title id=\"votes-title\">Votes</title>",
            "<desc id=\"votes-desc\">1,208 in all. The most, 1,204, at day 1.</desc>",
            "<th scope=\"row\">day 1</th><td>1,200</td><td>0</td><td>4</td>",
            "<title>day 0: 4 (3 positive, 1 neutral)</title>",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        let html = line_of(&[None, Some(-0.5), Some(0.25)])
            .figure("average")
            .to_string();
        for part in [
            "−0.50 at day 1, 0.25 at day 2.",
            "<th scope=\"row\">day 0</th><td>–</td>",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        let empty = line_of(&[]).figure("none").to_string();
        assert!(empty.contains("Nothing in this range."));
    }
}
