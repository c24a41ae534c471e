//! Lists by factors for many users: the bounded selection that serving makes ([`crate::score::top_n`]), so that what
//! is measured is, to the bit, what would be answered.

use std::sync::atomic::AtomicBool;

use shoal_core::topk::TopK;

use crate::{
    large_pages::LargePages,
    score::{Bounds, FactorRows, Scoring, Screen, Selection, top_n},
};

/// Users whose lists are best chosen together: they share each pass over the bounds.
pub const USERS_AT_ONCE: usize = 16;

/// Nobody ends a measuring by this.
static GO_ON: AtomicBool = AtomicBool::new(false);

/// Items with consecutive global rows that lists are chosen from.
#[derive(Debug)]
pub struct RankedItems {
    first_row: u32,
    rank: usize,
    /// The items' factors, rows × `rank`, row-major.
    factors: LargePages,
    /// Where lists are ranked by predicted ratings.
    biases: Option<Vec<f32>>,
    /// Training ratings of each row; one without any is in no list.
    train_counts: Vec<u32>,
    screen: Screen,
}

/// A user whose list is chosen.
#[derive(Debug)]
pub struct RankedUser<'a> {
    /// The user's factors: `rank` numbers.
    pub query: &'a [f32],
    /// Of a predicted rating what is the same for all items ([`crate::score::rating_base`]); else not read.
    pub base: f32,
    /// Global item rows that are not listed, ascending.
    pub exclude: &'a [u32],
    /// What the list has so far.
    pub top: &'a mut TopK<u32>,
}

impl RankedItems {
    /// Of rows of `rank` factors each; `biases`, one per row, where lists are ranked by predicted ratings.
    ///
    /// # Panics
    /// When the rank is 0 or there is not a count, and a bias, for each row.
    #[must_use]
    pub fn new(
        first_row: u32,
        rank: usize,
        factors: LargePages,
        biases: Option<Vec<f32>>,
        train_counts: Vec<u32>,
        bounds: Bounds,
    ) -> Self {
        assert!(rank > 0 && factors.len() == rank * train_counts.len());
        assert!(biases.as_ref().is_none_or(|biases| biases.len() == train_counts.len()));
        let screen =
            Screen::new(&factors, rank, biases.as_deref().unwrap_or_default(), &train_counts, bounds);
        Self { first_row, rank, factors, biases, train_counts, screen }
    }

    /// Offers the items to the lists of some users, best of [`USERS_AT_ONCE`] together; `length` is that of a list.
    ///
    /// # Panics
    /// When a user's factors are not of the items' rank.
    pub fn offer(&self, users: &mut [RankedUser<'_>], length: usize) {
        assert!(users.iter().all(|user| user.query.len() == self.rank));
        let factors = FactorRows::new(&self.factors, self.rank).screened(&self.screen);
        // The queries are looked at no longer than it takes: the lists are written to below.
        let lists = {
            let selections: Vec<Selection<'_>> =
                users.iter().map(|user| self.selection(factors, user, length)).collect();
            top_n(&selections, &GO_ON).unwrap_or_default()
        };
        for (user, list) in users.iter_mut().zip(lists) {
            for (score, row) in list {
                user.top.push(score, self.first_row + row);
            }
        }
    }

    fn selection<'a>(
        &'a self,
        factors: FactorRows<'a>,
        user: &'a RankedUser<'_>,
        length: usize,
    ) -> Selection<'a> {
        let scoring = match &self.biases {
            None => Scoring::Product { factors, query: user.query },
            Some(biases) => Scoring::Rating { factors, biases, query: user.query, base: user.base },
        };
        Selection {
            scoring,
            counts: &self.train_counts,
            first_row: self.first_row,
            exclude: user.exclude,
            filter: None,
            n: length,
            floor: user.top.threshold(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_core::topk::better_first;

    use super::*;
    use crate::score::{dot, predicted_rating};

    /// Everything scored and sorted.
    fn naive(
        query: &[f32],
        base: f32,
        items: &[(Vec<f32>, f32, u32)],
        biased: bool,
        exclude: &[u32],
        length: usize,
    ) -> Vec<(u32, u32)> {
        let mut all: Vec<(f32, u32)> = Vec::new();
        for (row, (factors, bias, count)) in (0..).zip(items) {
            let product = dot(factors, query);
            let score = if biased { predicted_rating(base, *bias, product) } else { product };
            if *count > 0 && !exclude.contains(&row) {
                all.push((score, row));
            }
        }
        all.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        all.truncate(length);
        all.into_iter().map(|(score, row)| (score.to_bits(), row)).collect()
    }

    proptest! {
        #[test]
        fn lists_are_those_of_scoring_everything(
            rank in 1_usize..70,
            rows in 1_usize..400,
            users in 1_usize..20,
            numbers in prop::collection::vec(-3_i8..4, 97),
            // Small whole numbers tie; thirds are rounded.
            unit in prop::sample::select(&[1.0_f32, 1.0 / 3.0][..]),
            cuts in prop::collection::vec(0_usize..400, 0..4),
            biased: bool,
            bounds in prop::sample::select(&[Bounds::Fastest, Bounds::Norms][..]),
            length in 1_usize..25,
        ) {
            let number = |at: usize| f32::from(numbers[at % 97]) * unit * (1 + at / 97 % 3) as f32;
            let items: Vec<(Vec<f32>, f32, u32)> = (0..rows)
                .map(|row| {
                    let factors = (0..rank).map(|at| number(row * 31 + at * 7)).collect();
                    (factors, number(row * 5 + 1), (row % 7 != 3) as u32)
                })
                .collect();
            // Blocks as item shards would give them, some of them empty.
            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows)).chain([rows]).collect();
            ends.sort_unstable();
            let mut blocks = Vec::new();
            let mut begin = 0;
            for end in ends {
                let of = &items[begin..end];
                let factors: Vec<f32> = of.iter().flat_map(|item| item.0.clone()).collect();
                let biases = biased.then(|| of.iter().map(|item| item.1).collect());
                let counts = of.iter().map(|item| item.2).collect();
                blocks.push(RankedItems::new(begin as u32, rank, factors.into(), biases, counts, bounds));
                begin = end;
            }
            let queries: Vec<Vec<f32>> =
                (0..users).map(|user| (0..rank).map(|at| number(user * 13 + at * 3 + 2)).collect()).collect();
            let exclude = |user: usize| -> Vec<u32> {
                (0..rows as u32).filter(|row| (*row as usize * 11 + user).is_multiple_of(5)).collect()
            };
            let excluded: Vec<Vec<u32>> = (0..users).map(exclude).collect();
            let mut tops = vec![TopK::new(length); users];
            for block in &blocks {
                let mut ranked: Vec<RankedUser<'_>> = queries
                    .iter()
                    .zip(&excluded)
                    .zip(&mut tops)
                    .map(|((query, exclude), top)| RankedUser { query, base: 3.5, exclude, top })
                    .collect();
                block.offer(&mut ranked, length);
            }
            for (user, top) in tops.into_iter().enumerate() {
                let found: Vec<(u32, u32)> =
                    top.into_sorted().into_iter().map(|(score, row)| (score.to_bits(), row)).collect();
                let expected = naive(&queries[user], 3.5, &items, biased, &excluded[user], length);
                prop_assert_eq!(found, expected);
            }
        }
    }
}
