//! Ratings of one side in memory, for callers that have no blocks of a data set.

use super::fit::RatingRows;

/// A sparse matrix of ratings, compressed by rows.
#[derive(Debug, Clone, PartialEq)]
pub struct RatingMatrix {
    indptr: Vec<u64>,
    slots: Vec<u32>,
    ratings: Vec<f32>,
}

impl RatingMatrix {
    /// Of `rows` rows, from (row, slot of the other side's row, rating) in any order. The ratings of a row are in the
    /// order of slots, so that sums do not depend on the order of `ratings`.
    ///
    /// # Panics
    /// When a rating is of no row.
    #[must_use]
    pub fn new(rows: usize, mut ratings: Vec<(u32, u32, f32)>) -> Self {
        ratings.sort_by_key(|&(row, slot, _)| (row, slot));
        let mut indptr = vec![0; rows + 1];
        for (row, _, _) in &ratings {
            indptr[*row as usize + 1] += 1;
        }
        for row in 0..rows {
            indptr[row + 1] += indptr[row];
        }
        let (slots, ratings) = ratings.into_iter().map(|(_, slot, rating)| (slot, rating)).unzip();
        Self { indptr, slots, ratings }
    }

    /// The rows, as a half-step takes them.
    #[must_use]
    pub fn rows(&self) -> RatingRows<'_> {
        RatingRows { indptr: &self.indptr, slots: &self.slots, ratings: &self.ratings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_lie_by_row_and_slot() {
        let matrix = RatingMatrix::new(4, vec![(2, 1, 3.0), (0, 5, 1.0), (2, 0, 4.0)]);
        let counts: Vec<usize> = (0..4).map(|row| matrix.rows().count(row)).collect();
        assert_eq!(counts, [1, 0, 2, 0]);
        assert_eq!(
            (matrix.rows().row(2).slots, matrix.rows().row(2).ratings),
            (&[0, 1][..], &[4.0, 3.0][..])
        );
    }
}
