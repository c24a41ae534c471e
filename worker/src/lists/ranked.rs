//! Ranks items for blocks of users, as a router and the workers that it asks would for each of them.

use std::sync::{Arc, atomic::AtomicBool};

use rayon::prelude::*;
use shoal_common::{
    letter_case::fold_case,
    user_query::{AnswerSource, Answers, check_blend_rates, popular_request, score_request},
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    self, DatasetInfo, ListsColumn, ListsParameters, ModelVersion, Objective, RankBy, TopItemsRequest,
};
use tokio_util::sync::CancellationToken;

use super::{columns::columns, error::ListsError};
use crate::serve::{
    BestOfShards, Found, ItemFilter, ItemQuery, ItemShard, JoinedItems, RatedItems, Score, UserShard,
    VersionSource, copy,
};

/// Users that are ranked for together: they share each pass over the items.
pub(super) const BLOCK_USERS: usize = 32;

/// Genres that an error names.
const GENRES_NAMED_MAX: usize = 30;

/// How items are ranked for everybody.
#[derive(Debug)]
pub(super) struct Ranking {
    items: Vec<Arc<ItemShard>>,
    /// All of them together, for the queries that it answers.
    joined: Option<JoinedItems>,
    rating_mean: f64,
    /// The lowest and the highest rating.
    scale: Option<(f32, f32)>,
    answers: Answers,
    /// Whether ratings are predicted from profiles.
    has_profiles: bool,
    n: u32,
    rank_by: RankBy,
    exclude_seen: bool,
    known_users_only: bool,
    version: ModelVersion,
    with_predicted_rating: bool,
    filter: Option<Arc<ItemFilter>>,
}

/// The list of a user.
#[derive(Debug)]
pub(super) struct UserList {
    /// The user's row in the shard.
    pub(super) row: usize,
    /// What made the list.
    pub(super) source: AnswerSource,
    /// The items, best first.
    pub(super) items: Vec<Found>,
}

impl UserList {
    /// Whether the version does not know the user, or nothing that goes with what the user has rated.
    pub(super) fn is_fallback(&self) -> bool {
        self.source == AnswerSource::FallbackPopular
    }
}

/// Lists of some users, in the order of rows.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) lists: Vec<UserList>,
    /// Users who get no list because the version does not know them, or nothing for them.
    pub(super) left_out: u64,
}

impl Ranking {
    /// Of a version whose item shards are `items`, in their order.
    pub(super) fn new(
        source: &VersionSource,
        dataset: &DatasetInfo,
        parameters: &ListsParameters,
        items: Vec<Arc<ItemShard>>,
    ) -> Result<Self, ListsError> {
        let answers = source.kind.answers();
        check_genres(parameters.filter.as_ref(), &items)?;
        let filter = parameters.filter.clone().map(ItemFilter::try_from).transpose()?;
        let columns = columns(parameters);
        let join = |objective| JoinedItems::new(&items, objective, filter.as_ref());
        // As requests choose: a version that was trained for ratings alone has no other order.
        let joined = match (answers, parameters.rank_by()) {
            (Answers::ByFactors, RankBy::Rating) => join(Objective::Rating),
            (Answers::ByFactors, _) => join(Objective::Ranking).or_else(|| join(Objective::Rating)),
            (Answers::ByNeighbours | Answers::ByBlend, _) => None,
        };
        Ok(Self {
            items,
            joined,
            rating_mean: source.empty_version().rating_mean,
            scale: (dataset.ratings > 0).then_some((dataset.rating_min as f32, dataset.rating_max as f32)),
            answers,
            version: source.version.clone(),
            has_profiles: source.kind == ModelKind::Content,
            n: parameters.n,
            rank_by: parameters.rank_by(),
            exclude_seen: !parameters.include_seen,
            known_users_only: parameters.known_users_only,
            with_predicted_rating: columns.contains(&ListsColumn::PredictedRating),
            filter: filter.map(Arc::new),
        })
    }

    /// The shard of an item that was found.
    pub(super) fn shard(&self, found: &Found) -> &ItemShard {
        &self.items[found.shard]
    }

    /// The predicted rating of an item that was found, as it is served: on the data set's scale.
    pub(super) fn predicted_rating(&self, found: &Found) -> Option<f32> {
        let clamp = |rating: f32| self.scale.map_or(rating, |(low, high)| rating.clamp(low, high));
        found.hit.predicted_rating.map(clamp)
    }

    /// The lists of these rows' users, block by block on all threads of the pool.
    pub(super) fn blocks(
        &self,
        users: &UserShard,
        rows: &[usize],
        cancelled: &CancellationToken,
    ) -> Result<Vec<Block>, ListsError> {
        let blocks = rows.par_chunks(BLOCK_USERS).map(|rows| {
            if cancelled.is_cancelled() { Err(ListsError::Cancelled) } else { self.block(users, rows) }
        });
        blocks.collect()
    }

