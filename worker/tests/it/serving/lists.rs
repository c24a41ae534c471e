//! Batch lists of a version in a store: what their files hold, the counts that are told of them, and whose a folder is.

use std::{path::Path, sync::Arc};

use shoal_common::{
    compute::Compute,
    rpc::Channels,
    store::{Access, LocalCache, StoreOptions, join, lists_path},
};
use shoal_proto::v1::{
    ListsBegin, ListsClaim, ListsDiscard, ListsFinish, ListsFormat, ListsParameters, ListsPart, ListsWrite,
};
use shoal_worker::{
    job_context::JobContext,
    lists::{ListsAttempt, ListsContext, discard},
    serve::Loader,
};

use super::fixture::{CLUSTER, SHARDS, TrueRow, World};

const JOB: &str = "job-000001";

/// A row of a file.
struct Line {
    user: i64,
    item: i64,
    rank: usize,
    score: f32,
    predicted_rating: Option<f32>,
    source: String,
}

impl Line {
    fn read(row: &str) -> Self {
        let fields: Vec<&str> = row.split(',').collect();
        Self {
            user: fields[0].parse().unwrap(),
            item: fields[1].parse().unwrap(),
            rank: fields[2].parse().unwrap(),
            score: fields[3].parse().unwrap(),
            predicted_rating: (!fields[4].is_empty()).then(|| fields[4].parse().unwrap()),
            source: fields[5].to_owned(),
        }
    }
}

fn context(world: &World, job: &str) -> ListsContext {
    let folder = world.folder.path().join(job);
    let cache = LocalCache::open(folder.join("cache")).unwrap();
    let loader = Loader::new(world.store.clone(), cache);
    let of_worker = JobContext {
        cluster_id: CLUSTER.to_owned(),
        node: "worker-1".to_owned(),
        folder: folder.join("attempt"),
        store: world.store.clone(),
        access: Access::anywhere(StoreOptions::default()),
        channels: Channels::tcp(),
        compute: Compute::new("lists", 2).unwrap(),
    };
    ListsContext { job_id: job.to_owned(), job: of_worker, loader }
}

async fn begun(world: &World, job: &str, parameters: &ListsParameters) -> Arc<ListsAttempt> {
    let begin = ListsBegin {
        version: Some(world.version.clone()),
        dataset: Some(world.dataset.clone()),
        parameters: Some(ListsParameters { format: ListsFormat::Csv.into(), ..parameters.clone() }),
        ..ListsBegin::default()
    };
    Arc::new(ListsAttempt::begin(context(world, job), begin).await.unwrap())
}

async fn write(attempt: &Arc<ListsAttempt>) -> Vec<ListsPart> {
    let mut parts = Vec::new();
    for shard in 0..SHARDS {
        let part = attempt.write(ListsWrite { shard }, Default::default(), Arc::new(|_| ()));
        parts.push(part.await.unwrap());
    }
    parts
}

/// The counts of every part, and the rows of all.
async fn written(world: &World, parameters: &ListsParameters) -> (Vec<ListsPart>, Vec<Line>) {
    let attempt = begun(world, JOB, parameters).await;
    attempt.claim(ListsClaim::default()).await.unwrap();
    let (parts, mut lines) = (write(&attempt).await, Vec::new());
    for part in &parts {
        let path = join(&lists_path(JOB), &part.object.as_ref().unwrap().path);
        let file = world.store.get(&path).await.unwrap();
        let text = String::from_utf8(file.to_vec()).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        assert_eq!(header, "user_id,item_id,rank,score,predicted_rating,source");
        assert_eq!(rows.lines().count() as u64, part.rows);
        lines.extend(rows.lines().map(Line::read));
    }
    (parts, lines)
}

#[tokio::test]
async fn predicted_ratings_are_on_the_scale_as_they_are_served() {
    let world = World::new().await;
    let (_, lines) =
        written(&world, &ListsParameters { n: 50, known_users_only: true, ..Default::default() }).await;
    let of = |rows: &[TrueRow], id: i64| rows.iter().find(|row| row.id == id).unwrap().clone();
    let (mut below, mut above) = (0, 0);
    for line in &lines {
        let (user, item) = (of(&world.users, line.user), of(&world.items, line.item));
        let product: f32 = user.rating.iter().zip(&item.rating).map(|(a, b)| a * b).sum();
        let predicted = world.version.rating_mean as f32 + user.bias + item.bias + product;
        assert!((line.predicted_rating.unwrap() - predicted.clamp(0.5, 5.0)).abs() < 1e-4, "{predicted}");
        below += usize::from(predicted < 0.4);
        above += usize::from(predicted > 5.1);
    }
    assert!(below > 0 && above > 0, "{below} below the scale and {above} above it");
}

