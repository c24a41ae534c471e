//! Versions that have neighbours of items instead of factors, against the definition of every score.

use std::collections::HashMap;

use shoal_core::{hash::mix64, topk::better_first};
use shoal_proto::v1::{
    ItemFilter, LookupItemRequest, LookupUserRequest, Metadata, ModelVersion, ScoreKind, TopItemsRequest,
    worker_serving_client::WorkerServingClient,
};
use tonic::Code;

use super::{
    bytes_of,
    fixture::{
        ITEMS, RATING_MEAN, SHARDS, TestCoordinator, TestWorker, TrueRow, World, genres, title,
        vector_of_features,
    },
    integer, vector_of,
};

/// Neighbours that a predicted rating is the mean of.
pub(crate) const PREDICTION_NEIGHBOURS: usize = 3;

/// Items with an id that is a multiple of this have no neighbours and are nobody's.
const LONELY: i64 = 11;

/// The similarity of two items, if they are neighbours; ties are frequent.
fn similarity(item: &TrueRow, other: &TrueRow) -> Option<f32> {
    let (low, high) = (item.id.min(other.id) as u64, item.id.max(other.id) as u64);
    let draw = mix64(low << 32 | high) % 12;
    let lonely = item.id % LONELY == 0 || other.id % LONELY == 0;
    (item.id != other.id && draw < 4 && !lonely).then(|| (draw + 1) as f32 / 8.0)
}

/// The neighbours of an item, best first: global rows and similarities.
pub(crate) fn neighbours_of(items: &[TrueRow], item: &TrueRow) -> Vec<(f32, u32)> {
    let found = items.iter().filter_map(|other| Some((similarity(item, other)?, other.row)));
    let mut found: Vec<(f32, u32)> = found.collect();
    found.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
    found
}

pub(super) fn weight(rating: f32) -> f32 {
    if rating.is_nan() { 1.0 } else { (0.1 + 0.9 * (f64::from(rating) - 0.5) / 4.5) as f32 }
}

/// The rated items that add to an item's score, with what each adds, most first.
fn parts(world: &World, item: &TrueRow, rated: &[(u32, f32)]) -> Vec<(u32, f32)> {
    let rated: HashMap<u32, f32> = rated.iter().copied().collect();
    let neighbours = neighbours_of(&world.items, item);
    let part = |(similarity, row): (f32, u32)| Some((row, weight(*rated.get(&row)?) * similarity));
    let mut parts: Vec<(u32, f32)> = neighbours.into_iter().filter_map(part).collect();
    parts.sort_by(|a, b| better_first((a.1, &a.0), (b.1, &b.0)));
    parts
}

pub(super) fn predicted(world: &World, item: &TrueRow, user: &TrueRow) -> Option<f64> {
    let parts = prediction_parts(world, item, user);
    let sum: f64 = parts.iter().map(|part| part.1).sum();
    (!parts.is_empty()).then(|| expected(user, item) + sum)
}

/// What is expected of user and item.
fn expected(user: &TrueRow, item: &TrueRow) -> f64 {
    RATING_MEAN + f64::from(user.bias) + f64::from(item.bias)
}

/// What each of the rated neighbours adds to that, best neighbour first. One without a rating says nothing.
fn prediction_parts(world: &World, item: &TrueRow, user: &TrueRow) -> Vec<(u32, f64)> {
    let rated = user.rated.iter().copied().filter(|(_, rating)| !rating.is_nan());
    let ratings: HashMap<u32, f32> = rated.collect();
    let known = neighbours_of(&world.items, item);
    let known = known.into_iter().filter(|(_, row)| ratings.contains_key(row)).take(PREDICTION_NEIGHBOURS);
    let weights: f64 = known.clone().map(|(similarity, _)| f64::from(similarity)).sum();
    let part = |(similarity, row): (f32, u32)| {
        let other = world.items.iter().find(|item| item.row == row).unwrap();
        let exceeding = f64::from(ratings[&row]) - expected(user, other);
        (row, f64::from(similarity) * exceeding / weights)
    };
    known.map(part).collect()
}

#[track_caller]
fn assert_close(found: Option<f32>, expected: Option<f64>) {
    match (found, expected) {
        (Some(found), Some(expected)) => {
            assert!((f64::from(found) - expected).abs() < 1e-5, "{found} is not {expected}");
        }
        (found, expected) => assert_eq!((found, expected), (None, None)),
    }
}

