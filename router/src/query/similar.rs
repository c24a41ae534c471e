//! Movies like a movie: by the cosine of their factors, by the neighbours that the version has stored, or both.

use bytes::Bytes;
use shoal_common::ids::EntityId;
use shoal_proto::v1::{LookupItemReply, Objective, ScoreKind, ShardsAnswered, TopItemsRequest};

use super::{CountRange, GivenId, Model, Queries, Query, QueryError, Target, shards_answered, workers::Best};

/// How many movies may be asked for.
pub const SIMILAR_COUNT: CountRange = CountRange { default: 10, max: 50 };

/// What to look for.
#[derive(Debug, Clone)]
pub struct Similar {
    /// The movie.
    pub movie: GivenId,
    /// How many, 1 to 50; 10 by default.
    pub n: Option<i64>,
    /// Rather no answer than one without some shards.
    pub complete: bool,
    /// Which model finds them; the default one where none is named.
    pub model: Option<Model>,
}

/// One movie.
#[derive(Debug, Clone)]
pub struct SimilarMovie {
    /// Which.
    pub movie: EntityId,
    /// Its title.
    pub title: String,
    /// Its genres.
    pub genres: Vec<String>,
    /// Cosine of the factors, −1 to 1; of item CF and content what makes neighbours, and of a blend their weighted sum,
    /// above 0 to 1.
    pub similarity: f32,
    /// From 1.
    pub rank: u32,
    /// Which model found it.
    pub model: &'static str,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct SimilarItems {
    /// The movie asked about.
    pub movie: EntityId,
    /// Most similar first, never the movie itself.
    pub similar: Vec<SimilarMovie>,
    /// The version that answered.
    pub model_version: String,
    /// Item shards asked.
    pub shards: ShardsAnswered,
}

impl Queries {
    /// Finds similar movies.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn similar(&self, request: &Similar) -> Result<SimilarItems, QueryError> {
        self.run(Target::model(request.model), |query| async move { query.similar(request).await }).await
    }
}

impl Query {
    async fn similar(&self, request: &Similar) -> Result<SimilarItems, QueryError> {
        let n = SIMILAR_COUNT.check(request.n)?;
        let movie = request.movie.resolve(self.live()?.item_id_kind, "movie_id")?;
        let found = self.lookup_item(&movie).await?;
        if !found.known {
            return Err(QueryError::UnknownMovie(movie));
        }
        let live = self.live()?;
        let top_items = match live.model() {
            Model::Als => cosine(found),
            Model::ItemCf | Model::Content => neighbours(found),
            Model::Hybrid => likeness(found),
        };
        let top_items = TopItemsRequest { n, ..top_items };
        let Best { hits, failed, total, .. } = self.best_items(top_items, request.complete).await?;
        let ranks = 1..;
        let similar = hits.into_iter().zip(ranks).map(|(hit, rank)| SimilarMovie {
            movie: hit.item,
            title: hit.hit.title,
            genres: hit.hit.genres,
            similarity: hit.hit.score,
            rank,
            model: live.model().name(),
        });
        Ok(SimilarItems {
            movie,
            similar: similar.collect(),
            model_version: live.version.name.clone(),
            shards: shards_answered(total, failed),
        })
    }
}

/// By the cosine of factors.
fn cosine(found: LookupItemReply) -> TopItemsRequest {
    let (query, objective) = if found.ranking_factors.is_empty() {
        (found.rating_factors, Objective::Rating)
    } else {
        (found.ranking_factors, Objective::Ranking)
    };
    TopItemsRequest {
        score: ScoreKind::Cosine.into(),
        query,
        query_objective: objective.into(),
        exclude_rows: Bytes::copy_from_slice(&found.row.to_le_bytes()),
        ..TopItemsRequest::default()
    }
}

/// What each version of a blend calls alike, weighted. ALS knows nothing of a movie without training ratings.
fn likeness(found: LookupItemReply) -> TopItemsRequest {
    let (rows, likeness) = (found.neighbour_rows.clone(), found.similarities.clone());
    let known = found.train_count > 0;
    let by_factors = cosine(found);
    TopItemsRequest {
        score: ScoreKind::BlendLikeness.into(),
        query: if known { by_factors.query.clone() } else { Bytes::new() },
        listed_rows: rows,
        listed_scores: likeness,
        ..by_factors
    }
}

/// The neighbours as they are stored, which the movie itself is not one of.
fn neighbours(found: LookupItemReply) -> TopItemsRequest {
    TopItemsRequest {
        score: ScoreKind::Listed.into(),
        listed_rows: found.neighbour_rows,
        listed_scores: found.similarities,
        ..TopItemsRequest::default()
    }
}
