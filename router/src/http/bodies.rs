//! Bodies of requests, read strictly: an unknown, missing or malformed field is an error that names it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{answers::Id, error::HttpError, parameters::there_are};
use crate::{
    query::{GivenId, RatedItem},
    words::Words,
};

/// The users that lists are for.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "user_ids": [1, 2, 3] }))]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct BatchBody {
    #[schema(min_items = 1, max_items = 1000)]
    user_ids: Vec<Id>,
}

/// The fields of an object, taken one by one; what is left is unknown. Values stay as they were written: a number may be
/// an id with more digits than any type of number has.
struct Fields {
    given: Vec<(String, Box<RawValue>)>,
    /// Those that were asked for: all that the object may have, in the end.
    known: Vec<&'static str>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, Box<RawValue>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut given = Vec::new();
                while let Some(field) = map.next_entry()? {
                    given.push(field);
                }
                Ok(given)
            }
        }
        Ok(Self { given: deserializer.deserialize_map(Object)?, known: Vec::new() })
    }
}

impl Fields {
    fn read(body: &str, fields: &str) -> Result<Self, HttpError> {
        let value: Box<RawValue> = serde_json::from_str(body)
            .map_err(|error| HttpError::bad_request(format!("the body is not JSON: {error}")))?;
        Self::of(&value, &format!("the body must be an object with {fields}"))
    }

    fn of(value: &RawValue, otherwise: &str) -> Result<Self, HttpError> {
        serde_json::from_str(value.get()).map_err(|_| HttpError::bad_request(otherwise.to_owned()))
    }

    fn take(&mut self, name: &'static str) -> Result<Option<Box<RawValue>>, HttpError> {
        self.known.push(name);
        let at = self.given.iter().position(|field| field.0 == name);
        let value = at.map(|at| self.given.swap_remove(at).1);
        if self.given.iter().any(|field| field.0 == name) {
            return Err(HttpError::invalid(name, "it is given twice"));
        }
        Ok(value)
    }

    fn needed(&mut self, name: &'static str) -> Result<Box<RawValue>, HttpError> {
        self.take(name)?.ok_or_else(|| HttpError::invalid(name, "it is missing"))
    }

    fn id(&mut self, name: &'static str) -> Result<GivenId, HttpError> {
        id(name, &self.needed(name)?)
    }

    fn list(&mut self, name: &'static str) -> Result<Vec<Box<RawValue>>, HttpError> {
        let list = self.needed(name)?;
        serde_json::from_str(list.get()).map_err(|_| HttpError::invalid(name, "it must be a list"))
    }

    fn finish(self, words: &Words) -> Result<(), HttpError> {
        let Some((unknown, _)) = self.given.first() else { return Ok(()) };
        let (fields, besides) = (there_are(&self.known), words.unknown_field);
        let reason = format!("there is no such field here; {fields}{besides}");
        Err(HttpError::invalid(unknown, &reason))
    }
}

fn id(name: &str, value: &RawValue) -> Result<GivenId, HttpError> {
    let text = value.get();
    if let Ok(text) = serde_json::from_str(text) {
        return Ok(GivenId::Text(text));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    match text.parse() {
        Ok(number) => Ok(GivenId::Integer(number)),
        Err(_) if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            Ok(GivenId::LongNumber(text.to_owned()))
        }
        Err(_) if digits.starts_with(|first: char| first.is_ascii_digit()) => {
            Err(HttpError::invalid(name, &format!("{text} is not a whole number")))
        }
        Err(_) => Err(HttpError::invalid(name, "it must be a number or a string")),
    }
}

/// A user's and an item's id.
pub(super) fn pair(body: &str, words: &Words) -> Result<(GivenId, GivenId), HttpError> {
    let mut fields = Fields::read(body, &format!("user_id and {}", words.item_id))?;
    let ids = (fields.id("user_id")?, fields.id(words.item_id)?);
    fields.finish(words)?;
    Ok(ids)
}

/// `items` with an id each and maybe a rating.
pub(super) fn items(body: &str, words: &Words) -> Result<Vec<RatedItem>, HttpError> {
    let mut fields = Fields::read(body, "items")?;
    let list = fields.list("items")?;
    fields.finish(words)?;
    let otherwise = format!("each of the items must be an object with {} and maybe rating", words.item_id);
    let item = |value: Box<RawValue>| {
        let mut fields = Fields::of(&value, &otherwise)?;
        let item = fields.id(words.item_id)?;
        let rating = fields.take("rating")?.map(|rating| {
            let number: Option<f64> = serde_json::from_str(rating.get()).ok();
            // One that is too large for a float is infinite, which no scale has.
            let number = number.or_else(|| rating.get().parse().ok());
            let wrong = || HttpError::invalid("rating", "it must be a number, or be left out");
            number.map(|number| number as f32).ok_or_else(wrong)
        });
        let rating = rating.transpose()?;
        fields.finish(words)?;
        Ok(RatedItem { item, rating })
    };
    list.into_iter().map(item).collect()
}

/// `{"user_ids": [1, 2, …]}`
pub(super) fn users(body: &str, words: &Words) -> Result<Vec<GivenId>, HttpError> {
    let mut fields = Fields::read(body, "user_ids")?;
    let list = fields.list("user_ids")?;
    fields.finish(words)?;
    list.into_iter().map(|user| id("user_ids", &user)).collect()
}
