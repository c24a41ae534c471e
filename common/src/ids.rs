//! Ids as the user's files have them, and the shard each belongs to.
//!
//! An id is an `i64` or a UTF-8 string, one kind per dataset and side. Ids exist at the edges;
//! inside a dataset a row is a global `u32`: the rows of the shards before its own plus its place
//! among its shard's ids in ascending order.

use std::{
    cmp::Ordering,
    fmt,
    num::{IntErrorKind, ParseIntError},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use shoal_core::hash::{hash_bytes, hash_integer};
use shoal_proto::v1;

/// The most shards of a side. Whoever is told of more does not believe it.
pub const SHARDS_MAX: u32 = 4_096;

/// One user's or item's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EntityId {
    /// A whole number, as in MovieLens.
    Integer(i64),
    /// Any text that is not a canonical whole number.
    Text(Arc<str>),
}

/// Which kind of ids one side of a dataset has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdKind {
    /// Every id is an `i64`.
    Integer,
    /// Ids are text, compared by their bytes.
    Text,
}

/// The text is not an id of the kind its dataset has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnInteger {
    /// It is no number, or one with a fraction.
    #[error("'{0}' is not a whole number, and this data set's ids are")]
    NotWhole(String),
    /// It is a whole number that an `i64` cannot hold.
    #[error("{0} is too large: this data set's ids are whole numbers from −2⁶³ to 2⁶³ − 1")]
    TooLarge(String),
}

impl NotAnInteger {
    fn new(text: &str, error: &ParseIntError) -> Self {
        match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Self::TooLarge(text.to_owned()),
            _ => Self::NotWhole(text.to_owned()),
        }
    }
}

impl EntityId {
    /// Reads an id of the given kind from text, as a URL or a CSV field has it.
    ///
    /// # Errors
    /// When the kind is [`IdKind::Integer`] and the text is not an `i64`.
    pub fn parse(text: &str, kind: IdKind) -> Result<Self, NotAnInteger> {
        match kind {
            IdKind::Integer => {
                text.parse().map(Self::Integer).map_err(|error| NotAnInteger::new(text, &error))
            }
            IdKind::Text => Ok(Self::Text(text.into())),
        }
    }

    /// The kind this id is of.
    #[must_use]
    pub fn kind(&self) -> IdKind {
        match self {
            Self::Integer(_) => IdKind::Integer,
            Self::Text(_) => IdKind::Text,
        }
    }

    /// xxh3-64 of the id: of the eight little-endian bytes of an integer, of the UTF-8 bytes of a text.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        match self {
            Self::Integer(value) => hash_integer(*value),
            Self::Text(text) => hash_bytes(text.as_bytes()),
        }
    }

    /// The shard that owns this id's row, of `shard_count` shards.
    ///
    /// # Panics
    /// When `shard_count` is 0; a dataset has at least one shard.
    #[must_use]
    pub fn shard(&self, shard_count: u32) -> u32 {
        shard_of(self.hash64(), shard_count)
    }
}

/// The shard of an id with this hash: `hash mod shard_count`.
///
/// # Panics
/// When `shard_count` is 0.
#[must_use]
pub fn shard_of(id_hash: u64, shard_count: u32) -> u32 {
    // The remainder is below a u32, so the cast keeps it whole.
    (id_hash % u64::from(shard_count)) as u32
}

impl Ord for EntityId {
    /// Integers by value, texts by bytes; between the kinds (never within one dataset) integers first.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Integer(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Integer(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for EntityId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<EntityId> for v1::EntityId {
    fn from(id: EntityId) -> Self {
        use v1::entity_id::Kind;
        Self {
            kind: Some(match id {
                EntityId::Integer(value) => Kind::Integer(value),
                EntityId::Text(text) => Kind::Text(text.to_string()),
            }),
        }
    }
}

/// A message that should hold an id holds none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id is missing")]
pub struct MissingId;

impl TryFrom<v1::EntityId> for EntityId {
    type Error = MissingId;

    fn try_from(id: v1::EntityId) -> Result<Self, MissingId> {
        use v1::entity_id::Kind;
        match id.kind {
            Some(Kind::Integer(value)) => Ok(Self::Integer(value)),
            Some(Kind::Text(text)) => Ok(Self::Text(text.into())),
            None => Err(MissingId),
        }
    }
}

impl From<IdKind> for v1::IdKind {
    fn from(kind: IdKind) -> Self {
        match kind {
            IdKind::Integer => Self::Integer,
            IdKind::Text => Self::Text,
        }
    }
}

impl IdKind {
    /// The kind on the wire; `None` for one that was not set.
    #[must_use]
    pub fn from_proto(kind: v1::IdKind) -> Option<Self> {
        match kind {
            v1::IdKind::Integer => Some(Self::Integer),
            v1::IdKind::Text => Some(Self::Text),
            v1::IdKind::Unspecified => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_and_text_of_the_same_digits_are_different_ids() {
        let integer = EntityId::parse("42", IdKind::Integer).unwrap();
        let text = EntityId::parse("42", IdKind::Text).unwrap();
        assert_ne!(integer, text);
        assert_eq!(integer.to_string(), text.to_string());
        let refused = |text: &str| EntityId::parse(text, IdKind::Integer).unwrap_err().to_string();
        assert!(refused("tt42").contains("'tt42' is not a whole number"));
        assert!(refused("").contains("'' is not a whole number"));
        assert!(refused("-9223372036854775809").contains("too large"));
        assert_eq!(EntityId::parse("-9223372036854775808", IdKind::Integer), Ok(EntityId::Integer(i64::MIN)));
    }

    #[test]
    fn the_shard_of_an_id_never_changes() {
        // Rows of written data sets are found by this value: it is part of the file format.
        assert_eq!(EntityId::Integer(1).hash64(), hash_bytes(&1_i64.to_le_bytes()));
        let shards: Vec<u32> = (1..=8).map(|id| EntityId::Integer(id).shard(16)).collect();
        assert_eq!(shards, PINNED_SHARDS);
    }

    const PINNED_SHARDS: [u32; 8] = [14, 3, 13, 8, 12, 11, 15, 14];
}