pub(super) fn request(version: &ModelVersion, user: &TrueRow, n: u32) -> TopItemsRequest {
    let (rows, ratings): (Vec<u32>, Vec<f32>) = user.rated.iter().copied().unzip();
    TopItemsRequest {
        version: version.name.clone(),
        shards: (0..SHARDS).collect(),
        score: ScoreKind::Neighbours.into(),
        n,
        rated_rows: bytes_of(&rows),
        ratings: bytes_of(&ratings),
        rating_bias: user.bias,
        exclude_rows: bytes_of(&rows),
        with_predicted_rating: true,
        with_parts: true,
        ..Default::default()
    }
}

pub(super) async fn served(
    versions: &[&ModelVersion],
    world: &World,
) -> (TestCoordinator, TestWorker, WorkerServingClient<tonic::transport::Channel>) {
    served_with(versions, &[], world).await
}

/// With what the versions are blended from.
pub(super) async fn served_with(
    versions: &[&ModelVersion],
    components: &[&ModelVersion],
    world: &World,
) -> (TestCoordinator, TestWorker, WorkerServingClient<tonic::transport::Channel>) {
    let metadata = Metadata {
        components: components.iter().map(|version| (*version).clone()).collect(),
        ..world.metadata(1, versions.iter().map(|version| (*version).clone()).collect())
    };
    let coordinator = TestCoordinator::start(metadata).await;
    let worker = TestWorker::start(world, &coordinator.address).await;
    let mut names: Vec<&str> = versions.iter().map(|version| version.name.as_str()).collect();
    names.sort_unstable();
    coordinator.all_loaded(&names).await;
    let client = WorkerServingClient::new(worker.channel.clone());
    (coordinator, worker, client)
}

#[tokio::test]
async fn lists_ratings_and_reasons_are_what_their_definitions_say() {
    let world = World::new().await;
    let item_cf = world.version_of_neighbours("item_cf").await;
    let content = world.version_of_neighbours("content_based").await;
    let (_coordinator, worker, mut client) = served(&[&item_cf, &content], &world).await;
    let mut unlisted = 0;
    for user in [world.user(11), world.user(23), world.user(32)] {
        for version in [&item_cf, &content] {
            let reply = client.top_items(request(version, user, 200)).await.unwrap().into_inner();
            let hits: Vec<_> = reply.shards.into_iter().flat_map(|shard| shard.hits).collect();
            let seen = |item: &TrueRow| user.rated.iter().any(|(row, _)| *row == item.row);
            let expected = world.items.iter().filter(|item| !seen(item));
            let expected = expected.filter(|item| !parts(&world, item, &user.rated).is_empty()).count();
            assert_eq!(hits.len(), expected, "every item with a rated neighbour, and no other");
            unlisted += ITEMS as usize - user.rated.len() - expected;
            for hit in hits {
                let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
                let parts = parts(&world, item, &user.rated);
                let score: f32 = parts.iter().map(|part| part.1).sum();
                assert!((hit.score - score).abs() < 1e-5, "{} is not {score}", hit.score);
                let best = parts.len().min(5);
                let (rows, values): (Vec<u32>, Vec<f32>) = parts[..best].iter().copied().unzip();
                assert_eq!((vector_of::<u32>(&hit.part_rows), vector_of::<f32>(&hit.parts)), (rows, values));
                assert_eq!((hit.title, hit.genres), (title(item.id), genres(item.id)));
                let rating = predicted(&world, item, user).filter(|_| version == &item_cf);
                assert_close(hit.predicted_rating, rating);
            }
        }
    }
    assert!(unlisted > 0, "some items have no rated neighbour");

    // The best of them, of one genre, from ratings that are partly missing.
    let mut user = world.user(11).clone();
    user.rated[0].1 = f32::NAN;
    let (user, rated) = (&user, &user.rated);
    let (rows, _): (Vec<u32>, Vec<f32>) = rated.iter().copied().unzip();
    let filter = ItemFilter { genres: genres(44), ..Default::default() };
    let asked = TopItemsRequest { filter: Some(filter), with_parts: false, ..request(&item_cf, user, 4) };
    let reply = client.top_items(asked).await.unwrap().into_inner();
    let mut found: Vec<(f32, u32)> = Vec::new();
    for hit in reply.shards.into_iter().flat_map(|shard| shard.hits) {
        let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
        assert_close(hit.predicted_rating, predicted(&world, item, user));
        assert!(hit.parts.is_empty());
        found.push((hit.score, hit.row));
    }
    let of_genre = |item: &&TrueRow| genres(item.id).iter().any(|genre| genres(44).contains(genre));
    let listed = world.items.iter().filter(|item| !rows.contains(&item.row)).filter(of_genre);
    let score = |item: &TrueRow| parts(&world, item, rated).iter().map(|part| part.1).sum::<f32>();
    let best = listed.map(score).fold(0.0_f32, f32::max);
    let first = found.iter().map(|hit| hit.0).fold(0.0_f32, f32::max);
    assert!(best > 0.0 && (first - best).abs() < 1e-5, "{first} is not {best}");
    worker.stop().await;
}

