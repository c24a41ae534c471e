//! Scores of all items of a shard for some users at once.

use crate::als::kernel::{
    Kernel,
    pack::{ColumnScales, Panels, Rows},
};

/// Users that are best scored together: the side of a register block.
pub const USERS_TOGETHER: usize = crate::als::kernel::LANES;

/// One shard's item factors, packed to be multiplied with those of several users: each is then read once for all of
/// them.
#[derive(Debug)]
pub struct ItemPanels {
    panels: Panels,
    /// One per item, where the factors have them.
    biases: Vec<f32>,
    items: usize,
    rank: usize,
}

impl ItemPanels {
    /// Of stored rows of `width` numbers: `rank` factors, and a bias where they are longer.
    ///
    /// # Panics
    /// When `rank` is 0 or more than `width`, or the last row is torn.
    #[must_use]
    pub fn new(kernel: Kernel, rows: &[f32], width: usize, rank: usize) -> Self {
        assert!((1..=width).contains(&rank) && rows.len().is_multiple_of(width));
        let items = rows.len() / width;
        let biases =
            if width > rank { rows.iter().skip(rank).step_by(width).copied().collect() } else { Vec::new() };
        // A shard's rows are counted in a u32.
        let every: Vec<u32> = (0..items as u32).collect();
        let mut panels = Panels::default();
        kernel.pack_columns(Rows::new(rows, width, rank), &every, ColumnScales::default(), &mut panels);
        Self { panels, biases, items, rank }
    }

    /// How many items the panels hold.
    #[must_use]
    pub fn items(&self) -> usize {
        self.items
    }

    /// Replaces what `scores` holds by the inner products of the `users` that `slots` names with each item, a user's one
    /// after the other.
    ///
    /// # Panics
    /// When a slot names no row or rows are not of this rank.
    pub fn products(
        &self,
        kernel: Kernel,
        users: Rows<'_>,
        slots: &[u32],
        scores: &mut Vec<f32>,
        scratch: &mut Panels,
    ) {
        assert_eq!(users.width(), self.rank);
        scores.clear();
        scores.resize(slots.len() * self.items, 0.0);
        kernel.multiply(users, slots, &self.panels, scores, scratch);
    }

    /// The same plus what is expected of each user (`mean`, and a bias behind the factors where there are any) and of each
    /// item. `users` are stored rows, as the items'.
    ///
    /// # Panics
    /// As [`ItemPanels::products`].
    pub fn ratings(
        &self,
        kernel: Kernel,
        mean: f64,
        users: Rows<'_>,
        slots: &[u32],
        scores: &mut Vec<f32>,
        scratch: &mut Panels,
    ) {
        self.products(kernel, users.columns(0..self.rank), slots, scores, scratch);
        if self.items == 0 {
            return;
        }
        for (scores, &slot) in scores.chunks_exact_mut(self.items).zip(slots) {
            let expected = mean + users.row(slot as usize).get(self.rank).copied().map_or(0.0, f64::from);
            if self.biases.is_empty() {
                scores.iter_mut().for_each(|score| *score = (expected + f64::from(*score)) as f32);
            }
            for (score, &bias) in scores.iter_mut().zip(&self.biases) {
                *score = (expected + f64::from(bias) + f64::from(*score)) as f32;
            }
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
            items in 0_usize..70,
            users in prop::collection::vec(0_u32..30, 0..40),
            has_biases: bool,
            numbers in prop::collection::vec(-1.0_f32..1.0, 41),
        ) {
            let width = rank + usize::from(has_biases);
            let number = |at: usize| numbers[at % 41] * (1 + at % 3) as f32;
            let rows: Vec<f32> = (0..items * width).map(|at| number(at * 7)).collect();
            let user_rows: Vec<f32> = (0..30 * width).map(|at| number(at * 5 + 1)).collect();
            let stored = Rows::new(&user_rows, width, width);
            for kernel in Kernel::available() {
                let panels = ItemPanels::new(kernel, &rows, width, rank);
                let (mut products, mut ratings, mut scratch) = (vec![9.0], Vec::new(), Panels::default());
                panels.products(kernel, stored.columns(0..rank), &users, &mut products, &mut scratch);
                panels.ratings(kernel, 3.5, stored, &users, &mut ratings, &mut scratch);
                prop_assert_eq!((products.len(), ratings.len()), (users.len() * items, users.len() * items));
                for (at, &user) in users.iter().enumerate() {
                    let user = stored.row(user as usize);
                    for (item, row) in rows.chunks_exact(width).enumerate() {
                        let pairs = row[..rank].iter().zip(user);
                        let product: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        let biases = if has_biases { f64::from(row[rank]) + f64::from(user[rank]) } else { 0.0 };
                        let at = at * items + item;
                        prop_assert!((f64::from(products[at]) - product).abs() < 1e-3);
                        prop_assert!((f64::from(ratings[at]) - (3.5 + biases + product)).abs() < 1e-3);
                    }
                }
            }
        }
    }
}
