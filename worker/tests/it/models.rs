//! Item CF, content and hybrid over workers: the same bits whoever does the work, and what they are worth.

use shoal_common::{
    ids::EntityId,
    store::{PartKind, part},
};
use shoal_dataset::generate::{GenerateSpec, generate};
use shoal_engine::item_cf::{CoRaters, Fixed, Measure, PairAccumulator, Settings, UserRows};
use shoal_format::{
    model_parts::{read_biases, read_neighbours, read_vectors},
    tensor_file::TensorFile,
};
use shoal_proto::v1::{step_event::Event, step_request::Step, *};

use crate::support::{
    JOB, Workers,
    everybody::{everybody, ids},
    import::source,
    models::{ModelRun, Parts, als_folder, content, item_cf, split},
    train::{of_als, parameters},
};

const SHARDS: u32 = 6;
const SAMPLE: GenerateSpec =
    GenerateSpec { users: 900, items: 300, ratings: 36_000, rank: 6, seed: 8, threads: 1 };

async fn start(count: usize, threads: usize) -> (Workers, DatasetInfo) {
    let workers = Workers::start(count, threads).await;
    let sample = workers.folder.path().join("sample");
    generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
    let imported = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap();
    (workers, imported.info)
}

/// Σ over all shards of a list measure at 20, per user.
fn ndcg(shards: &[ShardEvaluationSums], of: fn(&ShardEvaluationSums) -> &Option<ListSums>) -> f64 {
    let lists: Vec<&ListSums> = shards.iter().filter_map(|shard| of(shard).as_ref()).collect();
    let users: u64 = lists.iter().map(|sums| sums.users).sum();
    lists.iter().map(|sums| sums.at[1].ndcg).sum::<f64>() / users as f64
}

fn rmse(shards: &[ShardEvaluationSums], of: fn(&ShardEvaluationSums) -> &Option<RatingSums>) -> f64 {
    let sums: Vec<&RatingSums> = shards.iter().filter_map(|shard| of(shard).as_ref()).collect();
    let pairs: u64 = sums.iter().map(|sums| sums.pairs).sum();
    (sums.iter().map(|sums| sums.squared_error).sum::<f64>() / pairs as f64).sqrt()
}

fn list_of(shard: &ShardEvaluationSums) -> &Option<ListSums> {
    &shard.model
}

/// Everything that the models of one cluster come to.
#[derive(Debug, PartialEq)]
struct Everything {
    folders: Vec<Parts>,
    sources: Vec<HybridSource>,
    learned: HybridLearnDone,
    evaluations: Vec<(Vec<ShardEvaluationSums>, Vec<u32>)>,
}

