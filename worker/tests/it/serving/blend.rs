//! Versions that blend others, and ratings from profiles, against the definition of every score.

use std::collections::BTreeMap;

use shoal_core::topk::better_first;
use shoal_engine::hybrid::Calibration;
use shoal_proto::v1::{
    FoldInRequest, ItemFactsRequest, LookupItemRequest, LookupUserRequest, ModelVersion, Objective,
    ObjectiveChoice, ProfileRequest, ScoreKind, TopItemsRequest,
};

use super::{
    bytes_of,
    fixture::{
        FEATURES, GENOME_WIDTH, KNOTS, RATING_MEAN, RATING_SLOPE, SHARDS, TrueRow, World, als_mut,
        vector_of_features,
    },
    integer,
    neighbours::{self, neighbours_of, served_with, weight},
    norm, predicted, vector_of,
};

const WEIGHTS: [f64; 4] = [0.5, 0.25, 0.125, 0.125];

/// The versions that are blended, and their blend.
struct Versions {
    als: ModelVersion,
    item_cf: ModelVersion,
    content: ModelVersion,
    blend: ModelVersion,
}

impl Versions {
    async fn new(world: &World, als: ModelVersion, weights: [f64; 4]) -> Self {
        let item_cf = world.version_of_neighbours("item_cf").await;
        let content = world.version_of_neighbours("content_based").await;
        let blend = world.blend([&als, &item_cf, &content], weights).await;
        Self { als, item_cf, content, blend }
    }

    fn components(&self) -> [&ModelVersion; 3] {
        [&self.als, &self.item_cf, &self.content]
    }
}

fn request(version: &ModelVersion, user: &TrueRow, n: u32) -> TopItemsRequest {
    TopItemsRequest {
        score: ScoreKind::Blend.into(),
        query: bytes_of(&user.ranking),
        query_objective: Objective::Ranking.into(),
        rating_query: bytes_of(&user.rating),
        ..neighbours::request(version, user, n)
    }
}

/// What a source says of an item, if anything: ALS, neighbours, popularity.
fn scores(world: &World, user: &TrueRow, item: &TrueRow) -> [Option<f32>; 4] {
    let trained = item.train_count > 0;
    let alike = neighbours_of(&world.items, item);
    let of_rated = user.rated.iter().filter_map(|(row, rating)| {
        let similarity = alike.iter().find(|neighbour| neighbour.1 == *row)?.0;
        Some(weight(*rating) * similarity)
    });
    let listed = Some(of_rated.sum::<f32>()).filter(|sum| *sum > 0.0);
    let by_factors = super::dot(&item.ranking, &user.ranking);
    [trained.then_some(by_factors), listed, listed, trained.then_some(item.train_count as f32)]
}

fn levels(scores: [Option<f32>; 4]) -> [Option<f32>; 4] {
    let mut levels = [None; 4];
    for ((level, score), knots) in levels.iter_mut().zip(scores).zip(KNOTS) {
        let calibration = Calibration::from_knots(knots.to_vec()).unwrap();
        *level = score.map(|score| calibration.level(score));
    }
    levels
}

/// By the sources with a weight; behind those that they know by popularity; `None` for what is not listed.
fn blended(levels: [Option<f32>; 4], weights: [f64; 4]) -> Option<f32> {
    let weighted = levels.iter().zip(weights).filter(|(_, weight)| *weight > 0.0);
    let known: Vec<f64> =
        weighted.filter_map(|(level, weight)| level.map(|level| f64::from(level) * weight)).collect();
    if known.is_empty() { levels[3].map(|level| level - 1.0) } else { Some(known.iter().sum::<f64>() as f32) }
}

