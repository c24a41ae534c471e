//! The best items for a user; for one whom the model does not know, what is popular.

use std::sync::Arc;

use prost::Message as _;
use shoal_common::{ids::EntityId, user_query::AnswerSource};
use shoal_proto::v1::RecommendRequest;

use super::{
    CheckedOptions, GivenId, Options, Queries,
    cursor::{Cursor, REACH},
    list::{Page, RankedList, rank},
};
use crate::{
    answer::Recommended,
    cache::CacheKey,
    error::{Parameter, QueryError},
    rated_rows::RatedRows,
    shard_calls::ShardCalls,
    snapshot::{Live, Target},
};

/// What to recommend to whom.
#[derive(Debug, Clone)]
pub struct Recommend {
    /// Id of the user, as it was given.
    pub user: GivenId,
    /// What the list is to be like.
    pub options: Options,
    /// Whether an answer may be one that was kept, and may be kept.
    pub use_cache: bool,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
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
        let user = request.user.resolve(live.user_id_kind, Parameter::UserId)?;
        let normal = RecommendRequest {
            user_id: Some(user.clone().into()),
            rank_by: options.rank_by.into(),
            include_seen: !options.exclude_seen,
            filter: options.filter.clone(),
            diversity: options.diversity,
            explain: options.explain,
            model: live.model.name().to_owned(),
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
            return Err(QueryError::invalid(Parameter::Cursor, "a diverse list has one page only"));
        }
        Ok(Self { user, options, offset, request: normal })
    }

    fn key(&self, version: &str) -> CacheKey {
        let (request, n) = (self.request.clone(), self.options.n);
        CacheKey { version: version.to_owned(), request, n, offset: self.offset }
    }

    /// Asks for what follows this page of the version's list.
    fn next_cursor(&self, version: &str) -> Option<String> {
        let end = self.offset + self.options.n;
        let can_follow = self.options.diversity == 0.0 && end < REACH;
        can_follow.then(|| Cursor::new(version, end, &self.request).to_text())
    }
}

impl Queries {
    /// The best items for a user.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend(&self, request: &Recommend) -> Result<Arc<Recommended>, QueryError> {
        let cursor = request.cursor.as_deref().map(Cursor::parse).transpose()?;
        let version = cursor.as_ref().map(|cursor| cursor.version.clone());
        let target = Target { version, model: request.options.model };
        let check = |live: &Live| Checked::new(request, cursor.as_ref(), live);
        let kept = |live: &Live, checked: &Checked| {
            request.use_cache.then(|| self.kept(&live.version.name, checked)).flatten()
        };
        self.run_unless_kept(&target, check, kept, |calls, checked| async move {
            let answer = Arc::new(recommend(&calls, &checked).await?);
            let keep = request.use_cache && answer.is_whole();
            if keep && self.cache.put(checked.key(&answer.model_version), Arc::clone(&answer)) {
                tracing::debug!(user = %checked.user, n = checked.options.n, "cache SET");
            }
            Ok(answer)
        })
        .await
    }

    /// The answer that was kept for this, as it is given to who asks now.
    fn kept(&self, version: &str, checked: &Checked) -> Option<Arc<Recommended>> {
        let (user, n) = (&checked.user, checked.options.n);
        let Some(kept) = self.cache.get(&checked.key(version)) else {
            tracing::debug!(%user, n, "cache MISS");
            return None;
        };
        tracing::debug!(%user, n, "cache HIT");
        // Who asked first may have named the same genres in other letters.
        let unknown_genres = checked.options.as_given(&kept.unknown_genres);
        Some(Arc::new(Recommended {
            source: AnswerSource::Cache,
            unknown_genres,
            ..Recommended::clone(&kept)
        }))
    }
}

async fn recommend(calls: &ShardCalls, checked: &Checked) -> Result<Recommended, QueryError> {
    let Checked { user, options, offset, .. } = checked;
    let with_ratings = options.explain || calls.live.needs_ratings();
    let found = calls.lookup_user(user, with_ratings).await?;
    let rated = options.explain.then(|| RatedRows::of_user(&found));
    let page = Page { offset: *offset, options };
    let RankedList { recommendations, source, ranked_by, shards, more, unknown_genres } =
        rank(calls, &found, page, rated.as_ref()).await?;
    let version = &calls.live.version.name;
    Ok(Recommended {
        user: Some(user.clone()),
        recommendations,
        model_version: version.clone(),
        source,
        ranked_by,
        shards,
        next_cursor: if more { checked.next_cursor(version) } else { None },
        unknown: Vec::new(),
        unknown_genres,
    })
}
