//! The ratings of some users, laid out for summing over pairs.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    BadPairs, Fixed, ItemTotals, Settings, Totals,
    compressed::Compressed,
    encode::{decode_users, encode_user},
    sample,
};

/// Rows of users: row r has the ratings `indptr[r]..indptr[r + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct UserRows<'a> {
    /// Rows + 1 offsets.
    pub indptr: &'a [u64],
    /// Global item rows, ascending within a user.
    pub items: &'a [u32],
    /// The rating of each item in `items`.
    pub ratings: &'a [f32],
    /// Hash of each user's id.
    pub hashes: &'a [u64],
}

/// The values of some users' ratings that take part in pairs, by user and by item.
#[derive(Debug)]
pub struct CoRaters {
    by_user: Compressed,
    /// Users ascending within an item.
    by_item: Compressed,
    width: usize,
}

impl CoRaters {
    /// Samples the very active users and makes the values integers. `items` is the number of item rows of
    /// the whole data set. Users run on the threads of the current rayon pool.
    ///
    /// # Panics
    /// When an item row is not below `items`.
    #[must_use]
    pub fn new(users: UserRows<'_>, items: usize, fixed: Fixed, settings: &Settings) -> Self {
        let row = |user: usize| {
            let range = users.indptr[user] as usize..users.indptr[user + 1] as usize;
            let (items, ratings) = (&users.items[range.clone()], &users.ratings[range]);
            let mean = ratings.iter().map(|&rating| f64::from(rating)).sum::<f64>() / ratings.len() as f64;
            let kept = sample(items, settings.user_ratings_max, users.hashes[user], settings.seed);
            let value = |at: usize| (items[at], fixed.of(settings.measure.value(ratings[at], mean)));
            kept.into_iter().map(value).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<(u32, i32)>> = (0..users.hashes.len()).into_par_iter().map(row).collect();
        let mut by_user = Compressed::empty();
        rows.into_iter().for_each(|row| by_user.push(row));
        // Rows of a side are counted in a u32.
        let all = 0..items as u32;
        let by_item = by_user.transposed(items, std::slice::from_ref(&all));
        Self { by_user, by_item, width: settings.measure.width() }
    }

    /// These users and others, whose rows are given as [`CoRaters::encode_users`] makes them: blocks with the number of
    /// their users. Pairs are then those with the items of the ranges alone.
    ///
    /// # Errors
    /// [`BadPairs`] when a block is no rows of as many users.
    ///
    /// # Panics
    /// When a range is not below [`CoRaters::items`].
    pub fn gathered(&self, others: &[(usize, Vec<u8>)], items: &[Range<u32>]) -> Result<Self, BadPairs> {
        let decode = |(users, bytes): &(usize, Vec<u8>)| decode_users(bytes, *users, self.items());
        let blocks: Vec<Compressed> = others.par_iter().map(decode).collect::<Result<_, _>>()?;
        let mut by_user = self.by_user.clone();
        blocks.iter().for_each(|block| by_user.append(block));
        let by_item = by_user.transposed(self.items(), items);
        Ok(Self { by_user, by_item, width: self.width })
    }

    /// The rows of some users as they travel.
    ///
    /// # Panics
    /// When there are no such users.
    #[must_use]
    pub fn encode_users(&self, users: Range<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for user in users {
            let (items, values) = self.by_user.row(user);
            encode_user(items, values, &mut bytes);
        }
        bytes
    }

    /// Item rows of the whole data set.
    #[must_use]
    pub fn items(&self) -> usize {
        self.by_item.rows()
    }

    /// Integers summed per pair.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Totals of some items over these users.
    ///
    /// # Panics
    /// When there are no such items.
    #[must_use]
    pub fn totals(&self, items: Range<usize>) -> ItemTotals {
        let totals = |item: usize| {
            let (_, values) = self.by_item.row(item);
            let squares = values.iter().map(|&value| i64::from(value) * i64::from(value)).sum();
            Totals { raters: values.len() as i64, squares }
        };
        ItemTotals(items.map(totals).collect())
    }

    /// How often [`CoRaters::for_each_pair`] calls for an item.
    pub(super) fn pairs_with(&self, item: usize) -> usize {
        self.by_item.row(item).0.iter().map(|&user| self.by_user.row(user as usize).0.len()).sum()
    }

    /// Calls `each` with every rating (item row, its value, the value of `item`) of the users of `item`.
    pub(super) fn for_each_pair(&self, item: usize, mut each: impl FnMut(usize, i64, i64)) {
        let (users, values) = self.by_item.row(item);
        for (&user, &x) in users.iter().zip(values) {
            let (others, values) = self.by_user.row(user as usize);
            for (&other, &y) in others.iter().zip(values) {
                each(other as usize, i64::from(x), i64::from(y));
            }
        }
    }
}
