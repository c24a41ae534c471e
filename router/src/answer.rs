//! What queries answer, whatever face says it and whether it was kept or made.

use shoal_common::{
    ids::EntityId,
    user_query::{AnswerSource, RankedBy},
};
use shoal_core::ModelKind;
use shoal_proto::v1::{ShardsAnswered, TitleMatch};

/// What ranked an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranker {
    /// A model's live version.
    Model(ModelKind),
    /// Popularity, for somebody whom the model does not know.
    Popularity,
}

impl Ranker {
    /// The name in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Model(model) => model.name(),
            Self::Popularity => "popularity",
        }
    }
}

/// What a rated item adds to a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// Id of the item that the user has rated.
    pub item: EntityId,
    /// Title of the item; empty where the catalogue has none.
    pub title: String,
    /// What it adds; may be below 0.
    pub contribution: f32,
}

/// What a source of a blend adds to a score.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceContribution {
    /// A model's name or `popularity`.
    pub model: String,
    /// How far up the source's own scores the item's stands: 0 to 1.
    pub level: f32,
    /// What the source counts for.
    pub weight: f32,
    /// Weight times level.
    pub contribution: f32,
}

/// Why a score is what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The sum over all rated items; of a blend over its sources.
    pub score: f32,
    /// The items that add most, most first; empty for a blend.
    pub items: Vec<Contribution>,
    /// Of a blend, in the version's order.
    pub sources: Vec<SourceContribution>,
}

/// One item of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommendation {
    /// Id of the item.
    pub item: EntityId,
    /// Title of the item; empty where the catalogue has none.
    pub title: String,
    /// Genres of the item, or its categories.
    pub genres: Vec<String>,
    /// On the data set's scale; absent where the version does not predict ratings.
    pub predicted_rating: Option<f32>,
    /// What the list is ordered by.
    pub score: f32,
    /// Place in the list, from 1.
    pub rank: u32,
    /// Where it was asked for.
    pub explanation: Option<Explanation>,
    /// What the score comes from, and so how it is explained.
    pub ranker: Ranker,
}

/// A list for a user or a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommended {
    /// The user; `None` for a session.
    pub user: Option<EntityId>,
    /// The items, best first.
    pub recommendations: Vec<Recommendation>,
    /// The version that answered.
    pub model_version: String,
    /// Where the list comes from; never [`AnswerSource::Baseline`].
    pub source: AnswerSource,
    /// What the list is ordered by.
    pub ranked_by: RankedBy,
    /// How many item shards were asked, and how many answered.
    pub shards: ShardsAnswered,
    /// Asks for what follows, if something does.
    pub next_cursor: Option<String>,
    /// Items that a session named and that the version does not know.
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
        let explained = |explanation: &Explanation| {
            let items = &explanation.items;
            let items: usize =
                items.iter().map(|part| size_of_val(part) + part.title.len() + id(&part.item)).sum();
            let sources = &explanation.sources;
            items + sources.iter().map(|source| size_of_val(source) + source.model.len()).sum::<usize>()
        };
        let of_item = |item: &Recommendation| {
            size_of_val(item)
                + item.title.len()
                + id(&item.item)
                + text(&item.genres)
                + item.explanation.as_ref().map_or(0, explained)
        };
        size_of_val(self)
            + text(&self.unknown_genres)
            + self.recommendations.iter().map(of_item).sum::<usize>()
    }

    /// Whether the model made it from every shard.
    pub(crate) fn is_whole(&self) -> bool {
        self.source == AnswerSource::Model && self.shards.failed == 0
    }
}

/// One user's list of a batch.
#[derive(Debug, Clone)]
pub struct UserRecommendations {
    /// Id of the user.
    pub user: EntityId,
    /// The items, best first.
    pub recommendations: Vec<Recommendation>,
    /// As in a single answer.
    pub source: AnswerSource,
    /// As in a single answer.
    pub ranked_by: RankedBy,
}

/// The lists of a batch.
#[derive(Debug, Clone)]
pub struct RecommendedBatch {
    /// In the order of the request.
    pub results: Vec<UserRecommendations>,
    /// The version that answered.
    pub model_version: String,
    /// Item shards asked: the worst of all passes.
    pub shards: ShardsAnswered,
    /// As in a single answer.
    pub unknown_genres: Vec<String>,
}

