//! What item CF, content, EASE and hybrid must answer: a brute force in f64 over the files of the versions, which knows
//! nothing of shards but the order of their rows.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde_json::Value;
use shoal_common::ids::EntityId;
use shoal_engine::content::ItemVectors;
use shoal_format::{
    id_column::IdColumn,
    model_parts::{read_biases, read_neighbours, read_vectors},
    tensor_file::TensorFile,
};

use super::{
    Cluster, Oracle, Verdict,
    oracle::{check, check_close, check_list, id, list, number, tolerance},
};

/// The neighbours that a rating is predicted from, at most: the default of `shoal train`.
const PREDICTION_NEIGHBOURS: usize = 20;

/// By how much rounding may change what an item of a diverse list counts for.
const MARGIN_TOLERANCE: f64 = 1e-3;

/// Neighbours by item, best first.
pub(crate) type Neighbours = HashMap<i64, Vec<(i64, f64)>>;

/// One version of each model, and what the hybrid makes of them.
#[derive(Debug)]
pub(crate) struct Models {
    als: Oracle,
    /// The lowest and the highest rating.
    scale: (f64, f64),
    item_cf: Neighbours,
    content: Neighbours,
    /// Weights, of which some are below 0.
    ease: Neighbours,
    vectors: HashMap<i64, Vec<f64>>,
    /// Training ratings of each item.
    train_counts: HashMap<i64, u32>,
    biases: HashMap<i64, f64>,
    user_biases: HashMap<i64, f64>,
    rating_mean: f64,
    rating_slope: f64,
    /// What is blended, popularity last.
    sources: Vec<Source>,
    versions: HashMap<&'static str, String>,
}

/// A source of the hybrid.
#[derive(Debug)]
struct Source {
    /// As the version names it.
    name: String,
    weight: f64,
    /// Scores with their levels.
    knots: Vec<(f64, f64)>,
}

impl Models {
    /// Reads the versions' files.
    pub(crate) fn of(cluster: &Cluster, versions: &[String; 5], data: &Path) -> Self {
        let [als, item_cf, content, hybrid, ease] = versions;
        let models = cluster.dir().join("store/models");
        let folder = |model: &str, version: &str| models.join(model).join(version);
        let about = |model: &str, version: &str| -> Value {
            let file = folder(model, version).join("metadata.json");
            serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
        };
        let (of_item_cf, of_content) = (folder("item_cf", item_cf), folder("content_based", content));
        let items = ids(&of_item_cf.join("item_biases"));
        let column = |side: &str| -> Vec<(f32, u32)> {
            let read = |file: &TensorFile, rows| {
                let (biases, counts) = read_biases(file, rows).unwrap();
                biases.iter().copied().zip(counts.iter().copied()).collect::<Vec<_>>()
            };
            parts(&of_item_cf.join(format!("{side}_biases")))
                .iter()
                .flat_map(|(file, ids)| read(file, ids.len()))
                .collect()
        };
        let of_items = items.iter().copied().zip(column("item"));
        let users = ids(&of_item_cf.join("user_biases")).into_iter().zip(column("user"));
        let knots = |source: &Value| -> Vec<(f64, f64)> {
            let knots = source["knots"].as_array().unwrap().iter();
            knots.map(|knot| (knot[0].as_f64().unwrap(), knot[1].as_f64().unwrap())).collect()
        };
        let blended = about("hybrid", hybrid)["sources"].clone();
        let sources = blended.as_array().unwrap().iter();
        let names = ["als", "item_cf", "content", "hybrid", "ease"].into_iter().zip(versions.iter().cloned());
        let als = Oracle::of(cluster, als, data);
        Self {
            scale: als.ratings.range(),
            als,
            item_cf: neighbours(&of_item_cf, &items),
            content: neighbours(&of_content, &items),
            ease: neighbours(&folder("ease", ease), &items),
            vectors: vectors(&of_content, &items),
            train_counts: of_items.clone().map(|(item, (_, count))| (item, count)).collect(),
            biases: of_items.map(|(item, (bias, _))| (item, f64::from(bias))).collect(),
            user_biases: users.map(|(user, (bias, _))| (user, f64::from(bias))).collect(),
            rating_mean: about("item_cf", item_cf)["rating_mean"].as_f64().unwrap(),
            rating_slope: about("content_based", content)["rating_slope"].as_f64().unwrap(),
            sources: sources
                .map(|source| Source {
                    name: source["model"].as_str().unwrap().to_owned(),
                    weight: source["weight"].as_f64().unwrap(),
                    knots: knots(source),
                })
                .collect(),
            versions: names.collect(),
        }
    }

