//! What somebody has rated, as a query brings it.

use shoal_engine::item_cf::Rated;

/// What somebody has rated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RatedItems {
    /// Global item rows, ascending.
    pub rows: Vec<u32>,
    /// One per row; NaN for an item that was named without a rating.
    pub ratings: Vec<f32>,
}

impl RatedItems {
    pub(super) fn as_slices(&self) -> Rated<'_> {
        Rated { items: &self.rows, ratings: &self.ratings }
    }
}
