//! A worker's serving side: loading what placement says, and answering as brute force would.

mod blend;
mod ease;
mod fixture;
mod lists;
mod many;
mod neighbours;

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use fixture::{NODE, SHARDS, TestCoordinator, TestWorker, TrueRow, World, als_mut, genres, title};
use shoal_common::{
    compute::Compute,
    ids::EntityId,
    rpc::{RETRY_AFTER_MS_KEY, is_version_missing, retry_after},
    store::{LocalCache, Manifest, PartKind, part},
};
use shoal_core::topk::better_first;
use shoal_engine::{
    popularity::PRIOR_RATINGS,
    score::{dot, norm},
};
use shoal_proto::v1::{
    self, LookupItemRequest, LookupUserRequest, Objective, ScoreKind, Side, TopItemsRequest,
    worker_serving_client::WorkerServingClient, worker_serving_server::WorkerServing,
};
use shoal_worker::{
    serve::{LoadedModels, Loader},
    service::Serving,
};
use tonic::{Code, Request};

fn bytes_of<T: bytemuck::NoUninit>(values: &[T]) -> Bytes {
    Bytes::copy_from_slice(bytemuck::cast_slice(values))
}

fn vector_of<T: bytemuck::AnyBitPattern>(bytes: &Bytes) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

fn integer(id: i64) -> Option<v1::EntityId> {
    Some(EntityId::Integer(id).into())
}

fn predicted(user: &TrueRow, item: &TrueRow) -> f32 {
    ((3.25_f64 + f64::from(user.bias)) as f32 + item.bias) + dot(&item.rating, &user.rating)
}

/// Every item's score as the formats describe it, best first.
fn brute_force(world: &World, kind: ScoreKind, user: &TrueRow, like: &TrueRow) -> Vec<(f32, i64)> {
    let score = |item: &TrueRow| match kind {
        ScoreKind::Ranking => dot(&item.ranking, &user.ranking),
        ScoreKind::Rating => predicted(user, item),
        ScoreKind::Cosine => {
            let norms = norm(&item.ranking) * norm(&like.ranking);
            (f64::from(dot(&item.ranking, &like.ranking)) / norms).clamp(-1.0, 1.0) as f32
        }
        _ => {
            let sum: f64 = item.rated.iter().map(|&(_, rating)| f64::from(rating)).sum();
            let prior = PRIOR_RATINGS * world.dataset.rating_mean;
            ((sum + prior) / (item.rated.len() as f64 + PRIOR_RATINGS)) as f32
        }
    };
    let listed = |item: &&TrueRow| match kind {
        ScoreKind::Popularity => !item.rated.is_empty(),
        _ => item.train_count > 0,
    };
    let seen = |item: &TrueRow| user.rated.iter().any(|&(row, _)| row == item.row);
    let items = world.items.iter().filter(listed).filter(|item| !seen(item));
    let mut all: Vec<(f32, i64)> = items.map(|item| (score(item), item.id)).collect();
    all.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
    all
}

fn request(kind: ScoreKind, user: &TrueRow, like: &TrueRow, n: u32) -> TopItemsRequest {
    let seen: Vec<u32> = user.rated.iter().map(|rated| rated.0).collect();
    TopItemsRequest {
        version: "als_model_v1".to_owned(),
        shards: (0..SHARDS).collect(),
        score: kind.into(),
        n,
        query: bytes_of(if kind == ScoreKind::Cosine { &like.ranking } else { &user.ranking }),
        query_objective: Objective::Ranking.into(),
        rating_query: bytes_of(&user.rating),
        rating_bias: user.bias,
        exclude_rows: bytes_of(&seen),
        with_predicted_rating: true,
        ..Default::default()
    }
}

/// Asks a worker and compares every answer with brute force.
async fn check_answers(world: &World, client: &mut WorkerServingClient<tonic::transport::Channel>) {
    let (user, like) = (world.user(11), world.item(23));
    let kinds = [ScoreKind::Ranking, ScoreKind::Rating, ScoreKind::Cosine, ScoreKind::Popularity];
    for kind in kinds {
        for n in [1, 5, 200] {
            let reply = client.top_items(request(kind, user, like, n)).await.unwrap().into_inner();
            assert_eq!(reply.shards.iter().map(|hits| hits.shard).collect::<Vec<_>>(), [0, 1, 2, 3]);
            let mut merged = Vec::new();
            for hits in &reply.shards {
                assert!(hits.error.is_none() && hits.hits.len() <= n as usize);
                for hit in &hits.hits {
                    let EntityId::Integer(id) = hit.item.clone().unwrap().try_into().unwrap() else {
                        panic!("ids are integers")
                    };
                    let item = world.item(id);
                    assert_eq!((hit.row, hits.shard), (item.row, item.shard));
                    assert_eq!((hit.title.clone(), hit.genres.clone()), (title(id), genres(id)));
                    assert_eq!(hit.predicted_rating, Some(predicted(user, item)));
                    merged.push((hit.score, id));
                }
            }
            merged.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
            let mut expected = brute_force(world, kind, user, like);
            expected.truncate(n as usize);
            let worst = expected.last().unwrap().0;
            assert!(merged.iter().all(|(score, _)| *score >= worst), "what no list needs is not sent");
            merged.truncate(n as usize);
            assert_eq!(merged, expected, "{kind:?}, n = {n}");
        }
    }
}

