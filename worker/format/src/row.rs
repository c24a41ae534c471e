//! Rows of a source's files, as they are read: borrowed from the line they stand in.

use std::borrow::Cow;

use shoal_common::ids::{EntityId, shard_of};
use shoal_core::hash::{hash_bytes, hash_integer};

/// A user's or item's id, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdRef<'a> {
    /// A whole number.
    Integer(i64),
    /// A text, UTF-8.
    Text(&'a str),
}

impl IdRef<'_> {
    /// The hash that decides the shard, as [`EntityId::hash64`] computes it.
    #[must_use]
    pub fn hash64(self) -> u64 {
        match self {
            Self::Integer(id) => hash_integer(id),
            Self::Text(text) => hash_bytes(text.as_bytes()),
        }
    }

    /// As [`EntityId::shard`].
    ///
    /// # Panics
    /// When `shard_count` is 0.
    #[must_use]
    pub fn shard(self, shard_count: u32) -> u32 {
        shard_of(self.hash64(), shard_count)
    }

    /// A copy of the id that owns its text.
    #[must_use]
    pub fn to_entity(self) -> EntityId {
        match self {
            Self::Integer(id) => EntityId::Integer(id),
            Self::Text(text) => EntityId::Text(text.into()),
        }
    }
}

/// One row of a ratings file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatingRow<'a> {
    /// Id of the user.
    pub user: IdRef<'a>,
    /// Id of the item.
    pub item: IdRef<'a>,
    /// The rating, on the data set's scale.
    pub rating: f32,
    /// Seconds since the epoch; 0 when the source has none.
    pub timestamp: i64,
}

/// One row of a file of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRow<'a> {
    /// Id of the item.
    pub item: IdRef<'a>,
    /// As the file has it.
    pub title: Cow<'a, str>,
    /// From the end of the title.
    pub year: Option<i32>,
    /// Genres, separated by `|`; empty where the file has none.
    pub genres: String,
}

/// One tag that a user gave an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow<'a> {
    /// Id of the user.
    pub user: IdRef<'a>,
    /// Id of the item.
    pub item: IdRef<'a>,
    /// As it was written.
    pub tag: Cow<'a, str>,
    /// Seconds since the epoch; 0 when the source has none.
    pub timestamp: i64,
}

/// How much a tag of the genome applies to an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenomeRow<'a> {
    /// Id of the item.
    pub item: IdRef<'a>,
    /// Number of the tag.
    pub tag: u32,
    /// From 0 to 1.
    pub relevance: f32,
}

/// A tag of the genome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenomeTagRow<'a> {
    /// Number of the tag, as genome scores name it.
    pub tag: u32,
    /// Name of the tag.
    pub name: Cow<'a, str>,
}

/// One row of any content.
#[derive(Debug, Clone, PartialEq)]
pub enum Row<'a> {
    /// From a ratings file.
    Rating(RatingRow<'a>),
    /// From a file of items.
    Item(ItemRow<'a>),
    /// From a tags file.
    Tag(TagRow<'a>),
    /// From a file of the genome's scores.
    Genome(GenomeRow<'a>),
    /// From a file of the genome's tags.
    GenomeTag(GenomeTagRow<'a>),
}
