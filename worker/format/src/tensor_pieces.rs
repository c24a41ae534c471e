//! Tensor files written piece by piece, in any order and by several threads: for arrays that are too
//! large to be held in memory, and whose lengths are known beforehand.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt as _, path::Path};

use safetensors::Dtype;

use crate::tensor_file::{Element, TensorFileError};

/// A file whose tensors are being written. Open it as a [`TensorFile`](crate::tensor_file::TensorFile) when every
/// element is.
#[derive(Debug)]
pub struct TensorPieces {
    path: String,
    file: File,
    tensors: HashMap<&'static str, Place>,
}

#[derive(Debug)]
struct Place {
    dtype: Dtype,
    length: usize,
    /// Of the first element in the file.
    byte: u64,
}

/// A one-dimensional tensor to be written.
#[derive(Debug, Clone, Copy)]
pub struct Vector {
    name: &'static str,
    dtype: Dtype,
    length: usize,
    element_bytes: usize,
}

impl Vector {
    /// A tensor of this name, element type and length.
    #[must_use]
    pub fn new<T: Element>(name: &'static str, length: usize) -> Self {
        Self { name, dtype: T::DTYPE, length, element_bytes: size_of::<T>() }
    }
}

impl TensorPieces {
    /// Makes the file by `create`, its tensors yet to be written. Those of wider elements come first in the
    /// file, so that all are aligned.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(
        path: &Path,
        vectors: &[Vector],
        create: impl FnOnce(&Path) -> io::Result<File>,
    ) -> Result<Self, TensorFileError> {
        let mut ordered = vectors.to_vec();
        ordered.sort_by(|a, b| b.element_bytes.cmp(&a.element_bytes).then(a.name.cmp(b.name)));
        let mut header = serde_json::Map::new();
        let mut begin = 0;
        for vector in &ordered {
            let end = begin + vector.length * vector.element_bytes;
            let described = serde_json::json!({
                "dtype": vector.dtype, "shape": [vector.length], "data_offsets": [begin, end],
            });
            header.insert(vector.name.to_owned(), described);
            begin = end;
        }
        let mut header = serde_json::Value::from(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut header);

        let mut byte = bytes.len() as u64;
        let mut tensors = HashMap::new();
        for vector in &ordered {
            tensors.insert(vector.name, Place { dtype: vector.dtype, length: vector.length, byte });
            byte += (vector.length * vector.element_bytes) as u64;
        }
        let path_text = path.display().to_string();
        let write_error = |source| TensorFileError::Write { path: path_text.clone(), source };
        let file = create(path).map_err(write_error)?;
        file.write_all_at(&bytes, 0).map_err(write_error)?;
        Ok(Self { path: path_text, file, tensors })
    }

    /// Writes elements of a tensor from its element `first` on.
    ///
    /// # Errors
    /// When there is no such tensor, it has not that many elements, or the disk fails or is full.
    pub fn write<T: Element>(&self, name: &str, first: usize, values: &[T]) -> Result<(), TensorFileError> {
        let refused = |reason: &str| TensorFileError::Tensor {
            path: self.path.clone(),
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let place = self.tensors.get(name).ok_or_else(|| refused("it was not announced"))?;
        let fits = first.checked_add(values.len()).is_some_and(|end| end <= place.length);
        if !fits || place.dtype != T::DTYPE {
            return Err(refused("other elements are written to it than were announced"));
        }
        let byte = place.byte + (first * size_of::<T>()) as u64;
        self.file
            .write_all_at(bytemuck::cast_slice(values), byte)
            .map_err(|source| TensorFileError::Write { path: self.path.clone(), source })
    }
}

/// Writes a tensor's elements one after the other, in pieces of a bounded size.
#[derive(Debug)]
pub struct VectorWriter<'a, T> {
    file: &'a TensorPieces,
    name: &'static str,
    next: usize,
    values: Vec<T>,
}

/// Elements that wait until they are worth a write.
const PIECE_ELEMENTS: usize = 64 * 1024;

impl<'a, T: Element> VectorWriter<'a, T> {
    /// Begins at the tensor's element `first`.
    #[must_use]
    pub fn new(file: &'a TensorPieces, name: &'static str, first: usize) -> Self {
        Self { file, name, next: first, values: Vec::new() }
    }

    /// Takes the next element.
    ///
    /// # Errors
    /// As [`TensorPieces::write`].
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), TensorFileError> {
        self.values.push(value);
        if self.values.len() == PIECE_ELEMENTS { self.flush() } else { Ok(()) }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// As [`TensorPieces::write`].
    pub fn flush(&mut self) -> Result<(), TensorFileError> {
        self.file.write(self.name, self.next, &self.values)?;
        self.next += self.values.len();
        self.values.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_file::TensorFile;

    #[test]
    fn pieces_in_any_order_make_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pieces.safetensors");
        let vectors =
            [Vector::new::<u32>("slots", 5), Vector::new::<f32>("none", 0), Vector::new::<i64>("times", 2)];
        let pieces = TensorPieces::create(&path, &vectors, |path| File::create(path)).unwrap();
        let mut slots = VectorWriter::new(&pieces, "slots", 2);
        for slot in [12_u32, 13, 14] {
            slots.push(slot).unwrap();
        }
        slots.flush().unwrap();
        pieces.write("times", 0, &[-5_i64, 7]).unwrap();
        pieces.write("slots", 0, &[10_u32, 11]).unwrap();
        let file = TensorFile::map(&path).unwrap();
        assert_eq!(file.vector::<u32>("slots").unwrap(), [10, 11, 12, 13, 14]);
        assert_eq!(file.vector::<i64>("times").unwrap(), [-5, 7]);
        assert!(file.vector::<f32>("none").unwrap().is_empty());
    }

    #[test]
    fn what_was_not_announced_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pieces.safetensors");
        let pieces =
            TensorPieces::create(&path, &[Vector::new::<u32>("slots", 2)], |path| File::create(path))
                .unwrap();
        assert!(pieces.write("slots", 1, &[1_u32, 2]).is_err());
        assert!(pieces.write("slots", 0, &[1.0_f32]).is_err());
        assert!(pieces.write("rows", 0, &[1_u32]).is_err());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let pieces = TensorPieces {
            path: "/dev/full".into(),
            file: File::options().write(true).open("/dev/full").unwrap(),
            tensors: HashMap::from([("slots", Place { dtype: Dtype::U32, length: 1, byte: 0 })]),
        };
        let error = pieces.write("slots", 0, &[1_u32]).unwrap_err();
        assert!(
            matches!(&error, TensorFileError::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
        );
    }
}
