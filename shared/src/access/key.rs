//! The text form of an API key: `hsk_{id}_{secret}{checksum}`.
//!
//! It consists of a prefix that secret scanners can find, a public id (16 hex digits), a 256-bit secret (64
//! hex digits) and a checksum over everything before it (8 hex digits). The checksum identifies a mistyped
//! key without a look-up.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The prefix of every key.
pub const PREFIX: &str = "hsk_";

const ID: usize = 16;
const SECRET: usize = 64;
const CHECKSUM: usize = 8;

/// An API key with its secret. Its `Debug` shows only the id.
///
/// ```
/// use shared::access::key::ApiKey;
///
/// let key = ApiKey::from_random([1; 8], [2; 32]);
/// let text = key.reveal();
/// assert!(text.starts_with("hsk_0101010101010101_0202"));
/// assert!(ApiKey::parse(&text) == Some(key));
/// // The checksum tells a mistyped key without a look-up.
/// assert!(ApiKey::parse(&text.replace("0202", "0203")).is_none());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: KeyId,
    secret: [u8; 32],
}

/// The public part of a key. It identifies the key in lists and logs and reveals nothing about the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Parses an id: `hsk_` and 16 hex digits, or the digits alone.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX).unwrap_or(text);
        (digits.len() == ID && digits.bytes().all(is_hex)).then(|| Self(digits.to_owned()))
    }

    /// The 16 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl ApiKey {
    /// Builds a key from random bytes: 8 for the id, 32 for the secret.
    pub fn from_random(id: [u8; 8], secret: [u8; 32]) -> Self {
        Self {
            id: KeyId(hex(&id)),
            secret,
        }
    }

    /// Parses a key's text. Returns `None` if it is mistyped, truncated or not a key.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        if rest.len() != ID + 1 + SECRET + CHECKSUM || !rest.is_ascii() {
            return None;
        }
        let (id, rest) = rest.split_at(ID);
        let (secret, checksum) = rest.strip_prefix('_')?.split_at(SECRET);
        let id = KeyId::parse(id)?;
        if !secret.bytes().all(is_hex) || checksum != self::checksum(&id, secret) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(secret.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self { id, secret: bytes })
    }

    /// The key's public id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The full text, to hand to the key's owner. It is shown once and never stored.
    pub fn reveal(&self) -> String {
        let secret = hex(&self.secret);
        let checksum = checksum(&self.id, &secret);
        format!("{}_{secret}{checksum}", self.id)
    }

    /// The last four characters of the text, by which the owner recognizes the key. They belong to the
    /// checksum, so they reveal almost nothing about the 256 random bits.
    pub fn last_four(&self) -> String {
        let text = self.reveal();
        text[text.len() - 4..].to_owned()
    }

    /// The SHA-256 of the secret, which is what is stored. The secret is random, so one round is enough.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// Compares this key's secret with a stored `hash`, in constant time.
    pub fn matches(&self, hash: &[u8]) -> bool {
        self.hash().ct_eq(hash).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.id)
    }
}

fn checksum(id: &KeyId, secret: &str) -> String {
    let digest = Sha256::new()
        .chain_update(id.to_string())
        .chain_update(b"_")
        .chain_update(secret)
        .finalize();
    hex(&digest[..CHECKSUM / 2])
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ApiKey {
        ApiKey::from_random([0xab; 8], [0x17; 32])
    }

    #[test]
    fn a_key_comes_back_from_its_text() {
        let text = key().reveal();
        assert!(text.starts_with("hsk_abababababababab_1717"));
        assert_eq!(text.len(), 93);
        assert_eq!(ApiKey::parse(&text), Some(key()));
        assert!(text.ends_with(&key().last_four()));
    }

    #[test]
    fn a_single_wrong_character_is_detected_without_a_look_up() {
        let text = key().reveal();
        for index in 0..text.len() {
            for wrong in [b'0', b'f', b'_', b'G', b'A'] {
                let mut bytes = text.clone().into_bytes();
                if bytes[index] == wrong {
                    continue;
                }
                bytes[index] = wrong;
                let wrong = String::from_utf8(bytes).unwrap();
                assert_eq!(ApiKey::parse(&wrong), None, "{wrong}");
            }
        }
        let long = format!("{text}0");
        for wrong in [
            "",
            "hsk_",
            "PORTKEY_API_KEY",
            &text[1..],
            &text[..92],
            &long,
            &text.to_uppercase(),
        ] {
            assert_eq!(ApiKey::parse(wrong), None);
        }
        assert_eq!(ApiKey::parse(&format!("hsk_{}", "é".repeat(44))), None);
        assert_eq!(ApiKey::parse(&format!("hsk_{}é", "a".repeat(87))), None);
    }

    #[test]
    fn only_the_hash_of_the_secret_matches() {
        assert!(key().matches(&key().hash()));
        assert!(!key().matches(&ApiKey::from_random([0xab; 8], [0x18; 32]).hash()));
        assert!(!key().matches(b""));
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", key()), "ApiKey(hsk_abababababababab…)");
    }

    #[test]
    fn an_id_parses_with_or_without_its_prefix() {
        assert_eq!(KeyId::parse("hsk_abababababababab").as_ref(), Some(key().id()));
        assert_eq!(KeyId::parse("abababababababab").as_ref(), Some(key().id()));
        for wrong in ["", "hsk_", "abc", "ABABABABABABABAB"] {
            assert_eq!(KeyId::parse(wrong), None);
        }
    }
}
