//! From scores to levels.

/// Upper bits of a score by which it is counted: the sign, the exponent and nine bits of the mantissa, so
/// that a bin is narrower than 0.2 % of its scores.
const BIN_BITS: u32 = 18;

/// Bins that lie together. The scores of a source fall into few of all bins: those that differ little.
const BLOCK_BINS: usize = 512;

const BLOCKS: usize = (1 << BIN_BITS) / BLOCK_BINS;

/// Levels between two knots of a calibration, at least.
const KNOT_SPACING: f64 = 0.125;

/// How many scores of a source fall in which narrow bin. Those of several workers add up in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreHistogram {
    /// Scores per bin, bins ascending by score. A block of bins is there from its first score on.
    blocks: Vec<Option<Box<[u64; BLOCK_BINS]>>>,
}

impl Default for ScoreHistogram {
    fn default() -> Self {
        Self { blocks: vec![None; BLOCKS] }
    }
}

impl ScoreHistogram {
    /// From pairs of bin and count, as [`ScoreHistogram::bins`] gives them; bins that there are not are
    /// passed over.
    #[must_use]
    pub fn from_bins(bins: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let mut histogram = Self::default();
        for (bin, count) in bins {
            if bin < 1 << BIN_BITS && count > 0 {
                *histogram.count_mut(bin) += count;
            }
        }
        histogram
    }

    /// Bins that have scores, with their counts, ascending by score.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> + '_ {
        let filled = (0..BLOCKS).zip(&self.blocks).filter_map(|(at, block)| Some((at, block.as_ref()?)));
        let bins = filled.flat_map(|(at, block)| {
            // There are fewer bins than a u32 counts.
            let first = (at * BLOCK_BINS) as u32;
            (first..first + BLOCK_BINS as u32).zip(&**block)
        });
        bins.map(|(bin, &count)| (bin, count)).filter(|(_, count)| *count > 0)
    }

    /// Counts one more score.
    pub fn add(&mut self, score: f32) {
        *self.count_mut(bin(score)) += 1;
    }

    /// Adds the counts of other scores.
    pub fn merge(&mut self, other: &Self) {
        for (sums, counts) in self.blocks.iter_mut().zip(&other.blocks) {
            match (sums, counts) {
                (_, None) => {}
                (sums @ None, Some(counts)) => *sums = Some(counts.clone()),
                (Some(sums), Some(counts)) => {
                    sums.iter_mut().zip(&**counts).for_each(|(sum, count)| *sum += count);
                }
            }
        }
    }

    fn count_mut(&mut self, bin: u32) -> &mut u64 {
        let bin = bin as usize;
        let block = self.blocks[bin / BLOCK_BINS].get_or_insert_with(|| Box::new([0; BLOCK_BINS]));
        &mut block[bin % BLOCK_BINS]
    }
}

/// Bins order as scores do.
fn bin(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    // Negative numbers order backwards by their bits, and below positive ones.
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    ordered >> (u32::BITS - BIN_BITS)
}

/// The least score of a bin.
fn lower_edge(bin: u32) -> f32 {
    let ordered = bin << (u32::BITS - BIN_BITS);
    let bits = if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered };
    f32::from_bits(bits)
}

/// Turns the scores of one source into levels. The level of a score is log₂(all / scores as high), 0 for the
/// lowest, divided by what the highest counted score reaches and one more: from 0 up to 1. Between knots it
/// is linear in the score, so that it never changes the order of scores within the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Scores, ascending, with their levels, ascending from 0.
    knots: Vec<(f32, f32)>,
}

/// Knots that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the knots of a calibration do not ascend from level 0 to below 1")]
pub struct BadCalibration;

impl Calibration {
    /// From the scores of a source for many users and items. Without any, every score has level 0.
    #[must_use]
    pub fn new(histogram: &ScoreHistogram) -> Self {
        let total: u64 = histogram.bins().map(|(_, count)| count).sum();
        let mut above = 0;
        let mut points: Vec<(f32, f64)> = Vec::new();
        for (bin, count) in histogram.bins().rev() {
            above += count;
            let level = (total as f64 / above as f64).log2();
            let last = points.last().map_or(f64::INFINITY, |point| point.1);
            // The lowest score is a knot whatever its distance, since levels begin there.
            if last - level >= KNOT_SPACING || (above == total && last > level) {
                points.push((lower_edge(bin), level));
            }
        }
        points.reverse();
        let whole = points.last().map_or(1.0, |point| point.1 + 1.0);
        Self { knots: points.into_iter().map(|(score, level)| (score, (level / whole) as f32)).collect() }
    }

