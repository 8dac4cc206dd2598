//! Verifying keys, with a memory of one minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Caller;
use super::key::{ApiKey, KeyId};
use super::registry::{KeyRecord, Registry};
use super::token::{Unverified, VoteToken};
use crate::id::Workspace;
use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// How long a look-up is remembered: a revoked key is dead within this time.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// The most keys that are remembered, and the most that are remembered not to exist.
const MAX_KEYS: usize = 1_024;

/// The keys of a registry, as far as they were asked for in the last minute, by the wall clock: a
/// container's monotonic one may stand still while Lambda has it frozen.
///
/// Keys that exist and ids that do not are remembered apart, so that a flood of made-up keys
/// cannot push out the real ones.
#[derive(Clone, Debug)]
pub struct Keyring {
    registry: Registry,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<KeyId, (Timestamp, KeyRecord)>,
    unknown: HashMap<KeyId, (Timestamp, ())>,
}

impl Keyring {
    /// A keyring that remembers nothing yet.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            memory: Arc::default(),
        }
    }

    /// Who the bearer of this text is. A text that is no key is refused without a look-up, one
    /// whose look-up fails is never let in: [`Problem::Unauthorized`] for a key that is mistyped,
    /// unknown, revoked, expired or has a wrong secret, [`Problem::Unavailable`] and its like for a
    /// database that does not answer.
    ///
    /// # Errors
    ///
    /// [`Problem::Unauthorized`] for a key that is none, unknown, revoked or expired; a failure of DynamoDB.
    pub async fn verify(&self, text: &str, now: Timestamp) -> Result<Caller, Problem> {
        let key = ApiKey::parse(text).ok_or(Problem::Unauthorized)?;
        let record = self.find(key.id(), now).await?.ok_or(Problem::Unauthorized)?;
        if key.matches(&record.hash) && record.is_valid(now) {
            Ok(Caller {
                workspace: record.workspace,
                scopes: record.scopes,
                upserts: record.upserts,
            })
        } else {
            Err(Problem::Unauthorized)
        }
    }

    /// What a vote token allows, and the workspace of its key.
    ///
    /// # Errors
    ///
    /// [`Problem::BadToken`] for one that is malformed, forged or expired, or of a key that is unknown, revoked or
    /// expired; a failure of DynamoDB.
    pub async fn verify_token(&self, text: &str, now: Timestamp) -> Result<(Workspace, VoteToken), Problem> {
        let token = Unverified::parse(text)?;
        // One message for all: whoever forges a token learns nothing of keys.
        let unknown =
            || Problem::BadToken("token: expected one signed with a valid key of scope vote".to_owned());
        let record = self.find(&token.key, now).await?.ok_or_else(unknown)?;
        let public_key = record.public_key.as_ref().filter(|_| record.is_valid(now));
        if !public_key.is_some_and(|public_key| token.is_signed_by(public_key)) {
            return Err(unknown());
        }
        let allowed = token.claims(&record.workspace, now)?;
        Ok((record.workspace, allowed))
    }

    /// Looks a key up before anybody bears it, and remembers it as if somebody had.
    ///
    /// # Errors
    ///
    /// What a look-up fails with. Nothing is remembered then.
    pub async fn prefetch(&self, id: &KeyId, now: Timestamp) -> Result<(), Problem> {
        self.find(id, now).await.map(drop)
    }

    async fn find(&self, id: &KeyId, now: Timestamp) -> Result<Option<KeyRecord>, Problem> {
        if let Some(remembered) = self.remembered(id, now) {
            return Ok(remembered);
        }
        // A throttled look-up is no throttled write: it is ours to answer for, as 503.
        let found = self.registry.find(id).await.map_err(|problem| match problem {
            Problem::Throttled => Problem::unavailable("the look-up of an API key was throttled"),
            other => other,
        })?;
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Some(record) => remember(&mut memory.known, id, record.clone(), now),
            None => remember(&mut memory.unknown, id, (), now),
        }
        Ok(found)
    }

    fn remembered(&self, id: &KeyId, now: Timestamp) -> Option<Option<KeyRecord>> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, record)) = memory.known.get(id)
            && is_fresh(*since, now)
        {
            return Some(Some(record.clone()));
        }
        let (since, ()) = memory.unknown.get(id)?;
        is_fresh(*since, now).then_some(None)
    }
}

/// A clock that was set back makes what was remembered before stale at once.
fn is_fresh(since: Timestamp, now: Timestamp) -> bool {
    since <= now && since.age(now) < REMEMBERED
}

/// Remembers, forgetting what is stale, and then all, if there is no room.
fn remember<T>(memory: &mut HashMap<KeyId, (Timestamp, T)>, id: &KeyId, value: T, now: Timestamp) {
    if memory.len() >= MAX_KEYS && !memory.contains_key(id) {
        memory.retain(|_, (since, _)| is_fresh(*since, now));
        if memory.len() >= MAX_KEYS {
            memory.clear();
        }
    }
    memory.insert(id.clone(), (now, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut memory = HashMap::new();
        for number in 0..3 * MAX_KEYS {
            let id = KeyId::parse(&format!("{number:016x}")).unwrap();
            remember(&mut memory, &id, (), Timestamp::from_millis(1));
            assert!(memory.len() <= MAX_KEYS);
            assert!(memory.contains_key(&id));
        }
    }
}
