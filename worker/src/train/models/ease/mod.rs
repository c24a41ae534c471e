//! EASE over workers. The maths is [`shoal_engine::ease`]; here is who holds which likings and tiles, and what passes between
//! workers.
//!
//! Every worker owns tiles ([`Grid::owner`]) as well as users and items. What its steps do, with a barrier after each:
//!
//! | step | does | sends |
//! | --- | --- | --- |
//! | prepare | chooses the items of the model, lays out the likings of the own users | |
//! | sum | sums over the own users for every tile (`sums`) | each tile's sums to its owner |
//! | invert | eliminates step by step (`invert`) | pivots and panels to everybody |
//! | sizes, select | counts the weights of each size; what is kept follows from the counts of all (`weights`) | |
//! | neighbours | asks the owners of tiles for what is kept of the own items' weights (`weights`) | |
//!
//! Sums, pivots and panels are pushed (`pushes`). Sums are integers and are added as they come; each sender's tiles come in the
//! order of the grid, each once. Of the elimination nothing waits here but messages of two steps (`inbox`): a sender that is
//! further is not read from.
//!
//! The files of a version are those of item CF, with weights in the place of similarities.

mod inbox;
mod invert;
mod pushes;
mod sums;
mod weights;

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use shoal_engine::{
    ease::{Grid, Levels, Likes, LikesBuilder, Selection, Share, TooLarge, most_liked},
    item_cf::Neighbours,
    preference::Preference,
};
use shoal_proto::v1::{EaseParameters, EasePrepare, EasePrepareDone, TileChunk, tile_chunk::Content};

use self::inbox::Inbox;
use super::attempt::{Making, ModelAttempt, RatedItems};
use crate::train::{TrainError, settings::ease_preference};

/// Bytes per liking of the own users, laid out by user and by item.
const LIKING_BYTES: u64 = 10;

/// Bytes per item of the model and thread while sums are made.
const SUM_BYTES: u64 = 64;

/// What the steps have made so far.
#[derive(Debug)]
pub(super) struct EaseState {
    /// Until the weights are taken.
    ease: Option<Arc<Ease>>,
    /// Of the owned item shards, in their order; none before they were found.
    pub(super) neighbours: Vec<Arc<Neighbours>>,
}

/// What is held of a model that is being made.
#[derive(Debug)]
struct Ease {
    parameters: EaseParameters,
    levels: Levels,
    grid: Grid,
    /// Global rows of the model's items, ascending: the place of each is its model row.
    chosen: Vec<u32>,
    /// Of the own users, until they are summed.
    likes: Mutex<Option<Likes>>,
    tiles: Mutex<Tiles>,
    inbox: Inbox,
    /// The diagonal of P by model row, once it is known of all.
    diagonal: OnceLock<Vec<f32>>,
    selection: OnceLock<Selection>,
}

/// The tiles that this worker owns, by how far they are.
#[derive(Debug)]
enum Tiles {
    /// Sums are added; of each worker so many tiles have come, in their order.
    Summing { share: Share, come: Vec<usize> },
    /// The step that inverts has them.
    Inverting,
    /// The tiles hold −P.
    Inverted(Arc<Share>),
}

impl Ease {
    fn tiles(&self) -> MutexGuard<'_, Tiles> {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inverted(&self) -> Result<Arc<Share>, TrainError> {
        match &*self.tiles() {
            Tiles::Inverted(share) => Ok(Arc::clone(share)),
            Tiles::Summing { .. } | Tiles::Inverting => {
                Err(TrainError::OutOfTurn("the likings are not inverted yet"))
            }
        }
    }

    fn diagonal(&self) -> Result<&[f32], TrainError> {
        let diagonal = self.diagonal.get().map(Vec::as_slice);
        diagonal.ok_or(TrainError::OutOfTurn("the diagonal is not known yet"))
    }

    fn selection(&self) -> Result<Selection, TrainError> {
        self.selection
            .get()
            .copied()
            .ok_or(TrainError::OutOfTurn("it is not known yet which weights are kept"))
    }

    /// Model rows of the items among these global rows.
    fn places(&self, rows: &Range<u32>) -> Range<usize> {
        let place = |row: u32| self.chosen.partition_point(|&chosen| chosen < row);
        place(rows.start)..place(rows.end)
    }
}

impl ModelAttempt {
    /// Chooses the items of the model, and lays out the likings of the own users.
    ///
    /// # Errors
    /// When there are no baselines yet, the parameters make no sense, or the tiles do not fit the memory.
    pub async fn prepare_likings(self: &Arc<Self>, step: EasePrepare) -> Result<EasePrepareDone, TrainError> {
        let parameters = step.parameters.unwrap_or_default();
        if !(parameters.regularization > 0.0 && parameters.regularization.is_finite()) {
            return Err(TrainError::Request("the ridge is not a number above 0".to_owned()));
        }
        let baselines = self.baselines()?;
        let most = Some(parameters.items_max as usize).filter(|most| *most > 0);
        let chosen = most_liked(&baselines.train_counts, most);
        let rated = baselines.train_counts.iter().filter(|count| **count > 0).count();
        // Rows of a side and workers are counted in a u32.
        let grid = Grid::new(chosen.len() as u32, self.peers.len() as u32);
        let likings = self.users.rating_rows().slots.len() as u64;
        check_memory(grid, likings, self.context.job.compute.threads(), self.context.memory_bytes)?;
        let done = EasePrepareDone { items: grid.order(), rated_items: rated as u32 };
        let attempt = Arc::clone(self);
        let laying_out = self.context.job.compute.run(move || attempt.laid_out(parameters, grid, chosen));
        let ease = Arc::new(laying_out.await?);
        self.update(|state| {
            state.making = Making::Ease(EaseState { ease: Some(ease), neighbours: Vec::new() })
        });
        Ok(done)
    }

