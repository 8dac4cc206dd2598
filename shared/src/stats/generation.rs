//! Generations of roll-ups: how numbers are made anew while they are counted and read.
//!
//! A generation counts a record's state if the state bears its number, or if the record was created
//! after the generation began. A rebuild begins a generation and then touches every older record:
//! each touch puts the number on, passes through the stream like any change, and so counts the
//! record into the new generation once, in its place among the record's other changes. Meanwhile
//! the generation before it is counted and read on.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use crate::dynamo;
use crate::dynamo::attributes::{Item, int, number, text};
use crate::dynamo::incomplete;
use crate::dynamo::transaction::{Cancelled, transact};
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// The partition of the one item that says which generations there are.
pub const GENERATIONS: &str = "generation";

/// One generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number: 0 is the one that counts everything and needs no touch.
    pub number: u32,
    /// The schema version of its roll-ups, which decides by which dimensions and in which series it
    /// counts, for as long as it lasts: a newer version comes with a new generation.
    pub schema: u32,
    /// From when on records count without bearing the number.
    pub since: Timestamp,
}

impl Generation {
    /// Whether a state that was touched for the generation `touched`, of a record created at `created_at`, counts in it.
    pub fn counts(self, touched: u32, created_at: Timestamp) -> bool {
        touched >= self.number || created_at >= self.since
    }
}

/// The generation that is read, and the one that is being made, if one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// What is read.
    pub current: Generation,
    /// What a rebuild makes.
    pub building: Option<Generation>,
}

impl Generations {
    /// What there is where nothing says so: one generation of the first schema version.
    pub const FIRST: Self = Self::only(1);

    /// What counting begins with in an empty table.
    pub const NEWEST: Self = Self::only(schema::STATS);

    const fn only(schema: u32) -> Self {
        Self {
            current: Generation {
                number: 0,
                schema,
                since: Timestamp::EPOCH,
            },
            building: None,
        }
    }

    /// Those that are counted.
    pub fn counted(self) -> impl Iterator<Item = Generation> + Clone {
        std::iter::once(self.current).chain(self.building)
    }

    /// The generations of this table of roll-ups. Where nothing says which there are, nothing was
    /// counted, or all of it by code of schema version 1.
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`] if a generation is of a newer schema version: it is to be waited for
    /// until newer code is back.
    pub async fn read(client: &Client, stats: &str) -> Result<Self, Problem> {
        Ok(Self::stored(client, stats).await?.unwrap_or(Self::FIRST))
    }

    /// The same for counting, which settles what nothing was said of: an empty table begins with the
    /// newest schema version, one that holds roll-ups goes on with theirs.
    ///
    /// # Errors
    ///
    /// As [`Generations::read`].
    pub async fn read_or_begin(client: &Client, stats: &str) -> Result<Self, Problem> {
        loop {
            if let Some(stored) = Self::stored(client, stats).await? {
                return Ok(stored);
            }
            let any = client
                .scan()
                .table_name(stats)
                .limit(1)
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            let first = if any.items().is_empty() {
                Self::NEWEST
            } else {
                Self::FIRST
            };
            // Whoever comes first decides; then it is there to be read.
            first.put(None, client, stats).await?;
        }
    }

    async fn stored(client: &Client, stats: &str) -> Result<Option<Self>, Problem> {
        let found = client
            .get_item()
            .table_name(stats)
            .set_key(Some(key()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let Some(item) = found.item else {
            return Ok(None);
        };
        schema::check(&item, schema::STATS)?;
        let generation = |number: &str, since: &str, schema: &str| {
            Some(Generation {
                number: int(&item, number)?,
                // Where it is not said it is the first.
                schema: int(&item, schema).unwrap_or(1),
                since: Timestamp::from_millis(int(&item, since)?),
            })
        };
        let current = generation("current", "current_since", "current_schema")
            .ok_or_else(|| Problem::internal("the generations cannot be read"))?;
        Ok(Some(Self {
            current,
            building: generation("building", "building_since", "building_schema"),
        }))
    }

    /// Puts these in the place of `before`.
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`] if `before` is no longer there: another rebuild has gone on.
    pub async fn replace(self, before: Self, client: &Client, stats: &str) -> Result<(), Problem> {
        if self.put(Some(before), client, stats).await? {
            return Ok(());
        }
        Err(Problem::unavailable(
            "another rebuild has changed the generations",
        ))
    }

    /// Puts these if what is stored is `before`, or nothing where that is what it would be read as.
    /// Whether it was.
    async fn put(self, before: Option<Self>, client: &Client, stats: &str) -> Result<bool, Problem> {
        let mut item = key();
        let mut put = |names: [&str; 3], generation: Generation| {
            let numbers = [
                u64::from(generation.number),
                generation.since.millis(),
                u64::from(generation.schema),
            ];
            let attributes = names.into_iter().map(str::to_owned).zip(numbers.map(number));
            item.extend(attributes);
        };
        put(["current", "current_since", "current_schema"], self.current);
        if let Some(building) = self.building {
            put(["building", "building_since", "building_schema"], building);
        }
        // Code that does not know the schema version of one of them must neither count nor read.
        let newest = self.counted().map(|generation| generation.schema).max();
        item.insert(schema::ATTRIBUTE.to_owned(), number(newest.unwrap_or(1)));
        // As a transaction, which counting makes anyway: a further operation would be linked into it.
        let request = Put::builder().table_name(stats).set_item(Some(item));
        let absent = "attribute_not_exists(pk)";
        let request = match before {
            None => request.condition_expression(absent),
            Some(before) => {
                let building = match before.building {
                    None => "attribute_not_exists(#building)",
                    Some(_) => "#building = :building",
                };
                let schema = match before.current.schema {
                    1 => "(attribute_not_exists(#schema) OR #schema = :schema)",
                    _ => "#schema = :schema",
                };
                let same = format!("#current = :current AND {schema} AND {building}");
                let condition = if before == Self::FIRST {
                    format!("{absent} OR ({same})")
                } else {
                    same
                };
                request
                    .condition_expression(condition)
                    .expression_attribute_names("#current", "current")
                    .expression_attribute_names("#schema", "current_schema")
                    .expression_attribute_names("#building", "building")
                    .expression_attribute_values(":current", number(before.current.number))
                    .expression_attribute_values(":schema", number(before.current.schema))
            }
        };
        let request = match before.and_then(|before| before.building) {
            Some(building) => request.expression_attribute_values(":building", number(building.number)),
            None => request,
        };
        let put = TransactWriteItem::builder()
            .put(request.build().map_err(incomplete)?)
            .build();
        match transact(client, vec![put]).await {
            Ok(()) => Ok(true),
            Err(Cancelled::Conditions(_) | Cancelled::Conflict) => Ok(false),
            Err(Cancelled::Problem(problem)) => Err(problem),
        }
    }
}

fn key() -> Item {
    HashMap::from([
        ("pk".to_owned(), text(GENERATIONS)),
        ("sk".to_owned(), text(GENERATIONS)),
    ])
}
