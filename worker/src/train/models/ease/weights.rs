//! Weights: which are kept, and the lists of the own items from those that all owners of tiles have kept.

use std::{ops::Range, sync::Arc};

use futures::{StreamExt as _, stream::BoxStream};
use shoal_engine::{
    ease::{Entries, Grid, SIDE, Sizes, decode_entries, encode_entries, merge},
    item_cf::Neighbours,
};
use shoal_proto::v1::{EaseDiagonal, EaseSelect, EaseSizes, EaseSizesDone, PairsChunk};

use super::{
    super::{
        attempt::ModelAttempt,
        pairs::{Asked, PeerPairs, sent},
    },
    Ease,
};
use crate::{exchange::wire, train::TrainError};

/// Some items of one tile row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    line: u32,
    /// Places in the tile row.
    items: Range<usize>,
}

/// The items at these model rows, tile row by tile row.
fn blocks(places: Range<usize>) -> Vec<Block> {
    let lines = places.start / SIDE..places.end.div_ceil(SIDE);
    let block = |line: usize| {
        let begin = line * SIDE;
        let items = places.start.max(begin) - begin..places.end.min(begin + SIDE) - begin;
        // Items are counted in a u32.
        Block { line: line as u32, items }
    };
    if places.is_empty() { Vec::new() } else { lines.map(block).collect() }
}

impl ModelAttempt {
    /// Counts the weights that the own tiles have, by size.
    ///
    /// # Errors
    /// When the sums are not inverted yet, or the diagonal is not that of all tiles.
    pub async fn count_weights(self: &Arc<Self>, step: EaseSizes) -> Result<EaseSizesDone, TrainError> {
        let ease = self.ease()?;
        let share = ease.inverted()?;
        let diagonal = joined(ease.grid, step.diagonals)?;
        let diagonal = ease.diagonal.get_or_init(|| diagonal).clone();
        let sizes = self.context.job.compute.run(move || share.sizes(&diagonal)).await?;
        Ok(EaseSizesDone { counts: wire::to_bytes(sizes.counts()) })
    }

    /// Finds out which weights are kept, from the counts of all workers.
    ///
    /// # Errors
    /// When the diagonal is not known yet, or the counts are none.
    pub fn select_weights(&self, step: &EaseSelect) -> Result<(), TrainError> {
        let ease = self.ease()?;
        ease.diagonal()?;
        let mut sizes = Sizes::default();
        for counts in &step.counts {
            let of_worker = Sizes::from_counts(wire::from_bytes(counts)?);
            let none = || TrainError::Request("the counts of weights are not one for each size".to_owned());
            sizes.merge(&of_worker.ok_or_else(none)?);
        }
        let selection = sizes.selection(ease.grid.order(), ease.parameters.neighbours as usize);
        ease.selection.get_or_init(|| selection);
        Ok(())
    }

    /// Takes what all owners of tiles keep of the own items' weights. `on_rows` is told how many more items are done.
    ///
    /// # Errors
    /// When it is not known yet which weights are kept, or a peer cannot be asked.
    pub async fn take_weights(self: &Arc<Self>, on_rows: impl Fn(u64)) -> Result<(), TrainError> {
        let ease = self.ease()?;
        let selection = ease.selection()?;
        let mut found = Vec::with_capacity(self.items.owned.len());
        for owned in &self.items.owned {
            let rows = self.items.shards.shard_rows(owned.shard);
            let places = ease.places(&rows);
            let mut lists: Vec<Entries> = Vec::with_capacity(places.len());
            let blocks = blocks(places.clone());
            if !blocks.is_empty() {
                let mut peers = PeerPairs::open(self, Asked::Weights(owned.shard)).await?;
                for block in blocks {
                    let (of_block, own) = (block.clone(), Arc::clone(&ease));
                    let selecting = self.context.job.compute.run(move || own.selected(&of_block));
                    let (selected, bytes) = tokio::join!(selecting, peers.next_block());
                    let mut selected = vec![selected??];
                    for bytes in bytes? {
                        selected.push(decode_entries(&bytes, block.items.len(), ease.grid.order())?);
                    }
                    let merging = self.context.job.compute.run(move || {
                        let items = 0..block.items.len();
                        let of_item = |at: usize| {
                            let of_owners = selected.iter_mut().map(|lists| std::mem::take(&mut lists[at]));
                            merge(of_owners.collect::<Vec<_>>(), selection)
                        };
                        items.map(of_item).collect::<Vec<_>>()
                    });
                    let merged = merging.await?;
                    on_rows(merged.len() as u64);
                    lists.extend(merged);
                }
            }
            found.push(Arc::new(ease.neighbours(rows, places, lists)));
        }
        self.ease_state(|made| {
            made.neighbours = found;
            Some(())
        })
    }

