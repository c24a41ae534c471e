//! Users' and items' own sides, one or many at a time.

use shoal_common::ids::EntityId;
use shoal_proto::v1::{
    LookupItemReply, LookupItemsReply, LookupItemsRequest, LookupUserReply, LookupUsersReply,
    LookupUsersRequest, ShardItems, ShardUsers,
};
use tonic::Status;

use super::{copy, describe, entity_ids, invalid, not_loaded};
use crate::serve::{ItemShard, ItemVectors, LoadedVersion, UserShard, check_shards, elements};

pub(super) fn user(shard: &UserShard, user: &EntityId, with_ratings: bool) -> LookupUserReply {
    shard.user(user).map_or_else(LookupUserReply::default, |vectors| vectors.to_message(with_ratings))
}

/// One item, with its neighbours.
pub(super) fn item_with_neighbours(shard: &ItemShard, item: &EntityId) -> LookupItemReply {
    let Some(vectors) = shard.item(item) else { return LookupItemReply::default() };
    let (rows, similarities): (Vec<u32>, Vec<f32>) = shard.neighbours(vectors.row).into_iter().unzip();
    LookupItemReply {
        neighbour_rows: copy(&rows),
        similarities: copy(&similarities),
        ..of_vectors(shard, &vectors)
    }
}

fn item(shard: &ItemShard, item: &EntityId) -> LookupItemReply {
    shard.item(item).map_or_else(LookupItemReply::default, |vectors| of_vectors(shard, &vectors))
}

fn of_vectors(shard: &ItemShard, vectors: &ItemVectors<'_>) -> LookupItemReply {
    let (title, genres) = describe(shard, vectors.row);
    LookupItemReply {
        known: true,
        row: shard.global_row(vectors.row),
        title,
        genres,
        ranking_factors: copy(vectors.ranking),
        rating_factors: copy(vectors.rating),
        rating_bias: vectors.rating_bias,
        ratings: u64::from(vectors.ratings),
        item: Some(shard.id(vectors.row).into()),
        train_count: vectors.train_count,
        year: shard.descriptions().year(vectors.row),
        damped_mean: shard.popularity(vectors.row).1,
        ..LookupItemReply::default()
    }
}

pub(super) fn users(
    version: &LoadedVersion,
    request: LookupUsersRequest,
) -> Result<LookupUsersReply, Status> {
    check_shards(&request.shards).map_err(invalid)?;
    let users = entity_ids("users", request.users)?;
    let of_shard = |shard: u32| match version.users.get(&shard) {
        Some(rows) => {
            let own = users.iter().filter(|user| user.shard(version.shard_count) == shard);
            let users = own.map(|id| user(rows, id, request.with_ratings)).collect();
            ShardUsers { shard, users, ..ShardUsers::default() }
        }
        None => {
            let error = Some(not_loaded(&version.name, shard));
            ShardUsers { shard, error, ..ShardUsers::default() }
        }
    };
    let shards = request.shards.iter().map(|shard| of_shard(*shard)).collect();
    Ok(LookupUsersReply { version: request.version, shards })
}

pub(super) fn items(
    version: &LoadedVersion,
    request: LookupItemsRequest,
) -> Result<LookupItemsReply, Status> {
    check_shards(&request.shards).map_err(invalid)?;
    let items = entity_ids("items", request.items)?;
    let rows: Vec<u32> = elements("rows", &request.rows).map_err(invalid)?;
    let of_shard = |shard: u32| match version.items.get(&shard) {
        Some(of) => {
            let own = items.iter().filter(|item| item.shard(version.shard_count) == shard);
            let own_rows = rows.iter().filter_map(|row| of.item_of_row(*row));
            let items =
                own.map(|id| item(of, id)).chain(own_rows.map(|vectors| of_vectors(of, &vectors))).collect();
            ShardItems { shard, items, ..ShardItems::default() }
        }
        None => {
            let error = Some(not_loaded(&version.name, shard));
            ShardItems { shard, error, ..ShardItems::default() }
        }
    };
    let shards = request.shards.iter().map(|shard| of_shard(*shard)).collect();
    Ok(LookupItemsReply { version: request.version, shards })
}
