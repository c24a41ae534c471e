//! `safetensors` files: mapped without copying, or read from bytes; written in one go.
//!
//! The format is little-endian, and so is every machine Shoal builds for. Tensors start at
//! multiples of their element size (8-byte header alignment, wider types first), so slices are
//! borrowed straight from the map; they are not aligned to vector registers.

use std::{borrow::Cow, collections::HashMap, io, ops::Range, path::Path};

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::mapped_file::MappedFile;

#[cfg(not(target_endian = "little"))]
compile_error!("safetensors files are little-endian and are mapped as they are");

/// A tensor file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// The file cannot be opened or mapped.
    #[error("cannot map '{path}'")]
    Map {
        /// Path of the file, or its name in errors.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a safetensors file.
    #[error("'{path}' is not a valid safetensors file")]
    Header {
        /// Path of the file, or its name in errors.
        path: String,
        /// What the parser said.
        source: safetensors::SafeTensorError,
    },
    /// The disk failed or is full.
    #[error("cannot write '{path}'; make room or name another data_dir")]
    Write {
        /// Path of the file, or its name in errors.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A tensor is missing, or of another type or shape.
    #[error("'{path}' does not have the tensor '{name}' as expected: {reason}")]
    Tensor {
        /// Path of the file, or its name in errors.
        path: String,
        /// Name of the tensor.
        name: String,
        /// How the file differs from what was expected.
        reason: String,
    },
}

/// An element type of a tensor.
pub trait Element: AnyBitPattern + NoUninit {
    /// Its name in the file.
    const DTYPE: Dtype;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
}
impl Element for i64 {
    const DTYPE: Dtype = Dtype::I64;
}
impl Element for u64 {
    const DTYPE: Dtype = Dtype::U64;
}
impl Element for u32 {
    const DTYPE: Dtype = Dtype::U32;
}
impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;
}

#[derive(Debug)]
enum Backing {
    Map(MappedFile),
    /// They begin at a multiple of eight bytes, as every element type needs.
    Bytes(Bytes),
    /// A copy in eight-byte words, of bytes that begin elsewhere.
    Words(Vec<u64>, usize),
}

impl Backing {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Bytes(bytes) => bytes,
            Self::Words(words, length) => &bytemuck::cast_slice(words)[..*length],
        }
    }
}

#[derive(Debug)]
struct TensorSpan {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// An open file: its tensors by name.
#[derive(Debug)]
pub struct TensorFile {
    path: String,
    backing: Backing,
    tensors: HashMap<String, TensorSpan>,
}

impl TensorFile {
    /// Maps a file. The file must not be changed while it is mapped: Shoal's objects are immutable
    /// and replaced only by renaming.
    ///
    /// # Errors
    /// When it cannot be mapped or is not a safetensors file.
    pub fn map(path: &Path) -> Result<Self, TensorFileError> {
        let name = path.display().to_string();
        let map_error = |source| TensorFileError::Map { path: name.clone(), source };
        let map = MappedFile::open(path).map_err(map_error)?;
        Self::parse(name, Backing::Map(map))
    }

    /// Takes the file's bytes, without copying them where they are aligned; `path` names it in errors.
    ///
    /// # Errors
    /// When it is not a safetensors file.
    pub fn from_bytes(path: &str, bytes: &Bytes) -> Result<Self, TensorFileError> {
        if bytes.as_ptr().align_offset(align_of::<u64>()) == 0 {
            return Self::parse(path.to_owned(), Backing::Bytes(bytes.clone()));
        }
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self::parse(path.to_owned(), Backing::Words(words, bytes.len()))
    }

    fn parse(path: String, backing: Backing) -> Result<Self, TensorFileError> {
        let tensors = {
            let bytes = backing.bytes();
            let header_error = |source| TensorFileError::Header { path: path.clone(), source };
            let (header_length, header) = SafeTensors::read_metadata(bytes).map_err(header_error)?;
            // The data begins after the eight bytes of the header's length and the header.
            let data_start = 8 + header_length;
            header
                .tensors()
                .into_iter()
                .map(|(name, info)| {
                    let bytes = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
                    (name, TensorSpan { dtype: info.dtype, shape: info.shape.clone(), bytes })
                })
                .collect()
        };
        Ok(Self { path, backing, tensors })
    }

    /// The whole file, for checking it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.backing.bytes()
    }

