//! Whether an answer is one that could be right: a code of 200 alone says little. Pure.

use std::collections::HashSet;

use serde_json::Value;
use shoal_common::ids::EntityId;

use super::{
    plan::{Asked, Question, id_json},
    users::Population,
};
use crate::recommender::Names;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// It is no JSON, or lacks the field.
    #[error("no '{0}'")]
    Missing(&'static str),
    /// It is about somebody or something else.
    #[error("about another {0}")]
    Another(&'static str),
    /// The list is too short or too long.
    #[error("not n items")]
    Count,
    /// An item comes twice, or the item asked about is like itself.
    #[error("an item twice")]
    Twice,
    /// An item that the user has rated.
    #[error("a seen item")]
    Seen,
    /// Scores or ranks that do not descend, or are no numbers.
    #[error("scores out of order")]
    Order,
    /// Parts of it are of different versions.
    #[error("more than one version")]
    Versions,
}

/// What a good answer says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The version that answered.
    pub version: String,
    /// Where a list came from; empty where the answer does not say.
    pub source: String,
    /// Some shards did not answer.
    pub incomplete: bool,
}

/// What is asked of lists.
#[derive(Debug)]
struct Expected {
    n: usize,
    /// Filters may leave fewer.
    fewer: bool,
    descending: bool,
    unseen: bool,
}

/// Parameters that may leave fewer than n items.
const FILTERS: [&str; 9] = [
    "categories",
    "exclude_categories",
    "genres",
    "exclude_genres",
    "year_min",
    "year_max",
    "exclude_ids",
    "allow_ids",
    "cursor",
];

impl Expected {
    fn new(asked: &Asked, question: &Question) -> Self {
        let of_user = matches!(question, Question::Recommend { .. });
        let parameter = |name| asked.parameter(name).filter(|_| of_user);
        let diverse = parameter("diversity").and_then(|value| value.parse().ok()).unwrap_or(0.0);
        Self {
            n: asked.n as usize,
            fewer: FILTERS.iter().any(|name| parameter(name).is_some()),
            descending: diverse == 0.0,
            unseen: !matches!(parameter("exclude_seen"), Some("false" | "0")),
        }
    }
}

/// Checks the body of an answer.
///
/// # Errors
/// The first fault.
pub fn check(
    question: &Question,
    asked: &Asked,
    population: &Population,
    body: &Value,
) -> Result<Facts, Fault> {
    let version = body["model_version"].as_str().filter(|version| !version.is_empty());
    let version = version.ok_or(Fault::Missing("model_version"))?;
    let expected = Expected::new(asked, question);
    let names = asked.api.names();
    match question {
        Question::Recommend { user, known } => {
            is_about(body, "user_id", user, "user")?;
            let list = list(body, names.recommended)?;
            let ids = check_list(list, names, "score", &expected)?;
            let seen = |user: usize| ids.iter().any(|id| population.users()[user].has_rated(id));
            if expected.unseen && known.is_some_and(seen) {
                return Err(Fault::Seen);
            }
        }
        Question::Similar { item } => {
            is_about(body, names.item_id, item, "item")?;
            let ids = check_list(list(body, names.similar)?, names, "similarity", &expected)?;
            if ids.contains(item) {
                return Err(Fault::Twice);
            }
        }
        Question::Predict { user, item } => {
            is_about(body, "user_id", user, "user")?;
            is_about(body, names.item_id, item, "item")?;
            body["predicted_rating"].as_f64().ok_or(Fault::Missing("predicted_rating"))?;
        }
    }
    // A page goes on with the version that it was made from.
    if body["next_cursor"].as_str().is_some_and(|cursor| !cursor.ends_with(version)) {
        return Err(Fault::Versions);
    }
    Ok(Facts {
        version: version.to_owned(),
        source: body["source"].as_str().unwrap_or_default().to_owned(),
        incomplete: body["shards"]["failed"].as_u64().is_some_and(|failed| failed > 0),
    })
}

fn is_about(body: &Value, field: &'static str, id: &EntityId, what: &'static str) -> Result<(), Fault> {
    match &body[field] {
        Value::Null => Err(Fault::Missing(field)),
        found if *found == id_json(id) => Ok(()),
        _ => Err(Fault::Another(what)),
    }
}

