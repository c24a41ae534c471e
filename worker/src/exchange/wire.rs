//! Numbers as they travel: little-endian bytes, copied straight to and from where they are used.

use bytes::Bytes;
use half::bf16;
use shoal_proto::v1::ExchangeFormat;

/// The bytes of a slice of numbers.
pub fn to_bytes<T: bytemuck::NoUninit>(values: &[T]) -> Bytes {
    Bytes::copy_from_slice(bytemuck::cast_slice(values))
}

/// The numbers of a message field.
///
/// # Errors
/// When the length is not a whole number of elements.
pub fn from_bytes<T: bytemuck::Pod>(bytes: &[u8]) -> Result<Vec<T>, TornNumbers> {
    let size = size_of::<T>();
    if !bytes.len().is_multiple_of(size) {
        return Err(TornNumbers { length: bytes.len(), size });
    }
    // One copy, wherever the message's buffer put the bytes.
    let mut numbers = vec![T::zeroed(); bytes.len() / size];
    bytemuck::cast_slice_mut(&mut numbers).copy_from_slice(bytes);
    Ok(numbers)
}

/// A field that holds part of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are not whole numbers of {size} bytes: the sender speaks another version")]
pub struct TornNumbers {
    /// Bytes in the field.
    pub length: usize,
    /// Bytes in a number.
    pub size: usize,
}

/// How the numbers of factor rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowFormat {
    /// Rows as they are, 4 bytes a number.
    #[default]
    F32,
    /// Their upper halves, rounded to the nearest, ties to even.
    Bf16,
}

impl RowFormat {
    /// The format that a job's parameters name.
    #[must_use]
    pub fn from_proto(format: ExchangeFormat) -> Self {
        match format {
            ExchangeFormat::Unspecified | ExchangeFormat::F32 => Self::F32,
            ExchangeFormat::Bf16 => Self::Bf16,
        }
    }

    /// Bytes of a number.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<bf16>(),
        }
    }

    /// Makes the values such that writing and reading them changes nothing.
    pub fn round(self, values: &mut [f32]) {
        if self == Self::Bf16 {
            for value in values {
                *value = bf16::from_f32(*value).to_f32();
            }
        }
    }

    /// Writes values at the end of `bytes`.
    pub fn append(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend_from_slice(bytemuck::cast_slice(values)),
            Self::Bf16 => {
                bytes.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()));
            }
        }
    }

    /// Reads as many values as `target` has.
    ///
    /// # Errors
    /// [`TornNumbers`] when the bytes are not that many.
    pub fn read(self, bytes: &[u8], target: &mut [f32]) -> Result<(), TornNumbers> {
        if bytes.len() != target.len() * self.size() {
            return Err(TornNumbers { length: bytes.len(), size: self.size() });
        }
        match self {
            Self::F32 => bytemuck::cast_slice_mut::<f32, u8>(target).copy_from_slice(bytes),
            Self::Bf16 => {
                for (value, bytes) in target.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
                }
            }
        }
        Ok(())
    }
}

/// The lower triangle of a symmetric matrix, row by row.
#[must_use]
pub fn lower_triangle(matrix: &[f64], rank: usize) -> Vec<f64> {
    matrix.chunks_exact(rank).enumerate().flat_map(|(i, row)| &row[..=i]).copied().collect()
}

/// The symmetric matrix of a lower triangle; `None` when it has not as many numbers.
#[must_use]
pub fn from_lower_triangle(triangle: &[f64], rank: usize) -> Option<Vec<f64>> {
    if triangle.len() != rank * (rank + 1) / 2 {
        return None;
    }
    let mut matrix = vec![0.0; rank * rank];
    let mut values = triangle.iter();
    for i in 0..rank {
        for (j, value) in (0..=i).zip(&mut values) {
            matrix[i * rank + j] = *value;
            matrix[j * rank + i] = *value;
        }
    }
    Some(matrix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_read_as_they_were_written(values in prop::collection::vec(-1e3_f32..1e3, 0..40)) {
            for format in [RowFormat::F32, RowFormat::Bf16] {
                let mut rounded = values.clone();
                format.round(&mut rounded);
                let mut bytes = Vec::new();
                // Rounding happens here as well, and twice is as good as once.
                format.append(&values, &mut bytes);
                prop_assert_eq!(bytes.len(), values.len() * format.size());
                let mut read = vec![f32::NAN; values.len()];
                format.read(&bytes, &mut read).unwrap();
                prop_assert_eq!(&read, &rounded);
                for (value, rounded) in values.iter().zip(&rounded) {
                    prop_assert!((value - rounded).abs() <= value.abs() / 256.0);
                }
                if !bytes.is_empty() {
                    prop_assert!(format.read(&bytes[1..], &mut read).is_err());
                }
            }
        }

        #[test]
        fn triangles_make_the_matrix_again(rank in 1_usize..9, seed: u32) {
            let at = |i: usize, j: usize| f64::from(seed) * (i.min(j) + 1) as f64 + i.max(j) as f64;
            let matrix: Vec<f64> = (0..rank * rank).map(|place| at(place / rank, place % rank)).collect();
            let triangle = lower_triangle(&matrix, rank);
            prop_assert_eq!(from_lower_triangle(&triangle, rank), Some(matrix));
            prop_assert_eq!(from_lower_triangle(&triangle[1..], rank), None);
        }
    }
}
