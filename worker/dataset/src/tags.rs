//! What users wrote about a shard's items, as a Parquet file.
//!
//! Columns: `item_id` and `user_id` (int64 or UTF-8 text), `tag` (text, as it was written), `timestamp`
//! (int64, seconds since the epoch; 0 where the source has none). Rows ascend by item, user, time and tag.

use bytes::Bytes;
use parquet::errors::ParquetError;
use shoal_common::ids::{EntityId, IdKind};
use shoal_format::row::TagRow;

use super::table::{Column, read_rows, write_table};

/// One tag that a user gave an item. In the order of the rows of a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Id of the item.
    pub item: EntityId,
    /// Id of the user.
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

/// The tags of a part, in its order.
///
/// # Errors
/// When it is not such a table.
pub fn read_tags(bytes: Bytes) -> Result<Vec<Tag>, ParquetError> {
    let mut tags = Vec::new();
    for row in read_rows(bytes, &["item_id", "user_id", "tag", "timestamp"])? {
        let mut cells = row?;
        tags.push(Tag {
            item: cells.id(0)?,
            user: cells.id(1)?,
            tag: cells.text(2)?,
            timestamp: cells.integer(3)?,
        });
    }
    Ok(tags)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let tag = |user: &str, tag: &str, timestamp| Tag {
            item: EntityId::Integer(4),
            user: EntityId::Text(user.into()),
            timestamp,
            tag: tag.to_owned(),
        };
        let tags = [tag("a", "dark, slow", 5), tag("b", "Noir", 0)];
        let bytes = write_tags(&tags, IdKind::Text, IdKind::Integer).unwrap();
        assert_eq!(read_tags(bytes).unwrap(), tags);
    }
}
