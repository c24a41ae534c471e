//! Sums over pairs with one item.

use shoal_core::topk::TopK;

use super::{Settings, measure::ItemTotals, pair_row::PairRow, raters::CoRaters};

/// Sums of one item's pairs while they are added up: dense over the catalogue, so that adding is one
/// indexed step. Empty again after every [`PairAccumulator::take`].
#[derive(Debug)]
pub struct PairAccumulator {
    width: usize,
    sums: Vec<i64>,
    touched: Vec<u32>,
    /// Nobody noted which were touched: all of them have to be looked at.
    any_touched: bool,
}

/// Of a catalogue, the part of columns above which walking all of it is cheaper than sorting those touched.
const DENSE_SHARE: usize = 16;

impl PairAccumulator {
    /// For pairs with each of `items` rows: 8 · `items` · `width` bytes.
    #[must_use]
    pub fn new(items: usize, width: usize) -> Self {
        Self { width, sums: vec![0; items * width], touched: Vec::new(), any_touched: false }
    }

    /// Adds the pairs of `item` over some users.
    pub fn add_users(&mut self, raters: &CoRaters, item: u32) {
        debug_assert_eq!(self.width, raters.width());
        match self.width {
            1 => self.add_pairs::<1>(raters, item),
            2 => self.add_pairs::<2>(raters, item),
            4 => self.add_pairs::<4>(raters, item),
            _ => self.add_pairs::<6>(raters, item),
        }
    }

    fn add_pairs<const W: usize>(&mut self, raters: &CoRaters, item: u32) {
        let (sums, _) = self.sums.as_chunks_mut::<W>();
        if raters.pairs_with(item as usize) >= sums.len() {
            self.any_touched = true;
            raters.for_each_pair(item as usize, |column, x, y| {
                for (sum, value) in sums[column].iter_mut().zip(of_pair(x, y)) {
                    *sum += value;
                }
            });
            return;
        }
        raters.for_each_pair(item as usize, |column, x, y| {
            let target = &mut sums[column];
            if target[0] == 0 {
                self.touched.push(column as u32);
            }
            for (sum, value) in target.iter_mut().zip(of_pair(x, y)) {
                *sum += value;
            }
        });
    }

    /// Adds what another worker has summed for the same item.
    ///
    /// # Panics
    /// When the row has a column that the catalogue has not.
    pub fn add_row(&mut self, row: &PairRow) {
        for (&column, values) in row.columns.iter().zip(row.sums.chunks_exact(self.width)) {
            let target = &mut self.sums[column as usize * self.width..][..self.width];
            if target[0] == 0 {
                self.touched.push(column);
            }
            for (sum, value) in target.iter_mut().zip(values) {
                *sum += value;
            }
        }
    }

    /// Calls `each` with the columns touched, ascending, and their sums; what follows starts from nothing.
    fn drain<const W: usize>(&mut self, mut each: impl FnMut(u32, &[i64; W])) {
        let (sums, _) = self.sums.as_chunks_mut::<W>();
        let mut take = |column: u32, sums: &mut [i64; W]| {
            each(column, sums);
            *sums = [0; W];
        };
        let columns = &mut self.touched;
        if std::mem::take(&mut self.any_touched) || columns.len() * DENSE_SHARE > sums.len() {
            // Rows of a side are counted in a u32.
            (0..).zip(sums).filter(|(_, sums)| sums[0] != 0).for_each(|(column, sums)| take(column, sums));
        } else {
            columns.sort_unstable();
            columns.iter().for_each(|&column| take(column, &mut sums[column as usize]));
        }
        columns.clear();
    }

    /// The sums of `item`'s pairs; what follows starts from nothing.
    pub fn take(&mut self, item: u32) -> PairRow {
        match self.width {
            1 => self.take_row::<1>(item),
            2 => self.take_row::<2>(item),
            4 => self.take_row::<4>(item),
            _ => self.take_row::<6>(item),
        }
    }

