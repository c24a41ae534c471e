//! How alike two items are, by what hits carry of them. Pure.

use std::iter::Peekable;

use shoal_core::{Answers, ModelKind};
use shoal_proto::v1::ItemHit;

use crate::wire_numbers::{floats, numbers};

/// An item, as it is compared with others of the same version.
#[derive(Debug, Clone, PartialEq)]
pub enum Representation {
    /// Of a version of factors; see [`Representation::of_factors`].
    Factors {
        /// The factors, as many as the version's rank.
        values: Vec<f32>,
        /// Euclidean length of the factors.
        norm: f64,
    },
    /// Of a version that has vectors; see [`Representation::of_features`].
    Features {
        /// Those of the sparse blocks, ascending.
        features: Vec<u32>,
        /// One for each, then those of the genome, if the item has one.
        values: Vec<f32>,
    },
    /// Of a version that has nothing but neighbours; see [`Representation::of_neighbours`].
    Neighbours {
        /// The item's global row.
        row: u32,
        /// Rows and similarities, ascending by row.
        list: Vec<(u32, f32)>,
    },
}

impl Representation {
    /// By what a hit of a version of this model carries of its item.
    #[must_use]
    pub fn of_hit(model: ModelKind, hit: &ItemHit) -> Self {
        match model.answers() {
            Answers::ByFactors => Self::of_factors(floats(&hit.factors)),
            // A blend of factors sends these, another the neighbours of its first version.
            Answers::ByBlend if !hit.factors.is_empty() => Self::of_factors(floats(&hit.factors)),
            Answers::ByNeighbours if model == ModelKind::Content => {
                let features = numbers(&hit.features, u32::from_le_bytes);
                Self::of_features(features, floats(&hit.feature_values))
            }
            Answers::ByNeighbours | Answers::ByBlend => {
                let rows: Vec<u32> = numbers(&hit.neighbour_rows, u32::from_le_bytes);
                Self::of_neighbours(hit.row, &rows, &floats(&hit.similarities))
            }
        }
    }

    /// By factors: likeness is their cosine, −1 to 1, and 0 where either item has none.
    #[must_use]
    pub fn of_factors(values: Vec<f32>) -> Self {
        let norm = dot(&values, &values).sqrt();
        Self::Factors { values, norm }
    }

    /// By features, ascending, with one value for each, which those of a genome may follow: likeness is the inner product,
    /// 0 to 1 where vectors are no longer than 1, and what makes the version's neighbours.
    #[must_use]
    pub fn of_features(features: Vec<u32>, values: Vec<f32>) -> Self {
        Self::Features { features, values }
    }

    /// By the stored neighbours of the item in this global row, with one similarity for each, in any order: likeness is
    /// the greater of what either item's list says of the other, and 0 where neither names it.
    #[must_use]
    pub fn of_neighbours(row: u32, neighbours: &[u32], similarities: &[f32]) -> Self {
        let mut list: Vec<(u32, f32)> =
            neighbours.iter().copied().zip(similarities.iter().copied()).collect();
        list.sort_by_key(|neighbour| neighbour.0);
        Self::Neighbours { row, list }
    }

    /// How alike this and another item are; 0 for items of versions of different kinds.
    #[must_use]
    pub fn likeness(&self, other: &Self) -> f64 {
        match (self, other) {
            (Self::Factors { values: a, norm: of_a }, Self::Factors { values: b, norm: of_b }) => {
                let norms = of_a * of_b;
                if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
            }
            (Self::Features { features: a, values: of_a }, Self::Features { features: b, values: of_b }) => {
                sparse_dot((a, of_a), (b, of_b)) + dot(genome(a, of_a), genome(b, of_b))
            }
            (Self::Neighbours { row: a, list: of_a }, Self::Neighbours { row: b, list: of_b }) => {
                similarity(of_a, *b).max(similarity(of_b, *a))
            }
            _ => 0.0,
        }
    }
}

/// What a list says of a row.
fn similarity(list: &[(u32, f32)], row: u32) -> f64 {
    list.binary_search_by_key(&row, |neighbour| neighbour.0).map_or(0.0, |at| f64::from(list[at].1))
}

fn genome<'a>(features: &[u32], values: &'a [f32]) -> &'a [f32] {
    values.get(features.len()..).unwrap_or_default()
}

