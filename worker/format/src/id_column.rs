//! The ids of a shard's rows, ascending: how they are kept in memory and in tensor files.
//!
//! Integer ids are the tensor `ids` (i64). Text ids are `id_bytes` (u8, all texts one after the
//! other) and `id_offsets` (u64, one more than there are rows).

use shoal_common::ids::{EntityId, IdKind};
use shoal_core::hash::{hash_bytes, hash_integer};

use crate::{
    row::IdRef,
    tensor_file::{TensorFile, TensorFileError, TensorWriter},
};

/// Ids in ascending order; the position of an id is its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdColumn {
    /// Whole numbers, ascending.
    Integer(Vec<i64>),
    /// Texts, ascending by their bytes.
    Text {
        /// Where each text starts in `bytes`, and where the last one ends: rows + 1 values.
        offsets: Vec<u64>,
        /// The texts, UTF-8, one after the other.
        bytes: Vec<u8>,
    },
}

impl IdColumn {
    /// A column of no rows.
    #[must_use]
    pub fn empty(kind: IdKind) -> Self {
        match kind {
            IdKind::Integer => Self::Integer(Vec::new()),
            IdKind::Text => Self::Text { offsets: vec![0], bytes: Vec::new() },
        }
    }

    /// Adds a row. Ids of the other kind are not possible within a side and are passed over.
    pub fn push(&mut self, id: &EntityId) {
        match id {
            EntityId::Integer(id) => self.push_ref(IdRef::Integer(*id)),
            EntityId::Text(text) => self.push_ref(IdRef::Text(text)),
        }
    }

    /// As [`IdColumn::push`], of an id that is borrowed.
    pub fn push_ref(&mut self, id: IdRef<'_>) {
        match (self, id) {
            (Self::Integer(ids), IdRef::Integer(id)) => ids.push(id),
            (Self::Text { offsets, bytes }, IdRef::Text(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                offsets.push(bytes.len() as u64);
            }
            _ => debug_assert!(false, "an id of the other kind"),
        }
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Integer(ids) => ids.len(),
            Self::Text { offsets, .. } => offsets.len() - 1,
        }
    }

    /// Whether there is no id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind of every id.
    #[must_use]
    pub fn kind(&self) -> IdKind {
        match self {
            Self::Integer(_) => IdKind::Integer,
            Self::Text { .. } => IdKind::Text,
        }
    }

