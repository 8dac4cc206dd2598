//! Which feedback a page is about: its time range and filters, from the URL and back.

use std::time::Duration;

use shared::dialect::portkey;
use shared::indexed::{Field, MAX_INDEXED};
use shared::problem::{Fault, Problem};
use shared::query::Filter;
use shared::stats::read::Range;
use shared::stats::series::Series;
use shared::timestamp::Timestamp;

/// A time range that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The last hour.
    Hour,
    /// The last 24 hours.
    Day,
    /// The last 7 days, which is the default.
    Week,
    /// The last 30 days.
    Month,
    /// The last 90 days.
    Quarter,
    /// The last 365 days.
    Year,
}

impl Preset {
    /// All of them, the shortest first.
    pub const ALL: [Self; 6] = [
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Year,
    ];

    /// Its name in the URL and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::Quarter => "90d",
            Self::Year => "1y",
        }
    }

    /// What it is in words: `the last 7 days`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hour => "the last hour",
            Self::Day => "the last 24 hours",
            Self::Week => "the last 7 days",
            Self::Month => "the last 30 days",
            Self::Quarter => "the last 90 days",
            Self::Year => "the last year",
        }
    }

    /// Its length.
    pub fn length(self) -> Duration {
        let hours = match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
            Self::Quarter => 90 * 24,
            Self::Year => 365 * 24,
        };
        Duration::from_secs(hours * 60 * 60)
    }

    /// When it begins if it ends `now`: where a roll-up begins, so that none of its records have to be counted
    /// one by one. That is a whole hour, and of the last hour whole two minutes.
    pub fn start(self, now: Timestamp) -> Timestamp {
        let series = match self {
            Self::Hour => Series::Minutes,
            _ => Series::Hours,
        };
        series.floor(before(now, self.length()))
    }
}

/// The name of a range that is not a preset.
const CUSTOM: &str = "custom";

/// The parameters that are a filter of lists as well, besides one for each indexed field.
const OF_LISTS: [&str; 2] = ["name", "reason"];

/// The filters of lists that counts do not have.
const OF_LISTS_ALONE: [&str; 5] = [
    "value_min",
    "value_max",
    "rating_min",
    "rating_max",
    "has_comment",
];

/// Which feedback a page is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The start, inclusive.
    pub from: Timestamp,
    /// The end, exclusive.
    pub to: Timestamp,
    /// The preset, unless the range is custom.
    pub preset: Option<Preset>,
    /// The filter, without times.
    pub filter: Filter,
    /// The model that feedback must be about.
    pub model: Option<String>,
    /// The parameters that say all this, in the URL's order.
    parameters: Vec<(String, String)>,
}

impl Selection {
    /// Reads the parameters of a page of counts. `others` names the parameters that the page reads itself; they are not
    /// part of the selection. Empty ones count as missing, since a form sends all of its fields.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] with every parameter that is unknown or invalid.
    pub fn parse(query: &[(String, String)], others: &[&str], now: Timestamp) -> Result<Self, Problem> {
        Self::read(query, others, &[], now)
    }

    /// Reads the parameters of a page that lists feedback, which has filters more: those by score and by whether
    /// there is a comment.
    ///
    /// # Errors
    ///
    /// Those of [`Selection::parse`].
    pub fn of_list(query: &[(String, String)], others: &[&str], now: Timestamp) -> Result<Self, Problem> {
        Self::read(query, others, &OF_LISTS_ALONE, now)
    }

