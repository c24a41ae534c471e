//! The grid of tiles, who owns which, and what that takes.

use crate::als::kernel::LANES;

/// Numbers in a side of a tile.
///
/// A tile takes 256 KiB: the three tiles of an update fit the second cache, and an update is some 34 million operations for the
/// half a megabyte that it reads and writes.
pub const SIDE: usize = 256;

/// Numbers in a panel of a tile: so many lie between one panel's beginning and the next one's.
pub(super) const PANEL: usize = SIDE * LANES;

/// Numbers in a tile.
pub(super) const TILE: usize = SIDE * SIDE;

/// Bytes of a tile.
const TILE_BYTES: u64 = (TILE * size_of::<f32>()) as u64;

/// Panels of sent tiles that an owner holds at the same time: of the step that is applied, of the next one, and of the one
/// after it, with which another owner may be ahead.
pub(super) const PANELS_HELD: u64 = 3;

/// A tile on or below the diagonal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// Number of the tile's row, from 0.
    pub row: u32,
    /// Tile column, at most the row.
    pub column: u32,
}

impl Tile {
    /// The tile that holds (`one`, `other`) or its transpose.
    #[must_use]
    pub fn between(one: u32, other: u32) -> Self {
        Self { row: one.max(other), column: one.min(other) }
    }

    /// Whether it is in this row or column of tiles.
    #[must_use]
    pub fn is_of(self, line: u32) -> bool {
        self.row == line || self.column == line
    }
}

/// A symmetric matrix in tiles, and its owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    order: u32,
    owners: u32,
}

impl Grid {
    /// For a matrix of `order` rows and so many owners.
    ///
    /// # Panics
    /// When there is no owner.
    #[must_use]
    pub fn new(order: u32, owners: u32) -> Self {
        assert!(owners > 0);
        Self { order, owners }
    }

    /// Rows of the matrix.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.order
    }

    /// How many owners share the tiles.
    #[must_use]
    pub fn owners(&self) -> u32 {
        self.owners
    }

    /// Tiles along a side.
    #[must_use]
    pub fn side(&self) -> u32 {
        self.order.div_ceil(SIDE as u32)
    }

    /// Rows of the matrix in a tile row: [`SIDE`], fewer in the last one.
    #[must_use]
    pub fn extent(&self, line: u32) -> usize {
        (self.order as usize).saturating_sub(line as usize * SIDE).min(SIDE)
    }

    /// Who owns a tile. Along rows and columns alike the owners take turns, so each has the same part of every panel.
    #[must_use]
    pub fn owner(&self, tile: Tile) -> u32 {
        (tile.row + tile.column) % self.owners
    }

    /// An owner's tiles, row by row.
    #[must_use]
    pub fn tiles(&self, owner: u32) -> Vec<Tile> {
        let all = (0..self.side()).flat_map(|row| (0..=row).map(move |column| Tile { row, column }));
        all.filter(|tile| self.owner(*tile) == owner).collect()
    }

    /// Bytes of the largest share: an owner's tiles, and the panels that it is sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let side = u64::from(self.side());
        // In a row an owner has at most one tile more than its part.
        let tiles: u64 = (1..=side).map(|tiles| tiles.div_ceil(u64::from(self.owners))).sum();
        (tiles + PANELS_HELD * side) * TILE_BYTES
    }

    /// Checks that the largest share fits.
    ///
    /// # Errors
    /// [`TooLarge`], which says how many items do.
    pub fn check_memory(&self, memory_max: u64) -> Result<(), TooLarge> {
        if self.bytes() <= memory_max {
            return Ok(());
        }
        let items_fit = items_that_fit(memory_max, self.owners);
        Err(TooLarge { items: self.order, owners: self.owners, bytes: self.bytes(), memory_max, items_fit })
    }
}

/// How many items an inverse over so many owners may have when each may take `memory_max` bytes.
#[must_use]
pub fn items_that_fit(memory_max: u64, owners: u32) -> u32 {
    let most = u32::MAX / SIDE as u32;
    let fits = |side: u32| Grid::new(side * SIDE as u32, owners).bytes() <= memory_max;
    let (mut fitting, mut beyond) = (0, most + 1);
    while beyond - fitting > 1 {
        let side = fitting + (beyond - fitting) / 2;
        // The sum over rows would take long where the panels alone are too large.
        let panels = PANELS_HELD * u64::from(side) * TILE_BYTES;
        if panels <= memory_max && fits(side) { fitting = side } else { beyond = side }
    }
    fitting * SIDE as u32
}

/// The inverse does not fit the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the inverse over {items} items takes {} MiB on each of {owners} worker(s), of which each has {} MiB; it has room for {items_fit} \
     items: name at most so many with --items-max, or add workers",
    bytes.div_ceil(1 << 20),
    memory_max >> 20
)]
pub struct TooLarge {
    /// Items that were to be in the model.
    pub items: u32,
    /// How many owners share the tiles.
    pub owners: u32,
    /// Bytes that the largest share takes.
    pub bytes: u64,
    /// Bytes that a share may take.
    pub memory_max: u64,
    /// The most items whose shares each owner has room for.
    pub items_fit: u32,
}
