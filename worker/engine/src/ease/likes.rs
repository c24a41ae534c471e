//! What users like, and how much two items are liked together.

use rayon::prelude::*;

use crate::als::kernel::LANES;

use super::grid::{PANEL, SIDE, TILE};

/// Levels of a liking, unless there are so many users that sums leave room for fewer.
///
/// By the height of a rating ([`crate::preference::Preference::Height`]) those of five stars and of their halves are whole levels.
const LEVELS_MAX: u32 = 40;

/// How a liking from 0 to 1 becomes a whole number, so that sums of products are exact: it does not matter who added what in
/// which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels(u32);

impl Levels {
    /// As many levels, at most 40, as a sum over so many users has room for in a u32: 40 up to 2.6 million users.
    #[must_use]
    pub fn of_users(users: u64) -> Self {
        let most = (u64::from(u32::MAX) / users.max(1)).isqrt();
        Self(most.clamp(1, u64::from(LEVELS_MAX)) as u32)
    }

    /// The nearest level of a liking; 0 is none.
    #[must_use]
    pub fn nearest(self, liking: f64) -> u8 {
        // At most 40, and a NaN is none.
        (liking.clamp(0.0, 1.0) * f64::from(self.0)).round() as u8
    }

    /// The product of two likings of 1, in levels.
    pub(super) fn square(self) -> f64 {
        f64::from(self.0 * self.0)
    }
}

/// Some users' likings: model rows and levels by user, and users and levels by model row. Ten bytes per liking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Likes {
    order: u32,
    by_user: Lists,
    by_item: Lists,
}

/// Lists of rows with a level each, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lists {
    indptr: Vec<usize>,
    rows: Vec<u32>,
    levels: Vec<u8>,
}

impl Lists {
    fn of(&self, at: usize) -> (&[u32], &[u8]) {
        let range = self.indptr[at]..self.indptr[at + 1];
        (&self.rows[range.clone()], &self.levels[range])
    }

    fn count(&self) -> usize {
        self.indptr.len() - 1
    }
}

/// Takes the likings of one user after the other.
#[derive(Debug)]
pub struct LikesBuilder {
    order: u32,
    by_user: Lists,
}

impl LikesBuilder {
    /// For a model of `order` items.
    #[must_use]
    pub fn new(order: u32) -> Self {
        Self { order, by_user: Lists { indptr: vec![0], rows: Vec::new(), levels: Vec::new() } }
    }

    /// Adds a user, who likes these model rows, ascending, at these levels. What is at level 0 is left out.
    ///
    /// # Panics
    /// When they do not ascend or the model has no such row.
    pub fn push(&mut self, liked: impl IntoIterator<Item = (u32, u8)>) {
        let lists = &mut self.by_user;
        let begin = lists.rows.len();
        for (row, level) in liked.into_iter().filter(|(_, level)| *level > 0) {
            lists.rows.push(row);
            lists.levels.push(level);
        }
        let rows = &lists.rows[begin..];
        assert!(rows.is_sorted_by(|a, b| a < b) && rows.last().is_none_or(|&last| last < self.order));
        lists.indptr.push(lists.rows.len());
    }

    /// The likings of all users.
    #[must_use]
    pub fn build(self) -> Likes {
        let Self { order, by_user } = self;
        let mut indptr = vec![0; order as usize + 1];
        by_user.rows.iter().for_each(|&row| indptr[row as usize + 1] += 1);
        for row in 0..order as usize {
            indptr[row + 1] += indptr[row];
        }
        let mut next = indptr.clone();
        let (mut rows, mut levels) = (vec![0; by_user.rows.len()], vec![0; by_user.rows.len()]);
        for user in 0..by_user.count() {
            let (of_user, with) = by_user.of(user);
            for (&row, &level) in of_user.iter().zip(with) {
                let at = next[row as usize];
                next[row as usize] += 1;
                // Rows of a side are counted in a u32.
                (rows[at], levels[at]) = (user as u32, level);
            }
        }
        Likes { order, by_user, by_item: Lists { indptr, rows, levels } }
    }
}

impl Likes {
    /// Items of the model.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.order
    }

    /// How many users there are.
    #[must_use]
    pub fn users(&self) -> usize {
        self.by_user.count()
    }

    /// Adds, for each two items of which the later one is in this tile row, Σ over these users of the product of both levels to
    /// `tiles`: the tiles of the row in the `columns` named (ascending, up to the diagonal), stored one after the other. Sums
    /// are u32, kept as the bits of f32 (`sum_of`), and what is above the diagonal stays as it is. Panels run on the
    /// threads of the current rayon pool, each with n · 64 bytes of sums.
    ///
    /// # Panics
    /// When the columns do not ascend up to the row, or `tiles` has not as many tiles as there are columns.
    pub fn add_products(&self, tile_row: u32, columns: &[u32], tiles: &mut [f32]) {
        assert!(columns.is_sorted_by(|a, b| a < b) && columns.last().is_none_or(|&last| last <= tile_row));
        assert_eq!(tiles.len(), columns.len() * TILE);
        let begin = tile_row as usize * SIDE;
        let count = (self.order as usize).saturating_sub(begin).min(SIDE);
        // One panel of every tile to each task.
        let mut panels: Vec<Vec<&mut [f32]>> = (0..SIDE / LANES).map(|_| Vec::new()).collect();
        for tile in tiles.chunks_exact_mut(TILE) {
            panels.iter_mut().zip(tile.chunks_exact_mut(PANEL)).for_each(|(of, panel)| of.push(panel));
        }
        panels.into_par_iter().enumerate().for_each(|(at, mut panels)| {
            let rows = begin + at * LANES..begin + count.min((at + 1) * LANES);
            if rows.is_empty() {
                return;
            }
            let lines = self.products_with(rows);
            for (panel, &column) in panels.iter_mut().zip(columns) {
                let first = column as usize * SIDE;
                for (lane, line) in lines.iter().enumerate() {
                    let present = line.get(first..line.len().min(first + SIDE)).unwrap_or_default();
                    for (to, &sum) in panel.iter_mut().skip(lane).step_by(LANES).zip(present) {
                        *to = of_sum(sum_of(*to) + sum);
                    }
                }
            }
        });
    }

    /// For each of some items, the sums with each item up to it.
    fn products_with(&self, items: std::ops::Range<usize>) -> Vec<Vec<u32>> {
        let line = |item: usize| {
            let mut sums = vec![0_u32; item + 1];
            let (users, levels) = self.by_item.of(item);
            for (&user, &level) in users.iter().zip(levels) {
                let (others, with) = self.by_user.of(user as usize);
                for (&other, &of_other) in others.iter().zip(with) {
                    // A user's items ascend.
                    match sums.get_mut(other as usize) {
                        Some(sum) => *sum += u32::from(level) * u32::from(of_other),
                        None => break,
                    }
                }
            }
            sums
        };
        items.map(line).collect()
    }
}

/// The sum that is kept in the place of a number.
pub(super) fn sum_of(number: f32) -> u32 {
    number.to_bits()
}

/// A sum in the place of a number.
pub(super) fn of_sum(sum: u32) -> f32 {
    f32::from_bits(sum)
}