    /// The id of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> EntityId {
        match self {
            Self::Integer(ids) => EntityId::Integer(ids[row]),
            Self::Text { .. } => EntityId::Text(String::from_utf8_lossy(self.text(row)).into()),
        }
    }

    /// The id of a row, borrowed.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn get_ref(&self, row: usize) -> IdRef<'_> {
        match self {
            Self::Integer(ids) => IdRef::Integer(ids[row]),
            // Only texts were pushed, and what is read from files is checked.
            Self::Text { .. } => IdRef::Text(std::str::from_utf8(self.text(row)).unwrap_or_default()),
        }
    }

    /// Whether a row has this id.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    #[inline]
    pub fn is(&self, row: usize, id: IdRef<'_>) -> bool {
        match (self, id) {
            (Self::Integer(ids), IdRef::Integer(id)) => ids[row] == id,
            (Self::Text { .. }, IdRef::Text(text)) => self.text(row) == text.as_bytes(),
            _ => false,
        }
    }

    /// [`EntityId::hash64`] of a row's id.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn hash64(&self, row: usize) -> u64 {
        match self {
            Self::Integer(ids) => hash_integer(ids[row]),
            Self::Text { .. } => hash_bytes(self.text(row)),
        }
    }

    /// The row of an id, found by bisection.
    #[must_use]
    pub fn find(&self, id: &EntityId) -> Option<usize> {
        match id {
            EntityId::Integer(id) => self.find_ref(IdRef::Integer(*id)),
            EntityId::Text(text) => self.find_ref(IdRef::Text(text)),
        }
    }

    /// As [`IdColumn::find`], of an id that is borrowed.
    #[must_use]
    pub fn find_ref(&self, id: IdRef<'_>) -> Option<usize> {
        match (self, id) {
            (Self::Integer(ids), IdRef::Integer(id)) => ids.binary_search(&id).ok(),
            (Self::Text { .. }, IdRef::Text(text)) => {
                let (mut low, mut high) = (0, self.len());
                while low < high {
                    let middle = low + (high - low) / 2;
                    match self.text(middle).cmp(text.as_bytes()) {
                        std::cmp::Ordering::Equal => return Some(middle),
                        std::cmp::Ordering::Less => low = middle + 1,
                        std::cmp::Ordering::Greater => high = middle,
                    }
                }
                None
            }
            _ => None,
        }
    }

    /// Adds the column's tensors to a file.
    pub fn write<'a>(&'a self, writer: &mut TensorWriter<'a>) {
        match self {
            Self::Integer(ids) => writer.add("ids", &[ids.len()], ids),
            Self::Text { offsets, bytes } => {
                writer.add("id_offsets", &[offsets.len()], offsets);
                writer.add("id_bytes", &[bytes.len()], bytes);
            }
        }
    }

    /// Reads the column of a file, checking that the ids ascend.
    ///
    /// # Errors
    /// When the tensors are missing, out of order or, for texts, not UTF-8.
    pub fn read(file: &TensorFile) -> Result<Self, TensorFileError> {
        if file.has("ids") {
            let ids = file.vector::<i64>("ids")?;
            if !ids.is_sorted_by(|a, b| a < b) {
                return Err(file.tensor_error("ids", "the ids do not ascend".into()));
            }
            return Ok(Self::Integer(ids.to_vec()));
        }
        let offsets = file.vector::<u64>("id_offsets")?;
        let bytes = file.vector::<u8>("id_bytes")?;
        let ends_match = offsets.first() == Some(&0) && offsets.last() == Some(&(bytes.len() as u64));
        if !ends_match || !offsets.is_sorted() {
            return Err(file.tensor_error("id_offsets", "they do not span the texts".into()));
        }
        let column = Self::Text { offsets: offsets.to_vec(), bytes: bytes.to_vec() };
        let rows = column.len();
        if (0..rows).any(|row| std::str::from_utf8(column.text(row)).is_err()) {
            return Err(file.tensor_error("id_bytes", "an id is not UTF-8".into()));
        }
        if (1..rows).any(|row| column.text(row - 1) >= column.text(row)) {
            return Err(file.tensor_error("id_bytes", "the ids do not ascend".into()));
        }
        Ok(column)
    }

    fn text(&self, row: usize) -> &[u8] {
        match self {
            Self::Integer(_) => &[],
            Self::Text { offsets, bytes } => &bytes[offsets[row] as usize..offsets[row + 1] as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips_and_finds_every_row(texts in prop::collection::btree_set("[a-zé]{0,6}", 0..40)) {
            let mut column = IdColumn::empty(IdKind::Text);
            for text in &texts {
                column.push(&EntityId::Text(text.as_str().into()));
            }
            let mut writer = TensorWriter::new();
            column.write(&mut writer);
            let file = TensorFile::from_bytes("ids", &writer.to_bytes("ids").unwrap()).unwrap();
            prop_assert_eq!(&IdColumn::read(&file).unwrap(), &column);
            for row in 0..column.len() {
                let id = column.get(row);
                prop_assert_eq!(column.find(&id), Some(row));
                prop_assert_eq!(column.hash64(row), id.hash64());
            }
            prop_assert_eq!(column.find(&EntityId::Text("0".into())), None);
        }
    }

    #[test]
    fn ids_out_of_order_are_refused() {
        let mut writer = TensorWriter::new();
        writer.add("ids", &[2], &[5_i64, 5]);
        let file = TensorFile::from_bytes("ids", &writer.to_bytes("ids").unwrap()).unwrap();
        assert!(IdColumn::read(&file).unwrap_err().to_string().contains("ascend"));
    }

    #[test]
    fn texts_out_of_order_and_offsets_that_go_back_are_refused() {
        for (offsets, bytes, part) in [
            (&[0_u64, 1, 2][..], &b"ba"[..], "ascend"),
            (&[0, 1, 2], b"aa", "ascend"),
            (&[0, 2, 1, 3], b"abc", "span"),
            (&[0, 1, 2], b"abc", "span"),
        ] {
            let mut writer = TensorWriter::new();
            writer.add("id_offsets", &[offsets.len()], offsets);
            writer.add("id_bytes", &[bytes.len()], bytes);
            let file = TensorFile::from_bytes("ids", &writer.to_bytes("ids").unwrap()).unwrap();
            let error = IdColumn::read(&file).unwrap_err().to_string();
            assert!(error.contains(part), "'{part}' is missing in: {error}");
        }
    }
}
