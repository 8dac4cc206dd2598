//! Converting a change into an update expression.

use std::collections::HashMap;

use crate::dynamo::attributes::{AttributeValue, Item, number, text};
use crate::feedback::{Change, ScoreChange, Writer};
use crate::fields::Patch;
use crate::id::FeedbackId;
use crate::indexed::{Field, Indexed};
use crate::metadata::name;
use crate::problem::Problem;
use crate::score::Weight;
use crate::store::item::{self, WRITTEN_BY, WRITTEN_VERSION};
use crate::timestamp::Timestamp;
use crate::{random, schema};

/// A [`Change`] as an update expression. Its names and values include those of [`super::KNOWN`], which is part of
/// its condition.
pub(in crate::store) struct UpdateExpression {
    pub(in crate::store) text: String,
    pub(in crate::store) names: HashMap<String, String>,
    pub(in crate::store) values: Item,
    /// A random id of this write.
    pub(in crate::store) write_id: AttributeValue,
    /// What else must hold, beginning with ` AND `: that an upserted record's person and question stay.
    pub(in crate::store) condition: String,
}

impl UpdateExpression {
    pub(in crate::store) fn new(
        by: &Writer,
        id: FeedbackId,
        change: &Change,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let mut mark = [0; 8];
        random::fill(&mut mark)?;
        let write_id = AttributeValue::B(mark.to_vec().into());
        let mut clauses = Clauses::default();
        clauses
            .names
            .insert("#schema".to_owned(), schema::ATTRIBUTE.to_owned());
        clauses
            .values
            .insert(":schema".to_owned(), number(schema::FEEDBACK));
        clauses.set("updated_at", number(now.millis()));
        clauses.set("write_id", write_id.clone());
        // Every action reads the item as it was before the update
        // (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html).
        clauses.raise("version", "#version");
        clauses.raise(WRITTEN_VERSION, "#version");
        clauses.set(WRITTEN_BY, text(by.key.as_str()));
        match change.score {
            ScoreChange::Keep => {}
            ScoreChange::Rating(rating) => {
                clauses.set("rating", number(rating.get()));
                clauses.remove("value");
                clauses.remove("weight");
            }
            ScoreChange::Value(value, weight) => {
                clauses.set("value", number(value.get()));
                clauses.remove("rating");
                let default = text(Weight::DEFAULT.get().to_string());
                match weight {
                    // The stored rating has no weight, so the new value gets the default.
                    Patch::Keep => clauses.set_if_absent("weight", default),
                    Patch::Clear => clauses.set("weight", default),
                    Patch::Set(weight) => clauses.set("weight", text(weight.get().to_string())),
                }
            }
        }
        match &change.comment {
            Patch::Keep => {}
            Patch::Clear => clauses.remove("comment"),
            Patch::Set(comment) => clauses.set("comment", text(comment.as_str())),
        }
        match &change.reasons {
            Patch::Keep => {}
            Patch::Set(reasons) if !reasons.is_empty() => clauses.set("reasons", text(reasons.to_stored())),
            Patch::Clear | Patch::Set(_) => clauses.remove("reasons"),
        }
        let indexed = match &change.metadata {
            Patch::Keep => None,
            Patch::Clear => {
                clauses.remove("metadata");
                Some(Indexed::default())
            }
            Patch::Set(metadata) => {
                clauses.set("metadata", text(metadata.json()));
                Some(metadata.indexed().clone())
            }
        };
        let mut condition = String::new();
        if id.is_upserted()
            && let Patch::Set(metadata) = &change.metadata
        {
            let asked = [
                ("person", metadata.indexed().get(Field::User).map(str::to_owned)),
                (
                    "question",
                    Some(name(Some(metadata))).filter(|name| !name.is_empty()),
                ),
            ];
            for (attribute, asked) in asked {
                if let Some(asked) = asked {
                    condition.push_str(&format!(" AND {attribute} = :{attribute}"));
                    clauses.values.insert(format!(":{attribute}"), text(asked));
                }
            }
        }
        for (name, key) in indexed
            .iter()
            .flat_map(|indexed| item::index_keys(&by.workspace, id, indexed))
        {
            match key {
                // Its user is its person's, whatever its metadata says.
                _ if id.is_upserted() && name == Field::User.key() => {}
                Some(key) => clauses.set(name, text(key)),
                None => clauses.remove(name),
            }
        }
        Ok(Self {
            text: clauses.text(),
            names: clauses.names,
            values: clauses.values,
            write_id,
            condition,
        })
    }
}

#[derive(Default)]
pub(in crate::store) struct Clauses {
    pub(in crate::store) sets: Vec<String>,
    removes: Vec<String>,
    pub(in crate::store) names: HashMap<String, String>,
    pub(in crate::store) values: Item,
}

impl Clauses {
    pub(in crate::store) fn set(&mut self, name: &str, value: AttributeValue) {
        self.sets.push(format!("#{name} = :{name}"));
        self.names.insert(format!("#{name}"), name.to_owned());
        self.values.insert(format!(":{name}"), value);
    }

    pub(in crate::store) fn set_if_absent(&mut self, name: &str, value: AttributeValue) {
        self.sets
            .push(format!("#{name} = if_not_exists(#{name}, :{name})"));
        self.names.insert(format!("#{name}"), name.to_owned());
        self.values.insert(format!(":{name}"), value);
    }

    /// Sets an attribute to one more than an operand.
    pub(in crate::store) fn raise(&mut self, name: &str, operand: &str) {
        self.sets.push(format!("#{name} = {operand} + :one"));
        self.names.insert(format!("#{name}"), name.to_owned());
        self.values.insert(":one".to_owned(), number(1));
    }

    pub(in crate::store) fn remove(&mut self, name: &str) {
        self.removes.push(format!("#{name}"));
        self.names.insert(format!("#{name}"), name.to_owned());
    }

    pub(in crate::store) fn text(&self) -> String {
        let mut text = format!("SET {}", self.sets.join(", "));
        if !self.removes.is_empty() {
            text.push_str(" REMOVE ");
            text.push_str(&self.removes.join(", "));
        }
        text
    }
}
