//! Query parameters and bodies, read strictly: an unknown or malformed one is an error that names it.

use std::collections::BTreeMap;

use serde_json::Value;
use shoal_proto::v1::RankBy;

use super::error::HttpError;
use crate::query::{CountRange, GivenId};

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

    /// A count; whether it is in range is the query's to check.
    pub(super) fn count(&mut self, name: &str, range: CountRange) -> Result<Option<i64>, HttpError> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| range.wrong(&format!("'{text}'")).into())
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, HttpError> {
        match self.0.remove(name).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(HttpError::invalid(name, &format!("'{other}' is neither true nor false"))),
        }
    }

    pub(super) fn rank_by(&mut self) -> Result<RankBy, HttpError> {
        match self.0.remove("rank_by").as_deref() {
            None => Ok(RankBy::Unspecified),
            Some("ranking") => Ok(RankBy::Ranking),
            Some("rating") => Ok(RankBy::Rating),
            Some(other) => {
                Err(HttpError::invalid("rank_by", &format!("'{other}' is neither 'ranking' nor 'rating'")))
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), HttpError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(HttpError::invalid(unknown, "there is no such parameter here")),
        }
    }
}

/// `{"user_id": …, "movie_id": …}`, ids as numbers or text.
pub(super) fn predict_body(body: &str) -> Result<(GivenId, GivenId), HttpError> {
    let value: Value = serde_json::from_str(body)
        .map_err(|error| HttpError::bad_request(format!("the body is not JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(HttpError::bad_request(
            "the body must be an object with user_id and movie_id".to_owned(),
        ));
    };
    let mut id = |name: &str| match fields.remove(name) {
        Some(Value::Number(number)) => number
            .as_i64()
            .map(GivenId::Integer)
            .ok_or_else(|| HttpError::invalid(name, &format!("{number} is not a whole number"))),
        Some(Value::String(text)) => Ok(GivenId::Text(text)),
        Some(_) => Err(HttpError::invalid(name, "it must be a number or a string")),
        None => Err(HttpError::invalid(name, "it is missing")),
    };
    let ids = (id("user_id")?, id("movie_id")?);
    match fields.keys().next() {
        None => Ok(ids),
        Some(unknown) => Err(HttpError::invalid(unknown, "there is no such field here")),
    }
}