fn list<'a>(body: &'a Value, field: &'static str) -> Result<&'a [Value], Fault> {
    body[field].as_array().map(Vec::as_slice).ok_or(Fault::Missing(field))
}

/// Checks a list of items and returns their ids.
fn check_list(
    list: &[Value],
    names: &Names,
    score: &str,
    expected: &Expected,
) -> Result<HashSet<EntityId>, Fault> {
    if list.len() > expected.n || (list.len() < expected.n && !expected.fewer) {
        return Err(Fault::Count);
    }
    let (mut ids, mut before) = (HashSet::with_capacity(list.len()), f64::INFINITY);
    for item in list {
        let id = match &item[names.item_id] {
            Value::Number(id) => id.as_i64().map(EntityId::Integer),
            Value::String(id) => Some(EntityId::Text(id.as_str().into())),
            _ => None,
        };
        if !ids.insert(id.ok_or(Fault::Missing(names.item_id))?) {
            return Err(Fault::Twice);
        }
        // Services that rank by the predicted rating alone may name no other score.
        let value = item[score].as_f64().or_else(|| item["predicted_rating"].as_f64()).ok_or(Fault::Order)?;
        if expected.descending && value > before {
            return Err(Fault::Order);
        }
        before = value;
    }
    let ranked = |(at, item): (usize, &Value)| item["rank"].as_u64().is_none_or(|rank| rank == at as u64 + 1);
    // Later pages of a list count on.
    let counts_on = list.first().is_some_and(|first| first["rank"].as_u64().is_some_and(|rank| rank > 1));
    if counts_on || list.iter().enumerate().all(ranked) { Ok(ids) } else { Err(Fault::Order) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recommender::Api;
    use crate::simulate::users::{KnownUser, Popularity};

    fn population() -> Population {
        let mut rated = [EntityId::Integer(7).hash64(), EntityId::Integer(8).hash64()];
        rated.sort_unstable();
        let user = KnownUser { id: EntityId::Integer(1), rated: Some(rated.into()) };
        Population::new(vec![user], Some(1), Popularity::Uniform)
    }

    fn asked(parameters: &[(&str, &str)]) -> Asked {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Asked { api: Api::V1, n: 3, parameters: parameters.iter().map(owned).collect() }
    }

    fn known() -> Question {
        Question::Recommend { user: EntityId::Integer(1), known: Some(0) }
    }

    fn item(id: i64, score: f64, rank: u64) -> Value {
        json!({"item_id": id, "score": score, "predicted_rating": 4.0, "rank": rank})
    }

    fn answer(items: &[Value]) -> Value {
        json!({
            "user_id": 1, "items": items, "model_version": "v1", "source": "model",
            "shards": {"total": 16, "ok": 16, "failed": 0}, "next_cursor": "3-ab-v1",
        })
    }

    fn verdict(body: &Value, parameters: &[(&str, &str)]) -> Result<Facts, Fault> {
        check(&known(), &asked(parameters), &population(), body)
    }

    #[test]
    fn a_good_list_is_good_and_says_where_it_is_from() {
        let body = answer(&[item(3, 0.9, 1), item(2, 0.9, 2), item(5, -0.5, 3)]);
        let facts = Facts { version: "v1".into(), source: "model".into(), incomplete: false };
        assert_eq!(verdict(&body, &[]), Ok(facts));
    }

    #[test]
    fn each_fault_of_a_list_is_found() {
        let good = [item(3, 0.9, 1), item(2, 0.8, 2), item(5, -0.5, 3)];
        let with = |at: usize, changed: Value| {
            let mut items = good.clone();
            items[at] = changed;
            answer(&items)
        };
        assert_eq!(verdict(&answer(&good[..2]), &[]), Err(Fault::Count));
        assert_eq!(verdict(&with(1, item(3, 0.8, 2)), &[]), Err(Fault::Twice));
        assert_eq!(verdict(&with(1, item(7, 0.8, 2)), &[]), Err(Fault::Seen));
        assert_eq!(verdict(&with(2, item(5, 0.85, 3)), &[]), Err(Fault::Order));
        assert_eq!(verdict(&with(2, item(5, 0.1, 9)), &[]), Err(Fault::Order));
        assert_eq!(verdict(&with(2, json!({"item_id": 5})), &[]), Err(Fault::Order));
        assert_eq!(verdict(&with(2, json!({"score": 5})), &[]), Err(Fault::Missing("item_id")));
        let mut body = answer(&good);
        body["user_id"] = json!(2);
        assert_eq!(verdict(&body, &[]), Err(Fault::Another("user")));
        body = answer(&good);
        body["next_cursor"] = json!("3-ab-v2");
        assert_eq!(verdict(&body, &[]), Err(Fault::Versions));
        body["model_version"] = json!("");
        assert_eq!(verdict(&body, &[]), Err(Fault::Missing("model_version")));
        assert_eq!(verdict(&Value::Null, &[]), Err(Fault::Missing("model_version")));
    }

    #[test]
    fn parameters_change_what_is_right() {
        let short = answer(&[item(3, 0.9, 1)]);
        assert!(verdict(&short, &[("genres", "Drama")]).is_ok());
        let unordered = answer(&[item(3, 0.9, 1), item(2, 0.1, 2), item(5, 0.5, 3)]);
        assert!(verdict(&unordered, &[("diversity", "0.3")]).is_ok());
        assert_eq!(verdict(&unordered, &[("diversity", "0")]), Err(Fault::Order));
        let seen = answer(&[item(7, 0.9, 1), item(2, 0.8, 2), item(5, 0.5, 3)]);
        assert!(verdict(&seen, &[("exclude_seen", "false")]).is_ok());
    }

    #[test]
    fn similar_items_and_predictions_are_checked_too() {
        let (population, asked) = (population(), asked(&[("genres", "Drama")]));
        let similar = Question::Similar { item: EntityId::Integer(9) };
        let like = |id: i64, similarity: f64, rank: u64| json!({"item_id": id, "similarity": similarity, "rank": rank});
        let body = |items: [Value; 3]| json!({"item_id": 9, "items": items, "model_version": "v1"});
        let good = body([like(1, 0.9, 1), like(2, 0.9, 2), like(3, 0.1, 3)]);
        assert!(check(&similar, &asked, &population, &good).is_ok());
        let itself = body([like(9, 1.0, 1), like(2, 0.9, 2), like(3, 0.1, 3)]);
        assert_eq!(check(&similar, &asked, &population, &itself), Err(Fault::Twice));
        let few = json!({"item_id": 9, "items": [like(1, 0.9, 1)], "model_version": "v1"});
        assert_eq!(check(&similar, &asked, &population, &few), Err(Fault::Count));

        let predict = Question::Predict { user: EntityId::Integer(1), item: EntityId::Integer(9) };
        let good = json!({"user_id": 1, "item_id": 9, "predicted_rating": 3.5, "model_version": "v1"});
        assert!(check(&predict, &asked, &population, &good).is_ok());
        let none = json!({"user_id": 1, "item_id": 9, "predicted_rating": null, "model_version": "v1"});
        assert_eq!(check(&predict, &asked, &population, &none), Err(Fault::Missing("predicted_rating")));
    }

    #[test]
    fn the_other_face_has_its_own_names() {
        let asked = Asked { api: Api::Recommendations, n: 1, parameters: Vec::new() };
        let movie = json!({"movie_id": 3, "score": 0.9, "similarity": 0.5, "rank": 1});
        let body = json!({"user_id": 1, "recommendations": [movie], "model_version": "v1"});
        assert!(check(&known(), &asked, &population(), &body).is_ok());
        let own = json!({"user_id": 1, "items": [item(3, 0.9, 1)], "model_version": "v1"});
        assert_eq!(check(&known(), &asked, &population(), &own), Err(Fault::Missing("recommendations")));
        let similar = Question::Similar { item: EntityId::Integer(9) };
        let body = json!({"movie_id": 9, "similar_movies": [movie], "model_version": "v1"});
        assert!(check(&similar, &asked, &population(), &body).is_ok());
    }
}
