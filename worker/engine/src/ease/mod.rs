//! EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data"): pure, slices in and values out.
//!
//! With X the users' likings (from 0 to 1: [`crate::preference`]), G = XᵀX + λI and P = G⁻¹, the weights are
//! B = I − P · diag(1 / diag P): of all matrices with a zero diagonal, the one with which X B is closest to X in the least
//! squares under the ridge λ. An item's score is the sum of its weights from the items that the user likes: lists of weights are
//! served as those of similarities are ([`crate::item_cf::ListIndex`], [`crate::item_cf::score_parts`]). Weights may be
//! negative: an item can speak against another.
//!
//! # How P is made
//!
//! G has as many rows as there are items, so it is cut into tiles of [`SIDE`] × [`SIDE`] numbers, and the tiles on and below
//! the diagonal are dealt out to the owners in turn ([`Grid`]). Let T be the number of tiles along a side and n that of
//! items. The tiles are swept (Beaton 1964; Goodnight 1979, "A Tutorial on the SWEEP Operator"): T steps, each of which
//! eliminates one tile row and column. Step k turns the matrix A, of which G is the first and −P the last, into
//!
//! | tile | becomes | who | operations (all steps) |
//! | --- | --- | --- | --- |
//! | (k, k) = L Lᵀ | −L⁻ᵀ L⁻¹, in f64 | its owner, who sends L⁻¹ | n · [`SIDE`]² |
//! | (i, k), i ≠ k | Yᵢ L⁻¹ with Yᵢ = Aᵢₖ L⁻ᵀ | its owner, who sends Yᵢ | 2 n² · [`SIDE`] |
//! | (i, j), i, j ≠ k | Aᵢⱼ − Yᵢ Yⱼᵀ | its owner | n³ |
//!
//! Operations are multiplications and additions, each counted as one: n³ is what a Cholesky factorisation and the inverse
//! from its factor take together, and no more than half of G is ever held. A tile (k, i) with i < k is the transpose of (i, k).
//!
//! **Same bits for any number of owners and threads.** A tile changes once in each step, by one operation whose inputs are
//! that tile and the tiles sent in that step. Who computes it, and when within the step, does not matter. Likings are whole
//! numbers ([`Levels`]) until they are summed. Only another instruction set rounds differently.
//!
//! **Order.** [`Elimination`] does the most urgent work first: the pivot, then its column (the *panel*), then those tiles of the
//! step that the next pivot and its panel are made of, and the bulk of the step last, in small portions. So the next panel
//! is on its way while the bulk is computed, and nobody waits but for the slowest.
//!
//! **What is sent.** In each step the pivot and a panel to everybody: 4 n² bytes in all to each owner.
//!
//! **Memory.** An owner holds its share of n² · 2 bytes (half of G in f32) and at most three panels of n · 4 · [`SIDE`] bytes.
//! [`Grid::bytes`] says it, [`items_that_fit`] turns it round. Summing takes ten bytes per liking of the
//! own users and n · 64 bytes per thread beside.
//!
//! **Rounding.** Tiles are in f32 and summed over [`SIDE`] products at a time; pivots are in f64. Every pivot is at least λ, so
//! what is lost is bounded by λ beside the sums of the most liked items; a pivot that has lost too many digits is refused
//! ([`LostDigits`]). Of 26,744 items and 16 million likings with λ = 500, the weights for the most liked item are within 5 · 10⁻⁷ of
//! those in f64 (conjugate gradients), of which the greatest is 0.093; those for less liked items are closer.

mod choose;
mod elimination;
mod encode;
mod fit;
mod grid;
mod likes;
mod pivot;
mod share;
mod weights;

pub use choose::most_liked;
pub use elimination::{BadMessage, Elimination, Message, Part, Turn};
pub use encode::{BadEntries, decode_entries, encode_entries};
pub use fit::{FitError, Fitted, UserRows, fit, invert, likes_of, sum};
pub use grid::{Grid, SIDE, Tile, TooLarge, items_that_fit};
pub use likes::{Levels, Likes, LikesBuilder};
pub use pivot::LostDigits;
pub use share::Share;
pub use weights::{Entries, Selection, Sizes, all_weights, merge};

/// How weights are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// λ, above 0: what is added to the diagonal, where an item's likes stand, each as the square of the liking.
    pub ridge: f64,
    /// Weights kept per item on average, the largest of all by size; of each item at least twenty, or so many if they are fewer.
    pub neighbours: usize,
    /// Items that take part at the most: the most liked.
    pub items_max: Option<usize>,
    /// Bytes that an owner's share may take.
    pub memory_max: u64,
}

#[cfg(test)]
mod tests;
