//! The best movies for a user; for one the model does not know, what is popular.

use bytes::Bytes;
use shoal_common::ids::EntityId;
use shoal_proto::v1::{LookupUserReply, Objective, RankBy, ScoreKind, ShardsAnswered, TopItemsRequest};

use super::{CountRange, GivenId, Queries, Query, QueryError, shards_answered, workers::Best};

/// `source` of an answer by the model.
pub const SOURCE_MODEL: &str = "model";
/// `source` of an answer for a user whom the model does not know.
pub const SOURCE_FALLBACK: &str = "fallback_popular";

/// How many movies may be asked for.
pub const RECOMMEND_COUNT: CountRange = CountRange { default: 10, max: 100 };

/// What to recommend to whom.
#[derive(Debug, Clone)]
pub struct Recommend {
    /// The user.
    pub user: GivenId,
    /// How many, 1 to 100; 10 by default.
    pub n: Option<i64>,
    /// By which scores.
    pub rank_by: RankBy,
    /// Rather no answer than one without some shards.
    pub complete: bool,
}

/// One movie.
#[derive(Debug, Clone)]
pub struct Recommendation {
    /// Which.
    pub movie: EntityId,
    /// Its title.
    pub title: String,
    /// Its genres.
    pub genres: Vec<String>,
    /// On the data set's scale; absent where the version does not predict ratings.
    pub predicted_rating: Option<f32>,
    /// What the list is ordered by.
    pub score: f32,
    /// From 1.
    pub rank: u32,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Recommended {
    /// The user.
    pub user: EntityId,
    /// Best first.
    pub recommendations: Vec<Recommendation>,
    /// The version that answered.
    pub model_version: String,
    /// [`SOURCE_MODEL`] or [`SOURCE_FALLBACK`].
    pub source: &'static str,
    /// Item shards asked.
    pub shards: ShardsAnswered,
}

impl Queries {
    /// Recommends.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend(&self, request: &Recommend) -> Result<Recommended, QueryError> {
        self.run(|query| async move { query.recommend(request).await }).await
    }
}

impl Query {
    async fn recommend(&self, request: &Recommend) -> Result<Recommended, QueryError> {
        let n = RECOMMEND_COUNT.check(request.n)?;
        let user = request.user.resolve(self.live()?.user_id_kind, "user_id")?;
        let found = self.lookup_user(&user).await?;
        let (top_items, source) = if found.known {
            (score_request(&found, request.rank_by, n)?, SOURCE_MODEL)
        } else {
            let popular = TopItemsRequest {
                score: ScoreKind::Popularity.into(),
                n,
                // A user whose ratings are all held out has seen something all the same.
                exclude_rows: found.seen_items,
                ..TopItemsRequest::default()
            };
            (popular, SOURCE_FALLBACK)
        };
        let Best { hits, failed, total } = self.best_items(top_items, request.complete).await?;
        let ranks = 1..;
        let recommendations = hits.into_iter().zip(ranks).map(|(hit, rank)| Recommendation {
            movie: hit.item,
            title: hit.hit.title,
            genres: hit.hit.genres,
            predicted_rating: hit.hit.predicted_rating.map(|rating| self.clamp(rating)),
            score: hit.hit.score,
            rank,
        });
        Ok(Recommended {
            user,
            recommendations: recommendations.collect(),
            model_version: self.live()?.version.name.clone(),
            source,
            shards: shards_answered(total, failed),
        })
    }

    /// A predicted rating, kept on the data set's scale.
    pub(super) fn clamp(&self, rating: f32) -> f32 {
        let Some(live) = &self.snapshot.live else { return rating };
        rating.clamp(live.dataset.rating_min as f32, live.dataset.rating_max as f32)
    }
}

fn score_request(user: &LookupUserReply, rank_by: RankBy, n: u32) -> Result<TopItemsRequest, QueryError> {
    let (has_ranking, has_rating) = (!user.ranking_factors.is_empty(), !user.rating_factors.is_empty());
    let by_rating = match rank_by {
        RankBy::Rating if !has_rating => {
            return Err(QueryError::invalid(
                "rank_by",
                "the live version has no rating factors; rank by 'ranking'",
            ));
        }
        RankBy::Ranking if !has_ranking => {
            return Err(QueryError::invalid(
                "rank_by",
                "the live version has no ranking factors; rank by 'rating'",
            ));
        }
        RankBy::Rating => true,
        RankBy::Ranking => false,
        RankBy::Unspecified => !has_ranking,
    };
    Ok(TopItemsRequest {
        score: if by_rating { ScoreKind::Rating } else { ScoreKind::Ranking }.into(),
        n,
        query: if by_rating { Bytes::new() } else { user.ranking_factors.clone() },
        query_objective: Objective::Ranking.into(),
        rating_query: user.rating_factors.clone(),
        rating_bias: user.rating_bias,
        exclude_rows: user.seen_items.clone(),
        with_predicted_rating: has_rating,
        ..TopItemsRequest::default()
    })
}
