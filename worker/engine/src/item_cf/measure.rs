//! What makes two items alike, from integer sums over their users.

/// A measure of similarity. x and y are the values of the two items for one user; Σ runs over the users who
/// rated both, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Of the items' rating vectors over all users, a missing rating being 0: Σ xy / √(Σx² Σy²) with the
    /// squares summed over all users of each item.
    Cosine,
    /// Of ratings less their user's mean (Sarwar et al. 2001): Σ xy / √(Σx² Σy²).
    AdjustedCosine,
    /// Correlation of the ratings, each item's mean taken over the common users.
    Pearson,
    /// Users who rated both / users who rated either.
    Jaccard,
}

/// What is summed over all users of one item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many users have rated the item.
    pub raters: i64,
    /// Σ x² over the item's ratings, in fixed point.
    pub squares: i64,
}

/// [`Totals`] of consecutive item rows. Those of several workers add up in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemTotals(pub Vec<Totals>);

impl Measure {
    /// Integers summed per pair: the first of n, Σxy, Σx², Σy², Σx, Σy.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Jaccard => 1,
            Self::Cosine => 2,
            Self::AdjustedCosine => 4,
            Self::Pearson => 6,
        }
    }

    /// A rating's value, before it is made an integer.
    #[must_use]
    pub fn value(self, rating: f32, user_mean: f64) -> f64 {
        match self {
            Self::AdjustedCosine => f64::from(rating) - user_mean,
            _ => f64::from(rating),
        }
    }

    /// The similarity of two items from a pair's sums ([`Measure::width`] of them) and the items' totals;
    /// 0 where it is undefined. Exchanging the items gives the same bits.
    #[must_use]
    pub fn similarity(self, sums: &[i64], x: Totals, y: Totals) -> f64 {
        match (self, sums) {
            (Self::Jaccard, &[n]) => ratio(n as f64, (x.raters + y.raters - n) as f64),
            (Self::Cosine, &[_, xy]) => ratio(xy as f64, root_of_product(x.squares, y.squares)),
            (Self::AdjustedCosine, &[_, xy, xx, yy]) => ratio(xy as f64, root_of_product(xx, yy)),
            (Self::Pearson, &[n, xy, xx, yy, x, y]) => {
                // n² times covariance and variances: exact, so no cancellation.
                let spread = |square: i64, sum: i64| wide(n) * wide(square) - wide(sum) * wide(sum);
                let covariance = wide(n) * wide(xy) - wide(x) * wide(y);
                ratio(covariance as f64, (spread(xx, x) as f64 * spread(yy, y) as f64).sqrt())
            }
            _ => 0.0,
        }
    }
}

fn wide(value: i64) -> i128 {
    i128::from(value)
}

fn root_of_product(a: i64, b: i64) -> f64 {
    (a as f64 * b as f64).sqrt()
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator > 0.0 { numerator / denominator } else { 0.0 }
}
