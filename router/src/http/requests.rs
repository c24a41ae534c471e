//! Requests of any face: read by its words, asked of the use cases that all faces share. What a face adds is its paths,
//! its description and the JSON of its answers.

use std::sync::Arc;

use axum::extract::{
    Path,
    rejection::{PathRejection, StringRejection},
};

use super::{api::Api, bodies, error::HttpError, parameters::Parameters};
use crate::{
    answer::{
        Described, FoundItems, PopularItems, Predicted, RatedItems, Recommended, RecommendedBatch,
        SimilarItems,
    },
    error::QueryError,
    query::{
        AboutItem, BATCH_TIMEOUT, Filter, GivenId, Popular, Predict, Queries, RATINGS_COUNT, RECOMMEND_COUNT,
        RatingsOf, Recommend, RecommendBatch, RecommendForItems, SEARCH_COUNT, SIMILAR_COUNT, Search,
        Similar,
    },
    words::Words,
};

/// A body as it came, or why it cannot be read.
pub(super) type Body = Result<String, StringRejection>;
/// An id of a path, or why it cannot be read.
pub(super) type PathId = Result<Path<String>, PathRejection>;

/// The id of a path.
pub(super) fn path_id(id: PathId) -> Result<GivenId, HttpError> {
    id.map(|Path(id)| GivenId::Text(id)).map_err(|rejection| HttpError::path(&rejection))
}

fn read(body: Body) -> Result<String, HttpError> {
    body.map_err(|rejection| HttpError::body(&rejection))
}

/// A filter of one category, whose name stands as it is in the parameter `name`.
pub(super) fn one_category(parameters: &mut Parameters, name: &'static str) -> Result<Filter, HttpError> {
    let genres = parameters.text(name)?.into_iter().collect();
    Ok(Filter { genres, ..Filter::default() })
}

fn said_in(words: &'static Words) -> impl Fn(QueryError) -> HttpError {
    move |error| HttpError::of_query(&error, words)
}

impl Api {
    /// Queries with the time that the request asks for.
    fn for_call(&self, parameters: &mut Parameters) -> Result<Queries, HttpError> {
        Ok(match parameters.timeout()? {
            Some(timeout) => self.queries.with_timeout(timeout),
            None => self.queries.clone(),
        })
    }

    pub(super) async fn recommend(
        &self,
        user: GivenId,
        mut parameters: Parameters,
    ) -> Result<Arc<Recommended>, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let request = Recommend {
            user,
            options: parameters.single_options()?,
            use_cache: parameters.flag("use_cache", true)?,
            cursor: parameters.text("cursor")?,
        };
        let words = parameters.words();
        parameters.finish()?;
        queries.recommend(&request).await.map_err(said_in(words))
    }

    pub(super) async fn recommend_for_items(
        &self,
        body: Body,
        mut parameters: Parameters,
    ) -> Result<Recommended, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let (options, words) = (parameters.single_options()?, parameters.words());
        parameters.finish()?;
        let items = bodies::items(&read(body)?, words)?;
        queries.recommend_for_items(&RecommendForItems { items, options }).await.map_err(said_in(words))
    }

    /// A batch may take longer than a query where neither the request nor the setting says how long.
    pub(super) async fn recommend_batch(
        &self,
        body: Body,
        mut parameters: Parameters,
    ) -> Result<RecommendedBatch, HttpError> {
        let timeout = parameters.timeout()?.unwrap_or(self.queries.timeout().max(BATCH_TIMEOUT));
        let (options, words) = (parameters.options()?, parameters.words());
        parameters.finish()?;
        let request = RecommendBatch { users: bodies::users(&read(body)?, words)?, options };
        let queries = self.queries.with_timeout(timeout);
        queries.recommend_batch(&request).await.map_err(said_in(words))
    }

    /// `filter` reads what the face's popular lists are filtered by.
    pub(super) async fn popular(
        &self,
        mut parameters: Parameters,
        filter: impl FnOnce(&mut Parameters) -> Result<Filter, HttpError>,
    ) -> Result<PopularItems, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let request = Popular {
            n: parameters.count("n", RECOMMEND_COUNT)?,
            order: parameters.order()?,
            window_days: parameters.window_days()?,
            complete: parameters.flag("complete", false)?,
            filter: filter(&mut parameters)?,
        };
        let words = parameters.words();
        parameters.finish()?;
        queries.popular(&request).await.map_err(said_in(words))
    }

    pub(super) async fn similar(
        &self,
        item: GivenId,
        mut parameters: Parameters,
    ) -> Result<SimilarItems, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let request = Similar {
            item,
            n: parameters.count("n", SIMILAR_COUNT)?,
            complete: parameters.flag("complete", false)?,
            model: parameters.model()?,
        };
        let words = parameters.words();
        parameters.finish()?;
        queries.similar(&request).await.map_err(said_in(words))
    }

    pub(super) async fn predict(
        &self,
        body: Body,
        mut parameters: Parameters,
    ) -> Result<Predicted, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let (model, words) = (parameters.model()?, parameters.words());
        parameters.finish()?;
        let (user, item) = bodies::pair(&read(body)?, words)?;
        queries.predict(&Predict { user, item, model }).await.map_err(said_in(words))
    }

    pub(super) async fn item(
        &self,
        item: GivenId,
        mut parameters: Parameters,
    ) -> Result<Described, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let words = parameters.words();
        parameters.finish()?;
        queries.item(&AboutItem { item }).await.map_err(said_in(words))
    }

    pub(super) async fn ratings(
        &self,
        user: GivenId,
        mut parameters: Parameters,
    ) -> Result<RatedItems, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let request = RatingsOf { user, n: parameters.count("n", RATINGS_COUNT)? };
        let words = parameters.words();
        parameters.finish()?;
        queries.ratings(&request).await.map_err(said_in(words))
    }

    pub(super) async fn search(&self, mut parameters: Parameters) -> Result<FoundItems, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let request = Search {
            query: parameters.needed("query")?,
            n: parameters.count("n", SEARCH_COUNT)?,
            complete: parameters.flag("complete", false)?,
        };
        let words = parameters.words();
        parameters.finish()?;
        queries.search(&request).await.map_err(said_in(words))
    }
}
