//! One item by its id: what the catalogue and the ratings say of it, whatever model is asked.

use shoal_common::ids::EntityId;

use super::{GivenId, Queries};
use crate::{
    answer::{Described, Description},
    error::{Parameter, QueryError},
    shard_calls::ShardCalls,
    snapshot::{Live, Target},
};

/// The item that is asked about.
#[derive(Debug, Clone)]
pub struct AboutItem {
    /// Id of the item, as it was given.
    pub item: GivenId,
}

impl Queries {
    /// Describes an item.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn item(&self, request: &AboutItem) -> Result<Described, QueryError> {
        let check = |live: &Live| request.item.resolve(live.item_id_kind, Parameter::ItemId);
        self.run(&Target::default(), check, |calls, item| async move { describe(&calls, item).await }).await
    }
}

async fn describe(calls: &ShardCalls, item: EntityId) -> Result<Described, QueryError> {
    let found = calls.lookup_item(&item).await?;
    if !found.known {
        return Err(QueryError::UnknownItem(item));
    }
    let description = Description {
        item,
        title: found.title,
        genres: found.genres,
        year: found.year,
        ratings: found.ratings,
        popularity: found.damped_mean,
    };
    Ok(Described { description, model_version: calls.live.version.name.clone() })
}
