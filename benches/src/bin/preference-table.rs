//! What ratings should count for in the implicit objective: choices side by side, on splits of a ratings file.
//!
//! Each choice trains on the same pairs and is judged on the same held-out ones: by all of them, by those that the user
//! liked (no less than the user's mean), and by the share of the hits that the user did not like. `docs/models.md` has the
//! table for `ml-latest-small`.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Parser as _;
use shoal_benches::ratings::Compressed;
use shoal_core::{
    hash::{hash_integer, is_held_out, pair_hash},
    topk::TopK,
};
use shoal_engine::{
    als::{
        fit::{Fit, RatingRows},
        gramian::shard_gramian,
        half_step::HalfStep,
        implicit::{Confidence, Scaling, Settings},
        init::{Stream, fill_row},
        kernel::Kernel,
        problem::Solver,
    },
    evaluate::{ItemRows, LIST_LENGTH, offer_items, score_list},
    preference::Preference,
};

/// The defaults of a training on a data set of the size of `ml-latest-small`.
const RANK: usize = 32;
const SWEEPS: usize = 15;
const UNOBSERVED_WEIGHT: f64 = 0.3;
const REGULARIZATION: f64 = 0.007;
const TEST_RATIO: f64 = 0.2;

#[derive(Debug, clap::Parser)]
struct Args {
    /// CSV with a header and the columns user, item, rating, time
    #[arg(long, value_name = "FILE")]
    ratings: PathBuf,
    /// Splits that figures are the mean of
    #[arg(long, default_value_t = 4)]
    seeds: u64,
}

#[derive(Debug, Clone, Copy)]
struct Rating {
    user: u32,
    item: u32,
    /// Hashes of both ids.
    hashes: (u64, u64),
    rating: f32,
    time: i64,
}

/// The ratings of a file, users and items numbered in the order of their first rating.
struct File {
    users: usize,
    items: usize,
    ratings: Vec<Rating>,
}

/// What a rating (first) of a user with this mean (second) is turned into before training; `None` leaves it out.
type Turned = fn(f32, f64) -> Option<f32>;

struct Choice {
    name: &'static str,
    turned: Turned,
    preference: Preference,
}

