//! EASE over workers: the same bits whoever does the work, the weights of a plain inverse, and what is refused.

use futures::stream;
use shoal_common::store::{PartKind, part};
use shoal_dataset::generate::{GenerateSpec, generate};
use shoal_engine::preference::Preference as Liking;
use shoal_format::{
    model_parts::{read_biases, read_neighbours},
    tensor_file::TensorFile,
};
use shoal_proto::v1::{
    step_request::Step, tile_chunk::Content, worker_exchange_client::WorkerExchangeClient, *,
};
use tonic::Code;

use crate::support::{
    CLUSTER, JOB, Workers,
    everybody::{Everybody, everybody},
    import::source,
    models::{ModelRun, Parts, ease},
};

const SHARDS: u32 = 6;
/// Items of three tile rows.
const SAMPLE: GenerateSpec =
    GenerateSpec { users: 400, items: 600, ratings: 24_000, rank: 6, seed: 8, threads: 1 };

async fn start(count: usize, threads: usize) -> (Workers, DatasetInfo) {
    let workers = Workers::start(count, threads).await;
    let sample = workers.folder.path().join("sample");
    generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
    let imported = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap();
    (workers, imported.info)
}

/// Lists of weights of all items, by global row.
fn lists(dataset: &DatasetInfo, parts: &Parts) -> Vec<Vec<(u32, f32)>> {
    let mut lists = Vec::new();
    for stats in &dataset.item_shards {
        let name = part(PartKind::Neighbours, Side::Items, stats.shard);
        let file = TensorFile::from_bytes(&name, &parts[&name]).unwrap();
        let read = read_neighbours(&file, stats.rows as usize, dataset.items as u32).unwrap();
        lists.extend((0..read.len()).map(|row| {
            let (rows, weights) = read.of(row);
            rows.iter().copied().zip(weights.iter().copied()).collect()
        }));
    }
    lists
}