    /// Looks at what the steps have made, or changes it.
    fn ease_state<T>(&self, with: impl FnOnce(&mut EaseState) -> Option<T>) -> Result<T, TrainError> {
        let made = self.update(|state| match &mut state.making {
            Making::Ease(made) => with(made),
            _ => None,
        });
        made.ok_or(TrainError::OutOfTurn("the likings are not laid out"))
    }

    fn ease(&self) -> Result<Arc<Ease>, TrainError> {
        self.ease_state(|made| made.ease.clone())
    }

    /// Frees the tiles of a model whose weights everybody has.
    pub(super) fn let_tiles_go(&self) {
        // Of another model there are none.
        let _ = self.ease_state(|made| made.ease.take());
    }

    fn laid_out(&self, parameters: EaseParameters, grid: Grid, chosen: Vec<u32>) -> Ease {
        let levels = Levels::of_users(self.training_users.into());
        let preference = ease_preference(&parameters);
        let likes = self.likes(&chosen, preference, levels);
        // Workers are counted in a u32.
        let share = Share::new(grid, self.me as u32, self.context.kernel);
        Ease {
            parameters,
            levels,
            grid,
            chosen,
            likes: Mutex::new(Some(likes)),
            tiles: Mutex::new(Tiles::Summing { share, come: vec![0; self.peers.len()] }),
            inbox: Inbox::new(grid),
            diagonal: OnceLock::new(),
            selection: OnceLock::new(),
        }
    }

    /// The likings of the own users.
    fn likes(&self, chosen: &[u32], preference: Preference, levels: Levels) -> Likes {
        const ABSENT: u32 = u32::MAX;
        let mut places = vec![ABSENT; self.item_rows()];
        (0..).zip(chosen).for_each(|(place, &row)| places[row as usize] = place);
        let mut builder = LikesBuilder::new(chosen.len() as u32);
        let mut rated = RatedItems::default();
        for row in 0..self.users.table.own_rows() {
            self.trained_on(row, &mut rated);
            let liked = rated.items.iter().zip(&rated.ratings);
            let liked = liked.map(|(&item, &rating)| {
                // As engine and serving take it: a liking is an f32.
                let liking = preference.of(rating) as f32;
                (places[item as usize], levels.nearest(liking.into()))
            });
            builder.push(liked.filter(|(place, _)| *place != ABSENT));
        }
        builder.build()
    }

    /// How many tile rows and columns there are, for progress.
    #[must_use]
    pub fn ease_tiles(&self) -> u64 {
        let side = self.ease().map_or(0, |ease| u64::from(ease.grid.side()));
        side * (side + 1) / 2
    }

    /// Takes what a peer sends of tiles.
    ///
    /// # Errors
    /// When the sender is no peer, or sends what it cannot.
    pub async fn receive_tiles(&self, chunk: TileChunk) -> Result<(), TrainError> {
        let ease = self.ease()?;
        let sender = self.peers.iter().position(|peer| peer.node == chunk.node);
        let Some(from) = sender.filter(|sender| *sender != self.me) else {
            return Err(TrainError::Request(format!("'{}' is no other worker of this attempt", chunk.node)));
        };
        match chunk.content {
            Some(Content::Sums(sums)) => ease.add_sums(from, &sums),
            Some(Content::Part(part)) => ease.inbox.deliver(from, part).await,
            None => Err(TrainError::Request("a message of tiles is empty".to_owned())),
        }
    }
}

/// Refuses what does not fit beside the likings.
fn check_memory(grid: Grid, likings: u64, threads: usize, available: Option<u64>) -> Result<(), TooLarge> {
    let Some(available) = available else { return Ok(()) };
    let rest = likings * LIKING_BYTES + threads as u64 * u64::from(grid.order()) * SUM_BYTES;
    grid.check_memory(available.saturating_sub(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_to_fit_beside_the_likings() {
        let grid = Grid::new(2_000, 2);
        let rest = 1_000 * LIKING_BYTES + 2 * 2_000 * SUM_BYTES;
        let check = |available| check_memory(grid, 1_000, 2, available);
        assert_eq!(check(None), Ok(()));
        assert_eq!(check(Some(grid.bytes() + rest)), Ok(()));
        let refused = check(Some(grid.bytes() + rest - 1)).unwrap_err();
        assert!(refused.items_fit < 2_000, "{refused}");
        assert_eq!(
            check_memory(Grid::new(refused.items_fit, 2), 1_000, 2, Some(grid.bytes() + rest - 1)),
            Ok(())
        );
        assert!(refused.to_string().contains("--items-max"), "{refused}");
    }
}
