//! Generations of roll-ups, which let analytics be rebuilt while they are counted and read.
//!
//! A record's state counts in a generation if it has the generation's number, or if the record was stored
//! after the generation began: created, or imported. A rebuild begins a new generation and touches every older record. A touch
//! sets the number; it arrives in the stream like any other change, so the record is counted once in the
//! new generation, in the right order with its other changes. Meanwhile the previous generation is still
//! counted and read.

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

/// The partition key of the item that lists the generations.
pub const GENERATIONS: &str = "generation";

/// One generation of roll-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number. Generation 0 counts everything and needs no touch.
    pub number: u32,
    /// The schema version of its roll-ups, which defines its dimensions and series. It never changes; a
    /// newer version needs a new generation.
    pub schema: u32,
    /// Records stored at this time or later count without having the number.
    pub since: Timestamp,
}

impl Generation {
    /// Whether a record's state counts in the generation, given the generation it was last touched for and
    /// when it was stored.
    pub fn counts(self, touched: u32, stored_at: Timestamp) -> bool {
        touched >= self.number || stored_at >= self.since
    }
}

/// The current generation, and the one that is being built, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// The generation that queries read.
    pub current: Generation,
    /// The generation that a rebuild is building.
    pub building: Option<Generation>,
}

impl Generations {
    /// The generations if none are stored: one of schema version 1.
    pub const FIRST: Self = Self::only(1);

    /// The generations that counting starts with in an empty table.
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

    /// The generations that are counted.
    pub fn counted(self) -> impl Iterator<Item = Generation> + Clone {
        std::iter::once(self.current).chain(self.building)
    }

    /// Reads the generations of a table of roll-ups. If none are stored, the table is empty or was counted
    /// by code of schema version 1.
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`] if a generation has a newer schema version. Newer code must read it.
    pub async fn read(client: &Client, stats: &str) -> Result<Self, Problem> {
        Ok(Self::stored(client, stats).await?.unwrap_or(Self::FIRST))
    }

    /// Reads the generations for counting, and stores them if there are none: an empty table starts with
    /// the newest schema version, and one with roll-ups keeps version 1.
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
            // If two calls race, the first decides. The loop then reads its result.
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
                // A missing version means version 1.
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

    /// Replaces the stored generations, which must still be `before`.
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`] if `before` is no longer stored because another rebuild has changed it.
    pub async fn replace(self, before: Self, client: &Client, stats: &str) -> Result<(), Problem> {
        if self.put(Some(before), client, stats).await? {
            return Ok(());
        }
        Err(Problem::unavailable(
            "another rebuild has changed the generations",
        ))
    }

    /// Stores these generations if `before` is still stored, or if nothing is stored and that means
    /// `before`. Returns whether it did.
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
        // Code that does not support one of these schema versions must neither count nor read.
        let newest = self.counted().map(|generation| generation.schema).max();
        item.insert(schema::ATTRIBUTE.to_owned(), number(newest.unwrap_or(1)));
        // A transaction, because counting uses them too: a PutItem would link another operation into the
        // binary.
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
