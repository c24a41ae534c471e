//! Batch lists of a version in a store: what their files hold, and the counts that are told of them.

use std::{collections::BTreeMap, sync::Arc};

use shoal_common::{
    compute::Compute,
    store::{LocalCache, join, lists_path},
};
use shoal_proto::v1::{ListsBegin, ListsClaim, ListsFormat, ListsParameters, ListsPart, ListsWrite};
use shoal_worker::{
    lists::{ListsAttempt, ListsContext},
    serve::Loader,
};

use super::fixture::{CLUSTER, SHARDS, TrueRow, World};

const JOB: &str = "job-000001";

/// A row of a file.
struct Line {
    user: i64,
    item: i64,
    predicted_rating: Option<f32>,
}

/// The counts of every part, and the rows of all.
async fn written(world: &World, parameters: ListsParameters) -> (Vec<ListsPart>, Vec<Line>) {
    let folder = world.folder.path().join("lists");
    let cache = LocalCache::open(folder.join("cache")).unwrap();
    let context = ListsContext {
        cluster_id: CLUSTER.to_owned(),
        job: JOB.to_owned(),
        folder: folder.join("attempt"),
        store: world.store.clone(),
        store_options: BTreeMap::new(),
        loader: Loader::new(world.store.clone(), cache),
        compute: Compute::new("lists", 2).unwrap(),
    };
    let begin = ListsBegin {
        version: Some(world.version.clone()),
        dataset: Some(world.dataset.clone()),
        parameters: Some(ListsParameters { format: ListsFormat::Csv.into(), ..parameters }),
        ..ListsBegin::default()
    };
    let attempt = Arc::new(ListsAttempt::begin(context, begin).await.unwrap());
    attempt.claim(ListsClaim::default()).await.unwrap();
    let (mut parts, mut lines) = (Vec::new(), Vec::new());
    for shard in 0..SHARDS {
        let part = attempt.write(ListsWrite { shard }, Default::default(), Arc::new(|_| ())).await.unwrap();
        let path = join(&lists_path(JOB), &part.object.as_ref().unwrap().path);
        let file = world.store.get(&path).await.unwrap();
        let text = String::from_utf8(file.to_vec()).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        assert_eq!(header, "user_id,item_id,rank,score,predicted_rating,source");
        assert_eq!(rows.lines().count() as u64, part.rows);
        lines.extend(rows.lines().map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            Line {
                user: fields[0].parse().unwrap(),
                item: fields[1].parse().unwrap(),
                predicted_rating: (!fields[4].is_empty()).then(|| fields[4].parse().unwrap()),
            }
        }));
        parts.push(part);
    }
    (parts, lines)
}

#[tokio::test]
async fn predicted_ratings_are_on_the_scale_as_they_are_served() {
    let world = World::new().await;
    let (_, lines) =
        written(&world, ListsParameters { n: 50, known_users_only: true, ..Default::default() }).await;
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
async fn users_whom_the_version_does_not_know_are_listed_what_is_popular_or_left_out_and_counted() {
    for known_users_only in [false, true] {
        let world = World::new().await;
        let parameters = ListsParameters { n: 5, known_users_only, ..ListsParameters::default() };
        let (parts, _) = written(&world, parameters).await;
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
