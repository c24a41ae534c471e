//! The best movies for a user; for one the model does not know, what is popular.

use std::sync::Arc;

use prost::Message as _;
pub use shoal_common::user_query::{SOURCE_FALLBACK, SOURCE_MODEL};
use shoal_common::{ids::EntityId, user_query::ranked_by};
use shoal_proto::v1::{LookupUserReply, RecommendRequest, ScoreKind, ShardsAnswered, TopItemsRequest};

use super::{
    CheckedOptions, GivenId, Model, Options, Queries, Query, QueryError, Target,
    cursor::{Cursor, REACH},
    explain::{Explanation, RatedRows},
    list::Page,
    model::POPULARITY,
    workers::floats,
};
use crate::{cache::CacheKey, merge::Hit, snapshot::Live};

/// `source` of an answer by the model that was kept from an earlier query.
pub const SOURCE_CACHE: &str = "cache";

/// What to recommend to whom.
#[derive(Debug, Clone)]
pub struct Recommend {
    /// The user.
    pub user: GivenId,
    /// What the list is to be like.
    pub options: Options,
    /// Whether an answer may be one that was kept, and may be kept.
    pub use_cache: bool,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// One movie.
#[derive(Debug, Clone, PartialEq)]
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
    /// Where it was asked for.
    pub explanation: Option<Explanation>,
    /// What ranked it: a model's name or `popularity`.
    pub model: &'static str,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommended {
    /// The user; `None` for somebody who is none.
    pub user: Option<EntityId>,
    /// Best first.
    pub recommendations: Vec<Recommendation>,
    /// The version that answered.
    pub model_version: String,
    /// [`SOURCE_MODEL`], [`SOURCE_CACHE`] or [`SOURCE_FALLBACK`].
    pub source: &'static str,
    /// What the list is ordered by: `ranking`, `rating` or, in a fallback, `popularity`.
    pub ranked_by: &'static str,
    /// Item shards asked.
    pub shards: ShardsAnswered,
    /// Asks for what follows, if something does.
    pub next_cursor: Option<String>,
    /// Movies that were named and that the version does not know.
    pub unknown: Vec<EntityId>,
    /// Genres of the filter that no item has of the shards that answered, as the filter names them.
    pub unknown_genres: Vec<String>,
}

impl Recommended {
    /// About how much memory it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        let text =
            |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        let id = |id: &EntityId| match id {
            EntityId::Integer(_) => 0,
            EntityId::Text(text) => text.len(),
        };
        let of_movie = |movie: &Recommendation| {
            let explained = movie.explanation.iter().flat_map(|explanation| &explanation.items);
            let explained: usize =
                explained.map(|part| size_of_val(part) + part.title.len() + id(&part.movie)).sum();
            let sources: usize = movie.explanation.iter().map(|by| size_of_val(&by.sources[..])).sum();
            size_of_val(movie)
                + movie.title.len()
                + id(&movie.movie)
                + text(&movie.genres)
                + explained
                + sources
        };
        size_of_val(self)
            + text(&self.unknown_genres)
            + self.recommendations.iter().map(of_movie).sum::<usize>()
    }

    fn is_whole(&self) -> bool {
        self.source == SOURCE_MODEL && self.shards.failed == 0
    }
}

/// A request that was checked for the version that is to answer it.
#[derive(Debug, Clone)]
struct Checked {
    user: EntityId,
    options: CheckedOptions,
    offset: u32,
    /// The user and all that shapes the list, in a normal form.
    request: Vec<u8>,
}

impl Checked {
    fn new(request: &Recommend, cursor: Option<&Cursor>, live: &Live) -> Result<Self, QueryError> {
        let options = request.options.check(live)?;
        let user = request.user.resolve(live.user_id_kind, "user_id")?;
        let normal = RecommendRequest {
            user_id: Some(user.clone().into()),
            rank_by: options.rank_by.into(),
            include_seen: !options.exclude_seen,
            filter: options.filter.clone(),
            diversity: options.diversity,
            explain: options.explain,
            model: live.model().name().to_owned(),
            ..RecommendRequest::default()
        };
        let normal = normal.encode_to_vec();
        let offset = match cursor {
            Some(cursor) => {
                cursor.check(&normal)?;
                cursor.offset
            }
            None => 0,
        };
        if offset > 0 && options.diversity > 0.0 {
            return Err(QueryError::invalid("cursor", "a diverse list has one page only"));
        }
        Ok(Self { user, options, offset, request: normal })
    }

    fn key(&self, version: &str) -> CacheKey {
        let (request, n) = (self.request.clone(), self.options.n);
        CacheKey { version: version.to_owned(), request, n, offset: self.offset }
    }
}

