//! The metadata fields that records are indexed by: their one definition.
//!
//! What else there is of a field follows from it: the check of its text in `metadata`, the
//! filters of lists and analytics, the table's index in `tables`, the index keys in
//! `store`, and what `stats` counts by. To add a field, see CONTRIBUTING.md.

/// The longest text of an indexed field, in bytes. DynamoDB's keys end at 2,048 bytes
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
pub const MAX_INDEXED: usize = 512;

/// A metadata field that records are indexed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `_user`: who gave the feedback.
    User,
    /// `_session`: the conversation that it was given in.
    Session,
    /// `_prompt`: the prompt, by its name.
    Prompt,
    /// `_organisation`: the customer.
    Organisation,
    /// `_environment`: production, staging and the like.
    Environment,
}

/// What there is to know of a field.
struct Definition {
    metadata: &'static str,
    name: &'static str,
    index: &'static str,
    key: &'static str,
    values: Values,
    since: u32,
}

/// How many values a field has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Few, each in many records. Records of one value are spread over the shards of an index, and
    /// counted by the two minutes.
    Few,
    /// Many, each in few records. The value alone spreads the records, and they are counted by the hour.
    Many,
}

impl Field {
    /// Every field, the one with the fewest records to a value first: a list by several fields reads
    /// the records of the first of them, and filters by the others.
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

    /// Its name in metadata, as `_user`.
    pub const fn metadata(self) -> &'static str {
        self.definition().metadata
    }

    /// Its name as a parameter of lists and as a dimension of roll-ups, as `user`.
    pub const fn name(self) -> &'static str {
        self.definition().name
    }

    /// The name of the sparse index of the records that have it, as `by-user`.
    pub const fn index(self) -> &'static str {
        self.definition().index
    }

    /// The attribute that is the partition key of the index, as `user_key`.
    pub const fn key(self) -> &'static str {
        self.definition().key
    }

    /// The schema version of roll-ups that counts by it first: `schema::STATS` when it was added.
    pub const fn counted_since(self) -> u32 {
        self.definition().since
    }

    /// Whether it has many values, each in few records.
    pub fn has_many_values(self) -> bool {
        self.definition().values == Values::Many
    }

    /// The field of this name in metadata.
    pub fn of_metadata(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.metadata() == name)
    }
}

/// The texts of a record's indexed fields, or those that a filter asks for. A field without one is
/// absent; no text is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexed([Option<String>; Field::ALL.len()]);

impl Indexed {
    /// The fields with the texts that `read` has for them.
    pub fn from_fn(read: impl FnMut(Field) -> Option<String>) -> Self {
        Self(Field::ALL.map(read))
    }

    /// The text of a field.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.0[field as usize].as_deref()
    }

    /// Gives a field a text.
    pub fn set(&mut self, field: Field, text: String) {
        self.0[field as usize] = Some(text);
    }

    /// The fields that have a text, in the order of [`Field::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        Field::ALL
            .into_iter()
            .filter_map(|field| Some((field, self.get(field)?)))
    }

    /// Whether every text of `asked` is here too.
    pub fn has_all(&self, asked: &Self) -> bool {
        asked.iter().all(|(field, text)| self.get(field) == Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_at_its_own_place_and_its_names_follow_from_one() {
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
    fn a_filter_asks_for_some_fields_alone() {
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
