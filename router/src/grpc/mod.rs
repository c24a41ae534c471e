//! The gRPC face: the `Recommender` service.

use shoal_common::{ids::EntityId, rpc::timeout_of};
use shoal_proto::v1::{
    self, HealthReply, HealthRequest, PredictReply, PredictRequest, RankBy, RecommendReply, RecommendRequest,
    SimilarReply, SimilarRequest, entity_id::Kind, recommender_server::Recommender,
};
use tonic::{Request, Response, Status};

use crate::fanout::DEADLINE_MARGIN;
use crate::query::{GivenId, Predict, Queries, QueryError, Recommend, Similar};

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

    /// Queries that take no longer than the caller waits.
    fn for_caller<T>(&self, request: &Request<T>) -> Queries {
        match timeout_of(request.metadata()) {
            // Time for the way back, or the caller hears of its own timeout only.
            Some(timeout) => self.queries.within(timeout - DEADLINE_MARGIN.min(timeout / 4)),
            None => self.queries.clone(),
        }
    }
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
        QueryError::UnknownMovie(_) | QueryError::UnknownUser(_) => Status::not_found(text),
        QueryError::NoModel | QueryError::Unavailable { .. } => Status::unavailable(text),
        QueryError::Timeout => Status::deadline_exceeded(text),
        QueryError::Overloaded { retry_after } => shoal_common::rpc::queue_full(text, retry_after),
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
            rank_by: rank_by(request.rank_by)?,
            user: given(request.user_id, "user_id")?,
            n: n(request.n),
            complete: request.complete,
        };
        let found = queries.recommend(&query).await.map_err(status)?;
        let recommendations = found.recommendations.into_iter().map(|movie| v1::Recommendation {
            movie_id: some_id(movie.movie),
            title: movie.title,
            genres: movie.genres,
            predicted_rating: movie.predicted_rating,
            score: movie.score,
            rank: movie.rank,
        });
        Ok(Response::new(RecommendReply {
            user_id: some_id(found.user),
            recommendations: recommendations.collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            source: found.source.to_owned(),
            shards: Some(found.shards),
        }))
    }

    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query =
            Predict { user: given(request.user_id, "user_id")?, movie: given(request.movie_id, "movie_id")? };
        let found = queries.predict(&query).await.map_err(status)?;
        Ok(Response::new(PredictReply {
            user_id: some_id(found.user),
            movie_id: some_id(found.movie),
            title: found.title,
            genres: found.genres,
            predicted_rating: found.predicted_rating,
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
        }))
    }

    async fn similar(&self, request: Request<SimilarRequest>) -> Result<Response<SimilarReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query = Similar {
            movie: given(request.movie_id, "movie_id")?,
            n: n(request.n),
            complete: request.complete,
        };
        let found = queries.similar(&query).await.map_err(status)?;
        let similar_movies = found.similar.into_iter().map(|movie| v1::SimilarMovie {
            movie_id: some_id(movie.movie),
            title: movie.title,
            genres: movie.genres,
            similarity: movie.similarity,
            rank: movie.rank,
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
