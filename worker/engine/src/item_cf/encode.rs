//! Rows of pairs, and rows of users' ratings, as bytes between workers.
//!
//! A row is the number of its columns, the gaps between them, and then the sums column by column; of a user the columns are
//! items and each has one value. All
//! are numbers of seven bits a byte, the lowest first (LEB128), signed ones with the sign in the lowest bit:
//! most columns are near, and most counts small.

use super::{compressed::Compressed, measure::ItemTotals, pair_row::PairRow};

/// Rows that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rows of pairs cannot be read: the sender speaks another version")]
pub struct BadPairs;

/// Adds a row of `width` sums per column to `bytes`.
pub fn encode_row(row: &PairRow, width: usize, bytes: &mut Vec<u8>) {
    put_columns(&row.columns, bytes);
    for sums in row.sums.chunks_exact(width) {
        for &sum in sums {
            put(bytes, zigzag(sum));
        }
    }
}

/// Adds a user's row of items and values to `bytes`.
pub(super) fn encode_user(items: &[u32], values: &[i32], bytes: &mut Vec<u8>) {
    put_columns(items, bytes);
    values.iter().for_each(|&value| put(bytes, zigzag(value.into())));
}

/// Reads the rows of so many users over a catalogue of `items`, which have to be all there is.
///
/// # Errors
/// [`BadPairs`] when the bytes are anything else.
pub(super) fn decode_users(bytes: &[u8], users: usize, items: usize) -> Result<Compressed, BadPairs> {
    let (mut rest, mut rows) = (bytes, Compressed::empty());
    for _ in 0..users {
        let columns = take_columns(&mut rest, items)?;
        let value = |_: &u32| i32::try_from(unzigzag(take(&mut rest)?)).map_err(|_| BadPairs);
        let values = columns.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        rows.push(columns.into_iter().zip(values));
    }
    if rest.is_empty() { Ok(rows) } else { Err(BadPairs) }
}

/// Reads `rows` rows of `width` sums per column over a catalogue of `items`, which have to be all there is.
///
/// # Errors
/// [`BadPairs`] when the bytes are anything else.
pub fn decode_rows(bytes: &[u8], rows: usize, width: usize, items: usize) -> Result<Vec<PairRow>, BadPairs> {
    let mut rest = bytes;
    let decoded = (0..rows).map(|_| decode_row(&mut rest, width, items)).collect::<Result<Vec<_>, _>>()?;
    if rest.is_empty() { Ok(decoded) } else { Err(BadPairs) }
}

impl ItemTotals {
    /// As they travel: the two numbers of each item.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for totals in &self.0 {
            put(&mut bytes, zigzag(totals.raters));
            put(&mut bytes, zigzag(totals.squares));
        }
        bytes
    }

    /// Adds the totals of other users over the same items.
    ///
    /// # Errors
    /// [`BadPairs`] when the bytes are not as many totals; some may have been added then.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), BadPairs> {
        let mut rest = bytes;
        for totals in &mut self.0 {
            totals.raters = totals.raters.checked_add(unzigzag(take(&mut rest)?)).ok_or(BadPairs)?;
            totals.squares = totals.squares.checked_add(unzigzag(take(&mut rest)?)).ok_or(BadPairs)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(BadPairs) }
    }
}

/// Adds the number of columns and the gaps between them.
fn put_columns(columns: &[u32], bytes: &mut Vec<u8>) {
    put(bytes, columns.len() as u64);
    let mut next = 0;
    for &column in columns {
        put(bytes, u64::from(column - next));
        next = column + 1;
    }
}

/// Columns below `items`, ascending.
fn take_columns(bytes: &mut &[u8], items: usize) -> Result<Vec<u32>, BadPairs> {
    let count = take(bytes)?;
    // No more columns than items, nor than bytes are left, so that nobody makes us allocate more than a row can hold.
    let most = items.min(bytes.len());
    let count = usize::try_from(count).ok().filter(|count| *count <= most).ok_or(BadPairs)?;
    let mut columns = Vec::with_capacity(count);
    let mut next = 0_u64;
    for _ in 0..count {
        let column =
            next.checked_add(take(bytes)?).filter(|column| *column < items as u64).ok_or(BadPairs)?;
        // Items are counted in a u32.
        columns.push(column as u32);
        next = column + 1;
    }
    Ok(columns)
}

