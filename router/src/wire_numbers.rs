//! Numbers of four bytes, little-endian, as messages have them in one field.

use bytes::Bytes;

/// The f32s of a message's field.
pub(crate) fn floats(bytes: &Bytes) -> Vec<f32> {
    numbers(bytes, f32::from_le_bytes)
}

/// The numbers of a message's field.
pub(crate) fn numbers<T>(bytes: &Bytes, read: fn([u8; 4]) -> T) -> Vec<T> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|value| read(*value)).collect()
}

/// f32s as a message's field.
pub(crate) fn bytes_of(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
}

/// Global rows as a message's field.
pub(crate) fn bytes_of_rows(rows: &[u32]) -> Bytes {
    rows.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>().into()
}
