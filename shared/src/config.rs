//! A function's configuration, read from environment variables. An invalid variable stops the start, with
//! an error that names it.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::access::key::KeyId;
use crate::tables::{ALL, Table};

/// The variable with the number of days that feedback is kept. `0`, empty or unset means forever.
pub const RETENTION_VARIABLE: &str = "FEEDBACK_RETENTION_DAYS";

/// The variable with the id of the key that most requests use. Empty or unset means none.
pub const EXPECTED_KEY_VARIABLE: &str = "EXPECTED_KEY";

/// The variable with the address of a trace in the user's tracing tool. Empty or unset means none.
pub const TRACE_URL_VARIABLE: &str = "TRACE_URL";

/// The variable with the name or ARN of the event bus that `publish` sends to.
pub const EVENT_BUS_VARIABLE: &str = "EVENT_BUS";

/// A function's configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    names: BTreeMap<&'static str, String>,
    /// How long feedback is kept; `None` means forever.
    pub retention: Option<Duration>,
    /// The key that the function looks up during init.
    pub expected_key: Option<KeyId>,
    /// Where the user's tracing tool shows a trace.
    pub trace_url: Option<TraceUrl>,
    /// The name or ARN of the event bus.
    event_bus: Option<String>,
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
            trace_url: trace_url(env::var(TRACE_URL_VARIABLE).ok().as_deref())?,
            event_bus: env::var(EVENT_BUS_VARIABLE).ok().filter(|bus| !bus.is_empty()),
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
            trace_url: trace_url(env::var(TRACE_URL_VARIABLE).ok().as_deref())?,
            event_bus: None,
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

    /// Returns the configuration with another address of traces.
    pub fn with_trace_url(self, trace_url: Option<TraceUrl>) -> Self {
        Self { trace_url, ..self }
    }

    /// Returns the name or ARN of the event bus.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration has none.
    pub fn event_bus(&self) -> Result<&str, ConfigError> {
        self.event_bus.as_deref().ok_or(ConfigError {
            variable: EVENT_BUS_VARIABLE,
            expected: "the name or ARN of an event bus",
        })
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

/// The address of a trace in a tracing tool, such as `https://langfuse.example.com/trace/{trace_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceUrl {
    before: String,
    after: String,
}

impl TraceUrl {
    /// The required form, for messages.
    pub const EXPECTED: &str = "an https address with {trace_id} in it once, such as \
                                https://langfuse.example.com/trace/{trace_id}; http only at localhost or 127.0.0.1";

    /// Parses an address. The host must be given, so that a trace's id cannot become part of it.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once("{trace_id}")?;
        let (is_tls, rest) = match before.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, before.strip_prefix("http://")?),
        };
        let (authority, _) = rest.split_once('/')?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let is_named = !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
        let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !after.contains("{trace_id}");
        (is_named && is_plain && (is_tls || is_loopback)).then(|| Self {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    /// The address of a trace, whose id is percent-encoded.
    pub fn of(&self, trace: &str) -> String {
        let trace = utf8_percent_encode(trace, NOT_UNRESERVED);
        format!("{}{trace}{}", self.before, self.after)
    }
}

/// All but the unreserved characters of RFC 3986, section 2.3.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn trace_url(text: Option<&str>) -> Result<Option<TraceUrl>, ConfigError> {
    match text.unwrap_or_default() {
        "" => Ok(None),
        text => TraceUrl::parse(text).map(Some).ok_or(ConfigError {
            variable: TRACE_URL_VARIABLE,
            expected: TraceUrl::EXPECTED,
        }),
    }
}

/// An environment variable that is missing or invalid.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: &'static str,
    expected: &'static str,
}

impl ConfigError {
    /// The error of a variable that must be `expected`.
    pub const fn new(variable: &'static str, expected: &'static str) -> Self {
        Self { variable, expected }
    }
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

    #[test]
    fn an_event_bus_that_is_missing_is_named() {
        let error = Config::default().event_bus().unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable EVENT_BUS: expected the name or ARN of an event bus"
        );
    }

    #[test]
    fn a_trace_url_names_its_host_and_encodes_the_trace() {
        for (url, link) in [
            (
                "https://langfuse.example.com/trace/{trace_id}",
                "https://langfuse.example.com/trace/a%2Fb%3F%23%20%25%22%C3%A9",
            ),
            (
                "http://localhost:3000/?id={trace_id}&view=1",
                "http://localhost:3000/?id=a%2Fb%3F%23%20%25%22%C3%A9&view=1",
            ),
            (
                "http://[::1]/{trace_id}",
                "http://[::1]/a%2Fb%3F%23%20%25%22%C3%A9",
            ),
        ] {
            let url = trace_url(Some(url)).unwrap().unwrap();
            assert_eq!(url.of("a/b?# %\"é"), link);
        }
        for wrong in [
            "https://example.com/trace/",
            "http://example.com/{trace_id}",
            "https://{trace_id}/",
            "https://{trace_id}.example.com/",
            "https://example.com{trace_id}/",
            "https:///{trace_id}",
            "javascript:alert({trace_id})",
            "https://user@evil.example/{trace_id}",
            "https://example.com/{trace_id}/{trace_id}",
            "https://example.com/ {trace_id}",
            "http://localhost.evil.example/{trace_id}",
        ] {
            assert!(trace_url(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(trace_url(Some("")), Ok(None));
    }
}
