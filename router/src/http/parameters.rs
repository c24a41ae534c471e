//! Query parameters, read strictly: an unknown or malformed one is an error that names it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shoal_core::ModelKind;
use shoal_proto::v1::RankBy;

use super::error::HttpError;
use crate::{
    query::{CountRange, Filter, GivenId, Options, PopularOrder, RECOMMEND_COUNT, parse_model},
    words::Words,
};

/// The longest time that a query may be given.
pub(super) const TIMEOUT_MS_MAX: u64 = 60_000;

/// Between the values of a list.
const SEPARATOR: char = ',';
/// Around a value of a list that has separators or white space of its own; twice inside of one it is itself.
const QUOTE: char = '"';

/// The parameters of a query string, taken one by one; what is left is unknown.
#[derive(Debug)]
pub(super) struct Parameters {
    given: BTreeMap<String, Vec<String>>,
    /// Those that were asked for: all that the route has, in the end.
    known: BTreeSet<&'static str>,
    /// The first that has to be given and was not.
    missing: Option<&'static str>,
    /// How the face words refusals.
    words: &'static Words,
}

impl Parameters {
    pub(super) fn read(query: Option<&str>, words: &'static Words) -> Result<Self, HttpError> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query.unwrap_or_default())
            .map_err(|error| HttpError::bad_request(format!("the query string cannot be read: {error}")))?;
        let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            given.entry(name).or_default().push(value);
        }
        Ok(Self { given, known: BTreeSet::new(), missing: None, words })
    }

    /// For a route that has no parameters.
    pub(super) fn none(query: Option<&str>) -> Result<(), HttpError> {
        Self::read(query, &Words::OWN)?.finish()
    }

    /// The words of the face that was asked.
    pub(super) fn words(&self) -> &'static Words {
        self.words
    }

    /// All values of a parameter, in their order.
    fn values(&mut self, name: &'static str) -> Vec<String> {
        self.known.insert(name);
        self.given.remove(name).unwrap_or_default()
    }

    /// The value of a parameter that may be given once.
    fn value(&mut self, name: &'static str) -> Result<Option<String>, HttpError> {
        let mut values = self.values(name);
        let value = values.pop();
        if values.is_empty() { Ok(value) } else { Err(HttpError::invalid(name, "it is given twice")) }
    }

    /// A count; whether it is in range is the query's to check.
    pub(super) fn count(&mut self, name: &'static str, range: CountRange) -> Result<Option<i64>, HttpError> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        let wrong = |_| HttpError::of_query(&range.wrong(&format!("'{text}'")), self.words);
        text.parse().map(Some).map_err(wrong)
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, HttpError> {
        match self.value(name)?.as_deref() {
            None => Ok(default),
            Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(HttpError::invalid(name, &format!("'{other}' is neither true nor false"))),
        }
    }

    /// Which model is asked.
    pub(super) fn model(&mut self) -> Result<Option<ModelKind>, HttpError> {
        match self.value("model")? {
            None => Ok(None),
            Some(name) if name.is_empty() => Err(HttpError::invalid("model", "it is empty")),
            Some(name) => parse_model(&name).map_err(|error| HttpError::of_query(&error, self.words)),
        }
    }

    fn rank_by(&mut self) -> Result<RankBy, HttpError> {
        match self.value("rank_by")?.as_deref() {
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
        match self.value("order")?.as_deref() {
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
        let Some(text) = self.value("window")? else { return Ok(None) };
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        let reason = || format!("'{text}' is not a number of days from 1d to 36500d");
        days.map(Some).ok_or_else(|| HttpError::invalid("window", &reason()))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, HttpError> {
        self.value(name)
    }

    /// A text that has to be given. Where it was not the text is empty and [`Self::finish`] fails, which first says what
    /// is unknown: it may have been meant.
    pub(super) fn needed(&mut self, name: &'static str) -> Result<String, HttpError> {
        let value = self.value(name)?;
        if value.is_none() {
            self.missing.get_or_insert(name);
        }
        Ok(value.unwrap_or_default())
    }

    /// An id that no path can carry.
    pub(super) fn id(&mut self, name: &'static str) -> Result<GivenId, HttpError> {
        self.needed(name).map(GivenId::Text)
    }

    /// The values of a parameter that may be given many times, each time with many values between commas; given with an empty
    /// text it is an empty list.
    fn list(&mut self, name: &'static str) -> Result<Option<Vec<String>>, HttpError> {
        let texts = self.values(name);
        if texts.is_empty() {
            return Ok(None);
        }
        let values = texts.iter().map(|text| split_list(text)).collect::<Option<Vec<_>>>();
        let reason = "a value that begins with a quotation mark must end with one, with a comma or nothing after it; write \
                      a mark that is part of a value twice";
        let values = values.ok_or_else(|| HttpError::invalid(name, reason))?;
        Ok(Some(values.into_iter().flatten().collect()))
    }

    fn ids(&mut self, name: &'static str) -> Result<Option<Vec<GivenId>>, HttpError> {
        let ids = self.list(name)?;
        Ok(ids.map(|ids| ids.into_iter().map(GivenId::Text).collect()))
    }

    fn year(&mut self, name: &'static str) -> Result<Option<i32>, HttpError> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        let year = text.parse().ok().filter(|year| (0..=9_999).contains(year));
        let reason = || format!("'{text}' is not a year from 0 to 9999");
        year.map(Some).ok_or_else(|| HttpError::invalid(name, &reason()))
    }

    fn diversity(&mut self) -> Result<f32, HttpError> {
        let Some(text) = self.value("diversity")? else { return Ok(0.0) };
        let diversity = text.parse().ok().filter(|diversity| (0.0..=1.0).contains(diversity));
        let reason = || format!("'{text}' is not a number from 0 to 1");
        diversity.ok_or_else(|| HttpError::invalid("diversity", &reason()))
    }

    /// How long the query may take, where it is not as long as usual.
    pub(super) fn timeout(&mut self) -> Result<Option<Duration>, HttpError> {
        let Some(text) = self.value("timeout_ms")? else { return Ok(None) };
        let timeout_ms = text.parse().ok().filter(|timeout_ms| (1..=TIMEOUT_MS_MAX).contains(timeout_ms));
        let reason = || format!("'{text}' is not a number of milliseconds from 1 to {TIMEOUT_MS_MAX}");
        let timeout_ms = timeout_ms.ok_or_else(|| HttpError::invalid("timeout_ms", &reason()))?;
        Ok(Some(Duration::from_millis(timeout_ms)))
    }

    /// Which items may be listed.
    pub(super) fn filter(&mut self) -> Result<Filter, HttpError> {
        Ok(Filter {
            genres: self.list(self.words.categories)?.unwrap_or_default(),
            exclude_genres: self.list(self.words.exclude_categories)?.unwrap_or_default(),
            year_min: self.year("year_min")?,
            year_max: self.year("year_max")?,
            exclude_ids: self.ids("exclude_ids")?.unwrap_or_default(),
            allow_ids: self.ids("allow_ids")?,
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
            diversity: self.diversity()?,
            model: self.model()?,
            ..Options::default()
        })
    }

    /// The same for one list, which may be explained.
    pub(super) fn single_options(&mut self) -> Result<Options, HttpError> {
        Ok(Options { explain: self.flag("explain", false)?, ..self.options()? })
    }

    /// Everything has been asked for.
    pub(super) fn finish(self) -> Result<(), HttpError> {
        if let Some(unknown) = self.given.keys().next() {
            let known: Vec<&str> = self.known.into_iter().collect();
            let reason = format!("there is no such parameter here; {}", there_are(&known));
            return Err(HttpError::invalid(unknown, &reason));
        }
        self.missing.map_or(Ok(()), |missing| Err(HttpError::invalid(missing, "it is missing")))
    }
}

/// Of a route's parameters, or of a body's fields.
pub(super) fn there_are(names: &[&str]) -> String {
    match names {
        [] => "there are none".to_owned(),
        [name] => format!("there is only '{name}'"),
        names => format!("there are '{}'", names.join("', '")),
    }
}

/// The values between commas, without the white space around them; one between quotation marks as it stands there. Empty
/// ones count only between quotation marks. `None` where a mark has no other.
fn split_list(text: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let after = if let Some(quoted) = rest.strip_prefix(QUOTE) {
            let (value, after) = take_quoted(quoted)?;
            values.push(value);
            let after = after.trim_start();
            if !after.is_empty() && !after.starts_with(SEPARATOR) {
                return None;
            }
            after
        } else {
            let (value, after) = rest.split_at(rest.find(SEPARATOR).unwrap_or(rest.len()));
            values.extend(Some(value.trim_end().to_owned()).filter(|value| !value.is_empty()));
            after
        };
        rest = after.strip_prefix(SEPARATOR).unwrap_or(after).trim_start();
    }
    Some(values)
}

/// What stands before the next single quotation mark, doubled ones made single, and what stands after it.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(QUOTE)?;
        value.push_str(before);
        match after.strip_prefix(QUOTE) {
            Some(more) => {
                value.push(QUOTE);
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_split_at_commas_outside_of_quotation_marks() {
        let split = |text: &str| split_list(text).map(|values| values.join("|"));
        assert_eq!(split(" a, b c ,,d,").as_deref(), Some("a|b c|d"));
        assert_eq!(
            split(r#""Action, Drama" , "say ""no""",x"y"#).as_deref(),
            Some(r#"Action, Drama|say "no"|x"y"#)
        );
        assert_eq!(split_list(r#""", " a ""#), Some(vec![String::new(), " a ".to_owned()]));
        assert_eq!(split_list(""), Some(Vec::new()));
        for torn in [r#"""#, r#""a"#, r#""a"b"#, r#"b,"a""#, r#""a"""""#] {
            assert_eq!(split_list(torn).is_some(), torn == r#"b,"a""#, "{torn}");
        }
    }

    proptest! {
        #[test]
        fn every_value_can_be_named(values in prop::collection::vec("[\\PC\n\t\",]{0,6}", 0..5)) {
            let quoted: Vec<String> =
                values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
            prop_assert_eq!(split_list(&quoted.join(",")), Some(values));
        }
    }
}