    fn take_row<const W: usize>(&mut self, item: u32) -> PairRow {
        let mut row = PairRow::default();
        self.drain::<W>(|column, sums| {
            if column != item {
                row.columns.push(column);
                row.sums.extend_from_slice(sums);
            }
        });
        row
    }

    /// The items most similar to `item`, best first, ties by row; what follows starts from nothing. Only
    /// what is more alike than not is kept: similarities above 0.
    pub fn take_neighbours(
        &mut self,
        item: u32,
        totals: &ItemTotals,
        settings: &Settings,
    ) -> Vec<(f32, u32)> {
        match self.width {
            1 => self.take_best::<1>(item, totals, settings),
            2 => self.take_best::<2>(item, totals, settings),
            4 => self.take_best::<4>(item, totals, settings),
            _ => self.take_best::<6>(item, totals, settings),
        }
    }

    fn take_best<const W: usize>(
        &mut self,
        item: u32,
        totals: &ItemTotals,
        settings: &Settings,
    ) -> Vec<(f32, u32)> {
        let mut top = TopK::new(settings.neighbours_max);
        let common_min = i64::from(settings.common_users_min.max(1));
        let of_item = totals.0[item as usize];
        self.drain::<W>(|column, sums| {
            let common = sums[0];
            if common >= common_min && column != item {
                let weight = common as f64 / (common as f64 + settings.shrinkage);
                let similarity = settings.measure.similarity(sums, of_item, totals.0[column as usize]);
                let similarity = (weight * similarity) as f32;
                if similarity > 0.0 && similarity >= top.threshold() {
                    top.push(similarity, column);
                }
            }
        });
        top.into_sorted()
    }
}

