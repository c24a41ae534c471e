//! What an item shard of a blend answers from: the shard of one of its versions, what each version scores by, and what is
//! counted and expected of every item.
//!
//! Scores are those that the blend was measured by ([`Blend`]): each source's score becomes a level, and the weighted
//! levels are added. Likeness is the weighted sum of what the versions call alike: a version of factors their cosine, the
//! others their stored neighbours. Popularity makes no two items alike.

use std::{collections::BTreeMap, sync::Arc};

use shoal_core::topk::{TopK, better_first};
use shoal_engine::{
    hybrid::{Blend, OfferedItems, UNKNOWN, popularity},
    score::Admits as _,
};
use shoal_proto::v1::{Objective, ScoreKind};

use super::{
    factors::FactorPart,
    filter::RowFilter,
    item_model::FactorBounds,
    item_shard::ItemShard,
    neighbours::{NeighbourLists, RatedItems},
    query::{ItemQuery, QueryError},
    top_items::TableScores,
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
    #[expect(dead_code, reason = "it is held, so that the version itself shares it when it is loaded")]
    pub(super) base: Arc<ItemShard>,
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
    fn likeness_weights(&self) -> Vec<f64> {
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
    fn table(&self, mut sources: Vec<Vec<f32>>, first_row: u32, wanted: Wanted<'_>) -> TableScores {
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

/// By neighbours of what was rated.
fn listed_scores(lists: &NeighbourLists, rated: &RatedItems) -> Vec<f32> {
    let mut scores = lists.scores(rated);
    // A sum of 0 is taken for a sum over nothing. Where weights may be below 0, another sum is as good as never 0.
    scores.iter_mut().filter(|score| **score == 0.0).for_each(|score| *score = UNKNOWN);
    scores
}

impl ItemShard {
    /// The scores of a query that only a blend answers.
    pub(super) fn blended_table(
        &self,
        query: &ItemQuery,
        base: f32,
        wanted: Wanted<'_>,
    ) -> Result<TableScores, QueryError> {
        let blended = self.model.blended().ok_or(QueryError::NoBlend)?;
        if query.score == ScoreKind::BlendLikeness {
            return self.likeness_table(blended, query, base);
        }
        let scores = |part: &BlendPart| match part {
            BlendPart::Factors(_) => self.factor_scores(query, base),
            BlendPart::Lists(lists) => {
                lists.check(&query.rated)?;
                Ok(listed_scores(lists, &query.rated))
            }
        };
        let sources = blended.parts.iter().map(scores).collect::<Result<_, _>>()?;
        Ok(blended.table(sources, self.first_row, wanted))
    }

    /// As factors rank: by ranking factors where it has any, else by the predicted rating. Unknown for somebody of whom
    /// it knows nothing, and for items without training ratings.
    fn factor_scores(&self, query: &ItemQuery, base: f32) -> Result<Vec<f32>, QueryError> {
        let by_ranking = self.factors.factors(Objective::Ranking).is_some();
        let (kind, vector) = if by_ranking {
            (ScoreKind::Ranking, &query.vector)
        } else {
            (ScoreKind::Rating, &query.rating_vector)
        };
        let mut scores = vec![UNKNOWN; self.rows()];
        if vector.is_empty() {
            return Ok(scores);
        }
        let (scoring, train_counts) = self.scoring(kind, query, base)?;
        scoring.score(0, &mut scores);
        for (score, _) in scores.iter_mut().zip(train_counts).filter(|(_, count)| **count == 0) {
            *score = UNKNOWN;
        }
        Ok(scores)
    }

    /// Σ weight · likeness over the versions; the neighbours come weighted with the query.
    fn likeness_table(
        &self,
        blended: &Blended,
        query: &ItemQuery,
        base: f32,
    ) -> Result<TableScores, QueryError> {
        let mut scores = vec![0.0; self.rows()];
        let mut weighted = blended.parts.iter().zip(blended.likeness_weights());
        let of_factors = weighted.find(|(part, _)| matches!(part, BlendPart::Factors(_)));
        if let Some((_, weight)) = of_factors.filter(|_| !query.vector.is_empty()) {
            let (scoring, train_counts) = self.scoring(ScoreKind::Cosine, query, base)?;
            scoring.score(0, &mut scores);
            for (score, count) in scores.iter_mut().zip(train_counts) {
                *score = if *count > 0 { (weight * f64::from(score.max(0.0))) as f32 } else { 0.0 };
            }
        }
        for (row, likeness) in self.own_listed(query) {
            scores[row] += likeness;
        }
        let counts = scores.iter().map(|score| u32::from(*score > 0.0)).collect();
        Ok(TableScores { scores, counts, sources: Vec::new() })
    }
}
