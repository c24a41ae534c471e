//! What the holder of a token may do.

use std::fmt;

use shoal_proto::v1::TokenScope;

/// What the holder of a token may do. [`Scope::Admin`] includes the others, and [`Scope::Train`] includes [`Scope::Read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Ask routers, and look at jobs, versions, data sets and nodes.
    Read,
    /// Import, train, write lists and cancel jobs.
    Train,
    /// Everything: promote, roll back, register, forget nodes, make and revoke tokens.
    Admin,
}

/// A name is that of no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope '{0}'; the scopes are read, train and admin")]
pub struct UnknownScope(String);

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Read, Self::Train, Self::Admin];

    /// The scope as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Train => "train",
            Self::Admin => "admin",
        }
    }

    /// Whether whoever has this scope may do what `wanted` stands for.
    #[must_use]
    pub fn includes(self, wanted: Self) -> bool {
        self >= wanted
    }

    /// As messages have it.
    #[must_use]
    pub fn to_wire(self) -> TokenScope {
        match self {
            Self::Read => TokenScope::Read,
            Self::Train => TokenScope::Train,
            Self::Admin => TokenScope::Admin,
        }
    }

    /// From a message; `None` for a scope that this release does not know, which allows nothing.
    #[must_use]
    pub fn of_wire(scope: TokenScope) -> Option<Self> {
        match scope {
            TokenScope::Unspecified => None,
            TokenScope::Read => Some(Self::Read),
            TokenScope::Train => Some(Self::Train),
            TokenScope::Admin => Some(Self::Admin),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        let found = Self::ALL.into_iter().find(|scope| scope.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| UnknownScope(name.chars().take(32).collect()))
    }
}
