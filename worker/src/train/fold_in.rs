//! A row for a user whom the model has not seen, from rated items: exactly the half-step's solve, and on
//! request what each rated item adds to a score. Serving solves so for sessions, training for users who are held out.

use std::sync::{Arc, Mutex, PoisonError};

use shoal_engine::als::{
    explain::contributions,
    explicit,
    fit::{Fit, RatingRows},
    half_step::{HalfStep, Kept},
    implicit,
    kernel::Kernel,
    problem::{self, RowError},
    rotation::Eigenbasis,
};
use shoal_proto::v1::{Objective, Side};

use super::{error::FoldInError, settings::Settings};

/// What a user has rated, as the half-step sees it: rows of the items' factors in ascending global row order.
#[derive(Debug, Clone, Default)]
pub struct Rated {
    /// Ranking factors; empty when the version has none.
    pub ranking: Vec<f32>,
    /// Rating factors; empty when the version has none.
    pub rating: Vec<f32>,
    /// One for each item, with the rating factors.
    pub biases: Vec<f32>,
    /// One for each item; `None` where it was named without a rating.
    pub ratings: Vec<Option<f32>>,
    /// Σ q qᵀ over all items, for the ranking objective.
    pub gramian: Arc<[f64]>,
}

/// The solved row of a user whom the version does not know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Folded {
    /// Empty when the version has no ranking factors.
    pub ranking: Vec<f32>,
    /// Empty when the version has no rating factors, or no item has a rating.
    pub rating: Vec<f32>,
    /// With the rating factors.
    pub rating_bias: f32,
    /// What each rated item adds to the row; see [`contributions`].
    pub contributions: Vec<f32>,
}

/// Solves rows of one version.
#[derive(Debug, Clone)]
pub struct FoldIn {
    settings: Settings,
    /// Of all ratings: what an item that was named without one may count as, for the ranking objective.
    rating_mean: f32,
    kernel: Kernel,
    /// Of the Gramian that came last: a version's stays the same, and its eigenvectors take longer than a row.
    basis: Arc<Mutex<Option<KeptBasis>>>,
}

#[derive(Debug)]
struct KeptBasis {
    gramian: Arc<[f64]>,
    basis: Arc<Eigenbasis>,
}

impl FoldIn {
    /// For rows of a version that was trained so. `rating_mean` is that of its training ratings.
    pub(crate) fn new(settings: Settings, rating_mean: f64, kernel: Kernel) -> Self {
        Self { settings, rating_mean: rating_mean as f32, kernel, basis: Arc::default() }
    }

    /// The user's row, and what each rated item adds to the scores of `explained` (rows of the factors of
    /// `objective`). An item without a rating is a sign of interest like any other for the ranking objective,
    /// and says nothing to the rating objective.
    ///
    /// # Errors
    /// See [`FoldInError`].
    pub fn solve(
        &self,
        rated: &Rated,
        explained: &[f32],
        objective: Objective,
    ) -> Result<Folded, FoldInError> {
        let mut folded = Folded::default();
        if let Some(system) = self.ranking(rated)? {
            let solver = self.solver(system.fit(), &system.ratings, Some(&rated.gramian));
            folded.ranking = self.rounded(solver.solve()?);
            if objective == Objective::Ranking {
                folded.contributions = solver.explain(explained)?;
            }
        }
        if let Some(system) = self.rating(rated)? {
            let solver = self.solver(system.fit(), &system.ratings, None);
            folded.rating = self.rounded(solver.solve()?);
            if system.settings.biases {
                folded.rating_bias = folded.rating.pop().unwrap_or_default();
            }
            if objective == Objective::Rating {
                folded.contributions = spread(&solver.explain(explained)?, &rated.ratings);
            }
        }
        Ok(folded)
    }

    /// A new row has nowhere to start from, so it is solved exactly.
    fn solver<'a>(&self, fit: Fit<'a>, ratings: &'a [f32], gramian: Option<&Arc<[f64]>>) -> Solver<'a> {
        let basis = gramian.and_then(|gramian| self.basis(gramian, fit.rank()));
        Solver { kernel: self.kernel, method: self.settings.exact_solver(), fit, basis, ratings }
    }