impl Queries {
    /// Recommends.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend(&self, request: &Recommend) -> Result<Arc<Recommended>, QueryError> {
        let cursor = request.cursor.as_deref().map(Cursor::parse).transpose()?;
        let cursor = &cursor;
        let version = cursor.as_ref().map(|cursor| cursor.version.clone());
        let target = Target { version, model: request.options.model };
        let snapshot = self.snapshot();
        let live = snapshot.serving(&target)?;
        let checked = Checked::new(request, cursor.as_ref(), live)?;
        let (user, n) = (&checked.user, checked.options.n);
        if request.use_cache {
            if let Some(kept) = self.cache.get(&checked.key(&live.version.name)) {
                tracing::debug!(%user, n, "cache HIT");
                // Who asked first may have named the same genres in other letters.
                let unknown_genres = request.options.filter.as_given(&kept.unknown_genres);
                let kept = Recommended::clone(&kept);
                return Ok(Arc::new(Recommended { source: SOURCE_CACHE, unknown_genres, ..kept }));
            }
            tracing::debug!(%user, n, "cache MISS");
        }
        let answer = self.run(target, |query| async move {
            // The snapshot may be another one by now, of another data set.
            let checked = Checked::new(request, cursor.as_ref(), query.live()?)?;
            query.recommend(&checked).await
        });
        let mut answer = answer.await?;
        answer.unknown_genres = request.options.filter.as_given(&answer.unknown_genres);
        let answer = Arc::new(answer);
        let keep = request.use_cache && answer.is_whole();
        if keep && self.cache.put(checked.key(&answer.model_version), Arc::clone(&answer)) {
            tracing::debug!(%user, n, "cache SET");
        }
        Ok(answer)
    }
}

impl Query {
    async fn recommend(&self, checked: &Checked) -> Result<Recommended, QueryError> {
        let Checked { user, options, offset, request } = checked;
        let found = if options.explain || self.live()?.needs_ratings() {
            self.lookup_user_with_ratings(user).await?
        } else {
            self.lookup_user(user).await?
        };
        let rated = options.explain.then(|| RatedRows::of_user(&found));
        let page = Page { offset: *offset, options };
        let mut answer = self.recommend_to(&found, page, rated.as_ref()).await?;
        answer.user = Some(user.clone());
        let end = offset + options.n;
        if answer.next_cursor.is_some() && options.diversity == 0.0 && end < REACH {
            answer.next_cursor = Some(Cursor::new(&answer.model_version, end, request).to_text());
        } else {
            answer.next_cursor = None;
        }
        Ok(answer)
    }

    /// The list for somebody with this side of the query, whoever it is.
    pub(super) async fn recommend_to(
        &self,
        found: &LookupUserReply,
        page: Page<'_>,
        rated: Option<&RatedRows>,
    ) -> Result<Recommended, QueryError> {
        let rank_by = page.options.rank_by;
        let live = self.live()?;
        let (request, source) = self.score_request(found, rank_by, page.options.exclude_seen).await?;
        let by_rating = request.score() == ScoreKind::Rating;
        let list = self.list(request.clone(), page, rated.is_some()).await?;
        let explanations = match rated {
            Some(_) if request.score() == ScoreKind::Blend => self.explain_by_sources(&list.hits)?,
            Some(rated) if by_rating && live.model() == Model::Content => {
                self.explain_by_profile(&list.hits, rated, &floats(&request.profile)).await?
            }
            Some(_) if source == SOURCE_MODEL && scored_by_items(live, &request) => {
                self.explain_by_neighbours(&list.hits, by_rating).await?
            }
            Some(rated) if source == SOURCE_MODEL => self.explain(&list.hits, rated, by_rating).await?,
            _ => Vec::new(),
        };
        let mut recommendations = self.recommendations(list.hits, page.offset, model_of_list(live, source));
        for (movie, explanation) in recommendations.iter_mut().zip(explanations) {
            movie.explanation = Some(explanation);
        }
        Ok(Recommended {
            user: None,
            recommendations,
            model_version: live.version.name.clone(),
            source,
            ranked_by: ranked_by(&request),
            shards: list.shards,
            // Made into one by who knows the query.
            next_cursor: list.more.then(String::new),
            unknown: Vec::new(),
            unknown_genres: list.unknown_genres,
        })
    }

    /// Hits as clients see them, the first of them after `offset` others.
    pub(super) fn recommendations(
        &self,
        hits: Vec<Hit>,
        offset: u32,
        model: &'static str,
    ) -> Vec<Recommendation> {
        let of_hit = |(hit, rank): (Hit, u32)| Recommendation {
            movie: hit.item,
            title: hit.hit.title,
            genres: hit.hit.genres,
            predicted_rating: hit.hit.predicted_rating.map(|rating| self.clamp(rating)),
            score: hit.hit.score,
            rank,
            explanation: None,
            model,
        };
        hits.into_iter().zip(offset + 1..).map(of_hit).collect()
    }

    /// A predicted rating, kept on the data set's scale.
    pub(super) fn clamp(&self, rating: f32) -> f32 {
        let scale = self.live().ok().and_then(Live::scale);
        scale.map_or(rating, |scale| rating.clamp(*scale.start(), *scale.end()))
    }
}

/// What ranked a list of this source.
pub(super) fn model_of_list(live: &Live, source: &str) -> &'static str {
    if source == SOURCE_FALLBACK { POPULARITY } else { live.model().name() }
}

/// Whether scores are sums over the neighbours of items: of a version of neighbours, and of a blend that ranks by the
/// ratings which its item CF version predicts.
fn scored_by_items(live: &Live, request: &TopItemsRequest) -> bool {
    let by_factors = !request.rating_query.is_empty();
    live.has_neighbours()
        || (live.model() == Model::Hybrid && request.score() == ScoreKind::Rating && !by_factors)
}