    fn read(
        query: &[(String, String)],
        others: &[&str],
        more: &[&str],
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = query
            .iter()
            .filter(|(name, value)| !value.is_empty() && !others.contains(&name.as_str()))
            .cloned()
            .collect();
        let mut faults = Vec::new();
        let is_own = |name: &str| matches!(name, "range" | "from" | "to" | "model");
        let is_filter = |name: &str| {
            OF_LISTS.contains(&name)
                || more.contains(&name)
                || Field::ALL.iter().any(|field| field.name() == name)
        };
        let unknown: Vec<String> = parameters
            .iter()
            .filter(|(name, _)| !is_own(name) && !is_filter(name))
            .take(5)
            .map(|(name, _)| name.chars().take(32).collect())
            .collect();
        if !unknown.is_empty() {
            let rest = format!("unknown parameter {}", unknown.join(", "));
            faults.push(Fault::new("query", rest));
        }
        for name in ["range", "model"] {
            if parameters.iter().filter(|(field, _)| field == name).count() > 1 {
                faults.push(Fault::new(name, "expected once, got several"));
            }
        }
        let has = |name: &str| parameters.iter().any(|(field, _)| field == name);
        let preset = match value(&parameters, "range") {
            Some(CUSTOM) => None,
            None if has("from") || has("to") => None,
            None => Some(Preset::Week),
            Some(name) => {
                let preset = Preset::ALL.into_iter().find(|preset| preset.name() == name);
                if preset.is_none() {
                    let names = Preset::ALL.map(Preset::name).join(", ");
                    let rest = format!(
                        "expected {names} or {CUSTOM}, got {} bytes of something else",
                        name.len()
                    );
                    faults.push(Fault::new("range", rest));
                }
                preset.or(Some(Preset::Week))
            }
        };
        if preset.is_some() {
            // A form sends the dates of its custom range whichever range is chosen.
            parameters.retain(|(name, _)| name != "from" && name != "to");
        } else if !parameters.iter().any(|(name, _)| name == "from") {
            faults.push(Fault::new("from", "missing, expected in a custom range"));
        }
        let model = value(&parameters, "model").map(str::to_owned);
        if let Some(model) = model.as_ref().filter(|model| model.len() > MAX_INDEXED) {
            let rest = format!("expected 1 to {MAX_INDEXED} bytes, got {}", model.len());
            faults.push(Fault::new("model", rest));
        }
        // Times and filters are those of the API's lists.
        let of_lists: Vec<(String, String)> = parameters
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "from" | "to") || is_filter(name))
            .cloned()
            .collect();
        let listed = match portkey::parse_list(&of_lists) {
            Ok(listed) => listed.filter,
            Err(Problem::Invalid(more)) => {
                faults.extend(more);
                Filter::default()
            }
            Err(problem) => return Err(problem),
        };
        if !faults.is_empty() {
            return Err(Problem::Invalid(faults));
        }
        // Just after now, so that the roll-ups under way are counted whole.
        let to = listed.to.unwrap_or(now + Duration::from_millis(1));
        let from = match preset {
            Some(preset) => preset.start(now),
            None => listed.from.unwrap_or(to).min(to),
        };
        Ok(Self {
            from,
            to,
            preset,
            filter: Filter {
                from: None,
                to: None,
                ..listed
            },
            model,
            parameters,
        })
    }

    /// The time range.
    pub fn range(&self) -> Range {
        Range {
            from: self.from,
            to: self.to,
        }
    }

    /// The range of the same length before it.
    pub fn before(&self) -> Range {
        Range {
            from: before(self.from, self.from.until(self.to)),
            to: self.from,
        }
    }

    /// The filter with the time range, as lists take it.
    pub fn list_filter(&self) -> Filter {
        Filter {
            from: Some(self.from),
            to: Some(self.to),
            ..self.filter.clone()
        }
    }

    /// The range in words: `the last 7 days`, or its two ends.
    pub fn words(&self) -> String {
        match self.preset {
            Some(preset) => preset.words().to_owned(),
            None => format!("{} to {}", short(self.from), short(self.to)),
        }
    }

    /// The range before in words: `the 7 days before`.
    pub fn words_before(&self) -> String {
        match self.preset {
            Some(preset) => preset.words().replacen("the last", "the", 1) + " before",
            None => "the same length of time before".to_owned(),
        }
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        value(&self.parameters, name)
    }

    /// The URL's query, with its `?`; empty without parameters.
    pub fn query(&self) -> String {
        query_string(&self.parameters)
    }

    /// The parameters that say which feedback it is, in the URL's order.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The query with further parameters, which a page reads itself.
    pub fn with_each(&self, others: &[(&str, &str)]) -> String {
        let others = others
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let parameters: Vec<(String, String)> = self.parameters.iter().cloned().chain(others).collect();
        query_string(&parameters)
    }

    /// The query of a page of counts, without the filters that only lists have.
    pub fn query_of_counts(&self) -> String {
        let mut parameters = self.parameters.clone();
        parameters.retain(|(name, _)| !OF_LISTS_ALONE.contains(&name.as_str()));
        query_string(&parameters)
    }

    /// The query with one parameter set to another value, or without it.
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let mut parameters = self.parameters.clone();
        parameters.retain(|(field, _)| field != name);
        if name == "range" && value != Some(CUSTOM) {
            parameters.retain(|(field, _)| field != "from" && field != "to");
        }
        parameters.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        query_string(&parameters)
    }
}

