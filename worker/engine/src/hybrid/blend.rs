//! The blend of several sources' scores for the items of a shard.

use shoal_core::topk::TopK;

use super::Calibration;

/// The score of an item of which a source knows nothing for a user: it is in no list of the source's.
pub const UNKNOWN: f32 = f32::NEG_INFINITY;

/// Calibrations and weights of some models, in their order, and then of popularity.
#[derive(Debug, Clone, PartialEq)]
pub struct Blend {
    sources: Vec<(Calibration, f64)>,
}

impl Blend {
    /// Of these calibrations and weights.
    #[must_use]
    pub fn new(sources: Vec<(Calibration, f64)>) -> Self {
        Self { sources }
    }

    /// The weight of each source.
    pub fn weights(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.sources.iter().map(|source| source.1)
    }

    /// The level of a source's score; [`UNKNOWN`] where it knows nothing.
    ///
    /// # Panics
    /// When there is no such source.
    #[must_use]
    pub fn level(&self, source: usize, score: f32) -> f32 {
        if score == UNKNOWN { UNKNOWN } else { self.sources[source].0.level(score) }
    }

    /// A score of a source below which none has this level; −∞ for a level that is not above 0.
    ///
    /// # Panics
    /// When there is no such source.
    #[must_use]
    pub fn score_below(&self, source: usize, level: f32) -> f32 {
        // Of levels, and of sums of them, the last bits may be off.
        let level = (f64::from(level) * BELOW) as f32;
        if level > 0.0 { self.sources[source].0.score_below(level) } else { UNKNOWN }
    }

    /// Replaces what `blended` holds by the [`rank`] of each item of a shard, from the scores of the models and the items'
    /// training counts.
    ///
    /// # Panics
    /// When a model with a weight has not a score for each item.
    pub fn scores(&self, models: &[impl AsRef<[f32]>], train_counts: &[u32], blended: &mut Vec<f32>) {
        blended.clear();
        blended.extend((0..train_counts.len()).map(|item| self.score(models, train_counts, item)));
    }

    fn score(&self, models: &[impl AsRef<[f32]>], train_counts: &[u32], item: usize) -> f32 {
        let score = |source: usize| {
            let of_model = models.get(source).map(|scores| scores.as_ref()[item]);
            of_model.unwrap_or_else(|| popularity(train_counts[item]))
        };
        rank(self.weights(), |source| self.level(source, score(source)))
    }

    /// Offers those of a shard's items that `admits` (by place in the shard) to a list, with the scores of
    /// [`Blend::scores`]. Few of them are computed: a weighted mean of levels reaches no more than the highest of
    /// them, so an item that no source lifts to what the list asks for is passed over. `models` are as there; scores of
    /// excluded items are overwritten.
    ///
    /// # Panics
    /// As [`Blend::scores`].
    pub fn offer(
        &self,
        models: &mut [impl AsRef<[f32]> + AsMut<[f32]>],
        items: OfferedItems<'_>,
        admits: impl Fn(usize) -> bool,
        top: &mut TopK<u32>,
    ) {
        let OfferedItems { first_row, train_counts, exclude, floor } = items;
        let rows = first_row..first_row + train_counts.len() as u32;
        let excluded = exclude.partition_point(|&row| row < rows.start)..;
        let excluded = &exclude[excluded.start..exclude.partition_point(|&row| row < rows.end)];
        // What a user knows scores high: once out of the way it is not looked at again and again.
        for scores in models.iter_mut() {
            excluded.iter().for_each(|&row| scores.as_mut()[(row - first_row) as usize] = UNKNOWN);
        }
        let models = &*models;
        let mut threshold = f32::NAN;
        let mut bars: Vec<(&[f32], f32)> = Vec::with_capacity(models.len());
        let mut popular_from = f32::NEG_INFINITY;
        for begin in (0..train_counts.len()).step_by(CHUNK) {
            let end = (begin + CHUNK).min(train_counts.len());
            // A list that is not full has another threshold than the last one only when it becomes full.
            let asked = top.threshold().max(floor);
            if threshold.to_bits() != asked.to_bits() {
                threshold = asked;
                popular_from = self.bars(models, threshold, &mut bars);
            }
            let mut lifted = [false; CHUNK];
            for (lifted, &count) in lifted.iter_mut().zip(&train_counts[begin..end]) {
                *lifted = count as f32 >= popular_from;
            }
            for (scores, bar) in &bars {
                for (lifted, score) in lifted.iter_mut().zip(&scores[begin..end]) {
                    *lifted |= score >= bar;
                }
            }
            if !lifted.contains(&true) {
                continue;
            }
            for item in (begin..end).filter(|item| lifted[item - begin]) {
                let row = first_row + item as u32;
                let score = self.score(models, train_counts, item);
                // A tie with the worst kept entry loses, because rows come in ascending order.
                let is_wanted = score > top.threshold() && score >= floor;
                if is_wanted && excluded.binary_search(&row).is_err() && admits(item) {
                    top.push(score, row);
                }
            }
        }
    }