fn decode_row(bytes: &mut &[u8], width: usize, items: usize) -> Result<PairRow, BadPairs> {
    let columns = take_columns(bytes, items)?;
    let count = columns.len();
    let mut row = PairRow { columns, sums: Vec::with_capacity(count * width) };
    for _ in 0..count * width {
        row.sums.push(unzigzag(take(bytes)?));
    }
    // A pair without common users is no pair, and would not be told from one that is not there.
    let common = row.sums.iter().step_by(width);
    if common.clone().any(|common| *common <= 0) { Err(BadPairs) } else { Ok(row) }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, BadPairs> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(BadPairs)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(BadPairs);
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BadPairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::item_cf::Totals;

    const ITEMS: usize = 5_000;

    fn rows(width: usize) -> impl Strategy<Value = Vec<PairRow>> {
        let sums = (1_i64.., prop::collection::vec(any::<i64>(), width - 1));
        let row = prop::collection::btree_map(0..ITEMS as u32, sums, 0..40);
        let row = row.prop_map(|pairs| PairRow {
            columns: pairs.keys().copied().collect(),
            sums: pairs.into_values().flat_map(|(common, rest)| [vec![common], rest].concat()).collect(),
        });
        prop::collection::vec(row, 0..8)
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_were((width, rows) in (1_usize..7).prop_flat_map(|width| (Just(width), rows(width)))) {
            let mut bytes = Vec::new();
            rows.iter().for_each(|row| encode_row(row, width, &mut bytes));
            prop_assert_eq!(decode_rows(&bytes, rows.len(), width, ITEMS), Ok(rows.clone()));
            prop_assert_eq!(decode_rows(&bytes, rows.len() + 1, width, ITEMS), Err(BadPairs));
            if let Some((_, cut)) = bytes.split_last() {
                prop_assert_eq!(decode_rows(&bytes[..cut.len()], rows.len(), width, ITEMS), Err(BadPairs));
            }
            bytes.push(0);
            prop_assert_eq!(decode_rows(&bytes, rows.len(), width, ITEMS), Err(BadPairs));
        }

        #[test]
        fn totals_add_up(values in prop::collection::vec((0_i64..1 << 40, 0_i64..1 << 40), 0..30)) {
            let totals: Vec<Totals> =
                values.iter().map(|&(raters, squares)| Totals { raters, squares }).collect();
            let totals = ItemTotals(totals);
            let mut sum = totals.clone();
            prop_assert_eq!(sum.merge_bytes(&totals.to_bytes()), Ok(()));
            for (sum, (raters, squares)) in sum.0.iter().zip(values) {
                prop_assert_eq!((sum.raters, sum.squares), (2 * raters, 2 * squares));
            }
            prop_assert_eq!(sum.merge_bytes(&[totals.to_bytes(), vec![0]].concat()), Err(BadPairs));
        }

        #[test]
        fn users_come_back_as_they_were(users in prop::collection::vec(
            prop::collection::btree_map(0..ITEMS as u32, any::<i32>(), 0..40),
            0..8,
        )) {
            let mut bytes = Vec::new();
            for user in &users {
                let (items, values): (Vec<u32>, Vec<i32>) = user.iter().map(|(&item, &value)| (item, value)).unzip();
                encode_user(&items, &values, &mut bytes);
            }
            let decoded = decode_users(&bytes, users.len(), ITEMS).unwrap();
            for (row, user) in users.iter().enumerate() {
                let (items, values) = decoded.row(row);
                prop_assert!(items.iter().eq(user.keys()) && values.iter().eq(user.values()));
            }
            prop_assert!(decode_users(&bytes, users.len() + 1, ITEMS).is_err());
            if let Some((_, cut)) = bytes.split_last() {
                prop_assert!(decode_users(cut, users.len(), ITEMS).is_err());
            }
            bytes.push(0);
            prop_assert!(decode_users(&bytes, users.len(), ITEMS).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(users) = decode_users(&bytes, 3, 50) {
                for (items, values) in (0..3).map(|row| users.row(row)) {
                    prop_assert!(items.is_sorted_by(|a, b| a < b) && items.iter().all(|&item| item < 50));
                    prop_assert_eq!(items.len(), values.len());
                }
            }
            for row in decode_rows(&bytes, 3, 2, 50).into_iter().flatten() {
                prop_assert!(row.columns.is_sorted_by(|a, b| a < b) && row.columns.iter().all(|&c| c < 50));
                prop_assert_eq!(row.sums.len(), 2 * row.columns.len());
            }
        }
    }

    #[test]
    fn small_numbers_take_a_byte() {
        let row = PairRow { columns: vec![3, 4, 90], sums: vec![1, -5, 2, 60, 1, 0] };
        let mut bytes = Vec::new();
        encode_row(&row, 2, &mut bytes);
        assert_eq!(bytes, [3, 3, 0, 85, 2, 9, 4, 120, 2, 0]);
    }
}
