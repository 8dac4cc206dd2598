//! API keys: `hsk_{id}_{secret}{checksum}`, looked up by their id, remembered for a minute.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::Error;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const REMEMBERED: Duration = Duration::from_secs(60);
const MOST: usize = 1024;

/// A key's record, as far as a request is let in by it.
#[derive(Clone)]
pub struct Caller {
    pub workspace: String,
    scopes: Vec<String>,
    hash: Vec<u8>,
    expires_at: Option<u128>,
    revoked: bool,
}

impl Caller {
    pub fn may_write(&self) -> bool {
        self.scopes
            .iter()
            .any(|scope| scope == "write" || scope == "admin")
    }
}

pub struct Keyring {
    client: Client,
    table: String,
    memory: Mutex<HashMap<String, (SystemTime, Option<Caller>)>>,
}

impl Keyring {
    pub fn new(client: Client, table: String) -> Self {
        Self {
            client,
            table,
            memory: Mutex::default(),
        }
    }

    /// Who the bearer of this key is; `None` if nobody may enter by it.
    pub async fn verify(&self, text: &str, now: SystemTime) -> Result<Option<Caller>, Error> {
        let Some((id, secret)) = parse(text) else {
            return Ok(None);
        };
        let Some(caller) = self.find(id, now).await? else {
            return Ok(None);
        };
        let millis = now.duration_since(UNIX_EPOCH)?.as_millis();
        let matches: bool = Sha256::digest(secret).as_slice().ct_eq(&caller.hash).into();
        let valid = !caller.revoked && caller.expires_at.is_none_or(|end| millis < end);
        Ok((matches && valid).then_some(caller))
    }

    async fn find(&self, id: &str, now: SystemTime) -> Result<Option<Caller>, Error> {
        if let Some((since, caller)) = self.memory.lock().unwrap().get(id)
            && now.duration_since(*since).is_ok_and(|age| age < REMEMBERED)
        {
            return Ok(caller.clone());
        }
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_string()))
            .consistent_read(true)
            .send()
            .await?;
        let caller = match output.item {
            Some(item) => Some(read(&item).ok_or("an item of the API key table cannot be read")?),
            None => None,
        };
        let mut memory = self.memory.lock().unwrap();
        if memory.len() >= MOST {
            memory.clear();
        }
        memory.insert(id.to_string(), (now, caller.clone()));
        Ok(caller)
    }
}

/// The id and the secret of a key's text; `None` if it is mistyped.
fn parse(text: &str) -> Option<(&str, Vec<u8>)> {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (id, rest) = text.strip_prefix("hsk_")?.split_once('_')?;
    if id.len() != 16 || rest.len() != 72 || !is_hex(id) || !is_hex(rest) {
        return None;
    }
    let (secret, checksum) = rest.split_at(64);
    let digest = Sha256::digest(format!("hsk_{id}_{secret}"));
    let expected: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    if checksum != expected {
        return None;
    }
    let secret = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&secret[at..at + 2], 16).ok())
        .collect::<Option<_>>()?;
    Some((id, secret))
}

fn read(item: &HashMap<String, AttributeValue>) -> Option<Caller> {
    Some(Caller {
        workspace: item.get("workspace")?.as_s().ok()?.clone(),
        scopes: item.get("scopes")?.as_ss().ok()?.clone(),
        hash: item.get("hash")?.as_b().ok()?.clone().into_inner(),
        expires_at: match item.get("expires_at") {
            Some(end) => Some(end.as_n().ok()?.parse().ok()?),
            None => None,
        },
        revoked: item.contains_key("revoked_at"),
    })
}
