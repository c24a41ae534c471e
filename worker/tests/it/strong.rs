//! Users who are held out entirely: what models list them is worth what the definition says, from the written parts and the
//! ratings alone; whoever does the work it is the same; and a version answers for them.

use std::collections::BTreeSet;

use shoal_common::{
    ids::EntityId,
    store::{PartKind, part},
};
use shoal_core::hash::{is_held_out, is_held_out_user, pair_hash};
use shoal_engine::{
    hybrid::{Blend, Calibration, UNKNOWN, popularity, rank},
    item_cf::Neighbours,
    preference::Preference,
    score::dot,
};
use shoal_format::{
    id_column::IdColumn,
    model_parts::{read_biases, read_neighbours},
    row::IdRef,
    tensor_file::TensorFile,
};
use shoal_proto::v1::*;

use crate::support::{
    Workers,
    models::{ModelRun, Parts, als_folder, content, ease, item_cf},
    said::{Data, hash},
    train::{Trained, parameters},
};

const USERS: i64 = 60;
/// More than the longest list has room for, less what a user has rated.
const ITEMS: i64 = 260;
const RANK: usize = 5;

fn split() -> SplitParameters {
    SplitParameters { held_out_user_share: 0.3, ..crate::support::models::split() }
}

/// What is known and what is asked of a user who is held out: global item rows, ascending, with ratings.
struct HeldOutUser {
    id: i64,
    folded: Vec<(u32, f32)>,
    relevant: Vec<u32>,
}

/// Item ids by global row: shards in order, ids ascending in each.
fn items_in_row_order(shards: u32) -> Vec<i64> {
    let mut items: Vec<i64> = (1..=ITEMS).collect();
    items.sort_by_key(|&item| (EntityId::Integer(item).shard(shards), item));
    items
}

/// The users that the split holds out, by its definition.
fn held_out_users(data: &Data, shards: u32) -> Vec<HeldOutUser> {
    let SplitParameters { held_out_user_share, test_ratio, seed, .. } = split();
    let items = items_in_row_order(shards);
    let is_held = |user: &i64| is_held_out_user(hash(*user), held_out_user_share, seed);
    let of_user = |user: i64| {
        let (mut folded, mut relevant) = (Vec::new(), Vec::new());
        for (row, &item) in (0..).zip(&items) {
            let said = data.ratings.iter().find(|said| (said.user, said.item) == (user, item));
            let Some(said) = said else { continue };
            if is_held_out(pair_hash(hash(user), hash(item), seed), test_ratio) {
                relevant.push(row);
            } else {
                folded.push((row, said.what.parse().unwrap()));
            }
        }
        HeldOutUser { id: user, folded, relevant }
    };
    (1..=USERS).filter(is_held).map(of_user).collect()
}

/// Recall at 20 and 50, and ndcg at 100, summed over users whose scores are given.
fn worth<'a>(users: impl Iterator<Item = (&'a HeldOutUser, Vec<f32>)>) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for (user, scores) in users {
        let folded: BTreeSet<u32> = user.folded.iter().map(|(row, _)| *row).collect();
        let mut list: Vec<u32> = (0..scores.len() as u32)
            .filter(|row| !folded.contains(row) && scores[*row as usize] != UNKNOWN)
            .collect();
        list.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)));
        let hit = |place: &usize| list.get(*place).is_some_and(|row| user.relevant.contains(row));
        let recall = |k: usize| (0..k).filter(hit).count() as f64 / k.min(user.relevant.len()) as f64;
        let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let ideal: f64 = (0..user.relevant.len().min(100)).map(gain).sum();
        let ndcg = (0..100).filter(hit).map(gain).sum::<f64>() / ideal;
        sums.iter_mut().zip([recall(20), recall(50), ndcg]).for_each(|(sum, score)| *sum += score);
    }
    sums
}