    fn block(&self, users: &UserShard, rows: &[usize]) -> Result<Block, ListsError> {
        let mut block = Block::default();
        let mut queries = Vec::with_capacity(rows.len());
        for &row in rows {
            let vectors = users.vectors(row);
            if self.known_users_only && vectors.train_count == 0 {
                block.left_out += 1;
                continue;
            }
            let user = vectors.to_message(self.answers != Answers::ByFactors);
            check_blend_rates(&self.version, &user, self.rank_by)?;
            let (mut request, source) = score_request(self.answers, &user, self.rank_by, self.exclude_seen)?;
            request.n = self.n;
            request.with_predicted_rating &= self.with_predicted_rating;
            let mut query = ItemQuery::from_request(&request)?;
            query.filter.clone_from(&self.filter);
            if self.has_profiles && query.score == Score::Rating {
                query.profile = self.profile(&query.rated)?;
            }
            queries.push(query);
            block.lists.push(UserList { row, source, items: Vec::new() });
        }
        let ranked = self.ranked(queries.clone())?;
        for (list, items) in block.lists.iter_mut().zip(ranked) {
            list.items = items;
        }
        self.fall_back(&mut block, &queries)?;
        Ok(block)
    }

    /// Gives those what is popular to whom the version has nothing to list, as a router does; `queries` are the lists'.
    fn fall_back(&self, block: &mut Block, queries: &[ItemQuery]) -> Result<(), ListsError> {
        let is_empty = |list: &UserList| list.source == AnswerSource::Model && list.items.is_empty();
        let mut popular = Vec::new();
        for (_, query) in block.lists.iter().zip(queries).filter(|(list, _)| is_empty(list)) {
            let request = TopItemsRequest { n: self.n, ..popular_request(copy(&query.exclude)) };
            popular.push(ItemQuery { filter: query.filter.clone(), ..ItemQuery::from_request(&request)? });
        }
        if popular.is_empty() {
            return Ok(());
        }
        let mut ranked = self.ranked(popular)?.into_iter();
        for list in block.lists.iter_mut().filter(|list| is_empty(list)) {
            // Where the filter leaves nothing at all, the version has said so.
            if let Some(items) = ranked.next().filter(|items| !items.is_empty()) {
                (list.source, list.items) = (AnswerSource::FallbackPopular, items);
            }
        }
        if self.known_users_only {
            let lists = block.lists.len();
            block.lists.retain(|list| !list.is_fallback());
            block.left_out += (lists - block.lists.len()) as u64;
        }
        Ok(())
    }

    /// The list of each query.
    fn ranked(&self, queries: Vec<ItemQuery>) -> Result<Vec<Vec<Found>>, ListsError> {
        // A block takes milliseconds: it is between blocks that a step ends early.
        let never = AtomicBool::new(false);
        let is_joined = |query: &ItemQuery| self.joined.as_ref().is_some_and(|joined| joined.answers(query));
        let order: Vec<bool> = queries.iter().map(is_joined).collect();
        let (of_joined, of_shards): (Vec<_>, Vec<_>) = queries.into_iter().partition(is_joined);
        let by_joined = match &self.joined {
            Some(joined) => joined.top_items(&of_joined, self.rating_mean, &never)?,
            None => Some(Vec::new()),
        };
        let shards = self.items.iter().map(|shard| Some(&**shard));
        let best = BestOfShards::one_by_one(shards, &of_shards, self.rating_mean, &never)?;
        let by_shards = best.ok_or(ListsError::Cancelled)?.merged(&self.items, &of_shards);
        let (mut by_joined, mut by_shards) =
            (by_joined.ok_or(ListsError::Cancelled)?.into_iter(), by_shards.into_iter());
        let next = |joined: bool| if joined { by_joined.next() } else { by_shards.next() };
        Ok(order.into_iter().filter_map(next).collect())
    }

    /// What somebody has rated as a profile: the shards' parts, added in the order of shards.
    fn profile(&self, rated: &RatedItems) -> Result<Vec<f32>, ListsError> {
        let mut sum: Vec<f32> = Vec::new();
        for shard in &self.items {
            let part = shard.profile_part(rated)?;
            sum.resize(sum.len().max(part.len()), 0.0);
            sum.iter_mut().zip(&part).for_each(|(sum, value)| *sum += value);
        }
        Ok(sum)
    }
}

/// Refuses a genre that no item has: a filter by it would leave nothing, or leave out nothing.
fn check_genres(filter: Option<&v1::ItemFilter>, items: &[Arc<ItemShard>]) -> Result<(), ListsError> {
    let named = filter.iter().flat_map(|filter| filter.genres.iter().chain(&filter.exclude_genres));
    for genre in named {
        let folded = fold_case(genre);
        if items.iter().any(|shard| shard.descriptions().has_genre(&folded)) {
            continue;
        }
        let mut genres: Vec<&str> =
            items.iter().flat_map(|shard| shard.descriptions().genre_names()).collect();
        genres.sort_unstable();
        genres.dedup();
        let (known, more) = (genres.len(), genres.len().saturating_sub(GENRES_NAMED_MAX));
        genres.truncate(GENRES_NAMED_MAX);
        let of = match (known, more) {
            (0, _) => "the data set has no genres".to_owned(),
            (_, 0) => format!("the genres are {}", genres.join(", ")),
            _ => format!("the genres are {} and {more} more", genres.join(", ")),
        };
        return Err(ListsError::Request(format!("no item has the genre '{genre}'; {of}")));
    }
    Ok(())
}