#[tokio::test]
async fn lists_by_rating_have_every_item_with_a_rated_neighbour() {
    let world = World::new().await;
    let version = world.version_of_neighbours("item_cf").await;
    let (_coordinator, worker, mut client) = served(&[&version], &world).await;
    let mut unrated = world.user(23).clone();
    unrated.rated.iter_mut().step_by(2).for_each(|entry| entry.1 = f32::NAN);
    let mut nothing = unrated.clone();
    nothing.rated.iter_mut().for_each(|entry| entry.1 = f32::NAN);
    let mut unlisted = 0;
    for user in [world.user(11), world.user(23), world.user(32), &unrated, &nothing] {
        let asked = TopItemsRequest { score: ScoreKind::Rating.into(), ..request(&version, user, 200) };
        let reply = client.top_items(asked.clone()).await.unwrap().into_inner();
        let unseen = world.items.iter().filter(|item| user.rated.iter().all(|of| of.0 != item.row));
        let predictable: Vec<u32> = unseen
            .clone()
            .filter(|item| predicted(&world, item, user).is_some())
            .map(|item| item.row)
            .collect();
        unlisted += unseen.count() - predictable.len();
        let mut all: Vec<(f32, u32)> = Vec::new();
        for shard in reply.shards {
            assert!(
                shard.hits.is_sorted_by(|a, b| better_first((a.score, &a.row), (b.score, &b.row)).is_lt())
            );
            for hit in shard.hits {
                let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
                assert_close(Some(hit.score), predicted(&world, item, user));
                assert_eq!(hit.predicted_rating, Some(hit.score));
                let rows = vector_of::<u32>(&hit.part_rows);
                let parts: Vec<(u32, f32)> = rows.into_iter().zip(vector_of(&hit.parts)).collect();
                assert!(
                    parts.is_sorted_by(|a, b| better_first((a.1, &a.0), (b.1, &b.0)).is_lt()),
                    "{parts:?}"
                );
                let expected: HashMap<u32, f64> = prediction_parts(&world, item, user).into_iter().collect();
                assert_eq!(parts.len(), expected.len());
                parts.iter().for_each(|part| assert_close(Some(part.1), expected.get(&part.0).copied()));
                all.push((hit.score, hit.row));
            }
        }
        all.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        let mut listed: Vec<u32> = all.iter().map(|hit| hit.1).collect();
        listed.sort_unstable();
        assert_eq!(listed, predictable, "whatever is predicted, and nothing else");

        // The best of one genre.
        let filter = Some(ItemFilter { genres: genres(44), ..Default::default() });
        let reply = client.top_items(TopItemsRequest { n: 4, filter, ..asked }).await.unwrap().into_inner();
        let hits = reply.shards.into_iter().flat_map(|shard| shard.hits);
        let mut found: Vec<(f32, u32)> = hits.map(|hit| (hit.score, hit.row)).collect();
        found.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        found.truncate(4);
        all.retain(|(_, row)| {
            let item = world.items.iter().find(|item| item.row == *row).unwrap();
            genres(item.id).iter().any(|genre| genres(44).contains(genre))
        });
        all.truncate(4);
        assert_eq!(found, all);
    }
    assert!(unlisted > 0, "some items have no rated neighbour");
    worker.stop().await;
}

