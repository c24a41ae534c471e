//! Weights: the largest entries of each column of B.
//!
//! A column of B is what speaks for and against one item. Its entries are those of P over one number, so the largest of them
//! are the largest of P: every owner selects from its own tiles, and the owner of the item merges what all have selected.

use rayon::prelude::*;
use shoal_core::topk::TopK;

use super::{
    grid::{SIDE, Tile},
    pivot::place,
    share::Share,
};

/// Entries of −P in one row (or column, for it is symmetric): number and model row of the other item, the largest by size first,
/// ties by row. The diagonal is not among them.
pub type Entries = Vec<(f32, u32)>;

/// The largest entries of one row of −P: of those of an owner's tiles, or of all.
#[derive(Debug)]
pub struct Largest(TopK<Other>);

/// An entry's model row and sign; they come in the order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Other {
    row: u32,
    is_negative: bool,
}

impl Largest {
    /// At most `most` of them.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(TopK::new(most))
    }

    /// Offers an entry; zeros say nothing and are passed over.
    pub fn offer(&mut self, value: f32, row: u32) {
        let size = value.abs();
        if size > 0.0 && size >= self.0.threshold() {
            self.0.push(size, Other { row, is_negative: value < 0.0 });
        }
    }

    /// The entries.
    #[must_use]
    pub fn into_entries(self) -> Entries {
        let signed = |(size, other): (f32, Other)| (if other.is_negative { -size } else { size }, other.row);
        self.0.into_sorted().into_iter().map(signed).collect()
    }
}

impl Share {
    /// For each item of a tile row, the largest entries of its row of −P that the own tiles have, at most `most`. Tile rows
    /// may be asked for side by side.
    ///
    /// # Panics
    /// When there is no such tile row.
    #[must_use]
    pub fn largest(&self, line: u32, most: usize) -> Vec<Entries> {
        let count = self.grid().extent(line);
        let mut largest: Vec<Largest> = (0..count).map(|_| Largest::new(most)).collect();
        for other in 0..self.grid().side() {
            let Some(values) = self.tile(Tile::between(line, other)) else { continue };
            let first = other * SIDE as u32;
            let others = self.grid().extent(other);
            for (at, largest) in largest.iter_mut().enumerate() {
                // The other item is on the other side of the tile; on the diagonal, on that where the tile is defined.
                for (row, beside) in (first..).zip(0..others) {
                    let is_row_of_tile = other < line || (other == line && beside < at);
                    let value =
                        if is_row_of_tile { values[place(at, beside)] } else { values[place(beside, at)] };
                    if other != line || beside != at {
                        largest.offer(value, row);
                    }
                }
            }
        }
        largest.into_iter().map(Largest::into_entries).collect()
    }

    /// The diagonal of P where the own tiles are on it: tile row and numbers.
    pub fn diagonals(&self) -> impl Iterator<Item = (u32, Vec<f32>)> {
        let own = self.tiles().iter().filter(|tile| tile.row == tile.column);
        own.filter_map(|tile| {
            let values = self.tile(*tile)?;
            let diagonal = (0..self.grid().extent(tile.row)).map(|at| -values[place(at, at)]);
            Some((tile.row, diagonal.collect()))
        })
    }
}

/// Of the entries that several owners have selected for one item, the largest, at most `most`.
#[must_use]
pub fn merge(selected: impl IntoIterator<Item = Entries>, most: usize) -> Entries {
    let mut largest = Largest::new(most);
    selected.into_iter().flatten().for_each(|(value, row)| largest.offer(value, row));
    largest.into_entries()
}

/// A column of B from entries of −P and the element of P on the diagonal.
#[must_use]
pub fn weights(mut entries: Entries, diagonal: f32) -> Entries {
    entries.iter_mut().for_each(|(value, _)| *value /= diagonal);
    entries
}

/// All columns of B of a matrix that has one owner, by model row.
#[must_use]
pub fn all_weights(share: &Share, most: usize) -> Vec<Entries> {
    let lines: Vec<(u32, Vec<f32>)> = share.diagonals().collect();
    let of_line = |(line, diagonal): (u32, Vec<f32>)| {
        let entries = share.largest(line, most);
        entries.into_iter().zip(diagonal).map(|(entries, p)| weights(entries, p)).collect::<Vec<Entries>>()
    };
    lines.into_par_iter().with_max_len(1).flat_map_iter(of_line).collect()
}
