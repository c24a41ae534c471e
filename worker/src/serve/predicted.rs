//! Lists by predicted rating of versions that predict ratings without factors: item CF from the neighbours that were
//! rated, content from the profile.
//!
//! Whatever is predicted is listed, in the order of what is predicted, and nothing else is: an item CF version has nothing for
//! an item without a rated neighbour, and a content version nothing for one without features. What could be said of such
//! an item is what is expected of anybody, and a list of that would be a list of what others rate well.

use shoal_proto::v1::Objective;

use super::{
    item_shard::ItemShard,
    profiles::{FeatureVectors, Profile},
    query::ItemQuery,
    query_error::QueryError,
    table_scores::TableScores,
};

/// What is predicted from a profile, of an item with this bias.
pub(super) fn by_profile(
    vectors: &FeatureVectors,
    profile: &Profile,
    row: usize,
    expected: f64,
    bias: f32,
) -> Option<f32> {
    Some((expected + f64::from(bias) + vectors.exceeding(row, profile)?) as f32)
}

impl ItemShard {
    /// Whether ratings are predicted, and not from factors.
    pub(super) fn predicts_by_items(&self) -> bool {
        let has_factors = self.factors.factors(Objective::Rating).is_some();
        !has_factors && (self.model.vectors().is_some() || self.lists().is_some())
    }

    /// The predicted ratings of a query whose user's are `expected` above an item's bias.
    pub(super) fn predicted_table(
        &self,
        query: &ItemQuery,
        expected: f64,
    ) -> Result<TableScores, QueryError> {
        let predicted: Vec<Option<f32>> = match self.model.vectors() {
            Some(vectors) => {
                let profile = vectors.profile(&query.profile)?;
                let biases = self.biases().unwrap_or_default().iter().enumerate();
                biases.map(|(row, bias)| by_profile(vectors, &profile, row, expected, *bias)).collect()
            }
            None => {
                let lists = self.lists().ok_or(QueryError::NoNeighbours)?;
                lists.check(&query.rated)?;
                lists.predictions(&query.rated, expected)
            }
        };
        let counts = predicted.iter().map(|rating| u32::from(rating.is_some())).collect();
        let scores = predicted.into_iter().map(Option::unwrap_or_default).collect();
        Ok(TableScores { scores, counts, ..TableScores::default() })
    }
}
