//! What a caller who means harm sends to a worker: it is refused before anything is done with it.

use std::{fs, path::Path};

use shoal_proto::v1::{
    step_request::Step, worker_exchange_client::WorkerExchangeClient, worker_jobs_client::WorkerJobsClient, *,
};
use tonic::{Code, Status};

use crate::support::{CLUSTER, JOB, Workers, import::source};

/// A folder with a file in it, beside the workers' own.
fn precious(workers: &Workers) -> std::path::PathBuf {
    let folder = workers.folder.path().join("precious-001");
    fs::create_dir(&folder).unwrap();
    for name in ["spool", "ratings.csv"] {
        fs::write(folder.join(name), "do not lose me").unwrap();
    }
    folder
}

fn assert_whole(folder: &Path) {
    for name in ["spool", "ratings.csv"] {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "do not lose me");
    }
}

/// Ids of jobs that lead out of the folder of jobs, or are no names at all.
fn bad_ids(workers: &Workers) -> Vec<String> {
    let absolute = workers.folder.path().join("precious").to_str().unwrap().to_owned();
    let odd =
        ["../precious", "..", ".", "", "a/b", "A", "a b", "a\n", "a\0", "a..b", "a.", ".a", "a.b.c", "é"];
    let mut ids: Vec<String> = odd.map(str::to_owned).into();
    ids.extend([absolute, "a".repeat(65), format!("a.{}", "b".repeat(65))]);
    ids
}

fn is_refused_for_its_id(outcome: Result<(), Status>, id: &str) {
    let status = outcome.expect_err(id);
    assert_eq!(status.code(), Code::InvalidArgument, "{id:?}: {status:?}");
    assert!(status.message().contains("id of a job"), "{id:?}: {status:?}");
    assert!(status.message().len() < 500, "{}", status.message().len());
}

#[tokio::test]
async fn the_id_of_a_job_is_a_name_and_no_path() {
    let workers = Workers::start(1, 1).await;
    let kept = precious(&workers);
    let begin = IngestBegin {
        source: Some(source(workers.folder.path())),
        shard_count: 1,
        user_id_kind: IdKind::Integer.into(),
        item_id_kind: IdKind::Integer.into(),
        owners: workers.owners(1),
        workers: workers.peers.clone(),
        ..IngestBegin::default()
    };
    let cuts =
        SplitCuts { owners: workers.owners(1), workers: workers.peers.clone(), ..SplitCuts::default() };
    for id in bad_ids(&workers) {
        for step in [Step::IngestBegin(begin.clone()), Step::SplitCuts(cuts.clone())] {
            is_refused_for_its_id(workers.on_one_of(&id, 0, 1, step).await.map(|_| ()), &id);
        }
        let release = ReleaseJobRequest { cluster_id: CLUSTER.into(), job_id: id.clone() };
        let mut jobs = WorkerJobsClient::new(workers.channels[0].clone());
        is_refused_for_its_id(jobs.release_job(release).await.map(|_| ()), &id);
        assert_whole(&kept);
    }
    // A name of a part is one, and so is what a test calls its job.
    for id in [JOB, "job-000001.item_cf", "j"] {
        workers.on_one_of(id, 0, 1, Step::IngestBegin(begin.clone())).await.unwrap();
    }
    workers.release().await;
    assert_whole(&kept);
}

#[tokio::test]
async fn streams_between_workers_name_a_job_and_no_path() {
    let workers = Workers::start(1, 1).await;
    let exchange = || WorkerExchangeClient::new(workers.channels[0].clone());
    for job_id in bad_ids(&workers) {
        let cluster_id = CLUSTER.to_owned();
        let records =
            RecordBatch { cluster_id: cluster_id.clone(), job_id: job_id.clone(), ..Default::default() };
        let pushed = exchange().push_records(futures::stream::iter([records])).await;
        is_refused_for_its_id(pushed.map(|_| ()), &job_id);
        let rows =
            FactorChunk { cluster_id: cluster_id.clone(), job_id: job_id.clone(), ..Default::default() };
        is_refused_for_its_id(
            exchange().push_factors(futures::stream::iter([rows])).await.map(|_| ()),
            &job_id,
        );
        let tile = TileChunk { cluster_id: cluster_id.clone(), job_id: job_id.clone(), ..Default::default() };
        is_refused_for_its_id(
            exchange().push_tiles(futures::stream::iter([tile])).await.map(|_| ()),
            &job_id,
        );
        let rows = SubscribeRowsRequest {
            cluster_id: cluster_id.clone(),
            job_id: job_id.clone(),
            ..Default::default()
        };
        is_refused_for_its_id(exchange().subscribe_rows(rows).await.map(|_| ()), &job_id);
        let pairs = PairsRequest { cluster_id, job_id: job_id.clone(), ..Default::default() };
        is_refused_for_its_id(exchange().pull_pairs(pairs).await.map(|_| ()), &job_id);
    }
}

/// What a source outside of the roots is answered, whatever lies there.
fn is_refused_for_its_place<T: std::fmt::Debug>(outcome: Result<T, Status>, what: &str) -> String {
    let status = outcome.expect_err(what);
    assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
    assert!(status.message().contains("worker.import_roots"), "{what}: {status:?}");
    status.message().to_owned()
}

const RATINGS: &str = "userId,movieId,rating\n1,2,3.5\n1,3,4\n";

