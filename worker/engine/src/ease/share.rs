//! One owner's tiles, and what is done to them.

use rayon::prelude::*;

use crate::{
    als::kernel::{
        Kernel,
        tiles::{Shape, TileProduct},
    },
    large_pages::LargePages,
};

use super::{
    grid::{Grid, PANEL, SIDE, TILE, Tile},
    likes::{Levels, of_sum, sum_of},
    pivot::place,
};

/// The tiles of one owner: sums over users first ([`Share::add_sums`]), then G ([`Share::finish_sums`]), at the end −P.
#[derive(Debug)]
pub struct Share {
    grid: Grid,
    owner: u32,
    kernel: Kernel,
    tiles: Vec<Tile>,
    values: LargePages,
    /// Of G, for the own tiles on the diagonal, by tile row.
    diagonals: Vec<Vec<f32>>,
}

impl Share {
    /// No user's likings yet.
    ///
    /// # Panics
    /// When there is no such owner.
    #[must_use]
    pub fn new(grid: Grid, owner: u32, kernel: Kernel) -> Self {
        assert!(owner < grid.owners());
        let tiles = grid.tiles(owner);
        let values = LargePages::zeroed(tiles.len() * TILE);
        Self { grid, owner, kernel, tiles, values, diagonals: vec![Vec::new(); grid.side() as usize] }
    }

    /// The grid that it is a part of.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Number of the owner, from 0.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// The own columns of a tile row, up to the diagonal.
    #[must_use]
    pub fn columns(&self, row: u32) -> Vec<u32> {
        self.tiles[self.row(row)].iter().map(|tile| tile.column).collect()
    }

    /// The own tiles of a tile row, one after the other: where [`super::Likes::add_products`] adds the sums of these columns.
    pub fn row_mut(&mut self, row: u32) -> &mut [f32] {
        let range = self.row(row);
        &mut self.values[range.start * TILE..range.end * TILE]
    }

    fn row(&self, row: u32) -> std::ops::Range<usize> {
        let begin = self.tiles.partition_point(|tile| tile.row < row);
        begin..self.tiles.partition_point(|tile| tile.row <= row)
    }

    /// Adds the sums over other users for an own tile, as [`super::Likes::add_products`] makes them.
    ///
    /// # Panics
    /// When the tile is not an own one, or there are not as many sums as it has numbers.
    pub fn add_sums(&mut self, tile: Tile, sums: &[f32]) {
        let columns = self.columns(tile.row);
        let at = columns.binary_search(&tile.column);
        assert!(at.is_ok() && sums.len() == TILE);
        let begin = at.unwrap_or_default() * TILE;
        self.row_mut(tile.row)[begin..begin + TILE].iter_mut().zip(sums).for_each(|(target, sum)| {
            // Only sums that no users can have are beyond a u32.
            *target = of_sum(sum_of(*target).saturating_add(sum_of(*sum)));
        });
    }

    /// Makes G of the sums: each as a number, rounded once, with the ridge on the diagonal.
    pub fn finish_sums(&mut self, ridge: f64, levels: Levels) {
        let Self { grid, tiles, values, diagonals, .. } = self;
        let unit = levels.square();
        let number = |value: f32, ridge: f64| (f64::from(sum_of(value)) / unit + ridge) as f32;
        let own = values.par_chunks_exact_mut(TILE).zip(&*tiles);
        let made = own.filter_map(|(values, tile)| {
            let extent = if tile.row == tile.column { grid.extent(tile.row) } else { 0 };
            let diagonal: Vec<f32> = (0..extent).map(|at| number(values[place(at, at)], ridge)).collect();
            values.iter_mut().for_each(|value| *value = number(*value, 0.0));
            diagonal.iter().enumerate().for_each(|(at, value)| values[place(at, at)] = *value);
            (extent > 0).then_some((tile.row as usize, diagonal))
        });
        for (line, diagonal) in made.collect::<Vec<_>>() {
            diagonals[line] = diagonal;
        }
    }

    /// How many own tiles there are.
    pub(super) fn len(&self) -> usize {
        self.tiles.len()
    }

    /// The own tiles, row by row.
    #[must_use]
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// The numbers of a tile, row-major; `None` for a tile of another owner.
    pub(super) fn tile(&self, tile: Tile) -> Option<&[f32]> {
        let at = self.tiles.binary_search(&tile).ok()?;
        Some(&self.values[at * TILE..(at + 1) * TILE])
    }