    /// For each model with a weight its scores and what one of them must be, unless a popularity of what is returned
    /// is there, for an item to reach the threshold.
    fn bars<'a>(
        &self,
        models: &'a [impl AsRef<[f32]>],
        threshold: f32,
        bars: &mut Vec<(&'a [f32], f32)>,
    ) -> f32 {
        let weights: f64 = self.weights().sum();
        let level = (f64::from(threshold) / weights) as f32;
        let bar = |source: usize| self.score_below(source, level);
        bars.clear();
        if level.is_nan() || level <= 0.0 {
            // Also what no source with a weight knows may be listed.
            return f32::NEG_INFINITY;
        }
        let weighted = |source: usize| self.sources.get(source).is_some_and(|source| source.1 > 0.0);
        for (source, scores) in models.iter().enumerate().filter(|(source, _)| weighted(*source)) {
            bars.push((scores.as_ref(), bar(source)));
        }
        if weighted(models.len()) { bar(models.len()) } else { f32::INFINITY }
    }
}

/// The items of a shard as they are offered to a list.
#[derive(Debug, Clone, Copy)]
pub struct OfferedItems<'a> {
    /// Global row of the first.
    pub first_row: u32,
    /// Training ratings of each.
    pub train_counts: &'a [u32],
    /// Global rows that are not listed, ascending.
    pub exclude: &'a [u32],
    /// Items that score less are of no interest; −∞ when there are none.
    pub floor: f32,
}

/// Items that are compared at once with what a list asks for.
const CHUNK: usize = 64;

/// A little less than 1.
const BELOW: f64 = 1.0 - 1e-5;

/// What a blend ranks an item by, from the weight of every source and the item's level there ([`UNKNOWN`] where the source
/// knows nothing of it), popularity last: Σ weight · level over the sources with a weight. An item of which none of these
/// knows anything stands behind all others, by its level of popularity less 1; one that nobody has rated is [`UNKNOWN`].
pub fn rank(weights: impl ExactSizeIterator<Item = f64>, level: impl Fn(usize) -> f32) -> f32 {
    let (popularity, mut sum, mut is_known) = (weights.len() - 1, 0.0, false);
    for (source, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        let level = level(source);
        if level != UNKNOWN {
            sum += weight * f64::from(level);
            is_known = true;
        }
    }
    // Less 1 leaves UNKNOWN what it is.
    if is_known { sum as f32 } else { level(popularity) - 1.0 }
}

