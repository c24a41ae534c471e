//! The implicit objective: factors that reproduce preference under confidence.
//!
//! For a user u with observed items i ∈ I(u), n = |I(u)|, N items in all, the half-step minimises
//!
//! > Σᵢ∈I(u) (wᵢ (x·qᵢ)² − 2 tᵢ x·qᵢ) + α₀ Σ over every item (x·q)² + ridge ‖x‖²
//!
//! Published systems agree on this form (Hu et al. 2008) and differ in wᵢ, tᵢ and the ridge: see
//! [`Confidence`] and [`Scaling`].

/// How a rating r becomes the weight w and the pull t of an observed pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// w = t = 1 + α |r|, besides α₀ as for every pair. With α = 0 it is iALS as published (Rendle et al. 2022,
    /// equations 2–4), where the value of a rating does not matter.
    Ials,
    /// w = α |r|, t = 1 + w for r > 0 and 0 otherwise: Spark, whose confidence is c = 1 + α |r|, of which 1 is counted
    /// with every pair (α₀ = 1).
    Spark,
    /// w = |α r| − 1, t = α r for r > 0 and 0 otherwise: the library `implicit`, which takes the stored value
    /// itself for the confidence (α₀ = 1).
    Implicit,
}

/// How λ grows with a row's number of ratings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// λ (n + α₀ N)^ν (Rendle et al. 2022).
    Ials,
    /// λ times the number of ratings above zero, as Spark.
    Ratings,
    /// λ, as `implicit`.
    None,
}

/// What a solve needs besides the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Length of a factor row.
    pub rank: usize,
    /// λ.
    pub regularization: f64,
    /// How it is scaled.
    pub scaling: Scaling,
    /// What a rating means.
    pub confidence: Confidence,
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
        let positive = |pull: f64| if rating > 0.0 { pull } else { 0.0 };
        match self.confidence {
            Confidence::Ials => (1.0 + size, 1.0 + size),
            Confidence::Spark => (size, positive(1.0 + size)),
            Confidence::Implicit => (size - 1.0, positive(size)),
        }
    }
}
