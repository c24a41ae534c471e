//! Rows for users whom a version does not know, what solving them takes, and profiles.

use std::sync::Arc;

use shoal_common::compute::ComputeError;
use shoal_proto::v1::{
    FoldInReply, FoldInRequest, ItemFactsReply, ItemFactsRequest, ProfileReply, ProfileRequest, ShardFacts,
    ShardProfile,
};
use tonic::Status;

use super::{Serving, copy, invalid, item_shards, not_loaded};
use crate::serve::{Folded, ItemShard, LoadedVersion, QueryError, Rated, elements, rated_items};

impl Serving {
    pub(super) async fn facts(
        &self,
        version: Arc<LoadedVersion>,
        request: ItemFactsRequest,
    ) -> Result<ItemFactsReply, Status> {
        let found = item_shards(&version, &request.shards)?;
        let facts = self.compute.run(move || {
            let of_shard = |(shard, found): (u32, Option<Arc<ItemShard>>)| match found {
                Some(found) => ShardFacts {
                    shard,
                    gramian: copy(&found.gramian()),
                    newest_unix_s: found.newest(),
                    ..ShardFacts::default()
                },
                None => {
                    let error = Some(not_loaded(&version.name, shard));
                    ShardFacts { shard, error, ..ShardFacts::default() }
                }
            };
            found.into_iter().map(of_shard).collect()
        });
        Ok(ItemFactsReply { version: request.version, shards: facts.await.map_err(internal)? })
    }

    pub(super) async fn profile_parts(
        &self,
        version: Arc<LoadedVersion>,
        request: ProfileRequest,
    ) -> Result<ProfileReply, Status> {
        let found = item_shards(&version, &request.shards)?;
        let rated = rated_items(&request.rated_rows, &request.ratings).map_err(invalid)?;
        if rated.ratings.iter().any(|rating| rating.is_nan()) {
            return Err(invalid(QueryError::NotFinite("ratings")));
        }
        let parts = self.compute.run(move || {
            let of_shard = |(shard, found): (u32, Option<Arc<ItemShard>>)| match found {
                Some(found) => {
                    let part = copy(&found.profile_part(&rated)?);
                    Ok(ShardProfile { shard, part, ..ShardProfile::default() })
                }
                None => {
                    let error = Some(not_loaded(&version.name, shard));
                    Ok(ShardProfile { shard, error, ..ShardProfile::default() })
                }
            };
            found.into_iter().map(of_shard).collect::<Result<Vec<ShardProfile>, QueryError>>()
        });
        let shards = parts.await.map_err(internal)?.map_err(invalid)?;
        Ok(ProfileReply { version: request.version, shards })
    }

    pub(super) async fn solve(
        &self,
        version: &LoadedVersion,
        request: FoldInRequest,
    ) -> Result<FoldInReply, Status> {
        let fold_in = version.fold_in.clone().ok_or_else(|| {
            let name = &version.name;
            Status::failed_precondition(format!(
                "version '{name}' does not say how it was trained, so no row can be solved for it"
            ))
        })?;
        let (rated, explained) = read(&request).map_err(invalid)?;
        let objective = request.explain_objective();
        let folded = self.compute.run(move || fold_in.solve(&rated, &explained, objective));
        let folded = folded.await.map_err(internal)?;
        let Folded { ranking, rating, rating_bias, contributions } =
            folded.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(FoldInReply {
            ranking_factors: copy(&ranking),
            rating_factors: copy(&rating),
            rating_bias,
            contributions: copy(&contributions),
        })
    }
}

fn read(request: &FoldInRequest) -> Result<(Rated, Vec<f32>), QueryError> {
    let ratings: Vec<f32> = elements("ratings", &request.ratings)?;
    let rated = Rated {
        ranking: elements("ranking_factors", &request.ranking_factors)?,
        rating: elements("rating_factors", &request.rating_factors)?,
        biases: elements("rating_biases", &request.rating_biases)?,
        ratings: ratings.into_iter().map(|rating| (!rating.is_nan()).then_some(rating)).collect(),
        gramian: elements("gramian", &request.gramian)?.into(),
    };
    let explained: Vec<f32> = elements("explain", &request.explain)?;
    let vectors = [
        ("ranking_factors", &rated.ranking),
        ("rating_factors", &rated.rating),
        ("rating_biases", &rated.biases),
        ("explain", &explained),
    ];
    let not_finite = vectors.iter().find(|(_, values)| !values.iter().all(|value| value.is_finite()));
    match not_finite {
        Some((field, _)) => Err(QueryError::NotFinite(field)),
        None if rated.ratings.iter().flatten().any(|rating| !rating.is_finite()) => {
            Err(QueryError::NotFinite("ratings"))
        }
        None => Ok((rated, explained)),
    }
}

fn internal(error: ComputeError) -> Status {
    Status::internal(error.to_string())
}