/// Time ranges and filters above a page: `{% include "filters.html" %}`, in the field `bar`.
#[derive(Clone, Debug)]
pub struct FilterBar {
    /// The page's path.
    pub path: &'static str,
    /// The presets.
    pub presets: Vec<Choice>,
    /// The range's ends for `<input type="datetime-local">`, in UTC.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// Whether the range is custom.
    pub is_custom: bool,
    /// What the custom range is, in words.
    pub words: String,
    /// The filters by text.
    pub texts: Vec<TextFilter>,
    /// The filters that are set.
    pub chips: Vec<Chip>,
    /// The page without filters, in the same range.
    pub clear: String,
    /// The filters that only lists have.
    pub more: Option<MoreFilters>,
    /// What the form sends besides, because its page reads it itself.
    pub beside: Vec<(String, String)>,
}

/// The filters that only lists have.
#[derive(Clone, Debug)]
pub struct MoreFilters {
    /// The ranges of scores: on each scale the lower end and the upper.
    pub ranges: [[NumberFilter; 2]; 2],
    /// The reason.
    pub reason: String,
    /// Whether there is a comment: `true`, `false` or nothing.
    pub has_comment: String,
}

/// One end of a range of scores.
#[derive(Clone, Debug)]
pub struct NumberFilter {
    /// Its parameter.
    pub name: &'static str,
    /// Its label.
    pub label: &'static str,
    /// Its text.
    pub value: String,
    /// The lowest score.
    pub min: i8,
    /// The highest score.
    pub max: i8,
}

/// One of the presets.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its name.
    pub name: &'static str,
    /// What it is in words.
    pub words: &'static str,
    /// The page with it.
    pub href: String,
    /// Whether it is chosen.
    pub is_current: bool,
}

/// A filter by text.
#[derive(Clone, Debug)]
pub struct TextFilter {
    /// Its parameter.
    pub name: &'static str,
    /// Its label.
    pub label: &'static str,
    /// Its text.
    pub value: String,
}

/// A filter that is set.
#[derive(Clone, Debug)]
pub struct Chip {
    /// What it filters by.
    pub label: &'static str,
    /// The value.
    pub value: String,
    /// The page without it.
    pub without: String,
}

/// The filters by text, with their labels.
const TEXTS: [(&str, &str); 7] = [
    ("prompt", "Prompt"),
    ("model", "Model"),
    ("environment", "Environment"),
    ("organisation", "Organisation"),
    ("user", "User"),
    ("session", "Session"),
    ("name", "Name"),
];

/// The parameter of the filter by comments.
const HAS_COMMENT: &str = "has_comment";

/// The ends of ranges of scores, with their labels and limits.
const RANGES: [[(&str, &str, i8, i8); 2]; 2] = [
    [
        ("value_min", "Value from", -10, 10),
        ("value_max", "Value to", -10, 10),
    ],
    [
        ("rating_min", "Rating from", 1, 5),
        ("rating_max", "Rating to", 1, 5),
    ],
];