    fn basis(&self, gramian: &Arc<[f64]>, rank: usize) -> Option<Arc<Eigenbasis>> {
        let mut kept = self.basis.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) =
            kept.as_ref().filter(|kept| Arc::ptr_eq(&kept.gramian, gramian) || kept.gramian == *gramian)
        {
            return Some(Arc::clone(&kept.basis));
        }
        let basis = Arc::new(Eigenbasis::new(self.kernel, gramian, rank)?);
        *kept = Some(KeptBasis { gramian: Arc::clone(gramian), basis: Arc::clone(&basis) });
        Some(basis)
    }

    /// As training keeps rows.
    fn rounded(&self, mut solution: Vec<f32>) -> Vec<f32> {
        self.settings.exchange.round(&mut solution);
        solution
    }

    fn ranking<'a>(&self, rated: &'a Rated) -> Result<Option<Ranking<'a>>, FoldInError> {
        let Some(settings) = self.settings.ranking(Side::Users) else { return Ok(None) };
        check("ranking_factors", rated.ranking.len(), rated.ratings.len() * settings.rank)?;
        check("gramian", rated.gramian.len(), settings.rank * settings.rank)?;
        let unrated = settings.preference.unrated(self.rating_mean);
        let ratings = rated.ratings.iter().map(|rating| rating.unwrap_or(unrated)).collect();
        Ok(Some(Ranking { settings, rows: &rated.ranking, gramian: &rated.gramian, ratings }))
    }

    fn rating(&self, rated: &Rated) -> Result<Option<Rating>, FoldInError> {
        let Some(settings) = self.settings.rating() else { return Ok(None) };
        let rank = settings.rank;
        check("rating_factors", rated.rating.len(), rated.ratings.len() * rank)?;
        check("rating_biases", rated.biases.len(), rated.ratings.len())?;
        let (mut rows, mut ratings) = (Vec::new(), Vec::new());
        let items = rated.rating.chunks_exact(rank).zip(&rated.biases).zip(&rated.ratings);
        for ((factors, bias), rating) in items {
            let Some(rating) = rating else { continue };
            rows.extend_from_slice(factors);
            if settings.biases {
                rows.push(*bias);
            }
            ratings.push(*rating);
        }
        Ok((!ratings.is_empty()).then_some(Rating { settings, rows, ratings }))
    }
}

fn check(field: &'static str, found: usize, expected: usize) -> Result<(), FoldInError> {
    if found == expected { Ok(()) } else { Err(FoldInError::Shape(field)) }
}

/// A user's row of the ranking objective, to be solved.
struct Ranking<'a> {
    settings: implicit::Settings,
    rows: &'a [f32],
    gramian: &'a [f64],
    ratings: Vec<f32>,
}

impl Ranking<'_> {
    fn fit(&self) -> Fit<'_> {
        Fit::Implicit { settings: &self.settings, fixed: self.rows, gramian: self.gramian }
    }
}

/// A user's row of the rating objective, to be solved.
struct Rating {
    settings: explicit::Settings,
    /// As stored: the factors and, if there are biases, the bias.
    rows: Vec<f32>,
    ratings: Vec<f32>,
}

impl Rating {
    fn fit(&self) -> Fit<'_> {
        Fit::Explicit { settings: &self.settings, fixed: &self.rows }
    }
}

/// One row as a block of its own, by the very solver of a half-step.
struct Solver<'a> {
    kernel: Kernel,
    method: problem::Solver,
    /// Slot i is the i-th rated item.
    fit: Fit<'a>,
    basis: Option<Arc<Eigenbasis>>,
    ratings: &'a [f32],
}

impl Solver<'_> {
    fn solve(&self) -> Result<Vec<f32>, RowError> {
        let (indptr, slots) = self.row();
        let rows = RatingRows { indptr: &indptr, slots: &slots, ratings: self.ratings };
        let mut solution = vec![0.0; self.fit.width()];
        let kept = Kept { basis: self.basis.clone(), ..Kept::default() };
        HalfStep::with_kept(self.kernel, self.fit, self.method, rows, kept).solve(0..1, &mut solution)?;
        Ok(solution)
    }

    fn explain(&self, explained: &[f32]) -> Result<Vec<f32>, FoldInError> {
        if !explained.len().is_multiple_of(self.fit.rank()) {
            return Err(FoldInError::Shape("explain"));
        }
        let (indptr, slots) = self.row();
        let rows = RatingRows { indptr: &indptr, slots: &slots, ratings: self.ratings };
        contributions(&self.fit, rows.row(0), explained).map_err(|_| FoldInError::Unsolvable)
    }

    fn row(&self) -> ([u64; 2], Vec<u32>) {
        // Rated items are rows of one side, which are counted in a u32.
        ([0, self.ratings.len() as u64], (0..self.ratings.len() as u32).collect())
    }
}