#[tokio::test]
async fn a_worker_loads_what_placement_says_and_answers_as_brute_force_does() {
    let world = World::new().await;
    let coordinator = TestCoordinator::start(world.metadata(1, vec![world.version.clone()])).await;
    let worker = TestWorker::start(&world, &coordinator.address).await;
    let beat = coordinator.all_loaded(&["als_model_v1"]).await;
    assert_eq!((beat.node.as_str(), beat.role()), (NODE, v1::NodeRole::Worker));
    assert!(beat.incarnation != 0 && beat.load_errors.is_empty());

    let mut client = WorkerServingClient::new(worker.channel.clone());
    check_answers(&world, &mut client).await;

    let version = "als_model_v1".to_owned();
    let user = world.user(11);
    let lookup = LookupUserRequest { version: version.clone(), user: integer(11) };
    let reply = client.lookup_user(lookup).await.unwrap().into_inner();
    assert!(reply.known);
    assert_eq!(vector_of::<f32>(&reply.ranking_factors), user.ranking);
    assert_eq!(vector_of::<f32>(&reply.rating_factors), user.rating);
    let seen: Vec<u32> = user.rated.iter().map(|rated| rated.0).collect();
    assert_eq!((reply.rating_bias, vector_of::<u32>(&reply.seen_items)), (user.bias, seen));
    // User 14 has ratings, but none in the training set; user 9999 is nobody.
    for (id, seen) in [(14, world.user(14).rated.len()), (9_999, 0)] {
        let lookup = LookupUserRequest { version: version.clone(), user: integer(id) };
        let reply = client.lookup_user(lookup).await.unwrap().into_inner();
        assert_eq!((reply.known, reply.ranking_factors.len(), reply.seen_items.len()), (false, 0, seen * 4));
    }
    let item = world.item(44);
    let lookup = LookupItemRequest { version, item: integer(44) };
    let reply = client.lookup_item(lookup).await.unwrap().into_inner();
    assert_eq!((reply.known, reply.row, reply.title, reply.genres), (true, item.row, title(44), genres(44)));
    assert_eq!(vector_of::<f32>(&reply.rating_factors), item.rating);
    assert_eq!(reply.ratings, item.rated.len() as u64);

    // Without coordinators the worker serves on.
    coordinator.stop().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    check_answers(&world, &mut client).await;
    worker.stop().await;
}

#[tokio::test]
async fn bad_queries_are_refused_with_the_reason() {
    let world = World::new().await;
    let coordinator = TestCoordinator::start(world.metadata(1, vec![world.version.clone()])).await;
    let worker = TestWorker::start(&world, &coordinator.address).await;
    coordinator.all_loaded(&["als_model_v1"]).await;
    let mut client = WorkerServingClient::new(worker.channel.clone());
    let good = request(ScoreKind::Ranking, world.user(11), world.item(23), 5);

    let absent = TopItemsRequest { version: "als_model_v9".to_owned(), ..good.clone() };
    assert!(is_version_missing(&client.top_items(absent).await.unwrap_err()));
    let absent = TopItemsRequest { shards: vec![77], ..good.clone() };
    assert!(is_version_missing(&client.top_items(absent).await.unwrap_err()));
    // One shard of two: the other one still answers.
    let partly = TopItemsRequest { shards: vec![1, 77], ..good.clone() };
    let reply = client.top_items(partly).await.unwrap().into_inner();
    assert!(!reply.shards[0].hits.is_empty() && reply.shards[0].error.is_none());
    let error = reply.shards[1].error.as_ref().unwrap();
    assert!(error.reason.contains("77") && error.retryable);

    let short = TopItemsRequest { query: bytes_of(&[1.0_f32]), ..good.clone() };
    let refused = client.top_items(short).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("the version's rank is 20"), "{refused}");

    let mut late = Request::new(good);
    late.metadata_mut().insert("grpc-timeout", "1n".parse().unwrap());
    let refused = client.top_items(late).await.unwrap_err();
    assert!(matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled), "{refused}");
    worker.stop().await;
}

