//! The gRPC face: the `Recommender` service.

use std::time::Duration;

use shoal_common::{access::token_holder, ids::EntityId, item_filter::take_categories, rpc::timeout_of};
use shoal_proto::v1::{
    self, FoundItem, HealthReply, HealthRequest, ItemDescription, ItemFilter, ItemReply, ItemRequest,
    PopularReply, PopularRequest, PredictReply, PredictRequest, RankBy, RecommendBatchReply,
    RecommendBatchRequest, RecommendForItemsRequest, RecommendReply, RecommendRequest, SearchReply,
    SearchRequest, SimilarReply, SimilarRequest, entity_id::Kind, recommender_server::Recommender,
};
use tonic::{Request, Response, Status};

use crate::{
    answer::{Description, Explanation, Recommendation, Recommended},
    error::QueryError,
    fanout::DEADLINE_MARGIN,
    query::{
        AboutItem, BATCH_TIMEOUT, Filter, GivenId, Options, Popular, PopularOrder, Predict, Queries,
        RatedItem, Recommend, RecommendBatch, RecommendForItems, Search, Similar, parse_model,
    },
    snapshot::NotServed,
    words::Words,
};

/// What the service's messages call things.
static WORDS: Words = Words::OWN;

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
        self.queries.with_timeout(less_the_way_back(waits)).asked_by(token_holder(request))
    }

    /// Queries that take no longer than the caller waits.
    fn for_caller<T>(&self, request: &Request<T>) -> Queries {
        let queries = self.queries.asked_by(token_holder(request));
        match timeout_of(request.metadata()) {
            Some(timeout) => queries.within(less_the_way_back(timeout)),
            None => queries,
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
    let text = error.text(&WORDS);
    match error {
        QueryError::Invalid { .. } => Status::invalid_argument(text),
        QueryError::Unsupported { .. } | QueryError::NotServed(NotServed::VersionGone(_)) => {
            Status::failed_precondition(text)
        }
        QueryError::UnknownItem(_) | QueryError::UnknownUser(_) => Status::not_found(text),
        QueryError::NotServed(_) | QueryError::Unavailable { .. } => Status::unavailable(text),
        QueryError::Timeout => Status::deadline_exceeded(text),
        QueryError::Overloaded { retry_after } | QueryError::TokenExhausted { retry_after } => {
            shoal_common::rpc::queue_full(text, retry_after)
        }
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
        model: parse_model(&request.model).map_err(status)?,
    })
}

