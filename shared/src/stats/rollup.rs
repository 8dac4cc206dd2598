//! The items of the table `stats`.
//!
//! A roll-up's partition key is `{workspace}#{dimension}#{granularity}`, with `#{generation}` behind
//! it from the second generation on, its sort key `{bucket}#{value}`: so a time range of one
//! dimension, with all of its values, is one query.

use std::collections::HashMap;

use super::decimal::Decimal;
use super::tally::Tally;
use crate::id::Workspace;
use crate::problem::Problem;
use crate::schema;
use crate::store::item::{Item, int, string};
use crate::timestamp::{Granularity, Timestamp};

/// By what feedback is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Everything together.
    All,
    /// `_model`
    Model,
    /// `_user`: many values, so by day alone.
    User,
    /// `_organisation`
    Organisation,
    /// `_prompt`
    Prompt,
    /// `_environment`
    Environment,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 6] = [
        Self::All,
        Self::Model,
        Self::User,
        Self::Organisation,
        Self::Prompt,
        Self::Environment,
    ];

    /// The name it has in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Model => "model",
            Self::User => "user",
            Self::Organisation => "organisation",
            Self::Prompt => "prompt",
            Self::Environment => "environment",
        }
    }

    /// The dimension that counts by this metadata field.
    pub fn of_field(field: &str) -> Option<Self> {
        match field {
            "_model" => Some(Self::Model),
            "_user" => Some(Self::User),
            "_organisation" => Some(Self::Organisation),
            "_prompt" => Some(Self::Prompt),
            "_environment" => Some(Self::Environment),
            _ => None,
        }
    }

    /// How finely it is counted.
    pub fn granularities(self) -> &'static [Granularity] {
        match self {
            Self::User => &[Granularity::Day],
            _ => &[Granularity::Hour, Granularity::Day],
        }
    }
}

/// One roll-up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rollup {
    /// Of which generation.
    pub generation: u32,
    /// Whose.
    pub workspace: Workspace,
    /// By what.
    pub dimension: Dimension,
    /// By hour or by day.
    pub granularity: Granularity,
    /// The first moment of its hour or day.
    pub bucket: Timestamp,
    /// The dimension's value; empty for [`Dimension::All`].
    pub value: String,
}

impl Rollup {
    /// Its partition key.
    pub fn partition(
        generation: u32,
        workspace: &Workspace,
        dimension: Dimension,
        granularity: Granularity,
    ) -> String {
        let first = format!("{workspace}#{}#{}", dimension.name(), granularity.name());
        match generation {
            0 => first,
            later => format!("{first}#{later}"),
        }
    }

    /// Its primary key.
    pub fn key(&self) -> (String, String) {
        let sort = format!("{}#{}", bucket_key(self.bucket), self.value);
        (
            Self::partition(self.generation, &self.workspace, self.dimension, self.granularity),
            sort,
        )
    }

    /// The roll-up of a primary key. `None` if it is none.
    pub fn from_key(pk: &str, sk: &str) -> Option<Self> {
        let mut parts = pk.split('#');
        let (workspace, dimension, granularity) = (parts.next()?, parts.next()?, parts.next()?);
        let generation = match parts.next() {
            None => 0,
            Some(number) => number.parse().ok()?,
        };
        let (bucket, value) = sk.split_once('#')?;
        Some(Self {
            generation,
            workspace: Workspace::parse(workspace)?,
            dimension: Dimension::ALL
                .into_iter()
                .find(|known| known.name() == dimension)?,
            granularity: Granularity::parse(granularity)?,
            bucket: Timestamp::from_millis(bucket.parse().ok()?),
            value: value.to_owned(),
        })
    }
}

/// A bucket in a sort key: milliseconds in a width that keeps their order.
pub fn bucket_key(bucket: Timestamp) -> String {
    format!("{:015}", bucket.millis())
}

/// The counters of a tally by attribute: what there is to add, as DynamoDB's numbers. Only those
/// that are not zero.
pub fn counters(tally: &Tally) -> HashMap<String, String> {
    let values = tally
        .by_value()
        .map(|(value, count)| (format!("v{value}"), count.to_string()));
    let ratings = tally
        .by_rating()
        .map(|(rating, count)| (format!("r{rating}"), count.to_string()));
    let sums = [("weight", tally.weight), ("weighted", tally.weighted)]
        .map(|(name, sum)| (name.to_owned(), sum.to_string()));
    values
        .chain(ratings)
        .chain(sums)
        .filter(|(_, number)| number != "0")
        .collect()
}

/// The tally of an item. A counter that is missing is zero; one that cannot be read, in a table
/// that is ours alone, is a defect: `None`.
pub fn to_tally(item: &Item) -> Option<Tally> {
    let count = |name: String| {
        if item.contains_key(&name) {
            int(item, &name)
        } else {
            Some(0)
        }
    };
    let sum = |name: &str| match item.get(name) {
        None => Some(Decimal::ZERO),
        Some(number) => Decimal::parse(number.as_n().ok()?),
    };
    let mut tally = Tally {
        weight: sum("weight")?,
        weighted: sum("weighted")?,
        last_seen: int(item, "last_seen").map(Timestamp::from_millis),
        ..Tally::default()
    };
    for (value, slot) in (-10..).zip(&mut tally.values) {
        *slot = count(format!("v{value}"))?;
    }
    for (rating, slot) in (1..).zip(&mut tally.ratings) {
        *slot = count(format!("r{rating}"))?;
    }
    Some(tally)
}

/// The roll-up and tally of an item of the table. An item that is neither these nor known by its
/// key to be something else is a defect; one of a newer form is not ours to read.
pub fn from_item(item: &Item) -> Result<(Rollup, Tally), Problem> {
    schema::check(item, schema::STATS)?;
    let read = || {
        Some((
            Rollup::from_key(string(item, "pk")?, string(item, "sk")?)?,
            to_tally(item)?,
        ))
    };
    read().ok_or_else(|| Problem::internal("a roll-up cannot be read"))
}
