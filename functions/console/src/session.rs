//! Whose request it is, and whether a form came from a page of this console.

use std::fmt;

use shared::access::registry::KeyRecord;
use shared::access::sessions::{Grant, Purpose, Token};
use shared::access::{Caller, Scope};
use shared::feedback::Writer;
use shared::http::visit::Visit;
use shared::id::Workspace;
use shared::problem::Problem;
use subtle::ConstantTimeEq as _;

use crate::App;

/// The cookie's name. A browser takes a cookie with this prefix only over TLS, for this host alone and for every
/// path (RFC 6265bis, section 4.1.3.2).
const COOKIE: &str = "__Host-hindsight";

/// The cookie's name on the loopback, where there is no TLS.
const LOCAL_COOKIE: &str = "hindsight";

/// The hidden field of every form that carries [`Session::form_token`].
pub const FORM_TOKEN: &str = "form_token";

/// Somebody who is signed in.
pub struct Session {
    key: KeyRecord,
    token: Token,
}

impl Session {
    /// A session that was just begun, or found.
    pub fn new(key: KeyRecord, token: Token) -> Self {
        Self { key, token }
    }

    /// The session of a request. Returns `None` if it has none, if it has ended, or if its key is revoked,
    /// expired or no longer of a scope that may read.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn of(app: &App, visit: &Visit) -> Result<Option<Self>, Problem> {
        for value in visit.cookies(Site::of(visit).cookie()) {
            let Some(token) = Token::parse(value) else {
                continue;
            };
            let Some(grant) = app.sessions.find(&token, visit.now).await? else {
                continue;
            };
            if let Some(key) = key_of(app, visit, &grant).await? {
                visit.belongs_to(&key.workspace);
                return Ok(Some(Self { key, token }));
            }
        }
        Ok(None)
    }

    /// The workspace that it shows.
    pub fn workspace(&self) -> &Workspace {
        &self.key.workspace
    }

    /// The API key that it was begun with.
    pub fn key(&self) -> &KeyRecord {
        &self.key
    }

    /// Who writes what it changes.
    pub fn writer(&self) -> Writer {
        Writer {
            workspace: self.key.workspace.clone(),
            key: self.key.id.clone(),
        }
    }

    /// Whether it may change and delete feedback, as its key may through the API.
    pub fn may_write(&self) -> bool {
        caller(&self.key).may(Scope::Write)
    }

    /// The text that every form of this session carries. Whoever knows it cannot tell the session's cookie.
    pub fn form_token(&self) -> String {
        self.token.hash(Purpose::Form)
    }

    /// What the cookie holds.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Returns the fields of a form that a page of this session sent.
    ///
    /// # Errors
    ///
    /// [`Problem::ForeignForm`] for any other.
    pub fn form(&self, visit: &Visit) -> Result<Form, Problem> {
        let form = Form::sent_from_here(visit)?;
        let sent = form.get(FORM_TOKEN).unwrap_or_default();
        let is_own = bool::from(sent.as_bytes().ct_eq(self.form_token().as_bytes()));
        is_own.then_some(form).ok_or(Problem::ForeignForm)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("key", &self.key.id).finish()
    }
}

/// The key of a session or an invite, if it still lets anybody read.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn key_of(app: &App, visit: &Visit, grant: &Grant) -> Result<Option<KeyRecord>, Problem> {
    let key = app.keyring.find(&grant.key, visit.now).await?;
    Ok(key.filter(|key| key.is_valid(visit.now) && key.workspace == grant.workspace && may_read(key)))
}

/// Whether the console is open to a key: its scope is read or admin.
pub fn may_read(key: &KeyRecord) -> bool {
    caller(key).may(Scope::Read)
}

fn caller(key: &KeyRecord) -> Caller {
    Caller {
        key: key.id.clone(),
        workspace: key.workspace.clone(),
        scopes: key.scopes.clone(),
        upserts: None,
    }
}

/// The fields of a form, in order.
#[derive(Clone, Debug)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The fields of a form that a page at this origin sent. Every browser says in `Origin` which page sends a
    /// form (Fetch, "append a request `Origin` header"), so one without is refused.
    ///
    /// # Errors
    ///
    /// [`Problem::ForeignForm`] for a page elsewhere.
    pub fn sent_from_here(visit: &Visit) -> Result<Self, Problem> {
        let origin = visit.header("origin").ok_or(Problem::ForeignForm)?;
        match Site::of(visit).origin() {
            Some(own) if own.eq_ignore_ascii_case(origin) => Ok(Self(visit.form())),
            _ => Err(Problem::ForeignForm),
        }
    }

    /// The value of a field that is there once.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(field, _)| field == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }
}

/// Where the console is: a host with TLS, or the loopback without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    host: Option<&'a str>,
    is_loopback: bool,
}

impl<'a> Site<'a> {
    /// The site that a request was sent to. API Gateway has no other hosts than its own and those with a
    /// certificate, so a loopback is `cargo run`.
    pub fn of(visit: &'a Visit) -> Self {
        let host = visit.host();
        Self {
            host,
            is_loopback: host.is_some_and(is_loopback),
        }
    }

    /// What browsers send as `Origin` from its pages.
    pub fn origin(self) -> Option<String> {
        let scheme = if self.is_loopback { "http" } else { "https" };
        self.host.map(|host| format!("{scheme}://{host}"))
    }

    /// The name of the session's cookie.
    pub fn cookie(self) -> &'static str {
        if self.is_loopback { LOCAL_COOKIE } else { COOKIE }
    }

    /// The `Set-Cookie` of a session. It has no lifetime, so it ends with the browser's session, and in the
    /// table after twelve hours.
    pub fn set_cookie(self, token: &Token) -> String {
        self.with_value(&token.reveal())
    }

    /// The `Set-Cookie` that removes it.
    pub fn remove_cookie(self) -> String {
        format!("{}; Max-Age=0", self.with_value(""))
    }

    fn with_value(self, value: &str) -> String {
        let secure = if self.is_loopback { "" } else { "; Secure" };
        format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}",
            self.cookie()
        )
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(host: &str) -> Site<'_> {
        Site {
            host: Some(host),
            is_loopback: is_loopback(host),
        }
    }

    #[test]
    fn only_the_loopback_is_without_tls() {
        for (host, origin) in [
            ("localhost:8787", "http://localhost:8787"),
            ("127.0.0.1:80", "http://127.0.0.1:80"),
            ("[::1]:8787", "http://[::1]:8787"),
            ("[::1]", "http://[::1]"),
            ("localhost", "http://localhost"),
            ("localhost.evil.example", "https://localhost.evil.example"),
            (
                "127.0.0.1.evil.example:8787",
                "https://127.0.0.1.evil.example:8787",
            ),
            ("evil.example:8787", "https://evil.example:8787"),
            ("api.example.com", "https://api.example.com"),
        ] {
            assert_eq!(site(host).origin().as_deref(), Some(origin));
            let cookie = site(host).set_cookie(&Token::parse(&"A".repeat(43)).unwrap());
            let is_secure = cookie.starts_with("__Host-") && cookie.ends_with("; Secure");
            assert_eq!(is_secure, origin.starts_with("https"), "{cookie}");
        }
    }
}
