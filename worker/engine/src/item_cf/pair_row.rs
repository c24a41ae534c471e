//! The sums over pairs with one item, as workers tell each other.

/// The sums of one item's pairs with every item that shares a user with it (not with itself): what workers
/// tell each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairRow {
    /// Global item rows, ascending.
    pub columns: Vec<u32>,
    /// [`super::Measure::width`] integers per column.
    pub sums: Vec<i64>,
}
