//! Bodies of requests, read strictly: an unknown, missing or malformed field is an error that names it.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{answers::Id, error::HttpError};
use crate::query::{GivenId, RatedMovie};

/// Whose rating of what.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "user_id": 1, "movie_id": 50 }))]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct PredictBody {
    user_id: Id,
    movie_id: Id,
}

/// A movie that was rated or, without a rating, looked at.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "as for a predict body")]
pub(super) struct RatedMovieBody {
    movie_id: Id,
    /// On the data set's scale.
    #[schema(nullable = false)]
    rating: Option<f32>,
}

/// What somebody has rated or looked at.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "items": [{ "movie_id": 260, "rating": 5.0 }, { "movie_id": 1196 }] }))]
#[allow(dead_code, reason = "as for a predict body")]
pub(super) struct ItemsBody {
    /// Each movie once.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<RatedMovieBody>,
}

/// For whom.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "user_ids": [1, 2, 3] }))]
#[allow(dead_code, reason = "as for a predict body")]
pub(super) struct BatchBody {
    #[schema(min_items = 1, max_items = 1000)]
    user_ids: Vec<Id>,
}

/// The fields of an object, taken one by one; what is left is unknown.
struct Fields(Map<String, Value>);

impl Fields {
    fn read(body: &str, fields: &str) -> Result<Self, HttpError> {
        let value: Value = serde_json::from_str(body)
            .map_err(|error| HttpError::bad_request(format!("the body is not JSON: {error}")))?;
        Self::of(value, &format!("the body must be an object with {fields}"))
    }

    fn of(value: Value, otherwise: &str) -> Result<Self, HttpError> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(HttpError::bad_request(otherwise.to_owned())),
        }
    }

    fn take(&mut self, name: &str) -> Result<Value, HttpError> {
        self.0.remove(name).ok_or_else(|| HttpError::invalid(name, "it is missing"))
    }

    fn id(&mut self, name: &str) -> Result<GivenId, HttpError> {
        id(name, self.take(name)?)
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>, HttpError> {
        match self.take(name)? {
            Value::Array(values) => Ok(values),
            _ => Err(HttpError::invalid(name, "it must be a list")),
        }
    }

    fn finish(self) -> Result<(), HttpError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(HttpError::invalid(unknown, "there is no such field here")),
        }
    }
}

fn id(name: &str, value: Value) -> Result<GivenId, HttpError> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .map(GivenId::Integer)
            .ok_or_else(|| HttpError::invalid(name, &format!("{number} is not a whole number"))),
        Value::String(text) => Ok(GivenId::Text(text)),
        _ => Err(HttpError::invalid(name, "it must be a number or a string")),
    }
}

/// `{"user_id": …, "movie_id": …}`
pub(super) fn predict(body: &str) -> Result<(GivenId, GivenId), HttpError> {
    let mut fields = Fields::read(body, "user_id and movie_id")?;
    let ids = (fields.id("user_id")?, fields.id("movie_id")?);
    fields.finish()?;
    Ok(ids)
}

/// `{"items": [{"movie_id": …, "rating": …}, …]}`
pub(super) fn items(body: &str) -> Result<Vec<RatedMovie>, HttpError> {
    let mut fields = Fields::read(body, "items")?;
    let list = fields.list("items")?;
    fields.finish()?;
    let item = |value: Value| {
        let mut fields =
            Fields::of(value, "each of the items must be an object with movie_id and maybe rating")?;
        let movie = fields.id("movie_id")?;
        let rating = match fields.0.remove("rating") {
            None => None,
            // Any number is finite here: JSON has no others.
            Some(Value::Number(number)) => number.as_f64().map(|rating| rating as f32),
            Some(_) => return Err(HttpError::invalid("rating", "it must be a number, or be left out")),
        };
        fields.finish()?;
        Ok(RatedMovie { movie, rating })
    };
    list.into_iter().map(item).collect()
}

/// `{"user_ids": [1, 2, …]}`
pub(super) fn users(body: &str) -> Result<Vec<GivenId>, HttpError> {
    let mut fields = Fields::read(body, "user_ids")?;
    let list = fields.list("user_ids")?;
    fields.finish()?;
    list.into_iter().map(|user| id("user_ids", user)).collect()
}
