//! A version of EASE, whose weights speak for items and against them, against the definition of every score.

use std::collections::HashMap;

use shoal_core::{hash::mix64, topk::better_first};
use shoal_engine::hybrid::Calibration;
use shoal_proto::v1::{LookupItemRequest, ScoreKind, TopItemsRequest};

use super::{
    fixture::{EASE_SCALE, ITEMS, KNOTS, RATING_MEAN, TrueRow, World},
    integer,
    neighbours::{PREDICTION_NEIGHBOURS, neighbours_of, request, served, served_with},
    vector_of,
};

/// The weight of `other` in the score of an item: below 0 as often as above. It differs with the direction.
fn weight(item: &TrueRow, other: &TrueRow) -> Option<f32> {
    let draw = mix64((item.id as u64) << 32 | other.id as u64) % 16;
    (item.id != other.id && draw < 6).then(|| [-0.75, -0.5, -0.25, 0.25, 0.5, 0.75][draw as usize])
}

/// The list of an item: weights and global rows, the largest size first.
fn list_of(items: &[TrueRow], item: &TrueRow) -> Vec<(f32, u32)> {
    let found = items.iter().filter_map(|other| Some((weight(item, other)?, other.row)));
    let mut found: Vec<(f32, u32)> = found.collect();
    found.sort_by(|a, b| better_first((a.0.abs(), &a.1), (b.0.abs(), &b.1)));
    found
}

/// What a rating counts for on the version's own scale, which is not the data set's.
fn liking(rating: f32) -> f64 {
    let [least, greatest] = EASE_SCALE;
    if rating.is_nan() { 1.0 } else { 0.1 + 0.9 * (f64::from(rating) - least) / (greatest - least) }
}

/// What each rated item adds to an item's score; empty where none of them is in the item's list.
fn parts(world: &World, item: &TrueRow, rated: &[(u32, f32)]) -> Vec<(u32, f64)> {
    let rated: HashMap<u32, f32> = rated.iter().copied().collect();
    let part = |(weight, row): (f32, u32)| Some((row, liking(*rated.get(&row)?) * f64::from(weight)));
    list_of(&world.items, item).into_iter().filter_map(part).collect()
}

/// The mean of what the user's ratings of the best items that speak for this one exceed, weighted; above what is expected.
fn predicted(world: &World, item: &TrueRow, user: &TrueRow) -> Option<f64> {
    let ratings: HashMap<u32, f32> = user.rated.iter().copied().filter(|entry| !entry.1.is_nan()).collect();
    let expected = |item: &TrueRow| RATING_MEAN + f64::from(user.bias) + f64::from(item.bias);
    let (mut sum, mut weights) = (0.0, 0.0);
    let speaking = list_of(&world.items, item).into_iter().filter(|(weight, _)| *weight > 0.0);
    let known = speaking.filter(|(_, row)| ratings.contains_key(row)).take(PREDICTION_NEIGHBOURS);
    for (weight, row) in known {
        let other = world.items.iter().find(|other| other.row == row).unwrap();
        sum += f64::from(weight) * (f64::from(ratings[&row]) - expected(other));
        weights += f64::from(weight);
    }
    (weights > 0.0).then(|| expected(item) + sum / weights)
}

#[track_caller]
fn assert_close(found: f32, expected: f64) {
    assert!((f64::from(found) - expected).abs() < 1e-5, "{found} is not {expected}");
}

#[tokio::test]
async fn weights_below_0_lower_scores_and_keep_items_in_lists() {
    let world = World::new().await;
    let version = world.version_with("ease", |item| list_of(&world.items, item)).await;
    let (_coordinator, worker, mut client) = served(&[&version], &world).await;
    let mut looked_at = world.user(32).clone();
    looked_at.rated.iter_mut().step_by(3).for_each(|entry| entry.1 = f32::NAN);
    let (mut below, mut unlisted, mut unpredicted) = (0, 0, 0);
    for user in [world.user(11), world.user(23), &looked_at] {
        let reply = client.top_items(request(&version, user, 200)).await.unwrap().into_inner();
        let mut listed = Vec::new();
        for shard in reply.shards {
            assert!(
                shard.hits.is_sorted_by(|a, b| better_first((a.score, &a.row), (b.score, &b.row)).is_lt())
            );
            for hit in shard.hits {
                let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
                let mut parts = parts(&world, item, &user.rated);
                assert_close(hit.score, parts.iter().map(|part| part.1).sum());
                below += usize::from(hit.score < 0.0);
                // Reasons are what raised the score most, and then what lowered it least.
                parts.sort_by(|a, b| better_first((a.1 as f32, &a.0), (b.1 as f32, &b.0)));
                parts.truncate(5);
                let (rows, values) = (vector_of::<u32>(&hit.part_rows), vector_of::<f32>(&hit.parts));
                assert_eq!(rows, parts.iter().map(|part| part.0).collect::<Vec<_>>());
                values.iter().zip(&parts).for_each(|(value, part)| assert_close(*value, part.1));
                match (hit.predicted_rating, predicted(&world, item, user)) {
                    (Some(found), Some(expected)) => assert_close(found, expected),
                    (found, expected) => {
                        assert_eq!((found, expected), (None, None));
                        unpredicted += 1;
                    }
                }
                listed.push(hit.row);
            }
        }
        listed.sort_unstable();
        let seen = |item: &TrueRow| user.rated.iter().any(|(row, _)| *row == item.row);
        let sum = |item: &TrueRow| parts(&world, item, &user.rated).iter().map(|part| part.1).sum::<f64>();
        let unseen: Vec<&TrueRow> = world.items.iter().filter(|item| !seen(item)).collect();
        // A sum over nothing is no score. One that cancels out may be one by its rounding.
        for item in &unseen {
            let is_listed = listed.binary_search(&item.row).is_ok();
            let is_sure = sum(item).abs() > 1e-6 || parts(&world, item, &user.rated).is_empty();
            assert!(!is_sure || is_listed == (sum(item) != 0.0), "item {} with {}", item.id, sum(item));
        }
        assert!(listed.iter().all(|row| unseen.iter().any(|item| item.row == *row)));
        unlisted += unseen.len() - listed.len();
    }
    assert!(below > 20 && unlisted > 0 && unpredicted > 0, "{below} {unlisted} {unpredicted}");
    worker.stop().await;
}

