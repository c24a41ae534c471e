//! The gRPC face: the `Recommender` service.

use std::time::Duration;

use shoal_common::{ids::EntityId, rpc::timeout_of};
use shoal_proto::v1::{
    self, HealthReply, HealthRequest, ItemFilter, PopularReply, PopularRequest, PredictReply, PredictRequest,
    RankBy, RecommendBatchReply, RecommendBatchRequest, RecommendForItemsRequest, RecommendReply,
    RecommendRequest, SimilarReply, SimilarRequest, entity_id::Kind, recommender_server::Recommender,
};
use tonic::{Request, Response, Status};

use crate::{
    fanout::DEADLINE_MARGIN,
    query::{
        BATCH_TIMEOUT, Filter, GivenId, Model, Options, Popular, PopularOrder, Predict, Queries, QueryError,
        RatedMovie, Recommend, RecommendBatch, RecommendForItems, Recommendation, Recommended, Similar,
    },
};

/// Answers over gRPC.
#[derive(Debug, Clone)]
pub struct RecommenderService {
    queries: Queries,
}

impl RecommenderService {
    /// Answers with these queries.
    #[must_use]
    pub fn new(queries: Queries) -> Self {
        Self { queries }
    }

    /// A batch takes as long as the caller waits, or as over HTTP.
    fn for_batch<T>(&self, request: &Request<T>) -> Queries {
        let waits = timeout_of(request.metadata()).unwrap_or(self.queries.timeout().max(BATCH_TIMEOUT));
        self.queries.with_timeout(less_the_way_back(waits))
    }

    /// Queries that take no longer than the caller waits.
    fn for_caller<T>(&self, request: &Request<T>) -> Queries {
        match timeout_of(request.metadata()) {
            Some(timeout) => self.queries.within(less_the_way_back(timeout)),
            None => self.queries.clone(),
        }
    }
}

/// Time for the way back, or the caller hears of its own timeout only.
fn less_the_way_back(timeout: Duration) -> Duration {
    timeout - DEADLINE_MARGIN.min(timeout / 4)
}

fn given(id: Option<v1::EntityId>, field: &'static str) -> Result<GivenId, Status> {
    match id.and_then(|id| id.kind) {
        Some(Kind::Integer(value)) => Ok(GivenId::Integer(value)),
        Some(Kind::Text(text)) => Ok(GivenId::Text(text)),
        None => Err(Status::invalid_argument(format!("'{field}' is missing"))),
    }
}

fn some_id(id: EntityId) -> Option<v1::EntityId> {
    Some(id.into())
}

fn n(n: u32) -> Option<i64> {
    (n != 0).then_some(i64::from(n))
}

fn rank_by(number: i32) -> Result<RankBy, Status> {
    RankBy::try_from(number)
        .map_err(|_| Status::invalid_argument(format!("'rank_by' is {number}, which is no way to rank")))
}

fn status(error: QueryError) -> Status {
    let text = error.to_string();
    match error {
        QueryError::Invalid { .. } => Status::invalid_argument(text),
        QueryError::Unsupported { .. } | QueryError::VersionGone(_) => Status::failed_precondition(text),
        QueryError::UnknownMovie(_) | QueryError::UnknownUser(_) => Status::not_found(text),
        QueryError::NoModel | QueryError::ModelNotLive(_) | QueryError::Unavailable { .. } => {
            Status::unavailable(text)
        }
        QueryError::Timeout => Status::deadline_exceeded(text),
        QueryError::Overloaded { retry_after } => shoal_common::rpc::queue_full(text, retry_after),
    }
}

/// Options of a list, as a recommend request has them.
fn options(request: &RecommendRequest) -> Result<Options, Status> {
    Ok(Options {
        n: n(request.n),
        rank_by: rank_by(request.rank_by)?,
        complete: request.complete,
        exclude_seen: !request.include_seen,
        filter: filter(request.filter.clone())?,
        diversity: request.diversity,
        explain: request.explain,
        model: Model::parse(&request.model).map_err(status)?,
    })
}

fn filter(filter: Option<ItemFilter>) -> Result<Filter, Status> {
    let filter = filter.unwrap_or_default();
    let ids = |ids: Vec<v1::EntityId>, field| ids.into_iter().map(|id| given(Some(id), field)).collect();
    Ok(Filter {
        genres: filter.genres,
        exclude_genres: filter.exclude_genres,
        year_min: filter.year_min,
        year_max: filter.year_max,
        exclude_ids: ids(filter.exclude_ids, "exclude_ids")?,
        allow_ids: filter.allow_ids.map(|allowed| ids(allowed.ids, "allow_ids")).transpose()?,
    })
}

fn recommendation(movie: &Recommendation) -> v1::Recommendation {
    let explanation = movie.explanation.as_ref().map(|explanation| v1::Explanation {
        score: explanation.score,
        items: explanation
            .items
            .iter()
            .map(|part| v1::Contribution {
                movie_id: some_id(part.movie.clone()),
                title: part.title.clone(),
                contribution: part.contribution,
            })
            .collect(),
        sources: explanation
            .sources
            .iter()
            .map(|source| v1::SourceContribution {
                model: source.model.to_owned(),
                level: source.level,
                weight: source.weight,
                contribution: source.contribution,
            })
            .collect(),
    });
    v1::Recommendation {
        movie_id: some_id(movie.movie.clone()),
        title: movie.title.clone(),
        genres: movie.genres.clone(),
        predicted_rating: movie.predicted_rating,
        score: movie.score,
        rank: movie.rank,
        explanation,
        model: movie.model.to_owned(),
    }
}

