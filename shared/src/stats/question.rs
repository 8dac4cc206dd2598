//! What analytics ask: which records are counted, and by what. Decides whether roll-ups or records answer.

use super::dimension::Dimension;
use super::read::Range;
use crate::indexed::{Field, MAX_INDEXED};
use crate::metadata::{member, model};
use crate::query::Filter;
use crate::score::Score;
use crate::store::votes::{Columns, Vote};
use crate::timestamp::Granularity;

/// Which records are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The time range.
    pub range: Range,
    /// Filters that the store's indexes support. A record must pass any one of them, and passes at most
    /// one.
    pub filters: Vec<Filter>,
    /// Metadata members and the text each must have, including the indexed fields of the filters. `_name`
    /// and `_reasons` stand for a vote's question and each of its reasons.
    pub metadata: Vec<(String, String)>,
    /// The prompts to include; `None` means all.
    pub prompts: Option<Vec<String>>,
    /// The models to include; `None` means all.
    pub models: Option<Vec<String>>,
    /// The minimum of value × weight.
    pub weighted_min: Option<f64>,
    /// The maximum of value × weight.
    pub weighted_max: Option<f64>,
}

/// By what records are counted, besides time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group<'a> {
    /// All together: the value of every cell is empty.
    All,
    /// By a metadata field; `_model`, `_name` and `_reasons` are the model, the question and each reason.
    Metadata(&'a str),
}

/// One way of counting the records of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping<'a> {
    /// By what.
    pub by: Group<'a>,
    /// By which time.
    pub buckets: Granularity,
}

/// What the counts of a grouping are read from. Where roll-ups do not cover the ends of a range, these are
/// read from records in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Roll-ups, however many records they count.
    #[default]
    Rollups,
    /// Records one by one, of which at most [`MAX_RECORDS`](super::read::MAX_RECORDS) are read.
    Records,
}

/// How a grouping of a question is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Without reading anything, because no record can match.
    Nothing,
    /// By the roll-ups of a dimension: of these values, or of all.
    Dimension(Dimension, Option<Vec<String>>),
    /// By the roll-ups of all votes and of those with a name.
    Unnamed,
    /// By the records.
    Records,
}

impl Question {
    /// The records of a range that pass a filter, of a model if one is given. The filter's times do not
    /// count, nor does whether a record has a comment.
    pub fn new(range: Range, filter: &Filter, model: Option<&str>) -> Self {
        let indexed = filter.indexed.iter();
        let named = |name: &str, text: &Option<String>| Some((name.to_owned(), text.clone()?));
        Self {
            range,
            metadata: indexed
                .map(|(field, text)| (field.metadata().to_owned(), text.to_owned()))
                .chain(named("_name", &filter.name))
                .chain(named("_reasons", &filter.reason))
                .collect(),
            filters: vec![filter.clone()],
            prompts: None,
            models: model.map(|model| vec![model.to_owned()]),
            weighted_min: None,
            weighted_max: None,
        }
    }

    /// The same question about another range.
    pub fn during(&self, range: Range) -> Self {
        Self {
            range,
            ..self.clone()
        }
    }

    /// The one dimension that the whole filter is about, and the values it admits, if roll-ups of that
    /// dimension can answer the question. Returns [`Dimension::All`] without a filter, and `None` if only
    /// records can answer it.
    fn dimension(&self) -> Option<(Dimension, Option<Vec<String>>)> {
        let by_trace = self.filters.iter().any(|filter| filter.trace.is_some());
        let by_score = self.filters.iter().any(|filter| filter.score.is_some());
        if by_trace || by_score || self.weighted_min.is_some() || self.weighted_max.is_some() {
            return None;
        }
        match (self.metadata.as_slice(), &self.prompts, &self.models) {
            ([], None, None) => Some((Dimension::All, None)),
            ([], None, Some(models)) => Some((Dimension::Model, Some(models.clone()))),
            ([], Some(prompts), None) => Some((Dimension::Field(Field::Prompt), Some(prompts.clone()))),
            ([(name, text)], None, None) => match Dimension::of_metadata(name)? {
                // These are counted by hour only, and a value has few records.
                Dimension::Field(field) if field.has_many_values() => None,
                // The roll-ups by model also count votes with `ai_model` or without a model.
                Dimension::All | Dimension::Model => None,
                Dimension::Field(_) | Dimension::Reason if text.is_empty() => None,
                dimension => Some((dimension, Some(vec![text.clone()]))),
            },
            _ => None,
        }
    }

