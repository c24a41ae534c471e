//! Ratings that say that somebody did not like an item: lists are of what is liked, and clicks lose nothing by it.

use std::{fs, path::PathBuf};

use shoal_core::hash::{mix64, unit_interval};
use shoal_proto::v1::*;

use crate::support::{
    Workers,
    import::source,
    models::{ModelRun, als_folder, item_cf, split},
    train::parameters,
};

const SHARDS: u32 = 4;
const USERS: u64 = 60;
const ITEMS: u64 = 40;

/// Files of people who like every second item and dislike the others: what they have rated, and what else each would like.
struct Thumbs {
    folder: PathBuf,
    others: String,
}

impl Thumbs {
    /// Of a user's own kind a third has been rated, of the other kind a half: most ratings are dislikes, so that who takes
    /// them for likings lists the wrong kind.
    fn write(workers: &Workers) -> Self {
        let folder = workers.folder.path().join("thumbs");
        fs::create_dir(&folder).unwrap();
        let header = "userId,movieId,rating,timestamp\n";
        let (mut rated, mut others) = (header.to_owned(), header.to_owned());
        for user in 1..=USERS {
            for item in 1..=ITEMS {
                let likes = user % 2 == item % 2;
                let drawn = unit_interval(mix64(user * 1_000 + item)) < if likes { 0.33 } else { 0.5 };
                let rating = if likes { 1 } else { -1 };
                if drawn {
                    rated.push_str(&format!("{user},{item},{rating},{}\n", 1_000 + item));
                } else if likes {
                    others.push_str(&format!("{user},{item},1,{}\n", 2_000 + item));
                }
            }
        }
        fs::write(folder.join("ratings.csv"), rated).unwrap();
        let file = workers.folder.path().join("others.csv");
        fs::write(&file, others).unwrap();
        Self { folder, others: file.to_str().unwrap().to_owned() }
    }
}

fn als(preference: Preference, test_uri: &str) -> AlsParameters {
    let shared = parameters(8, 6);
    let implicit = ImplicitParameters {
        regularization: 0.03,
        alpha: 0.0,
        preference: preference.into(),
        rating_least: -1.0,
        rating_greatest: 1.0,
        ..shared.implicit.unwrap()
    };
    AlsParameters {
        objective: ObjectiveChoice::Implicit.into(),
        implicit: Some(implicit),
        test_uri: test_uri.to_owned(),
        test_ratio: 0.0,
        ..shared
    }
}

fn plain_cosine() -> ItemCfParameters {
    ItemCfParameters { shrinkage: 0.0, ..item_cf(Similarity::Cosine) }
}