    /// Copies of the own tile (k, k) and of G's diagonal there: what [`super::pivot::eliminate`] takes.
    pub(super) fn pivot_tile(&self, step: u32) -> Option<(Vec<f32>, Vec<f32>)> {
        let tile = self.tile(Tile { row: step, column: step })?;
        Some((tile.to_vec(), self.diagonals[step as usize].clone()))
    }

    /// Puts a tile in the place of an own one.
    pub(super) fn replace(&mut self, tile: Tile, values: &[f32]) {
        if let Ok(at) = self.tiles.binary_search(&tile) {
            self.values[at * TILE..(at + 1) * TILE].copy_from_slice(values);
        }
    }

    /// The own part of a step's panel: Yᵢ = Aᵢₖ L⁻ᵀ by tile row i, each cut to the panels that hold rows. Every tile becomes
    /// Yᵢ L⁻¹.
    pub(super) fn make_panel(&mut self, step: u32, inverse_factor: &[f32]) -> Vec<(u32, Vec<f32>)> {
        let Self { grid, kernel, tiles, values, .. } = self;
        let depth = grid.extent(step);
        let mut upper = vec![0.0; TILE];
        kernel.transpose_tile(inverse_factor, PANEL, SIDE, &mut upper);
        let own = values.par_chunks_exact_mut(TILE).zip(&*tiles).with_max_len(1);
        let own = own.filter(|(_, tile)| tile.is_of(step) && tile.row != tile.column);
        let made = own.map(|(values, tile)| {
            // Either the tile is in column k or its transpose is.
            let is_transposed = tile.row == step;
            let line = if is_transposed { tile.column } else { tile.row };
            let extent = grid.extent(line);
            let mut panel = vec![0.0; panels_len(extent)];
            let of_shape = |shape| {
                let (row_count, column_count) =
                    if shape == Shape::UpperRows { (depth, extent) } else { (extent, depth) };
                TileProduct { rows: &[], columns: &[], stride: PANEL, row_count, column_count, depth, shape }
            };
            let (factor, made) = (of_shape(Shape::LowerColumns), &mut panel);
            if is_transposed {
                let mut turned = vec![0.0; TILE];
                kernel.transpose_tile(values, PANEL, SIDE, &mut turned);
                let product = TileProduct { rows: &turned, columns: inverse_factor, ..factor };
                kernel.add_tile_product(product, made);
                values.fill(0.0);
                let product = TileProduct { rows: &upper, columns: made, ..of_shape(Shape::UpperRows) };
                kernel.add_tile_product(product, values);
            } else {
                let product = TileProduct { rows: values, columns: inverse_factor, ..factor };
                kernel.add_tile_product(product, made);
                values.fill(0.0);
                let product = TileProduct { rows: made, columns: &upper, ..of_shape(Shape::UpperColumns) };
                kernel.add_tile_product(product, values);
            }
            (line, panel)
        });
        made.collect()
    }

    /// Applies a step to the own tiles at these places that are wanted: Aᵢⱼ − Yᵢ Yⱼᵀ.
    ///
    /// # Panics
    /// When a tile's panel is not there.
    pub(super) fn apply<'a>(
        &mut self,
        step: u32,
        places: std::ops::Range<usize>,
        is_wanted: impl Fn(Tile) -> bool + Sync,
        panel: impl Fn(u32) -> &'a [f32] + Sync,
    ) {
        let Self { grid, kernel, tiles, values, .. } = self;
        let values = &mut values[places.start * TILE..places.end * TILE];
        let own = values.par_chunks_exact_mut(TILE).zip(&tiles[places]).with_max_len(1);
        own.filter(|(_, tile)| !tile.is_of(step) && is_wanted(**tile)).for_each(|(values, tile)| {
            let product = TileProduct {
                rows: panel(tile.row),
                columns: panel(tile.column),
                stride: PANEL,
                row_count: grid.extent(tile.row),
                column_count: grid.extent(tile.column),
                depth: grid.extent(step),
                shape: if tile.row == tile.column { Shape::LowerProduct } else { Shape::Full },
            };
            kernel.subtract_tile_product(product, values);
        });
    }
}

/// Numbers in the panels that hold so many rows.
pub(super) fn panels_len(rows: usize) -> usize {
    rows.div_ceil(crate::als::kernel::LANES) * PANEL
}
