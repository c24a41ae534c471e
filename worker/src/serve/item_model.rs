//! What the items of a shard are scored and compared by: a variant for each kind of model.

use std::sync::Arc;

use shoal_engine::score::FactorRows;
use shoal_proto::v1::Objective;

use super::{
    blended::Blended, factor_bounds::FactorBounds, factors::FactorPart, neighbours::NeighbourLists,
    profiles::FeatureVectors, query_error::QueryError,
};

/// The means of one shard's items, beside their ids, counts and biases.
#[derive(Debug, Clone)]
pub(super) enum ItemModel {
    /// ALS: the factors, with what bounds their scores.
    Factors(Arc<FactorBounds>),
    /// Item CF, items that the same users rated; and EASE, items that speak for each other or against.
    Neighbours(Arc<NeighbourLists>),
    /// Content: items that are alike.
    Features(Features),
    /// Hybrid: the means of the versions that are blended.
    Blend(Blended),
}

/// What a content version knows of items.
#[derive(Debug, Clone)]
pub(super) struct Features {
    pub(super) lists: Arc<NeighbourLists>,
    /// What the neighbours were chosen by; a version may have been written without.
    pub(super) vectors: Option<Arc<FeatureVectors>>,
}

impl ItemModel {
    /// The factors' bounds, where items have factors.
    fn bounds(&self) -> Option<&FactorBounds> {
        match self {
            Self::Factors(bounds) => Some(bounds),
            Self::Blend(blended) => blended.bounds(),
            Self::Neighbours(_) | Self::Features(_) => None,
        }
    }

    /// The neighbours that a query by neighbours adds up, and that ratings may be predicted from.
    pub(super) fn lists(&self) -> Option<&NeighbourLists> {
        match self {
            Self::Factors(_) => None,
            Self::Neighbours(lists) => Some(lists),
            Self::Features(features) => Some(&features.lists),
            Self::Blend(blended) => {
                blended.lists().find(|lists| lists.predicts()).or_else(|| blended.lists().next())
            }
        }
    }

    /// The vectors that profiles are made of.
    pub(super) fn vectors(&self) -> Option<&FeatureVectors> {
        match self {
            Self::Features(features) => features.vectors.as_deref(),
            Self::Factors(_) | Self::Neighbours(_) | Self::Blend(_) => None,
        }
    }

    /// The means of a blend.
    pub(super) fn blended(&self) -> Option<&Blended> {
        match self {
            Self::Blend(blended) => Some(blended),
            Self::Factors(_) | Self::Neighbours(_) | Self::Features(_) => None,
        }
    }

    /// Global rows and similarities of an item's neighbours, best first, of a blend what its versions' add to
    /// likeness. ALS keeps no neighbours.
    pub(super) fn neighbours(&self, row: usize) -> Vec<(u32, f32)> {
        // What speaks against an item is not like it.
        let of = |lists: &NeighbourLists| {
            let (rows, similarities) = lists.of(row);
            let all = rows.iter().copied().zip(similarities.iter().copied());
            all.filter(|(_, similarity)| *similarity > 0.0).collect()
        };
        match self {
            Self::Factors(_) => Vec::new(),
            Self::Neighbours(lists) => of(lists),
            Self::Features(features) => of(&features.lists),
            Self::Blend(blended) => blended.neighbours(row),
        }
    }

    /// The factors of an objective, with what bounds their scores, for a query's vector in this field of the request.
    pub(super) fn factors<'a>(
        &'a self,
        part: &'a FactorPart,
        objective: Objective,
        field: &'static str,
        vector: &[f32],
    ) -> Result<FactorRows<'a>, QueryError> {
        let factors = part.factors(objective).ok_or(QueryError::NotTrained { objective })?;
        if vector.len() != factors.rank() {
            return Err(QueryError::Length { field, found: vector.len(), rank: factors.rank() });
        }
        let screen = self.bounds().and_then(|bounds| bounds.screen(objective));
        Ok(screen.map_or(factors, |screen| factors.screened(screen)))
    }

    /// The norm of each row of an objective's factors; empty where there are no factors.
    pub(super) fn norms(&self, objective: Objective) -> &[f64] {
        self.bounds().map_or(&[], |bounds| bounds.norms(objective))
    }
}
