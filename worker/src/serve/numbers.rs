//! Numbers as messages have them.

use bytes::Bytes;

use super::query_error::QueryError;

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

/// Little-endian elements, wherever the message's buffer put them.
///
/// # Errors
/// When the bytes are not whole elements.
pub(crate) fn elements<T: bytemuck::AnyBitPattern>(
    field: &'static str,
    bytes: &Bytes,
) -> Result<Vec<T>, QueryError> {
    if !bytes.len().is_multiple_of(size_of::<T>()) {
        return Err(QueryError::Torn(field));
    }
    Ok(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
}
