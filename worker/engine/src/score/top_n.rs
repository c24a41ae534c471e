//! The best `n` items of one shard. Pure: slices in, rows and scores out.
//!
//! Rows are scored a block at a time and selected while the block is still in the cache; a score
//! below the selection's threshold costs one comparison. Where the factors have a [`Screen`], rows come by
//! descending norm, most are passed over and the pass ends early; the list is the same. Rows of a shard are in
//! ascending id order, so the row number breaks ties as the item id would.
//!
//! Scores are finite: factors are checked when a shard is loaded and queries when they arrive, an
//! overflow to infinity counts as the largest finite number, and a row whose sum cannot be told
//! (infinity minus infinity) is not listed.

use std::sync::atomic::{AtomicBool, Ordering};

use shoal_core::topk::TopK;

use super::{
    dot::{dot, dot_rows},
    screen::{CHUNK_ROWS, Probe, Scale, Screen, candidates},
};

/// Rows scored before the best of them are selected: their scores fit in a kilobyte, and a
/// cancelled query stops within microseconds.
const BLOCK_ROWS: usize = 256;

/// Says which rows of a shard may be listed.
pub trait Admits: std::fmt::Debug + Sync {
    /// Whether the row may be listed.
    fn admits(&self, row: usize) -> bool;
}

/// Rows of factors, row-major.
#[derive(Debug, Clone, Copy)]
pub struct FactorRows<'a> {
    values: &'a [f32],
    rank: usize,
    screen: Option<&'a Screen>,
}

impl<'a> FactorRows<'a> {
    /// `values` holds whole rows of `rank` elements each.
    #[must_use]
    pub fn new(values: &'a [f32], rank: usize) -> Self {
        debug_assert!(rank > 0 && values.len().is_multiple_of(rank));
        Self { values, rank, screen: None }
    }

    /// With what bounds the scores of these very rows, which speeds up [`top_n`] and changes nothing else.
    #[must_use]
    pub fn screened(self, screen: &'a Screen) -> Self {
        Self { screen: Some(screen), ..self }
    }

    /// Elements of a row.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.rank
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The elements of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.rank..(row + 1) * self.rank]
    }

    /// The elements of all rows, row-major.
    #[must_use]
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    fn rows(&self, first: usize, count: usize) -> &'a [f32] {
        &self.values[first * self.rank..(first + count) * self.rank]
    }
}

/// How the rows of a shard are scored. Slices have one entry per row.
#[derive(Debug, Clone, Copy)]
pub enum Scoring<'a> {
    /// The inner product with `query`.
    Product {
        /// The items' factors.
        factors: FactorRows<'a>,
        /// The user's vector, of the factors' rank.
        query: &'a [f32],
    },
    /// The predicted rating, see [`predicted_rating`].
    Rating {
        /// The items' rating factors.
        factors: FactorRows<'a>,
        /// The items' biases.
        biases: &'a [f32],
        /// The user's vector.
        query: &'a [f32],
        /// What every prediction begins with; see [`rating_base`].
        base: f32,
    },
    /// The cosine of the angle to `query`; 0 where either vector is zero.
    Cosine {
        /// The items' factors.
        factors: FactorRows<'a>,
        /// The [`super::norm`] of each item's factors.
        norms: &'a [f64],
        /// The vector compared with.
        query: &'a [f32],
        /// The [`super::norm`] of `query`.
        query_norm: f64,
    },
    /// Scores that are known beforehand, one for each row.
    Table(&'a [f32]),
}

/// What [`top_n`] selects from, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// How rows are scored.
    pub scoring: Scoring<'a>,
    /// Ratings behind each row's score: a row with none is never listed.
    pub counts: &'a [u32],
    /// The global number of the shard's first row.
    pub first_row: u32,
    /// Global rows left out, ascending.
    pub exclude: &'a [u32],
    /// Rows that do not pass are left out.
    pub filter: Option<&'a dyn Admits>,
    /// How many rows at most.
    pub n: usize,
    /// Rows that score less are of no interest: what others have found already. −∞ when there are none.
    pub floor: f32,
}

/// The global mean and the user's bias, the part of every predicted rating of one query that is
/// the same for all items.
#[must_use]
pub fn rating_base(rating_mean: f64, user_bias: f32) -> f32 {
    (rating_mean + f64::from(user_bias)) as f32
}

