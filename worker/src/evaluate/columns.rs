//! Scores of all items of a shard for one user after the other.

use crate::als::kernel::{Kernel, pack::Rows};

/// One shard's item factors, element by element: the scores of all items for a user are a sum of as many vectors as the
/// rank, where an inner product per item would be as many short sums as there are items.
#[derive(Debug)]
pub struct ItemColumns {
    /// Element-major: rank × items.
    values: Vec<f32>,
    /// One per item, where the factors have them.
    biases: Vec<f32>,
    items: usize,
    /// 0 to rank − 1.
    elements: Vec<u32>,
}

impl ItemColumns {
    /// Of stored rows of `width` numbers: `rank` factors, and a bias where they are longer.
    ///
    /// # Panics
    /// When `rank` is 0 or more than `width`, or the last row is torn.
    #[must_use]
    pub fn new(rows: &[f32], width: usize, rank: usize) -> Self {
        assert!((1..=width).contains(&rank) && rows.len().is_multiple_of(width));
        let items = rows.len() / width;
        let element = |at: usize| rows.iter().skip(at).step_by(width).copied();
        let biases = if width > rank { element(rank).collect() } else { Vec::new() };
        // The rank is counted in a u32.
        let elements = (0..rank as u32).collect();
        Self { values: (0..rank).flat_map(element).collect(), biases, items, elements }
    }

    /// Replaces what `scores` holds by the inner product of each item's factors with `user`, of rank numbers.
    ///
    /// # Panics
    /// When `user` has another length.
    pub fn products(&self, kernel: Kernel, user: &[f32], scores: &mut Vec<f32>) {
        assert_eq!(user.len(), self.elements.len());
        scores.clear();
        scores.resize(self.items, 0.0);
        if self.items > 0 {
            let rows = Rows::new(&self.values, self.items, self.items);
            kernel.sum_rows(rows, &self.elements, user, scores);
        }
    }

    /// The same plus what is expected of the user (`mean`, and a bias behind the factors in `user`) and of each item.
    ///
    /// # Panics
    /// As [`ItemColumns::products`].
    pub fn ratings(&self, kernel: Kernel, mean: f64, user: &[f32], scores: &mut Vec<f32>) {
        let rank = self.elements.len();
        self.products(kernel, &user[..rank], scores);
        let expected = mean + user.get(rank).copied().map_or(0.0, f64::from);
        if self.biases.is_empty() {
            scores.iter_mut().for_each(|score| *score = (expected + f64::from(*score)) as f32);
        }
        for (score, &bias) in scores.iter_mut().zip(&self.biases) {
            *score = (expected + f64::from(bias) + f64::from(*score)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scores_are_inner_products_and_biases(
            rank in 1_usize..40,
            items in 0_usize..150,
            has_biases: bool,
            numbers in prop::collection::vec(-1.0_f32..1.0, 41),
        ) {
            let width = rank + usize::from(has_biases);
            let number = |at: usize| numbers[at % 41] * (1 + at % 3) as f32;
            let rows: Vec<f32> = (0..items * width).map(|at| number(at * 7)).collect();
            let user: Vec<f32> = (0..width).map(|at| number(at * 5 + 1)).collect();
            let columns = ItemColumns::new(&rows, width, rank);
            for kernel in Kernel::available() {
                let (mut products, mut ratings) = (vec![9.0], Vec::new());
                columns.products(kernel, &user[..rank], &mut products);
                columns.ratings(kernel, 3.5, &user, &mut ratings);
                prop_assert_eq!((products.len(), ratings.len()), (items, items));
                for (item, row) in rows.chunks_exact(width).enumerate() {
                    let pairs = row[..rank].iter().zip(&user);
                    let product: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let biases = if has_biases { f64::from(row[rank]) + f64::from(user[rank]) } else { 0.0 };
                    prop_assert!((f64::from(products[item]) - product).abs() < 1e-3);
                    prop_assert!((f64::from(ratings[item]) - (3.5 + biases + product)).abs() < 1e-3);
                }
            }
        }
    }
}