#[tokio::test]
async fn a_blend_adds_the_weighted_levels_of_its_sources() {
    let world = World::new().await;
    for weights in [WEIGHTS, [0.0, 0.5, 0.5, 0.0]] {
        let versions = Versions::new(&world, world.version.clone(), weights).await;
        // None of the blended versions is served itself.
        let (_coordinator, worker, mut client) =
            served_with(&[&versions.blend], &versions.components(), &world).await;
        let mut unlisted = 0;
        for user in [world.user(11), world.user(23)] {
            let reply = client.top_items(request(&versions.blend, user, 200)).await.unwrap().into_inner();
            let hits: Vec<_> = reply.shards.into_iter().flat_map(|shard| shard.hits).collect();
            let unseen = world.items.iter().filter(|item| user.rated.iter().all(|of| of.0 != item.row));
            let expected: BTreeMap<u32, [Option<f32>; 4]> =
                unseen.map(|item| (item.row, levels(scores(&world, user, item)))).collect();
            let listed = expected.values().filter(|levels| blended(**levels, weights).is_some()).count();
            assert_eq!(hits.len(), listed, "whatever some source with a weight or popularity knows");
            unlisted += expected.len() - listed;
            for hit in hits {
                let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
                let found = vector_of::<f32>(&hit.levels);
                let close = |(a, b): (&f32, &Option<f32>)| (a - b.unwrap_or(0.0)).abs() < 1e-6;
                assert!(found.iter().zip(&expected[&hit.row]).all(close), "{found:?} for {expected:?}");
                assert!((hit.score - blended(expected[&hit.row], weights).unwrap()).abs() < 1e-6);
                assert_eq!(hit.predicted_rating, Some(predicted(user, item)), "by the ALS version");
                assert!(hit.parts.is_empty());
            }
        }
        assert!(unlisted > 0, "some items are nobody's");
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_blend_solves_rows_and_knows_users_as_its_als_version_does() {
    let world = World::new().await;
    let versions = Versions::new(&world, world.version.clone(), WEIGHTS).await;
    let Versions { als, blend, .. } = &versions;
    // The version itself is served too.
    let (coordinator, worker, mut client) = served_with(&[als, blend], &versions.components(), &world).await;
    let shards: Vec<u32> = (0..SHARDS).collect();
    let mut replies = Vec::new();
    for version in [als, blend] {
        let lookup = LookupUserRequest { version: version.name.clone(), user: integer(11) };
        let user = client.lookup_user(lookup).await.unwrap().into_inner();
        let facts = ItemFactsRequest { version: version.name.clone(), shards: shards.clone() };
        let facts = client.item_facts(facts).await.unwrap().into_inner().shards;
        let mut gramian = vec![0.0_f64; facts[0].gramian.len() / 8];
        for facts in &facts {
            let part = vector_of::<f64>(&facts.gramian);
            gramian.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        let item = world.item(23);
        let fold_in = FoldInRequest {
            version: version.name.clone(),
            ranking_factors: bytes_of(&item.ranking),
            rating_factors: bytes_of(&item.rating),
            rating_biases: bytes_of(&[item.bias]),
            ratings: bytes_of(&[4.5_f32]),
            gramian: bytes_of(&gramian),
            ..FoldInRequest::default()
        };
        let folded = client.fold_in(fold_in).await.unwrap().into_inner();
        assert_eq!((user.known, user.rating_bias), (true, world.user(11).bias));
        assert!(!folded.ranking_factors.is_empty() && folded.rating_bias != 0.0);
        replies.push((user, facts, folded));
    }
    assert_eq!(replies[0], replies[1]);

    // What one lets go the other keeps.
    coordinator.metadata.send_replace(world.metadata(2, vec![als.clone()]));
    coordinator.all_loaded(&[&als.name]).await;
    super::check_answers(&world, &mut client).await;
    worker.stop().await;
}

#[tokio::test]
async fn items_are_alike_by_all_versions_of_a_blend() {
    let world = World::new().await;
    let versions = Versions::new(&world, world.version.clone(), WEIGHTS).await;
    let (_coordinator, worker, mut client) =
        served_with(&[&versions.blend], &versions.components(), &world).await;
    let sum = WEIGHTS[..3].iter().sum::<f64>();
    let [als, item_cf, content] = [0, 1, 2].map(|source| WEIGHTS[source] / sum);
    let item = world.item(23);
    let lookup = LookupItemRequest { version: versions.blend.name.clone(), item: integer(23) };
    let found = client.lookup_item(lookup).await.unwrap().into_inner();
    // Both versions have the same neighbours in this world.
    let alike: BTreeMap<u32, f32> = neighbours_of(&world.items, item)
        .into_iter()
        .map(|(similarity, row)| (row, ((item_cf + content) * f64::from(similarity)) as f32))
        .collect();
    let rows = vector_of::<u32>(&found.neighbour_rows);
    let listed: BTreeMap<u32, f32> = rows.into_iter().zip(vector_of::<f32>(&found.similarities)).collect();
    assert_eq!(listed, alike);

    let asked = TopItemsRequest {
        version: versions.blend.name.clone(),
        shards: (0..SHARDS).collect(),
        score: ScoreKind::BlendLikeness.into(),
        n: 100,
        query: found.ranking_factors,
        query_objective: Objective::Ranking.into(),
        listed_rows: found.neighbour_rows,
        listed_scores: found.similarities,
        exclude_rows: bytes_of(&[item.row]),
        ..Default::default()
    };
    let likeness = |other: &TrueRow, with_factors: bool| {
        let norms = norm(&item.ranking) * norm(&other.ranking);
        let cosine = f64::from(super::dot(&item.ranking, &other.ranking)) / norms;
        let trained = with_factors && other.train_count > 0;
        let by_factors = if trained { als * cosine.max(0.0) } else { 0.0 };
        by_factors as f32 + alike.get(&other.row).copied().unwrap_or_default()
    };
    // Of an item without training ratings ALS knows nothing.
    for with_factors in [true, false] {
        let query = if with_factors { asked.query.clone() } else { bytes::Bytes::new() };
        let reply = client.top_items(TopItemsRequest { query, ..asked.clone() }).await.unwrap().into_inner();
        let mut hits: Vec<(f32, u32)> =
            reply.shards.into_iter().flat_map(|shard| shard.hits).map(|hit| (hit.score, hit.row)).collect();
        hits.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        let others = world.items.iter().filter(|other| other.id != 23);
        let listed: Vec<&TrueRow> = others.filter(|other| likeness(other, with_factors) > 0.0).collect();
        assert_eq!(hits.len(), listed.len());
        for (score, row) in hits {
            let other = listed.iter().find(|other| other.row == row).unwrap();
            assert!((score - likeness(other, with_factors)).abs() < 1e-6);
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_blend_of_factors_that_only_rank_predicts_by_neighbours() {
    let world = World::new().await;
    let mut als = ModelVersion { name: "als_model_v3".into(), rating_mean: 0.0, ..world.version.clone() };
    als_mut(&mut als).set_objective(ObjectiveChoice::Implicit);
    let versions = Versions::new(&world, als, WEIGHTS).await;
    let (_coordinator, worker, mut client) =
        served_with(&[&versions.blend], &versions.components(), &world).await;
    let user = world.user(23);
    let lookup = LookupUserRequest { version: versions.blend.name.clone(), user: integer(23) };
    let found = client.lookup_user(lookup).await.unwrap().into_inner();
    assert_eq!((found.rating_factors.len(), found.rating_bias), (0, user.bias));
    let asked = TopItemsRequest { rating_query: bytes::Bytes::new(), ..request(&versions.blend, user, 200) };
    let reply = client.top_items(asked).await.unwrap().into_inner();
    let mut rated = 0;
    for hit in reply.shards.into_iter().flat_map(|shard| shard.hits) {
        let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
        match (hit.predicted_rating, neighbours::predicted(&world, item, user)) {
            (Some(found), Some(expected)) => assert!((f64::from(found) - expected).abs() < 1e-5),
            (found, expected) => assert_eq!((found, expected), (None, None)),
        }
        rated += usize::from(hit.predicted_rating.is_some());
    }
    assert!(rated > 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_blend_is_loaded_with_all_of_its_versions_or_not_at_all() {
    let world = World::new().await;
    let versions = Versions::new(&world, world.version.clone(), WEIGHTS).await;
    let Versions { als, item_cf, content, blend } = &versions;
    let elsewhere = ModelVersion { dataset_version: "v2".into(), ..content.clone() };
    let (coordinator, worker, _) = served_with(&[als], &[], &world).await;
    for (revision, components) in [(2, vec![als, item_cf]), (3, vec![als, item_cf, &elsewhere])] {
        let mut metadata = world.metadata(revision, vec![als.clone(), blend.clone()]);
        metadata.components = components.into_iter().cloned().collect();
        coordinator.metadata.send_replace(metadata);
        let beat = coordinator.beat_with("an error", |beat| !beat.load_errors.is_empty()).await;
        let reason = &beat.load_errors[&blend.name];
        assert!(reason.contains(&format!("'{}' that it blends is not to be had", content.name)), "{reason}");
    }
    let mut metadata = world.metadata(4, vec![als.clone(), blend.clone()]);
    metadata.components = versions.components().into_iter().cloned().collect();
    coordinator.metadata.send_replace(metadata);
    coordinator.all_loaded(&[&als.name, &blend.name]).await;
    worker.stop().await;
}

/// The features of an item as one vector.
fn dense(id: i64) -> Vec<f64> {
    let vector = vector_of_features(id);
    let mut dense = vec![0.0; FEATURES + GENOME_WIDTH];
    vector.features.iter().for_each(|(at, value)| dense[*at as usize] = f64::from(*value));
    vector.genome.iter().enumerate().for_each(|(at, value)| dense[FEATURES + at] = f64::from(*value));
    dense
}

#[tokio::test]
async fn ratings_are_predicted_from_what_items_are() {
    let world = World::new().await;
    let content = world.version_of_neighbours("content_based").await;
    let (_coordinator, worker, mut client) = served_with(&[&content, &world.version], &[], &world).await;
    let shards: Vec<u32> = (0..SHARDS).collect();
    for user in [world.user(11), world.user(23)] {
        let (rows, ratings): (Vec<u32>, Vec<f32>) = user.rated.iter().copied().unzip();
        let asked = ProfileRequest {
            version: content.name.clone(),
            shards: shards.clone(),
            rated_rows: bytes_of(&rows),
            ratings: bytes_of(&ratings),
        };
        let parts = client.profile(asked.clone()).await.unwrap().into_inner().shards;
        let mut profile = vec![0.0_f32; FEATURES + GENOME_WIDTH];
        for part in &parts {
            let part = vector_of::<f32>(&part.part);
            profile.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        let mean = ratings.iter().map(|rating| f64::from(*rating)).sum::<f64>() / ratings.len() as f64;
        let mut exact = vec![0.0; FEATURES + GENOME_WIDTH];
        for (row, rating) in &user.rated {
            let item = world.items.iter().find(|item| item.row == *row).unwrap();
            let vector = dense(item.id);
            exact.iter_mut().zip(vector).for_each(|(sum, value)| *sum += (f64::from(*rating) - mean) * value);
        }
        assert!(profile.iter().zip(&exact).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{profile:?}");

        let length = exact.iter().map(|value| value * value).sum::<f64>().sqrt();
        let all: Vec<u32> = world.items.iter().map(|item| item.row).collect();
        let listed = TopItemsRequest {
            version: content.name.clone(),
            shards: shards.clone(),
            score: ScoreKind::Listed.into(),
            n: 100,
            listed_rows: bytes_of(&all),
            listed_scores: bytes_of(&vec![1.0_f32; all.len()]),
            rating_bias: user.bias,
            with_predicted_rating: true,
            profile: bytes_of(&profile),
            ..Default::default()
        };
        let reply = client.top_items(listed.clone()).await.unwrap().into_inner();
        let mut predicted_ratings: Vec<(f32, u32)> = Vec::new();
        for hit in reply.shards.into_iter().flat_map(|shard| shard.hits) {
            let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
            let product: f64 = dense(item.id).iter().zip(&exact).map(|(a, b)| a * b).sum();
            let expected =
                RATING_MEAN + f64::from(user.bias) + f64::from(item.bias) + RATING_SLOPE * product / length;
            match hit.predicted_rating {
                Some(found) => assert!((f64::from(found) - expected).abs() < 1e-5, "{found} for {expected}"),
                None => assert!(dense(item.id).iter().all(|value| *value == 0.0), "it has features"),
            }
            predicted_ratings.extend(hit.predicted_rating.map(|rating| (rating, hit.row)));
        }

        // The best by that, of what has features.
        let ranked = TopItemsRequest {
            score: ScoreKind::Rating.into(),
            n: 7,
            exclude_rows: bytes_of(&rows),
            listed_rows: bytes::Bytes::new(),
            listed_scores: bytes::Bytes::new(),
            ..listed.clone()
        };
        let reply = client.top_items(ranked.clone()).await.unwrap().into_inner();
        let hits = reply.shards.into_iter().flat_map(|shard| shard.hits);
        let mut found: Vec<(f32, u32)> = hits
            .map(|hit| {
                assert_eq!((hit.predicted_rating, hit.part_rows.len()), (Some(hit.score), 0));
                (hit.score, hit.row)
            })
            .collect();
        found.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        found.truncate(7);
        predicted_ratings.retain(|(_, row)| rows.binary_search(row).is_err());
        predicted_ratings.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        predicted_ratings.truncate(7);
        assert_eq!(found, predicted_ratings);

        let short = TopItemsRequest { profile: bytes_of(&profile[1..]), ..listed };
        let without = TopItemsRequest { profile: bytes::Bytes::new(), ..ranked };
        for (asked, says) in [(short, "'profile' has 8 elements"), (without, "'profile' has 0 elements")] {
            let refused = client.top_items(asked).await.unwrap_err();
            assert!(refused.message().contains(says), "{refused}");
        }
        let other = ProfileRequest { version: world.version.name.clone(), ..asked };
        let refused = client.profile(other).await.unwrap_err();
        assert!(refused.message().contains("no vectors"), "{refused}");
    }
    worker.stop().await;
}
