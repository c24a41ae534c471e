//! The explicit objective: factors that reproduce ratings.
//!
//! For a user u with ratings r over items i ∈ I(u), n = |I(u)|, the half-step minimises
//!
//! > Σᵢ (rᵢ − μ − bᵢ − b − x·qᵢ)² + ridge (‖x‖² + b²)
//!
//! over x and b, the other side's factors q and biases being fixed (Zhou et al. 2008). The bias is
//! solved together with the row: it is the weight of a column of ones. Without biases μ, bᵢ and b are zero.

/// How λ grows with a row's number of ratings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// λ n: ALS-WR, and Spark.
    Ratings,
    /// λ, whatever the number of ratings.
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
    /// Whether there are biases; each stored row then has one element more, its bias, at the end.
    pub biases: bool,
    /// μ: zero without biases.
    pub rating_mean: f64,
}

impl Settings {
    /// Elements of a stored row: the factors and, if there are biases, the bias.
    #[must_use]
    pub fn width(&self) -> usize {
        self.rank + usize::from(self.biases)
    }

    /// What is added to the diagonal for a row of `count` ratings.
    #[must_use]
    pub fn ridge(&self, count: usize) -> f64 {
        match self.scaling {
            Scaling::Ratings => self.regularization * count as f64,
            Scaling::None => self.regularization,
        }
    }

    /// What x·q + b has to reproduce of a rating: the rest over μ and the other row's bias, the last element of its
    /// stored row.
    #[must_use]
    pub fn target(&self, rating: f32, stored: &[f32]) -> f64 {
        let other_bias = if self.biases { f64::from(stored[self.rank]) } else { 0.0 };
        f64::from(rating) - self.rating_mean - other_bias
    }
}
