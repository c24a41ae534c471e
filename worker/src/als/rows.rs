//! Many rows: a block of a side solved on all threads of the current rayon pool.

use rayon::prelude::*;

use super::{cholesky::NotPositiveDefinite, explicit, implicit, kernel::Kernel};

/// Rows of ratings, compressed: row r has the ratings `indptr[r]..indptr[r + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct RatingRows<'a> {
    /// Rows + 1 offsets into the other two.
    pub indptr: &'a [u64],
    /// For each rating, the slot of the other side's row in the fixed factors.
    pub slots: &'a [u32],
    /// The ratings.
    pub ratings: &'a [f32],
}

impl<'a> RatingRows<'a> {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Slots and ratings of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        let range = self.indptr[row] as usize..self.indptr[row + 1] as usize;
        (&self.slots[range.clone()], &self.ratings[range])
    }
}

/// What the rows are fitted to, with the other side's factors.
#[derive(Debug, Clone, Copy)]
pub enum Fit<'a> {
    /// The rating itself.
    Explicit {
        /// λ, biases, μ.
        settings: &'a explicit::Settings,
        /// The other side's stored rows, by slot.
        fixed: &'a [f32],
    },
    /// Preference under confidence.
    Implicit {
        /// λ, α₀, α, ν.
        settings: &'a implicit::Settings,
        /// The other side's rows, by slot.
        fixed: &'a [f32],
        /// Σ q qᵀ over the whole other side.
        gramian: &'a [f64],
    },
}

impl Fit<'_> {
    /// Elements of a stored row.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Explicit { settings, .. } => settings.width(),
            Self::Implicit { settings, .. } => settings.rank,
        }
    }
}

/// A row could not be solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {row} cannot be solved")]
pub struct RowError {
    /// The row within the block.
    pub row: usize,
    /// Why.
    pub source: NotPositiveDefinite,
}

#[derive(Default)]
struct Scratch {
    explicit: explicit::Scratch,
    implicit: implicit::Scratch,
}

/// Ratings in a piece of work: enough to hide the cost of handing it out, few enough that the
/// last pieces end together.
const PIECE_RATINGS: u64 = 16_384;

/// Solves rows `range` of a block into `solution` (their stored rows one after the other). Rows are
/// handed to threads in pieces of about equal numbers of ratings; each row is solved by one thread.
///
/// # Errors
/// The first row, in row order, that cannot be solved.
pub fn solve_rows(
    kernel: Kernel,
    fit: Fit<'_>,
    rows: RatingRows<'_>,
    range: std::ops::Range<usize>,
    solution: &mut [f32],
) -> Result<(), RowError> {
    let width = fit.width();
    debug_assert_eq!(solution.len(), range.len() * width);
    let mut pieces = Vec::new();
    let mut rest = solution;
    let mut begin = range.start;
    while begin < range.end {
        let limit = rows.indptr[begin] + PIECE_RATINGS;
        let mut end = begin + 1;
        // Rows without ratings cost something too: count each as one.
        while end < range.end && rows.indptr[end + 1] + (end - begin) as u64 <= limit {
            end += 1;
        }
        let (piece, after) = rest.split_at_mut((end - begin) * width);
        pieces.push((begin, piece));
        rest = after;
        begin = end;
    }
    let failures: Vec<RowError> = pieces
        .into_par_iter()
        .map_init(Scratch::default, |scratch, (first, piece)| {
            solve_piece(kernel, fit, rows, first, piece, scratch)
        })
        .filter_map(Result::err)
        .collect();
    failures.into_iter().min_by_key(|failure| failure.row).map_or(Ok(()), Err)
}

fn solve_piece(
    kernel: Kernel,
    fit: Fit<'_>,
    rows: RatingRows<'_>,
    first: usize,
    piece: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), RowError> {
    for (offset, solution) in piece.chunks_exact_mut(fit.width()).enumerate() {
        let row = first + offset;
        let (slots, ratings) = rows.row(row);
        match fit {
            Fit::Explicit { settings, fixed } => {
                explicit::solve_row(kernel, settings, fixed, slots, ratings, solution, &mut scratch.explicit)
            }
            Fit::Implicit { settings, fixed, gramian } => implicit::solve_row(
                kernel,
                settings,
                fixed,
                gramian,
                slots,
                ratings,
                solution,
                &mut scratch.implicit,
            ),
        }
        .map_err(|source| RowError { row, source })?;
    }
    Ok(())
}
