//! Verifying API keys, with a cache of one minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Caller;
use super::key::{ApiKey, KeyId};
use super::registry::{KeyRecord, Registry};
use super::token::{Unverified, VoteToken};
use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// How long a look-up is cached. A revoked key stops working within this time.
pub const CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// The maximum number of keys in each cache: of keys that exist, and of ids that do not.
const MAX_KEYS: usize = 1_024;

/// Verifies API keys and caches the look-ups for a minute. Ages are by the wall clock, because a
/// container's monotonic clock may stop while Lambda has frozen it.
///
/// Existing keys and unknown ids are cached separately, so that a flood of made-up keys cannot evict real
/// ones.
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
    /// A keyring with an empty cache.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            memory: Arc::default(),
        }
    }

    /// Returns the caller that this key text belongs to. A text that is not a key is rejected without a
    /// look-up. If the look-up fails, the caller is never let in.
    ///
    /// # Errors
    ///
    /// [`Problem::Unauthorized`] if the key is mistyped, unknown, revoked or expired or has a wrong secret.
    /// [`Problem::Unavailable`] if DynamoDB throttles or fails.
    pub async fn verify(&self, text: &str, now: Timestamp) -> Result<Caller, Problem> {
        self.open(text, now).await.map(|record| Caller {
            key: record.id,
            workspace: record.workspace,
            scopes: record.scopes,
            upserts: record.upserts,
        })
    }

    /// Returns the record of the key with this text, as [`Keyring::verify`] does the caller.
    ///
    /// # Errors
    ///
    /// Those of [`Keyring::verify`].
    pub async fn open(&self, text: &str, now: Timestamp) -> Result<KeyRecord, Problem> {
        let key = ApiKey::parse(text).ok_or(Problem::Unauthorized)?;
        self.find(key.id(), now)
            .await?
            .filter(|record| key.matches(&record.hash) && record.is_valid(now))
            .ok_or(Problem::Unauthorized)
    }

    /// What a vote token allows, and the key that signed it, whose scopes are not the caller's.
    ///
    /// # Errors
    ///
    /// [`Problem::BadToken`] for one that is malformed, forged or expired, or of a key that is unknown, revoked or
    /// expired; a failure of DynamoDB.
    pub async fn verify_token(&self, text: &str, now: Timestamp) -> Result<(Caller, VoteToken), Problem> {
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
        let caller = Caller {
            key: record.id,
            workspace: record.workspace,
            scopes: Vec::new(),
            upserts: None,
        };
        Ok((caller, allowed))
    }

    /// Looks a key up before a request uses it, and caches it.
    ///
    /// # Errors
    ///
    /// The error of the look-up. Nothing is cached then.
    pub async fn prefetch(&self, id: &KeyId, now: Timestamp) -> Result<(), Problem> {
        self.find(id, now).await.map(drop)
    }

    /// Returns the record of a key by its id, valid or not, or `None` if there is none. It is cached as in
    /// [`Keyring::verify`].
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`] if DynamoDB throttles or fails.
    pub async fn find(&self, id: &KeyId, now: Timestamp) -> Result<Option<KeyRecord>, Problem> {
        if let Some(remembered) = self.remembered(id, now) {
            return Ok(remembered);
        }
        // Throttling here does not mean that the caller writes too much, so it becomes 503 instead of 429.
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

/// Whether an entry may still be used. If the clock was set back, older entries are stale at once.
fn is_fresh(since: Timestamp, now: Timestamp) -> bool {
    since <= now && since.age(now) < CACHE_LIFETIME
}

/// Caches a value. If the cache is full, removes stale entries first, and then everything.
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
    fn the_cache_is_bounded() {
        let mut memory = HashMap::new();
        for number in 0..3 * MAX_KEYS {
            let id = KeyId::parse(&format!("{number:016x}")).unwrap();
            remember(&mut memory, &id, (), Timestamp::from_millis(1));
            assert!(memory.len() <= MAX_KEYS);
            assert!(memory.contains_key(&id));
        }
    }
}
