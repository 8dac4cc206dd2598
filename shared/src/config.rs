//! A function's configuration, read from environment variables. An invalid variable stops the start, with
//! an error that names it.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::time::Duration;

use crate::access::key::KeyId;
use crate::tables::{ALL, Table};

/// The variable with the number of days that feedback is kept. `0`, empty or unset means forever.
pub const RETENTION_VARIABLE: &str = "FEEDBACK_RETENTION_DAYS";

/// The variable with the id of the key that most requests use. Empty or unset means none.
pub const EXPECTED_KEY_VARIABLE: &str = "EXPECTED_KEY";

/// A function's configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    names: BTreeMap<&'static str, String>,
    /// How long feedback is kept; `None` means forever.
    pub retention: Option<Duration>,
    /// The key that the function looks up during init.
    pub expected_key: Option<KeyId>,
}

impl Config {
    /// Reads the configuration from the process's environment, with the names of these tables.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a variable is missing or invalid.
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

    /// The configuration for the embedded database: its table names, and the retention from the
    /// environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the retention is invalid.
    pub fn embedded() -> Result<Self, ConfigError> {
        Ok(Self {
            names: ALL.map(|table| (table.name, table.name.to_owned())).into(),
            retention: retention(env::var(RETENTION_VARIABLE).ok().as_deref())?,
            expected_key: None,
        })
    }

    /// A configuration with these table names and nothing else.
    pub fn of_tables<const N: usize>(names: [(&'static Table, String); N]) -> Self {
        Self {
            names: names.map(|(table, name)| (table.name, name)).into(),
            ..Self::default()
        }
    }

    /// Returns the configuration with another retention.
    pub fn with_retention(self, retention: Option<Duration>) -> Self {
        Self { retention, ..self }
    }

    /// Returns the name of a table.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration has no name for the table.
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

/// An environment variable that is missing or invalid.
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
    fn expected_key_takes_an_id_and_errors_do_not_repeat_a_secret() {
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
