//! EASE against an inverse in f64, over random likes and over those of real users; and its bits, over owners and threads.

mod bits;
mod refusals;

use std::{collections::HashMap, path::PathBuf};

use proptest::prelude::*;
use shoal_core::hash::{mix64, unit_interval};

use super::*;
use crate::{als::kernel::Kernel, preference::Preference};

/// Users' likings as `fit` takes them.
#[derive(Debug, Clone)]
struct Users {
    indptr: Vec<u64>,
    liked: Vec<u32>,
    likings: Vec<f32>,
    items: usize,
}

impl Users {
    fn new(lists: impl IntoIterator<Item = Vec<(u32, f32)>>, items: usize) -> Self {
        let mut users = Self { indptr: vec![0], liked: Vec::new(), likings: Vec::new(), items };
        for list in lists {
            users.indptr.push(users.indptr[users.indptr.len() - 1] + list.len() as u64);
            let (liked, likings): (Vec<u32>, Vec<f32>) = list.into_iter().unzip();
            users.liked.extend(liked);
            users.likings.extend(likings);
        }
        users
    }

    /// Users who like these items as much as can be.
    fn who_like(lists: impl IntoIterator<Item = Vec<u32>>, items: usize) -> Self {
        Self::new(lists.into_iter().map(|list| list.into_iter().map(|item| (item, 1.0)).collect()), items)
    }

    /// Items are liked the more often the lower their row, by some more than by others, and two in a row go together.
    fn random(count: usize, items: usize, density: f64, seed: u64) -> Self {
        let draw = |at: usize, salt: u64| unit_interval(mix64(seed ^ salt ^ mix64(at as u64)));
        let liking = |user: usize, item: usize| {
            let share = density * (1.0 - item as f64 / items as f64) + 0.01;
            let drawn = draw(user * items + item / 2, 1) * 0.7 + draw(user * items + item, 2) * 0.3;
            // Of a rating by halves of stars.
            let height = (draw(user * items + item, 3) * 10.0).ceil() as f32 / 10.0;
            (drawn < share).then_some((item as u32, height))
        };
        Self::new((0..count).map(|user| (0..items).filter_map(|item| liking(user, item)).collect()), items)
    }

    fn rows(&self) -> UserRows<'_> {
        UserRows { indptr: &self.indptr, items: &self.liked, likings: &self.likings }
    }

    /// What each user likes, by item, with its weight.
    fn lists(&self) -> Vec<Vec<(u32, f32)>> {
        let list = |ends: &[u64]| {
            (ends[0] as usize..ends[1] as usize).map(|at| (self.liked[at], self.likings[at])).collect()
        };
        self.indptr.windows(2).map(list).collect()
    }

    /// X, row by row.
    fn dense(&self) -> Vec<Vec<f64>> {
        let row = |list: Vec<(u32, f32)>| {
            let mut row = vec![0.0; self.items];
            list.into_iter()
                .for_each(|(item, liking)| row[item as usize] = (f64::from(liking) * 40.0).round() / 40.0);
            row
        };
        self.lists().into_iter().map(row).collect()
    }

    fn fit(&self, settings: &Settings, kernel: Kernel) -> Result<Fitted, FitError> {
        fit(self.rows(), self.items, settings, kernel)
    }

    /// B by the book, in f64, row by row. With fewer users than items by way of their inner products (Woodbury's identity):
    /// P = (I − Xᵀ (X Xᵀ + λ I)⁻¹ X) / λ.
    fn weights_in_f64(&self, ridge: f64) -> Vec<f64> {
        let (x, items) = (self.dense(), self.items);
        let users = x.len();
        let mut inverse = vec![0.0; items * items];
        if users < items {
            let mut products = vec![0.0; users * users];
            for (i, left) in x.iter().enumerate() {
                for (j, right) in x.iter().enumerate() {
                    let product: f64 = left.iter().zip(right).map(|(a, b)| a * b).sum();
                    products[i * users + j] = product + if i == j { ridge } else { 0.0 };
                }
            }
            invert_in_f64(&mut products, users);
            for (i, left) in x.iter().enumerate() {
                let mut row = vec![0.0; items];
                for (j, right) in x.iter().enumerate() {
                    add_scaled(products[i * users + j], right, &mut row);
                }
                for (item, liking) in left.iter().enumerate().filter(|(_, liking)| **liking != 0.0) {
                    add_scaled(-liking / ridge, &row, &mut inverse[item * items..][..items]);
                }
            }
            (0..items).for_each(|item| inverse[item * items + item] += 1.0 / ridge);
        } else {
            for row in &x {
                for (item, liking) in row.iter().enumerate().filter(|(_, liking)| **liking != 0.0) {
                    add_scaled(*liking, row, &mut inverse[item * items..][..items]);
                }
            }
            (0..items).for_each(|item| inverse[item * items + item] += ridge);
            invert_in_f64(&mut inverse, items);
        }
        let diagonal: Vec<f64> = (0..items).map(|item| inverse[item * items + item]).collect();
        for (at, value) in inverse.iter_mut().enumerate() {
            *value = if at / items == at % items { 0.0 } else { -*value / diagonal[at % items] };
        }
        inverse
    }
}