    /// Users whom the versions know: with ratings that are not all held out.
    pub(crate) fn users(&self) -> Vec<i64> {
        self.als.users()
    }

    pub(crate) fn items(&self) -> Vec<i64> {
        self.als.items()
    }

    /// What a rating counts for in lists of neighbours.
    fn weight(&self, rating: f64) -> f64 {
        let (low, high) = self.scale;
        0.1 + 0.9 * (rating - low) / (high - low)
    }

    /// Σ weight · similarity over the item's neighbours that the user has rated.
    fn listed(&self, lists: &Neighbours, user: i64, item: i64) -> Option<f64> {
        let rated = &self.als.ratings.by_user[&user];
        let part = |(other, similarity): &(i64, f64)| Some(self.weight(*rated.get(other)?) * similarity);
        let sum: f64 = lists[&item].iter().filter_map(part).sum();
        (sum != 0.0).then_some(sum)
    }

    /// The level of an item in a source; `None` where it knows nothing.
    fn level(&self, source: &Source, user: i64, item: i64) -> Option<f64> {
        let score = match source.name.as_str() {
            "popularity" => Some(f64::from(self.train_counts[&item])).filter(|count| *count > 0.0),
            "content_based" => self.score("content", user, item),
            model => self.score(model, user, item),
        };
        score.map(|score| level(&source.knots, score))
    }

    /// Σ weight · level over the sources with a weight; where none of them knows anything by popularity, behind all others;
    /// `None` for what nobody has rated.
    fn blended(&self, user: i64, item: i64) -> Option<f64> {
        let weighted = self.sources.iter().filter(|source| source.weight > 0.0);
        let known: Vec<f64> =
            weighted.filter_map(|source| Some(source.weight * self.level(source, user, item)?)).collect();
        match known[..] {
            [] => Some(self.level(self.sources.last()?, user, item)? - 1.0),
            _ => Some(known.iter().sum()),
        }
    }

    fn score(&self, model: &str, user: i64, item: i64) -> Option<f64> {
        match model {
            "als" => (self.train_counts[&item] > 0).then(|| self.als.ranked(user, item)),
            "item_cf" => self.listed(&self.item_cf, user, item),
            "content" => self.listed(&self.content, user, item),
            "ease" => self.listed(&self.ease, user, item),
            "hybrid" => self.blended(user, item),
            other => panic!("{other} scores nothing"),
        }
    }

    /// A rating before it is kept on the scale; `None` where the model has nothing for the pair.
    fn rating(&self, model: &str, user: i64, item: i64) -> Option<f64> {
        match model {
            "item_cf" => self.by_neighbours(&self.item_cf, user, item),
            "ease" => self.by_neighbours(&self.ease, user, item),
            "content" => self.by_profile(&self.profile(user), user, item),
            _ => (self.train_counts[&item] > 0).then(|| self.als.predicted(user, item)),
        }
    }

    fn expected(&self, user: i64, item: i64) -> f64 {
        self.rating_mean + self.user_biases[&user] + self.biases[&item]
    }

    fn by_neighbours(&self, lists: &Neighbours, user: i64, item: i64) -> Option<f64> {
        let rated = &self.als.ratings.by_user[&user];
        let known = lists[&item]
            .iter()
            .filter(|(_, similarity)| *similarity > 0.0)
            .filter_map(|(other, similarity)| Some((*other, *similarity, *rated.get(other)?)));
        let (mut sum, mut weights) = (0.0, 0.0);
        for (other, similarity, rating) in known.take(PREDICTION_NEIGHBOURS) {
            sum += similarity * (rating - self.expected(user, other));
            weights += similarity;
        }
        (weights > 0.0).then(|| self.expected(user, item) + sum / weights)
    }

    /// The vectors of what the user has rated, weighted.
    fn profile(&self, user: i64) -> Vec<f64> {
        let rated = &self.als.ratings.by_user[&user];
        let mean = rated.values().sum::<f64>() / rated.len() as f64;
        let mut profile = vec![0.0; self.vectors.values().next().map_or(0, Vec::len)];
        for (other, rating) in rated {
            profile
                .iter_mut()
                .zip(&self.vectors[other])
                .for_each(|(sum, value)| *sum += (rating - mean) * value);
        }
        profile
    }

