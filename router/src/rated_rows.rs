//! What somebody has rated, as queries compute with it.

use shoal_proto::v1::LookupUserReply;

use crate::wire_numbers::{floats, numbers};

/// Rated items: global rows, ascending, and the ratings.
#[derive(Debug, Clone, Default)]
pub(crate) struct RatedRows {
    pub(crate) rows: Vec<u32>,
    /// NaN where there is no rating.
    pub(crate) ratings: Vec<f32>,
}

impl RatedRows {
    pub(crate) fn of_user(user: &LookupUserReply) -> Self {
        Self { rows: numbers(&user.seen_items, u32::from_le_bytes), ratings: floats(&user.ratings) }
    }

    /// The items that have a rating.
    pub(crate) fn with_ratings(&self) -> Self {
        let rated = self.rows.iter().zip(&self.ratings).filter(|(_, rating)| !rating.is_nan());
        let (rows, ratings) = rated.unzip();
        Self { rows, ratings }
    }
}
