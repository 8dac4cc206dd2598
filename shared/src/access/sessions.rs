//! The console's sessions, and invites to it.
//!
//! Both are 256 random bits that only their owner has: a cookie, and a link. The table has their SHA-256, so
//! whoever reads it can neither use a session nor an invite.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::key::KeyId;
use crate::config::{Config, ConfigError};
use crate::dynamo::attributes::{Item, int, number, string, text};
use crate::dynamo::{self, Attempts};
use crate::id::Workspace;
use crate::problem::Problem;
use crate::random;
use crate::schema;
use crate::tables::SESSIONS;
use crate::timestamp::Timestamp;

/// How long a session lasts.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How long an invite can be used.
pub const INVITE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The random bits that a session or an invite is known by. Its `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// What a [`Token`] is hashed for. Each purpose has a hash of its own, so one says nothing about another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The session's id in the table.
    Session,
    /// The invite's id in the table.
    Invite,
    /// What the forms of a session carry.
    Form,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Invite => "invite",
            Self::Form => "form",
        }
    }
}

impl Token {
    /// A new one from the system's random source.
    ///
    /// # Errors
    ///
    /// [`Problem::Internal`] if the system has no random source.
    pub fn mint() -> Result<Self, Problem> {
        let mut bytes = [0; 32];
        random::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads the text of [`Token::reveal`]. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        // The length is checked first, so that no long text is decoded.
        let bytes = (text.len() == 43).then(|| URL_SAFE_NO_PAD.decode(text).ok())??;
        bytes.try_into().ok().map(Self)
    }

    /// Its text, 43 characters of base64url, for its owner alone.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Its SHA-256 for a purpose, as 43 characters of base64url.
    pub fn hash(&self, purpose: Purpose) -> String {
        let digest = Sha256::new()
            .chain_update(purpose.label())
            .chain_update(b"#")
            .chain_update(self.0)
            .finalize();
        URL_SAFE_NO_PAD.encode(digest)
    }

    /// The key of its item in the table.
    fn id(&self, purpose: Purpose) -> String {
        format!("{}#{}", purpose.label(), self.hash(purpose))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A session or an invite: the key that it stands for, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The id of the API key.
    pub key: KeyId,
    /// The key's workspace.
    pub workspace: Workspace,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Grant {
    /// A session that begins at `now`.
    pub fn session(key: KeyId, workspace: Workspace, now: Timestamp) -> Self {
        Self::lasting(SESSION_LIFETIME, key, workspace, now)
    }

    /// An invite that is made at `now`.
    pub fn invite(key: KeyId, workspace: Workspace, now: Timestamp) -> Self {
        Self::lasting(INVITE_LIFETIME, key, workspace, now)
    }

    fn lasting(lifetime: Duration, key: KeyId, workspace: Workspace, now: Timestamp) -> Self {
        Self {
            key,
            workspace,
            created_at: now,
            // In whole seconds, as DynamoDB's time to live is.
            expires_at: Timestamp::from_millis((now + lifetime).seconds() * 1000),
        }
    }
}

/// What an invite is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invite {
    /// It can be used.
    Open(Grant),
    /// Somebody has signed in with it.
    Used,
    /// It is older than [`INVITE_LIFETIME`].
    Expired,
    /// There is none. DynamoDB deletes expired ones within days, so it may be an old one.
    Unknown,
}

/// The table of sessions and invites.
#[derive(Clone, Debug)]
pub struct Sessions {
    client: Client,
    table: String,
}

impl Sessions {
    /// The sessions in this configuration's table.
    ///
    /// # Errors
    ///
    /// If the configuration lacks the name of [`SESSIONS`].
    pub fn new(client: Client, config: &Config) -> Result<Self, ConfigError> {
        Ok(Self::of_table(client, config.table(&SESSIONS)?))
    }

    /// The sessions in the table of this name.
    pub fn of_table(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Stores a session.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn begin(&self, token: &Token, session: &Grant) -> Result<(), Problem> {
        self.put(token, Purpose::Session, session).await
    }

    /// Stores an invite.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn invite(&self, token: &Token, invite: &Grant) -> Result<(), Problem> {
        self.put(token, Purpose::Invite, invite).await
    }

    /// Returns a session, or `None` if there is none or it has ended. The read is consistent, so a session
    /// that was signed out is gone at once.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a session of a newer schema version.
    pub async fn find(&self, token: &Token, now: Timestamp) -> Result<Option<Grant>, Problem> {
        let item = self.get(token, Purpose::Session).await?;
        let session = item.as_ref().map(to_grant).transpose()?;
        Ok(session.filter(|session| now < session.expires_at))
    }

    /// Ends a session. One that has ended already stays so.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn end(&self, token: &Token) -> Result<(), Problem> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key(SESSIONS.hash, text(token.id(Purpose::Session)))
            .send()
            .await
            .map(drop)
            .map_err(|error| dynamo::problem(&error, false))
    }

    /// Looks at an invite without using it up.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or an invite of a newer schema version.
    pub async fn look_at(&self, token: &Token, now: Timestamp) -> Result<Invite, Problem> {
        let item = self.get(token, Purpose::Invite).await?;
        state(item.as_ref(), now)
    }

    /// Uses an invite up for this session, which must be stored already: if the invite cannot be used, nobody
    /// ever learns of the session. A repeat for the same session succeeds again, since the response of the
    /// first may have been lost.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or an invite of a newer schema version.
    pub async fn accept(&self, invite: &Token, session: &Token, now: Timestamp) -> Result<Invite, Problem> {
        let attempts = Attempts::default();
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(SESSIONS.hash, text(invite.id(Purpose::Invite)))
            .update_expression("SET used_by = :session")
            .condition_expression(
                "attribute_exists(id) AND expires_at > :now \
                 AND (attribute_not_exists(used_by) OR used_by = :session)",
            )
            .expression_attribute_values(":session", text(session.id(Purpose::Session)))
            .expression_attribute_values(":now", number(now.seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_values(ReturnValue::AllOld)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        match result {
            Ok(output) => {
                let item = output.attributes.unwrap_or_default();
                to_grant(&item).map(Invite::Open)
            }
            Err(error) if dynamo::is_condition_failure(&error) => {
                let item = match error.into_service_error() {
                    UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                };
                // Its expiry is in whole seconds, and `now` was just before one.
                match state(item.as_ref(), now)? {
                    Invite::Open(_) => Ok(Invite::Expired),
                    other => Ok(other),
                }
            }
            Err(error) => Err(dynamo::problem(&error, attempts.uncertain())),
        }
    }

    async fn put(&self, token: &Token, purpose: Purpose, grant: &Grant) -> Result<(), Problem> {
        let attempts = Attempts::default();
        self.client
            .put_item()
            .table_name(&self.table)
            .item(SESSIONS.hash, text(token.id(purpose)))
            .item("key", text(grant.key.as_str()))
            .item("workspace", text(grant.workspace.as_str()))
            .item("created_at", number(grant.created_at.millis()))
            .item("expires_at", number(grant.expires_at.seconds()))
            .item(schema::ATTRIBUTE, number(schema::SESSION))
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await
            .map(drop)
            .map_err(|error| dynamo::problem(&error, attempts.uncertain()))
    }

    async fn get(&self, token: &Token, purpose: Purpose) -> Result<Option<Item>, Problem> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(SESSIONS.hash, text(token.id(purpose)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        Ok(found.item)
    }
}

/// What the item of an invite says at `now`.
fn state(item: Option<&Item>, now: Timestamp) -> Result<Invite, Problem> {
    let Some(item) = item else {
        return Ok(Invite::Unknown);
    };
    let invite = to_grant(item)?;
    Ok(match item.contains_key("used_by") {
        true => Invite::Used,
        false if invite.expires_at <= now => Invite::Expired,
        false => Invite::Open(invite),
    })
}

fn to_grant(item: &Item) -> Result<Grant, Problem> {
    schema::check(item, schema::SESSION)?;
    let read = || {
        Some(Grant {
            key: KeyId::parse(string(item, "key")?)?,
            workspace: Workspace::parse(string(item, "workspace")?)?,
            created_at: Timestamp::from_millis(int(item, "created_at")?),
            expires_at: Timestamp::from_millis(int::<u64>(item, "expires_at")?.saturating_mul(1000)),
        })
    };
    read().ok_or_else(|| Problem::internal("an item of the sessions table cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_text_and_nothing_else_does() {
        let token = Token([0xa5; 32]);
        let text = token.reveal();
        assert_eq!(Token::parse(&text), Some(token));
        for wrong in [
            "",
            "a",
            &text[1..],
            &format!("{text}A"),
            &format!("{}+", &text[..42]),
        ] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hashes_of_each_purpose_differ_and_debug_shows_none() {
        let token = Token([7; 32]);
        let hashes = [Purpose::Session, Purpose::Invite, Purpose::Form].map(|purpose| token.hash(purpose));
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
        assert!(!hashes.contains(&token.reveal()));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
