//! What the answers must be: a brute force in f64 over exported factors, which knows nothing of shards.
//!
//! Scores are compared with a tolerance, because the product adds in f32; order and membership are exact
//! wherever the tolerance cannot explain a difference, and for equal factors always.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::Path,
};

use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, Row},
};
use serde_json::Value;

use super::{Cluster, data::Ratings, folder};

/// Relative to the larger of a score and 1.
const TOLERANCE: f64 = 2e-5;
/// Ratings of the mean that every item starts with where nothing is known of a user.
const PRIOR_RATINGS: f64 = 25.0;

/// A row of factors for each id.
pub(crate) type Rows = HashMap<i64, Vec<f32>>;

/// The factors of one objective.
#[derive(Debug)]
struct Sides {
    users: Rows,
    items: Rows,
}

/// One version's factors and the ratings they were trained on.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) version: String,
    pub(super) ratings: Ratings,
    rating_mean: f64,
    ranking: Sides,
    rating: Sides,
    biases: Sides,
}

/// By what a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Ranking,
    Rating,
}

/// An answer that is not what it must be, and why.
pub(crate) type Verdict = Result<(), String>;

impl Oracle {
    /// Exports a version and reads it with the ratings in `data`.
    pub(crate) fn of(cluster: &Cluster, version: &str, data: &Path) -> Self {
        let out = folder();
        let path = out.path().join("factors");
        let target = path.to_str().unwrap();
        cluster.shoal(&["models", "export", version, "--format", "parquet", "--out", target]).exits_with(0);
        let about: Value = serde_json::from_slice(&std::fs::read(path.join("export.json")).unwrap()).unwrap();
        assert_eq!(about["version"], version);
        let sides = |objective: &str, kind: &str| Sides {
            users: read_rows(&path.join(objective).join(format!("user{kind}"))),
            items: read_rows(&path.join(objective).join(format!("item{kind}"))),
        };
        Self {
            version: version.to_owned(),
            ratings: Ratings::read(data),
            rating_mean: about["rating_mean"].as_f64().unwrap(),
            ranking: sides("ranking", "Factors"),
            rating: sides("rating", "Factors"),
            biases: sides("rating", "Biases"),
        }
    }

    pub(crate) fn users(&self) -> Vec<i64> {
        self.ratings.users().into_iter().collect()
    }

    /// Items with a rating: the others are in no list.
    pub(crate) fn items(&self) -> Vec<i64> {
        self.ratings.by_item.keys().copied().collect()
    }

    /// By which lists are ordered.
    pub(crate) fn ranked(&self, user: i64, item: i64) -> f64 {
        dot(&self.ranking.users[&user], &self.ranking.items[&item])
    }

    /// A rating before it is kept on the scale.
    pub(crate) fn predicted(&self, user: i64, item: i64) -> f64 {
        let product = dot(&self.rating.users[&user], &self.rating.items[&item]);
        let bias = |rows: &Rows, id| f64::from(rows[&id][0]);
        self.rating_mean + bias(&self.biases.users, user) + bias(&self.biases.items, item) + product
    }

    fn clamped(&self, rating: f64) -> f64 {
        let (low, high) = self.ratings.range();
        rating.clamp(low, high)
    }

    /// Checks an answer to `recommend` for a user whom the version knows.
    pub(crate) fn check_recommended(&self, answer: &Value, user: i64, n: usize, by: By) -> Verdict {
        self.check_head(answer, "user_id", user)?;
        // What was kept is checked like any answer.
        let by_model = answer["source"] == "model" || answer["source"] == "cache";
        check(by_model, || format!("the source is {}", answer["source"]))?;
        let score = |item| match by {
            By::Ranking => self.ranked(user, item),
            By::Rating => self.predicted(user, item),
        };
        let seen = &self.ratings.by_user[&user];
        let candidates = self.items().into_iter().filter(|item| !seen.contains_key(item));
        let expected: BTreeMap<i64, f64> = candidates.map(|item| (item, score(item))).collect();
        let rows = if by == By::Ranking { &self.ranking.items } else { &self.rating.items };
        check_list(answer, "recommendations", "score", n, &expected, rows)?;
        for hit in list(answer, "recommendations")? {
            let expected = self.clamped(self.predicted(user, id(hit)?));
            check_close(number(hit, "predicted_rating")?, expected, "a predicted rating")?;
        }
        Ok(())
    }

