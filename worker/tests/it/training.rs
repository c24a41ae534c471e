//! Trainings over workers: the same bits whoever does the work, and no more sent than has to be.

use std::collections::BTreeMap;

use shoal_dataset::generate::{GenerateSpec, generate};
use shoal_proto::v1::{
    AlsParameters, AlsSolver, DatasetSource, ExchangeFormat, ExplicitParameters, FactorChunk, FactorRows,
    GramianPartial, HeldOutReport, Objective, ObjectiveChoice, Side, SubscribeRowsRequest, SweepOrder,
    factor_chunk, worker_exchange_client::WorkerExchangeClient,
};

use crate::support::{
    CLUSTER, JOB, Workers,
    import::{source, with_columns},
    models::ModelRun,
    train::{Trained, of_als, parameters},
};

const SHARDS: u32 = 6;
const SAMPLE: GenerateSpec =
    GenerateSpec { users: 1_500, items: 400, ratings: 60_000, rank: 6, seed: 3, threads: 1 };

async fn trained(workers: usize, threads: usize, parameters: &AlsParameters) -> (Trained, u64) {
    trained_on(&SAMPLE, workers, threads, parameters).await
}

/// A training, and the bytes that the workers wrote to each other during it.
async fn trained_on(
    spec: &GenerateSpec,
    workers: usize,
    threads: usize,
    parameters: &AlsParameters,
) -> (Trained, u64) {
    let workers = Workers::start(workers, threads).await;
    let sample = workers.folder.path().join("sample");
    generate(spec, &sample, &|_, _| {}).unwrap();
    let imported = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap();
    assert_eq!(imported.info.ratings, spec.ratings);
    let before = workers.counted.bytes();
    let trained = workers.train(&imported.info, parameters).await.unwrap();
    (trained, workers.counted.bytes() - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_workers_and_threads_writes_the_same_bytes() {
    for exchange in [ExchangeFormat::F32, ExchangeFormat::Bf16] {
        let parameters = AlsParameters { exchange: exchange.into(), ..parameters(12, 2) };
        let (alone, _) = trained(1, 1, &parameters).await;
        assert_eq!(alone.factors.len(), 2 * SHARDS as usize);
        for (workers, threads) in [(1, 3), (2, 1), (3, 2), (5, 1)] {
            let (together, _) = trained(workers, threads, &parameters).await;
            assert!(
                together.factors == alone.factors,
                "{workers} workers with {threads} threads wrote other factors ({exchange:?})"
            );
            assert_eq!(together.metrics, alone.metrics);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_users_are_measured_in_blocks_and_come_to_the_same() {
    // More than are measured at once by one worker, fewer by each of three.
    let many = GenerateSpec { users: 20_000, items: 60, ratings: 420_000, ..SAMPLE };
    let (alone, _) = trained_on(&many, 1, 2, &parameters(4, 1)).await;
    let (together, _) = trained_on(&many, 3, 1, &parameters(4, 1)).await;
    assert_eq!(alone.metrics, together.metrics);
    let ranked: u64 = alone.metrics.iter().map(|sums| sums.ranked_users).sum();
    assert!(ranked > 19_000, "{ranked} users have something held out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_every_solver() {
    let exact = parameters(12, 4);
    let (by_cholesky, _) = trained(1, 1, &exact).await;
    let explicit = ExplicitParameters { biases: false, ..exact.explicit.unwrap() };
    for other in [
        AlsParameters { solver: AlsSolver::ConjugateGradients.into(), solver_steps: 3, ..exact.clone() },
        AlsParameters { solver: AlsSolver::Ialspp.into(), solver_block: 5, ..exact.clone() },
        AlsParameters { nonnegative: true, explicit: Some(explicit), ..exact.clone() },
    ] {
        let (alone, _) = trained(1, 1, &other).await;
        for (workers, threads) in [(1, 3), (3, 1)] {
            let (together, _) = trained(workers, threads, &other).await;
            assert!(
                together.factors == alone.factors && together.metrics == alone.metrics,
                "{workers} workers with {threads} threads wrote other factors ({other:?})"
            );
        }
        assert!(alone.factors != by_cholesky.factors, "{other:?} has not been solved as asked");
        let (ours, exact) = (alone.rmse(), by_cholesky.rmse());
        assert!(ours < exact + 0.05, "rmse {ours} where {exact} can be had ({other:?})");
    }
}

/// Factors, biases and both orders: whatever a checkpoint lacked would be begun anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_training_that_goes_on_from_a_checkpoint_writes_the_same_bytes() {
    let workers = Workers::start(2, 1).await;
    let sample = workers.folder.path().join("sample");
    generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
    let dataset = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap().info;
    for order in [SweepOrder::UsersFirst, SweepOrder::ItemsFirst] {
        let of = |sweeps| AlsParameters { order: order.into(), ..parameters(12, sweeps) };
        let whole = workers.train(&dataset, &of(4)).await.unwrap();
        let half = workers.train(&dataset, &of(2)).await.unwrap();
        assert!(half.factors != whole.factors);
        let rest = workers.train_from(&half.path, 2, &dataset, &of(4)).await.unwrap();
        assert!(rest.factors == whole.factors && rest.metrics == whole.metrics, "{order:?}");
    }
}

/// A peer that lags behind, or a message that was long on its way, must not mix sweeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_sends_of_a_sweep_that_is_over_is_refused() {
    let workers = Workers::start(2, 1).await;
    let sample = workers.folder.path().join("sample");
    generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
    let dataset = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap().info;
    let parameters = parameters(4, 2);
    let attempt = workers.next_attempt();
    workers.load_training(attempt, "", &dataset, &parameters).await.unwrap();
    workers.sweeps(attempt, 0, &parameters).await.unwrap();
    let push = async |sweep: u32| {
        let gramian = GramianPartial { shard: 1, values: vec![0; 8 * 10].into() };
        let chunk = FactorChunk {
            cluster_id: CLUSTER.into(),
            job_id: JOB.into(),
            attempt,
            sweep,
            side: Side::Items.into(),
            node: workers.peers[1].node.clone(),
            content: Some(factor_chunk::Content::Gramian(gramian)),
        };
        let mut client = WorkerExchangeClient::new(workers.channels[0].clone());
        client.push_factors(futures::stream::iter([chunk])).await.map(|_| ())
    };
    for sweep in [0, 1] {
        let refused = push(sweep).await.unwrap_err();
        assert!(refused.message().contains(&format!("sweep {sweep} is over")), "{refused}");
    }
    // Of the sweep that is under way everything is taken.
    push(2).await.unwrap();
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_taken_and_promised_as_they_were_asked_for_alone() {
    let workers = Workers::start(2, 1).await;
    let sample = workers.folder.path().join("sample");
    generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
    let dataset = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap().info;
    let rank = 4;
    let attempt = workers.next_attempt();
    workers.load_training(attempt, "", &dataset, &parameters(rank, 1)).await.unwrap();
    let (peer, mut client) = (&workers.peers[1].node, WorkerExchangeClient::new(workers.channels[0].clone()));
    let mut push = async |width: u32, first: u64| {
        let values = vec![0; width as usize * size_of::<f32>()].into();
        let rows = FactorRows { objective: Objective::Ranking.into(), first, width, values };
        let chunk = FactorChunk {
            cluster_id: CLUSTER.into(),
            job_id: JOB.into(),
            attempt,
            sweep: 1,
            side: Side::Items.into(),
            node: peer.clone(),
            content: Some(factor_chunk::Content::Rows(rows)),
        };
        client.push_factors(futures::stream::iter([chunk])).await.map(|_| ())
    };
    push(rank, 0).await.unwrap();
    for (width, first) in [(rank - 1, 0), (rank + 1, 0), (0, 0), (rank, dataset.items), (rank, u64::MAX)] {
        let refused = push(width, first).await.unwrap_err();
        assert!(refused.message().contains("do not fit"), "{width} {first}: {refused}");
    }
    let mut client = WorkerExchangeClient::new(workers.channels[0].clone());
    let mut subscribe = async |rows: &[u32]| {
        let request = SubscribeRowsRequest {
            cluster_id: CLUSTER.into(),
            job_id: JOB.into(),
            attempt,
            node: peer.clone(),
            side: Side::Items.into(),
            rows: rows.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>().into(),
        };
        client.subscribe_rows(request).await.map(|_| ())
    };
    // The first shard is the first worker's, the last is not.
    subscribe(&[0, 1, 3]).await.unwrap();
    let last = dataset.items as u32 - 1;
    for (rows, part) in
        [(&[1, 0][..], "do not ascend"), (&[0, 0], "do not ascend"), (&[0, last], "is not owned here")]
    {
        let refused = subscribe(rows).await.unwrap_err();
        assert!(refused.message().contains(part), "{rows:?}: {refused}");
    }
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rank_that_does_not_fit_is_refused_with_one_that_does() {
    let workers = Workers::start(1, 1).await;
    let sample = workers.folder.path().join("sample");
    generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
    let imported = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap();
    let refused = workers.train(&imported.info, &parameters(100_000_000, 1)).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    let said = refused.message();
    let fitting = said.split("rank ").nth(2).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(fitting.parse::<u32>().unwrap() >= 100, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hardly_more_is_sent_than_the_rows_that_others_need() {
    let explicit = AlsParameters { objective: ObjectiveChoice::Explicit.into(), ..parameters(64, 2) };
    let mut by_format = Vec::new();
    for exchange in [ExchangeFormat::F32, ExchangeFormat::Bf16] {
        let parameters = AlsParameters { exchange: exchange.into(), ..explicit.clone() };
        let (trained, on_the_wire) = trained(3, 1, &parameters).await;
        let (sent, needed) = (trained.bytes_sent(), trained.bytes_needed());
        // The sockets also carried the subscriptions, once, and HTTP/2's own frames.
        let frames = trained.work.len() as u64 * 2 * 1_024;
        let subscriptions = 3 * 2 * 4 * (SAMPLE.users + SAMPLE.items) + 12 * 1_024;
        assert!(on_the_wire >= sent, "{on_the_wire} bytes were written, {sent} reported");
        assert!(
            on_the_wire <= sent + frames + subscriptions,
            "{on_the_wire} bytes were written, {sent} reported"
        );
        assert!(needed > 0 && sent as f64 <= 1.02 * needed as f64, "{sent} bytes sent, {needed} needed");
        by_format.push((needed, trained.rmse()));
    }
    let [(whole, exact), (half, rounded)] = by_format[..] else { panic!("{by_format:?}") };
    assert_eq!(whole, 2 * half);
    assert!((exact - rounded).abs() < 0.01, "rmse {exact} and {rounded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_out_file_is_measured_on_and_not_trained_on() {
    let mut written = Vec::new();
    for count in [1, 3] {
        let workers = Workers::start(count, 2).await;
        let sample = workers.folder.path().join("sample");
        generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
        let imported = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap();
        let ratings = std::fs::read_to_string(sample.join("ratings.csv")).unwrap();
        let (header, rows) = ratings.split_once('\n').unwrap();
        let held_out: Vec<&str> = rows.lines().step_by(97).collect();
        // A user and an item that the data set does not have are nothing to measure on.
        // Of a pair that comes again the last rating counts, whichever stands first.
        let pair = |row: &str| row.split(',').take(2).collect::<Vec<_>>().join(",");
        let again = format!("{},0.25,1\n{},0.25,4000000000", pair(held_out[0]), pair(held_out[1]));
        let strangers = "999999,1,3.5,1\n1,999999,3.5,1\nnobody,1,3.5,1";
        let text = format!("{header}\n{}\n{strangers}\n{again}\n", held_out.join("\n"));
        let file = workers.folder.path().join("held-out.csv");
        std::fs::write(&file, text).unwrap();
        let parameters =
            AlsParameters { test_uri: file.to_str().unwrap().into(), test_ratio: 0.0, ..parameters(8, 2) };
        let trained = workers.train(&imported.info, &parameters).await.unwrap();
        let pairs: u64 = trained.metrics.iter().map(|sums| sums.pairs).sum();
        let used: u64 =
            trained.loads.iter().flat_map(|load| &load.user_shards).map(|shard| shard.ratings).sum();
        assert_eq!((pairs, used), (held_out.len() as u64, SAMPLE.ratings - held_out.len() as u64));
        let rating = |row: &str| row.split(',').nth(2).unwrap().parse::<f64>().unwrap();
        let sum: f64 = held_out.iter().map(|row| rating(row)).sum::<f64>() - rating(held_out[1]) + 0.25;
        let rows = held_out.len() as u64;
        let reports: Vec<&HeldOutReport> =
            trained.loads.iter().map(|load| load.held_out.as_ref().unwrap()).collect();
        let summed = |of: fn(&HeldOutReport) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
        let again = summed(|report| report.read.as_ref().unwrap().duplicates);
        assert_eq!(
            (summed(|report| report.pairs), summed(|report| report.pairs_in_dataset), again),
            (rows, rows, 2)
        );
        for report in reports {
            // Every worker reads the whole file.
            let read = report.read.as_ref().unwrap();
            assert_eq!((read.rows_read, read.rows_accepted), (rows + 5, rows + 4));
            assert_eq!((report.unknown_user_rows, report.unknown_item_rows), (1, 1));
            let [rejection] = &read.rejections[..] else { panic!("{:?}", read.rejections) };
            let first = &rejection.examples[0];
            assert!(
                first.file.ends_with("held-out.csv") && rejection.reason.contains("user id"),
                "{rejection:?}"
            );
            assert_eq!(first.line, rows + 4);
        }
        assert_eq!(trained.metrics.iter().map(|sums| sums.rating).sum::<f64>(), sum);
        assert!(trained.rmse() < 0.9, "rmse {}", trained.rmse());
        written.push((trained.factors, trained.metrics));
    }
    assert!(written[0] == written[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_file_is_read_as_the_data_set_was_unless_something_else_is_said() {
    use std::io::Write as _;

    let workers = Workers::start(2, 1).await;
    let folder = workers.folder.path().join("own");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("stars.csv");
    let rows: String =
        (0..60).map(|row| format!("u{};i{};{}.5;{row}\n", row % 7, row % 11, row % 4)).collect();
    std::fs::write(&path, format!("customer;sku;stars;at\n{rows}")).unwrap();
    let columns = with_columns(&path, ["customer", "sku", "stars", "at"]);
    let mut dataset = workers.import(&columns, SHARDS, 1_000).await.unwrap().info;
    dataset.source = Some(columns.clone());

    // The same columns in another order, packed and in another encoding; the first pair is one of the data set's.
    let text = "at;sku;stars;customer\n1;i1;4;u2\n2;i5;1;u4\n";
    let units: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&units).unwrap();
    let test = folder.join("test.csv.gz");
    std::fs::write(&test, packed.finish().unwrap()).unwrap();
    let others = folder.join("others.csv");
    std::fs::write(&others, "who,what,much\nu1,i2,3\nu9,i2,3\n").unwrap();
    let strange = DatasetSource {
        user_column: "who".into(),
        item_column: "what".into(),
        rating_column: "much".into(),
        ..DatasetSource::default()
    };
    for (file, said, expected) in [
        // Pairs, of them in the data set, rows of unknown users.
        (&test, None, (2, 1, 0)),
        (&others, Some(strange), (1, 1, 1)),
    ] {
        let parameters = AlsParameters {
            test_uri: file.to_str().unwrap().into(),
            test_source: said,
            test_ratio: 0.0,
            ..parameters(4, 1)
        };
        let trained = workers.train(&dataset, &parameters).await.unwrap();
        let reports: Vec<&HeldOutReport> =
            trained.loads.iter().filter_map(|load| load.held_out.as_ref()).collect();
        let sum = |of: fn(&HeldOutReport) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
        let unknown = reports[0].unknown_user_rows;
        assert_eq!((sum(|report| report.pairs), sum(|report| report.pairs_in_dataset), unknown), expected);
    }
    // What names other columns is not read by them silently.
    let parameters =
        AlsParameters { test_uri: others.to_str().unwrap().into(), test_ratio: 0.0, ..parameters(4, 1) };
    let refused = workers.train(&dataset, &parameters).await.err().unwrap();
    assert!(refused.message().contains("customer"), "{refused}");
}

/// Ratings of every user: time stamp and rating, in the order of the file.
fn ratings_of(text: &str) -> BTreeMap<i64, Vec<(i64, f64)>> {
    let mut users: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
    for row in text.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let rating = (cells[3].parse().unwrap(), cells[2].parse().unwrap());
        users.entry(cells[0].parse().unwrap()).or_default().push(rating);
    }
    users
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_users_newest_ratings_are_measured_on_and_no_others() {
    let by_time = AlsParameters { temporal: true, ..parameters(8, 2) };
    let split = of_als(&by_time);
    let mut written = Vec::new();
    for (count, threads) in [(1, 2), (3, 1)] {
        let workers = Workers::start(count, threads).await;
        let sample = workers.folder.path().join("sample");
        generate(&SAMPLE, &sample, &|_, _| {}).unwrap();
        let imported = workers.import(&source(&sample), SHARDS, 200_000).await.unwrap();
        let trained = workers.train(&imported.info, &by_time).await.unwrap();
        let run = ModelRun::begin_with(&workers, &imported.info, split.clone(), 0.0).await.unwrap();
        let held_out: u64 = trained.metrics.iter().map(|sums| sums.pairs).sum();
        let used: u64 =
            trained.loads.iter().flat_map(|load| &load.user_shards).map(|shard| shard.ratings).sum();
        assert_eq!((held_out + used, held_out), (SAMPLE.ratings, run.held_out_pairs));
        // The seconds of the sample are told apart but for a few, so that which ratings are the newest is known.
        let users = ratings_of(&std::fs::read_to_string(sample.join("ratings.csv")).unwrap());
        let (mut pairs, mut least, mut most) = (0, 0.0, 0.0);
        for mut ratings in users.into_values() {
            let newest = (ratings.len() as f64 * 0.2).round() as usize;
            pairs += newest as u64;
            // Ratings of one second may stand in either order.
            for (sum, sign) in [(&mut least, 1.0), (&mut most, -1.0)] {
                ratings.sort_by(|a, b| (b.0, sign * a.1).partial_cmp(&(a.0, sign * b.1)).unwrap());
                *sum += ratings[..newest].iter().map(|rating| rating.1).sum::<f64>();
            }
        }
        let sum: f64 = trained.metrics.iter().map(|sums| sums.rating).sum();
        assert!(least <= sum && sum <= most, "{sum} is not from {least} to {most}");
        assert!(most - least < 0.01 * most, "the times of the sample decide hardly anything");
        assert_eq!(held_out, pairs);
        assert!(trained.rmse() < 1.0, "rmse {}", trained.rmse());
        written.push((trained.factors, trained.metrics));
    }
    assert!(written[0] == written[1], "three workers cut otherwise than one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_set_without_times_is_known_for_it() {
    let workers = Workers::start(2, 1).await;
    let folder = workers.folder.path().join("untimed");
    std::fs::create_dir(&folder).unwrap();
    let rows: String = (0..60).map(|row| format!("{},{},3.5\n", row % 7, row % 11)).collect();
    std::fs::write(folder.join("ratings.csv"), format!("userId,movieId,rating\n{rows}")).unwrap();
    let imported = workers.import(&source(&folder), SHARDS, 200_000).await.unwrap();
    let split = of_als(&AlsParameters { temporal: true, ..parameters(8, 2) });
    let (_, timed_ratings) = workers.cut_by_time(1, &imported.info, &split).await.unwrap();
    assert_eq!((imported.info.ratings, timed_ratings), (60, 0));
    workers.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_sends_nothing() {
    let (trained, on_the_wire) = trained(1, 1, &parameters(4, 1)).await;
    assert_eq!((trained.bytes_sent(), trained.bytes_needed(), on_the_wire), (0, 0, 0));
    assert_eq!(trained.loads.len(), 1);
}
