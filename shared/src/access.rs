//! API keys: what they allow and how they are verified.

pub mod key;
pub mod keyring;
pub mod registry;
pub mod sessions;
pub mod token;

use std::fmt;

use self::key::KeyId;
use crate::id::Workspace;

/// What an API key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Create, update and delete feedback.
    Write,
    /// Read feedback and analytics.
    Read,
    /// Everything that `Write` and `Read` allow, and erasing users.
    Admin,
    /// Nothing by itself: it signs vote tokens.
    Vote,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Write, Self::Read, Self::Admin, Self::Vote];

    /// The scope's name, as stored and as the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Vote => "vote",
        }
    }

    /// The scope with this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The API key that a request came with, or that signed its vote token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The id of the key.
    pub key: KeyId,
    /// The workspace that the request acts in.
    pub workspace: Workspace,
    /// The scopes of the key.
    pub scopes: Vec<Scope>,
    /// Whether its creates are upserts, where they have a user.
    pub upserts: Option<Upserts>,
}

/// That creates by a key replace the person's earlier vote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upserts {
    /// The metadata field that stands for `_user` where that is missing, 1 to 128 bytes.
    pub user_field: Option<String>,
}

impl Caller {
    /// Whether the caller may use an operation that requires `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes
            .iter()
            .any(|held| *held == scope || *held == Scope::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_everything_and_other_scopes_only_themselves() {
        for held in Scope::ALL {
            let caller = Caller {
                key: KeyId::parse("0123456789abcdef").unwrap(),
                workspace: Workspace::parse("w").unwrap(),
                scopes: vec![held],
                upserts: None,
            };
            for asked in Scope::ALL {
                assert_eq!(caller.may(asked), held == asked || held == Scope::Admin);
            }
            assert_eq!(Scope::parse(held.name()), Some(held));
        }
    }
}