    /// Checks an answer to `recommend` for a user of whom nothing is known.
    pub(crate) fn check_popular(&self, answer: &Value, user: i64, n: usize) -> Verdict {
        self.check_head(answer, "user_id", user)?;
        check(answer["source"] == "fallback_popular", || format!("the source is {}", answer["source"]))?;
        let mean = self.ratings.mean();
        let damped = |ratings: &Vec<f64>| {
            (ratings.iter().sum::<f64>() + PRIOR_RATINGS * mean) / (ratings.len() as f64 + PRIOR_RATINGS)
        };
        let expected = self.ratings.by_item.iter().map(|(item, ratings)| (*item, damped(ratings))).collect();
        check_list(answer, "recommendations", "score", n, &expected, &self.ranking.items)
    }

    /// Checks an answer to `similar`.
    pub(crate) fn check_similar(&self, answer: &Value, item: i64, n: usize) -> Verdict {
        self.check_head(answer, "movie_id", item)?;
        let others = self.items().into_iter().filter(|other| *other != item);
        let expected = others.map(|other| (other, self.cosine(item, other))).collect();
        check_list(answer, "similar_movies", "similarity", n, &expected, &self.ranking.items)
    }

    /// Of the factors that lists are ordered by.
    pub(super) fn cosine(&self, item: i64, other: i64) -> f64 {
        let items = &self.ranking.items;
        let norms = dot(&items[&item], &items[&item]) * dot(&items[&other], &items[&other]);
        if norms > 0.0 { dot(&items[&item], &items[&other]) / norms.sqrt() } else { 0.0 }
    }

    /// Checks an answer to `predict`.
    pub(crate) fn check_predicted(&self, answer: &Value, user: i64, item: i64) -> Verdict {
        self.check_head(answer, "user_id", user)?;
        check(answer["movie_id"] == item, || format!("the item is {}", answer["movie_id"]))?;
        let expected = self.clamped(self.predicted(user, item));
        check_close(number(answer, "predicted_rating")?, expected, "the predicted rating")
    }

    fn check_head(&self, answer: &Value, key: &str, asked: i64) -> Verdict {
        check(answer[key] == asked, || format!("'{key}' is {}, asked for was {asked}", answer[key]))?;
        check(answer["model_version"] == self.version.as_str(), || {
            format!("the version is {}, not {}", answer["model_version"], self.version)
        })
    }
}

/// Checks that a list is the top `n` of `expected`: scores, order, nothing missing. `rows` decide which items are
/// twins, whose scores must be equal and whose ids decide.
pub(super) fn check_list(
    answer: &Value,
    key: &str,
    score: &str,
    n: usize,
    expected: &BTreeMap<i64, f64>,
    rows: &Rows,
) -> Verdict {
    let hits = list(answer, key)?;
    let wanted = n.min(expected.len());
    check(hits.len() == wanted, || format!("{} items instead of {wanted}", hits.len()))?;
    let mut listed: Vec<(i64, f64)> = Vec::with_capacity(hits.len());
    for (hit, rank) in hits.iter().zip(1..) {
        let (item, found) = (id(hit)?, number(hit, score)?);
        let Some(score) = expected.get(&item) else {
            return Err(format!("item {item} must not be listed"));
        };
        check_close(found, *score, &format!("the score of item {item}"))?;
        check(hit["rank"] == rank, || format!("the rank of item {item} is {}, not {rank}", hit["rank"]))?;
        listed.push((item, found));
    }
    let in_order =
        |pair: &[(i64, f64)]| pair[0].1 > pair[1].1 || (pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0);
    if let Some(pair) = listed.windows(2).find(|pair| !in_order(pair)) {
        return Err(format!("out of order: {pair:?}"));
    }
    let Some(&(_, lowest)) = listed.last() else { return Ok(()) };
    for (item, score) in expected.iter().filter(|(item, _)| !listed.iter().any(|(other, _)| other == *item)) {
        check(*score <= lowest + tolerance(*score), || {
            format!("item {item} with {score} is missing: the last one has {lowest}")
        })?;
        for (twin, _) in listed.iter().filter(|(other, _)| rows[other] == rows[item]) {
            check(twin < item, || format!("{twin} is listed instead of its twin {item}"))?;
        }
    }
    for (item, found) in &listed {
        let unequal = listed.iter().find(|(other, score)| rows[other] == rows[item] && score != found);
        check(unequal.is_none(), || format!("item {item} and its twin differ: {found} and {unequal:?}"))?;
    }
    Ok(())
}

