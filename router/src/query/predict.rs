//! The rating that a user would give a movie.

use shoal_common::ids::EntityId;

use super::{GivenId, Queries, Query, QueryError, workers::floats};

/// Whose rating of what.
#[derive(Debug, Clone)]
pub struct Predict {
    /// The user.
    pub user: GivenId,
    /// The movie.
    pub movie: GivenId,
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
}

impl Queries {
    /// Predicts.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn predict(&self, request: &Predict) -> Result<Predicted, QueryError> {
        self.run(None, |query| async move { query.predict(request).await }).await
    }
}

impl Query {
    async fn predict(&self, request: &Predict) -> Result<Predicted, QueryError> {
        let user = request.user.resolve(self.live()?.user_id_kind, "user_id")?;
        let movie = request.movie.resolve(self.live()?.item_id_kind, "movie_id")?;
        let (of_user, of_movie) = tokio::join!(self.lookup_user(&user), self.lookup_item(&movie));
        let (of_user, of_movie) = (of_user?, of_movie?);
        if !of_movie.known {
            return Err(QueryError::UnknownMovie(movie));
        }
        if !of_user.known {
            return Err(QueryError::UnknownUser(user));
        }
        let version = &self.live()?.version;
        if of_user.rating_factors.is_empty() {
            let reason = format!(
                "version '{}' was trained without the explicit objective and predicts no ratings; train with --objective both",
                version.name
            );
            return Err(QueryError::invalid("model", reason));
        }
        let (a, b) = (floats(&of_user.rating_factors), floats(&of_movie.rating_factors));
        let product: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let biases = f64::from(of_user.rating_bias) + f64::from(of_movie.rating_bias);
        Ok(Predicted {
            user,
            movie,
            title: of_movie.title,
            genres: of_movie.genres,
            predicted_rating: self.clamp((version.rating_mean + biases + product) as f32),
            model_version: version.name.clone(),
        })
    }
}
