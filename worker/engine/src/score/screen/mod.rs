//! Which rows of a shard a query need not look at: an upper bound on every score, for a fraction of the cost
//! of the score. Pure, and exact: only rows whose bound reaches the selection's threshold are scored, by the one dot
//! product that scores everything, so lists have the bits and the order of a full pass.
//!
//! Two bounds. **Norms**: rows are in the order of descending norms, and a pass ends where ‖u‖·‖q‖ can no longer
//! reach the threshold (Teflioudi et al. 2015, LEMP). **Bytes**: each row is kept once more, rounded to a byte per
//! element; with x̃ and q̃ the rounded row and query, q·x ≤ q̃·x̃ + ‖q̃‖·‖x − x̃‖ + ‖q − q̃‖·‖x‖, where q̃·x̃ is a sum of small
//! integers. That needs a quarter of the memory's traffic, and on processors with AVX-512 VNNI a sixteenth of the
//! instructions; without VNNI there is the first bound alone.
//!
//! Every bound also allows for the rounding of the score that it bounds. Whatever cannot be bounded, because it
//! overflows, is scored.

mod bytes;
mod chunks;

use std::cmp::Ordering;

pub(super) use self::chunks::CHUNK_ROWS;
use self::{
    bytes::{Asked, Bytes, TOGETHER, Words},
    chunks::UP,
};
use super::norm;

/// One rounding of an f32.
const ROUNDING: f32 = f32::EPSILON;
/// Beyond this, products may overflow and nothing is bounded.
const SIZE_MAX: f32 = 1e30;
/// Share by which a cosine and its bound may differ by rounding: of norms, a product and a quotient.
const COSINE_ROUNDING: f32 = 4e-6;

/// The rows of a matrix of factors in the order of descending norms, with what bounds their products.
#[derive(Debug)]
pub struct Screen {
    /// Place → row; equal norms in the order of rows.
    rows: Vec<u32>,
    /// Of each place, rounded up; zeros after the last, to whole chunks. The others likewise.
    norms: Vec<f32>,
    /// Empty where the rows have none.
    biases: Vec<f32>,
    /// Of each chunk and those after it.
    largest_biases: Vec<f32>,
    /// The largest absolute bias.
    bias_size: f32,
    bytes: Option<Bytes>,
}

/// Which bounds a screen has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// Norms, and bytes where the processor multiplies them quickly.
    Fastest,
    /// Norms alone, as on a processor without quick products of bytes.
    Norms,
}

impl Screen {
    /// Of rows of `rank` elements each, row-major; `biases` has one for each, or none. Rows with a zero in `counts` are
    /// never listed and left out.
    #[must_use]
    pub fn new(values: &[f32], rank: usize, biases: &[f32], counts: &[u32], bounds: Bounds) -> Self {
        let row = |row: u32| &values[row as usize * rank..][..rank];
        let up = |value: f64| (value * UP) as f32;
        // A shard's rows are counted in u32.
        let listed = (0..counts.len() as u32).filter(|&row| counts[row as usize] > 0);
        let mut placed: Vec<(f64, u32)> = listed.map(|at| (norm(row(at)), at)).collect();
        placed.sort_unstable_by(|a, b| match b.0.total_cmp(&a.0) {
            Ordering::Equal => a.1.cmp(&b.1),
            other => other,
        });
        let rows: Vec<u32> = placed.iter().map(|(_, row)| *row).collect();
        let chunks = rows.len().div_ceil(CHUNK_ROWS);
        let filled = |mut values: Vec<f32>| {
            values.resize(chunks * CHUNK_ROWS, 0.0);
            values
        };
        let norms = filled(placed.iter().map(|(norm, _)| up(*norm)).collect());
        let (mut largest_biases, mut bias_size) = (Vec::new(), 0.0_f32);
        let mut placed_biases = Vec::new();
        if !biases.is_empty() {
            placed_biases = rows.iter().map(|&row| biases[row as usize]).collect();
            let largest = |biases: &[f32]| biases.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            largest_biases = placed_biases.chunks(CHUNK_ROWS).map(largest).collect();
            for chunk in (1..largest_biases.len()).rev() {
                largest_biases[chunk - 1] = largest_biases[chunk - 1].max(largest_biases[chunk]);
            }
            bias_size = placed_biases.iter().fold(0.0, |size, bias| size.max(bias.abs()));
            placed_biases = filled(placed_biases);
        }
        let bytes = match bounds {
            Bounds::Fastest => Bytes::new(rows.iter().map(|&at| row(at)), rank),
            Bounds::Norms => None,
        };
        Self { rows, norms, biases: placed_biases, largest_biases, bias_size, bytes }
    }

    /// How many chunks of places.
    pub(super) fn chunks(&self) -> usize {
        self.rows.len().div_ceil(CHUNK_ROWS)
    }

    /// The rows of a chunk.
    pub(super) fn rows_of(&self, chunk: usize) -> &[u32] {
        let first = chunk * CHUNK_ROWS;
        &self.rows[first..self.rows.len().min(first + CHUNK_ROWS)]
    }
}

/// How products become the scores that are bounded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale {
    /// Scores are the products themselves.
    Product,
    /// `(base + bias) + product`
    Rating {
        /// The same for all rows.
        base: f32,
    },
    /// The product over the product of norms, this being the query's.
    Cosine {
        /// Norm of the query, above 0.
        query_norm: f32,
    },
}

/// A query as a screen sees it.
#[derive(Debug)]
pub(super) struct Probe {
    scale: Scale,
    /// ‖q‖ of the query, rounded up.
    norm: f32,
    /// A product and its bound may differ by this much of the row's norm because of the score's own rounding.
    rounding: f32,
    words: Option<Words>,
}