/// The same figures of an evaluation, and how many users they are of.
fn measured(shards: &[ShardEvaluationSums]) -> ([f64; 3], u64) {
    let lists: Vec<&ListSums> = shards.iter().filter_map(|shard| shard.model.as_ref()).collect();
    let at = |k: u32| lists.iter().map(move |sums| sums.at.iter().find(|at| at.k == k).unwrap());
    let recall = |k| at(k).map(|at| at.recall).sum::<f64>();
    let users = lists.iter().map(|sums| sums.users).sum();
    ([recall(20), recall(50), at(100).map(|at| at.ndcg).sum()], users)
}

#[track_caller]
fn assert_close(found: [f64; 3], expected: [f64; 3], tolerance: f64) {
    let is_close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < tolerance);
    assert!(is_close, "{found:?}, and by definition {expected:?}");
}

/// The rows of a side's factor parts, by id.
fn factors(parts: &Parts, side: Side, shards: u32, name: &str) -> Vec<(i64, Vec<f32>, u32)> {
    let mut rows = Vec::new();
    for shard in 0..shards {
        let path = part(PartKind::Factors, side, shard);
        let file = TensorFile::from_bytes(&path, &parts[&path]).unwrap();
        let ids = IdColumn::read(&file).unwrap();
        let (values, rank) = file.matrix::<f32>(name, ids.len()).unwrap();
        let (biases, counts) =
            (file.vector::<f32>("rating_bias").unwrap(), file.vector::<u32>("train_counts").unwrap());
        for row in 0..ids.len() {
            let IdRef::Integer(id) = ids.get_ref(row) else { panic!("an id is a text") };
            let bias = (name == "rating").then_some(biases[row]);
            rows.push((id, values[row * rank..][..rank].iter().copied().chain(bias).collect(), counts[row]));
        }
    }
    rows
}

/// How many ratings parts of biases say to be behind these users.
fn counts_behind(parts: &Parts, shards: u32, users: &[HeldOutUser]) -> usize {
    let mut sum = 0;
    for shard in 0..shards {
        let path = part(PartKind::Biases, Side::Users, shard);
        let file = TensorFile::from_bytes(&path, &parts[&path]).unwrap();
        let ids = IdColumn::read(&file).unwrap();
        let (_, counts) = read_biases(&file, ids.len()).unwrap();
        let of_users = users.iter().filter_map(|user| ids.find(&EntityId::Integer(user.id)));
        sum += of_users.map(|row| counts[row] as usize).sum::<usize>();
    }
    sum
}

/// Neighbours and training counts of all items, by global row.
fn neighbours(parts: &Parts, dataset: &DatasetInfo) -> (Vec<Vec<(u32, f32)>>, Vec<u32>) {
    let (mut lists, mut counts) = (Vec::new(), Vec::new());
    for stats in &dataset.item_shards {
        let open = |kind| {
            let path = part(kind, Side::Items, stats.shard);
            TensorFile::from_bytes(&path, &parts[&path]).unwrap()
        };
        let (file, rows) = (open(PartKind::Neighbours), stats.rows as usize);
        let found: Neighbours = read_neighbours(&file, rows, dataset.items as u32).unwrap();
        for row in 0..rows {
            let (rows, similarities) = found.of(row);
            lists.push(rows.iter().copied().zip(similarities.iter().copied()).collect());
        }
        counts.extend_from_slice(read_biases(&open(PartKind::Biases), rows).unwrap().1);
    }
    (lists, counts)
}

/// Scores by neighbours: for each item the likings of what was folded in times the similarities.
fn by_neighbours(user: &HeldOutUser, lists: &[Vec<(u32, f32)>], preference: Preference) -> Vec<f32> {
    let mut scores = vec![0.0_f32; lists.len()];
    for &(rated, rating) in &user.folded {
        let liking = preference.of(rating) as f32;
        for (score, list) in scores.iter_mut().zip(lists) {
            if let Some((_, similarity)) = list.iter().find(|(row, _)| *row == rated) {
                *score += liking * similarity;
            }
        }
    }
    scores.iter().map(|&score| if score == 0.0 { UNKNOWN } else { score }).collect()
}

