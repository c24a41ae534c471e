//! Data sets of a few users and items over many shards and workers: shards without a row, items without a rating, users
//! without anything in common. Every model is trained and measured, and has the same bits whoever did the work.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use shoal_core::hash::mix64;
use shoal_proto::v1::*;

use crate::support::{
    Workers,
    import::source,
    models::{ModelRun, Parts, als_folder, content, item_cf, split},
    train::parameters,
};

/// What is odd about a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// About a third of all pairs.
    Plain,
    /// One user has rated one item.
    OneRating,
    /// Nobody tells good from bad.
    AllEqual,
    /// Half of the catalogue is never rated.
    HalfUnrated,
    /// No titles, no genres.
    NoCatalogue,
    /// Nobody has rated what another has.
    NothingShared,
}

const KINDS: [Kind; 6] =
    [Kind::Plain, Kind::OneRating, Kind::AllEqual, Kind::HalfUnrated, Kind::NoCatalogue, Kind::NothingShared];

/// One data set, and how it is spread.
#[derive(Debug, Clone, Copy)]
struct Case {
    seed: u64,
    kind: Kind,
    users: u64,
    items: u64,
    shards: u32,
    workers: usize,
    /// Share of the pairs held out.
    test_ratio: f64,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let draw = |number: u64, below: u64| mix64(seed * 97 + number) % below;
        Self {
            seed,
            kind: KINDS[(seed % KINDS.len() as u64) as usize],
            // Small numbers are where shards are empty.
            users: 1 + draw(1, 40).min(draw(2, 40)),
            items: 1 + draw(3, 100).min(draw(4, 100)),
            shards: 1 + draw(5, 16) as u32,
            workers: 2 + draw(6, 4) as usize,
            test_ratio: [0.0, 0.2, 0.5][draw(7, 3) as usize],
        }
    }

    /// Each rating as user, item and rating.
    fn ratings(&self) -> Vec<(u64, u64, f64)> {
        let mut ratings = Vec::new();
        for user in 0..self.users {
            for item in 0..self.items {
                let chance = mix64(mix64(self.seed) ^ (user << 32) ^ item);
                let is_rated = match self.kind {
                    Kind::OneRating => user == 0 && item == 0,
                    Kind::NothingShared => item % self.users == user,
                    Kind::HalfUnrated => item % 2 == 0 && chance.is_multiple_of(3),
                    _ => chance.is_multiple_of(3),
                };
                let stars =
                    if self.kind == Kind::AllEqual { 3.0 } else { (1 + (chance >> 8) % 10) as f64 / 2.0 };
                if is_rated {
                    ratings.push((user, item, stars));
                }
            }
        }
        if ratings.is_empty() {
            ratings.push((0, 0, 4.0));
        }
        ratings
    }

    fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let mut ratings = "userId,movieId,rating,timestamp\n".to_owned();
        for (user, item, stars) in self.ratings() {
            writeln!(ratings, "{user},{item},{stars},{}", 1_000_000 + mix64(user ^ item << 20) % 1_000)
                .unwrap();
        }
        std::fs::write(folder.join("ratings.csv"), ratings).unwrap();
        if self.kind != Kind::NoCatalogue {
            let mut movies = "movieId,title,genres\n".to_owned();
            for item in 0..self.items {
                let genres = ["Drama", "Comedy|Drama", "Western", "(no genres listed)"][(item % 4) as usize];
                writeln!(movies, "{item},Film {item} ({}),{genres}", 1950 + item % 60).unwrap();
            }
            std::fs::write(folder.join("movies.csv"), movies).unwrap();
        }
    }
}

/// Everything that the models of one cluster come to.
#[derive(Debug, PartialEq)]
struct Everything {
    folders: Vec<Parts>,
    sources: Vec<HybridSource>,
    evaluations: Vec<(Vec<ShardEvaluationSums>, Vec<u32>)>,
}

/// `None` where nothing is left to train on.
async fn everything(case: &Case, workers: usize, threads: usize) -> Option<Everything> {
    let workers = Workers::start(workers, threads).await;
    let folder = workers.folder.path().join("small");
    case.write(&folder);
    let dataset = workers.import(&source(&folder), case.shards, 10_000).await.unwrap().info;
    let split = SplitParameters { test_ratio: case.test_ratio, ..split() };
    let als = AlsParameters { test_ratio: case.test_ratio, ..parameters(4, 2) };
    let run = ModelRun::begin_with(&workers, &dataset, split.clone(), 0.0).await.unwrap();
    if run.held_out_pairs == dataset.ratings {
        return None;
    }
    let trained = workers.train(&dataset, &als).await.unwrap();
    let mut run = ModelRun::begin_with(&workers, &dataset, split, 0.0).await.unwrap();
    // Either way item CF comes to the same.
    run.gathered = threads == 1;
    let als = als_folder(&trained, &als);
    let item_cf = run.item_cf(ItemCfParameters { common_users_min: 1, ..item_cf(Similarity::Cosine) });
    let folders = [als, item_cf.await.unwrap(), run.content(content()).await.unwrap()];
    let mut sources = run.calibrations(&folders).await.unwrap();
    let learned = run.weights(&folders, &sources).await.unwrap();
    for (source, weight) in sources.iter_mut().zip(&learned.weights) {
        source.weight = *weight;
    }
    let (mut evaluations, mut parts) = (Vec::new(), Vec::new());
    for folder in &folders {
        evaluations.push(run.evaluate(vec![folder.clone()], None).await.unwrap());
        parts.push(run.parts(&folder.path).await);
    }
    let hybrid = HybridModel { sources: sources.clone(), ..HybridModel::default() };
    evaluations.push(run.evaluate(folders.to_vec(), Some(hybrid)).await.unwrap());
    workers.release().await;
    Some(Everything { folders: parts, sources, evaluations })
}