#[tokio::test]
async fn a_damaged_part_is_reported_while_the_rest_serves_and_loads_once_repaired() {
    let world = World::new().await;
    let name = part(PartKind::Factors, Side::Items, 2);
    let file = world.object(&world.version.path, &name);
    let whole = std::fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &damaged).unwrap();

    let coordinator = TestCoordinator::start(world.metadata(1, vec![world.version.clone()])).await;
    let worker = TestWorker::start(&world, &coordinator.address).await;
    let beat = coordinator
        .beat_with("all but one shard", |beat| {
            let loaded = beat.loaded.first();
            loaded.is_some_and(|loaded| loaded.user_shards == [0, 1, 2, 3] && loaded.item_shards == [0, 1, 3])
                && !beat.load_errors.is_empty()
        })
        .await;
    let reason = &beat.load_errors["als_model_v1"];
    assert!(reason.contains("item shard 2") && reason.contains("damaged"), "{reason}");

    std::fs::write(&file, &whole).unwrap();
    let beat = coordinator.all_loaded(&["als_model_v1"]).await;
    assert!(beat.load_errors.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_restarted_worker_serves_from_its_cache() {
    let world = World::new().await;
    let coordinator = TestCoordinator::start(world.metadata(1, vec![world.version.clone()])).await;
    let worker = TestWorker::start(&world, &coordinator.address).await;
    let first = coordinator.all_loaded(&["als_model_v1"]).await;
    worker.stop().await;

    // Only the manifests are left in the store.
    for folder in ["user_factors", "item_factors"] {
        std::fs::remove_dir_all(world.object(&world.version.path, folder)).unwrap();
    }
    for folder in ["users", "items", "catalogue"] {
        std::fs::remove_dir_all(world.object(&world.dataset.path, folder)).unwrap();
    }
    let worker = TestWorker::start(&world, &coordinator.address).await;
    coordinator.beat_with("another incarnation", |beat| beat.incarnation != first.incarnation).await;
    coordinator.all_loaded(&["als_model_v1"]).await;
    check_answers(&world, &mut WorkerServingClient::new(worker.channel.clone())).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_change_of_metadata_loads_and_unloads_and_clears_the_cache() {
    let world = World::new().await;
    let second = world.second_version().await;
    let coordinator = TestCoordinator::start(world.metadata(1, vec![world.version.clone()])).await;
    let worker = TestWorker::start(&world, &coordinator.address).await;
    coordinator.all_loaded(&["als_model_v1"]).await;

    coordinator.metadata.send_replace(world.metadata(2, vec![world.version.clone(), second.clone()]));
    coordinator.all_loaded(&["als_model_v1", "als_model_v2"]).await;
    coordinator.metadata.send_replace(world.metadata(3, vec![second]));
    coordinator.all_loaded(&["als_model_v2"]).await;

    let mut client = WorkerServingClient::new(worker.channel.clone());
    let old = request(ScoreKind::Ranking, world.user(11), world.item(23), 5);
    assert!(is_version_missing(&client.top_items(old.clone()).await.unwrap_err()));
    let new = TopItemsRequest { version: "als_model_v2".to_owned(), ..old };
    client.top_items(new).await.unwrap();

    // Two parts of each user shard, three of each item shard.
    let cache = world.folder.path().join("worker/cache");
    for _ in 0..100 {
        if std::fs::read_dir(&cache).unwrap().count() == 5 * SHARDS as usize {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 5 * SHARDS as usize);
    worker.stop().await;
}

#[tokio::test]
async fn a_stream_that_has_fallen_behind_is_followed_anew() {
    let world = World::new().await;
    let coordinator = TestCoordinator::start(world.metadata(1, vec![])).await;
    coordinator.frozen.store(true, Ordering::Relaxed);
    let worker = TestWorker::start(&world, &coordinator.address).await;
    coordinator.beat_with("nothing loaded", |beat| beat.node == NODE && beat.loaded.is_empty()).await;
    coordinator.metadata.send_replace(world.metadata(2, vec![world.version.clone()]));
    coordinator.all_loaded(&["als_model_v1"]).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_time_to_come_again() {
    let world = World::new().await;
    let cache = LocalCache::open(world.folder.path().join("cache")).unwrap();
    let loader = Loader::new(world.store.clone(), cache);
    let models = LoadedModels::default();
    let (source, shard) = loader.load(&world.version, &[], &world.dataset, Side::Items, 0).await.unwrap();
    models.insert(&source.empty_version(), 0, shard);

    let pool = Compute::new("queue-test", 1).unwrap();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(move || blocked.recv().is_ok()).await.unwrap() }
    });
    let serving = Serving::new(models, pool, 1);
    // Few products of factors would not wait for the pool.
    let query = TopItemsRequest {
        shards: vec![0],
        ..request(ScoreKind::Popularity, world.user(11), world.item(23), 5)
    };
    let mut waiting = Box::pin(serving.top_items(Request::new(query.clone())));
    assert!(futures::poll!(&mut waiting).is_pending());
    let refused = serving.top_items(Request::new(query.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.metadata().contains_key(RETRY_AFTER_MS_KEY) && retry_after(&refused).is_some());

    // A caller that goes away frees its place at once, though the pool is still busy.
    drop(waiting);
    let mut waiting = Box::pin(serving.top_items(Request::new(query)));
    assert!(futures::poll!(&mut waiting).is_pending());
    release.send(()).unwrap();
    assert!(busy.await.unwrap());
    assert!(!waiting.await.unwrap().into_inner().shards[0].hits.is_empty());
}

#[tokio::test]
async fn parts_that_do_not_belong_together_are_refused() {
    let world = World::new().await;
    let cache = LocalCache::open(world.folder.path().join("cache")).unwrap();
    let loader = || Loader::new(world.store.clone(), cache.clone());
    let refusal = async |version: &v1::ModelVersion, dataset: &v1::DatasetInfo, shard: u32| {
        let outcome = loader().load(version, &[], dataset, Side::Items, shard).await;
        shoal_common::causes::with_causes(&outcome.unwrap_err())
    };

    let mut other_rank = world.version.clone();
    als_mut(&mut other_rank).rank = 21;
    let reason = refusal(&other_rank, &world.dataset, 0).await;
    assert!(reason.contains("its rank is 20, the version's is 21"), "{reason}");

    let mut more_rows = world.dataset.clone();
    more_rows.item_shards[1].rows += 1;
    let reason = refusal(&world.version, &more_rows, 1).await;
    assert!(reason.contains("rows"), "{reason}");
    assert!(refusal(&world.version, &world.dataset, 9).await.contains("no Items shard 9"));

    let other_manifest = v1::ModelVersion { manifest_checksum: "0".repeat(32), ..world.version.clone() };
    assert!(refusal(&other_manifest, &world.dataset, 0).await.contains("the registry says"));
    let other_manifest = v1::DatasetInfo { manifest_checksum: "0".repeat(32), ..world.dataset.clone() };
    assert!(refusal(&world.version, &other_manifest, 0).await.contains("the registry says"));

    // Parts whose checksum is right, and whose content is not.
    let rows: Vec<TrueRow> = world.items.iter().filter(|row| row.shard == 3).cloned().collect();
    let mut not_finite = rows.clone();
    not_finite[1].ranking[4] = f32::NAN;
    let mut other_ids = rows.clone();
    other_ids.last_mut().unwrap().id += 1_000;
    let cases = [
        ("not-finite", not_finite, "row 1 has a value that is not finite"),
        ("other-ids", other_ids, "its ids are not those of 'datasets/movies/v1/items/part-00003"),
    ];
    for (name, rows, expected) in cases {
        let bytes = fixture::factors_bytes(&rows.iter().collect::<Vec<_>>());
        let (path, object) = (format!("models/als/{name}"), part(PartKind::Factors, Side::Items, 3));
        let entry = world.store.put(&format!("{path}/{object}"), bytes).await.unwrap();
        let manifest = Manifest::new("model", vec![v1::ObjectEntry { path: object, ..entry }]);
        let bad = v1::ModelVersion {
            name: name.to_owned(),
            manifest_checksum: manifest.write(&world.store, &path).await.unwrap(),
            path,
            ..world.version.clone()
        };
        let reason = refusal(&bad, &world.dataset, 3).await;
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn nothing_is_like_an_item_without_direction() {
    let world = World::new().await;
    let coordinator = TestCoordinator::start(world.metadata(1, vec![world.version.clone()])).await;
    let worker = TestWorker::start(&world, &coordinator.address).await;
    coordinator.all_loaded(&["als_model_v1"]).await;
    let mut client = WorkerServingClient::new(worker.channel.clone());
    let like = world.item(23);
    for (query, found) in [(like.ranking.clone(), true), (vec![0.0; like.ranking.len()], false)] {
        let query = bytes_of(&query);
        let request = TopItemsRequest { query, ..request(ScoreKind::Cosine, world.user(11), like, 5) };
        let reply = client.top_items(request).await.unwrap().into_inner();
        for hits in &reply.shards {
            assert_eq!((hits.error.is_none(), !hits.hits.is_empty()), (true, found), "shard {}", hits.shard);
        }
    }
}