    /// How a grouping is answered: by roll-ups if a dimension has them and the filter is about nothing else,
    /// and otherwise by records.
    pub(super) fn way(&self, by: Group<'_>) -> Way {
        if self.matches_nothing() {
            return Way::Nothing;
        }
        let Some((dimension, values)) = self.dimension() else {
            return Way::Records;
        };
        match by {
            Group::All
                if dimension == Dimension::Name && values.as_deref().is_some_and(|values| values == [""]) =>
            {
                Way::Unnamed
            }
            Group::All => Way::Dimension(dimension, values),
            Group::Metadata(field) => match Dimension::of_metadata(field) {
                Some(by) if dimension == Dimension::All || dimension == by => Way::Dimension(by, values),
                _ => Way::Records,
            },
        }
    }

    /// What a grouping is read from.
    pub fn source(&self, by: Group<'_>) -> Source {
        match self.way(by) {
            Way::Records => Source::Records,
            Way::Nothing | Way::Dimension(..) | Way::Unnamed => Source::Rollups,
        }
    }

    /// The parts of each record that must be read to count it by these groups.
    pub(super) fn columns<'a>(&self, groups: impl IntoIterator<Item = Group<'a>>) -> Columns {
        let decided = |(name, _): &(String, String)| self.is_decided(name);
        let mut columns = Columns {
            indexed: self.prompts.is_some(),
            metadata: self.models.is_some() || !self.metadata.iter().all(decided),
        };
        for group in groups {
            let Group::Metadata(field) = group else {
                continue;
            };
            let by = Dimension::of_metadata(field);
            columns.indexed |= by.is_some();
            columns.metadata |= by.is_none_or(Dimension::needs_metadata);
        }
        columns
    }

    /// The values of a group that a record counts in: none if it does not pass the filter.
    pub(super) fn values(&self, by: Group<'_>, vote: &Vote) -> Vec<String> {
        let mut values = match by {
            Group::All => return vec![String::new()],
            Group::Metadata(field) => match Dimension::of_metadata(field) {
                Some(by) => by.values_of(vote),
                None => {
                    let metadata = vote.metadata.as_ref();
                    let text = metadata.and_then(|metadata| member(metadata.json(), field));
                    text.into_iter().collect()
                }
            },
        };
        values.retain(|value| !value.is_empty());
        values
    }

    /// Whether the question asks only for values that are longer than an indexed field, prompt or model can
    /// be. Then there is nothing to read, and DynamoDB would reject the key.
    fn matches_nothing(&self) -> bool {
        let long = |(name, text): &(String, String)| {
            Dimension::of_metadata(name).is_some_and(|by| by != Dimension::Model) && text.len() > MAX_INDEXED
        };
        let none = |values: &Option<Vec<String>>| values.as_ref().is_some_and(Vec::is_empty);
        self.metadata.iter().any(long) || none(&self.prompts) || none(&self.models)
    }

    /// Whether the filters decide about a metadata member: that of an indexed field, whose text the index
    /// has. The user of an upserted record may stand in another member than `_user`.
    fn is_decided(&self, name: &str) -> bool {
        Field::of_metadata(name).is_some_and(|field| {
            let mut filters = self.filters.iter();
            filters.all(|filter| filter.indexed.get(field).is_some())
        })
    }

    /// Whether a record that one of the filters found passes.
    pub(super) fn admits(&self, vote: &Vote) -> bool {
        let metadata = vote.metadata.as_ref();
        let same = |(field, text): &(String, String)| match Dimension::of_metadata(field) {
            Some(Dimension::Name) => vote.name() == *text,
            Some(Dimension::Reason) => vote.reasons.contains(text),
            Some(Dimension::Field(_)) if self.is_decided(field) => true,
            _ => {
                let member = metadata.and_then(|metadata| member(metadata.json(), field));
                member.as_ref() == Some(text)
            }
        };
        let weighted = match vote.score {
            Score::Value(value, weight) => Some(f64::from(value.get()) * weight.get()),
            Score::Rating(_) => None,
        };
        // Every filter is about the same scores.
        let mut scores = self.filters.iter().filter_map(|filter| filter.score.as_ref());
        scores.all(|range| range.contains(vote.score))
            && self.metadata.iter().all(same)
            && self.prompts.as_ref().is_none_or(|prompts| {
                vote.indexed
                    .get(Field::Prompt)
                    .is_some_and(|prompt| prompts.iter().any(|asked| asked == prompt))
            })
            && self
                .models
                .as_ref()
                .is_none_or(|models| models.contains(&model(metadata)))
            && self
                .weighted_min
                .is_none_or(|least| weighted.is_some_and(|weighted| weighted >= least))
            && self
                .weighted_max
                .is_none_or(|most| weighted.is_some_and(|weighted| weighted <= most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{Rating, ScoreRange};
    use crate::target::TraceId;
    use crate::timestamp::Timestamp;

    const ALL_TIME: Range = Range {
        from: Timestamp::EPOCH,
        to: Timestamp::MAX,
    };

    fn of(fields: &[(Field, &str)]) -> Filter {
        let mut filter = Filter::default();
        for (field, text) in fields {
            filter.indexed.set(*field, (*text).to_owned());
        }
        filter
    }

    #[test]
    fn roll_ups_answer_a_filter_by_one_thing_and_group_by_it() {
        let named = |name: &str| Filter {
            name: Some(name.to_owned()),
            ..Filter::default()
        };
        let traced = Filter {
            trace: TraceId::parse("t"),
            ..Filter::default()
        };
        let rated = Filter {
            score: Some(ScoreRange::Ratings(Rating::MIN..=Rating::MAX)),
            ..Filter::default()
        };
        let (rollups, records) = (Source::Rollups, Source::Records);
        for (filter, model, all, by_prompt, by_model) in [
            (Filter::default(), None, rollups, rollups, rollups),
            (of(&[(Field::Prompt, "p")]), None, rollups, rollups, records),
            (Filter::default(), Some("m"), rollups, records, rollups),
            (named("helpful"), None, rollups, records, records),
            (named(""), None, rollups, records, records),
            (of(&[(Field::User, "u")]), None, records, records, records),
            (of(&[(Field::Prompt, "p")]), Some("m"), records, records, records),
            (
                of(&[(Field::Prompt, "p"), (Field::Environment, "e")]),
                None,
                records,
                records,
                records,
            ),
            (traced, None, records, records, records),
            (rated, None, records, records, records),
        ] {
            let question = Question::new(ALL_TIME, &filter, model);
            let sources = [Group::All, Group::Metadata("_prompt"), Group::Metadata("_model")]
                .map(|by| question.source(by));
            assert_eq!(sources, [all, by_prompt, by_model], "{filter:?} {model:?}");
            assert_eq!(
                question.source(Group::Metadata("tier")),
                records,
                "no roll-ups count by it"
            );
        }
    }

    #[test]
    fn a_value_that_cannot_exist_is_not_looked_for() {
        let long = "x".repeat(MAX_INDEXED + 1);
        let question = Question::new(ALL_TIME, &of(&[(Field::User, &long)]), None);
        assert_eq!(question.way(Group::All), Way::Nothing);
    }

    #[test]
    fn metadata_is_read_only_if_something_needs_it() {
        let columns = |filter: &Filter, model, by| {
            let columns = Question::new(ALL_TIME, filter, model).columns([by]);
            (columns.indexed, columns.metadata)
        };
        let user = of(&[(Field::User, "u")]);
        assert_eq!(columns(&user, None, Group::All), (false, false));
        assert_eq!(columns(&user, None, Group::Metadata("_prompt")), (true, false));
        assert_eq!(columns(&user, None, Group::Metadata("_model")), (true, true));
        assert_eq!(columns(&user, None, Group::Metadata("tier")), (false, true));
        assert_eq!(columns(&user, Some("m"), Group::All), (false, true));
    }
}