    /// Gives up the memory that a mapped file's bytes are in. They come back from the file when they are next looked
    /// at: for files that are gone through now and then, and are large.
    pub fn release(&self) {
        if let Backing::Map(map) = &self.backing {
            map.release();
        }
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's elements, row-major, and its shape.
    ///
    /// # Errors
    /// When there is none of this name and element type.
    pub fn tensor<T: Element>(&self, name: &str) -> Result<(&[T], &[usize]), TensorFileError> {
        let span = self.tensors.get(name).ok_or_else(|| self.tensor_error(name, "it is missing".into()))?;
        if span.dtype != T::DTYPE {
            return Err(self.tensor_error(name, format!("it is {:?}, not {:?}", span.dtype, T::DTYPE)));
        }
        let values = bytemuck::try_cast_slice(&self.backing.bytes()[span.bytes.clone()])
            .map_err(|e| self.tensor_error(name, e.to_string()))?;
        Ok((values, &span.shape))
    }

    /// The elements of a one-dimensional tensor.
    ///
    /// # Errors
    /// As [`TensorFile::tensor`], or when it has another number of dimensions.
    pub fn vector<T: Element>(&self, name: &str) -> Result<&[T], TensorFileError> {
        let (values, shape) = self.tensor(name)?;
        match shape {
            [_] => Ok(values),
            other => Err(self.tensor_error(name, format!("its shape is {other:?}, not [n]"))),
        }
    }

    /// The elements of a matrix with `rows` rows, row-major, and its number of columns.
    ///
    /// # Errors
    /// As [`TensorFile::tensor`], or when it has another shape.
    pub fn matrix<T: Element>(&self, name: &str, rows: usize) -> Result<(&[T], usize), TensorFileError> {
        let (values, shape) = self.tensor(name)?;
        match shape {
            [r, columns] if *r == rows => Ok((values, *columns)),
            other => Err(self.tensor_error(name, format!("its shape is {other:?}, not [{rows}, k]"))),
        }
    }

    /// An error that names this file and a tensor, for what callers find wrong with its values.
    #[must_use]
    pub fn tensor_error(&self, name: &str, reason: String) -> TensorFileError {
        TensorFileError::Tensor { path: self.path.clone(), name: name.to_owned(), reason }
    }
}

/// Collects tensors for one file.
#[derive(Debug, Default)]
pub struct TensorWriter<'a> {
    tensors: Vec<PendingTensor<'a>>,
}

#[derive(Debug)]
struct PendingTensor<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> TensorWriter<'a> {
    /// A file without any tensor.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, row-major. The product of `shape` is the number of values.
    pub fn add<T: Element>(&mut self, name: &str, shape: &[usize], values: &'a [T]) {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        self.tensors.push(PendingTensor {
            name: name.to_owned(),
            dtype: T::DTYPE,
            shape: shape.to_vec(),
            bytes: bytemuck::cast_slice(values).into(),
        });
    }

    /// The file's bytes; the same tensors give the same bytes.
    ///
    /// # Errors
    /// When a shape does not fit its values.
    pub fn to_bytes(&self, path: &str) -> Result<Bytes, TensorFileError> {
        let header_error = |source| TensorFileError::Header { path: path.to_owned(), source };
        let views = self
            .tensors
            .iter()
            .map(|tensor| {
                let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
                Ok((tensor.name.as_str(), view.map_err(header_error)?))
            })
            .collect::<Result<Vec<_>, _>>()?;
        safetensors::serialize(views, None).map(Bytes::from).map_err(header_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written_mapped_and_from_bytes() {
        let ids = [3_i64, 5, 8];
        let factors = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut writer = TensorWriter::new();
        writer.add("factors", &[3, 2], &factors);
        writer.add("ids", &[3], &ids);
        let bytes = writer.to_bytes("test").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.safetensors");
        std::fs::write(&path, &bytes).unwrap();
        // Wherever bytes begin, the tensors in them are read.
        let unaligned = |by: usize| Bytes::from([&vec![0; by][..], &bytes].concat()).slice(by..);
        let read = |bytes: &Bytes| TensorFile::from_bytes("test", bytes).unwrap();
        let mut files = vec![TensorFile::map(&path).unwrap(), read(&bytes)];
        files.extend((1..8).map(|by| read(&unaligned(by))));
        for file in files {
            assert_eq!(file.vector::<i64>("ids").unwrap(), ids);
            assert_eq!(file.matrix::<f32>("factors", 3).unwrap(), (&factors[..], 2));
            assert!(file.matrix::<f32>("factors", 4).is_err());
            file.release();
            assert_eq!(file.bytes(), bytes);
            assert!(file.vector::<f32>("ids").unwrap_err().to_string().contains("I64"));
        }
    }

    #[test]
    fn a_torn_file_is_an_error() {
        let mut writer = TensorWriter::new();
        writer.add("x", &[2], &[1.0_f32, 2.0]);
        let bytes = writer.to_bytes("test").unwrap();
        assert!(TensorFile::from_bytes("test", &bytes.slice(..bytes.len() - 1)).is_err());
    }
}