async fn everything(count: usize, threads: usize) -> Everything {
    let (workers, dataset) = start(count, threads).await;
    let trained = workers.train(&dataset, &parameters(8, 2)).await.unwrap();
    let run = ModelRun::begin(&workers, &dataset, 0.25).await.unwrap();
    let als = als_folder(&trained, &parameters(8, 2));
    let item_cf = run.item_cf(item_cf(Similarity::Cosine)).await.unwrap();
    let content = run.content(content()).await.unwrap();
    let folders = [als, item_cf, content];
    let mut sources = run.calibrations(&folders).await.unwrap();
    let learned = run.weights(&folders, &sources).await.unwrap();
    for (source, weight) in sources.iter_mut().zip(&learned.weights) {
        source.weight = *weight;
    }
    let mut evaluations = Vec::new();
    let mut parts = Vec::new();
    for folder in &folders {
        evaluations.push(run.evaluate(vec![folder.clone()], None).await.unwrap());
        parts.push(run.parts(&folder.path).await);
    }
    let hybrid = HybridModel { sources: sources.clone(), ..HybridModel::default() };
    evaluations.push(run.evaluate(folders.to_vec(), Some(hybrid)).await.unwrap());
    workers.release().await;
    Everything { folders: parts, sources, learned, evaluations }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_workers_and_threads_makes_the_same_models() {
    let alone = everything(1, 1).await;
    for (workers, threads) in [(1, 3), (2, 1), (3, 2), (5, 1)] {
        let together = everything(workers, threads).await;
        assert!(together == alone, "{workers} workers with {threads} threads came to something else");
    }
    // Learned on the pairs that are measured here, the blend is no worse than what it blends.
    let blended = ndcg(&alone.evaluations[3].0, list_of);
    for (shards, _) in &alone.evaluations[..3] {
        let single = ndcg(shards, list_of);
        assert!(blended >= single - 0.005, "{blended} against {single}");
    }
    assert!((alone.learned.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_measured_as_its_last_sweep_is() {
    let (workers, dataset) = start(3, 1).await;
    let ratings = std::fs::read_to_string(workers.folder.path().join("sample/ratings.csv")).unwrap();
    let (header, rows) = ratings.split_once('\n').unwrap();
    // Of the first user nothing is left to train on: a newcomer.
    let first = rows.split(',').next().unwrap();
    let is_held_out = |(at, row): &(usize, &str)| at % 9 == 0 || row.split(',').next() == Some(first);
    let held_out: Vec<&str> = rows.lines().enumerate().filter(is_held_out).map(|(_, row)| row).collect();
    let file = workers.folder.path().join("held-out.csv");
    std::fs::write(&file, format!("{header}\n{}\n", held_out.join("\n"))).unwrap();
    let test_uri = file.to_str().unwrap().to_owned();
    for objective in [ObjectiveChoice::Explicit, ObjectiveChoice::Implicit, ObjectiveChoice::Both] {
        let parameters = AlsParameters {
            objective: objective.into(),
            test_uri: test_uri.clone(),
            test_ratio: 0.0,
            ..parameters(6, 2)
        };
        let trained = workers.train(&dataset, &parameters).await.unwrap();
        let split = SplitParameters { test_ratio: 0.0, test_uri: test_uri.clone(), ..split() };
        let run = ModelRun::begin_with(&workers, &dataset, split, 0.0).await.unwrap();
        assert_eq!((run.held_out_pairs, run.rating_mean), (held_out.len() as u64, trained.rating_mean));
        let folder = als_folder(&trained, &parameters);
        let (shards, _) = run.evaluate(vec![folder], None).await.unwrap();
        let newcomers: u64 = shards.iter().map(|shard| shard.newcomers.as_ref().unwrap().users).sum();
        assert_eq!(newcomers, 1);
        let sums: Vec<ShardMetricSums> = shards.iter().filter_map(|shard| shard.sweep).collect();
        assert_eq!(sums, trained.metrics, "{objective:?}");
    }
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_better_than_what_is_expected_of_anybody() {
    let (workers, dataset) = start(3, 1).await;
    let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
    // Of few neighbours a user has rated hardly any: the mean of one or two ratings is mostly chance.
    let many = ItemCfParameters {
        neighbours: 100,
        prediction_neighbours: 40,
        user_ratings_max: 200,
        ..item_cf(Similarity::Cosine)
    };
    let item_cf = run.item_cf(many).await.unwrap();
    let content = run.content(content()).await.unwrap();
    for (folder, better_lists) in [(item_cf, true), (content, false)] {
        let (shards, exposure) = run.evaluate(vec![folder], None).await.unwrap();
        let pairs: u64 = shards.iter().map(|shard| shard.rating.unwrap().pairs).sum();
        assert_eq!(pairs, run.held_out_pairs);
        let (model, baseline) =
            (rmse(&shards, |shard| &shard.rating), rmse(&shards, |shard| &shard.rating_baseline));
        assert!(model < baseline, "rmse {model} against {baseline}");
        let (model, popularity) = (ndcg(&shards, list_of), ndcg(&shards, |shard| &shard.popularity));
        let random = ndcg(&shards, |shard| &shard.random);
        assert!(model > 2.0 * random, "ndcg {model}, at random {random}");
        assert!(!better_lists || model > popularity, "ndcg {model} against {popularity}");
        let listed: u32 = exposure.iter().sum();
        let lists: u64 = shards.iter().map(|shard| shard.model.as_ref().unwrap().users).sum();
        assert!(u64::from(listed) > 19 * lists && u64::from(listed) <= 20 * lists, "{listed} of {lists}");
    }
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_are_those_of_all_users_together() {
    let (workers, dataset) = start(3, 2).await;
    let everybody = everybody(&workers, &dataset).await;
    for ((similarity, measure), gathered) in [
        (Similarity::Cosine, Measure::Cosine),
        (Similarity::AdjustedCosine, Measure::AdjustedCosine),
        (Similarity::Pearson, Measure::Pearson),
        (Similarity::Jaccard, Measure::Jaccard),
    ]
    .into_iter()
    .flat_map(|measured| [(measured, true), (measured, false)])
    {
        let mut run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
        run.gathered = gathered;
        let parameters = item_cf(similarity);
        let folder = run.item_cf(parameters).await.unwrap();
        let parts = run.parts(&folder.path).await;
        let settings = Settings {
            measure,
            common_users_min: parameters.common_users_min,
            shrinkage: parameters.shrinkage,
            neighbours_max: parameters.neighbours as usize,
            user_ratings_max: parameters.user_ratings_max as usize,
            seed: split().seed,
        };
        let items = dataset.items as usize;
        let fixed = Fixed::new(measure, dataset.rating_min, dataset.rating_max, dataset.users as u32);
        let rows = UserRows {
            indptr: &everybody.indptr,
            items: &everybody.items,
            ratings: &everybody.ratings,
            hashes: &everybody.hashes,
        };
        let raters = CoRaters::new(rows, items, fixed, &settings);
        let totals = raters.totals(0..items);
        let mut pairs = PairAccumulator::new(items, measure.width());
        let mut first = 0;
        for stats in &dataset.item_shards {
            let name = part(PartKind::Neighbours, Side::Items, stats.shard);
            let file = TensorFile::from_bytes(&name, &parts[&name]).unwrap();
            let lists = read_neighbours(&file, stats.rows as usize, dataset.items as u32).unwrap();
            let biases = part(PartKind::Biases, Side::Items, stats.shard);
            let biases = TensorFile::from_bytes(&biases, &parts[&biases]).unwrap();
            let (_, counts) = read_biases(&biases, stats.rows as usize).unwrap();
            assert_eq!(lists.len(), counts.len());
            for (row, &count) in counts.iter().enumerate() {
                pairs.add_users(&raters, first + row as u32);
                let expected = pairs.take_neighbours(first + row as u32, &totals, &settings);
                let (rows, similarities): (Vec<u32>, Vec<f32>) =
                    expected.into_iter().map(|(similarity, row)| (row, similarity)).unzip();
                assert_eq!(
                    lists.of(row),
                    (&rows[..], &similarities[..]),
                    "{measure:?}, item {}",
                    first + row as u32
                );
                let rated = everybody.items.iter().filter(|&&item| item == first + row as u32).count();
                assert_eq!(count as usize, rated);
            }
            first += stats.rows as u32;
        }
    }
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_movie_that_nobody_has_rated_is_like_others_and_is_listed() {
    let workers = Workers::start(2, 1).await;
    let sample = workers.folder.path().join("sample");
    generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
    let movies = std::fs::read_to_string(sample.join("movies.csv")).unwrap();
    // The first movie's genres and year, under another id and without a rating.
    let twin = movies.lines().nth(1).unwrap().split_once(',').unwrap().1;
    std::fs::write(sample.join("movies.csv"), format!("{}\n777777,{twin}\n", movies.trim_end())).unwrap();
    let dataset = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap().info;
    let new = EntityId::Integer(777_777);
    let shard = new.shard(SHARDS);
    let row = ids(&workers, &dataset, Side::Items, shard).await.find(&new).unwrap();
    let rows_before: u64 = dataset.item_shards[..shard as usize].iter().map(|stats| stats.rows).sum();

    let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
    let folder =
        run.content(ContentParameters { genome_weight: 0.0, tags_weight: 0.0, ..content() }).await.unwrap();
    let parts = run.parts(&folder.path).await;
    let rows = dataset.item_shards[shard as usize].rows as usize;
    let open = |kind| {
        let name = part(kind, Side::Items, shard);
        TensorFile::from_bytes(&name, &parts[&name]).unwrap()
    };
    let (_, counts) =
        read_biases(&open(PartKind::Biases), rows).map(|(b, c)| (b.to_vec(), c.to_vec())).unwrap();
    assert_eq!(counts[row], 0);
    assert!(read_vectors(&open(PartKind::Vectors), rows).unwrap().is_known(row));
    let lists = read_neighbours(&open(PartKind::Neighbours), rows, dataset.items as u32).unwrap();
    let (near, similarities) = lists.of(row);
    // Its twin is exactly like it; there may be more such.
    assert!(!near.is_empty() && similarities[0] > 0.999, "{similarities:?}");
    let (_, exposure) = run.evaluate(vec![folder], None).await.unwrap();
    assert!(exposure[rows_before as usize + row] > 0, "nobody was recommended the new movie");
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_the_same_users_for_every_model_and_any_workers() {
    let sample = UserSample { share: 0.3, seed: 5 };
    let mut measured = Vec::new();
    for count in [1, 3] {
        let (workers, dataset) = start(count, 1).await;
        let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
        let item_cf = run.item_cf(item_cf(Similarity::Cosine)).await.unwrap();
        let content = run.content(content()).await.unwrap();
        for folder in [item_cf, content] {
            let (all, _) = run.evaluate(vec![folder.clone()], None).await.unwrap();
            let (some, exposure) = run.evaluate_some(vec![folder], None, Some(sample)).await.unwrap();
            let users = |shards: &[ShardEvaluationSums], of: fn(&ListSums) -> u64| -> Vec<u64> {
                shards.iter().map(|shard| of(shard.model.as_ref().unwrap())).collect()
            };
            let in_all = users(&all, |sums| sums.users);
            assert_eq!(users(&some, |sums| sums.users_in_all), in_all);
            let of_some = users(&some, |sums| sums.users);
            let (few, many) = (of_some.iter().sum::<u64>() as f64, in_all.iter().sum::<u64>() as f64);
            assert!((few / many - 0.3).abs() < 0.06, "{few} of {many}");
            assert!(exposure.iter().sum::<u32>() <= 20 * few as u32);
            let pairs: Vec<u64> = some.iter().map(|shard| shard.rating.unwrap().pairs).collect();
            measured.push((of_some, pairs));
        }
        workers.release().await;
    }
    assert!(measured.iter().all(|of_model| *of_model == measured[0]), "{measured:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_measuring_shares_the_ratings_of_the_training_that_it_follows() {
    let (workers, dataset) = start(2, 1).await;
    let attempt = workers.next_attempt();
    let parameters = parameters(4, 1);
    let owners = workers.owners(dataset.shard_count);
    let load = TrainLoad {
        dataset: Some(dataset.clone()),
        parameters: Some(parameters.clone()),
        split: Some(of_als(&parameters)),
        owners: owners.clone(),
        workers: workers.peers.clone(),
        ..TrainLoad::default()
    };
    workers.on_all(attempt, Step::TrainLoad(load)).await.unwrap();
    let of_measuring = |split: SplitParameters, kept_by: &str| {
        Step::ModelLoad(ModelLoad {
            dataset: Some(dataset.clone()),
            split: Some(split),
            owners: owners.clone(),
            workers: workers.peers.clone(),
            kept_by: kept_by.to_owned(),
            ..ModelLoad::default()
        })
    };
    let held_out = of_als(&parameters);
    let loaded = workers.on_all_of("loaded", attempt, of_measuring(held_out.clone(), "")).await.unwrap();
    // From now on nothing can be loaded.
    workers.store.delete_folder(&dataset.path).await.unwrap();
    let shared = workers.on_all_of("shared", attempt, of_measuring(held_out.clone(), JOB)).await.unwrap();
    assert_eq!(shared, loaded);
    // What is cut in another way, or kept by nobody, would have to be.
    let other = SplitParameters { seed: held_out.seed + 1, ..held_out.clone() };
    assert!(workers.on_all_of("other", attempt, of_measuring(other, JOB)).await.is_err());
    assert!(workers.on_all_of("nobody", attempt, of_measuring(held_out, "nobody")).await.is_err());
    workers.release().await;
}

/// Users with held-out pairs, pairs held out, and ratings trained on, of a load of all workers.
fn loaded(events: &[Event]) -> (u64, u64, u64) {
    let done = events.iter().map(|event| match event {
        Event::ModelLoadDone(done) => done,
        other => panic!("{other:?}"),
    });
    done.fold((0, 0, 0), |sum, done| {
        let ratings: u64 = done.rating_sums.iter().map(|sums| sums.ratings).sum();
        (sum.0 + done.held_out_users, sum.1 + done.held_out_pairs, sum.2 + ratings)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_learned_on_some_users_takes_all_of_their_ratings_and_loads_them_once() {
    let mut found = Vec::new();
    for count in [1, 3] {
        let (workers, dataset) = start(count, 1).await;
        let attempt = workers.next_attempt();
        let owners = workers.owners(dataset.shard_count);
        let parameters = parameters(4, 1);
        let load = |user_share: f64, kept_by: &str| {
            Step::ModelLoad(ModelLoad {
                dataset: Some(dataset.clone()),
                split: Some(of_als(&parameters)),
                validation_ratio: 0.25,
                user_share,
                owners: owners.clone(),
                workers: workers.peers.clone(),
                kept_by: kept_by.to_owned(),
                for_tags: true,
                ..ModelLoad::default()
            })
        };
        let all = loaded(&workers.on_all_of("all", attempt, load(0.0, "")).await.unwrap());
        let whole = loaded(&workers.on_all_of("whole", attempt, load(1.0, "")).await.unwrap());
        assert_eq!(all, whole);
        let some = loaded(&workers.on_all_of("some", attempt, load(0.5, "")).await.unwrap());
        // About half of the users, and of these as many ratings as they have.
        let share = some.0 as f64 / all.0 as f64;
        assert!((0.35..0.65).contains(&share), "{some:?} of {all:?}");
        let per_user =
            |(users, held_out, ratings): (u64, u64, u64)| (held_out + ratings) as f64 / users as f64;
        assert!((per_user(some) / per_user(all) - 1.0).abs() < 0.3, "{some:?} of {all:?}");

        let train = TrainLoad {
            dataset: Some(dataset.clone()),
            parameters: Some(parameters.clone()),
            split: Some(of_als(&parameters)),
            owners: owners.clone(),
            workers: workers.peers.clone(),
            validation_ratio: 0.25,
            user_share: 0.5,
            for_tags: true,
            ..TrainLoad::default()
        };
        workers.on_all(attempt, Step::TrainLoad(train)).await.unwrap();
        // From now on nothing can be loaded.
        workers.store.delete_folder(&dataset.path).await.unwrap();
        let shared = workers.on_all_of("shared", attempt, load(0.5, JOB)).await.unwrap();
        assert_eq!(loaded(&shared), some);
        assert!(workers.on_all_of("other", attempt, load(0.4, JOB)).await.is_err());
        workers.release().await;
        found.push((all, some));
    }
    assert_eq!(found[0], found[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blend_is_measured_by_the_ratings_that_it_is_served_with() {
    let (workers, dataset) = start(2, 1).await;
    let implicit = AlsParameters { objective: ObjectiveChoice::Implicit.into(), ..parameters(6, 2) };
    let (implicit, both) = (
        als_folder(&workers.train(&dataset, &implicit).await.unwrap(), &implicit),
        als_folder(&workers.train(&dataset, &parameters(6, 2)).await.unwrap(), &parameters(6, 2)),
    );
    let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
    let item_cf = run.item_cf(item_cf(Similarity::Cosine)).await.unwrap();
    let ratings = async |folders: &[&ModelFolder], as_blend: bool| {
        let folders: Vec<ModelFolder> = folders.iter().map(|folder| (*folder).clone()).collect();
        let sources = run.calibrations(&folders).await.unwrap();
        let hybrid = as_blend.then(|| HybridModel { sources, ..HybridModel::default() });
        let (shards, _) = run.evaluate(folders, hybrid).await.unwrap();
        shards.into_iter().map(|shard| shard.rating).collect::<Vec<_>>()
    };
    let of_item_cf = ratings(&[&item_cf], false).await;
    assert!(of_item_cf.iter().all(Option::is_some));
    // From neighbours where factors only rank, in whatever order; else by factors.
    assert_eq!(ratings(&[&implicit, &item_cf], true).await, of_item_cf);
    assert_eq!(ratings(&[&item_cf, &implicit], true).await, of_item_cf);
    let of_implicit = ratings(&[&implicit], true).await;
    assert!(of_implicit.into_iter().flatten().all(|sums| sums.pairs == 0));
    let of_factors = ratings(&[&both, &item_cf], true).await;
    assert_ne!(of_factors, of_item_cf);
    assert_eq!(ratings(&[&item_cf, &both], true).await, of_factors);
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_of_another_model_take_the_place_of_what_was_made() {
    let (workers, dataset) = start(1, 1).await;
    let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
    let too_early = run
        .on_all(Step::ContentNeighbours(ContentNeighbours { vectors_path: String::new(), neighbours: 5 }))
        .await;
    assert!(too_early.is_err());
    let alone = run.item_cf(item_cf(Similarity::Cosine)).await.unwrap();
    let content = run.content(content()).await.unwrap();
    // The parts of content are those that it has by itself: nothing is left of item CF.
    assert!(run.parts(&content.path).await.keys().any(|part| part.contains("vectors")));
    let late = run.written(|path| Step::ItemCfTotals(ItemCfTotals { path })).await.unwrap_err();
    assert!(late.message().contains("not laid out for pairs yet"), "{late}");
    let again = run.item_cf(item_cf(Similarity::Cosine)).await.unwrap();
    let (alone, again) = (run.parts(&alone.path).await, run.parts(&again.path).await);
    assert!(alone == again, "what came between has changed item CF");
    workers.release().await;
}