fn listed(exposure: &[u32]) -> u64 {
    exposure.iter().map(|&times| u64::from(times)).sum()
}

fn check(case: &Case, found: &Everything) {
    let weights: f64 = found.sources.iter().map(|source| source.weight).sum();
    assert!((weights - 1.0).abs() < 1e-9, "{case:?}: weights {:?}", found.sources);
    for sums in found.evaluations.iter().flat_map(|(shards, _)| shards) {
        for lists in [&sums.model, &sums.popularity, &sums.random, &sums.newcomers].into_iter().flatten() {
            let scores =
                lists.at.iter().flat_map(|at| [at.precision, at.recall, at.ndcg, at.reciprocal_rank]);
            for score in scores.chain([lists.novelty, lists.diversity]) {
                assert!(score.is_finite() && score >= 0.0, "{case:?}: {sums:?}");
            }
        }
        for rating in [&sums.rating, &sums.rating_baseline].into_iter().flatten() {
            assert!(rating.squared_error.is_finite(), "{case:?}: {sums:?}");
        }
    }
    // Whoever ALS lists something for is listed as much by the blend.
    let [als, .., blended] = &found.evaluations[..] else { panic!("{case:?}") };
    assert!(
        listed(&blended.1) >= listed(&als.1),
        "{case:?}: {} against {}",
        listed(&blended.1),
        listed(&als.1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_model_is_trained_on_any_small_data_set_whoever_does_the_work() {
    let mut shapes = BTreeSet::new();
    for seed in 0..20 {
        let case = Case::draw(seed);
        let alone = everything(&case, 1, 1).await;
        let together = everything(&case, case.workers, 1 + (seed % 2) as usize).await;
        assert!(alone == together, "{case:?}: {} workers came to something else", case.workers);
        if let Some(alone) = &alone {
            check(&case, alone);
            shapes.insert((case.workers, case.items < u64::from(case.shards)));
        }
    }
    // Of every number of workers, with empty item shards and without.
    assert!(shapes.len() >= 5, "{shapes:?}");
}

/// NDCG at 20 of lists over all shards' users.
fn ndcg(shards: &[ShardEvaluationSums], of: fn(&ShardEvaluationSums) -> &Option<ListSums>) -> f64 {
    let lists: Vec<&ListSums> = shards.iter().filter_map(|shard| of(shard).as_ref()).collect();
    let users: u64 = lists.iter().map(|sums| sums.users).sum();
    let sum: f64 = lists.iter().filter_map(|sums| sums.at.last()).map(|at| at.ndcg).sum();
    if users == 0 { 0.0 } else { sum / users as f64 }
}

/// On what the weights are learned on: the blend is worth what learning says, which is no less than its best source.
async fn check_learning(seed: u64) {
    let kind = [Kind::Plain, Kind::NoCatalogue, Kind::HalfUnrated, Kind::AllEqual][(seed % 4) as usize];
    let case = Case { kind, shards: 1 + (seed % 7) as u32, test_ratio: 0.0, ..Case::draw(1_000 + seed) };
    let workers = Workers::start(1, 2).await;
    let folder = workers.folder.path().join("small");
    case.write(&folder);
    let dataset = workers.import(&source(&folder), case.shards, 10_000).await.unwrap().info;
    let parameters = AlsParameters { test_ratio: 0.0, ..parameters(4, 2) };
    let trained = workers.train(&dataset, &parameters).await.unwrap();
    let split = SplitParameters { test_ratio: 0.0, ..split() };
    let run = ModelRun::begin_with(&workers, &dataset, split, 0.25).await.unwrap();
    if run.held_out_pairs == dataset.ratings {
        return;
    }
    let als = als_folder(&trained, &parameters);
    let item_cf = run.item_cf(ItemCfParameters { common_users_min: 1, ..item_cf(Similarity::Cosine) });
    let folders = [als, item_cf.await.unwrap(), run.content(content()).await.unwrap()];
    let mut sources = run.calibrations(&folders).await.unwrap();
    let learned = run.weights(&folders, &sources).await.unwrap();
    for (source, weight) in sources.iter_mut().zip(&learned.weights) {
        source.weight = *weight;
    }
    let (mut best, mut popularity) = (0.0_f64, 0.0);
    for folder in &folders {
        let (shards, _) = run.evaluate(vec![folder.clone()], None).await.unwrap();
        best = best.max(ndcg(&shards, |shard| &shard.model));
        popularity = ndcg(&shards, |shard| &shard.popularity);
    }
    let hybrid = HybridModel { sources: sources.clone(), ..HybridModel::default() };
    let (shards, _) = run.evaluate(folders.to_vec(), Some(hybrid)).await.unwrap();
    let blended = ndcg(&shards, |shard| &shard.model);
    let about = format!("seed {seed}: {case:?}, weights {:?}", learned.weights);
    assert!(
        (blended - learned.ndcg_at_20).abs() < 1e-9,
        "{about}: {blended}, learned as {}",
        learned.ndcg_at_20
    );
    assert!(blended >= best.max(popularity) - 1e-9, "{about}: {blended} against {best} and {popularity}");
    if kind == Kind::NoCatalogue && learned.users > 0 {
        assert_eq!(learned.weights[2], 0.0, "{about}");
    }
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blend_is_worth_what_it_learned_and_no_less_than_its_best_source() {
    for seed in 0..50 {
        check_learning(seed).await;
    }
}