/// `(base + item_bias) + product`, added in this order.
#[must_use]
pub fn predicted_rating(base: f32, item_bias: f32, product: f32) -> f32 {
    (base + item_bias) + product
}

/// The predicted rating of one row, as [`Scoring::Rating`] scores it; `None` when it cannot be told.
#[must_use]
pub fn predict_row(
    factors: FactorRows<'_>,
    biases: &[f32],
    row: usize,
    query: &[f32],
    base: f32,
) -> Option<f32> {
    finite(predicted_rating(base, biases[row], dot(factors.row(row), query)))
}

/// The best rows of a shard and their scores for each selection: score descending, then row ascending.
/// Selections of the same rows share each block while it is in the cache. `None` when `cancelled` was set
/// before the end.
#[must_use]
pub fn top_n(selections: &[Selection<'_>], cancelled: &AtomicBool) -> Option<Vec<Vec<(f32, u32)>>> {
    let mut scans: Vec<Scan<'_>> = selections.iter().map(Scan::new).collect();
    let (mut whole, mut screened) = (Vec::new(), Vec::new());
    for scan in &mut scans {
        match scan.probe() {
            Some((screen, probe)) => screened.push(ScreenedScan { scan, screen, probe }),
            None => whole.push(scan),
        }
    }
    let finished = scan_whole(&mut whole, cancelled) && scan_screened(screened, cancelled);
    finished.then(|| scans.into_iter().map(|scan| scan.best.into_sorted()).collect())
}

/// All rows in their order; `false` when cancelled.
fn scan_whole(scans: &mut [&mut Scan<'_>], cancelled: &AtomicBool) -> bool {
    let rows = scans.iter().map(|scan| scan.selection.counts.len()).max().unwrap_or_default();
    let mut scores = [0.0_f32; BLOCK_ROWS];
    for first in (0..rows).step_by(BLOCK_ROWS) {
        if cancelled.load(Ordering::Relaxed) {
            return false;
        }
        for scan in scans.iter_mut() {
            let left = scan.selection.counts.len().saturating_sub(first);
            scan.block(first, &mut scores[..BLOCK_ROWS.min(left)]);
        }
    }
    true
}

/// A selection whose rows come by descending norm.
struct ScreenedScan<'a, 'b> {
    scan: &'b mut Scan<'a>,
    screen: &'a Screen,
    probe: Probe,
}

/// The passes by descending norm; `false` when cancelled.
fn scan_screened(mut scans: Vec<ScreenedScan<'_, '_>>, cancelled: &AtomicBool) -> bool {
    while let Some(first) = scans.first() {
        let screen = first.screen;
        // Selections of the same rows share a pass.
        let (together, rest): (Vec<_>, Vec<_>) =
            scans.into_iter().partition(|scan| std::ptr::eq(scan.screen, screen));
        scans = rest;
        if !scan_together(screen, together, cancelled) {
            return false;
        }
    }
    true
}

/// Chunks of rows by descending norm, until no selection needs more.
fn scan_together(screen: &Screen, together: Vec<ScreenedScan<'_, '_>>, cancelled: &AtomicBool) -> bool {
    let (mut scans, mut probes): (Vec<_>, Vec<_>) =
        together.into_iter().map(|one| (one.scan, one.probe)).unzip();
    let (mut thresholds, mut masks) = (vec![0.0; scans.len()], vec![0; scans.len()]);
    for chunk in 0..screen.chunks() {
        if cancelled.load(Ordering::Relaxed) {
            return false;
        }
        // From the last, so that one that is over can be replaced by one that has been looked at.
        for at in (0..scans.len()).rev() {
            thresholds[at] = scans[at].threshold();
            if probes[at].is_over(screen, chunk, thresholds[at]) {
                scans.swap_remove(at);
                probes.swap_remove(at);
                thresholds.swap_remove(at);
                masks.pop();
            }
        }
        if scans.is_empty() {
            break;
        }
        candidates(screen, chunk, &probes, &thresholds, &mut masks);
        for (scan, mask) in scans.iter_mut().zip(&masks) {
            scan.offer(screen.rows_of(chunk), *mask);
        }
    }
    true
}

/// One selection on its way through the rows.
struct Scan<'a> {
    selection: &'a Selection<'a>,
    best: TopK<u32>,
    /// The excluded rows that are still ahead.
    exclude: &'a [u32],
}

impl<'a> Scan<'a> {
    fn new(selection: &'a Selection<'a>) -> Self {
        let before = selection.exclude.partition_point(|&row| row < selection.first_row);
        let best = TopK::new(selection.n.min(selection.counts.len()));
        Self { selection, best, exclude: &selection.exclude[before..] }
    }

    /// What a row must score to be listed.
    fn threshold(&self) -> f32 {
        self.best.threshold().max(self.selection.floor)
    }

    /// The factors' screen and how it sees the query, where it can bound the query's scores.
    fn probe(&self) -> Option<(&'a Screen, Probe)> {
        let (factors, query, scale) = match self.selection.scoring {
            Scoring::Product { factors, query } => (factors, query, Scale::Product),
            Scoring::Rating { factors, query, base, .. } => (factors, query, Scale::Rating { base }),
            Scoring::Cosine { factors, query, query_norm, .. } => {
                (factors, query, Scale::Cosine { query_norm: query_norm as f32 })
            }
            Scoring::Table(_) => return None,
        };
        let screen = factors.screen?;
        let probe = Probe::new(screen, query, scale)?;
        (self.selection.n > 0).then_some((screen, probe))
    }

    /// Scores those of up to 64 rows that the mask names, in any order, and selects from them.
    fn offer(&mut self, rows: &[u32], mut mask: u64) {
        debug_assert!(rows.len() <= CHUNK_ROWS);
        while mask != 0 {
            let row = rows[mask.trailing_zeros() as usize] as usize;
            mask &= mask - 1;
            let mut score = [0.0];
            self.selection.scoring.score(row, &mut score);
            let Some(score) = finite(score[0]).filter(|score| *score >= self.threshold()) else {
                continue;
            };
            let global = self.selection.first_row + row as u32;
            let listed = self.selection.counts[row] > 0
                && self.exclude.binary_search(&global).is_err()
                && self.selection.filter.is_none_or(|filter| filter.admits(row));
            if listed {
                self.best.push(score, row as u32);
            }
        }
    }

    /// Scores the rows from `first` on, as many as `scores` has places, and selects from them.
    fn block(&mut self, first: usize, scores: &mut [f32]) {
        let selection = self.selection;
        if selection.n == 0 {
            return;
        }
        selection.scoring.score(first, scores);
        let mut threshold = self.threshold();
        for (offset, &score) in scores.iter().enumerate() {
            // The common case leaves here; what is not a number fails no comparison and goes on.
            if score < threshold {
                continue;
            }
            let row = first + offset;
            let (Some(score), true) = (finite(score), selection.counts[row] > 0) else { continue };
            // A shard's rows are global rows, so their numbers fit.
            let global = selection.first_row + row as u32;
            self.exclude = &self.exclude[self.exclude.partition_point(|&excluded| excluded < global)..];
            let excluded = self.exclude.first() == Some(&global);
            if excluded || !selection.filter.is_none_or(|filter| filter.admits(row)) {
                continue;
            }
            self.best.push(score, row as u32);
            threshold = self.threshold();
        }
    }
}

impl Scoring<'_> {
    /// Scores the rows from `first` on, as many as `scores` has places.
    pub fn score(&self, first: usize, scores: &mut [f32]) {
        let count = scores.len();
        match self {
            Self::Product { factors, query } => dot_rows(factors.rows(first, count), query, scores),
            Self::Rating { factors, biases, query, base } => {
                dot_rows(factors.rows(first, count), query, scores);
                for (score, bias) in scores.iter_mut().zip(&biases[first..]) {
                    *score = predicted_rating(*base, *bias, *score);
                }
            }
            Self::Cosine { factors, norms, query, query_norm } => {
                dot_rows(factors.rows(first, count), query, scores);
                for (score, norm) in scores.iter_mut().zip(&norms[first..]) {
                    *score = cosine(*score, norm * query_norm);
                }
            }
            Self::Table(table) => scores.copy_from_slice(&table[first..first + count]),
        }
    }
}

