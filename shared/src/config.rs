//! A function's configuration, from its environment. A variable that is wrong ends the start, by its name.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::time::Duration;

use crate::access::key::KeyId;
use crate::tables::{ALL, Table};

/// The variable that says for how many days feedback is kept; `0` or nothing is forever.
pub const RETENTION_VARIABLE: &str = "FEEDBACK_RETENTION_DAYS";

/// The variable that names the key which most requests bear, by its id; nothing is none.
pub const EXPECTED_KEY_VARIABLE: &str = "EXPECTED_KEY";

/// A function's configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    names: BTreeMap<&'static str, String>,
    /// How long feedback is kept; `None` is forever.
    pub retention: Option<Duration>,
    /// The key that a function looks up while it starts.
    pub expected_key: Option<KeyId>,
}

impl Config {
    /// The configuration that the process's environment holds, with the names of these tables.
    ///
    /// # Errors
    ///
    /// A variable that is missing or wrong.
    pub fn from_env(tables: &[&'static Table]) -> Result<Self, ConfigError> {
        let names = tables.iter().map(|table| match env::var(table.variable) {
            Ok(name) if !name.is_empty() => Ok((table.name, name)),
            _ => Err(missing(table)),
        });
        Ok(Self {
            names: names.collect::<Result<_, _>>()?,
            retention: retention(env::var(RETENTION_VARIABLE).ok().as_deref())?,
            expected_key: expected_key(env::var(EXPECTED_KEY_VARIABLE).ok().as_deref())?,
        })
    }

    /// A configuration with the embedded database's names, and the environment's retention.
    ///
    /// # Errors
    ///
    /// A retention that is wrong.
    pub fn embedded() -> Result<Self, ConfigError> {
        Ok(Self {
            names: ALL.map(|table| (table.name, table.name.to_owned())).into(),
            retention: retention(env::var(RETENTION_VARIABLE).ok().as_deref())?,
            expected_key: None,
        })
    }

    /// A configuration with these names of tables and nothing else.
    pub fn of_tables<const N: usize>(names: [(&'static Table, String); N]) -> Self {
        Self {
            names: names.map(|(table, name)| (table.name, name)).into(),
            ..Self::default()
        }
    }

    /// The same with this retention.
    pub fn with_retention(self, retention: Option<Duration>) -> Self {
        Self { retention, ..self }
    }

    /// The name of a table.
    ///
    /// # Errors
    ///
    /// If the configuration was made without it.
    pub fn table(&self, table: &'static Table) -> Result<&str, ConfigError> {
        self.names
            .get(table.name)
            .map(String::as_str)
            .ok_or_else(|| missing(table))
    }
}

fn missing(table: &Table) -> ConfigError {
    ConfigError {
        variable: table.variable,
        expected: "the name of a DynamoDB table",
    }
}

fn retention(days: Option<&str>) -> Result<Option<Duration>, ConfigError> {
    match days.unwrap_or_default() {
        "" | "0" => Ok(None),
        days => days
            .parse::<u32>()
            .map(|days| Some(Duration::from_secs(u64::from(days) * 24 * 60 * 60)))
            .map_err(|_| ConfigError {
                variable: RETENTION_VARIABLE,
                expected: "a whole number of days, 0 to keep it forever",
            }),
    }
}

fn expected_key(id: Option<&str>) -> Result<Option<KeyId>, ConfigError> {
    match id.unwrap_or_default() {
        "" => Ok(None),
        id => KeyId::parse(id).map(Some).ok_or(ConfigError {
            variable: EXPECTED_KEY_VARIABLE,
            expected: "the id of an API key, hsk_ and 16 hex digits, and not its secret",
        }),
    }
}

/// A variable that is missing or wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: &'static str,
    expected: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "environment variable {}: expected {}",
            self.variable, self.expected
        )
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_in_days_and_off_by_default() {
        assert_eq!(retention(None), Ok(None));
        assert_eq!(retention(Some("0")), Ok(None));
        assert_eq!(retention(Some("2")), Ok(Some(Duration::from_secs(172_800))));
        let error = retention(Some("soon")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable FEEDBACK_RETENTION_DAYS: expected a whole number of days, 0 to keep it forever"
        );
    }

    #[test]
    fn a_key_is_expected_by_its_id_and_its_secret_is_not_repeated() {
        assert_eq!(expected_key(None), Ok(None));
        assert_eq!(expected_key(Some("")), Ok(None));
        let id = "hsk_0123456789abcdef";
        assert_eq!(expected_key(Some(id)), Ok(KeyId::parse(id)));
        let error = expected_key(Some(&format!("{id}_secret"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable EXPECTED_KEY: expected the id of an API key, hsk_ and 16 hex digits, \
             and not its secret"
        );
    }
}