#[tokio::test]
async fn hits_carry_what_their_items_are_compared_by() {
    let world = World::new().await;
    let item_cf = world.version_of_neighbours("item_cf").await;
    let content = world.version_of_neighbours("content_based").await;
    let (_coordinator, worker, mut client) = served(&[&world.version, &item_cf, &content], &world).await;
    let user = world.user(11);
    for version in [&item_cf, &content, &world.version] {
        // Lists of what is popular are made diverse too.
        for score in [ScoreKind::Neighbours, ScoreKind::Popularity] {
            let score = if version == &world.version { ScoreKind::Popularity } else { score };
            let asked = TopItemsRequest { score: score.into(), ..request(version, user, 200) };
            for with_factors in [true, false] {
                let asked = TopItemsRequest { with_factors, ..asked.clone() };
                let reply = client.top_items(asked).await.unwrap().into_inner();
                let hits: Vec<_> = reply.shards.into_iter().flat_map(|shard| shard.hits).collect();
                assert!(!hits.is_empty());
                for hit in hits {
                    let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
                    let (mut factors, mut features, mut values) = (Vec::new(), Vec::new(), Vec::new());
                    let (mut rows, mut similarities) = (Vec::new(), Vec::new());
                    match version.model.as_str() {
                        _ if !with_factors => {}
                        "item_cf" => {
                            (similarities, rows) = neighbours_of(&world.items, item).into_iter().unzip();
                        }
                        "content_based" => {
                            let vector = vector_of_features(item.id);
                            (features, values) = vector.features.into_iter().unzip();
                            values.extend(vector.genome);
                        }
                        _ => factors.clone_from(&item.ranking),
                    }
                    assert_eq!(vector_of::<f32>(&hit.factors), factors);
                    assert_eq!(vector_of::<u32>(&hit.features), features);
                    assert_eq!(vector_of::<f32>(&hit.feature_values), values);
                    assert_eq!(vector_of::<u32>(&hit.neighbour_rows), rows);
                    assert_eq!(vector_of::<f32>(&hit.similarities), similarities);
                }
            }
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn neighbours_are_looked_up_and_listed_as_they_are_stored() {
    let world = World::new().await;
    let version = world.version_of_neighbours("content_based").await;
    let (_coordinator, worker, mut client) = served(&[&version], &world).await;
    let item = world.item(23);
    let lookup = LookupItemRequest { version: version.name.clone(), item: integer(23) };
    let found = client.lookup_item(lookup).await.unwrap().into_inner();
    let (similarities, rows): (Vec<f32>, Vec<u32>) = neighbours_of(&world.items, item).into_iter().unzip();
    assert_eq!(vector_of::<u32>(&found.neighbour_rows), rows);
    assert_eq!(vector_of::<f32>(&found.similarities), similarities);
    assert_eq!((found.rating_bias, found.train_count), (item.bias, item.train_count));
    assert!(found.ranking_factors.is_empty() && found.rating_factors.is_empty());

    let listed = TopItemsRequest {
        version: version.name.clone(),
        shards: (0..SHARDS).collect(),
        score: ScoreKind::Listed.into(),
        n: 100,
        listed_rows: found.neighbour_rows,
        listed_scores: found.similarities,
        ..Default::default()
    };
    let reply = client.top_items(listed).await.unwrap().into_inner();
    let mut hits: Vec<(f32, u32)> =
        reply.shards.into_iter().flat_map(|shard| shard.hits).map(|hit| (hit.score, hit.row)).collect();
    hits.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
    assert_eq!(hits, neighbours_of(&world.items, item));

    // A user of whom only held-out ratings are known is unknown; another has a bias and no factors.
    let lookup = |user: i64| LookupUserRequest { version: version.name.clone(), user: integer(user) };
    assert!(!client.lookup_user(lookup(14)).await.unwrap().into_inner().known);
    let user = client.lookup_user(lookup(11)).await.unwrap().into_inner();
    assert_eq!((user.known, user.rating_bias), (true, world.user(11).bias));
    assert!(user.ranking_factors.is_empty() && user.rating_factors.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_version_is_asked_only_for_what_it_has() {
    let world = World::new().await;
    let version = world.version_of_neighbours("item_cf").await;
    let (coordinator, worker, mut client) = served(&[&world.version, &version], &world).await;
    let good = request(&version, world.user(11), 5);
    let strange = bytes_of(&[ITEMS as u32]);
    for (request, says) in [
        (TopItemsRequest { version: world.version.name.clone(), ..good.clone() }, "no neighbours"),
        (TopItemsRequest { score: ScoreKind::Ranking.into(), ..good.clone() }, "no ranking factors"),
        (
            TopItemsRequest { rated_rows: strange.clone(), ratings: bytes_of(&[3.0_f32]), ..good.clone() },
            "row 90",
        ),
        (
            TopItemsRequest {
                score: ScoreKind::Rating.into(),
                rated_rows: strange,
                ratings: bytes_of(&[3.0_f32]),
                ..good.clone()
            },
            "row 90",
        ),
    ] {
        let refused = client.top_items(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(says), "'{says}' is missing: {refused}");
    }

    let strange = ModelVersion { name: "x_model_v1".into(), model: "x".into(), ..version.clone() };
    coordinator.metadata.send_replace(world.metadata(2, vec![world.version.clone(), version, strange]));
    let beat = coordinator.beat_with("an error", |beat| !beat.load_errors.is_empty()).await;
    let reason = &beat.load_errors["x_model_v1"];
    assert!(reason.contains("does not know the model 'x'"), "{reason}");
    worker.stop().await;
}