#[tokio::test]
async fn a_list_by_rating_has_what_something_rated_speaks_for() {
    let world = World::new().await;
    let version = world.version_with("ease", |item| list_of(&world.items, item)).await;
    let (_coordinator, worker, mut client) = served(&[&version], &world).await;
    let user = world.user(23);
    let asked = TopItemsRequest { score: ScoreKind::Rating.into(), ..request(&version, user, 200) };
    let reply = client.top_items(asked).await.unwrap().into_inner();
    let mut found: Vec<u32> = Vec::new();
    for hit in reply.shards.into_iter().flat_map(|shard| shard.hits) {
        let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
        assert_close(hit.score, predicted(&world, item, user).unwrap());
        found.push(hit.row);
    }
    found.sort_unstable();
    let seen = |item: &TrueRow| user.rated.iter().any(|(row, _)| *row == item.row);
    let predictable =
        world.items.iter().filter(|item| !seen(item) && predicted(&world, item, user).is_some());
    assert_eq!(found, predictable.map(|item| item.row).collect::<Vec<_>>());
    assert!(found.len() > 10 && found.len() < ITEMS as usize - user.rated.len(), "{}", found.len());
    worker.stop().await;
}

#[tokio::test]
async fn only_what_speaks_for_an_item_is_like_it() {
    let world = World::new().await;
    let version = world.version_with("ease", |item| list_of(&world.items, item)).await;
    let others =
        [world.version_of_neighbours("item_cf").await, world.version_of_neighbours("content_based").await];
    let components = [&version, &others[0], &others[1]];
    let blend = world.blend(components, [0.5, 0.5, 0.0, 0.0]).await;
    let (_coordinator, worker, mut client) = served_with(&[&version, &blend], &components, &world).await;
    let mut against = 0;
    for id in [3, 23, 44] {
        let item = world.item(id);
        let mut speaking = list_of(&world.items, item);
        against += speaking.iter().filter(|(weight, _)| *weight < 0.0).count();
        speaking.retain(|(weight, _)| *weight > 0.0);
        // What speaks against an item takes nothing from what another version knows to be like it.
        let mut alike: HashMap<u32, f64> = HashMap::new();
        for (likeness, row) in speaking.iter().copied().chain(neighbours_of(&world.items, item)) {
            *alike.entry(row).or_default() += 0.5 * f64::from(likeness);
        }
        let mut blended: Vec<(f32, u32)> = alike.into_iter().map(|(row, sum)| (sum as f32, row)).collect();
        blended.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        for (version, expected) in [(&version, speaking), (&blend, blended)] {
            let lookup = LookupItemRequest { version: version.name.clone(), item: integer(id) };
            let found = client.lookup_item(lookup).await.unwrap().into_inner();
            let (likeness, rows): (Vec<f32>, Vec<u32>) = expected.into_iter().unzip();
            assert_eq!(vector_of::<u32>(&found.neighbour_rows), rows, "{}", version.name);
            assert_eq!(vector_of::<f32>(&found.similarities), likeness, "{}", version.name);
        }
    }
    assert!(against > 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_blend_tells_what_speaks_against_an_item_from_what_is_not_known() {
    let world = World::new().await;
    let version = world.version_with("ease", |item| list_of(&world.items, item)).await;
    let others =
        [world.version_of_neighbours("item_cf").await, world.version_of_neighbours("content_based").await];
    let components = [&version, &others[0], &others[1]];
    let blend = world.blend(components, [1.0, 0.0, 0.0, 0.0]).await;
    let (_coordinator, worker, mut client) = served_with(&[&blend], &components, &world).await;
    // The first source's knots begin below 0.
    let calibration = Calibration::from_knots(KNOTS[0].to_vec()).unwrap();
    let user = world.user(23);
    let asked = TopItemsRequest { score: ScoreKind::Blend.into(), ..request(&blend, user, 200) };
    let reply = client.top_items(asked).await.unwrap().into_inner();
    let (mut below, mut unknown) = (0, 0);
    for hit in reply.shards.into_iter().flat_map(|shard| shard.hits) {
        let item = world.items.iter().find(|item| item.row == hit.row).unwrap();
        let parts = parts(&world, item, &user.rated);
        let sum = parts.iter().map(|part| part.1).sum::<f64>();
        let level = vector_of::<f32>(&hit.levels)[0];
        if parts.is_empty() {
            // Behind all that the source knows, by popularity, which has no weight.
            assert_eq!(level, 0.0);
            assert!(hit.score < 0.0, "{}", hit.score);
            unknown += 1;
        } else if sum.abs() > 1e-6 {
            assert!(
                (level - calibration.level(sum as f32)).abs() < 1e-6 && hit.score == level,
                "{level} for {sum}"
            );
            below += usize::from(sum < 0.0);
        }
    }
    assert!(below > 5 && unknown > 0, "{below} {unknown}");
    worker.stop().await;
}
