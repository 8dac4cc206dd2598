//! Workspaces and feedback ids.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::timestamp::Timestamp;

/// A workspace: the tenant that keys and records belong to. Its name is 1 to 64 of `a-z`, `0-9`, `-` and
/// `_`.
///
/// The name never contains `#`, which separates the parts of DynamoDB keys, so two keys cannot be confused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workspace(String);

impl Workspace {
    /// The required form, for messages.
    pub const EXPECTED: &str = "1 to 64 characters from a-z, 0-9, - and _";

    /// Parses a name. Returns `None` if it does not have the form of [`Workspace::EXPECTED`].
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        fits.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a feedback record: a UUIDv7 that the service generates. Ids sort by time, so an id serves as
/// sort key, cursor and creation time.
///
/// ```
/// use shared::id::FeedbackId;
/// use shared::timestamp::Timestamp;
///
/// let now = Timestamp::parse("2025-11-23T21:40:48.198Z").unwrap();
/// let (first, second) = (FeedbackId::mint(now, 0, [7; 10]), FeedbackId::mint(now, 1, [0; 10]));
/// assert!(first < second);
/// assert_eq!(first.created_at(), now);
/// assert_eq!(FeedbackId::parse(&first.simple().to_uppercase()), FeedbackId::parse(&first.hyphenated()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedbackId(Uuid);

/// Random bits for one id. The bits for version, variant and index are overwritten.
pub type Entropy = [u8; 10];

/// The highest bit of `rand_a`, below the version. The index of a record in its bulk does not reach it.
const UPSERTED: u8 = 0x08;

impl FeedbackId {
    /// The required form, for messages.
    pub const EXPECTED: &str = "a UUID, hyphenated or as 32 hex digits";

    /// Creates the id of the `index`-th record written at `now`. The index precedes the random bits (RFC
    /// 9562, section 6.2, method 1), so the ids of a bulk request sort in the order of its input.
    pub fn mint(now: Timestamp, index: usize, entropy: Entropy) -> Self {
        let mut bytes = entropy;
        let [high, low] = u16::try_from(index).unwrap_or(u16::MAX).min(0x07ff).to_be_bytes();
        bytes[0] = high;
        bytes[1] = low;
        Self(uuid::Builder::from_unix_timestamp_millis(now.millis(), &bytes).into_uuid())
    }

    /// Creates the id of an upserted record, marked by a bit above the index. The caller sets its last byte,
    /// so that the shard of the record's index keys is known before the id.
    pub fn mint_upserted(now: Timestamp, index: usize, entropy: Entropy, last: u8) -> Self {
        let mut bytes = *Self::mint(now, index, entropy).as_bytes();
        bytes[6] |= UPSERTED;
        bytes[15] = last;
        Self::from_bytes(bytes)
    }

    /// Derives the id of a record that another system created at `created_at`, so that it is the same each time it is
    /// imported into the workspace. In the place of the random bits is a hash of the system, the workspace and the
    /// record's id there.
    pub fn derive(created_at: Timestamp, system: &str, workspace: &Workspace, their_id: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [system, workspace.as_str(), their_id] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let mut entropy = Entropy::default();
        for (byte, of_hash) in entropy.iter_mut().zip(hash.finalize()) {
            *byte = of_hash;
        }
        Self::mint(created_at, 0, entropy)
    }

    /// Whether the record is upserted. Its sort key cannot be computed from the id then.
    pub fn is_upserted(self) -> bool {
        self.as_bytes()[6] & UPSERTED != 0
    }

    /// Parses the hyphenated form or 32 hex digits, in upper or lower case. Returns `None` for anything
    /// else, including the braced and URN forms of a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            32 | 36 => Uuid::try_parse(text).ok().map(Self),
            _ => None,
        }
    }

    /// The lowest id that can be minted at `moment` or later.
    pub fn floor(moment: Timestamp) -> Self {
        Self(Uuid::from_u128(u128::from(moment.millis()) << 80))
    }

    /// The id's sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id as a number. Numbers sort like ids.
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The id with this number.
    pub fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// The creation time in milliseconds, from the first 48 bits. It is meaningless for ids that were not
    /// created by this service.
    pub fn created_at(self) -> Timestamp {
        let millis = self.0.as_u128() >> 80;
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The id in Portkey's form: lowercase, hyphenated.
    pub fn hyphenated(self) -> String {
        self.0.hyphenated().to_string()
    }

    /// The id in TrueFoundry's form: 32 lowercase hex digits.
    pub fn simple(self) -> String {
        self.0.simple().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_in_any_case_are_one_id() {
        let id = FeedbackId::parse("019ab2a9-8fc6-7804-83ea-e496e2dd611d");
        assert!(id.is_some());
        assert_eq!(FeedbackId::parse("019AB2A98FC6780483EAE496E2DD611D"), id);
        for not in [
            "",
            "undefined",
            "{019ab2a9-8fc6-7804-83ea-e496e2dd611d}",
            "urn:uuid:019ab2a9-8fc6-7804-83ea-e496e2dd611d",
            "019ab2a98fc6780483eae496e2dd611",
            "019ab2a98fc6780483eae496e2dd611g",
        ] {
            assert_eq!(FeedbackId::parse(not), None, "{not}");
        }
    }

    #[test]
    fn an_id_is_a_uuid_v7_that_carries_its_time() {
        let now = Timestamp::from_millis(1_795_229_585_042);
        let id = FeedbackId::mint(now, 0, [0xff; 10]);
        assert_eq!(id.created_at(), now);
        assert_eq!(id.0.get_version_num(), 7);
        assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        assert!(FeedbackId::floor(now) <= id);
        assert!(id < FeedbackId::floor(Timestamp::from_millis(now.millis() + 1)));
    }

    #[test]
    fn ids_of_a_bulk_sort_in_input_order() {
        let now = Timestamp::from_millis(1);
        let first = FeedbackId::mint(now, 3, [0xff; 10]);
        let second = FeedbackId::mint(now, 4, [0; 10]);
        assert!(first < second);
        assert!(first.hyphenated() < second.hyphenated());
    }

    #[test]
    fn a_derived_id_is_the_same_for_the_same_record_only() {
        let workspace = |name| Workspace::parse(name).unwrap();
        let at = Timestamp::from_millis(1_795_229_585_042);
        let id = FeedbackId::derive(at, "langfuse", &workspace("acme"), "s-1");
        assert_eq!(id, FeedbackId::derive(at, "langfuse", &workspace("acme"), "s-1"));
        assert_eq!((id.created_at(), id.is_upserted()), (at, false));
        assert_eq!(id.0.get_version_num(), 7);
        for other in [
            FeedbackId::derive(at, "open-webui", &workspace("acme"), "s-1"),
            FeedbackId::derive(at, "langfuse", &workspace("acm"), "es-1"),
            FeedbackId::derive(at, "langfuse", &workspace("acme"), "s-2"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn a_workspace_name_cannot_contain_the_key_separator() {
        assert!(Workspace::parse("acme-eu_1").is_some());
        for not in ["", "a#b", "Acme", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(Workspace::parse(not), None, "{not}");
        }
    }
}