/// Popularity as a source of scores: how often the item was rated.
#[must_use]
pub fn popularity(train_count: u32) -> f32 {
    if train_count == 0 { UNKNOWN } else { train_count as f32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(weight: f64, knots: &[(f32, f32)]) -> (Calibration, f64) {
        (Calibration::from_knots(knots.to_vec()).unwrap(), weight)
    }

    proptest! {
        #[test]
        fn lists_are_those_of_all_scores(
            items in prop::collection::vec((0_u8..12, 0_u8..12, 0_u8..12, 0_u32..6), 0..300),
            weights in [0_u8..4, 0_u8..4, 0_u8..4, 0_u8..4],
            exclude in prop::collection::btree_set(0_u32..330, 0..80),
            first in 0_usize..300,
            length in 1_usize..25,
            unit in prop::sample::select(&[0.25_f32, 1.0 / 3.0][..]),
            left_out in prop::sample::select(&[2_u32, 3, 1_000][..]),
            floor_at in prop::option::of(0_usize..40),
        ) {
            let knots = |top: f32| vec![(0.5, 0.0), (1.0, 0.125), (1.5, 0.3), (2.0, 0.31), (2.5, 0.6), (3.0, top)];
            let calibration = |top| Calibration::from_knots(knots(top)).unwrap();
            let of_source = |source: usize| (calibration(0.7 + 0.05 * source as f32), f64::from(weights[source]) / 7.0);
            let blend = Blend::new((0..4).map(of_source).collect());
            // A score of 0 stands for what the source does not know.
            let score = |number: u8| if number == 0 { UNKNOWN } else { f32::from(number) * unit };
            let models: [Vec<f32>; 3] = [
                items.iter().map(|item| score(item.0)).collect(),
                items.iter().map(|item| score(item.1)).collect(),
                items.iter().map(|item| score(item.2)).collect(),
            ];
            let counts: Vec<u32> = items.iter().map(|item| item.3).collect();
            let exclude: Vec<u32> = exclude.into_iter().collect();
            let mut all = Vec::new();
            blend.scores(&models, &counts, &mut all);
            let admits = |row: u32| row % left_out != 1;
            // What others have found is some item's score, or just what the list asks for in the end.
            let mut best = TopK::new(all.len() + 1);
            (0_u32..).zip(&all).filter(|(_, score)| **score != UNKNOWN).for_each(|(row, &score)| best.push(score, row));
            let best = best.into_sorted();
            let floor = floor_at.and_then(|at| best.get(at)).map_or(UNKNOWN, |entry| entry.0);
            let (mut expected, mut found) = (TopK::new(length), TopK::new(length));
            for &(score, row) in &best {
                if score >= floor && !exclude.contains(&row) && admits(row) {
                    expected.push(score, row);
                }
            }
            // In two shards: the second finds a list that is full, or nearly so.
            let first = first.min(items.len());
            for rows in [0..first, first..items.len()] {
                let mut of_shard = models.clone().map(|scores| scores[rows.clone()].to_vec());
                let first_row = rows.start as u32;
                let items = OfferedItems { first_row, train_counts: &counts[rows], exclude: &exclude, floor };
                blend.offer(&mut of_shard, items, |at| admits(first_row + at as u32), &mut found);
            }
            prop_assert_eq!(found.into_sorted(), expected.into_sorted());
        }
    }

    #[test]
    fn levels_are_weighted_and_what_nobody_knows_is_unknown() {
        let knots = [(0.0, 0.0), (10.0, 0.5)];
        let blend = Blend::new(vec![source(0.75, &knots), source(0.25, &[(1.0, 0.0), (5.0, 0.8)])]);
        let mut blended = vec![9.0; 7];
        blend.scores(&[vec![10.0, UNKNOWN, UNKNOWN, 4.0, 0.0]], &[5, 5, 0, 0, 0], &mut blended);
        assert_eq!(blended, [0.75 * 0.5 + 0.25 * 0.8, 0.25 * 0.8, UNKNOWN, 0.75 * 0.2, 0.0]);
    }

    #[test]
    fn what_only_popularity_knows_comes_last_in_its_order() {
        let blend =
            Blend::new(vec![source(1.0, &[(0.0, 0.0), (10.0, 0.5)]), source(0.0, &[(1.0, 0.0), (5.0, 0.8)])]);
        let mut blended = Vec::new();
        blend.scores(&[vec![0.0, UNKNOWN, UNKNOWN, UNKNOWN]], &[9, 1, 5, 0], &mut blended);
        assert_eq!(blended, [0.0, -1.0, 0.8_f32 - 1.0, UNKNOWN]);
    }
}
