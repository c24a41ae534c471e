//! Users who are held out entirely, as ALS knows them.
//!
//! They are not trained: while rows are solved theirs are zero, so that no sum has anything of them. Before factors are
//! written their rows are folded in from the items' factors as they are, by the code that solves rows for sessions. So
//! whoever measures or serves written factors finds them beside the rows that were trained.

use std::sync::Arc;

use rayon::prelude::*;
use shoal_engine::als::gramian::add_in_order;
use shoal_proto::v1::{Objective, Side};

use super::{
    TrainError,
    attempt::TrainAttempt,
    fold_in::{FoldIn, Folded, Rated},
    settings::Settings,
    training_side::Factors,
};

impl TrainAttempt {
    /// Folds the rows of the own held-out users in. The items' factors and Gramians have to be there.
    pub(super) fn fold_in_held_out(&self) -> Result<(), TrainError> {
        let Some(folded) = self.users.folded_rows() else { return Ok(()) };
        let settings = self.settings().clone();
        let gramian: Arc<[f64]> = if settings.has_ranking() {
            let missing = TrainError::OutOfTurn("a Gramian of the items has not arrived");
            let partials = self.gramians(Side::Items).ok_or(missing)?;
            add_in_order(partials.iter().map(Vec::as_slice), settings.rank).into()
        } else {
            Arc::default()
        };
        // Each item has a rating: the mean, which stands for one that is missing, is never taken.
        let fold_in = FoldIn::new(settings.clone(), 0.0, self.context.kernel);
        let items = self.factors(Side::Items);
        let solve = |row: usize| {
            let of_user = folded.row(row);
            let rated = rated(&settings, &items, of_user.slots, of_user.ratings, &gramian);
            let solved = fold_in.solve(&rated, &[], Objective::Unspecified);
            let shard = || self.users.shard_of_own_row(row);
            Ok((row, solved.map_err(|source| TrainError::NotFoldedIn { shard: shard(), source })?))
        };
        let rows: Vec<usize> =
            (0..self.users.table.own_rows()).filter(|&row| !folded.row(row).slots.is_empty()).collect();
        let solved: Vec<(usize, Folded)> =
            rows.into_par_iter().map(solve).collect::<Result<_, TrainError>>()?;
        drop(items);
        let mut users = self.factors_mut(Side::Users);
        for (objective, width) in settings.widths() {
            let stored = users.of_mut(objective);
            for (row, folded) in &solved {
                let target = &mut stored[row * width..][..width];
                let is_ranking = objective == Objective::Ranking;
                let solution = if is_ranking { &folded.ranking } else { &folded.rating };
                target[..settings.rank].copy_from_slice(solution);
                target[settings.rank..].fill(folded.rating_bias);
            }
        }
        Ok(())
    }

    /// Makes the rows of the own held-out users zero, as nothing trains them. A checkpoint has them folded in, and
    /// starting values are drawn for everybody.
    pub(super) fn forget_held_out(&self) {
        let Some(folded) = self.users.folded_rows() else { return };
        let mut users = self.factors_mut(Side::Users);
        for (objective, width) in self.settings().widths() {
            let stored = users.of_mut(objective);
            for row in (0..self.users.table.own_rows()).filter(|&row| !folded.row(row).slots.is_empty()) {
                stored[row * width..][..width].fill(0.0);
            }
        }
    }
}

/// What a user has rated, with the items' factors as they are.
fn rated(
    settings: &Settings,
    items: &Factors,
    slots: &[u32],
    ratings: &[f32],
    gramian: &Arc<[f64]>,
) -> Rated {
    let rank = settings.rank;
    let mut rated = Rated {
        ratings: ratings.iter().copied().map(Some).collect(),
        gramian: Arc::clone(gramian),
        ..Rated::default()
    };
    for (objective, width) in settings.widths() {
        let stored = items.of(objective);
        for &slot in slots {
            let row = &stored[slot as usize * width..][..width];
            if objective == Objective::Ranking {
                rated.ranking.extend_from_slice(row);
            } else {
                rated.rating.extend_from_slice(&row[..rank]);
                rated.biases.push(row.get(rank).copied().unwrap_or_default());
            }
        }
    }
    rated
}