fn choices(least: f64, greatest: f64) -> Vec<Choice> {
    let of = |name, preference, turned: Turned| Choice { name, turned, preference };
    vec![
        of("every rating a liking (--preference observed)", Preference::Observed, |rating, _| Some(rating)),
        of("below the user's mean left out", Preference::Observed, |rating, mean| {
            (f64::from(rating) >= mean).then_some(rating)
        }),
        of("a star below the user's mean left out", Preference::Observed, |rating, mean| {
            (f64::from(rating) >= mean - 1.0).then_some(rating)
        }),
        of("below the user's mean p = 0", Preference::Positive, |rating, mean| {
            Some(if f64::from(rating) >= mean { 1.0 } else { -1.0 })
        }),
        of("a star below the user's mean p = 0", Preference::Positive, |rating, mean| {
            Some(if f64::from(rating) >= mean - 1.0 { 1.0 } else { -1.0 })
        }),
        // Of a scale from 0 to 1 four ninths are p = 0.5.
        of("below the user's mean p = 0.5", Preference::by_height(0.0, 1.0), |rating, mean| {
            Some(if f64::from(rating) >= mean { 1.0 } else { 4.0 / 9.0 })
        }),
        of(
            "p from 0.1 to 1 by height (--preference height)",
            Preference::by_height(least, greatest),
            |rating, _| Some(rating),
        ),
    ]
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let file = read(&args.ratings)?;
    let values = file.ratings.iter().map(|rating| f64::from(rating.rating));
    let (least, greatest) =
        values.fold((f64::MAX, f64::MIN), |(least, greatest), value| (least.min(value), greatest.max(value)));
    for temporal in [false, true] {
        let kind = if temporal { "the newest fifth of each user" } else { "a random fifth" };
        println!("\nheld out: {kind}, mean of {} splits", args.seeds);
        println!("| choice | ndcg@20 | ndcg@20 of liked | disliked of hits | at most 2 of hits |");
        println!("| --- | --- | --- | --- | --- |");
        let splits: Vec<Split> = (0..args.seeds).map(|seed| Split::new(&file, 42 + seed, temporal)).collect();
        for choice in choices(least, greatest) {
            let mut sums = Sums::default();
            for (split, seed) in splits.iter().zip(42..) {
                split.judge(&split.train(&choice, seed)?, &mut sums);
            }
            println!(
                "| {} | {} |",
                choice.name,
                sums.figures().map(|figure| format!("{figure:.4}")).join(" | ")
            );
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let (mut users, mut items) = (HashMap::new(), HashMap::new());
    let mut ratings = Vec::new();
    for line in text.lines().skip(1) {
        ratings.push(parse(line, &mut users, &mut items).with_context(|| format!("in '{line}'"))?);
    }
    Ok(File { users: users.len(), items: items.len(), ratings })
}

fn parse(line: &str, users: &mut HashMap<i64, u32>, items: &mut HashMap<i64, u32>) -> anyhow::Result<Rating> {
    let fields: Vec<&str> = line.split(',').collect();
    let [user, item, rating, time] = fields[..] else { anyhow::bail!("four fields are expected") };
    let number = |rows: &mut HashMap<i64, u32>, id: i64| {
        let next = rows.len() as u32;
        *rows.entry(id).or_insert(next)
    };
    let (user, item) = (user.parse()?, item.parse()?);
    Ok(Rating {
        user: number(users, user),
        item: number(items, item),
        hashes: (hash_integer(user), hash_integer(item)),
        rating: rating.parse()?,
        time: time.parse()?,
    })
}

/// One division into what is trained on and what is held out.
struct Split {
    users: usize,
    items: usize,
    /// By user, then item.
    trained: Vec<Rating>,
    /// By user, then item.
    held_out: Vec<Rating>,
    /// Of each user's training ratings.
    means: Vec<f64>,
}

/// Factors of both sides.
type Factors = [Vec<f32>; 2];

impl Split {
    fn new(file: &File, seed: u64, temporal: bool) -> Self {
        let hash = |rating: &Rating| pair_hash(rating.hashes.0, rating.hashes.1, seed);
        let mut ratings = file.ratings.clone();
        let newest = if temporal { newest(&mut ratings, hash) } else { HashSet::new() };
        ratings.sort_unstable_by_key(|rating| (rating.user, rating.item));
        let is_test = |rating: &Rating| match temporal {
            true => newest.contains(&(rating.user, rating.item)),
            false => is_held_out(hash(rating), TEST_RATIO),
        };
        let (held_out, trained): (Vec<Rating>, Vec<Rating>) = ratings.into_iter().partition(is_test);
        let mut sums = vec![(0.0, 0_u32); file.users];
        for rating in &trained {
            let (sum, count) = &mut sums[rating.user as usize];
            (*sum, *count) = (*sum + f64::from(rating.rating), *count + 1);
        }
        let means = sums.into_iter().map(|(sum, count)| sum / f64::from(count)).collect();
        Self { users: file.users, items: file.items, trained, held_out, means }
    }

    /// The training by one choice, users first in every sweep.
    fn train(&self, choice: &Choice, seed: u64) -> anyhow::Result<Factors> {
        let turned = self.trained.iter().filter_map(|rating| {
            let value = (choice.turned)(rating.rating, self.means[rating.user as usize])?;
            Some((rating.user, rating.item, value))
        });
        let by_user: Vec<(u32, u32, f32)> = turned.collect();
        let by_item = by_user.iter().map(|&(user, item, rating)| (item, user, rating));
        let users = Compressed::from_triples(self.users, by_user.iter().copied());
        let items = Compressed::from_triples(self.items, by_item);
        let mut factors = [vec![0.0; self.users * RANK], vec![0.0; self.items * RANK]];
        let stream = Stream { seed, users: false, ranking: true };
        for (row, values) in (0..).zip(factors[1].chunks_exact_mut(RANK)) {
            fill_row(stream, hash_integer(row), values);
        }
        for _ in 0..SWEEPS {
            factors[0] = solved(choice.preference, users.rows(), &factors[1])?;
            factors[1] = solved(choice.preference, items.rows(), &factors[0])?;
        }
        Ok(factors)
    }

    fn judge(&self, [users, items]: &Factors, sums: &mut Sums) {
        let mut train_counts = vec![0; self.items];
        self.trained.iter().for_each(|rating| train_counts[rating.item as usize] += 1);
        let listable = ItemRows { first_row: 0, train_counts: &train_counts };
        for (user, held_out) in (0..).zip(by_user(&self.held_out, self.users)) {
            if held_out.is_empty() {
                continue;
            }
            let own = &users[user * RANK..][..RANK];
            let product = |item: &[f32]| item.iter().zip(own).map(|(a, b)| a * b).sum::<f32>();
            let mut scores: Vec<f32> = items.chunks_exact(RANK).map(product).collect();
            let begin = self.trained.partition_point(|rating| (rating.user as usize) < user);
            let trained = self.trained[begin..].iter().take_while(|rating| rating.user as usize == user);
            let trained: Vec<u32> = trained.map(|rating| rating.item).collect();
            let mut top = TopK::new(LIST_LENGTH);
            offer_items(&mut scores, listable, &trained, &mut top);
            let list: Vec<u32> = top.into_sorted().into_iter().map(|(_, row)| row).collect();
            sums.add(&list, held_out, self.means[user]);
        }
    }
}

/// The pairs of each user's newest ratings, whose order within a second is that of their hashes.
fn newest(ratings: &mut [Rating], hash: impl Fn(&Rating) -> u64) -> HashSet<(u32, u32)> {
    ratings.sort_unstable_by_key(|rating| (rating.user, rating.time, hash(rating)));
    let of_user = ratings.chunk_by(|a, b| a.user == b.user).flat_map(|ratings| {
        let held_out = (ratings.len() as f64 * TEST_RATIO).round() as usize;
        &ratings[ratings.len() - held_out.min(ratings.len() - 1)..]
    });
    of_user.map(|rating| (rating.user, rating.item)).collect()
}

/// The ratings of each of `users` users, from ratings that are sorted by user.
fn by_user(ratings: &[Rating], users: usize) -> impl Iterator<Item = &[Rating]> {
    (0..users).map(|user| {
        let begin = ratings.partition_point(|rating| (rating.user as usize) < user);
        let end = ratings.partition_point(|rating| (rating.user as usize) <= user);
        &ratings[begin..end]
    })
}

/// The rows that one half-step solves from `fixed`.
fn solved(preference: Preference, rows: RatingRows<'_>, fixed: &[f32]) -> anyhow::Result<Vec<f32>> {
    let settings = Settings {
        rank: RANK,
        regularization: REGULARIZATION,
        scaling: Scaling::Ials,
        confidence: Confidence::Ials,
        preference,
        unobserved_weight: UNOBSERVED_WEIGHT,
        alpha: 0.0,
        regularization_exponent: 1.0,
        other_rows: (fixed.len() / RANK) as u64,
    };
    let kernel = Kernel::detect();
    let gramian = shard_gramian(kernel, fixed, RANK);
    let fit = Fit::Implicit { settings: &settings, fixed, gramian: &gramian };
    let mut solution = vec![0.0; rows.len() * RANK];
    HalfStep::new(kernel, fit, Solver::Cholesky, rows).solve(0..rows.len(), &mut solution)?;
    Ok(solution)
}

/// What lists are worth.
#[derive(Default)]
struct Sums {
    users: u32,
    ndcg: f64,
    /// Of those users who liked something that is held out.
    likers: u32,
    liked_ndcg: f64,
    hits: u32,
    disliked: u32,
    at_most_2: u32,
}

impl Sums {
    /// Adds a user's list. `held_out` is by item; `mean` is that of the user's training ratings, NaN without any.
    fn add(&mut self, list: &[u32], held_out: &[Rating], mean: f64) {
        let is_disliked = |rating: &Rating| f64::from(rating.rating) < mean;
        let rows = |wanted: &dyn Fn(&Rating) -> bool| -> Vec<u32> {
            held_out.iter().filter(|rating| wanted(rating)).map(|rating| rating.item).collect()
        };
        self.users += 1;
        self.ndcg += score_list(list.iter().copied(), &rows(&|_| true)).ndcg;
        let liked = rows(&|rating| !is_disliked(rating));
        if !liked.is_empty() {
            self.likers += 1;
            self.liked_ndcg += score_list(list.iter().copied(), &liked).ndcg;
        }
        for hit in held_out.iter().filter(|rating| list.contains(&rating.item)) {
            self.hits += 1;
            self.disliked += u32::from(is_disliked(hit));
            self.at_most_2 += u32::from(hit.rating <= 2.0);
        }
    }

    fn figures(&self) -> [f64; 4] {
        let hits = f64::from(self.hits);
        [
            self.ndcg / f64::from(self.users),
            self.liked_ndcg / f64::from(self.likers),
            f64::from(self.disliked) / hits,
            f64::from(self.at_most_2) / hits,
        ]
    }
}