/// A product divided by the product of the norms. Rounding must not lift it above 1.
fn cosine(product: f32, norms: f64) -> f32 {
    if norms == 0.0 { 0.0 } else { (f64::from(product) / norms).clamp(-1.0, 1.0) as f32 }
}

/// The score if it is one: infinities become the largest finite numbers.
fn finite(score: f32) -> Option<f32> {
    (!score.is_nan()).then(|| score.clamp(f32::MIN, f32::MAX))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering as Order;

    use proptest::prelude::*;
    use shoal_core::{
        hash::{mix64, unit_interval},
        topk::better_first,
    };

    use super::*;
    use crate::score::{Bounds, norm};

    static GO_ON: AtomicBool = AtomicBool::new(false);

    /// A small catalogue whose values repeat, so that ties abound.
    #[derive(Debug, Clone)]
    struct Items {
        rank: usize,
        factors: Vec<f32>,
        biases: Vec<f32>,
        counts: Vec<u32>,
        norms: Vec<f64>,
        /// By whose bounds; none for a whole pass.
        bounds: Option<Bounds>,
    }

    fn items() -> impl Strategy<Value = (Items, Vec<f32>, Vec<u32>)> {
        (1_usize..20, 0_usize..600).prop_flat_map(|(rank, rows)| {
            (
                prop::collection::vec(-2_i8..3, rank * rows),
                prop::collection::vec(-2_i8..3, rows),
                prop::collection::vec(0_u32..4, rows),
                prop::collection::vec(-2_i8..3, rank),
                prop::collection::btree_set(0_u32..700, 0..60),
                prop::sample::select(&[None, Some(Bounds::Fastest), Some(Bounds::Norms)][..]),
                // Small whole numbers tie; thirds of any size are rounded wherever they can be.
                prop::sample::select(&[1.0_f32, 1.0 / 3.0, 1e-22, 3e18][..]),
                prop::bool::ANY,
            )
                .prop_map(
                    move |(factors, biases, counts, query, exclude, bounds, unit, varied)| {
                        let floats = |values: Vec<i8>| -> Vec<f32> {
                            let vary =
                                |at: usize| if varied { 1.0 + (at * 7 % 64) as f32 / 512.0 } else { 1.0 };
                            values
                                .into_iter()
                                .enumerate()
                                .map(|(at, value)| f32::from(value) * unit * vary(at))
                                .collect()
                        };
                        let factors = floats(factors);
                        let norms = factors.chunks(rank).map(norm).collect();
                        let items = Items { rank, factors, biases: floats(biases), counts, norms, bounds };
                        (items, floats(query), exclude.into_iter().collect())
                    },
                )
        })
    }

    /// Rows that lie along the query but for some roundings, which then decide who is first: nothing is left between a
    /// score and its bound but the error that a bound has to allow for. Where all products of a long sum are alike,
    /// every addition rounds the same way.
    fn parallel_items() -> impl Strategy<Value = (Items, Vec<f32>, Vec<u32>)> {
        (
            prop_oneof![64_usize..257, Just(4_096)],
            1_usize..300,
            prop::sample::select(&[Bounds::Fastest, Bounds::Norms][..]),
            prop::bool::ANY,
            any::<u64>(),
        )
            .prop_map(|(rank, rows, bounds, alike, seed)| {
                let number = |i: usize| mix64(seed ^ mix64(i as u64));
                let value = |i: usize| (unit_interval(number(if alike { 0 } else { i })) - 0.5) as f32;
                let query: Vec<f32> = (0..rank).map(value).collect();
                let nearby = |at: usize| {
                    let value = query[at % rank];
                    f32::from_bits(value.to_bits() + (number(rank + at) % 3) as u32)
                };
                let factors: Vec<f32> = (0..rows * rank).map(nearby).collect();
                let norms = factors.chunks(rank).map(norm).collect();
                let (biases, counts, bounds) = (vec![0.0; rows], vec![1; rows], Some(bounds));
                (Items { rank, factors, biases, counts, norms, bounds }, query, Vec::new())
            })
    }

    impl Items {
        /// The scoring of rows `from..to`, of each kind in turn.
        fn scoring<'a>(
            &'a self,
            screen: &'a Option<Screen>,
            kind: u8,
            query: &'a [f32],
            (from, to): (usize, usize),
        ) -> Scoring<'a> {
            let factors = FactorRows::new(&self.factors[from * self.rank..to * self.rank], self.rank);
            let factors = screen.as_ref().map_or(factors, |screen| factors.screened(screen));
            match kind {
                0 => Scoring::Product { factors, query },
                1 => Scoring::Rating { factors, biases: &self.biases[from..to], query, base: 3.5 },
                2 => {
                    Scoring::Cosine { factors, norms: &self.norms[from..to], query, query_norm: norm(query) }
                }
                _ => Scoring::Table(&self.biases[from..to]),
            }
        }

        fn screen(&self, kind: u8, from: usize, to: usize) -> Option<Screen> {
            let biases = if kind == 1 { &self.biases[from..to] } else { &[] };
            let values = &self.factors[from * self.rank..to * self.rank];
            Some(Screen::new(values, self.rank, biases, &self.counts[from..to], self.bounds?))
        }

        fn score(&self, kind: u8, query: &[f32], row: usize) -> f32 {
            let vector = &self.factors[row * self.rank..(row + 1) * self.rank];
            match kind {
                0 => dot(vector, query),
                1 => (3.5 + self.biases[row]) + dot(vector, query),
                2 if norm(vector) * norm(query) == 0.0 => 0.0,
                2 => (f64::from(dot(vector, query)) / (norm(vector) * norm(query))).clamp(-1.0, 1.0) as f32,
                _ => self.biases[row],
            }
        }

        fn brute_force(&self, kind: u8, query: &[f32], exclude: &[u32], n: usize) -> Vec<(f32, u32)> {
            let mut all: Vec<(f32, u32)> = (0..self.counts.len())
                .filter(|&row| self.counts[row] > 0 && !exclude.contains(&(row as u32)))
                .filter_map(|row| Some((finite(self.score(kind, query, row))?, row as u32)))
                .collect();
            all.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
            all.truncate(n);
            all
        }
    }

    proptest! {
        #[test]
        fn equals_brute_force_whole_and_in_shards(
            (items, query, exclude) in prop_oneof![3 => items(), 1 => parallel_items()], kind in 0_u8..4, n in 0_usize..30, shards in 1_usize..5,
            known in prop::bool::ANY,
        ) {
            let rows = items.counts.len();
            let expected = items.brute_force(kind, &query, &exclude, n);
            let select = |from: usize, to: usize, floor: f32| {
                let (screen, other) = (items.screen(kind, from, to), items.screen((kind + 1) % 4, from, to));
                let of = |exclude, n| Selection {
                    scoring: items.scoring(&screen, kind, &query, (from, to)),
                    counts: &items.counts[from..to],
                    first_row: from as u32,
                    exclude,
                    filter: None,
                    n,
                    floor,
                };
                // Others that share the pass change nothing.
                let beside = items.scoring(&other, (kind + 1) % 4, &query, (from, to));
                let selections = [of(&[], 3), of(&exclude, n), Selection { scoring: beside, ..of(&exclude, 7) }];
                let mut lists = top_n(&selections, &GO_ON).unwrap();
                assert_eq!(lists.len(), 3);
                lists.swap_remove(1)
            };
            prop_assert_eq!(&select(0, rows, f32::NEG_INFINITY), &expected);

            // What earlier shards have found spares later ones work, and changes nothing.
            let mut found = TopK::new(n);
            let per_shard = rows.div_ceil(shards).max(1);
            let mut merged: Vec<(f32, u32)> = (0..rows)
                .step_by(per_shard)
                .flat_map(|from| {
                    let floor = if known { found.threshold() } else { f32::NEG_INFINITY };
                    let hits = select(from, rows.min(from + per_shard), floor);
                    hits.iter().for_each(|(score, _)| found.push(*score, ()));
                    hits.into_iter().map(move |(score, row)| (score, row + from as u32))
                })
                .collect();
            merged.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
            merged.truncate(n);
            prop_assert_eq!(merged, expected);
        }
    }

    #[test]
    fn overflow_is_the_largest_number_and_what_cannot_be_told_is_left_out() {
        let factors = [f32::MAX, 0.0, 1.0, 0.0, f32::MAX, f32::MAX, f32::MIN, 0.0];
        let selection = Selection {
            scoring: Scoring::Product { factors: FactorRows::new(&factors, 2), query: &[2.0, -2.0] },
            counts: &[1; 4],
            first_row: 0,
            exclude: &[],
            filter: None,
            n: 4,
            floor: f32::NEG_INFINITY,
        };
        let best = top_n(&[selection], &GO_ON).unwrap().remove(0);
        assert_eq!(best, [(f32::MAX, 0), (2.0, 1), (f32::MIN, 3)]);
        assert!(best.is_sorted_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)) == Order::Less));
    }

    #[test]
    fn a_cancelled_query_gives_nothing() {
        let selection = Selection {
            scoring: Scoring::Table(&[1.0]),
            counts: &[1],
            first_row: 0,
            exclude: &[],
            filter: None,
            n: 1,
            floor: f32::NEG_INFINITY,
        };
        assert_eq!(top_n(&[selection], &AtomicBool::new(true)), None);
    }
}
