//! How rows of a shard are scored: all at once, or one at a time; and what is wanted of them.

use shoal_proto::v1::Objective;

use super::filter::RowFilter;

/// Scores that are worked out for all rows before the best are chosen: one entry for each row, and whether it can be
/// listed at all, which is when its count is above 0.
#[derive(Debug, Default)]
pub(super) struct TableScores {
    pub(super) scores: Vec<f32>,
    pub(super) counts: Vec<u32>,
    /// Of a blend the score by each source, of every row.
    pub(super) sources: Vec<Vec<f32>>,
}

/// A score that is worked out for one row at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum ByRow<'a> {
    /// The inner product of the ranking factors with a vector.
    Ranking(&'a [f32]),
    /// The predicted rating, from the query's rating factors.
    Rating,
    /// The cosine of these factors with a vector.
    Cosine(&'a [f32], Objective),
    /// The damped mean rating.
    Popularity,
}

/// What is wanted of a shard's items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Global rows left out, ascending.
    pub(super) exclude: &'a [u32],
    /// Rows that do not pass are left out.
    pub(super) filter: Option<&'a RowFilter<'a>>,
    /// How many rows at most.
    pub(super) n: usize,
    /// Rows that score less are of no interest.
    pub(super) floor: f32,
}
