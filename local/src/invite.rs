//! Links that sign somebody in to the console, once.

use shared::access::key::KeyId;
use shared::access::registry::{KeyRecord, Registry};
use shared::access::sessions::{Grant, Sessions, Token};
use shared::access::{Caller, Scope};
use shared::tables::{API_KEYS, SESSIONS};
use shared::timestamp::Timestamp;

use crate::args::{Console, ConsoleAction, Invite};
use crate::data::DataDir;
use crate::keys::{new_key, parse_scopes};
use crate::stack::Account;

/// Runs the command and returns its output.
///
/// # Errors
///
/// One line to print.
pub async fn run(console: Console) -> Result<String, String> {
    let ConsoleAction::Invite(invite) = console.action;
    let now = Timestamp::now();
    let place = Place::of(&invite).await?;
    let key = match &invite.key {
        Some(id) => place.known(id, now).await?,
        None => place.made(&invite, now).await?,
    };
    let link = link(&place.sessions, &key, &place.base, now).await?;
    Ok(format!(
        "{link}\n\nThe link signs in once, within 24 hours, and shows a page with a button first. It is for {}, key {}, \
         workspace {}. A later link for the same person: --key {}. To end their access: keys revoke {}.",
        key.name.escape_debug(),
        key.id,
        key.workspace,
        key.id,
        key.id,
    ))
}

/// The keys, sessions and URL of a console.
struct Place {
    registry: Registry,
    sessions: Sessions,
    /// The URL, without a final slash.
    base: String,
}

impl Place {
    async fn of(invite: &Invite) -> Result<Self, String> {
        let Some(stack) = &invite.stack else {
            let client = DataDir::existing(&invite.data_dir)?.database()?.patient_client();
            return Ok(Self {
                registry: Registry::new(client.clone(), API_KEYS.name),
                sessions: Sessions::of_table(client, SESSIONS.name),
                base: invite.url.trim_end_matches('/').to_owned(),
            });
        };
        let account = Account::find().await?;
        let client = account.dynamodb()?;
        Ok(Self {
            registry: Registry::new(client.clone(), account.resource(stack, "ApiKeysTable").await?),
            sessions: Sessions::of_table(client, account.resource(stack, "SessionsTable").await?),
            base: account.base_url(stack).await?,
        })
    }

    /// The key of this id, which must be one that the console is open to.
    async fn known(&self, id: &str, now: Timestamp) -> Result<KeyRecord, String> {
        let id = KeyId::parse(id)
            .ok_or_else(|| "--key: expected hsk_ and 16 hex digits, as shown by `keys list`".to_owned())?;
        let found = self.registry.find(&id).await;
        let key = found
            .map_err(|problem| problem.log_message())?
            .ok_or_else(|| format!("--key: no key {id}; `keys list` shows the ids"))?;
        if !key.is_valid(now) {
            return Err(format!(
                "--key: expected a valid key, got one that is revoked or expired: {id}"
            ));
        }
        let caller = Caller {
            key: key.id.clone(),
            workspace: key.workspace.clone(),
            scopes: key.scopes.clone(),
            upserts: None,
        };
        match caller.may(Scope::Read) {
            true => Ok(key),
            false => Err(format!(
                "--key: expected a key of scope read or admin, got another: {id}"
            )),
        }
    }

    /// A new key, whose secret nobody learns.
    async fn made(&self, invite: &Invite, now: Timestamp) -> Result<KeyRecord, String> {
        let scopes = parse_scopes(&[invite.scope.clone().unwrap_or_default()])?;
        if !matches!(scopes[..], [Scope::Read] | [Scope::Admin]) {
            return Err("--scope: expected read or admin, which the console is open to".to_owned());
        }
        let name = invite.name.clone().unwrap_or_default();
        let (_, key) = new_key(&invite.workspace, name, scopes, invite.expires.as_deref(), now)?;
        self.registry
            .insert(&key)
            .await
            .map_err(|problem| problem.log_message())?;
        Ok(key)
    }
}

/// Makes an invite for a key, and returns its link below `base`, the URL of the service.
///
/// # Errors
///
/// One line to print.
pub async fn link(
    sessions: &Sessions,
    key: &KeyRecord,
    base: &str,
    now: Timestamp,
) -> Result<String, String> {
    let token = Token::mint().map_err(|problem| problem.log_message())?;
    let invite = Grant::invite(key.id.clone(), key.workspace.clone(), now);
    sessions
        .invite(&token, &invite)
        .await
        .map_err(|problem| problem.log_message())?;
    Ok(format!("{base}/console/invite/{}", token.reveal()))
}