    /// From knots as [`Calibration::knots`] gives them.
    ///
    /// # Errors
    /// When scores or levels do not ascend, or levels do not go from 0 to below 1.
    pub fn from_knots(knots: Vec<(f32, f32)>) -> Result<Self, BadCalibration> {
        let ascend = knots.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1);
        let ends =
            knots.first().is_none_or(|first| first.1 == 0.0) && knots.last().is_none_or(|last| last.1 < 1.0);
        let finite = knots.iter().all(|knot| knot.0.is_finite() && knot.1.is_finite());
        if ascend && ends && finite { Ok(Self { knots }) } else { Err(BadCalibration) }
    }

    /// Scores, ascending, with their levels.
    #[must_use]
    pub fn knots(&self) -> &[(f32, f32)] {
        &self.knots
    }

    /// A score below which no score reaches a level; a little lower than need be.
    #[must_use]
    pub fn score_below(&self, level: f32) -> f32 {
        let at = self.knots.partition_point(|knot| knot.1 < level);
        at.checked_sub(1).map_or(f32::NEG_INFINITY, |below| self.knots[below].0)
    }

    /// The level of a score, 0 to 1.
    #[must_use]
    pub fn level(&self, score: f32) -> f32 {
        let at = self.knots.partition_point(|knot| knot.0 <= score);
        let (Some(below), Some(first)) = (at.checked_sub(1), self.knots.first()) else { return 0.0 };
        let (low, level) = self.knots[below];
        match self.knots.get(at) {
            Some(&(high, next)) => level + (score - low) / (high - low) * (next - level),
            None => {
                // Above the highest counted score: towards 1, ever slower.
                let span = if below > 0 { low - first.0 } else { low.abs().max(f32::MIN_POSITIVE) };
                let excess = (score - low) / span;
                level + (1.0 - level) * (excess / (1.0 + excess)).min(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(scores: &[f32]) -> ScoreHistogram {
        let mut histogram = ScoreHistogram::default();
        scores.iter().for_each(|&score| histogram.add(score));
        histogram
    }

    proptest! {
        #[test]
        fn bins_hold_their_scores_in_order(a in -1e6_f32..1e6, b in -1e6_f32..1e6) {
            prop_assert_eq!(a < b, a < b && bin(a) <= bin(b));
            let edge = lower_edge(bin(a));
            prop_assert!(edge <= a && (a - edge) <= 0.004 * a.abs() + f32::MIN_POSITIVE);
            prop_assert_eq!(bin(edge), bin(a));
        }

        #[test]
        fn levels_follow_the_share_of_scores_above(
            scores in prop::collection::vec(-2.0_f32..5.0, 1..300),
            cut in 0_usize..300,
        ) {
            let (left, right) = scores.split_at(cut.min(scores.len()));
            let mut merged = histogram(right);
            merged.merge(&histogram(left));
            prop_assert_eq!(&merged, &histogram(&scores));
            prop_assert_eq!(&ScoreHistogram::from_bins(merged.bins()), &merged);
            let calibration = Calibration::new(&merged);
            prop_assert_eq!(Calibration::from_knots(calibration.knots().to_vec()), Ok(calibration.clone()));
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            let levels: Vec<f32> = sorted.iter().map(|&score| calibration.level(score)).collect();
            prop_assert!(levels.iter().all(|level| (0.0..1.0).contains(level)));
            prop_assert!(levels.is_sorted());
            // At a knot the level is what its definition says, counted over whole bins.
            let whole = {
                let top = sorted.iter().filter(|&&score| bin(score) == bin(sorted[sorted.len() - 1])).count();
                (scores.len() as f64 / top as f64).log2() + 1.0
            };
            for &(score, level) in calibration.knots() {
                let above = scores.iter().filter(|&&other| bin(other) >= bin(score)).count();
                let exact = (scores.len() as f64 / above as f64).log2() / whole;
                prop_assert!((f64::from(level) - exact).abs() < 1e-5, "{level} for {exact}");
            }
        }
    }

    #[test]
    fn scores_never_seen_keep_their_order() {
        let calibration = Calibration::new(&histogram(&[1.0, 2.0, 3.0, 4.0]));
        assert_eq!(calibration.level(0.5), 0.0);
        let levels = [1.5, 3.5, 4.5, 9.0, 1e30].map(|score| calibration.level(score));
        assert!(levels.is_sorted_by(|a, b| a < b) && levels[4] <= 1.0, "{levels:?}");
        assert_eq!(Calibration::new(&ScoreHistogram::default()).level(7.0), 0.0);
        let single = Calibration::new(&histogram(&[0.0; 5]));
        assert!(single.level(0.0) == 0.0 && single.level(1.0) <= 1.0);
    }

    #[test]
    fn knots_that_cannot_be_are_refused() {
        for knots in [
            vec![(1.0, 0.5), (2.0, 0.9)],
            vec![(1.0, 0.0), (1.0, 0.5)],
            vec![(1.0, 0.0), (2.0, 1.0)],
            vec![(1.0, 0.0), (f32::INFINITY, 0.5)],
        ] {
            assert_eq!(Calibration::from_knots(knots), Err(BadCalibration));
        }
    }
}
