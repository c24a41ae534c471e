//! What an owner of tiles keeps of some items' weights, as bytes.
//!
//! For each item how many weights there are, u32, and each with the other item's model row: f32 and u32, all little-endian.

use super::weights::Entries;

/// Bytes that are no weights of these items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what a peer keeps of weights cannot be read: {0}")]
pub struct BadEntries(&'static str);

/// Bytes of a weight with its row.
const ENTRY_BYTES: usize = size_of::<f32>() + size_of::<u32>();

/// The weights of items, one after the other.
#[must_use]
pub fn encode_entries(selected: &[Entries]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entries in selected {
        // Of a row of a matrix whose rows are counted in a u32.
        bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        for (weight, row) in entries {
            bytes.extend_from_slice(&weight.to_le_bytes());
            bytes.extend_from_slice(&row.to_le_bytes());
        }
    }
    bytes
}

/// The weights of so many items of a model with `order` items.
///
/// # Errors
/// [`BadEntries`] when the bytes end early or late, a row is none of the model's, or a weight is 0 or not finite.
pub fn decode_entries(bytes: &[u8], items: usize, order: u32) -> Result<Vec<Entries>, BadEntries> {
    const ENDS: BadEntries = BadEntries("it ends within an item");
    let mut rest = bytes;
    let mut selected = Vec::new();
    for _ in 0..items {
        let count = *rest.split_off(..size_of::<u32>()).and_then(<[u8]>::first_chunk).ok_or(ENDS)?;
        let count = u32::from_le_bytes(count);
        if count > order {
            return Err(BadEntries("an item has more weights than there are items"));
        }
        let entries = rest.split_off(..count as usize * ENTRY_BYTES).ok_or(ENDS)?;
        let entry = |bytes: &[u8; ENTRY_BYTES]| {
            let [a, b, c, d, e, f, g, h] = *bytes;
            let (weight, row) = (f32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            (weight.is_finite() && weight != 0.0 && row < order).then_some((weight, row))
        };
        let entries: Option<Entries> = entries.as_chunks().0.iter().map(entry).collect();
        selected.push(entries.ok_or(BadEntries("a weight is none, or of no item of the model"))?);
    }
    if rest.is_empty() { Ok(selected) } else { Err(BadEntries("there is more than the items")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_read_back_and_what_cannot_be_is_refused() {
        let selected = vec![vec![(0.5, 3), (-0.25, 0)], Vec::new(), vec![(1e-3, 6)]];
        let bytes = encode_entries(&selected);
        assert_eq!(decode_entries(&bytes, 3, 7).unwrap(), selected);
        let refused = |bytes: &[u8], items, order| decode_entries(bytes, items, order).unwrap_err().0;
        assert!(refused(&bytes[..bytes.len() - 1], 3, 7).contains("ends within"));
        assert!(refused(&bytes, 4, 7).contains("ends within"));
        assert!(refused(&bytes, 2, 7).contains("more than the items"));
        assert!(refused(&bytes, 3, 6).contains("no item of the model"));
        assert!(refused(&u32::MAX.to_le_bytes(), 1, 7).contains("more weights"));
        for weight in [0.0, f32::NAN, f32::INFINITY] {
            assert!(refused(&encode_entries(&[vec![(weight, 1)]]), 1, 7).contains("a weight is none"));
        }
    }
}