#[tokio::test]
async fn only_what_lies_within_the_roots_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    for folder in [&inside, &outside] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("ratings.csv"), RATINGS).unwrap();
    }
    let roots = [inside.to_str().unwrap().to_owned()];
    let workers = Workers::start_within(1, 1, &roots).await;
    workers.inspect(&source(&inside)).await.unwrap();
    workers.inspect(&source(&inside.join("../inside/ratings.csv"))).await.unwrap();

    // A folder, a file, a pattern, one of several, and what is not there: nobody is told which of them it is.
    let away = |path: &Path| is_refused_for_its_place_of(&workers, source(path));
    let there = away(&outside.join("ratings.csv")).await;
    assert_eq!(there.replace("ratings.csv", "nothing.csv"), away(&outside.join("nothing.csv")).await);
    for path in [&outside, &outside.join("*.csv"), &inside.join("../outside"), &folder.path().to_owned()] {
        away(path).await;
    }
    let more = DatasetSource {
        more_uris: vec![outside.join("ratings.csv").to_str().unwrap().to_owned()],
        ..source(&inside.join("ratings.csv"))
    };
    is_refused_for_its_place_of(&workers, more).await;

    // A link is where it leads to: of a folder, of a file by name, and of a file in a layout.
    std::os::unix::fs::symlink(&outside, inside.join("folder")).unwrap();
    std::os::unix::fs::symlink(outside.join("ratings.csv"), inside.join("link.csv")).unwrap();
    fs::create_dir(inside.join("layout")).unwrap();
    std::os::unix::fs::symlink(outside.join("ratings.csv"), inside.join("layout/ratings.csv")).unwrap();
    for path in ["folder", "folder/ratings.csv", "link.csv", "layout", "fold*/ratings.csv"] {
        away(&inside.join(path)).await;
    }
    // Links within the roots are as good as what they lead to.
    fs::create_dir(inside.join("own")).unwrap();
    std::os::unix::fs::symlink(inside.join("ratings.csv"), inside.join("own/ratings.csv")).unwrap();
    workers.inspect(&source(&inside.join("own"))).await.unwrap();
}

async fn is_refused_for_its_place_of(workers: &Workers, source: DatasetSource) -> String {
    is_refused_for_its_place(workers.inspect(&source).await, &source.uri)
}

#[tokio::test]
async fn a_step_names_no_file_outside_of_the_roots() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    for folder in [&inside, &outside] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("ratings.csv"), RATINGS).unwrap();
    }
    let workers = Workers::start_within(1, 1, &[inside.to_str().unwrap().to_owned()]).await;
    let found = workers.inspect(&source(&inside)).await.unwrap();
    let begin = |uri: &Path, file: &str| IngestBegin {
        source: Some(source(uri)),
        shard_count: 1,
        user_id_kind: found.user_id_kind,
        item_id_kind: found.item_id_kind,
        owners: workers.owners(1),
        workers: workers.peers.clone(),
        files: vec![SourceFile { uri: file.to_owned(), ..found.files[0].clone() }],
        ..IngestBegin::default()
    };
    let refused = workers.on_one_of(JOB, 0, 1, Step::IngestBegin(begin(&outside, "ratings.csv"))).await;
    is_refused_for_its_place(refused, "the source");
    for (attempt, file) in ["../outside/ratings.csv", "/etc/passwd"].into_iter().enumerate() {
        let attempt = attempt as u32 + 2;
        workers.on_one_of(JOB, 0, attempt, Step::IngestBegin(begin(&inside, file))).await.unwrap();
        let parse = IngestParse { file: 0, begin: 0, end: 100 };
        let refused = workers.on_one_of(JOB, 0, attempt, Step::IngestParse(parse)).await.unwrap_err();
        assert!(refused.message().contains("is no path in a store"), "{refused:?}");
    }
}

/// Nothing of a file that is no table, and nothing of what lies beside it.
#[tokio::test]
async fn what_is_not_understood_is_not_given_away() {
    let folder = tempfile::tempdir().unwrap();
    let workers = Workers::start(1, 1).await;
    for (name, text) in [
        ("one.env", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI"),
        ("more.env", "TOKEN=wJalrXUtnFEMI\nOTHER=wJalrXUtnFEMI\n"),
        ("shadow", "root:$6$wJalrXUtnFEMI:19000:0:99999:7:::\nbob:$6$wJalrXUtnFEMI:19000:0:99999:7:::\n"),
        ("notes.csv", "wJalrXUtnFEMI,is,the key\nof,the,door\n"),
        ("key.pem", "-----BEGIN wJalrXUtnFEMI-----\nwJalrXUtnFEMI\n-----END-----\n"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        for delimiter in ["", ":", "=", ","] {
            let named = DatasetSource {
                user_column: "userid".to_owned(),
                delimiter: delimiter.to_owned(),
                ..source(&path)
            };
            for source in [named, DatasetSource { delimiter: delimiter.to_owned(), ..source(&path) }] {
                let refused = workers.inspect(&source).await;
                if let Err(refused) = refused {
                    assert!(!refused.message().contains("wJalr"), "{name} '{delimiter}': {refused:?}");
                } else {
                    assert!(source.user_column.is_empty(), "{name} has no column 'userid'");
                }
            }
        }
    }
    // The owner of a table is helped as before.
    let table = folder.path().join("table.csv");
    fs::write(&table, "who,what,much\n1,2,3\n").unwrap();
    let error = workers.inspect(&source(&table)).await.unwrap_err();
    assert!(error.message().contains("who, what, much"), "{error:?}");
}

#[tokio::test]
async fn a_worker_that_is_not_configured_reads_nothing_and_says_how_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ratings.csv"), RATINGS).unwrap();
    let workers = Workers::start_within(1, 1, &[]).await;
    let said = is_refused_for_its_place(workers.inspect(&source(folder.path())).await, "unconfigured");
    assert!(said.contains("worker.import_roots = [\"/data\"]"), "{said}");
    is_refused_for_its_place(workers.inspect(&source(Path::new("s3://bucket/x.csv"))).await, "remote");
}