    /// What the own tiles keep of the weights of a shard's items, for their owner: a block for each tile row.
    pub(in super::super) fn serve_weights(
        self: &Arc<Self>,
        shard: u32,
    ) -> Result<BoxStream<'static, Result<PairsChunk, TrainError>>, TrainError> {
        let ease = self.ease()?;
        ease.selection()?;
        let blocks = blocks(ease.places(&self.items.shards.shard_rows(shard)));
        let compute = self.context.job.compute.clone();
        Ok(sent(blocks.into_iter(), move |block| {
            let (compute, ease) = (compute.clone(), Arc::clone(&ease));
            async move {
                let encoding =
                    compute.run(move || Ok::<_, TrainError>(encode_entries(&ease.selected(&block)?)));
                encoding.await?
            }
        })
        .boxed())
    }
}

impl Ease {
    /// What the own tiles keep of the weights of some items.
    fn selected(&self, block: &Block) -> Result<Vec<Entries>, TrainError> {
        let mut selected = self.inverted()?.selected(block.line, self.diagonal()?, self.selection()?);
        selected.truncate(block.items.end);
        Ok(selected.split_off(block.items.start.min(selected.len())))
    }

    /// The lists of a shard's items, with global rows; empty for items that are not in the model.
    fn neighbours(&self, rows: Range<u32>, places: Range<usize>, lists: Vec<Entries>) -> Neighbours {
        let mut neighbours = Neighbours::default();
        let mut next = self.chosen[places].iter().zip(lists).peekable();
        for row in rows {
            let list = next.next_if(|(chosen, _)| **chosen == row).map(|(_, list)| list);
            let mut list = list.unwrap_or_default();
            list.iter_mut().for_each(|(_, other)| *other = self.chosen[*other as usize]);
            neighbours.push(&list);
        }
        neighbours
    }
}

/// The diagonal of P from those of all tiles on it.
fn joined(grid: Grid, mut diagonals: Vec<EaseDiagonal>) -> Result<Vec<f32>, TrainError> {
    diagonals.sort_by_key(|diagonal| diagonal.tile_row);
    let mut joined = Vec::with_capacity(grid.order() as usize);
    for (line, diagonal) in (0..).zip(&diagonals) {
        let values = wire::from_bytes::<f32>(&diagonal.values)?;
        if diagonal.tile_row != line || values.len() != grid.extent(line) {
            break;
        }
        joined.extend(values);
    }
    // The inverse of a positive definite matrix has no other.
    let is_whole = joined.len() == grid.order() as usize && diagonals.len() == grid.side() as usize;
    if is_whole && joined.iter().all(|value| *value > 0.0 && value.is_finite()) {
        return Ok(joined);
    }
    Err(TrainError::Request(
        "the diagonals of the tiles do not make one diagonal of positive numbers".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_items_of_each_tile_row() {
        assert_eq!(blocks(5..5), []);
        let block = |line, items| Block { line, items };
        assert_eq!(blocks(0..SIDE), [block(0, 0..SIDE)]);
        assert_eq!(blocks(SIDE..SIDE + 1), [block(1, 0..1)]);
        let several = [block(0, 250..SIDE), block(1, 0..SIDE), block(2, 0..3)];
        assert_eq!(blocks(250..2 * SIDE + 3), several);
    }

    #[test]
    fn a_diagonal_is_that_of_every_tile_once() {
        let grid = Grid::new(SIDE as u32 + 2, 2);
        let diagonal = |tile_row, values: &[f32]| EaseDiagonal { tile_row, values: wire::to_bytes(values) };
        let (first, second) = (diagonal(0, &[0.5; SIDE]), diagonal(1, &[0.25; 2]));
        let whole = joined(grid, vec![second.clone(), first.clone()]).unwrap();
        assert_eq!(whole, [&[0.5; SIDE][..], &[0.25; 2]].concat());
        for bad in [
            vec![first.clone()],
            vec![first.clone(), first.clone()],
            vec![first.clone(), second.clone(), second],
            vec![first.clone(), diagonal(1, &[0.25])],
            vec![first.clone(), diagonal(1, &[0.25, -0.5])],
            vec![first, diagonal(1, &[0.25, f32::NAN])],
        ] {
            assert!(joined(grid, bad).is_err());
        }
    }
}