    fn by_profile(&self, profile: &[f64], user: i64, item: i64) -> Option<f64> {
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let length = product(profile, profile).sqrt();
        let cosine = product(profile, &self.vectors[&item]) / length;
        let featured = self.vectors[&item].iter().any(|value| *value != 0.0);
        (length > 0.0 && featured).then(|| self.expected(user, item) + self.rating_slope * cosine)
    }

    /// Checks a model's answer to `recommend` with `n` items at most.
    pub(crate) fn check_recommended(&self, model: &str, answer: &Value, user: i64, n: usize) -> Verdict {
        self.check_version(model, answer)?;
        check(answer["source"] == "model", || format!("the source is {}", answer["source"]))?;
        let expected = self.listable(model, user);
        check_list(answer, "recommendations", "score", n, &expected, &self.no_twins())?;
        for hit in list(answer, "recommendations")? {
            check(hit["model"] == model, || format!("{} has ranked", hit["model"]))?;
            if matches!(model, "als" | "hybrid") {
                let rating = self.clamped(self.als.predicted(user, id(hit)?));
                check_close(number(hit, "predicted_rating")?, rating, "a predicted rating")?;
            }
        }
        Ok(())
    }

    /// Checks a model's answer to `recommend` with `rank_by=rating` and `explain`, with `n` items at most: of all items
    /// of which the model predicts a rating, those with the best.
    pub(crate) fn check_rated(&self, model: &str, answer: &Value, user: i64, n: usize) -> Verdict {
        self.check_version(model, answer)?;
        let profile = self.profile(user);
        let rating = |item: i64| match model {
            "content" => self.by_profile(&profile, user, item),
            _ => self.rating(model, user, item),
        };
        let expected: BTreeMap<i64, f64> =
            self.unseen(user).filter_map(|item| Some((item, rating(item)?))).collect();
        check_list(answer, "recommendations", "score", n, &expected, &self.no_twins())?;
        for hit in list(answer, "recommendations")? {
            let score = number(hit, "score")?;
            check_close(number(hit, "predicted_rating")?, self.clamped(score), "a predicted rating")?;
            check(hit["model"] == model, || format!("{} has ranked", hit["model"]))?;
            // Of ALS it is of a row that is solved anew.
            if matches!(model, "item_cf" | "content" | "ease") {
                let explained = number(&hit["explanation"], "score")? + self.expected(user, id(hit)?);
                check_close(explained, score, "what explains a rating")?;
            }
        }
        Ok(())
    }