/// How many neighbours in a list have equal scores.
pub(crate) fn ties(answer: &Value, key: &str, score: &str) -> usize {
    let scores: Vec<f64> = list(answer, key).unwrap().iter().map(|hit| number(hit, score).unwrap()).collect();
    scores.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

pub(super) fn check(holds: bool, reason: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(reason()) }
}

pub(super) fn tolerance(score: f64) -> f64 {
    TOLERANCE * score.abs().max(1.0)
}

pub(super) fn check_close(found: f64, expected: f64, what: &str) -> Verdict {
    check((found - expected).abs() <= tolerance(expected), || format!("{what} is {found}, not {expected}"))
}

pub(super) fn list<'a>(answer: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    answer[key].as_array().ok_or_else(|| format!("there is no list '{key}' in {answer}"))
}

pub(super) fn number(value: &Value, key: &str) -> Result<f64, String> {
    value[key].as_f64().ok_or_else(|| format!("'{key}' is no number in {value}"))
}

pub(super) fn id(hit: &Value) -> Result<i64, String> {
    hit["movie_id"].as_i64().ok_or_else(|| format!("the item's id is no number in {hit}"))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Every row of the Parquet files of a folder, in the order of each file.
fn table(folder: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let reader = SerializedFileReader::new(File::open(file.unwrap().path()).unwrap()).unwrap();
        rows.extend(reader.get_row_iter(None).unwrap().map(Result::unwrap));
    }
    assert!(!rows.is_empty(), "there is nothing in '{}'", folder.display());
    rows
}

fn integer_id(field: &Field) -> i64 {
    match field {
        Field::Int(id) => i64::from(*id),
        Field::Long(id) => *id,
        other => panic!("an id is {other}"),
    }
}

fn float(field: &Field) -> f32 {
    if let Field::Float(value) = field { *value } else { panic!("{field}") }
}

/// The rows of every Parquet file of a folder: `id`, then floats or one float.
pub(crate) fn read_rows(folder: &Path) -> Rows {
    let mut rows = Rows::new();
    for row in table(folder) {
        let mut columns = row.get_column_iter().map(|(_, field)| field);
        let id = integer_id(columns.next().unwrap());
        let values = match columns.next().unwrap() {
            Field::ListInternal(list) => list.elements().iter().map(float).collect(),
            single => vec![float(single)],
        };
        assert!(rows.insert(id, values).is_none(), "id {id} comes twice");
    }
    rows
}

/// Exports a version of a model that answers by neighbours into `folder`: its neighbours by item, in their order.
pub(crate) fn exported_neighbours(
    cluster: &Cluster,
    version: &str,
    folder: &Path,
) -> HashMap<i64, Vec<(i64, f64)>> {
    let target = folder.to_str().unwrap();
    cluster.shoal(&["models", "export", version, "--to", "parquet", "--out", target]).exits_with(0);
    let mut lists = HashMap::<i64, Vec<(i64, f64)>>::new();
    for row in table(&folder.join("itemNeighbours")) {
        let columns: Vec<(&String, &Field)> = row.get_column_iter().collect();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["id", "neighbour_id", "weight"]);
        let [item, other] = [0, 1].map(|at: usize| integer_id(columns[at].1));
        lists.entry(item).or_default().push((other, f64::from(float(columns[2].1))));
    }
    lists
}
