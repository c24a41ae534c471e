//! Collaborative filtering from item to item (Sarwar et al. 2001, "Item-based Collaborative Filtering
//! Recommendation Algorithms"): pure, slices in and values out.
//!
//! Two items are alike when the users who rated both rated them alike. Users are spread over workers, so a
//! pair's users are too: the owner of some users sums over *its* users for every pair with one item
//! ([`CoRaters`], [`PairAccumulator`]), the owner of that item adds the sums of all and keeps the most
//! similar items ([`Neighbours`]). Or, where there is room for the ratings of all users ([`CoRaters::gathered`]), the owner
//! of an item sums over all of them, which is cheaper: there are more pairs than ratings. One item is looked at at a time:
//! memory is one set of sums per item of
//! the catalogue and thread, never one per pair.
//!
//! **Same bits for any number of workers, threads and shards per worker.** Values are fixed-point
//! ([`Fixed`]) and sums are integers, so it does not matter who added what in which order. The measures
//! are scale-free, and the rounding of a value is below a millionth of the scale.
//!
//! **Very active users.** A user with n ratings takes part in n² pairs. Of a user with more than
//! [`Settings::user_ratings_max`] a seeded sample of that many takes part ([`sample()`]), in pairs and in
//! the items' totals alike; predictions use all of their ratings.

mod accumulate;
mod compressed;
mod encode;
mod fixed;
mod lists;
mod measure;
mod neighbours;
mod pair_row;
mod predict;
mod raters;
mod sample;

pub use accumulate::PairAccumulator;
pub use encode::{BadPairs, decode_rows, encode_row};
pub use fixed::Fixed;
pub use lists::{ListIndex, score_parts};
pub use measure::{ItemTotals, Measure, Totals};
pub use neighbours::{BadNeighbours, Neighbours};
pub use pair_row::PairRow;
pub use predict::{Centre, Rated, predict, prediction_parts};
pub use raters::{CoRaters, UserRows};
pub use sample::sample;

/// How similarities are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What makes two items alike.
    pub measure: Measure,
    /// Pairs with fewer common users are passed over; at least 1.
    pub common_users_min: u32,
    /// s of n / (n + s), by which a similarity that rests on n common users is multiplied; 0 for none.
    pub shrinkage: f64,
    /// Neighbours kept per item.
    pub neighbours_max: usize,
    /// Ratings of one user that take part in pairs.
    pub user_ratings_max: usize,
    /// Of the samples of very active users.
    pub seed: u64,
}
