//! The JSON of this face's answers.

use serde::Serialize;
use shoal_core::ModelKind;
use shoal_proto::v1::TitleMatch;
use utoipa::ToSchema;

use crate::{
    answer::{
        self, Described, Description, Explanation, Predicted, RatedItems, Recommended, RecommendedBatch,
    },
    http::answers::{Id, Shards, SourceBody},
    words::Words,
};

/// What a rated item adds to a score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ItemContribution {
    item_id: Id,
    title: String,
    /// May be below 0.
    contribution: f32,
}

/// Why a score is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ItemExplanation {
    /// The sum over all rated items; of `hybrid` over its sources.
    score: f32,
    /// The items that add most, most first; empty for `hybrid`.
    items: Vec<ItemContribution>,
    /// What each source of a blend adds; for `hybrid` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    sources: Vec<SourceBody>,
}

impl From<&Explanation> for ItemExplanation {
    fn from(explanation: &Explanation) -> Self {
        let items = explanation.items.iter().map(|part| ItemContribution {
            item_id: (&part.item).into(),
            title: part.title.clone(),
            contribution: part.contribution,
        });
        let sources = explanation.sources.iter().map(Into::into);
        Self { score: explanation.score, items: items.collect(), sources: sources.collect() }
    }
}

/// A recommended item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecommendedItem {
    item_id: Id,
    title: String,
    categories: Vec<String>,
    /// On the data set's scale; null where the version predicts no ratings.
    predicted_rating: Option<f32>,
    /// What the list is ordered by.
    score: f32,
    /// Place in the list, from 1.
    #[schema(minimum = 1)]
    rank: u32,
    /// What ranked it: a model, or `popularity` in a fallback.
    model: &'static str,
    /// Only where the request has `explain=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    explanation: Option<ItemExplanation>,
}

fn items(found: &[answer::Recommendation]) -> Vec<RecommendedItem> {
    let item = |item: &answer::Recommendation| RecommendedItem {
        item_id: (&item.item).into(),
        title: item.title.clone(),
        categories: item.genres.clone(),
        predicted_rating: item.predicted_rating,
        score: item.score,
        rank: item.rank,
        model: item.ranker.name(),
        explanation: item.explanation.as_ref().map(Into::into),
    };
    found.iter().map(item).collect()
}

/// A list for a user or a session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": 1,
    "items": [{
        "item_id": 260, "title": "Star Wars: Episode IV - A New Hope (1977)",
        "categories": ["Action", "Adventure", "Sci-Fi"], "predicted_rating": 4.62, "score": 0.97, "rank": 1,
        "model": ModelKind::Als.name()
    }],
    "timestamp": "2026-11-24T10:15:00.123Z", "model_version": "als_model_v1_20261124_101500",
    "source": "model", "ranked_by": "ranking", "shards": { "total": 16, "ok": 16, "failed": 0 }
}))]
pub(super) struct Recommendations {
    /// Null for a session.
    user_id: Option<Id>,
    /// The items, best first.
    items: Vec<RecommendedItem>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    /// `model`, `cache` (the model's, kept from an earlier query) or `fallback_popular`.
    source: &'static str,
    /// What the list is ordered by: `ranking` (the model's own order), `rating` (predicted ratings) or, in a fallback,
    /// `popularity`.
    ranked_by: &'static str,
    shards: Shards,
    /// Hand it back as `cursor` for what follows; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// Items of the session that the version does not know; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_items: Vec<Id>,
    /// Categories that the filter names and no item has of the shards that answered; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_categories: Vec<String>,
}

impl Recommendations {
    pub(super) fn new(found: &Recommended, timestamp: String) -> Self {
        Self {
            user_id: found.user.as_ref().map(Into::into),
            items: items(&found.recommendations),
            timestamp,
            model_version: found.model_version.clone(),
            source: found.source.name(),
            ranked_by: found.ranked_by.name(),
            shards: found.shards.into(),
            next_cursor: found.next_cursor.clone(),
            unknown_items: found.unknown.iter().map(Into::into).collect(),
            unknown_categories: found.unknown_genres.clone(),
        }
    }
}

/// One user's list of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecommendationsOfUser {
    user_id: Id,
    /// The items, best first.
    items: Vec<RecommendedItem>,
    /// `model` or `fallback_popular`.
    source: &'static str,
    /// As in a single answer.
    ranked_by: &'static str,
}

/// The lists of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchOfRecommendations {
    /// In the order of the request.
    results: Vec<RecommendationsOfUser>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    shards: Shards,
    /// As in a single answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_categories: Vec<String>,
}

impl BatchOfRecommendations {
    pub(super) fn new(found: &RecommendedBatch, timestamp: String) -> Self {
        let results = found.results.iter().map(|of| RecommendationsOfUser {
            user_id: (&of.user).into(),
            items: items(&of.recommendations),
            source: of.source.name(),
            ranked_by: of.ranked_by.name(),
        });
        Self {
            results: results.collect(),
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
            unknown_categories: found.unknown_genres.clone(),
        }
    }
}

/// An item like another.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SimilarItem {
    item_id: Id,
    title: String,
    categories: Vec<String>,
    /// Cosine of the factors, −1 to 1; of `item_cf` and `content` the neighbour's similarity, of `hybrid` the
    /// weighted sum of what its versions say, above 0 to 1.
    similarity: f32,
    /// Place in the list, from 1.
    #[schema(minimum = 1)]
    rank: u32,
    /// The model that found it.
    model: &'static str,
}

/// The items like an item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SimilarItems {
    /// The item asked about.
    item_id: Id,
    /// Most similar first, never the item itself.
    items: Vec<SimilarItem>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    shards: Shards,
    /// That the model knows of nothing alike; absent where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remark: Option<String>,
}