fn add_scaled(scale: f64, source: &[f64], target: &mut [f64]) {
    target.iter_mut().zip(source).for_each(|(target, value)| *target += scale * value);
}

/// Gauss and Jordan's elimination of a positive definite matrix in its place.
fn invert_in_f64(matrix: &mut [f64], order: usize) {
    for at in 0..order {
        let pivot = matrix[at * order + at];
        matrix[at * order + at] = 1.0;
        let line: Vec<f64> = matrix[at * order..][..order].iter().map(|value| value / pivot).collect();
        matrix[at * order..][..order].copy_from_slice(&line);
        for row in (0..order).filter(|row| *row != at) {
            let target = &mut matrix[row * order..][..order];
            let factor = std::mem::take(&mut target[at]);
            add_scaled(-factor, &line, target);
        }
    }
}

fn settings(ridge: f64, neighbours: usize) -> Settings {
    Settings { ridge, neighbours, items_max: None, memory_max: 1 << 32 }
}

/// The greatest difference of a weight from that in f64; weights that are not kept count as zero.
fn greatest_error(fitted: &Fitted, exact: &[f64], items: usize) -> f64 {
    let mut greatest = 0.0_f64;
    for item in 0..items {
        let mut kept = vec![0.0; items];
        let (rows, values) = fitted.weights.of(item);
        rows.iter().zip(values).for_each(|(&row, &value)| kept[row as usize] = value);
        for (other, weight) in kept.into_iter().enumerate() {
            greatest = greatest.max((f64::from(weight) - exact[other * items + item]).abs());
        }
    }
    greatest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn weights_match_an_inverse_in_f64(
        users in 1_usize..500,
        items in 1_usize..600,
        density in 0.0_f64..0.6,
        ridge in prop::sample::select(vec![0.5, 10.0, 500.0]),
        seed: u64,
    ) {
        let users = Users::random(users, items, density, seed);
        let exact = users.weights_in_f64(ridge);
        for kernel in Kernel::available() {
            let fitted = users.fit(&settings(ridge, items), kernel).unwrap();
            let error = greatest_error(&fitted, &exact, items);
            prop_assert!(error < 1e-4, "{error} with {kernel:?}");
        }
    }

    #[test]
    fn the_largest_weights_are_kept_and_some_of_each_item(
        users in 20_usize..200, items in 2_usize..300, most in 0_usize..60, seed: u64,
    ) {
        let users = Users::random(users, items, 0.3, seed);
        let all = users.fit(&settings(20.0, items), Kernel::detect()).unwrap();
        let kept = users.fit(&settings(20.0, most), Kernel::detect()).unwrap();
        let least = most.min(20);
        let (mut beyond_least, mut left_out) = (f32::INFINITY, 0.0_f32);
        let mut count = 0;
        for item in 0..items {
            let ((rows, values), (kept_rows, kept_values)) = (all.weights.of(item), kept.weights.of(item));
            prop_assert!(values.is_sorted_by(|a, b| a.abs() >= b.abs()) && !rows.contains(&(item as u32)));
            let end = kept_rows.len();
            prop_assert!(end >= least.min(rows.len()));
            prop_assert_eq!((kept_rows, kept_values), (&rows[..end], &values[..end]));
            if end > least {
                beyond_least = beyond_least.min(kept_values[end - 1].abs());
                count += end;
            }
            left_out = left_out.max(values.get(end).map_or(0.0, |value| value.abs()));
        }
        prop_assert!(left_out < beyond_least && count <= kept.items.len() * most);
        // Room for another bucket was not left: its weights are within 0.8 % of each other.
        let sizes = (0..items).flat_map(|item| all.weights.of(item).1.iter().map(|value| value.abs()));
        let as_large = sizes.filter(|size| *size >= left_out * 0.99).count();
        prop_assert!(left_out == 0.0 || as_large > kept.items.len() * most);
    }

    #[test]
    fn the_most_liked_items_are_as_if_there_were_no_others(items in 2_usize..80, most in 1_usize..80, seed: u64) {
        let users = Users::random(60, items, 0.4, seed);
        let mut counts = vec![0_u32; items];
        users.liked.iter().for_each(|&row| counts[row as usize] += 1);
        let mut order: Vec<usize> = (0..items).filter(|&item| counts[item] > 0).collect();
        order.sort_by_key(|&item| (std::cmp::Reverse(counts[item]), item));
        order.truncate(most);
        let wanted = |row: &u32| order.contains(&(*row as usize));
        let mut lists = users.lists();
        lists.iter_mut().for_each(|list| list.retain(|(row, _)| wanted(row)));
        let without = Users::new(lists, items);
        let limited = Settings { items_max: Some(most), ..settings(5.0, items) };
        let fitted = users.fit(&limited, Kernel::detect()).unwrap();
        prop_assert_eq!(&fitted, &without.fit(&settings(5.0, items), Kernel::detect()).unwrap());
        prop_assert_eq!(fitted.items.len(), order.len());
        prop_assert!(fitted.items.is_sorted() && fitted.items.iter().all(wanted));
    }
}

