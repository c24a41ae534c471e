//! The implicit objective: factors that reproduce preference under confidence.
//!
//! For a user u with observed items i ∈ I(u), n = |I(u)|, N items in all, the half-step minimises
//!
//! > Σᵢ∈I(u) (wᵢ (x·qᵢ)² − 2 tᵢ x·qᵢ) + α₀ Σ over every item (x·q)² + ridge ‖x‖²
//!
//! Published systems agree on this form (Hu et al. 2008) and differ in wᵢ, tᵢ and the ridge: see
//! [`Confidence`], [`Preference`] and [`Scaling`].

use crate::preference::Preference;

/// How a rating r and its preference p become the weight w and the pull t of an observed pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// w = 1 + α |r| and t = p w, besides α₀ as for every pair. With α = 0 and p = 1 it is iALS as published (Rendle et al.
    /// 2022, equations 2–4), where the value of a rating does not matter.
    Ials,
    /// w = α |r| and t = p (1 + w): Spark, whose confidence is c = 1 + α |r|, of which 1 is counted with every pair
    /// (α₀ = 1). Its p is 1 for r > 0, else 0.
    Spark,
    /// w = |α r| − 1 and t = p |α r|: the library `implicit`, which takes the stored value itself for the confidence
    /// (α₀ = 1). Its p is Spark's.
    Implicit,
}

/// How λ grows with a row's number of ratings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// λ (n + α₀ N)^ν (Rendle et al. 2022).
    Ials,
    /// λ times the number of ratings above zero, as Spark.
    Ratings,
    /// λ is the same for every row, as in the library `implicit`.
    None,
}

/// What a solve needs besides the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Length of a factor row.
    pub rank: usize,
    /// The weight λ of the factors' squares in the objective, above 0.
    pub regularization: f64,
    /// How it is scaled.
    pub scaling: Scaling,
    /// How sure a rating makes.
    pub confidence: Confidence,
    /// How much of a liking it is.
    pub preference: Preference,
    /// α₀: the weight of every pair as unobserved.
    pub unobserved_weight: f64,
    /// α: how much a rating's size counts.
    pub alpha: f64,
    /// ν: how the regularization grows with the row's frequency.
    pub regularization_exponent: f64,
    /// N: rows of the other side.
    pub other_rows: u64,
}

impl Settings {
    /// iALS as published (Rendle et al. 2022): λ scaled with ν = 1, every rating a liking of weight 1. For the users'
    /// half-step `other_rows` is the number of items, for the items' half-step that of users.
    #[must_use]
    pub fn ials(rank: usize, regularization: f64, unobserved_weight: f64, other_rows: u64) -> Self {
        Self {
            rank,
            regularization,
            scaling: Scaling::Ials,
            confidence: Confidence::Ials,
            preference: Preference::Observed,
            unobserved_weight,
            alpha: 0.0,
            regularization_exponent: 1.0,
            other_rows,
        }
    }

    /// What is added to the diagonal for a row with these ratings.
    #[must_use]
    pub fn ridge(&self, ratings: &[f32]) -> f64 {
        let factor = match self.scaling {
            Scaling::Ials => {
                let frequency = ratings.len() as f64 + self.unobserved_weight * self.other_rows as f64;
                frequency.powf(self.regularization_exponent)
            }
            Scaling::Ratings => ratings.iter().filter(|&&rating| rating > 0.0).count() as f64,
            Scaling::None => 1.0,
        };
        self.regularization * factor
    }

    /// w and t of an observed pair.
    #[must_use]
    pub fn weight_and_pull(&self, rating: f32) -> (f64, f64) {
        let size = self.alpha * f64::from(rating.abs());
        let preference = self.preference.of(rating);
        match self.confidence {
            Confidence::Ials => (1.0 + size, preference * (1.0 + size)),
            Confidence::Spark => (size, preference * (1.0 + size)),
            Confidence::Implicit => (size - 1.0, preference * size),
        }
    }
}