impl RecommenderService {
    fn recommended(&self, found: &Recommended) -> RecommendReply {
        RecommendReply {
            user_id: found.user.clone().map(Into::into),
            recommendations: found.recommendations.iter().map(recommendation).collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version.clone(),
            source: found.source.to_owned(),
            shards: Some(found.shards),
            next_cursor: found.next_cursor.clone().unwrap_or_default(),
            unknown_movies: found.unknown.iter().cloned().map(Into::into).collect(),
            ranked_by: found.ranked_by.to_owned(),
            unknown_genres: found.unknown_genres.clone(),
        }
    }
}

#[tonic::async_trait]
impl Recommender for RecommenderService {
    async fn recommend(
        &self,
        request: Request<RecommendRequest>,
    ) -> Result<Response<RecommendReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query = Recommend {
            options: options(&request)?,
            use_cache: !request.bypass_cache,
            cursor: Some(request.cursor).filter(|cursor| !cursor.is_empty()),
            user: given(request.user_id, "user_id")?,
        };
        let found = queries.recommend(&query).await.map_err(status)?;
        Ok(Response::new(self.recommended(&found)))
    }

    async fn recommend_for_items(
        &self,
        request: Request<RecommendForItemsRequest>,
    ) -> Result<Response<RecommendReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let rated = |item: v1::RatedMovie| {
            Ok(RatedMovie { movie: given(item.movie_id, "movie_id")?, rating: item.rating })
        };
        let query = RecommendForItems {
            items: request.items.into_iter().map(rated).collect::<Result<_, Status>>()?,
            options: options(&request.options.unwrap_or_default())?,
        };
        let found = queries.recommend_for_items(&query).await.map_err(status)?;
        Ok(Response::new(self.recommended(&found)))
    }

    async fn recommend_batch(
        &self,
        request: Request<RecommendBatchRequest>,
    ) -> Result<Response<RecommendBatchReply>, Status> {
        let queries = self.for_batch(&request);
        let request = request.into_inner();
        let users = request.user_ids.into_iter().map(|user| given(Some(user), "user_ids"));
        let options = options(&request.options.unwrap_or_default())?;
        let query = RecommendBatch { users: users.collect::<Result<_, Status>>()?, options };
        let found = queries.recommend_batch(&query).await.map_err(status)?;
        let results = found.results.iter().map(|of| v1::UserRecommendations {
            user_id: some_id(of.user.clone()),
            recommendations: of.recommendations.iter().map(recommendation).collect(),
            source: of.source.to_owned(),
            ranked_by: of.ranked_by.to_owned(),
        });
        Ok(Response::new(RecommendBatchReply {
            results: results.collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version.clone(),
            shards: Some(found.shards),
            unknown_genres: found.unknown_genres,
        }))
    }

    async fn popular(&self, request: Request<PopularRequest>) -> Result<Response<PopularReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let order = match v1::PopularOrder::try_from(request.order) {
            Ok(v1::PopularOrder::Unspecified) => PopularOrder::Popular,
            Ok(v1::PopularOrder::Trending) => PopularOrder::Trending,
            Ok(v1::PopularOrder::Latest) => PopularOrder::Latest,
            Err(_) => {
                let number = request.order;
                return Err(Status::invalid_argument(format!("'order' is {number}, which is no order")));
            }
        };
        let query = Popular {
            n: n(request.n),
            order,
            window_days: n(request.window_days),
            filter: filter(request.filter)?,
            complete: request.complete,
        };
        let found = queries.popular(&query).await.map_err(status)?;
        let movies = found.movies.into_iter().map(|movie| v1::PopularMovie {
            movie_id: some_id(movie.movie),
            title: movie.title,
            genres: movie.genres,
            score: movie.score,
            rank: movie.rank,
        });
        Ok(Response::new(PopularReply {
            movies: movies.collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            shards: Some(found.shards),
            unknown_genres: found.unknown_genres,
        }))
    }

    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query = Predict {
            user: given(request.user_id, "user_id")?,
            movie: given(request.movie_id, "movie_id")?,
            model: Model::parse(&request.model).map_err(status)?,
        };
        let found = queries.predict(&query).await.map_err(status)?;
        Ok(Response::new(PredictReply {
            user_id: some_id(found.user),
            movie_id: some_id(found.movie),
            title: found.title,
            genres: found.genres,
            predicted_rating: found.predicted_rating,
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            source: found.source.to_owned(),
        }))
    }

    async fn similar(&self, request: Request<SimilarRequest>) -> Result<Response<SimilarReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query = Similar {
            movie: given(request.movie_id, "movie_id")?,
            n: n(request.n),
            complete: request.complete,
            model: Model::parse(&request.model).map_err(status)?,
        };
        let found = queries.similar(&query).await.map_err(status)?;
        let similar_movies = found.similar.into_iter().map(|movie| v1::SimilarMovie {
            movie_id: some_id(movie.movie),
            title: movie.title,
            genres: movie.genres,
            similarity: movie.similarity,
            rank: movie.rank,
            model: movie.model.to_owned(),
        });
        Ok(Response::new(SimilarReply {
            movie_id: some_id(found.movie),
            similar_movies: similar_movies.collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            shards: Some(found.shards),
        }))
    }

    async fn health(&self, _: Request<HealthRequest>) -> Result<Response<HealthReply>, Status> {
        Ok(Response::new(self.queries.health()))
    }
}