    fn unseen(&self, user: i64) -> impl Iterator<Item = i64> + '_ {
        let seen = &self.als.ratings.by_user[&user];
        self.train_counts.keys().copied().filter(|item| !seen.contains_key(item))
    }

    /// Checks the diverse answer of a model to `recommend`: each item is, of the best 5·n, the one that counts for most
    /// after those before it. Not for the hybrid, whose items may have no factors to be compared by.
    pub(crate) fn check_diverse(
        &self,
        model: &str,
        answer: &Value,
        user: i64,
        n: usize,
        diversity: f64,
    ) -> Verdict {
        self.check_version(model, answer)?;
        let scores = self.listable(model, user);
        let mut pool: Vec<(i64, f64)> = scores.iter().map(|(item, score)| (*item, *score)).collect();
        pool.sort_by(|a, b| b.1.total_cmp(&a.1));
        pool.truncate(5 * n);
        let (Some(&(_, best)), Some(&(_, worst))) = (pool.first(), pool.last()) else {
            return check(list(answer, "recommendations")?.is_empty(), || {
                "there is nothing to list".to_owned()
            });
        };
        let mut before: Vec<i64> = Vec::new();
        let marginal = |item: i64, before: &[i64]| {
            let likeness = before.iter().map(|other| self.likeness(model, item, *other)).reduce(f64::max);
            let relevance = if best > worst { (scores[&item] - worst) / (best - worst) } else { 1.0 };
            (1.0 - diversity) * relevance - diversity * likeness.unwrap_or_default()
        };
        for hit in list(answer, "recommendations")? {
            let item = id(hit)?;
            let score = scores.get(&item).filter(|_| !before.contains(&item));
            let Some(score) = score.filter(|score| **score >= worst - tolerance(worst)) else {
                return Err(format!("item {item} must not be listed"));
            };
            check_close(number(hit, "score")?, *score, &format!("the score of item {item}"))?;
            let found = marginal(item, &before);
            // Rounding decides which items are the last of the pool.
            let sure = pool.iter().filter(|entry| entry.1 > worst + tolerance(worst));
            for (other, _) in sure.filter(|entry| !before.contains(&entry.0)) {
                let better = marginal(*other, &before);
                check(better <= found + MARGIN_TOLERANCE, || {
                    format!("item {item} with {found} is listed where {other} has {better}")
                })?;
            }
            before.push(item);
        }
        let wanted = n.min(pool.len());
        check(before.len() == wanted, || format!("{} items instead of {wanted}", before.len()))
    }

    /// The user's unseen items that a model lists, with their scores.
    fn listable(&self, model: &str, user: i64) -> BTreeMap<i64, f64> {
        self.unseen(user).filter_map(|item| Some((item, self.score(model, user, item)?))).collect()
    }

    /// By which diverse lists of a model are made.
    fn likeness(&self, model: &str, item: i64, other: i64) -> f64 {
        let stored = |of: i64, other: i64| stored(&self.item_cf, of, other);
        match model {
            "item_cf" => stored(item, other).max(stored(other, item)),
            "ease" => like(&self.ease, item, other).max(like(&self.ease, other, item)),
            "content" => self.vectors[&item].iter().zip(&self.vectors[&other]).map(|(a, b)| a * b).sum(),
            _ => self.als.cosine(item, other),
        }
    }

    /// Checks a model's answer to `predict`.
    pub(crate) fn check_predicted(&self, model: &str, answer: &Value, user: i64, item: i64) -> Verdict {
        self.check_version(model, answer)?;
        let rating = self.rating(model, user, item);
        let source = if rating.is_some() { "model" } else { "baseline" };
        check(answer["source"] == source, || format!("the source is {}, not {source}", answer["source"]))?;
        // Of ALS what is expected is its own to say.
        let expected = match rating {
            Some(rating) => rating,
            None if matches!(model, "als" | "hybrid") => self.als.predicted(user, item),
            None => self.expected(user, item),
        };
        check_close(number(answer, "predicted_rating")?, self.clamped(expected), "the predicted rating")
    }

    /// Checks EASE's answer to `similar`: what speaks for the item, and nothing that speaks against it.
    pub(crate) fn check_weighty(&self, answer: &Value, item: i64, n: usize) -> Verdict {
        self.check_version("ease", answer)?;
        let mut expected: BTreeMap<i64, f64> = self.ease[&item].iter().copied().collect();
        expected.retain(|_, weight| *weight > 0.0);
        check_list(answer, "similar_movies", "similarity", n, &expected, &self.no_twins())
    }

    /// Checks the hybrid's answer to `similar`.
    pub(crate) fn check_alike(&self, answer: &Value, item: i64, n: usize) -> Verdict {
        self.check_version("hybrid", answer)?;
        let (_, models) = self.sources.split_last().ok_or("there are no sources")?;
        let sum: f64 = models.iter().map(|source| source.weight).sum();
        let trained = |item: i64| self.train_counts[&item] > 0;
        let by = |source: &Source, other: i64| match source.name.as_str() {
            "als" if trained(item) && trained(other) => self.als.cosine(item, other).max(0.0),
            "item_cf" => like(&self.item_cf, item, other),
            "content_based" => like(&self.content, item, other),
            "ease" => like(&self.ease, item, other),
            _ => 0.0,
        };
        let likeness =
            |other: i64| models.iter().map(|source| by(source, other) * source.weight / sum).sum::<f64>();
        let others = self.train_counts.keys().copied().filter(|other| *other != item);
        let mut expected: BTreeMap<i64, f64> = others.map(|other| (other, likeness(other))).collect();
        expected.retain(|_, likeness| *likeness > 0.0);
        check_list(answer, "similar_movies", "similarity", n, &expected, &self.no_twins())
    }

    fn check_version(&self, model: &str, answer: &Value) -> Verdict {
        let version = self.versions[model].as_str();
        check(answer["model_version"] == version, || {
            format!("the version is {}, not {version}", answer["model_version"])
        })
    }

    fn clamped(&self, rating: f64) -> f64 {
        let (low, high) = self.scale;
        rating.clamp(low, high)
    }

    /// Every item differs from every other: twins have other ratings held out.
    fn no_twins(&self) -> HashMap<i64, Vec<f32>> {
        self.train_counts.keys().map(|item| (*item, vec![*item as f32])).collect()
    }
}

