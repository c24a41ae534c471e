//! What bounds the scores of a shard's factors, so that few of them are computed.

use shoal_engine::score::Screen;
use shoal_proto::v1::Objective;

use super::factors::FactorPart;

/// What is worked out of a shard's factors when it is loaded.
#[derive(Debug)]
pub(super) struct FactorBounds {
    ranking_screen: Option<Screen>,
    rating_screen: Option<Screen>,
    ranking_norms: Vec<f64>,
    rating_norms: Vec<f64>,
}

impl FactorBounds {
    pub(super) fn new(part: &FactorPart) -> Self {
        Self {
            ranking_screen: part.screen(Objective::Ranking),
            rating_screen: part.screen(Objective::Rating),
            ranking_norms: part.norms(Objective::Ranking),
            rating_norms: part.norms(Objective::Rating),
        }
    }

    pub(super) fn screen(&self, objective: Objective) -> Option<&Screen> {
        match objective {
            Objective::Rating => self.rating_screen.as_ref(),
            Objective::Ranking | Objective::Unspecified => self.ranking_screen.as_ref(),
        }
    }

    pub(super) fn norms(&self, objective: Objective) -> &[f64] {
        match objective {
            Objective::Rating => &self.rating_norms,
            Objective::Ranking | Objective::Unspecified => &self.ranking_norms,
        }
    }
}