/// Training ratings of all items, by global row.
fn counts(dataset: &DatasetInfo, parts: &Parts) -> Vec<u32> {
    let mut counts = Vec::new();
    for stats in &dataset.item_shards {
        let name = part(PartKind::Biases, Side::Items, stats.shard);
        let file = TensorFile::from_bytes(&name, &parts[&name]).unwrap();
        counts.extend_from_slice(read_biases(&file, stats.rows as usize).unwrap().1);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_workers_and_threads_makes_the_same_weights() {
    let mut alone = None;
    for (count, threads) in [(1, 1), (1, 3), (2, 1), (3, 2), (5, 1)] {
        let (workers, dataset) = start(count, threads).await;
        let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
        let (folder, chosen) = run.ease(ease(30)).await.unwrap();
        let parts = run.parts(&folder.path).await;
        let measured = run.evaluate(vec![folder], None).await.unwrap();
        workers.release().await;
        let made = (parts, chosen, measured);
        let same = *alone.get_or_insert_with(|| made.clone()) == made;
        assert!(same, "{count} workers with {threads} threads came to something else");
    }
}

/// (XᵀX + λ)⁻¹ by Gauss and Jordan, as weights: of each item those of all others.
fn weights_in_f64(everybody: &Everybody, items: usize, ridge: f64) -> Vec<Vec<f64>> {
    let preference = Liking::by_height(0.5, 5.0);
    let mut matrix = vec![vec![0.0; items]; items];
    for ends in everybody.indptr.windows(2) {
        let rated: Vec<(usize, f64)> = (ends[0] as usize..ends[1] as usize)
            .map(|at| (everybody.items[at] as usize, preference.of(everybody.ratings[at])))
            .collect();
        for &(row, liking) in &rated {
            rated.iter().for_each(|&(column, other)| matrix[row][column] += liking * other);
        }
    }
    (0..items).for_each(|item| matrix[item][item] += ridge);
    for at in 0..items {
        let pivot = std::mem::replace(&mut matrix[at][at], 1.0);
        matrix[at].iter_mut().for_each(|value| *value /= pivot);
        let line = matrix[at].clone();
        for row in (0..items).filter(|row| *row != at) {
            let factor = std::mem::take(&mut matrix[row][at]);
            matrix[row].iter_mut().zip(&line).for_each(|(value, of_line)| *value -= factor * of_line);
        }
    }
    let of_item = |item: usize| {
        let weight =
            |other: usize| if other == item { 0.0 } else { -matrix[other][item] / matrix[item][item] };
        (0..items).map(weight).collect()
    };
    (0..items).map(of_item).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_are_those_of_a_plain_inverse() {
    let (workers, dataset) = start(3, 1).await;
    let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
    let (folder, chosen) = run.ease(ease(10_000)).await.unwrap();
    let parts = run.parts(&folder.path).await;
    let items = dataset.items as usize;
    let rated = counts(&dataset, &parts).iter().filter(|count| **count > 0).count();
    assert_eq!((chosen.items as usize, chosen.rated_items as usize), (rated, rated));
    let exact = weights_in_f64(&everybody(&workers, &dataset).await, items, 20.0);
    let (mut greatest, mut negative) = (0.0_f64, 0);
    for (list, exact) in lists(&dataset, &parts).iter().zip(&exact) {
        assert!(list.is_sorted_by(|a, b| a.1.abs() >= b.1.abs()));
        let mut of_item = vec![0.0; items];
        list.iter().for_each(|(row, weight)| of_item[*row as usize] = f64::from(*weight));
        negative += list.iter().filter(|(_, weight)| *weight < 0.0).count();
        let errors = of_item.iter().zip(exact).map(|(weight, exact)| (weight - exact).abs());
        greatest = errors.fold(greatest, f64::max);
    }
    assert!(greatest < 1e-4, "{greatest}");
    assert!(negative > 0, "some items speak against others");

    // Whoever keeps fewer keeps the largest.
    let (folder, _) = run.ease(ease(60)).await.unwrap();
    let few = lists(&dataset, &run.parts(&folder.path).await);
    let kept: usize = few.iter().map(Vec::len).sum();
    // And of each item some, however small.
    assert!(kept > 50 * items && kept < 80 * items, "{kept} weights of {items} items");
    for (few, all) in few.iter().zip(lists(&dataset, &parts)) {
        assert_eq!(few[..], all[..few.len()]);
    }
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_rated_items_are_in_the_model_and_others_in_no_list() {
    let (workers, dataset) = start(2, 1).await;
    // So much is held out that some items are not rated.
    let run = ModelRun::begin(&workers, &dataset, 0.95).await.unwrap();
    let (folder, chosen) = run.ease(EaseParameters { items_max: 50, ..ease(20) }).await.unwrap();
    let parts = run.parts(&folder.path).await;
    let counts = counts(&dataset, &parts);
    let rated = counts.iter().filter(|count| **count > 0).count();
    assert!(rated > 50 && rated < counts.len(), "{rated} of {}", counts.len());
    assert_eq!((chosen.items, chosen.rated_items as usize), (50, rated));
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&row| (std::cmp::Reverse(counts[row]), row));
    let lists = lists(&dataset, &parts);
    let is_chosen = |row: usize| order[..50].contains(&row);
    for (row, list) in lists.iter().enumerate() {
        assert_eq!(!list.is_empty(), is_chosen(row));
        assert!(list.iter().all(|(other, _)| is_chosen(*other as usize)));
    }
    let (_, exposure) = run.evaluate(vec![folder], None).await.unwrap();
    assert!(exposure.iter().enumerate().all(|(row, count)| *count == 0 || is_chosen(row)));
    assert!(exposure.iter().any(|count| *count > 0));
    workers.release().await;
}

/// Sends tiles to the first worker as if they came from another.
async fn send(workers: &Workers, chunks: Vec<TileChunk>) -> Result<(), tonic::Status> {
    let mut client = WorkerExchangeClient::new(workers.channels[0].clone());
    client.push_tiles(stream::iter(chunks)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_that_cannot_be_are_refused_and_steps_have_an_order() {
    let (workers, dataset) = start(2, 1).await;
    let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
    let chunk = |content: Option<Content>| TileChunk {
        cluster_id: CLUSTER.into(),
        job_id: JOB.into(),
        attempt: run.attempt(),
        node: workers.peers[1].node.clone(),
        content,
    };
    let sums =
        |row, column, bytes: usize| Content::Sums(TileSums { row, column, sums: vec![0; bytes].into() });
    let part = |step| Content::Part(EliminationPart { step, tile_row: None, values: Default::default() });
    let tile_bytes = 256 * 256 * 4;
    // Nothing is laid out yet.
    let refused = send(&workers, vec![chunk(Some(sums(0, 0, tile_bytes)))]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(run.on_all(Step::EaseInvert(EaseInvert {})).await.is_err());

    for regularization in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let parameters = Some(EaseParameters { regularization, ..ease(10) });
        let refused = run.on_all(Step::EasePrepare(EasePrepare { parameters })).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("ridge"), "{refused}");
    }
    let prepare = EasePrepare { parameters: Some(ease(10)) };
    run.on_all(Step::EasePrepare(prepare)).await.unwrap();
    // There are fewer users than items: without a ridge to speak of nothing is left of the last of them.
    let lost = run.ease(EaseParameters { regularization: 1e-9, ..ease(10) }).await.unwrap_err();
    assert_eq!(lost.code(), Code::InvalidArgument, "{lost}");
    assert!(lost.message().contains("--ease-reg"), "{lost}");
    run.on_all(Step::EasePrepare(prepare)).await.unwrap();
    let early = run.on_all(Step::EaseInvert(EaseInvert {})).await.unwrap_err();
    assert!(early.message().contains("sums of some workers are missing"), "{early}");
    // The tiles of the first worker are (0, 0), (1, 1), (2, 0), (2, 2).
    for (bad, why) in [
        (None, "empty"),
        (Some(sums(1, 1, tile_bytes)), "not those that are next"),
        (Some(sums(0, 0, tile_bytes - 4)), "not those of a tile"),
        (Some(sums(0, 0, 3)), "whole numbers"),
        (Some(part(3)), "no step 3"),
    ] {
        let refused = send(&workers, vec![chunk(bad)]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(why), "{refused} for {why}");
    }
    for node in ["worker-0", "worker-7"] {
        let stranger = TileChunk { node: node.into(), ..chunk(Some(sums(0, 0, tile_bytes))) };
        assert!(send(&workers, vec![stranger]).await.unwrap_err().message().contains("no other worker"));
    }
    let stale = TileChunk { attempt: run.attempt() - 1, ..chunk(Some(sums(0, 0, tile_bytes))) };
    assert_eq!(send(&workers, vec![stale]).await.unwrap_err().code(), Code::FailedPrecondition);
    // Twice the same is not what is next.
    let twice = vec![chunk(Some(sums(0, 0, tile_bytes))); 2];
    assert!(send(&workers, twice).await.unwrap_err().message().contains("not those that are next"));

    // What comes too early waits, and no longer than its attempt lasts.
    let waiting = send(&workers, vec![chunk(Some(part(0)))]);
    let over = async {
        tokio::task::yield_now().await;
        workers.release().await;
    };
    let (ended, ()) = tokio::join!(waiting, over);
    assert!(ended.is_err());

    // What came twice has spoilt that attempt; another one is as good as any.
    let run = ModelRun::begin(&workers, &dataset, 0.0).await.unwrap();
    run.on_all(Step::EasePrepare(prepare)).await.unwrap();
    run.on_all(Step::EaseSum(EaseSum {})).await.unwrap();
    run.on_all(Step::EaseInvert(EaseInvert {})).await.unwrap();
    let sizes = EaseSizes { diagonals: Vec::new() };
    for (step, code, why) in [
        (Step::EaseInvert(EaseInvert {}), Code::FailedPrecondition, "inverted before"),
        (Step::EaseSelect(EaseSelect::default()), Code::FailedPrecondition, "the diagonal is not known"),
        (Step::EaseNeighbours(EaseNeighbours {}), Code::FailedPrecondition, "which weights are kept"),
        (Step::EaseSizes(sizes), Code::InvalidArgument, "one diagonal of positive numbers"),
    ] {
        let refused = run.on_all(step).await.unwrap_err();
        assert!(refused.code() == code && refused.message().contains(why), "{refused} for {why}");
    }
    let (folder, _) = run.ease(ease(10)).await.unwrap();
    assert!(lists(&dataset, &run.parts(&folder.path).await).iter().any(|list| !list.is_empty()));
    assert!(run.on_all(Step::EaseSum(EaseSum {})).await.is_err());
    workers.release().await;
}