/// Solves A x = b.
fn solved(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for pivot in 0..n {
        let best = (pivot..n).max_by(|&i, &j| a[i][pivot].abs().total_cmp(&a[j][pivot].abs())).unwrap();
        a.swap(pivot, best);
        b.swap(pivot, best);
        for row in pivot + 1..n {
            let factor = a[row][pivot] / a[pivot][pivot];
            let above = a[pivot].clone();
            a[row].iter_mut().zip(above).for_each(|(value, above)| *value -= factor * above);
            b[row] -= factor * b[pivot];
        }
    }
    for row in (0..n).rev() {
        let rest: f64 = (row + 1..n).map(|column| a[row][column] * b[column]).sum();
        b[row] = (b[row] - rest) / a[row][row];
    }
    b
}

/// The row that solves a user's normal equations: Σ w v vᵀ + `prior` and Σ t v over what was folded in.
fn row(rated: &[(&Vec<f32>, f64, f64)], mut prior: Vec<Vec<f64>>) -> Vec<f64> {
    let mut right = vec![0.0; prior.len()];
    for (vector, weight, target) in rated {
        for (i, &x) in vector.iter().enumerate() {
            right[i] += target * f64::from(x);
            for (j, &y) in vector.iter().enumerate() {
                prior[i][j] += weight * f64::from(x) * f64::from(y);
            }
        }
    }
    solved(prior, right)
}

