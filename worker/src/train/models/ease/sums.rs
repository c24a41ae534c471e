//! Sums over the own users for all tiles, and those of other users for the own tiles.

use std::sync::{Arc, PoisonError};

use shoal_engine::ease::{Likes, Tile};
use shoal_proto::v1::{TileSums, tile_chunk::Content};

use super::{
    super::attempt::ModelAttempt,
    Ease, Tiles,
    inbox::TILE,
    pushes::{TilePushes, shared},
};
use crate::{exchange::wire, train::TrainError};

impl ModelAttempt {
    /// Sums over the own users for every tile, row by row, and sends each tile's sums to its owner. `on_tiles` is told how many
    /// more tiles are summed.
    ///
    /// # Errors
    /// When the likings were summed before, or a peer cannot be sent to.
    pub async fn sum_likings(self: &Arc<Self>, on_tiles: impl Fn(u64)) -> Result<(), TrainError> {
        let ease = self.ease()?;
        let likes = ease.likes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let likes = Arc::new(likes.ok_or(TrainError::OutOfTurn("the likings were summed before"))?);
        // As many as one row has for a worker.
        let mut pushes = TilePushes::open(self, ease.grid.side() as usize / self.peers.len() + 1)?;
        for row in 0..ease.grid.side() {
            let (summing, likes) = (Arc::clone(&ease), Arc::clone(&likes));
            let me = self.me;
            let sums = self.context.job.compute.run(move || summing.sum_row(&likes, me, row)).await??;
            for (owner, tile, sums) in sums {
                let sums = TileSums { row: tile.row, column: tile.column, sums: shared(Arc::new(sums)) };
                pushes.send(owner, Content::Sums(sums)).await?;
            }
            on_tiles(u64::from(row) + 1);
        }
        pushes.finish().await
    }
}

impl Ease {
    /// Sums over these users for a row of tiles. Adds the sums of own tiles, and returns those of others with the owners.
    fn sum_row(
        &self,
        likes: &Likes,
        me: usize,
        row: u32,
    ) -> Result<Vec<(usize, Tile, Vec<f32>)>, TrainError> {
        let columns: Vec<u32> = (0..=row).collect();
        let mut sums = vec![0.0; columns.len() * TILE];
        likes.add_products(row, &columns, &mut sums);
        let mut of_others = Vec::new();
        let mut tiles = self.tiles();
        let Tiles::Summing { share, .. } = &mut *tiles else { return Err(too_late()) };
        for (column, sums) in columns.into_iter().zip(sums.chunks_exact(TILE)) {
            let tile = Tile { row, column };
            let owner = self.grid.owner(tile) as usize;
            if owner == me {
                share.add_sums(tile, sums);
            } else {
                of_others.push((owner, tile, sums.to_vec()));
            }
        }
        Ok(of_others)
    }

    /// Adds what a peer has summed for an own tile: its tiles come in their order.
    pub(super) fn add_sums(&self, from: usize, sums: &TileSums) -> Result<(), TrainError> {
        let mut tiles = self.tiles();
        let Tiles::Summing { share, come } = &mut *tiles else { return Err(too_late()) };
        let tile = Tile { row: sums.row, column: sums.column };
        let wanted = share.tiles().get(come[from]).copied();
        if wanted != Some(tile) {
            let Tile { row, column } = tile;
            return Err(TrainError::Request(format!(
                "the sums of tile ({row}, {column}) are not those that are next"
            )));
        }
        let values = wire::from_bytes::<f32>(&sums.sums)?;
        if values.len() != TILE {
            return Err(TrainError::Request(format!("{} sums are not those of a tile", values.len())));
        }
        share.add_sums(tile, &values);
        come[from] += 1;
        Ok(())
    }
}

fn too_late() -> TrainError {
    TrainError::OutOfTurn("the sums are inverted already")
}
