//! The whole of EASE on one machine: likings in, weights out.

use crate::{als::kernel::Kernel, item_cf::Neighbours};

use super::{
    Settings,
    choose::most_liked,
    elimination::{Elimination, Turn},
    grid::{Grid, TooLarge},
    likes::{Levels, Likes, LikesBuilder},
    pivot::LostDigits,
    share::Share,
    weights::all_weights,
};

/// A model that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FitError {
    /// The inverse does not fit the memory.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// f32 does not invert it.
    #[error(transparent)]
    LostDigits(#[from] LostDigits),
    /// Without a ridge G may have no inverse.
    #[error("the ridge has to be a number above 0, not {0}; name another --ease-reg")]
    Ridge(f64),
}

/// Users' likings: row u has the entries `indptr[u]..indptr[u + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct UserRows<'a> {
    /// Rows + 1 offsets.
    pub indptr: &'a [u64],
    /// Item rows of the catalogue, ascending within a user.
    pub items: &'a [u32],
    /// How much each is liked, from 0 (not at all) to 1: [`crate::preference::Preference::of`] a rating.
    pub likings: &'a [f32],
}

/// What a fit on one machine gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Rows of the items that took part, ascending.
    pub items: Vec<u32>,
    /// For each item of the catalogue, the weights of others for it, the largest by size first; an item that took no part has
    /// an empty list, and is in no other's.
    pub weights: Neighbours,
}

/// Fits the weights of a catalogue of `items` from users' likings. Runs on the threads of the current rayon pool.
///
/// # Errors
/// [`FitError`] when the ridge is not above 0, the inverse is too large for the memory, or f32 loses it.
///
/// # Panics
/// When a row is not below `items` or the offsets do not span the rows.
pub fn fit(
    users: UserRows<'_>,
    items: usize,
    settings: &Settings,
    kernel: Kernel,
) -> Result<Fitted, FitError> {
    if !(settings.ridge > 0.0 && settings.ridge.is_finite()) {
        return Err(FitError::Ridge(settings.ridge));
    }
    let levels = Levels::of_users(users.indptr.len() as u64);
    let mut counts = vec![0_u32; items];
    for (&item, &liking) in users.items.iter().zip(users.likings) {
        counts[item as usize] += u32::from(levels.nearest(liking.into()) > 0);
    }
    let chosen = most_liked(&counts, settings.items_max);
    // Rows of a side are counted in a u32.
    let grid = Grid::new(chosen.len() as u32, 1);
    grid.check_memory(settings.memory_max)?;
    let likes = likes_of(users, &chosen, items, levels);
    let share = invert(sum(&likes, grid, kernel), settings.ridge, levels)?;
    let mut lists = vec![Vec::new(); items];
    for (&item, mut list) in chosen.iter().zip(all_weights(&share, settings.neighbours)) {
        list.iter_mut().for_each(|(_, row)| *row = chosen[*row as usize]);
        lists[item as usize] = list;
    }
    let mut weights = Neighbours::default();
    lists.iter().for_each(|list| weights.push(list));
    Ok(Fitted { items: chosen, weights })
}

/// Likings of the chosen items (rows of a catalogue of `items`, ascending) as rows of the model.
///
/// # Panics
/// When a row is not below `items` or the offsets do not span the rows.
#[must_use]
pub fn likes_of(users: UserRows<'_>, chosen: &[u32], items: usize, levels: Levels) -> Likes {
    const ABSENT: u32 = u32::MAX;
    let mut places = vec![ABSENT; items];
    (0..).zip(chosen).for_each(|(place, &row)| places[row as usize] = place);
    let mut builder = LikesBuilder::new(chosen.len() as u32);
    for ends in users.indptr.windows(2) {
        let range = ends[0] as usize..ends[1] as usize;
        let liked = users.items[range.clone()].iter().zip(&users.likings[range]);
        let liked = liked.map(|(&row, &liking)| (places[row as usize], levels.nearest(liking.into())));
        builder.push(liked.filter(|(place, _)| *place != ABSENT));
    }
    builder.build()
}

/// The sums over all users in one share.
#[must_use]
pub fn sum(likes: &Likes, grid: Grid, kernel: Kernel) -> Share {
    let mut share = Share::new(grid, 0, kernel);
    for row in 0..grid.side() {
        likes.add_products(row, &share.columns(row), share.row_mut(row));
    }
    share
}

/// −P from the sums of a grid that has one owner.
///
/// # Errors
/// [`LostDigits`] when f32 loses a pivot.
pub fn invert(mut share: Share, ridge: f64, levels: Levels) -> Result<Share, LostDigits> {
    share.finish_sums(ridge, levels);
    let mut elimination = Elimination::new(share);
    let mut outbox = Vec::new();
    // An only owner never waits.
    while elimination.turn(&mut outbox)? == Turn::Worked {
        outbox.clear();
    }
    Ok(elimination.into_share())
}