#[tokio::test]
async fn users_for_whom_a_version_has_nothing_are_listed_what_is_popular() {
    let mut world = World::new().await;
    // Half of the items are neighbours of one item, the others of nothing.
    let one = world.items[0].row;
    let with_one = |item: &TrueRow| {
        if item.row.is_multiple_of(2) && item.row != one { vec![(0.5, one)] } else { Vec::new() }
    };
    world.version = world.version_with("item_cf", with_one).await;
    let (parts, lines) = written(&world, &ListsParameters { n: 4, ..ListsParameters::default() }).await;
    let lists: Vec<&[Line]> = lines.chunk_by(|a, b| a.user == b.user).collect();
    assert_eq!(lists.len(), world.users.len());
    let has_rated = |user: i64| {
        let user = world.users.iter().find(|of| of.id == user).unwrap();
        user.train_count > 0 && user.rated.iter().any(|(row, _)| *row == one)
    };
    let (mut fallbacks, mut popular) = (0, Vec::new());
    for list in &lists {
        let expected = if has_rated(list[0].user) { "model" } else { "fallback_popular" };
        assert!(list.len() == 4 && list.iter().all(|line| line.source == expected), "user {}", list[0].user);
        fallbacks += u64::from(expected != "model");
        popular.extend(list.iter().filter(|line| line.source != "model").map(|line| (line.item, line.score)));
    }
    assert!(fallbacks > 0 && fallbacks < lists.len() as u64);
    assert_eq!(parts.iter().map(|part| part.fallback_users).sum::<u64>(), fallbacks);
    // The scores are the damped means, whoever reads them.
    popular.sort_by_key(|entry| entry.0);
    popular.dedup();
    assert!(popular.windows(2).all(|pair| pair[0].0 != pair[1].0), "{popular:?}");

    let known = ListsParameters { n: 4, known_users_only: true, ..ListsParameters::default() };
    let (parts, lines) = written(&world, &known).await;
    assert!(lines.iter().all(|line| line.source == "model"));
    assert_eq!(parts.iter().map(|part| part.left_out_users).sum::<u64>(), fallbacks);
}

#[tokio::test]
async fn ranks_count_from_one_and_scores_go_down() {
    let world = World::new().await;
    let (parts, lines) = written(&world, &ListsParameters { n: 7, ..ListsParameters::default() }).await;
    let lists: Vec<&[Line]> = lines.chunk_by(|a, b| a.user == b.user).collect();
    assert_eq!(lists.len() as u64, parts.iter().map(|part| part.users).sum::<u64>());
    for list in lists {
        assert!(list.iter().map(|line| line.rank).eq(1..=7));
        assert!(list.is_sorted_by(|a, b| (b.score, a.item) <= (a.score, b.item)));
    }
}

#[tokio::test]
async fn users_whom_the_version_does_not_know_are_listed_what_is_popular_or_left_out_and_counted() {
    for known_users_only in [false, true] {
        let world = World::new().await;
        let parameters = ListsParameters { n: 5, known_users_only, ..ListsParameters::default() };
        let (parts, _) = written(&world, &parameters).await;
        for part in parts {
            let of_shard = || world.users.iter().filter(|user| user.shard == part.shard);
            let all = of_shard().count() as u64;
            let unknown = of_shard().filter(|user| user.train_count == 0).count() as u64;
            let (listed, popular, left_out) =
                if known_users_only { (all - unknown, 0, unknown) } else { (all, unknown, 0) };
            assert_eq!((part.users, part.fallback_users, part.left_out_users), (listed, popular, left_out));
        }
        assert!(world.users.iter().any(|user| user.train_count == 0));
    }
}

/// Names of the files in a folder, ascending.
fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_folder_is_one_jobs_until_that_job_lets_it_go() {
    let world = World::new().await;
    let out = tempfile::tempdir().unwrap();
    let out_uri = out.path().to_str().unwrap().to_owned();
    let parameters = ListsParameters { n: 3, out_uri, ..ListsParameters::default() };
    let first = begun(&world, JOB, &parameters).await;
    first.claim(ListsClaim::default()).await.unwrap();
    // Another attempt of the job goes on where the first was.
    begun(&world, JOB, &parameters).await.claim(ListsClaim::default()).await.unwrap();
    let parts = write(&first).await;
    let info = first.finish(ListsFinish { parts }).await.unwrap();
    assert_eq!((info.files, info.users), (u64::from(SHARDS), world.users.len() as u64));
    let whole = names(out.path());
    assert_eq!(whole.len(), 3 + SHARDS as usize, "{whole:?}");

    let other = begun(&world, "job-000002", &parameters).await;
    let refused = other.claim(ListsClaim::default()).await.unwrap_err().to_string();
    assert!(refused.contains("holds '_job.json' already"), "{refused}");
    let format = ListsFormat::Csv.into();
    let parameters = Some(ListsParameters { format, ..parameters });
    let step = || ListsDiscard { parameters: parameters.clone(), shard_count: SHARDS, created_unix_ms: 0 };
    discard(&context(&world, "job-000002"), step()).await.unwrap();
    assert_eq!(names(out.path()), whole);
    discard(&context(&world, JOB), step()).await.unwrap();
    assert!(names(out.path()).is_empty());
}

#[tokio::test]
async fn a_folder_is_not_closed_while_a_part_is_cut() {
    let world = World::new().await;
    let out = tempfile::tempdir().unwrap();
    let out_uri = out.path().to_str().unwrap().to_owned();
    let attempt = begun(&world, JOB, &ListsParameters { n: 3, out_uri, ..ListsParameters::default() }).await;
    attempt.claim(ListsClaim::default()).await.unwrap();
    let parts = write(&attempt).await;
    let object = parts[2].object.clone().unwrap();
    let file = std::fs::File::options().write(true).open(out.path().join(&object.path)).unwrap();
    file.set_len(object.length_bytes - 1).unwrap();
    let missing = attempt.finish(ListsFinish { parts: parts.clone() }).await.unwrap_err().to_string();
    assert!(missing.contains(&object.path), "{missing}");
    assert!(!names(out.path()).contains(&"_manifest.json".to_owned()));
    // A later attempt is told of the parts that are whole.
    let claimed = attempt.claim(ListsClaim { parts: parts.clone() }).await.unwrap().parts;
    assert_eq!(claimed.iter().map(|part| part.shard).collect::<Vec<_>>(), [0, 1, 3]);
}
