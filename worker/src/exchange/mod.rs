//! Factor rows between workers.
//!
//! Once per attempt every receiver names the rows that its ratings need ([`routing`]); from then on
//! rows travel in the order of that list, without ids. A sender streams rows while it still solves
//! others ([`push`]); a receiver copies them to where the next half-step reads them. Gramian partials
//! go to everybody.

pub mod push;
pub mod routing;

/// Numbers as they travel: little-endian bytes.
pub mod wire {
    use bytes::Bytes;

    /// The bytes of a slice of numbers.
    pub fn to_bytes<T: bytemuck::NoUninit>(values: &[T]) -> Bytes {
        Bytes::copy_from_slice(bytemuck::cast_slice(values))
    }

    /// The numbers of a message field.
    ///
    /// # Errors
    /// When the length is not a whole number of elements.
    pub fn from_bytes<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Result<Vec<T>, TornNumbers> {
        let size = size_of::<T>();
        if !bytes.len().is_multiple_of(size) {
            return Err(TornNumbers { length: bytes.len(), size });
        }
        Ok(bytes.chunks_exact(size).map(bytemuck::pod_read_unaligned).collect())
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
}
