//! Lists for nobody in particular: what is liked, what is on the rise, what is new. Time counts back from the
//! data set's newest rating.

use shoal_common::ids::EntityId;
use shoal_proto::v1::{ScoreKind, ShardsAnswered, TopItemsRequest};

use super::{Filter, Options, Queries, Query, QueryError, Target, list::Page};

/// The longest window.
pub const WINDOW_DAYS_MAX: i64 = 36_500;
/// The half-life of a trend, unless another is asked for.
pub const TREND_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 86_400;

/// By what the list is ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PopularOrder {
    /// The damped mean rating.
    #[default]
    Popular,
    /// Ratings count half for each half-life of their age.
    Trending,
    /// The year of release.
    Latest,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct Popular {
    /// How many, 1 to 100; 10 by default.
    pub n: Option<i64>,
    /// By what.
    pub order: PopularOrder,
    /// Only ratings of so many days; the half-life of a trend.
    pub window_days: Option<i64>,
    /// Which movies may be listed.
    pub filter: Filter,
    /// Rather no answer than one without some shards.
    pub complete: bool,
}

/// One movie.
#[derive(Debug, Clone)]
pub struct PopularMovie {
    /// Which.
    pub movie: EntityId,
    /// Its title.
    pub title: String,
    /// Its genres.
    pub genres: Vec<String>,
    /// What the list is ordered by.
    pub score: f32,
    /// From 1.
    pub rank: u32,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct PopularMovies {
    /// Best first.
    pub movies: Vec<PopularMovie>,
    /// The version whose data set it is.
    pub model_version: String,
    /// Item shards asked.
    pub shards: ShardsAnswered,
    /// Genres of the filter that no item has of the shards that answered, as the filter names them.
    pub unknown_genres: Vec<String>,
}

impl Queries {
    /// Lists.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn popular(&self, request: &Popular) -> Result<PopularMovies, QueryError> {
        self.run(Target::default(), |query| async move { query.popular(request).await }).await
    }
}

impl Query {
    async fn popular(&self, request: &Popular) -> Result<PopularMovies, QueryError> {
        let Popular { n, order, window_days, ref filter, complete } = *request;
        let options = Options { n, complete, filter: filter.clone(), ..Options::default() };
        let options = options.check(self.live()?)?;
        if window_days.is_some_and(|days| !(1..=WINDOW_DAYS_MAX).contains(&days)) {
            return Err(wrong_window("it must be from 1 to 36500 days"));
        }
        let (score, days) = match order {
            PopularOrder::Popular => (ScoreKind::Popularity, window_days),
            PopularOrder::Trending => (ScoreKind::Trending, Some(window_days.unwrap_or(TREND_DAYS))),
            PopularOrder::Latest if window_days.is_some() => {
                return Err(wrong_window("the latest movies have none; leave it out"));
            }
            PopularOrder::Latest => (ScoreKind::Latest, None),
        };
        let newest_unix_s = if days.is_some() { self.facts().await?.newest_unix_s } else { 0 };
        if days.is_some() && newest_unix_s == 0 {
            return Err(wrong_window("the data set does not say when its ratings were given"));
        }
        let request = TopItemsRequest {
            score: score.into(),
            window_seconds: days.unwrap_or_default() * DAY_SECONDS,
            newest_unix_s,
            ..TopItemsRequest::default()
        };
        let list = self.list(request, Page { offset: 0, options: &options }, false).await?;
        let movie = |(hit, rank): (crate::merge::Hit, u32)| PopularMovie {
            movie: hit.item,
            title: hit.hit.title,
            genres: hit.hit.genres,
            score: hit.hit.score,
            rank,
        };
        Ok(PopularMovies {
            movies: list.hits.into_iter().zip(1..).map(movie).collect(),
            model_version: self.live()?.version.name.clone(),
            shards: list.shards,
            unknown_genres: filter.as_given(&list.unknown_genres),
        })
    }
}

fn wrong_window(reason: &str) -> QueryError {
    QueryError::invalid("window", reason)
}