/// How much a neighbour speaks for an item; 0 of one that speaks against it.
fn like(lists: &Neighbours, of: i64, other: i64) -> f64 {
    stored(lists, of, other).max(0.0)
}

/// The similarity of a neighbour; 0 of what is none.
fn stored(lists: &Neighbours, of: i64, other: i64) -> f64 {
    lists[&of].iter().find(|neighbour| neighbour.0 == other).map_or(0.0, |neighbour| neighbour.1)
}

/// Linear between knots, and towards 1 above them.
fn level(knots: &[(f64, f64)], score: f64) -> f64 {
    let (Some(first), Some(last)) = (knots.first(), knots.last()) else { return 0.0 };
    if score < first.0 {
        return 0.0;
    }
    if let Some(pair) = knots.windows(2).find(|pair| pair[0].0 <= score && score < pair[1].0) {
        let share = (score - pair[0].0) / (pair[1].0 - pair[0].0);
        return pair[0].1 + share * (pair[1].1 - pair[0].1);
    }
    let span = if knots.len() > 1 { last.0 - first.0 } else { last.0.abs() };
    let excess = (score - last.0) / span;
    last.1 + (1.0 - last.1) * excess / (1.0 + excess)
}

/// The parts of a folder in the order of shards, with the ids of their rows.
fn parts(folder: &Path) -> Vec<(TensorFile, IdColumn)> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let file = TensorFile::map(path).unwrap();
        let ids = IdColumn::read(&file).unwrap();
        (file, ids)
    };
    files.iter().map(read).collect()
}

/// The neighbours of each item in a version's folder of the store.
pub(crate) fn stored_neighbours(folder: &Path) -> Neighbours {
    neighbours(folder, &ids(&folder.join("item_biases")))
}

/// The biases of a side, `user` or `item`, in a version's folder of the store.
pub(crate) fn stored_biases(folder: &Path, side: &str) -> HashMap<i64, Vec<f32>> {
    let folder = folder.join(format!("{side}_biases"));
    let of_part = |(file, ids): &(TensorFile, IdColumn)| read_biases(file, ids.len()).unwrap().0.to_vec();
    let biases = parts(&folder).iter().flat_map(of_part).map(|bias| vec![bias]).collect::<Vec<_>>();
    ids(&folder).into_iter().zip(biases).collect()
}

/// The ids of all rows in their global order.
fn ids(folder: &Path) -> Vec<i64> {
    let integer = |id: EntityId| match id {
        EntityId::Integer(id) => id,
        EntityId::Text(id) => panic!("'{id}' is no integer"),
    };
    let of_part = |(_, ids): &(TensorFile, IdColumn)| -> Vec<i64> {
        (0..ids.len()).map(|row| integer(ids.get(row))).collect()
    };
    parts(folder).iter().flat_map(of_part).collect()
}

fn neighbours(folder: &Path, items: &[i64]) -> Neighbours {
    let mut all = Neighbours::new();
    let mut rows = items.iter();
    for (file, ids) in parts(&folder.join("item_neighbours")) {
        let lists = read_neighbours(&file, ids.len(), items.len() as u32).unwrap();
        for (row, item) in (0..ids.len()).zip(&mut rows) {
            let (neighbours, similarities) = lists.of(row);
            let named = neighbours.iter().map(|row| items[*row as usize]);
            all.insert(*item, named.zip(similarities.iter().map(|like| f64::from(*like))).collect());
        }
    }
    all
}

fn vectors(folder: &Path, items: &[i64]) -> HashMap<i64, Vec<f64>> {
    let mut all = HashMap::new();
    let mut rows = items.iter();
    for (file, ids) in parts(&folder.join("item_vectors")) {
        let vectors = read_vectors(&file, ids.len()).unwrap();
        for (row, item) in (0..ids.len()).zip(&mut rows) {
            all.insert(*item, dense(&vectors, row));
        }
    }
    all
}

fn dense(vectors: &ItemVectors, row: usize) -> Vec<f64> {
    let features = vectors.feature_count();
    let mut dense = vec![0.0; features + vectors.genome_width()];
    let (at, values) = vectors.sparse(row);
    at.iter().zip(values).for_each(|(at, value)| dense[*at as usize] = f64::from(*value));
    for (at, value) in vectors.genome(row).iter().enumerate() {
        dense[features + at] = f64::from(*value);
    }
    dense
}
