//! A row of either objective as the terms of one least-squares problem.
//!
//! A row has the system (A₀ + ridge · I + Σᵢ wᵢ qᵢ qᵢᵀ) x = Σᵢ tᵢ qᵢ. The explicit objective has no A₀, weights of one and
//! perhaps a column of ones behind every q; the implicit one has A₀ = α₀ Σ q qᵀ over the whole other side.

use super::{
    explicit,
    implicit::{self, Confidence},
    kernel::pack::Rows,
};
use crate::preference::Preference;

/// What the rows are fitted to, with the other side's factors.
#[derive(Debug, Clone, Copy)]
pub enum Fit<'a> {
    /// The ratings themselves.
    Explicit {
        /// λ, biases and the mean μ of the ratings.
        settings: &'a explicit::Settings,
        /// The other side's stored rows, by slot.
        fixed: &'a [f32],
    },
    /// The preferences that ratings stand for, weighted by confidence.
    Implicit {
        /// λ, and what makes confidence of a rating: α₀, α, ν.
        settings: &'a implicit::Settings,
        /// The other side's rows, by slot.
        fixed: &'a [f32],
        /// Σ q qᵀ over the whole other side: `rank` × `rank`, row-major, both triangles.
        gramian: &'a [f64],
    },
}

impl<'a> Fit<'a> {
    /// Elements of a stored row.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Explicit { settings, .. } => settings.width(),
            Self::Implicit { settings, .. } => settings.rank,
        }
    }

    /// Elements of a factor row.
    #[must_use]
    pub fn rank(&self) -> usize {
        match self {
            Self::Explicit { settings, .. } => settings.rank,
            Self::Implicit { settings, .. } => settings.rank,
        }
    }

    /// Whether a column of ones stands behind the factors.
    #[must_use]
    pub fn biases(&self) -> bool {
        matches!(self, Self::Explicit { settings, .. } if settings.biases)
    }

    /// The other side's factor rows, by slot.
    #[must_use]
    pub fn rows(&self) -> Rows<'a> {
        match self {
            Self::Explicit { settings, fixed } => Rows::new(fixed, settings.width(), settings.rank),
            Self::Implicit { settings, fixed, .. } => Rows::new(fixed, settings.rank, settings.rank),
        }
    }

    /// What is added to the diagonal for a row with these ratings.
    #[must_use]
    pub fn ridge(&self, ratings: &[f32]) -> f64 {
        match self {
            Self::Explicit { settings, .. } => settings.ridge(ratings.len()),
            Self::Implicit { settings, .. } => settings.ridge(ratings),
        }
    }

    /// w and t of a rating.
    #[must_use]
    pub fn weight_and_pull(&self, slot: u32, rating: f32) -> (f64, f64) {
        match self {
            Self::Explicit { settings, fixed } => {
                let stored = &fixed[slot as usize * settings.width()..][..settings.width()];
                (1.0, settings.target(rating, stored))
            }
            Self::Implicit { settings, .. } => settings.weight_and_pull(rating),
        }
    }

    /// Whether t is the rating of every row.
    #[must_use]
    pub fn pulls_are_ratings(&self) -> bool {
        matches!(self, Self::Explicit { settings, .. } if !settings.biases && settings.rating_mean == 0.0)
    }

    /// Whether w and t are 1 for every rating of every row.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Implicit { settings, .. }
            if settings.confidence == Confidence::Ials
                && settings.alpha == 0.0
                && settings.preference == Preference::Observed)
    }

    /// What is known of all weights of a row.
    #[must_use]
    pub fn weights(&self, ratings: &[f32]) -> Weights {
        match self {
            Self::Explicit { .. } => Weights::One,
            Self::Implicit { settings, .. } if settings.confidence == Confidence::Ials => {
                if settings.alpha == 0.0 { Weights::One } else { Weights::Positive }
            }
            Self::Implicit { settings, .. } => {
                // In f32, in which its root is taken.
                let is_positive = |&rating: &f32| settings.weight_and_pull(rating).0 as f32 > 0.0;
                if ratings.iter().all(is_positive) { Weights::Positive } else { Weights::Any }
            }
        }
    }
}

/// What is known of a row's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// Each weight is one.
    One,
    /// Each is above zero: its root can be taken.
    Positive,
    /// Some weight is zero or below.
    Any,
}

/// Rows of ratings, compressed: row r has the ratings `indptr[r]..indptr[r + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct RatingRows<'a> {
    /// Rows + 1 offsets into the other two.
    pub indptr: &'a [u64],
    /// For each rating, the slot of the other side's row in the fixed factors.
    pub slots: &'a [u32],
    /// The ratings, in the order of `slots`.
    pub ratings: &'a [f32],
}

impl<'a> RatingRows<'a> {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ratings of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn count(&self, row: usize) -> usize {
        (self.indptr[row + 1] - self.indptr[row]) as usize
    }

    /// The slots and ratings of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> Row<'a> {
        let (begin, end) = (self.indptr[row] as usize, self.indptr[row + 1] as usize);
        Row::new(&self.slots[begin..], &self.ratings[begin..end])
    }
}

/// The ratings of one row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The rated rows' slots in the fixed factors.
    pub slots: &'a [u32],
    /// The rating of each slot.
    pub ratings: &'a [f32],
    /// The slots that are needed next: their rows are fetched before.
    pub ahead: &'a [u32],
    /// Both kinds of slots, which lie one after the other.
    all: &'a [u32],
}

impl<'a> Row<'a> {
    /// The first of these slots have these ratings, the others come next.
    ///
    /// # Panics
    /// When there are fewer slots than ratings.
    #[must_use]
    pub fn new(all: &'a [u32], ratings: &'a [f32]) -> Self {
        let (slots, ahead) = all.split_at(ratings.len());
        Self { slots, ratings, ahead, all }
    }

    /// A part of the row.
    ///
    /// # Panics
    /// When it is not within the row.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self::new(&self.all[range.start..], &self.ratings[range])
    }
}
