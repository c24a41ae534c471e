//! Query parameters, read strictly: an unknown or malformed one is an error that names it.

use std::{collections::BTreeMap, time::Duration};

use shoal_proto::v1::RankBy;

use super::error::HttpError;
use crate::query::{CountRange, Filter, GivenId, Model, Options, PopularOrder, RECOMMEND_COUNT};

/// The longest time that a query may be given.
pub(super) const TIMEOUT_MS_MAX: u64 = 60_000;

/// Between the values of a list.
const SEPARATOR: char = ',';

/// The parameters of a query string, taken one by one; what is left is unknown.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn read(query: Option<&str>) -> Result<Self, HttpError> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query.unwrap_or_default())
            .map_err(|error| HttpError::bad_request(format!("the query string cannot be read: {error}")))?;
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs {
            if parameters.insert(name.clone(), value).is_some() {
                return Err(HttpError::invalid(&name, "it is given twice"));
            }
        }
        Ok(Self(parameters))
    }

    /// For a route that has no parameters.
    pub(super) fn none(query: Option<&str>) -> Result<(), HttpError> {
        Self::read(query)?.finish()
    }

    /// A count; whether it is in range is the query's to check.
    pub(super) fn count(&mut self, name: &str, range: CountRange) -> Result<Option<i64>, HttpError> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| range.wrong(&format!("'{text}'")).into())
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, HttpError> {
        match self.0.remove(name).as_deref() {
            None => Ok(default),
            Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(HttpError::invalid(name, &format!("'{other}' is neither true nor false"))),
        }
    }

    /// Which model is asked.
    pub(super) fn model(&mut self) -> Result<Option<Model>, HttpError> {
        match self.0.remove("model") {
            None => Ok(None),
            Some(name) if name.is_empty() => Err(HttpError::invalid("model", "it is empty")),
            Some(name) => Ok(Model::parse(&name)?),
        }
    }

    fn rank_by(&mut self) -> Result<RankBy, HttpError> {
        match self.0.remove("rank_by").as_deref() {
            None => Ok(RankBy::Unspecified),
            Some("ranking") => Ok(RankBy::Ranking),
            Some("rating") => Ok(RankBy::Rating),
            Some(other) => {
                Err(HttpError::invalid("rank_by", &format!("'{other}' is neither 'ranking' nor 'rating'")))
            }
        }
    }

    /// The `order` of a popular list.
    pub(super) fn order(&mut self) -> Result<PopularOrder, HttpError> {
        match self.0.remove("order").as_deref() {
            None | Some("popular") => Ok(PopularOrder::Popular),
            Some("trending") => Ok(PopularOrder::Trending),
            Some("latest") => Ok(PopularOrder::Latest),
            Some(other) => {
                let reason = format!("'{other}' is neither 'popular' nor 'trending' nor 'latest'");
                Err(HttpError::invalid("order", &reason))
            }
        }
    }

    /// A `window` such as `30d`, in days.
    pub(super) fn window_days(&mut self) -> Result<Option<i64>, HttpError> {
        let Some(text) = self.0.remove("window") else { return Ok(None) };
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        let reason = || format!("'{text}' is not a number of days from 1d to 36500d");
        days.map(Some).ok_or_else(|| HttpError::invalid("window", &reason()))
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Values between commas; an empty text is an empty list.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let text = self.0.remove(name)?;
        let values = text.split(SEPARATOR).map(str::trim).filter(|value| !value.is_empty());
        Some(values.map(str::to_owned).collect())
    }

    fn ids(&mut self, name: &str) -> Option<Vec<GivenId>> {
        Some(self.list(name)?.into_iter().map(GivenId::Text).collect())
    }

    fn year(&mut self, name: &str) -> Result<Option<i32>, HttpError> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        let year = text.parse().ok().filter(|year| (0..=9_999).contains(year));
        let reason = || format!("'{text}' is not a year from 0 to 9999");
        year.map(Some).ok_or_else(|| HttpError::invalid(name, &reason()))
    }

    fn diversity(&mut self) -> Result<f32, HttpError> {
        let Some(text) = self.0.remove("diversity") else { return Ok(0.0) };
        let diversity = text.parse().ok().filter(|diversity| (0.0..=1.0).contains(diversity));
        let reason = || format!("'{text}' is not a number from 0 to 1");
        diversity.ok_or_else(|| HttpError::invalid("diversity", &reason()))
    }

    /// How long the query may take, where it is not as long as usual.
    pub(super) fn timeout(&mut self) -> Result<Option<Duration>, HttpError> {
        let Some(text) = self.0.remove("timeout_ms") else { return Ok(None) };
        let timeout_ms = text.parse().ok().filter(|timeout_ms| (1..=TIMEOUT_MS_MAX).contains(timeout_ms));
        let reason = || format!("'{text}' is not a number of milliseconds from 1 to {TIMEOUT_MS_MAX}");
        let timeout_ms = timeout_ms.ok_or_else(|| HttpError::invalid("timeout_ms", &reason()))?;
        Ok(Some(Duration::from_millis(timeout_ms)))
    }

    /// Which movies may be listed.
    pub(super) fn filter(&mut self) -> Result<Filter, HttpError> {
        Ok(Filter {
            genres: self.list("genres").unwrap_or_default(),
            exclude_genres: self.list("exclude_genres").unwrap_or_default(),
            year_min: self.year("year_min")?,
            year_max: self.year("year_max")?,
            exclude_ids: self.ids("exclude_ids").unwrap_or_default(),
            allow_ids: self.ids("allow_ids"),
        })
    }

    /// What any list of recommendations may be asked to be like.
    pub(super) fn options(&mut self) -> Result<Options, HttpError> {
        Ok(Options {
            n: self.count("n", RECOMMEND_COUNT)?,
            rank_by: self.rank_by()?,
            complete: self.flag("complete", false)?,
            exclude_seen: self.flag("exclude_seen", true)?,
            filter: self.filter()?,
            model: self.model()?,
            ..Options::default()
        })
    }

    /// The same for one list, which may be made diverse and explained.
    pub(super) fn single_options(&mut self) -> Result<Options, HttpError> {
        let (diversity, explain) = (self.diversity()?, self.flag("explain", false)?);
        Ok(Options { diversity, explain, ..self.options()? })
    }

    pub(super) fn finish(self) -> Result<(), HttpError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(HttpError::invalid(unknown, "there is no such parameter here")),
        }
    }
}