/// What a row must reach: `bound + bias ≥ fixed + per_norm · norm`.
#[derive(Debug, Clone, Copy)]
struct Bar {
    fixed: f32,
    per_norm: f32,
}

impl Probe {
    /// `None` when numbers are so large that nothing can be bounded.
    pub(super) fn new(screen: &Screen, query: &[f32], scale: Scale) -> Option<Self> {
        let size = (norm(query) * UP) as f32;
        let largest = screen.norms.first().copied().unwrap_or_default();
        let added = match scale {
            Scale::Rating { base } => base.abs() + screen.bias_size,
            Scale::Product | Scale::Cosine { .. } => 0.0,
        };
        if !(size * largest <= SIZE_MAX && added <= SIZE_MAX && size <= SIZE_MAX && largest <= SIZE_MAX) {
            return None;
        }
        // A sum of rank products errs by rank roundings at most (Higham 2002, 3.1); the rest is for the bound's own.
        let rounding = size * ROUNDING * (query.len() + 32) as f32;
        let words = screen.bytes.as_ref().map(|bytes| bytes.words(query));
        Some(Self { scale, norm: size, rounding, words })
    }

    fn bar(&self, screen: &Screen, threshold: f32) -> Bar {
        // Products below the smallest normal number err by more than their share.
        let (fixed, per_norm) = match self.scale {
            Scale::Product => (threshold, 0.0),
            Scale::Rating { base } => {
                let rounding = 8.0 * ROUNDING * (threshold.abs() + base.abs() + screen.bias_size);
                // Minus infinity, as long as the list is not full, minus infinity again.
                (if threshold == f32::NEG_INFINITY { threshold } else { threshold - base - rounding }, 0.0)
            }
            Scale::Cosine { query_norm } => {
                let share = threshold - threshold.abs() * COSINE_ROUNDING;
                (0.0, if threshold == f32::NEG_INFINITY { threshold } else { share * query_norm })
            }
        };
        Bar { fixed: fixed - f32::MIN_POSITIVE, per_norm }
    }

    /// Whether no row from this chunk on can reach the threshold.
    pub(super) fn is_over(&self, screen: &Screen, chunk: usize, threshold: f32) -> bool {
        if let Scale::Cosine { .. } = self.scale {
            return false;
        }
        let rest = match self.scale {
            Scale::Rating { .. } => screen.largest_biases.get(chunk).copied().unwrap_or_default(),
            _ => 0.0,
        };
        let norm = screen.norms[chunk * CHUNK_ROWS];
        (self.norm + self.rounding) * norm + rest < self.bar(screen, threshold).fixed
    }
}

/// Which rows of a chunk may reach the thresholds of some queries, as a mask each.
pub(super) fn candidates(
    screen: &Screen,
    chunk: usize,
    probes: &[Probe],
    thresholds: &[f32],
    masks: &mut [u64],
) {
    let all = u64::MAX >> (CHUNK_ROWS - screen.rows_of(chunk).len());
    masks.fill(all);
    let Some(bytes) = &screen.bytes else { return };
    let places = chunk * CHUNK_ROWS..(chunk + 1) * CHUNK_ROWS;
    let biases = screen.biases.get(places.clone());
    let norms = &screen.norms[places];
    let queries = probes.chunks(TOGETHER).zip(thresholds.chunks(TOGETHER));
    for ((probes, thresholds), masks) in queries.zip(masks.chunks_mut(TOGETHER)) {
        // Words are made wherever a screen has bytes.
        let Some(Some(first)) = probes.first().map(|probe| probe.words.as_ref()) else { continue };
        let nothing = Asked { words: first, rounding: 0.0, fixed: 0.0, per_norm: 0.0, biases: None };
        let mut asked = [nothing; TOGETHER];
        for ((asked, probe), threshold) in asked.iter_mut().zip(probes).zip(thresholds) {
            let Bar { fixed, per_norm } = probe.bar(screen, *threshold);
            let biases = biases.filter(|_| matches!(probe.scale, Scale::Rating { .. }));
            let words = probe.words.as_ref().unwrap_or(first);
            *asked = Asked { words, rounding: probe.rounding, fixed, per_norm, biases };
        }
        bytes.masks(chunk, norms, &asked[..probes.len()], masks);
        masks.iter_mut().for_each(|mask| *mask &= all);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::score::{FactorRows, Scoring, Selection, top_n};

    #[test]
    fn a_pass_goes_on_while_a_later_chunk_has_a_large_bias() {
        // By descending norms: rows that fill the list, rows that cannot enter it, and one that is the best of all.
        let factors: Vec<f32> = (0..3 * CHUNK_ROWS).map(|row| [1.0, 0.5, 0.1][row / CHUNK_ROWS]).collect();
        let mut biases: Vec<f32> =
            (0..3 * CHUNK_ROWS).map(|row| [0.0, -5.0, -5.0][row / CHUNK_ROWS]).collect();
        let best = biases.len() - 1;
        biases[best] = 10.0;
        let counts = vec![1; biases.len()];
        for bounds in [Bounds::Fastest, Bounds::Norms] {
            let screen = Screen::new(&factors, 1, &biases, &counts, bounds);
            let factors = FactorRows::new(&factors, 1).screened(&screen);
            let selection = Selection {
                scoring: Scoring::Rating { factors, biases: &biases, query: &[1.0], base: 0.0 },
                counts: &counts,
                first_row: 0,
                exclude: &[],
                filter: None,
                n: 2,
                floor: f32::NEG_INFINITY,
            };
            let lists = top_n(&[selection], &AtomicBool::new(false)).unwrap();
            assert_eq!(lists, [[(10.1, best as u32), (1.0, 0)]], "{bounds:?}");
        }
    }
}