/// Puts the parts of items with a rating into columns for all items; the others are zero.
fn spread(parts: &[f32], ratings: &[Option<f32>]) -> Vec<f32> {
    let rated = ratings.iter().flatten().count();
    let spread = |parts: &[f32]| {
        let mut parts = parts.iter().copied();
        let part = |rating: &Option<f32>| rating.and_then(|_| parts.next()).unwrap_or_default();
        ratings.iter().map(part).collect::<Vec<f32>>()
    };
    parts.chunks_exact(rated.max(1)).flat_map(spread).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_core::hash::{mix64, unit_interval};
    use shoal_engine::als::{fit::Row, gramian::shard_gramian};
    use shoal_proto::v1::{
        AlsParameters, ExplicitParameters, ImplicitParameters, ObjectiveChoice, Preference as PreferenceKind,
    };

    use super::*;

    const ITEMS: usize = 50;

    /// Without biases the weights are one and likings go by height, which is what is trained by default.
    fn settings(rank: usize, biases: bool) -> Settings {
        let preference = if biases { PreferenceKind::Observed } else { PreferenceKind::Height };
        let parameters = AlsParameters {
            objective: ObjectiveChoice::Both.into(),
            rank: rank as u32,
            explicit: Some(ExplicitParameters { regularization: 0.1, biases, ..Default::default() }),
            implicit: Some(ImplicitParameters {
                regularization: 0.02,
                unobserved_weight: 0.1,
                alpha: if biases { 0.3 } else { 0.0 },
                regularization_exponent: 1.0,
                preference: preference.into(),
                rating_least: 0.5,
                rating_greatest: 5.0,
                ..Default::default()
            }),
            ..AlsParameters::default()
        };
        let mut settings = Settings::new(&parameters, 30, ITEMS as u64).unwrap();
        settings.set_rating_mean(3.5);
        settings
    }

    proptest! {
        #[test]
        fn has_the_bits_of_a_row_of_a_half_step(rank in 1_usize..40, biases: bool, users in 1_usize..12, seed: u64) {
            let settings = settings(rank, biases);
            let (rating, ranking) = (settings.rating().unwrap(), settings.ranking(Side::Users).unwrap());
            let number = |i: usize| unit_interval(mix64(seed ^ mix64(i as u64)));
            let factors: Vec<f32> = (0..ITEMS * rank).map(|i| (number(i) - 0.5) as f32).collect();
            let item_biases: Vec<f32> = (0..ITEMS).map(|i| if biases { number(i + 7_000) as f32 } else { 0.0 }).collect();
            let stored: Vec<f32> = factors
                .chunks(rank)
                .zip(&item_biases)
                .flat_map(|(row, bias)| row.iter().copied().chain(biases.then_some(*bias)))
                .collect();
            let gramian = shard_gramian(Kernel::detect(), &factors, rank);
            // A whole block, as a half-step has it.
            let (mut indptr, mut slots, mut ratings) = (vec![0], Vec::new(), Vec::new());
            for user in 0..users {
                for item in (0..ITEMS).filter(|item| number(90_000 + user * ITEMS + item) < 0.3) {
                    slots.push(item as u32);
                    ratings.push((number(70_000 + user * ITEMS + item) * 10.0).ceil() as f32 / 2.0);
                }
                indptr.push(slots.len() as u64);
            }
            let rows = RatingRows { indptr: &indptr, slots: &slots, ratings: &ratings };
            let half_step = |fit: Fit<'_>| {
                let mut solution = vec![0.0; users * fit.width()];
                HalfStep::new(Kernel::detect(), fit, problem::Solver::Cholesky, rows).solve(0..users, &mut solution).unwrap();
                solution
            };
            let by_rating = half_step(Fit::Explicit { settings: &rating, fixed: &stored });
            let by_ranking = half_step(Fit::Implicit { settings: &ranking, fixed: &factors, gramian: &gramian });

            let fold_in = FoldIn::new(settings, 3.5, Kernel::detect());
            for user in 0..users {
                let Row { slots, ratings, .. } = rows.row(user);
                let rows: Vec<f32> =
                    slots.iter().flat_map(|&slot| factors[slot as usize * rank..][..rank].to_vec()).collect();
                let rated = Rated {
                    ranking: rows.clone(),
                    rating: rows,
                    biases: slots.iter().map(|&slot| item_biases[slot as usize]).collect(),
                    ratings: ratings.iter().copied().map(Some).collect(),
                    gramian: gramian.clone().into(),
                };
                let folded = fold_in.solve(&rated, &[], Objective::Ranking).unwrap();
                prop_assert_eq!(&folded.ranking, &by_ranking[user * rank..][..rank]);
                if !ratings.is_empty() {
                    let mut row = folded.rating.clone();
                    row.extend(biases.then_some(folded.rating_bias));
                    prop_assert_eq!(&row, &by_rating[user * rating.width()..][..rating.width()]);
                }
            }
        }

        #[test]
        fn an_item_without_a_rating_counts_as_one_of_the_mean(rank in 1_usize..20, biases: bool, seed: u64) {
            let number = |i: usize| unit_interval(mix64(seed ^ mix64(i as u64)));
            let count = 6;
            let items: Vec<f32> = (0..count * rank).map(|i| (number(i) - 0.5) as f32).collect();
            let fold_in = FoldIn::new(settings(rank, biases), 3.5, Kernel::detect());
            let with = |unrated: Option<f32>| {
                let rated = Rated {
                    ranking: items.clone(),
                    rating: items.clone(),
                    biases: vec![0.0; count],
                    ratings: (0..count).map(|i| if i % 2 == 0 { Some(4.5) } else { unrated }).collect(),
                    gramian: shard_gramian(Kernel::detect(), &items, rank).into(),
                };
                fold_in.solve(&rated, &[], Objective::Ranking).unwrap().ranking
            };
            let unrated = settings(rank, biases).ranking(Side::Users).unwrap().preference.unrated(3.5);
            prop_assert!(unrated > 0.0, "naming an item is a sign of interest");
            prop_assert_eq!(with(None), with(Some(unrated)));
            prop_assert_ne!(with(None), with(Some(0.0)));
        }

        #[test]
        fn explanations_sum_to_the_score(rank in 1_usize..20, count in 1_usize..20, biases: bool, seed: u64) {
            let number = |i: usize| unit_interval(mix64(seed ^ mix64(i as u64)));
            let rows = |from: usize, count: usize| -> Vec<f32> {
                (0..count * rank).map(|i| (number(from + i) - 0.5) as f32).collect()
            };
            let items = rows(0, count);
            let rated = Rated {
                ranking: items.clone(),
                rating: items.clone(),
                biases: (0..count).map(|i| if biases { number(i + 7_000) as f32 } else { 0.0 }).collect(),
                ratings: (0..count).map(|i| (i % 3 != 1).then(|| (number(i + 8_000) * 5.0) as f32)).collect(),
                gramian: shard_gramian(Kernel::detect(), &items, rank).into(),
            };
            let explained = rows(50_000, 3);
            let fold_in = FoldIn::new(settings(rank, biases), 3.5, Kernel::detect());
            for objective in [Objective::Ranking, Objective::Rating] {
                let folded = fold_in.solve(&rated, &explained, objective).unwrap();
                let (vector, bias) = match objective {
                    Objective::Ranking => (&folded.ranking, 0.0),
                    _ => (&folded.rating, folded.rating_bias),
                };
                prop_assert_eq!(folded.contributions.len(), 3 * count);
                for (parts, item) in folded.contributions.chunks(count).zip(explained.chunks(rank)) {
                    let product: f64 = vector.iter().zip(item).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let sum: f64 = parts.iter().map(|part| f64::from(*part)).sum();
                    prop_assert!((sum - product - f64::from(bias)).abs() < 1e-3, "{sum} is not {product} + {bias}");
                    if objective == Objective::Rating {
                        prop_assert!(parts.iter().skip(1).step_by(3).all(|part| *part == 0.0));
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let fold_in = FoldIn::new(settings(3, true), 3.5, Kernel::detect());
        let rated = Rated { ranking: vec![1.0; 4], ratings: vec![Some(4.0)], ..Rated::default() };
        let refused = fold_in.solve(&rated, &[], Objective::Ranking).unwrap_err();
        assert_eq!(refused, FoldInError::Shape("ranking_factors"));
    }

    #[test]
    fn another_gramian_is_solved_with_its_own_eigenvectors() {
        // Rows that are short beside the rank are solved in the eigenbasis.
        let rank = 64;
        for biases in [false, true] {
            let rated = |seed: u64| {
                let number = |i: usize| (unit_interval(mix64(seed ^ mix64(i as u64))) - 0.5) as f32;
                let items: Vec<f32> = (0..2 * rank).map(number).collect();
                let catalogue: Vec<f32> = (0..ITEMS * rank).map(|i| number(i + 1_000)).collect();
                Rated {
                    ranking: items.clone(),
                    rating: items,
                    biases: vec![0.0; 2],
                    ratings: vec![Some(4.0), Some(2.5)],
                    gramian: shard_gramian(Kernel::detect(), &catalogue, rank).into(),
                }
            };
            let new = || FoldIn::new(settings(rank, biases), 3.5, Kernel::detect());
            let solve = |fold_in: &FoldIn, rated: &Rated| {
                fold_in.solve(rated, &[], Objective::Ranking).unwrap().ranking
            };
            let (one, other, used) = (rated(1), rated(2), new());
            for rated in [&one, &other, &one] {
                assert_eq!(solve(&used, rated), solve(&new(), rated));
            }
        }
    }
}