/// Checks that the rows written for held-out users solve their equations, from the item factors that were written.
fn assert_folded_in(trained: &Trained, als: &AlsParameters, users: &[HeldOutUser], shards: u32) {
    let (implicit, explicit) = (als.implicit.unwrap(), als.explicit.unwrap());
    let items = |name| factors(&trained.factors, Side::Items, shards, name);
    let (ranking, rating) = (items("ranking"), items("rating"));
    let (of_ranking, of_rating) = (
        factors(&trained.factors, Side::Users, shards, "ranking"),
        factors(&trained.factors, Side::Users, shards, "rating"),
    );
    for user in users {
        let n = user.folded.len() as f64;
        let ridge = |width: usize, value: f64| -> Vec<Vec<f64>> {
            (0..width).map(|i| (0..width).map(|j| if i == j { value } else { 0.0 }).collect()).collect()
        };
        let mut prior =
            ridge(RANK, implicit.regularization * (n + implicit.unobserved_weight * ITEMS as f64));
        for (_, vector, _) in &ranking {
            for i in 0..RANK {
                for j in 0..RANK {
                    prior[i][j] += implicit.unobserved_weight * f64::from(vector[i]) * f64::from(vector[j]);
                }
            }
        }
        let liked = |&(row, rating): &(u32, f32)| {
            let weight = 1.0 + implicit.alpha * f64::from(rating);
            (&ranking[row as usize].1, weight, weight)
        };
        let exact = row(&user.folded.iter().map(liked).collect::<Vec<_>>(), prior);
        let of = |rows: &[(i64, Vec<f32>, u32)]| rows.iter().find(|row| row.0 == user.id).unwrap().clone();
        let (_, found, count) = of(&of_ranking);
        assert_eq!(count as usize, user.folded.len(), "what stands behind the row of {}", user.id);
        let norm = exact.iter().map(|value| value * value).sum::<f64>().sqrt();
        for (found, exact) in found.iter().zip(&exact) {
            assert!((f64::from(*found) - exact).abs() < 1e-4 * norm.max(1e-3), "{found} for {exact}");
        }
        // With a bias, the weight of a column of ones.
        let ones: Vec<Vec<f32>> = user
            .folded
            .iter()
            .map(|(row, _)| rating[*row as usize].1[..RANK].iter().copied().chain([1.0]).collect())
            .collect();
        let rated = user.folded.iter().zip(&ones).map(|(&(row, value), ones)| {
            (ones, 1.0, f64::from(value) - trained.rating_mean - f64::from(rating[row as usize].1[RANK]))
        });
        let exact = row(&rated.collect::<Vec<_>>(), ridge(RANK + 1, explicit.regularization * n));
        for (found, exact) in of(&of_rating).1.iter().zip(&exact) {
            assert!((f64::from(*found) - exact).abs() < 1e-4, "{found} for {exact} of {}", user.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_held_out_users_are_worth_what_the_definition_says() {
    let workers = Workers::start(3, 1).await;
    let data = Data::new(USERS, ITEMS);
    let dataset = workers.import_said("whole", &data).await;
    let shards = dataset.shard_count;
    let users = held_out_users(&data, shards);
    assert!(users.len() > 10 && users.iter().all(|user| user.folded.len() > 20 && user.relevant.len() > 5));
    let als = parameters(RANK as u32, 3);
    let trained = workers.train_split(&dataset, &als, &split()).await.unwrap();
    assert_folded_in(&trained, &als, &users, shards);

    // By factors: the product, of items with training ratings.
    let items = factors(&trained.factors, Side::Items, shards, "ranking");
    let rows = factors(&trained.factors, Side::Users, shards, "ranking");
    let by_factors = |user: &HeldOutUser| -> Vec<f32> {
        let own = &rows.iter().find(|row| row.0 == user.id).unwrap().1;
        let score =
            |(_, item, count): &(i64, Vec<f32>, u32)| if *count > 0 { dot(item, own) } else { UNKNOWN };
        items.iter().map(score).collect()
    };
    let run = ModelRun::begin_with(&workers, &dataset, split(), 0.0).await.unwrap();
    assert_eq!(run.rating_mean, trained.rating_mean);
    let (found, _) = run.evaluate(vec![als_folder(&trained, &als)], None).await.unwrap();
    let (figures, count) = measured(&found);
    assert_eq!(count, users.len() as u64);
    assert_close(figures, worth(users.iter().map(|user| (user, by_factors(user)))), 1e-9);
    // What is measured after the last sweep is the same, of lists of twenty.
    let sweep: Vec<ShardMetricSums> = found.iter().filter_map(|shard| shard.sweep).collect();
    assert_eq!(sweep, trained.metrics);
    let recall: f64 = trained.metrics.iter().map(|sums| sums.recall_at_20).sum();
    assert!((recall - figures[0]).abs() < 1e-9, "{recall} and {figures:?}");

    // By neighbours: a sum of rows of what was folded in.
    let preference = Preference::by_height(dataset.rating_min, dataset.rating_max);
    let mut folders = vec![als_folder(&trained, &als)];
    let mut lists = Vec::new();
    let few = ItemCfParameters { common_users_min: 2, ..item_cf(Similarity::Cosine) };
    for folder in [
        run.item_cf(few).await.unwrap(),
        run.content(content()).await.unwrap(),
        run.ease(ease(30)).await.unwrap().0,
    ] {
        let parts = run.parts(&folder.path).await;
        assert_eq!(
            counts_behind(&parts, shards, &users),
            users.iter().map(|user| user.folded.len()).sum::<usize>()
        );
        let (of_items, counts) = neighbours(&parts, &dataset);
        let (found, _) = run.evaluate(vec![folder.clone()], None).await.unwrap();
        let (figures, count) = measured(&found);
        assert_eq!(count, users.len() as u64);
        let expected = users.iter().map(|user| (user, by_neighbours(user, &of_items, preference)));
        assert_close(figures, worth(expected), 1e-9);
        assert!(figures.iter().all(|figure| *figure > 0.0), "{figures:?} of {}", folder.path);
        lists.push((of_items, counts));
        folders.push(folder);
    }

    // Their blend: the weighted levels of all, and of popularity.
    let mut sources = run.calibrations(&folders).await.unwrap();
    sources.iter_mut().zip([0.35, 0.25, 0.15, 0.15, 0.1]).for_each(|(source, weight)| source.weight = weight);
    let hybrid = HybridModel { sources: sources.clone(), ..HybridModel::default() };
    let (found, _) = run.evaluate(folders, Some(hybrid)).await.unwrap();
    let calibrated = |source: &HybridSource| {
        let knots = source.knots.iter().map(|knot| (knot.score, knot.level)).collect();
        (Calibration::from_knots(knots).unwrap(), source.weight)
    };
    let blend = Blend::new(sources.iter().map(calibrated).collect());
    let blended = |user: &HeldOutUser| -> Vec<f32> {
        let scores = [
            by_factors(user),
            by_neighbours(user, &lists[0].0, preference),
            by_neighbours(user, &lists[1].0, preference),
            by_neighbours(user, &lists[2].0, preference),
            lists[0].1.iter().map(|&count| popularity(count)).collect(),
        ];
        let score = |item: usize| rank(blend.weights(), |source| blend.level(source, scores[source][item]));
        (0..ITEMS as usize).map(score).collect()
    };
    // Scores of factors are summed there in another order: a tie more or less.
    assert_close(measured(&found).0, worth(users.iter().map(|user| (user, blended(user)))), 0.02);
    workers.release().await;
}

/// What trainings with held-out users come to.
#[derive(Debug, PartialEq)]
struct Everything {
    factors: Vec<Parts>,
    metrics: Vec<Vec<ShardMetricSums>>,
    models: Vec<Parts>,
    evaluations: Vec<(Vec<ShardEvaluationSums>, Vec<u32>)>,
}

async fn everything(count: usize, threads: usize) -> Everything {
    let workers = Workers::start(count, threads).await;
    let dataset = workers.import_said("whole", &Data::new(USERS, ITEMS)).await;
    let (mut factors, mut metrics, mut evaluations, mut models) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for order in [SweepOrder::UsersFirst, SweepOrder::ItemsFirst] {
        let als = AlsParameters { order: order.into(), ..parameters(RANK as u32, 3) };
        let whole = workers.train_split(&dataset, &als, &split()).await.unwrap();
        // From a checkpoint on, which has the held-out users folded in; also from the last one.
        let two = AlsParameters { sweeps: 2, ..als.clone() };
        let begun = workers.train_split(&dataset, &two, &split()).await.unwrap();
        for (checkpoint, done) in [(&begun.path, 2), (&whole.path, 3)] {
            let rest = workers.train_split_from(checkpoint, done, &dataset, &als, &split()).await.unwrap();
            assert!(rest.factors == whole.factors, "{order:?} from sweep {done} on");
            assert_eq!(rest.metrics, whole.metrics);
        }
        let run = ModelRun::begin_with(&workers, &dataset, split(), 0.0).await.unwrap();
        evaluations.push(run.evaluate(vec![als_folder(&whole, &als)], None).await.unwrap());
        factors.push(whole.factors);
        metrics.push(whole.metrics);
    }
    for gathered in [true, false] {
        let mut run = ModelRun::begin_with(&workers, &dataset, split(), 0.0).await.unwrap();
        run.gathered = gathered;
        for folder in [
            run.item_cf(item_cf(Similarity::AdjustedCosine)).await.unwrap(),
            run.content(content()).await.unwrap(),
            run.ease(ease(30)).await.unwrap().0,
        ] {
            models.push(run.parts(&folder.path).await);
            evaluations.push(run.evaluate(vec![folder], None).await.unwrap());
        }
    }
    workers.release().await;
    Everything { factors, metrics, models, evaluations }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_workers_and_threads_folds_in_the_same() {
    let alone = everything(1, 1).await;
    for (workers, threads) in [(1, 3), (2, 2), (3, 1), (5, 1)] {
        let together = everything(workers, threads).await;
        assert!(together == alone, "{workers} workers with {threads} threads came to something else");
    }
}
