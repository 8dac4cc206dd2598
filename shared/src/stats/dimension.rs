//! The dimensions that feedback is counted by, and the series of each.

use super::series::Series;
use crate::indexed::Field;
use crate::metadata::model;
use crate::store::votes::Vote;

/// A dimension that feedback is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// All feedback together.
    All,
    /// The model, from `_model` or `ai_model` in metadata.
    Model,
    /// The question, from `_name` in metadata. Votes without a name are not counted here; they are all
    /// votes minus those with a name.
    Name,
    /// Each of a vote's reasons.
    Reason,
    /// An indexed metadata field.
    Field(Field),
}

impl Dimension {
    /// Every dimension.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::All, Self::Model, Self::Name, Self::Reason]
            .into_iter()
            .chain(Field::ALL.map(Self::Field))
    }

    /// The dimension's name in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Model => "model",
            Self::Name => "name",
            Self::Reason => "reason",
            Self::Field(field) => field.name(),
        }
    }

    /// The dimension of this metadata field, if it has one.
    pub fn of_metadata(name: &str) -> Option<Self> {
        match name {
            "_model" => Some(Self::Model),
            "_name" => Some(Self::Name),
            "_reasons" => Some(Self::Reason),
            _ => Field::of_metadata(name).map(Self::Field),
        }
    }

    /// Returns a vote's values of the dimension: one, which may be the empty name, or each of its reasons.
    /// [`Dimension::Model`] and [`Dimension::Name`] need the vote's metadata, fields its indexed fields.
    pub fn values_of(self, vote: &Vote) -> Vec<String> {
        match self {
            Self::All => vec![String::new()],
            Self::Model => vec![model(vote.metadata.as_ref())],
            Self::Name => vec![vote.name()],
            Self::Reason => vote.reasons.iter().map(str::to_owned).collect(),
            Self::Field(field) => vote.indexed.get(field).map(str::to_owned).into_iter().collect(),
        }
    }

    /// Whether the dimension's values are read from metadata.
    pub fn needs_metadata(self) -> bool {
        matches!(self, Self::Model | Self::Name)
    }

    /// The first schema version that counts by the dimension.
    pub fn since(self) -> u32 {
        match self {
            Self::All | Self::Model => 1,
            Self::Name | Self::Reason => 3,
            Self::Field(field) => field.counted_since(),
        }
    }

    /// Whether it has many values, each in few records: users and sessions.
    pub fn has_many_values(self) -> bool {
        matches!(self, Self::Field(field) if field.has_many_values())
    }

    /// The series that a generation of this schema version counts the dimension in, coarsest first. It is
    /// empty if the version does not count by the dimension. Such a generation must not start to: deleting
    /// records from before would bring its counts below zero.
    pub fn series(self, schema: u32) -> &'static [Series] {
        match schema {
            _ if schema < self.since() => &[],
            1 if self.has_many_values() => &[Series::Day],
            1 => &[Series::Day, Series::Hour],
            _ if self.has_many_values() => &[Series::Hours],
            _ => &[Series::Day, Series::Minutes],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn a_dimension_is_counted_from_its_first_schema_version() {
        for dimension in Dimension::all() {
            assert!((1..=schema::STATS).contains(&dimension.since()), "{dimension:?}");
            for version in 1..=schema::STATS {
                let counts = !dimension.series(version).is_empty();
                assert_eq!(counts, version >= dimension.since(), "{dimension:?} {version}");
            }
        }
    }
}