/// Over the features that both have.
fn sparse_dot((a, of_a): (&[u32], &[f32]), (b, of_b): (&[u32], &[f32])) -> f64 {
    let mut others: Peekable<_> = b.iter().zip(of_b).peekable();
    let mut sum = 0.0;
    for (feature, value) in a.iter().zip(of_a) {
        while others.next_if(|other| other.0 < feature).is_some() {}
        if let Some((_, other)) = others.next_if(|other| other.0 == feature) {
            sum += f64::from(*value) * f64::from(*other);
        }
    }
    sum
}

/// Over the elements that both have, in sums that do not wait for each other: a genome has a thousand elements, and a long
/// list compares fifty thousand pairs.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let length = a.len().min(b.len());
    let (a, of_a) = a[..length].as_chunks::<8>();
    let (b, of_b) = b[..length].as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    let rest = of_a.iter().zip(of_b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Of any length, in whole numbers, whose sums are exact in any order.
    fn values(length: usize) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec((-3_i8..4).prop_map(f32::from), length)
    }

    fn sparse() -> impl Strategy<Value = BTreeMap<u32, f32>> {
        prop::collection::btree_map(0_u32..12, (-3_i8..4).prop_map(f32::from), 0..8)
    }

    fn product(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
    }

    proptest! {
        #[test]
        fn factors_are_compared_by_cosine(
            (a, b) in (0_usize..40).prop_flat_map(|rank| (values(rank), values(rank))),
        ) {
            let norms = product(&a, &a).sqrt() * product(&b, &b).sqrt();
            let expected = if norms > 0.0 { product(&a, &b) / norms } else { 0.0 };
            let [a, b] = [a, b].map(Representation::of_factors);
            prop_assert_eq!((a.likeness(&b), b.likeness(&a)), (expected, expected));
        }

        #[test]
        fn features_are_compared_by_their_product(
            (a, b) in (sparse(), sparse()),
            (genome_a, genome_b) in (0_usize..20).prop_flat_map(|width| (values(width), values(width))),
            with_genome in (prop::bool::ANY, prop::bool::ANY),
        ) {
            let mut expected: f64 =
                a.iter().filter_map(|(feature, value)| Some(f64::from(value * b.get(feature)?))).sum();
            if with_genome == (true, true) {
                expected += product(&genome_a, &genome_b);
            }
            let vector = |sparse: BTreeMap<u32, f32>, genome: Vec<f32>, with_genome: bool| {
                let (features, mut values): (Vec<u32>, Vec<f32>) = sparse.into_iter().unzip();
                values.extend(genome.into_iter().filter(|_| with_genome));
                Representation::of_features(features, values)
            };
            let (a, b) = (vector(a, genome_a, with_genome.0), vector(b, genome_b, with_genome.1));
            prop_assert_eq!((a.likeness(&b), b.likeness(&a)), (expected, expected));
        }

        #[test]
        fn neighbours_are_alike_by_either_list(
            a in prop::collection::hash_map(0_u32..6, 1_u8..9, 0..6),
            b in prop::collection::hash_map(0_u32..6, 1_u8..9, 0..6),
        ) {
            let of = |list: &std::collections::HashMap<u32, u8>, row: u32| {
                f64::from(list.get(&row).copied().unwrap_or_default()) / 8.0
            };
            let expected = of(&a, 5).max(of(&b, 4));
            // In no order.
            let item = |row: u32, list: std::collections::HashMap<u32, u8>| {
                let (rows, similarities): (Vec<u32>, Vec<f32>) =
                    list.into_iter().map(|(row, eighths)| (row, f32::from(eighths) / 8.0)).unzip();
                Representation::of_neighbours(row, &rows, &similarities)
            };
            let (a, b) = (item(4, a), item(5, b));
            prop_assert_eq!((a.likeness(&b), b.likeness(&a)), (expected, expected));
        }
    }

    #[test]
    fn items_of_different_kinds_are_nothing_alike() {
        let factors = Representation::of_factors(vec![1.0]);
        let features = Representation::of_features(vec![0], vec![1.0]);
        let neighbours = Representation::of_neighbours(0, &[0], &[1.0]);
        assert_eq!(factors.likeness(&features), 0.0);
        assert_eq!(features.likeness(&neighbours), 0.0);
        assert_eq!(neighbours.likeness(&factors), 0.0);
    }
}