impl SimilarItems {
    pub(super) fn new(found: &answer::SimilarItems, timestamp: String) -> Self {
        let items = found.similar.iter().map(|item| SimilarItem {
            item_id: (&item.item).into(),
            title: item.title.clone(),
            categories: item.genres.clone(),
            similarity: item.similarity,
            rank: item.rank,
            model: item.model.name(),
        });
        Self {
            item_id: (&found.item).into(),
            items: items.collect(),
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
            remark: found.nothing_known_by.map(|model| Words::OWN.nothing_alike(model)),
        }
    }
}

/// An item of a popular list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PopularItem {
    item_id: Id,
    title: String,
    categories: Vec<String>,
    /// What the list is ordered by: the damped mean rating, the trend, or the year.
    score: f32,
    /// Place in the list, from 1.
    #[schema(minimum = 1)]
    rank: u32,
}

/// A popular list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PopularItems {
    /// The items, best first.
    items: Vec<PopularItem>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version whose data set the list is of.
    model_version: String,
    shards: Shards,
    /// Categories that the filter names and no item has of the shards that answered; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_categories: Vec<String>,
}

impl PopularItems {
    pub(super) fn new(found: &answer::PopularItems, timestamp: String) -> Self {
        let items = found.items.iter().map(|item| PopularItem {
            item_id: (&item.item).into(),
            title: item.title.clone(),
            categories: item.genres.clone(),
            score: item.score,
            rank: item.rank,
        });
        Self {
            items: items.collect(),
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
            unknown_categories: found.unknown_genres.clone(),
        }
    }
}

/// What is known of an item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Item {
    item_id: Id,
    title: String,
    categories: Vec<String>,
    /// Of the release; null where it is not known.
    year: Option<i32>,
    /// All ratings of the data set.
    ratings: u64,
    /// The damped mean rating, by which `/v1/popular` orders; null without a rating.
    popularity: Option<f32>,
}

impl From<&Description> for Item {
    fn from(description: &Description) -> Self {
        let Description { item, title, genres, year, ratings, popularity } = description;
        Self {
            item_id: item.into(),
            title: title.clone(),
            categories: genres.clone(),
            year: *year,
            ratings: *ratings,
            popularity: *popularity,
        }
    }
}

/// What is known of one item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ItemAnswer {
    #[serde(flatten)]
    item: Item,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version whose data set the item is of.
    model_version: String,
}

impl ItemAnswer {
    pub(super) fn new(found: &Described, timestamp: String) -> Self {
        Self { item: (&found.description).into(), timestamp, model_version: found.model_version.clone() }
    }
}

/// An item that a user has rated.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RatedItem {
    item_id: Id,
    title: String,
    categories: Vec<String>,
    /// Of the release; null where it is not known.
    year: Option<i32>,
    /// Null where the data set has no ratings.
    rating: Option<f32>,
}

/// What a user has rated.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RatingsOfUser {
    user_id: Id,
    /// The highest ratings first. Workers keep no times of ratings, so there is no order of time.
    ratings: Vec<RatedItem>,
    /// All that the user has rated.
    total: u64,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that knows it.
    model_version: String,
}

impl RatingsOfUser {
    pub(super) fn new(found: &RatedItems, timestamp: String) -> Self {
        let item = |(description, rating): &(Description, Option<f32>)| RatedItem {
            item_id: (&description.item).into(),
            title: description.title.clone(),
            categories: description.genres.clone(),
            year: description.year,
            rating: *rating,
        };
        Self {
            user_id: (&found.user).into(),
            ratings: found.items.iter().map(item).collect(),
            total: found.total,
            timestamp,
            model_version: found.model_version.clone(),
        }
    }
}

/// An item whose title was searched for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundItem {
    #[serde(flatten)]
    item: Item,
    /// How the title answers to the words: `title` (they are all its words, but for the year at its end), `beginning` (it
    /// begins with them), `words` (it has them all) or `prefixes` (it has words that begin with them).
    #[serde(rename = "match")]
    title_match: &'static str,
}

/// Items by the words of their titles.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundItems {
    /// The closer first, then those with more ratings, then the smaller ids.
    items: Vec<FoundItem>,
    /// All items that match.
    matched: u64,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version whose data set the items are of.
    model_version: String,
    shards: Shards,
}

impl FoundItems {
    pub(super) fn new(found: &answer::FoundItems, timestamp: String) -> Self {
        let item = |item: &answer::FoundItem| FoundItem {
            item: (&item.description).into(),
            title_match: match item.title_match {
                TitleMatch::Title => "title",
                TitleMatch::Beginning => "beginning",
                TitleMatch::Words => "words",
                TitleMatch::Prefixes | TitleMatch::Unspecified => "prefixes",
            },
        };
        Self {
            items: found.items.iter().map(item).collect(),
            matched: found.matched,
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
        }
    }
}

/// The rating that a user would give an item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Prediction {
    user_id: Id,
    item_id: Id,
    title: String,
    categories: Vec<String>,
    /// On the data set's scale.
    predicted_rating: f32,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    /// `model`; or `baseline` where the model had nothing for the pair: then it is the mean with the biases.
    source: &'static str,
}

impl Prediction {
    pub(super) fn new(found: &Predicted, timestamp: String) -> Self {
        Self {
            user_id: (&found.user).into(),
            item_id: (&found.item).into(),
            title: found.title.clone(),
            categories: found.genres.clone(),
            predicted_rating: found.predicted_rating,
            timestamp,
            model_version: found.model_version.clone(),
            source: found.source.name(),
        }
    }
}
