//! The rating that a user would give an item.

use bytes::Bytes;
use shoal_common::{
    ids::EntityId,
    user_query::{AnswerSource, Answers, neighbours_request},
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    ByList, EntityIds, ItemFilter, LookupItemReply, LookupUserReply, TopItemsRequest,
    top_items_request::ScoredBy,
};

use super::{GivenId, Queries};
use crate::{
    answer::Predicted,
    error::{Parameter, QueryError},
    shard_calls::{Best, ShardCalls},
    snapshot::{Live, Target},
    wire_numbers::{bytes_of, floats},
};

/// Whose rating of what.
#[derive(Debug, Clone)]
pub struct Predict {
    /// Id of the user, as it was given.
    pub user: GivenId,
    /// Id of the item, as it was given.
    pub item: GivenId,
    /// Which model predicts; the default one where none is named.
    pub model: Option<ModelKind>,
}

impl Queries {
    /// The rating that a user would give an item.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn predict(&self, request: &Predict) -> Result<Predicted, QueryError> {
        let check = |live: &Live| {
            let user = request.user.resolve(live.user_id_kind, Parameter::UserId)?;
            Ok((user, request.item.resolve(live.item_id_kind, Parameter::ItemId)?))
        };
        let target = Target::model(request.model);
        self.run(&target, check, |calls, (user, item)| async move { predict(&calls, user, item).await }).await
    }
}

async fn predict(calls: &ShardCalls, user: EntityId, item: EntityId) -> Result<Predicted, QueryError> {
    let live = &calls.live;
    let (of_user, of_item) =
        tokio::join!(calls.lookup_user(&user, live.needs_ratings()), calls.lookup_item(&item));
    let (of_user, of_item) = (of_user?, of_item?);
    if !of_item.known {
        return Err(QueryError::UnknownItem(item));
    }
    if !of_user.known {
        return Err(QueryError::UnknownUser(user));
    }
    let biases = f64::from(of_user.rating_bias) + f64::from(of_item.rating_bias);
    let expected = live.rating_mean + biases;
    let product = if live.has_neighbours() { None } else { product(&of_user, &of_item) };
    let (rating, source) = match product {
        Some(product) if of_item.train_count > 0 => (expected + product, AnswerSource::Model),
        Some(product) => (expected + product, AnswerSource::Baseline),
        None => match predict_by_items(calls, &of_user, &of_item, &item).await? {
            Some(rating) => (f64::from(rating), AnswerSource::Model),
            None => (expected, AnswerSource::Baseline),
        },
    };
    Ok(Predicted {
        user,
        item,
        title: of_item.title,
        genres: of_item.genres,
        predicted_rating: live.clamp(rating as f32),
        model_version: live.version.name.clone(),
        source,
    })
}

/// The rating from the user's ratings of the item's neighbours, or from the user's profile; `None` where the
/// model has nothing for the pair.
async fn predict_by_items(
    calls: &ShardCalls,
    user: &LookupUserReply,
    found: &LookupItemReply,
    item: &EntityId,
) -> Result<Option<f32>, QueryError> {
    let live = &calls.live;
    let request = match live.answers() {
        Answers::ByFactors => return Err(not_trained(&live.version.name)),
        // The item as it is, whatever ranks it.
        _ if live.model == ModelKind::Content => TopItemsRequest {
            scored_by: Some(ScoredBy::ByList(ByList {
                rows: Bytes::copy_from_slice(&found.row.to_le_bytes()),
                scores: bytes_of(&[1.0]),
            })),
            rating_bias: user.rating_bias,
            with_predicted_rating: true,
            profile: calls.profile(user).await?,
            ..TopItemsRequest::default()
        },
        Answers::ByNeighbours | Answers::ByBlend => neighbours_request(user),
    };
    let allow_ids = Some(EntityIds { ids: vec![item.clone().into()] });
    let filter = Some(ItemFilter { allow_ids, ..ItemFilter::default() });
    let request = TopItemsRequest { n: 1, filter, ..request };
    let Best { hits, .. } = calls.best_items(request, true).await?;
    Ok(hits.first().and_then(|hit| hit.hit.predicted_rating))
}

/// The inner product of the rating factors; `None` where the version has none.
fn product(user: &LookupUserReply, item: &LookupItemReply) -> Option<f64> {
    let (a, b) = (floats(&user.rating_factors), floats(&item.rating_factors));
    (!a.is_empty()).then(|| a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
}

fn not_trained(version: &str) -> QueryError {
    let reason = format!(
        "version '{version}' was trained without the explicit objective and predicts no ratings; train with --objective both"
    );
    QueryError::invalid(Parameter::Model, reason)
}
