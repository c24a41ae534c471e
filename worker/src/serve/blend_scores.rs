//! The scores and the likeness of a blend's items, from what each of its versions scores by.

use shoal_engine::hybrid::UNKNOWN;
use shoal_proto::v1::Objective;

use super::{
    blended::BlendPart,
    item_shard::ItemShard,
    neighbours::NeighbourLists,
    query::ItemQuery,
    query_error::QueryError,
    rated_items::RatedItems,
    table_scores::{ByRow, TableScores, Wanted},
};

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
        vector: &[f32],
        query: &ItemQuery,
        base: f32,
        wanted: Wanted<'_>,
    ) -> Result<TableScores, QueryError> {
        let blended = self.model.blended().ok_or(QueryError::NoBlend)?;
        let scores = |part: &BlendPart| match part {
            BlendPart::Factors(_) => self.factor_scores(vector, query, base),
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
    fn factor_scores(&self, vector: &[f32], query: &ItemQuery, base: f32) -> Result<Vec<f32>, QueryError> {
        let by_ranking = self.factors.factors(Objective::Ranking).is_some();
        let (by, is_known) = if by_ranking {
            (ByRow::Ranking(vector), !vector.is_empty())
        } else {
            (ByRow::Rating, !query.rating_vector.is_empty())
        };
        let mut scores = vec![UNKNOWN; self.rows()];
        if !is_known {
            return Ok(scores);
        }
        let (scoring, train_counts) = self.scoring(by, query, base)?;
        scoring.score(0, &mut scores);
        for (score, _) in scores.iter_mut().zip(train_counts).filter(|(_, count)| **count == 0) {
            *score = UNKNOWN;
        }
        Ok(scores)
    }

    /// Σ weight · likeness over the versions; the neighbours come weighted with the query.
    pub(super) fn likeness_table(
        &self,
        (vector, objective): (&[f32], Objective),
        query: &ItemQuery,
        base: f32,
    ) -> Result<TableScores, QueryError> {
        let blended = self.model.blended().ok_or(QueryError::NoBlend)?;
        let mut scores = vec![0.0; self.rows()];
        let mut weighted = blended.parts.iter().zip(blended.likeness_weights());
        let of_factors = weighted.find(|(part, _)| matches!(part, BlendPart::Factors(_)));
        if let Some((_, weight)) = of_factors.filter(|_| !vector.is_empty()) {
            let (scoring, train_counts) = self.scoring(ByRow::Cosine(vector, objective), query, base)?;
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
