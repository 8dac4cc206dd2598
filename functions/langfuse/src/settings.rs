//! The function's own configuration, read from environment variables.

use std::env;
use std::fmt;

use lambda_http::http::Uri;
use shared::config::ConfigError;

/// The variable with the address of Langfuse.
pub const URL_VARIABLE: &str = "LANGFUSE_URL";

/// The variable with the public key of a Langfuse project.
pub const PUBLIC_KEY_VARIABLE: &str = "LANGFUSE_PUBLIC_KEY";

/// The variable with the secret key of that project.
pub const SECRET_KEY_VARIABLE: &str = "LANGFUSE_SECRET_KEY";

/// The variable with the URL of the queue that the function reads.
pub const QUEUE_VARIABLE: &str = "LANGFUSE_QUEUE";

/// The variable with the URL of the queue for changes that Langfuse refuses.
pub const DEAD_LETTERS_VARIABLE: &str = "LANGFUSE_DEAD_LETTERS";

/// Every variable of this function, besides those of its tables.
pub const VARIABLES: [&str; 5] = [
    URL_VARIABLE,
    PUBLIC_KEY_VARIABLE,
    SECRET_KEY_VARIABLE,
    QUEUE_VARIABLE,
    DEAD_LETTERS_VARIABLE,
];

/// The function's own configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where scores are sent.
    pub project: Project,
    /// Where changes come from and go to.
    pub queues: Queues,
}

/// A Langfuse project, and the keys to it.
#[derive(Clone)]
pub struct Project {
    /// The address of Langfuse.
    pub address: Address,
    /// The public key.
    pub public_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project")
            .field("address", &self.address)
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

/// The URLs of the queues.
#[derive(Clone, Debug)]
pub struct Queues {
    /// The queue that the function reads.
    pub changes: String,
    /// The queue for changes that Langfuse refuses.
    pub dead_letters: String,
}

impl Settings {
    /// Reads the configuration from the process's environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a variable is missing or invalid.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|name| env::var(name).ok())
    }

    /// Reads the configuration from these variables.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if one is missing or invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let required = |name, expected| {
            variable(name)
                .filter(|value| !value.is_empty())
                .ok_or(ConfigError::new(name, expected))
        };
        let address = variable(URL_VARIABLE).and_then(|url| Address::parse(&url));
        Ok(Self {
            project: Project {
                address: address.ok_or(ConfigError::new(URL_VARIABLE, Address::EXPECTED))?,
                public_key: required(PUBLIC_KEY_VARIABLE, "the public key of a Langfuse project")?,
                secret_key: required(SECRET_KEY_VARIABLE, "the secret key of a Langfuse project")?,
            },
            queues: Queues {
                changes: required(QUEUE_VARIABLE, "the URL of an SQS queue")?,
                dead_letters: required(DEAD_LETTERS_VARIABLE, "the URL of an SQS queue")?,
            },
        })
    }
}

/// The address of Langfuse, such as `https://cloud.langfuse.com`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// The required form, for messages.
    pub const EXPECTED: &str =
        "an https address such as https://cloud.langfuse.com; http only at localhost or 127.0.0.1";

    /// Parses an address. It may have a path, but no user, query or fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_loopback = matches!(uri.host()?, "localhost" | "127.0.0.1" | "[::1]");
        let is_safe = uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && is_loopback);
        let is_plain = uri.query().is_none() && !text.contains(['@', '#']);
        (is_safe && is_plain).then(|| Self(text.trim_end_matches('/').to_owned()))
    }

    /// The address of a path below it, which begins with a slash.
    pub fn of(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_on_this_machine() {
        for (text, path) in [
            ("https://cloud.langfuse.com", "https://cloud.langfuse.com/x"),
            ("https://cloud.langfuse.com/", "https://cloud.langfuse.com/x"),
            (
                "https://example.com:3000/langfuse/",
                "https://example.com:3000/langfuse/x",
            ),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/x"),
        ] {
            assert_eq!(
                Address::parse(text).map(|address| address.of("/x")),
                Some(path.to_owned())
            );
        }
        for not in [
            "",
            "cloud.langfuse.com",
            "http://cloud.langfuse.com",
            "ftp://cloud.langfuse.com",
            "https://user@cloud.langfuse.com",
            "https://cloud.langfuse.com?x=1",
            "https://cloud.langfuse.com/#x",
            "http://localhost.example.com",
        ] {
            assert_eq!(Address::parse(not), None, "{not}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_the_secret_is_not_shown() {
        let given = |name: &str| match name {
            URL_VARIABLE => Some("https://cloud.langfuse.com".to_owned()),
            SECRET_KEY_VARIABLE => Some("sk-lf-secret".to_owned()),
            _ => Some("x".to_owned()),
        };
        let settings = Settings::read(given).unwrap();
        assert!(!format!("{settings:?}").contains("sk-lf-secret"));
        for name in VARIABLES {
            let error = Settings::read(|asked| given(asked).filter(|_| asked != name)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