fn filter(filter: Option<ItemFilter>) -> Result<Filter, Status> {
    let mut filter = filter.unwrap_or_default();
    take_categories(&mut filter);
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

fn explanation(explanation: &Explanation) -> v1::Explanation {
    let item = |part: &crate::answer::Contribution| v1::Contribution {
        item_id: some_id(part.item.clone()),
        title: part.title.clone(),
        contribution: part.contribution,
    };
    let source = |source: &crate::answer::SourceContribution| v1::SourceContribution {
        model: source.model.clone(),
        level: source.level,
        weight: source.weight,
        contribution: source.contribution,
    };
    v1::Explanation {
        score: explanation.score,
        items: explanation.items.iter().map(item).collect(),
        sources: explanation.sources.iter().map(source).collect(),
    }
}

fn recommendation(item: &Recommendation) -> v1::Recommendation {
    v1::Recommendation {
        item_id: some_id(item.item.clone()),
        title: item.title.clone(),
        genres: item.genres.clone(),
        categories: item.genres.clone(),
        predicted_rating: item.predicted_rating,
        score: item.score,
        rank: item.rank,
        explanation: item.explanation.as_ref().map(explanation),
        model: item.ranker.name().to_owned(),
    }
}

fn description(description: Description) -> ItemDescription {
    let Description { item, title, genres, year, ratings, popularity } = description;
    let (item, categories) = (some_id(item), genres.clone());
    ItemDescription { item, title, genres, year, ratings, damped_mean: popularity, categories }
}

impl RecommenderService {
    fn recommended(&self, found: &Recommended) -> RecommendReply {
        RecommendReply {
            user_id: found.user.clone().map(Into::into),
            recommendations: found.recommendations.iter().map(recommendation).collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version.clone(),
            source: found.source.name().to_owned(),
            shards: Some(found.shards),
            next_cursor: found.next_cursor.clone().unwrap_or_default(),
            unknown_items: found.unknown.iter().cloned().map(Into::into).collect(),
            ranked_by: found.ranked_by.name().to_owned(),
            unknown_genres: found.unknown_genres.clone(),
            unknown_categories: found.unknown_genres.clone(),
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
        let rated = |item: v1::RatedItem| {
            Ok(RatedItem { item: given(item.item_id, "item_id")?, rating: item.rating })
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
            source: of.source.name().to_owned(),
            ranked_by: of.ranked_by.name().to_owned(),
        });
        Ok(Response::new(RecommendBatchReply {
            results: results.collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version.clone(),
            shards: Some(found.shards),
            unknown_categories: found.unknown_genres.clone(),
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
        let items = found.items.into_iter().map(|item| v1::PopularItem {
            item_id: some_id(item.item),
            title: item.title,
            categories: item.genres.clone(),
            genres: item.genres,
            score: item.score,
            rank: item.rank,
        });
        Ok(Response::new(PopularReply {
            items: items.collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            shards: Some(found.shards),
            unknown_categories: found.unknown_genres.clone(),
            unknown_genres: found.unknown_genres,
        }))
    }

    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query = Predict {
            user: given(request.user_id, "user_id")?,
            item: given(request.item_id, "item_id")?,
            model: parse_model(&request.model).map_err(status)?,
        };
        let found = queries.predict(&query).await.map_err(status)?;
        Ok(Response::new(PredictReply {
            user_id: some_id(found.user),
            item_id: some_id(found.item),
            title: found.title,
            categories: found.genres.clone(),
            genres: found.genres,
            predicted_rating: found.predicted_rating,
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            source: found.source.name().to_owned(),
        }))
    }

    async fn similar(&self, request: Request<SimilarRequest>) -> Result<Response<SimilarReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query = Similar {
            item: given(request.item_id, "item_id")?,
            n: n(request.n),
            complete: request.complete,
            model: parse_model(&request.model).map_err(status)?,
        };
        let found = queries.similar(&query).await.map_err(status)?;
        let similar_items = found.similar.into_iter().map(|item| v1::SimilarItem {
            item_id: some_id(item.item),
            title: item.title,
            categories: item.genres.clone(),
            genres: item.genres,
            similarity: item.similarity,
            rank: item.rank,
            model: item.model.name().to_owned(),
        });
        Ok(Response::new(SimilarReply {
            item_id: some_id(found.item),
            similar_items: similar_items.collect(),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            shards: Some(found.shards),
            remark: found.nothing_known_by.map(|model| WORDS.nothing_alike(model)).unwrap_or_default(),
        }))
    }

    async fn item(&self, request: Request<ItemRequest>) -> Result<Response<ItemReply>, Status> {
        let queries = self.for_caller(&request);
        let query = AboutItem { item: given(request.into_inner().item_id, "item_id")? };
        let found = queries.item(&query).await.map_err(status)?;
        Ok(Response::new(ItemReply {
            item: Some(description(found.description)),
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
        }))
    }

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchReply>, Status> {
        let queries = self.for_caller(&request);
        let request = request.into_inner();
        let query = Search { query: request.query, n: n(request.n), complete: request.complete };
        let found = queries.search(&query).await.map_err(status)?;
        let items = found.items.into_iter().map(|item| FoundItem {
            item: Some(description(item.description)),
            r#match: item.title_match.into(),
        });
        Ok(Response::new(SearchReply {
            items: items.collect(),
            matched: found.matched,
            timestamp: self.queries.timestamp(),
            model_version: found.model_version,
            shards: Some(found.shards),
        }))
    }

    async fn health(&self, _: Request<HealthRequest>) -> Result<Response<HealthReply>, Status> {
        Ok(Response::new(self.queries.health()))
    }
}