impl FilterBar {
    /// The bar of a page that lists feedback.
    pub fn of_list(path: &'static str, selection: &Selection) -> Self {
        let text = |name: &str| selection.get(name).unwrap_or_default().to_owned();
        Self {
            more: Some(MoreFilters {
                ranges: RANGES.map(|ends| {
                    ends.map(|(name, label, min, max)| NumberFilter {
                        name,
                        label,
                        value: text(name),
                        min,
                        max,
                    })
                }),
                reason: text("reason"),
                has_comment: text(HAS_COMMENT),
            }),
            ..Self::new(path, selection)
        }
    }

    /// The bar of the page at this path.
    pub fn new(path: &'static str, selection: &Selection) -> Self {
        let text = |name: &str| selection.get(name).unwrap_or_default().to_owned();
        let chips = TEXTS
            .into_iter()
            .chain([("reason", "Reason"), (HAS_COMMENT, "Comment")])
            .chain(
                RANGES
                    .as_flattened()
                    .iter()
                    .map(|(name, label, ..)| (*name, *label)),
            );
        let range: Vec<(String, String)> = ["range", "from", "to"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), selection.get(name)?.to_owned())))
            .collect();
        Self {
            path,
            presets: Preset::ALL
                .map(|preset| Choice {
                    name: preset.name(),
                    words: preset.words(),
                    href: format!("{path}{}", selection.with("range", Some(preset.name()))),
                    is_current: selection.preset == Some(preset),
                })
                .into(),
            from: short(selection.from).replace(' ', "T"),
            to: short(selection.to).replace(' ', "T"),
            is_custom: selection.preset.is_none(),
            words: selection.words(),
            texts: TEXTS
                .map(|(name, label)| TextFilter {
                    name,
                    label,
                    value: text(name),
                })
                .into(),
            chips: chips
                .filter_map(|(name, label)| {
                    let value = selection.get(name)?;
                    let words = if name == HAS_COMMENT {
                        comment_words(value)
                    } else {
                        value
                    };
                    Some(Chip {
                        label,
                        value: words.to_owned(),
                        without: format!("{path}{}", selection.with(name, None)),
                    })
                })
                .collect(),
            clear: format!("{path}{}", query_string(&range)),
            more: None,
            beside: Vec::new(),
        }
    }

    /// The same bar, whose links and form keep parameters that the page reads itself.
    pub fn keeping(mut self, beside: Vec<(String, String)>) -> Self {
        let more = query_string(&beside).replacen('?', "", 1);
        let presets = self.presets.iter_mut().map(|preset| &mut preset.href);
        let chips = self.chips.iter_mut().map(|chip| &mut chip.without);
        for href in presets.chain(chips).chain([&mut self.clear]) {
            let separator = if href.contains('?') { '&' } else { '?' };
            href.push(separator);
            href.push_str(&more);
        }
        Self { beside, ..self }
    }
}

/// What the filter by comments chooses.
fn comment_words(value: &str) -> &str {
    match value {
        "true" => "with one",
        "false" => "without one",
        other => other,
    }
}

/// A query string with its `?`; empty without parameters.
pub fn query_string(parameters: &[(String, String)]) -> String {
    if parameters.is_empty() {
        return String::new();
    }
    let mut query = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
    query.extend_pairs(parameters);
    query.finish()
}

fn value<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = parameters.iter().find(|(field, _)| field == name);
    found.map(|(_, value)| value.as_str())
}

fn before(moment: Timestamp, length: Duration) -> Timestamp {
    let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(moment.millis().saturating_sub(millis))
}