/// What a pair with the values x and y adds to each sum.
fn of_pair(x: i64, y: i64) -> [i64; 6] {
    [1, x * y, x * x, y * y, x, y]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::item_cf::{Fixed, Measure, UserRows, sample};

    const ITEMS: usize = 12;
    const MEASURES: [Measure; 4] =
        [Measure::Cosine, Measure::AdjustedCosine, Measure::Pearson, Measure::Jaccard];

    /// Users with their ratings by item, ascending.
    type Users = Vec<Vec<(u32, f32)>>;

    fn users() -> impl Strategy<Value = Users> {
        let ratings = prop::collection::btree_map(0..ITEMS as u32, 1_u8..=10, 0..ITEMS);
        let halves = |ratings: std::collections::BTreeMap<u32, u8>| {
            ratings.into_iter().map(|(item, half)| (item, f32::from(half) / 2.0)).collect()
        };
        prop::collection::vec(ratings.prop_map(halves), 0..30)
    }

    fn settings(measure: Measure) -> Settings {
        Settings {
            measure,
            common_users_min: 2,
            shrinkage: 3.0,
            neighbours_max: 5,
            user_ratings_max: 7,
            seed: 3,
        }
    }

    fn raters(users: &[Vec<(u32, f32)>], first_user: u64, settings: &Settings) -> CoRaters {
        let mut indptr = vec![0];
        for user in users {
            indptr.push(indptr[indptr.len() - 1] + user.len() as u64);
        }
        let (items, ratings): (Vec<u32>, Vec<f32>) = users.iter().flatten().copied().unzip();
        let hashes: Vec<u64> = (first_user..first_user + users.len() as u64).collect();
        let rows = UserRows { indptr: &indptr, items: &items, ratings: &ratings, hashes: &hashes };
        CoRaters::new(rows, ITEMS, Fixed::new(settings.measure, 0.5, 5.0, 30), settings)
    }

    /// The similarity of two items by the book, in f64 over the sampled ratings.
    fn naive(users: &Users, settings: &Settings, i: u32, j: u32) -> (usize, f64) {
        let values: Vec<Vec<(u32, f64)>> = users
            .iter()
            .enumerate()
            .map(|(user, ratings)| {
                let items: Vec<u32> = ratings.iter().map(|rating| rating.0).collect();
                let mean = ratings.iter().map(|rating| f64::from(rating.1)).sum::<f64>() / items.len() as f64;
                let kept = sample(&items, settings.user_ratings_max, user as u64, settings.seed);
                kept.iter().map(|&at| (items[at], settings.measure.value(ratings[at].1, mean))).collect()
            })
            .collect();
        let value =
            |user: &[(u32, f64)], item| user.iter().find(|entry| entry.0 == item).map(|entry| entry.1);
        let of = |item| values.iter().filter_map(|user| value(user, item)).collect::<Vec<f64>>();
        let common: Vec<(f64, f64)> =
            values.iter().filter_map(|user| Some((value(user, i)?, value(user, j)?))).collect();
        let n = common.len() as f64;
        let sum = |of: &dyn Fn(&(f64, f64)) -> f64| common.iter().map(of).sum::<f64>();
        let squares = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
        let ratio = |a: f64, b: f64| if b > 1e-9 { a / b } else { 0.0 };
        let similarity = match settings.measure {
            Measure::Cosine => ratio(sum(&|p| p.0 * p.1), (squares(&of(i)) * squares(&of(j))).sqrt()),
            Measure::AdjustedCosine => {
                ratio(sum(&|p| p.0 * p.1), (sum(&|p| p.0 * p.0) * sum(&|p| p.1 * p.1)).sqrt())
            }
            Measure::Pearson => {
                let (x, y) = (sum(&|p| p.0) / n, sum(&|p| p.1) / n);
                let spread = sum(&|p| (p.0 - x).powi(2)) * sum(&|p| (p.1 - y).powi(2));
                ratio(sum(&|p| (p.0 - x) * (p.1 - y)), spread.sqrt())
            }
            Measure::Jaccard => ratio(n, (of(i).len() + of(j).len()) as f64 - n),
        };
        (common.len(), similarity * n / (n + settings.shrinkage))
    }

    proptest! {
        #[test]
        fn neighbours_match_the_definitions(users in users()) {
            for measure in MEASURES {
                let settings = settings(measure);
                let raters = raters(&users, 0, &settings);
                let mut pairs = PairAccumulator::new(ITEMS, measure.width());
                for item in 0..ITEMS as u32 {
                    pairs.add_users(&raters, item);
                    let found = pairs.take_neighbours(item, &raters.totals(0..ITEMS), &settings);
                    let candidates: Vec<(f64, u32)> = (0..ITEMS as u32)
                        .filter(|&other| other != item)
                        .map(|other| (naive(&users, &settings, item, other), other))
                        .filter(|((common, similarity), _)| *common >= 2 && *similarity > 1e-4)
                        .map(|((_, similarity), other)| (similarity, other))
                        .collect();
                    prop_assert!(found.len() >= candidates.len().min(5), "{measure:?} {found:?} {candidates:?}");
                    let worst = found.last().map_or(0.0, |entry| entry.0);
                    for (similarity, other) in candidates {
                        match found.iter().find(|entry| entry.1 == other) {
                            Some(entry) => prop_assert!((f64::from(entry.0) - similarity).abs() < 1e-4),
                            None => prop_assert!(similarity < f64::from(worst) + 1e-4),
                        }
                    }
                    let ordered = |pair: &[(f32, u32)]| {
                        pair[0].0 > pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1)
                    };
                    prop_assert!(found.windows(2).all(ordered));
                }
            }
        }

        #[test]
        fn users_spread_over_workers_give_the_same_bits(users in users(), cut in 0_usize..30) {
            for measure in MEASURES {
                let settings = settings(measure);
                let together = raters(&users, 0, &settings);
                let (left, right) = users.split_at(cut.min(users.len()));
                let parts = [raters(right, left.len() as u64, &settings), raters(left, 0, &settings)];
                let mut totals = parts[0].totals(0..ITEMS);
                totals.merge_bytes(&parts[1].totals(0..ITEMS).to_bytes()).unwrap();
                prop_assert_eq!(&totals, &together.totals(0..ITEMS));
                let mut whole = PairAccumulator::new(ITEMS, measure.width());
                let mut merged = PairAccumulator::new(ITEMS, measure.width());
                let mut local = PairAccumulator::new(ITEMS, measure.width());
                for item in 0..ITEMS as u32 {
                    for part in &parts {
                        local.add_users(part, item);
                        merged.add_row(&local.take(item));
                    }
                    whole.add_users(&together, item);
                    let row = whole.take(item);
                    merged.add_row(&PairRow::default());
                    prop_assert!(row.columns.is_sorted_by(|a, b| a < b) && !row.columns.contains(&item));
                    whole.add_row(&row);
                    let expected = whole.take_neighbours(item, &totals, &settings);
                    let found = merged.take_neighbours(item, &totals, &settings);
                    let bits = |list: &[(f32, u32)]| {
                        list.iter().map(|entry| (entry.0.to_bits(), entry.1)).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(bits(&found), bits(&expected));
                }
            }
        }

        #[test]
        fn users_that_are_gathered_give_the_same_bits(
            users in users(),
            cut in 0_usize..30,
            owned in 0..ITEMS as u32,
            block in 1_usize..8,
        ) {
            let bits = |list: Vec<(f32, u32)>| {
                list.into_iter().map(|entry| (entry.0.to_bits(), entry.1)).collect::<Vec<_>>()
            };
            for measure in MEASURES {
                let settings = settings(measure);
                let together = raters(&users, 0, &settings);
                let cut = cut.min(users.len());
                let (left, right) = users.split_at(cut);
                let own = raters(right, cut as u64, &settings);
                let peer = raters(left, 0, &settings);
                let blocks = (0..cut).step_by(block).map(|begin| {
                    let of_block = begin..cut.min(begin + block);
                    (of_block.len(), peer.encode_users(of_block))
                });
                let range = owned..ITEMS as u32;
                let gathered = own.gathered(&blocks.collect::<Vec<_>>(), std::slice::from_ref(&range)).unwrap();
                let totals = together.totals(0..ITEMS);
                let rows = owned as usize..ITEMS;
                prop_assert_eq!(gathered.totals(rows.clone()), together.totals(rows));
                let mut pairs = PairAccumulator::new(ITEMS, measure.width());
                for item in range {
                    pairs.add_users(&together, item);
                    let expected = bits(pairs.take_neighbours(item, &totals, &settings));
                    pairs.add_users(&gathered, item);
                    prop_assert_eq!(bits(pairs.take_neighbours(item, &totals, &settings)), expected);
                }
            }
        }

        #[test]
        fn similarity_is_symmetric_and_bounded(users in users()) {
            for measure in MEASURES {
                let settings = Settings { neighbours_max: ITEMS, shrinkage: 0.0, ..settings(measure) };
                let raters = raters(&users, 0, &settings);
                let mut pairs = PairAccumulator::new(ITEMS, measure.width());
                let lists: Vec<Vec<(f32, u32)>> = (0..ITEMS as u32)
                    .map(|item| {
                        pairs.add_users(&raters, item);
                        pairs.take_neighbours(item, &raters.totals(0..ITEMS), &settings)
                    })
                    .collect();
                for (item, list) in lists.iter().enumerate() {
                    for &(similarity, other) in list {
                        prop_assert!(similarity <= 1.0 + 1e-6);
                        let back = lists[other as usize].iter().find(|entry| entry.1 == item as u32);
                        prop_assert_eq!(back.map(|entry| entry.0.to_bits()), Some(similarity.to_bits()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_very_active_user_costs_no_more_than_the_limit() {
        let user: Vec<(u32, f32)> = (0..ITEMS as u32).map(|item| (item, 3.0)).collect();
        let raters = raters(&[user], 0, &settings(Measure::Cosine));
        let mut pairs = 0;
        (0..ITEMS).for_each(|item| raters.for_each_pair(item, |_, _, _| pairs += 1));
        assert_eq!(pairs, 49);
    }
}
