//! What a function is told by its environment. It fails at start, with the variable's name.

use std::env;
use std::fmt;
use std::time::Duration;

use crate::access::key::KeyId;
use crate::tables::{API_KEYS, FEEDBACK, IDEMPOTENCY, STATS, Table};

/// The variable that says for how many days feedback is kept; `0` or nothing is for ever.
pub const RETENTION_VARIABLE: &str = "FEEDBACK_RETENTION_DAYS";

/// The variable that names the key which most requests bear, by its id; nothing is none.
pub const EXPECTED_KEY_VARIABLE: &str = "EXPECTED_KEY";

/// The tables' names, how long feedback is kept, and whom to expect.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of [`FEEDBACK`].
    pub feedback: String,
    /// The name of [`IDEMPOTENCY`].
    pub idempotency: String,
    /// The name of [`API_KEYS`].
    pub api_keys: String,
    /// The name of [`STATS`].
    pub stats: String,
    /// How long feedback is kept; `None` is for ever.
    pub retention: Option<Duration>,
    /// The key that a function looks up while it starts.
    pub expected_key: Option<KeyId>,
}

impl Config {
    /// The configuration of the process's environment. A function's template names only the
    /// tables it touches; a name that is missing is found out by the first use of its table, so
    /// each function says in `tables` which it must have.
    pub fn from_env(tables: &[&Table]) -> Result<Self, ConfigError> {
        let name = |table: &Table| {
            let needed = tables.iter().any(|needed| needed.name == table.name);
            match env::var(table.variable) {
                Ok(name) if !name.is_empty() => Ok(name),
                _ if needed => Err(ConfigError {
                    variable: table.variable,
                    expected: "the name of a DynamoDB table",
                }),
                _ => Ok(String::new()),
            }
        };
        Ok(Self {
            feedback: name(&FEEDBACK)?,
            idempotency: name(&IDEMPOTENCY)?,
            api_keys: name(&API_KEYS)?,
            stats: name(&STATS)?,
            retention: retention(env::var(RETENTION_VARIABLE).ok().as_deref())?,
            expected_key: expected_key(env::var(EXPECTED_KEY_VARIABLE).ok().as_deref())?,
        })
    }

    /// The names the embedded database uses; how long feedback is kept is the environment's word.
    pub fn embedded() -> Result<Self, ConfigError> {
        Ok(Self {
            feedback: FEEDBACK.name.to_owned(),
            idempotency: IDEMPOTENCY.name.to_owned(),
            api_keys: API_KEYS.name.to_owned(),
            stats: STATS.name.to_owned(),
            retention: retention(env::var(RETENTION_VARIABLE).ok().as_deref())?,
            expected_key: None,
        })
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
                expected: "a whole number of days, 0 for ever",
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
            "the environment variable {} must hold {}",
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
            "the environment variable FEEDBACK_RETENTION_DAYS must hold a whole number of days, 0 for ever"
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
            "the environment variable EXPECTED_KEY must hold the id of an API key, hsk_ and 16 hex digits, \
             and not its secret"
        );
    }
}