/// Of the first ten items of everybody's list, the share that is held out: of those never rated, the ones that are liked.
async fn liked_share(run: &ModelRun<'_>, folders: Vec<ModelFolder>, hybrid: Option<HybridModel>) -> f64 {
    let (shards, _) = run.evaluate(folders, hybrid).await.unwrap();
    let lists: Vec<ListSums> = shards.into_iter().filter_map(|shard| shard.model).collect();
    let users: u64 = lists.iter().map(|sums| sums.users).sum();
    assert_eq!(users, USERS);
    lists.iter().map(|sums| sums.at[0].precision).sum::<f64>() / users as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_of_what_people_like_though_most_of_their_ratings_are_dislikes() {
    let workers = Workers::start(2, 1).await;
    let thumbs = Thumbs::write(&workers);
    let dataset = workers.import(&source(&thumbs.folder), SHARDS, 200_000).await.unwrap().info;
    let held_out = SplitParameters { test_ratio: 0.0, test_uri: thumbs.others.clone(), ..split() };
    let by_height = als(Preference::Height, &thumbs.others);
    let trained = workers.train(&dataset, &by_height).await.unwrap();
    assert!(trained.rating_mean < 0.0, "{}", trained.rating_mean);
    let alike = als(Preference::Unspecified, &thumbs.others);
    let trained_alike = workers.train(&dataset, &alike).await.unwrap();
    let run = ModelRun::begin_with(&workers, &dataset, held_out, 0.0).await.unwrap();
    let share = liked_share(&run, vec![als_folder(&trained, &by_height)], None).await;
    assert!(share > 0.95, "of the lists by height {share} is liked");
    // Versions of builds without preferences mean what they meant: each rating is a liking.
    let share = liked_share(&run, vec![als_folder(&trained_alike, &alike)], None).await;
    assert!(share < 0.7, "of the lists that take ratings alike {share} is liked");
    // Item CF weighs what somebody has rated by the same height.
    let trained = run.item_cf(plain_cosine()).await.unwrap();
    let share = liked_share(&run, vec![trained], None).await;
    assert!(share > 0.95, "of the lists of item CF {share} is liked");
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_are_trained_on_to_the_same_bits_whatever_the_preference() {
    let workers = Workers::start(1, 2).await;
    let clicks = workers.folder.path().join("clicks");
    fs::create_dir(&clicks).unwrap();
    let mut lines = "userId,movieId,rating,timestamp\n".to_owned();
    for pair in (0..USERS * ITEMS).filter(|pair| unit_interval(mix64(*pair)) < 0.3) {
        lines.push_str(&format!("{},{},1,1000\n", pair / ITEMS, pair % ITEMS));
    }
    fs::write(clicks.join("ratings.csv"), lines).unwrap();
    let dataset = workers.import(&source(&clicks), SHARDS, 200_000).await.unwrap().info;
    let mut factors = Vec::new();
    for preference in
        [Preference::Unspecified, Preference::Observed, Preference::Positive, Preference::Height]
    {
        let mut parameters = AlsParameters { test_ratio: 0.2, ..als(preference, "") };
        let implicit = parameters.implicit.as_mut().unwrap();
        (implicit.rating_least, implicit.rating_greatest) = (dataset.rating_min, dataset.rating_max);
        factors.push(workers.train(&dataset, &parameters).await.unwrap().factors);
    }
    assert!(factors.windows(2).all(|pair| pair[0] == pair[1]), "clicks are trained on to other bits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_workers_and_threads_writes_the_same_bytes_by_height() {
    let mut alone = None;
    for (count, threads) in [(1, 1), (1, 3), (2, 1), (3, 2), (5, 1)] {
        let workers = Workers::start(count, threads).await;
        let thumbs = Thumbs::write(&workers);
        let dataset = workers.import(&source(&thumbs.folder), SHARDS, 2_000).await.unwrap().info;
        let trained = workers.train(&dataset, &als(Preference::Height, "")).await.unwrap();
        let first = alone.get_or_insert_with(|| trained.factors.clone());
        assert!(*first == trained.factors, "{count} workers with {threads} threads wrote other factors");
    }
}

/// Weights are learned on held-out dislikes too. What is blended lists likings, and so does the blend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blend_lists_what_people_like_as_its_sources_do() {
    let workers = Workers::start(1, 1).await;
    let thumbs = Thumbs::write(&workers);
    let dataset = workers.import(&source(&thumbs.folder), SHARDS, 200_000).await.unwrap().info;
    let partly = AlsParameters { test_ratio: 0.35, ..als(Preference::Height, "") };
    let trained = workers.train(&dataset, &partly).await.unwrap();
    let run = ModelRun::begin(&workers, &dataset, 0.2).await.unwrap();
    let folders = [als_folder(&trained, &partly), run.item_cf(plain_cosine()).await.unwrap()];
    let mut sources = run.calibrations(&folders).await.unwrap();
    let learned = run.weights(&folders, &sources).await.unwrap();
    for (source, weight) in sources.iter_mut().zip(&learned.weights) {
        source.weight = *weight;
    }
    let wholly = als(Preference::Height, &thumbs.others);
    let trained = workers.train(&dataset, &wholly).await.unwrap();
    let held_out = SplitParameters { test_ratio: 0.0, test_uri: thumbs.others.clone(), ..split() };
    let run = ModelRun::begin_with(&workers, &dataset, held_out, 0.0).await.unwrap();
    let folders = vec![als_folder(&trained, &wholly), run.item_cf(plain_cosine()).await.unwrap()];
    let share = liked_share(&run, folders, Some(HybridModel { sources, ..HybridModel::default() })).await;
    assert!(share > 0.95, "of the lists of the blend {share} is liked, with weights {:?}", learned.weights);
    workers.release().await;
}
