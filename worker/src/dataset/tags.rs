//! What users wrote about a shard's items, as a Parquet file.
//!
//! Columns: `item_id` and `user_id` (int64 or UTF-8 text), `tag` (text, as it was written), `timestamp`
//! (int64, seconds since the epoch; 0 where the source has none). Rows ascend by item, user, time and tag.

use bytes::Bytes;
use parquet::errors::ParquetError;
use shoal_common::ids::{EntityId, IdKind};

use super::{
    row::TagRow,
    table::{Column, write_table},
};

/// One tag that a user gave an item. In the order of the rows of a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// What.
    pub item: EntityId,
    /// Who.
    pub user: EntityId,
    /// Seconds since the epoch; 0 when the source has none.
    pub timestamp: i64,
    /// As it was written.
    pub tag: String,
}

impl From<TagRow<'_>> for Tag {
    fn from(row: TagRow<'_>) -> Self {
        Self {
            item: row.item.to_entity(),
            user: row.user.to_entity(),
            timestamp: row.timestamp,
            tag: row.tag.into_owned(),
        }
    }
}

/// The bytes of a part.
///
/// # Errors
/// When Parquet refuses the values.
pub fn write_tags(tags: &[Tag], user_kind: IdKind, item_kind: IdKind) -> Result<Bytes, ParquetError> {
    write_table(&[
        ("item_id", Column::ids(item_kind, tags.iter().map(|tag| &tag.item))),
        ("user_id", Column::ids(user_kind, tags.iter().map(|tag| &tag.user))),
        ("tag", Column::texts(tags.iter().map(|tag| tag.tag.as_str()))),
        ("timestamp", Column::Integers(tags.iter().map(|tag| tag.timestamp).collect())),
    ])
}
