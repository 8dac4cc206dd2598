//! The indexed metadata fields, in their single definition.
//!
//! Everything else about a field follows from it: its validation in `metadata`, the filters of lists and
//! analytics, the index in `tables`, the index keys in `store`, and the dimensions in `stats`. To add a
//! field, see CONTRIBUTING.md.

/// The maximum length of an indexed field, in bytes. DynamoDB's partition keys are limited to 2,048 bytes
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
pub const MAX_INDEXED: usize = 512;

/// An indexed metadata field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `_user`: the user who gave the feedback.
    User,
    /// `_session`: the conversation that it belongs to.
    Session,
    /// `_prompt`: the name of the prompt.
    Prompt,
    /// `_organisation`: the customer.
    Organisation,
    /// `_environment`: for example production or staging.
    Environment,
}

/// The definition of a field.
struct Definition {
    metadata: &'static str,
    name: &'static str,
    index: &'static str,
    key: &'static str,
    values: Values,
    since: u32,
}

/// The number of values that a field takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Few values, each in many records. The records of a value are spread over the shards of an index, and
    /// counted in slots of two minutes.
    Few,
    /// Many values, each in few records. The values alone spread the records, which are counted by hour.
    Many,
}

impl Field {
    /// Every field, starting with the one that has the fewest records per value. A list by several fields
    /// reads the records of the first and filters by the others.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::Session,
        Self::Prompt,
        Self::Organisation,
        Self::Environment,
    ];

    const fn definition(self) -> Definition {
        match self {
            Self::User => Definition {
                metadata: "_user",
                name: "user",
                index: "by-user",
                key: "user_key",
                values: Values::Many,
                since: 1,
            },
            Self::Session => Definition {
                metadata: "_session",
                name: "session",
                index: "by-session",
                key: "session_key",
                values: Values::Many,
                since: 3,
            },
            Self::Prompt => Definition {
                metadata: "_prompt",
                name: "prompt",
                index: "by-prompt",
                key: "prompt_key",
                values: Values::Few,
                since: 1,
            },
            Self::Organisation => Definition {
                metadata: "_organisation",
                name: "organisation",
                index: "by-organisation",
                key: "organisation_key",
                values: Values::Few,
                since: 1,
            },
            Self::Environment => Definition {
                metadata: "_environment",
                name: "environment",
                index: "by-environment",
                key: "environment_key",
                values: Values::Few,
                since: 1,
            },
        }
    }

    /// The field's name in metadata, such as `_user`.
    pub const fn metadata(self) -> &'static str {
        self.definition().metadata
    }

    /// The field's name as a list parameter and roll-up dimension, such as `user`.
    pub const fn name(self) -> &'static str {
        self.definition().name
    }

    /// The name of the field's sparse index, such as `by-user`.
    pub const fn index(self) -> &'static str {
        self.definition().index
    }

    /// The attribute that is the partition key of the index, such as `user_key`.
    pub const fn key(self) -> &'static str {
        self.definition().key
    }

    /// The first schema version of roll-ups that counts by the field: `schema::STATS` when it was added.
    pub const fn counted_since(self) -> u32 {
        self.definition().since
    }

    /// Whether the field has many values, each in few records.
    pub fn has_many_values(self) -> bool {
        self.definition().values == Values::Many
    }

    /// The field with this name in metadata.
    pub fn of_metadata(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.metadata() == name)
    }
}

/// The indexed fields of a record or filter, with their text. Fields without a text are absent; no text is
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexed([Option<String>; Field::ALL.len()]);

impl Indexed {
    /// Builds the fields from the texts that `read` returns.
    pub fn from_fn(read: impl FnMut(Field) -> Option<String>) -> Self {
        Self(Field::ALL.map(read))
    }

    /// The text of a field.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.0[field as usize].as_deref()
    }

    /// Sets the text of a field.
    pub fn set(&mut self, field: Field, text: String) {
        self.0[field as usize] = Some(text);
    }

    /// The fields that have a text, in the order of [`Field::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        Field::ALL
            .into_iter()
            .filter_map(|field| Some((field, self.get(field)?)))
    }

    /// Whether all fields in `asked` have the same text here.
    pub fn has_all(&self, asked: &Self) -> bool {
        asked.iter().all(|(field, text)| self.get(field) == Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_order_and_their_names_are_consistent() {
        for (place, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, place);
            let name = field.name();
            assert_eq!(field.metadata(), format!("_{name}"));
            assert_eq!(field.index(), format!("by-{name}"));
            assert_eq!(field.key(), format!("{name}_key"));
            assert_eq!(Field::of_metadata(field.metadata()), Some(field));
        }
    }

    #[test]
    fn has_all_compares_only_the_fields_of_the_filter() {
        let texts = |field: Field| Some(field.name().to_owned());
        let (all, mut asked) = (Indexed::from_fn(texts), Indexed::default());
        assert!(all.has_all(&asked));
        asked.set(Field::Session, "session".to_owned());
        assert!(all.has_all(&asked) && !Indexed::default().has_all(&asked));
        asked.set(Field::User, "another".to_owned());
        assert!(!all.has_all(&asked));
        assert_eq!(asked.iter().count(), 2);
    }
}
