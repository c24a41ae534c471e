//! A rating from the user's ratings of the item's neighbours.

/// What a user has rated.
#[derive(Debug, Clone, Copy)]
pub struct Rated<'a> {
    /// Global item rows, ascending.
    pub items: &'a [u32],
    /// One per item; NaN for one that was named without a rating.
    pub ratings: &'a [f32],
}

impl Rated<'_> {
    /// The rating of an item, if there is one.
    #[must_use]
    pub fn of(&self, item: u32) -> Option<f32> {
        let at = self.items.binary_search(&item).ok()?;
        Some(self.ratings[at]).filter(|rating| !rating.is_nan())
    }
}

/// What ratings are measured from: the user's rating of item j is expected to be `user + items[j]`.
#[derive(Debug, Clone, Copy)]
pub struct Centre<'a> {
    /// The user's part, the mean of all ratings included.
    pub user: f64,
    /// Every item's part, by global row.
    pub items: &'a [f32],
}

impl Centre<'_> {
    fn of(&self, item: u32) -> f64 {
        self.user + f64::from(self.items[item as usize])
    }
}

/// The predicted rating of `item`: the similarity-weighted mean of the user's ratings over the `most` best
/// neighbours (rows and similarities, best first) that the user has rated and that speak for the item, `rated` being the rating of an item if there
/// is one. With a centre the mean is of what ratings exceed it by, added to the item's own (Koren 2010, "Factor in the
/// Neighbors"). `None` when the user has rated no neighbour.
#[must_use]
pub fn predict(
    item: u32,
    neighbours: (&[u32], &[f32]),
    rated: impl Fn(u32) -> Option<f32>,
    centre: Option<Centre<'_>>,
    most: usize,
) -> Option<f64> {
    let (mut weights, mut sum) = (0.0, 0.0);
    for (_, similarity, exceeding) in used(neighbours, rated, centre, most) {
        weights += similarity;
        sum += similarity * exceeding;
    }
    (weights > 0.0).then(|| centre.map_or(0.0, |centre| centre.of(item)) + sum / weights)
}

/// The neighbours that [`predict`] takes the mean of, with what each adds to it, best neighbour first: what is predicted
/// is their sum, and the item's own centre.
#[must_use]
pub fn prediction_parts(
    neighbours: (&[u32], &[f32]),
    rated: impl Fn(u32) -> Option<f32>,
    centre: Option<Centre<'_>>,
    most: usize,
) -> Vec<(u32, f64)> {
    let used: Vec<(u32, f64, f64)> = used(neighbours, rated, centre, most).collect();
    let weights: f64 = used.iter().map(|entry| entry.1).sum();
    used.into_iter().map(|(row, similarity, exceeding)| (row, similarity * exceeding / weights)).collect()
}

/// Rows, similarities, and by how much ratings exceed the centre.
fn used<'a>(
    (rows, similarities): (&'a [u32], &'a [f32]),
    rated: impl Fn(u32) -> Option<f32> + 'a,
    centre: Option<Centre<'a>>,
    most: usize,
) -> impl Iterator<Item = (u32, f64, f64)> + 'a {
    // A mean has no place for what speaks against the item.
    let alike = rows.iter().zip(similarities).filter(|(_, similarity)| **similarity > 0.0);
    let known = alike.filter_map(move |(&row, &similarity)| {
        let rating = f64::from(rated(row)?);
        let expected = centre.map_or(0.0, |centre| centre.of(row));
        Some((row, f64::from(similarity), rating - expected))
    });
    known.take(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn matches_the_formula(
            ratings in prop::collection::btree_map(0_u32..20, 0_u8..=10, 0..20),
            neighbours in prop::collection::btree_map(0_u32..20, 1_u32..1_000, 0..15),
            biases in prop::collection::vec(-1.0_f32..1.0, 20),
            most in 1_usize..6,
        ) {
            // 0 is for one that was named without a rating.
            let rating = |half: u8| if half == 0 { f32::NAN } else { f32::from(half) / 2.0 };
            let (items, ratings): (Vec<u32>, Vec<f32>) =
                ratings.into_iter().map(|(item, half)| (item, rating(half))).unzip();
            let mut near: Vec<(f32, u32)> =
                neighbours.into_iter().map(|(row, s)| (s as f32 / 1_000.0, row)).collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let (similarities, rows): (Vec<f32>, Vec<u32>) = near.iter().copied().unzip();
            let rated = Rated { items: &items, ratings: &ratings };
            let centre = Centre { user: 3.4, items: &biases };
            let used: Vec<(f64, f64, f64)> = near
                .iter()
                .filter_map(|&(s, row)| {
                    let at = items.iter().position(|&item| item == row).filter(|&at| !ratings[at].is_nan())?;
                    let over = f64::from(ratings[at]) - 3.4 - f64::from(biases[row as usize]);
                    Some((f64::from(s), f64::from(ratings[at]), over))
                })
                .take(most)
                .collect();
            let weights: f64 = used.iter().map(|entry| entry.0).sum();
            let plain = predict(7, (&rows, &similarities), |item| rated.of(item), None, most);
            let centred = predict(7, (&rows, &similarities), |item| rated.of(item), Some(centre), most);
            prop_assert_eq!(plain.is_some(), !used.is_empty());
            if let (Some(plain), Some(centred)) = (plain, centred) {
                let exact = used.iter().map(|entry| entry.0 * entry.1).sum::<f64>() / weights;
                prop_assert!((plain - exact).abs() < 1e-9);
                let exact = used.iter().map(|entry| entry.0 * entry.2).sum::<f64>() / weights;
                prop_assert!((centred - exact - 3.4 - f64::from(biases[7])).abs() < 1e-9);
            }
            let parts = prediction_parts((&rows, &similarities), |item| rated.of(item), Some(centre), most);
            prop_assert_eq!(parts.len(), used.len());
            for ((row, part), (similarity, rating, over)) in parts.into_iter().zip(used) {
                prop_assert_eq!(rated.of(row).map(f64::from), Some(rating));
                prop_assert!((part - similarity * over / weights).abs() < 1e-9);
            }
        }
    }
}