/// A moment in UTC to the minute: `2026-11-21 02:53`.
fn short(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn parse(query: &[(&str, &str)]) -> Result<Selection, Problem> {
        let pairs: Vec<(String, String)> = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Selection::parse(&pairs, &["cursor"], at(NOW))
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// The end of a range that ends now.
    fn end() -> Timestamp {
        at(NOW) + Duration::from_millis(1)
    }

    #[test]
    fn the_default_is_the_last_seven_days_and_the_seven_before_them() {
        let week = parse(&[]).unwrap();
        assert_eq!(week.preset, Some(Preset::Week));
        assert_eq!((week.from, week.to), (at("2026-11-14T12:00:00Z"), end()));
        let before = week.before();
        assert_eq!(before.to, week.from);
        assert_eq!(before.from.until(before.to), week.from.until(week.to));
        assert_eq!(week.query(), "");
    }

    #[test]
    fn each_preset_has_its_length() {
        for preset in Preset::ALL {
            let selection = parse(&[("range", preset.name())]).unwrap();
            assert_eq!((selection.from, selection.to), (preset.start(at(NOW)), end()));
            assert_eq!(selection.from.until(at(NOW)), preset.length());
            assert_eq!(selection.preset, Some(preset));
        }
        // It begins where roll-ups do.
        let late = at("2026-11-21T12:47:31.005Z");
        assert_eq!(Preset::Hour.start(late), at("2026-11-21T11:46:00Z"));
        assert_eq!(Preset::Week.start(late), at("2026-11-14T12:00:00Z"));
    }

    #[test]
    fn a_custom_range_has_a_start_and_may_end_now() {
        let custom = parse(&[("range", "custom"), ("from", "2026-11-20T10:30")]).unwrap();
        assert_eq!((custom.from, custom.to), (at("2026-11-20T10:30:00Z"), end()));
        assert_eq!(custom.preset, None);
        // A link may leave out the word.
        assert_eq!(parse(&[("from", "2026-11-20T10:30")]).unwrap().from, custom.from);
        // A form sends the dates with every range.
        let day = parse(&[("range", "24h"), ("from", "2026-11-20T10:30")]).unwrap();
        assert_eq!(day.query(), "?range=24h");
    }

    #[test]
    fn filters_are_those_of_lists_and_the_model() {
        let selection = parse(&[("user", "a&b"), ("model", "m"), ("session", ""), ("cursor", "x")]).unwrap();
        assert_eq!(selection.filter.indexed.get(Field::User), Some("a&b"));
        assert_eq!(selection.model.as_deref(), Some("m"));
        assert_eq!(selection.query(), "?user=a%26b&model=m");
        assert_eq!(selection.with("user", None), "?model=m");
        assert_eq!(
            selection.with("range", Some("1h")),
            "?user=a%26b&model=m&range=1h"
        );
        assert_eq!(selection.list_filter().from, Some(selection.from));
    }

    #[test]
    fn a_bar_keeps_what_its_page_reads_itself() {
        let selection = parse(&[("user", "ada")]).unwrap();
        let beside = vec![("compare".to_owned(), "a&b".to_owned())];
        let bar = FilterBar::new("/p", &selection).keeping(beside.clone());
        assert_eq!(bar.presets[0].href, "/p?user=ada&range=1h&compare=a%26b");
        assert_eq!(bar.chips[0].without, "/p?compare=a%26b");
        assert_eq!(bar.clear, "/p?compare=a%26b");
        assert_eq!(bar.beside, beside);
    }

    #[test]
    fn every_bad_value_is_named() {
        let long = "x".repeat(MAX_INDEXED + 1);
        let Err(Problem::Invalid(faults)) =
            parse(&[("range", "week"), ("user", &long), ("model", &long), ("usr", "x")])
        else {
            panic!("must be refused");
        };
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["query", "range", "model", "user"]);
        for (query, field) in [
            (&[("range", "custom")][..], "from"),
            (&[("from", "yesterday")], "from"),
            (&[("from", "2026-11-20"), ("to", "2026-11-19")], "to"),
            (&[("range", "1h"), ("range", "7d")], "range"),
        ] {
            let Err(Problem::Invalid(faults)) = parse(query) else {
                panic!("{query:?} must be refused");
            };
            assert_eq!(faults[0].field, field);
        }
    }
}