/// An item like another.
#[derive(Debug, Clone)]
pub struct SimilarItem {
    /// Id of the item.
    pub item: EntityId,
    /// Title of the item; empty where the catalogue has none.
    pub title: String,
    /// Genres of the item, or its categories.
    pub genres: Vec<String>,
    /// Cosine of the factors, −1 to 1; of item CF and content what makes neighbours, and of a blend their weighted sum,
    /// above 0 to 1.
    pub similarity: f32,
    /// Place in the list, from 1.
    pub rank: u32,
    /// The model that found it.
    pub model: ModelKind,
}

/// The items like an item.
#[derive(Debug, Clone)]
pub struct SimilarItems {
    /// The item asked about.
    pub item: EntityId,
    /// Most similar first, never the item itself.
    pub similar: Vec<SimilarItem>,
    /// The model, where it knows of no item that is like this one.
    pub nothing_known_by: Option<ModelKind>,
    /// The version that answered.
    pub model_version: String,
    /// How many item shards were asked, and how many answered.
    pub shards: ShardsAnswered,
}

/// The rating that a user would give an item.
#[derive(Debug, Clone)]
pub struct Predicted {
    /// Id of the user.
    pub user: EntityId,
    /// Id of the item.
    pub item: EntityId,
    /// Title of the item; empty where the catalogue has none.
    pub title: String,
    /// Genres of the item, or its categories.
    pub genres: Vec<String>,
    /// On the data set's scale.
    pub predicted_rating: f32,
    /// The version that answered.
    pub model_version: String,
    /// The model, or [`AnswerSource::Baseline`] where it has no prediction.
    pub source: AnswerSource,
}

/// An item of a popular list.
#[derive(Debug, Clone)]
pub struct PopularItem {
    /// Id of the item.
    pub item: EntityId,
    /// Title of the item; empty where the catalogue has none.
    pub title: String,
    /// Genres of the item, or its categories.
    pub genres: Vec<String>,
    /// What the list is ordered by.
    pub score: f32,
    /// Place in the list, from 1.
    pub rank: u32,
}

/// A popular list.
#[derive(Debug, Clone)]
pub struct PopularItems {
    /// The items, best first.
    pub items: Vec<PopularItem>,
    /// The version whose data set it is of.
    pub model_version: String,
    /// How many item shards were asked, and how many answered.
    pub shards: ShardsAnswered,
    /// Genres of the filter that no item has of the shards that answered, as the filter names them.
    pub unknown_genres: Vec<String>,
}

/// What is known of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Id of the item.
    pub item: EntityId,
    /// Title of the item; empty where the catalogue has none.
    pub title: String,
    /// Genres of the item, or its categories.
    pub genres: Vec<String>,
    /// Of the release, where it is known.
    pub year: Option<i32>,
    /// All ratings of the data set.
    pub ratings: u64,
    /// The damped mean rating, by which popular lists are ordered; absent without a rating.
    pub popularity: Option<f32>,
}

/// One item by its id.
#[derive(Debug, Clone)]
pub struct Described {
    /// What is known of the item.
    pub description: Description,
    /// The version whose data set it is of.
    pub model_version: String,
}

/// What a user has rated.
#[derive(Debug, Clone)]
pub struct RatedItems {
    /// The user.
    pub user: EntityId,
    /// The highest ratings first, then by the version's order of items; no rating where the data set has none of the pair.
    pub items: Vec<(Description, Option<f32>)>,
    /// All that the user has rated, of the training ratings.
    pub total: u64,
    /// The version that knows it.
    pub model_version: String,
}

/// An item whose title was searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundItem {
    /// What is known of the item.
    pub description: Description,
    /// How its title answers to the words.
    pub title_match: TitleMatch,
}

/// Items by the words of their titles.
#[derive(Debug, Clone)]
pub struct FoundItems {
    /// The closer first, then those with more ratings, then by ascending id.
    pub items: Vec<FoundItem>,
    /// All that match, of the shards that answered.
    pub matched: u64,
    /// The version whose data set they are of.
    pub model_version: String,
    /// How many item shards were asked, and how many answered.
    pub shards: ShardsAnswered,
}
