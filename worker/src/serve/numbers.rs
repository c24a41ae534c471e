//! Numbers as messages have them.

use bytes::Bytes;

use super::query_error::QueryError;
use crate::exchange::wire;

/// Numbers of a vector, each of them finite.
///
/// # Errors
/// When the bytes are not whole numbers, or one is not finite.
pub(super) fn finite_vector(field: &'static str, bytes: &Bytes) -> Result<Vec<f32>, QueryError> {
    let vector: Vec<f32> = elements(field, bytes)?;
    if vector.iter().all(|value| value.is_finite()) { Ok(vector) } else { Err(QueryError::NotFinite(field)) }
}

/// A slice as its little-endian bytes.
pub(crate) fn copy<T: bytemuck::NoUninit>(values: &[T]) -> Bytes {
    Bytes::copy_from_slice(bytemuck::cast_slice(values))
}

/// Little-endian elements of a field.
///
/// # Errors
/// When the bytes are not whole elements.
pub(crate) fn elements<T: bytemuck::Pod>(field: &'static str, bytes: &Bytes) -> Result<Vec<T>, QueryError> {
    wire::from_bytes(bytes).map_err(|_| QueryError::Torn(field))
}
