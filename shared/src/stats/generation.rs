//! Generations of roll-ups: how numbers are made anew while they are counted and read.
//!
//! A generation counts a record's state if the state bears its number, or if the record was created
//! after the generation began. A rebuild begins a generation and then touches every older record:
//! each touch puts the number on, passes through the stream like any change, and so counts the
//! record into the new generation once, in its place among the record's other changes. Meanwhile
//! the generation before it is counted and read on.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;

use crate::dynamo;
use crate::problem::Problem;
use crate::schema;
use crate::store::item::{Item, int, number, text};
use crate::timestamp::Timestamp;

/// The partition of the one item that says which generations there are.
pub const GENERATIONS: &str = "generation";

/// One generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Its number: 0 is the one that counts everything and needs no mark.
    pub number: u32,
    /// From when on records count without bearing the number.
    pub since: Timestamp,
}

impl Generation {
    /// Whether a state that bears `mark`, of a record created at `created_at`, counts in it.
    pub fn counts(self, mark: u32, created_at: Timestamp) -> bool {
        mark >= self.number || created_at >= self.since
    }
}

/// The generation that is read, and the one that is being made, if one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// What is read.
    pub current: Generation,
    /// What a rebuild makes.
    pub building: Option<Generation>,
}

impl Generations {
    /// Those that are counted.
    pub fn counted(self) -> impl Iterator<Item = Generation> + Clone {
        std::iter::once(self.current).chain(self.building)
    }

    /// The generations of this table of roll-ups.
    pub async fn read(client: &Client, stats: &str) -> Result<Self, Problem> {
        let found = client
            .get_item()
            .table_name(stats)
            .set_key(Some(key()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let Some(item) = found.item else {
            return Ok(Self::default());
        };
        schema::check(&item, schema::STATS)?;
        let generation = |numbered: &str, since: &str| {
            Some(Generation {
                number: int(&item, numbered)?,
                since: Timestamp::from_millis(int(&item, since)?),
            })
        };
        Ok(Self {
            current: generation("current", "current_since")
                .ok_or_else(|| Problem::internal("the generations cannot be read"))?,
            building: generation("building", "building_since"),
        })
    }

    /// Puts these in the place of `before`, on the condition that these are still there.
    pub async fn replace(self, before: Self, client: &Client, stats: &str) -> Result<(), Problem> {
        let mut item = key();
        item.insert(schema::ATTRIBUTE.to_owned(), number(schema::STATS));
        let mut put = |number_name: &str, since_name: &str, generation: Generation| {
            item.insert(number_name.to_owned(), number(generation.number));
            item.insert(since_name.to_owned(), number(generation.since.millis()));
        };
        put("current", "current_since", self.current);
        if let Some(building) = self.building {
            put("building", "building_since", building);
        }
        let request = client.put_item().table_name(stats).set_item(Some(item));
        let request = if before == Self::default() {
            request.condition_expression("attribute_not_exists(pk)")
        } else {
            let request = request
                .expression_attribute_names("#current", "current")
                .expression_attribute_names("#building", "building")
                .expression_attribute_values(":current", number(before.current.number));
            match before.building {
                None => {
                    request.condition_expression("#current = :current AND attribute_not_exists(#building)")
                }
                Some(building) => request
                    .condition_expression("#current = :current AND #building = :building")
                    .expression_attribute_values(":building", number(building.number)),
            }
        };
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| dynamo::problem(&error, true))
    }
}

fn key() -> Item {
    HashMap::from([
        ("pk".to_owned(), text(GENERATIONS)),
        ("sk".to_owned(), text(GENERATIONS)),
    ])
}
