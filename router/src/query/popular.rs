//! Lists for nobody in particular: what is liked, what is on the rise, what is new. Time counts back from the
//! data set's newest rating.

use shoal_proto::v1::{ByLatest, ByPopularity, ByTrend, TopItemsRequest, top_items_request::ScoredBy};

use super::{
    CheckedOptions, Filter, Options, Queries,
    list::{List, Page, list},
};
use crate::{
    answer::{PopularItem, PopularItems},
    error::{Parameter, QueryError, Reason},
    merge::Hit,
    shard_calls::ShardCalls,
    snapshot::{Live, Target},
};

/// The longest window, in days.
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

/// A request for a popular list, before it is checked.
#[derive(Debug, Clone, Default)]
pub struct Popular {
    /// How many, 1 to 100; 10 by default.
    pub n: Option<i64>,
    /// What the items are ordered by.
    pub order: PopularOrder,
    /// Only ratings of so many days; the half-life of a trend.
    pub window_days: Option<i64>,
    /// Which items may be listed.
    pub filter: Filter,
    /// Rather no answer than one without some shards.
    pub complete: bool,
}

/// A request that was checked for the version that is to answer it.
struct Checked {
    options: CheckedOptions,
    order: PopularOrder,
    /// The window of the ratings that count, or the half-life of a trend.
    days: Option<i64>,
}

impl Popular {
    fn check(&self, live: &Live) -> Result<Checked, QueryError> {
        let Self { n, order, window_days, ref filter, complete } = *self;
        let options = Options { n, complete, filter: filter.clone(), ..Options::default() }.check(live)?;
        if window_days.is_some_and(|days| !(1..=WINDOW_DAYS_MAX).contains(&days)) {
            return Err(wrong_window(format!("it must be from 1 to {WINDOW_DAYS_MAX} days")));
        }
        let days = match order {
            PopularOrder::Popular => window_days,
            PopularOrder::Trending => Some(window_days.unwrap_or(TREND_DAYS)),
            PopularOrder::Latest if window_days.is_some() => {
                return Err(wrong_window(Reason::LatestHasNoWindow));
            }
            PopularOrder::Latest => None,
        };
        Ok(Checked { options, order, days })
    }
}

impl Queries {
    /// What is liked, on the rise or new, for nobody in particular.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn popular(&self, request: &Popular) -> Result<PopularItems, QueryError> {
        let check = |live: &Live| request.check(live);
        self.run(&Target::default(), check, |calls, checked| async move { popular(&calls, &checked).await })
            .await
    }
}

async fn popular(calls: &ShardCalls, checked: &Checked) -> Result<PopularItems, QueryError> {
    let Checked { options, order, days } = checked;
    let newest_unix_s = if days.is_some() { calls.catalogue_sums().await?.newest_unix_s } else { 0 };
    if days.is_some() && newest_unix_s == 0 {
        return Err(wrong_window("the data set does not say when its ratings were given"));
    }
    let seconds = days.unwrap_or_default() * DAY_SECONDS;
    let scored_by = match order {
        PopularOrder::Popular => {
            ScoredBy::ByPopularity(ByPopularity { window_seconds: seconds, newest_unix_s })
        }
        PopularOrder::Trending => ScoredBy::ByTrend(ByTrend { half_life_seconds: seconds, newest_unix_s }),
        PopularOrder::Latest => ScoredBy::ByLatest(ByLatest {}),
    };
    let request = TopItemsRequest { scored_by: Some(scored_by), ..TopItemsRequest::default() };
    let List { hits, shards, unknown_genres, .. } =
        list(calls, request, Page { offset: 0, options }, false).await?;
    let item = |(hit, rank): (Hit, u32)| PopularItem {
        item: hit.item,
        title: hit.hit.title,
        genres: hit.hit.genres,
        score: hit.hit.score,
        rank,
    };
    Ok(PopularItems {
        items: hits.into_iter().zip(1..).map(item).collect(),
        model_version: calls.live.version.name.clone(),
        shards,
        unknown_genres: options.as_given(&unknown_genres),
    })
}

fn wrong_window(reason: impl Into<Reason>) -> QueryError {
    QueryError::invalid(Parameter::Window, reason)
}
