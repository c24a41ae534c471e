//! Rows of values by user or by item, one after another (CSR), as co-raters keep them and send them.

use std::ops::Range;

/// Rows of (other row, value).
#[derive(Debug, Clone)]
pub(super) struct Compressed {
    indptr: Vec<usize>,
    others: Vec<u32>,
    values: Vec<i32>,
}

impl Compressed {
    pub(super) fn empty() -> Self {
        Self { indptr: vec![0], others: Vec::new(), values: Vec::new() }
    }

    /// Adds a row of pairs: the row of the other item or user, and the value there.
    pub(super) fn push(&mut self, row: impl IntoIterator<Item = (u32, i32)>) {
        for (other, value) in row {
            self.others.push(other);
            self.values.push(value);
        }
        self.indptr.push(self.others.len());
    }

    /// Adds the rows of another.
    pub(super) fn append(&mut self, other: &Self) {
        let first = self.others.len();
        self.others.extend_from_slice(&other.others);
        self.values.extend_from_slice(&other.values);
        self.indptr.extend(other.indptr[1..].iter().map(|end| first + end));
    }

    pub(super) fn row(&self, row: usize) -> (&[u32], &[i32]) {
        let range = self.indptr[row]..self.indptr[row + 1];
        (&self.others[range.clone()], &self.values[range])
    }

    pub(super) fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// The same values by their other row, of which there are `rows`; rows out of `kept` have none.
    pub(super) fn transposed(&self, rows: usize, kept: &[Range<u32>]) -> Self {
        let mut is_kept = vec![false; rows];
        kept.iter().for_each(|range| is_kept[range.start as usize..range.end as usize].fill(true));
        let mut indptr = vec![0; rows + 1];
        for &other in &self.others {
            indptr[other as usize + 1] += usize::from(is_kept[other as usize]);
        }
        for row in 0..rows {
            indptr[row + 1] += indptr[row];
        }
        let mut next = indptr.clone();
        let (mut others, mut values) = (vec![0; indptr[rows]], vec![0; indptr[rows]]);
        for row in 0..self.rows() {
            let (columns, row_values) = self.row(row);
            for (&column, &value) in columns.iter().zip(row_values) {
                if !is_kept[column as usize] {
                    continue;
                }
                let at = next[column as usize];
                next[column as usize] += 1;
                // A side's rows are counted in a u32.
                (others[at], values[at]) = (row as u32, value);
            }
        }
        Self { indptr, others, values }
    }
}
