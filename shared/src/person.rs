//! Whose only vote on a question an upserted record is.

use sha2::{Digest as _, Sha256};

/// The person and the question of an upserted record. Of a workspace, target and person there is one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user, 1 to 512 bytes: `_user`, or the metadata field that the API key has in its place.
    pub user: String,
    /// The question: `_name`, empty where there is none.
    pub name: String,
}

impl Person {
    /// What stands for the person in a sort key: SHA-256 of name and user, each with its length before it.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [&self.name, &self.user] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_user_do_not_run_into_each_other() {
        let hash = |name: &str, user: &str| {
            Person {
                user: user.to_owned(),
                name: name.to_owned(),
            }
            .hash()
        };
        assert_eq!(hash("a", "b"), hash("a", "b"));
        for (name, user) in [("", "ab"), ("ab", ""), ("b", "a"), ("a", "b\0")] {
            assert_ne!(hash("a", "b"), hash(name, user), "{name} {user}");
        }
    }
}
