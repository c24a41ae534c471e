//! The rating that a user would give a movie.

use bytes::Bytes;
use shoal_common::{ids::EntityId, user_query::neighbours_request};
use shoal_proto::v1::{EntityIds, ItemFilter, LookupItemReply, LookupUserReply, ScoreKind, TopItemsRequest};

use super::{
    GivenId, Model, Queries, Query, QueryError, SOURCE_MODEL, Target,
    workers::{Best, bytes_of, floats},
};

/// `source` of a rating for a pair that the model has nothing for: the mean with the biases of user and movie.
pub const SOURCE_BASELINE: &str = "baseline";

/// Whose rating of what.
#[derive(Debug, Clone)]
pub struct Predict {
    /// The user.
    pub user: GivenId,
    /// The movie.
    pub movie: GivenId,
    /// Which model predicts; the default one where none is named.
    pub model: Option<Model>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Predicted {
    /// The user.
    pub user: EntityId,
    /// The movie.
    pub movie: EntityId,
    /// Its title.
    pub title: String,
    /// Its genres.
    pub genres: Vec<String>,
    /// On the data set's scale.
    pub predicted_rating: f32,
    /// The version that answered.
    pub model_version: String,
    /// [`SOURCE_MODEL`] or [`SOURCE_BASELINE`].
    pub source: &'static str,
}

impl Queries {
    /// Predicts.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn predict(&self, request: &Predict) -> Result<Predicted, QueryError> {
        self.run(Target::model(request.model), |query| async move { query.predict(request).await }).await
    }
}

impl Query {
    async fn predict(&self, request: &Predict) -> Result<Predicted, QueryError> {
        let live = self.live()?;
        let user = request.user.resolve(live.user_id_kind, "user_id")?;
        let movie = request.movie.resolve(live.item_id_kind, "movie_id")?;
        let looking = async {
            if live.needs_ratings() {
                self.lookup_user_with_ratings(&user).await
            } else {
                self.lookup_user(&user).await
            }
        };
        let (of_user, of_movie) = tokio::join!(looking, self.lookup_item(&movie));
        let (of_user, of_movie) = (of_user?, of_movie?);
        if !of_movie.known {
            return Err(QueryError::UnknownMovie(movie));
        }
        if !of_user.known {
            return Err(QueryError::UnknownUser(user));
        }
        let biases = f64::from(of_user.rating_bias) + f64::from(of_movie.rating_bias);
        let expected = live.rating_mean + biases;
        let product = if live.has_neighbours() { None } else { product(&of_user, &of_movie) };
        let (rating, source) = match product {
            Some(product) if of_movie.train_count > 0 => (expected + product, SOURCE_MODEL),
            Some(product) => (expected + product, SOURCE_BASELINE),
            None => match self.predict_by_items(&of_user, &of_movie, &movie).await? {
                Some(rating) => (f64::from(rating), SOURCE_MODEL),
                None => (expected, SOURCE_BASELINE),
            },
        };
        Ok(Predicted {
            user,
            movie,
            title: of_movie.title,
            genres: of_movie.genres,
            predicted_rating: self.clamp(rating as f32),
            model_version: live.version.name.clone(),
            source,
        })
    }

    /// The rating from the user's ratings of the movie's neighbours, or from the user's profile; `None` where the
    /// model has nothing for the pair.
    async fn predict_by_items(
        &self,
        user: &LookupUserReply,
        found: &LookupItemReply,
        movie: &EntityId,
    ) -> Result<Option<f32>, QueryError> {
        let live = self.live()?;
        let request = match live.model() {
            Model::Als => return Err(not_trained(&live.version.name)),
            Model::ItemCf | Model::Hybrid => neighbours_request(user),
            // The movie as it is, whatever ranks it.
            Model::Content => TopItemsRequest {
                score: ScoreKind::Listed.into(),
                listed_rows: Bytes::copy_from_slice(&found.row.to_le_bytes()),
                listed_scores: bytes_of(&[1.0]),
                rating_bias: user.rating_bias,
                with_predicted_rating: true,
                profile: self.profile(user).await?,
                ..TopItemsRequest::default()
            },
        };
        let allow_ids = Some(EntityIds { ids: vec![movie.clone().into()] });
        let filter = Some(ItemFilter { allow_ids, ..ItemFilter::default() });
        let request = TopItemsRequest { n: 1, filter, ..request };
        let Best { hits, .. } = self.best_items(request, true).await?;
        Ok(hits.first().and_then(|hit| hit.hit.predicted_rating))
    }
}

/// The inner product of the rating factors; `None` where the version has none.
fn product(user: &LookupUserReply, movie: &LookupItemReply) -> Option<f64> {
    let (a, b) = (floats(&user.rating_factors), floats(&movie.rating_factors));
    (!a.is_empty()).then(|| a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
}

fn not_trained(version: &str) -> QueryError {
    let reason = format!(
        "version '{version}' was trained without the explicit objective and predicts no ratings; train with --objective both"
    );
    QueryError::invalid("model", reason)
}