#[test]
fn two_items_that_go_together_speak_for_each_other_and_an_exception_against() {
    // Items 0 and 1 are liked together; 2 is liked instead of 1.
    let users = Users::who_like([vec![0, 1], vec![0, 1], vec![0, 1], vec![0, 2], vec![0, 2]], 4);
    let fitted = users.fit(&settings(1.0, 4), Kernel::detect()).unwrap();
    assert_eq!(fitted.items, [0, 1, 2]);
    let weight = |of: u32, item: usize| {
        let (rows, values) = fitted.weights.of(item);
        values[rows.iter().position(|row| *row == of).unwrap()]
    };
    assert!(weight(0, 1) > 0.0 && weight(2, 1) < 0.0, "{fitted:?}");
    assert!(fitted.weights.of(3).0.is_empty());
}

/// Where real ratings are, if anywhere.
fn real_ratings() -> Option<PathBuf> {
    let folder = std::env::var_os("SHOAL_REAL_DATA")?;
    Some(PathBuf::from(folder).join("ml-latest-small/ratings.csv"))
}

#[test]
fn real_likings_match_an_inverse_in_f64() {
    let Some(path) = real_ratings() else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let preference = Preference::by_height(0.5, 5.0);
    let mut rows = HashMap::new();
    let mut lists: Vec<Vec<(u32, f32)>> = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let user: usize = fields[0].parse().unwrap();
        lists.resize(lists.len().max(user), Vec::new());
        let next = rows.len() as u32;
        let row = *rows.entry(fields[1].to_owned()).or_insert(next);
        lists[user - 1].push((row, preference.of(fields[2].parse().unwrap()) as f32));
    }
    lists.iter_mut().for_each(|list| list.sort_unstable_by_key(|(row, _)| *row));
    let users = Users::new(lists, rows.len());
    let exact = users.weights_in_f64(50.0);
    let fitted = users.fit(&settings(50.0, users.items), Kernel::detect()).unwrap();
    let error = greatest_error(&fitted, &exact, users.items);
    assert!(error < 1e-4, "{error}");
}

#[test]
fn as_many_weights_are_kept_as_there_is_room_for() {
    let mut sizes = Sizes::default();
    [1.0, -2.0, 4.0, 0.0].into_iter().for_each(|weight| sizes.add(weight));
    for (neighbours, size_min) in [(4, 1.0), (3, 1.0), (2, 2.0), (1, 4.0), (0, f32::INFINITY)] {
        let selection = sizes.selection(1, neighbours);
        assert_eq!(selection, Selection { size_min, least: neighbours }, "{neighbours} weights");
    }
}
