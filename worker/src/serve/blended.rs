//! What an item shard of a blend answers from: the shard of one of its versions, what each version scores by, and what is
//! counted and expected of every item.
//!
//! Scores are those that the blend was measured by ([`Blend`]): each source's score becomes a level, and the weighted
//! levels are added. Likeness is the weighted sum of what the versions call alike: a version of factors their cosine, the
//! others their stored neighbours. Popularity makes no two items alike.

use std::{collections::BTreeMap, sync::Arc};

use shoal_core::topk::{TopK, better_first};
use shoal_engine::{
    hybrid::{Blend, OfferedItems, popularity},
    score::Admits as _,
};

use super::{
    factor_bounds::FactorBounds,
    factors::FactorPart,
    neighbours::NeighbourLists,
    table_scores::{TableScores, Wanted},
};

/// The last source of every blend, which is no model.
pub(super) const POPULARITY: &str = "popularity";

/// What one version of a blend scores a shard's items by.
#[derive(Debug, Clone)]
pub(super) enum BlendPart {
    /// By the shard's factors, which these bound.
    Factors(Arc<FactorBounds>),
    /// By the neighbours of what was rated.
    Lists(Arc<NeighbourLists>),
}

/// Beside what an item shard of any version has, what makes it one of a blend.
#[derive(Debug, Clone)]
pub(super) struct Blended {
    pub(super) blend: Arc<Blend>,
    /// Of each version, in the order of the sources; popularity is the source after them.
    pub(super) parts: Vec<BlendPart>,
    /// Biases, and the training ratings by which items are popular.
    pub(super) baselines: Arc<FactorPart>,
}

impl Blended {
    /// What bounds the scores of factors, where factors are blended.
    pub(super) fn bounds(&self) -> Option<&FactorBounds> {
        self.parts.iter().find_map(|part| match part {
            BlendPart::Factors(bounds) => Some(&**bounds),
            BlendPart::Lists(_) => None,
        })
    }

    /// The neighbours of the versions that have some, in the order of the sources.
    pub(super) fn lists(&self) -> impl Iterator<Item = &NeighbourLists> {
        self.parts.iter().filter_map(|part| match part {
            BlendPart::Lists(lists) => Some(&**lists),
            BlendPart::Factors(_) => None,
        })
    }

    /// What each version's likeness of two items counts for, 1 together.
    pub(super) fn likeness_weights(&self) -> Vec<f64> {
        let weights: Vec<f64> = self.blend.weights().take(self.parts.len()).collect();
        let sum: f64 = weights.iter().sum();
        let alike = 1.0 / weights.len() as f64;
        weights.into_iter().map(|weight| if sum > 0.0 { weight / sum } else { alike }).collect()
    }

    /// Global rows of an item's neighbours in any version, with what they add to likeness, most first.
    pub(super) fn neighbours(&self, row: usize) -> Vec<(u32, f32)> {
        let mut likeness: BTreeMap<u32, f64> = BTreeMap::new();
        for (part, weight) in self.parts.iter().zip(self.likeness_weights()) {
            let BlendPart::Lists(lists) = part else { continue };
            let (rows, similarities) = lists.of(row);
            // What speaks against an item is not like it.
            for (&neighbour, &similarity) in rows.iter().zip(similarities).filter(|(_, like)| **like > 0.0) {
                *likeness.entry(neighbour).or_default() += weight * f64::from(similarity);
            }
        }
        let mut neighbours: Vec<(u32, f32)> =
            likeness.into_iter().map(|(row, likeness)| (row, likeness as f32)).collect();
        neighbours.retain(|neighbour| neighbour.1 > 0.0);
        neighbours.sort_by(|a, b| better_first((a.1, &a.0), (b.1, &b.0)));
        neighbours
    }

    /// The best of the blend of the sources' scores, and those scores: of other items the table says that they are not
    /// listed.
    pub(super) fn table(
        &self,
        mut sources: Vec<Vec<f32>>,
        first_row: u32,
        wanted: Wanted<'_>,
    ) -> TableScores {
        let train_counts = self.baselines.train_counts();
        let Wanted { exclude, filter, n, floor } = wanted;
        let mut top = TopK::new(n.min(train_counts.len()));
        let items = OfferedItems { first_row, train_counts, exclude, floor };
        let admits = |row| filter.is_none_or(|filter| filter.admits(row));
        self.blend.offer(&mut sources, items, admits, &mut top);
        let (mut scores, mut counts) = (vec![0.0; train_counts.len()], vec![0; train_counts.len()]);
        for (score, row) in top.into_sorted() {
            let row = (row - first_row) as usize;
            (scores[row], counts[row]) = (score, 1);
        }
        sources.push(train_counts.iter().map(|count| popularity(*count)).collect());
        TableScores { scores, counts, sources }
    }

    /// How far up each source's scores a row stands.
    pub(super) fn levels(&self, sources: &[Vec<f32>], row: usize) -> Vec<f32> {
        // Of a source that knows nothing of the item there is nothing to add.
        let level = |(at, scores): (usize, &Vec<f32>)| self.blend.level(at, scores[row]).max(0.0);
        sources.iter().enumerate().map(level).collect()
    }
}
