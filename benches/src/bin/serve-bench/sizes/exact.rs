//! Exact lists from a version's item factors in this process, on one core: what a worker does for a query, shard by shard.

use std::{
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_core::{hash::mix64, topk::TopK};
use shoal_engine::score::{Bounds, FactorRows, Scoring, Screen, Selection, norm, top_n};
use shoal_format::tensor_file::TensorFile;

/// Items of a list.
const TOP: usize = 10;
/// Queries that are asked in turn.
const QUERIES: usize = 2_000;
/// How long they are asked.
const PATIENCE: Duration = Duration::from_secs(3);

static GO_ON: AtomicBool = AtomicBool::new(false);

/// What is looked for, and among what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// Items for users, among items as they were trained.
    Recommend,
    /// Items for users, among items that are all made equally long.
    RecommendAlike,
    /// The items most like an item.
    Similar,
}

impl Search {
    pub(crate) const ALL: [Self; 3] = [Self::Recommend, Self::RecommendAlike, Self::Similar];

    /// As the peers name it too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Recommend => "recommend",
            Self::RecommendAlike => "recommend, norms alike",
            Self::Similar => "similar",
        }
    }
}

/// A shard of a side as the version has it.
struct Part {
    file: TensorFile,
}

impl Part {
    /// The parts of a side's first shards.
    fn all(version: &Path, side: &str, shards: Option<usize>) -> anyhow::Result<Vec<Self>> {
        let folder = version.join(side);
        let listed = std::fs::read_dir(&folder).with_context(|| format!("no '{}'", folder.display()))?;
        let mut paths: Vec<_> = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        paths.sort();
        paths.truncate(shards.unwrap_or(usize::MAX));
        paths.iter().map(|path| Ok(Self { file: TensorFile::map(path)? })).collect()
    }

    fn counts(&self) -> anyhow::Result<&[u32]> {
        Ok(self.file.vector("train_counts")?)
    }

    fn factors(&self) -> anyhow::Result<FactorRows<'_>> {
        let (values, rank) = self.file.matrix("ranking", self.counts()?.len())?;
        Ok(FactorRows::new(values, rank))
    }
}

/// A shard of items with what bounds their scores.
struct Shard<'a> {
    factors: FactorRows<'a>,
    counts: &'a [u32],
    norms: Vec<f64>,
    screen: Screen,
}

impl<'a> Shard<'a> {
    fn new(factors: FactorRows<'a>, counts: &'a [u32]) -> Self {
        let norms = (0..factors.len()).map(|row| norm(factors.row(row))).collect();
        let screen = Screen::new(factors.values(), factors.rank(), &[], counts, Bounds::Fastest);
        Self { factors, counts, norms, screen }
    }

    fn scoring<'q>(&'q self, search: Search, query: &'q [f32]) -> Scoring<'q> {
        let factors = self.factors.screened(&self.screen);
        match search {
            Search::Recommend | Search::RecommendAlike => Scoring::Product { factors, query },
            Search::Similar => {
                Scoring::Cosine { factors, norms: &self.norms, query, query_norm: norm(query) }
            }
        }
    }
}

/// Items that have training ratings: the others are in no list.
pub(crate) fn trained_items(version: &Path, shards: Option<usize>) -> anyhow::Result<usize> {
    let parts = Part::all(version, "item_factors", shards)?;
    let trained = |part: &Part| Ok(part.counts()?.iter().filter(|count| **count > 0).count());
    parts.iter().map(trained).sum()
}

/// Queries per second and the time of one, for each search; items of the first `shards` only where it is given.
pub(crate) fn measure(version: &Path, searches: &[Search], shards: Option<usize>) -> anyhow::Result<Value> {
    let items = Part::all(version, "item_factors", shards)?;
    let users = Part::all(version, "user_factors", Some(1))?;
    let mut figures = serde_json::Map::new();
    for &search in searches {
        let alike = match search {
            Search::RecommendAlike => items.iter().map(made_alike).collect::<anyhow::Result<Vec<_>>>()?,
            Search::Recommend | Search::Similar => Vec::new(),
        };
        let shards: Vec<Shard<'_>> = items
            .iter()
            .enumerate()
            .map(|(at, part)| {
                let trained = part.factors()?;
                let factors = alike.get(at).map_or(trained, |values| FactorRows::new(values, trained.rank()));
                Ok(Shard::new(factors, part.counts()?))
            })
            .collect::<anyhow::Result<_>>()?;
        let asking = if search == Search::Similar { &items } else { &users };
        let queries = drawn(asking)?;
        anyhow::ensure!(!queries.is_empty(), "the version has no trained rows in its first shard");
        figures.insert(search.name().to_owned(), asked(&shards, search, &queries)?);
    }
    Ok(Value::Object(figures))
}

/// Some of the trained rows, a seeded choice.
fn drawn(parts: &[Part]) -> anyhow::Result<Vec<&[f32]>> {
    let mut rows = Vec::new();
    for (shard, part) in parts.iter().enumerate() {
        let factors = part.factors()?;
        let trained = part.counts()?.iter().enumerate().filter(|(_, count)| **count > 0);
        rows.extend(trained.map(|(row, _)| (mix64((shard as u64) << 32 | row as u64), factors.row(row))));
    }
    let kept = QUERIES.min(rows.len());
    if kept < rows.len() {
        rows.select_nth_unstable_by_key(kept, |(place, _)| *place);
    }
    Ok(rows.into_iter().take(kept).map(|(_, row)| row).collect())
}

/// Rows of the same directions and of length 1; rows without one stay.
fn made_alike(part: &Part) -> anyhow::Result<Vec<f32>> {
    let factors = part.factors()?;
    let mut values = factors.values().to_vec();
    for row in values.chunks_exact_mut(factors.rank()) {
        let length = norm(row);
        if length > 0.0 {
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
    }
    Ok(values)
}

fn asked(shards: &[Shard<'_>], search: Search, queries: &[&[f32]]) -> anyhow::Result<Value> {
    let mut seconds = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let query = queries[seconds.len() % queries.len()];
        let started = Instant::now();
        let found = best(shards, search, query).context("the search was cancelled")?;
        seconds.push(started.elapsed().as_secs_f64());
        std::hint::black_box(found);
    }
    let per_second = seconds.len() as f64 / seconds.iter().sum::<f64>();
    seconds.sort_by(f64::total_cmp);
    let percentile = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize] * 1e3;
    Ok(json!({
        "per_second_on_one_core": per_second,
        "alone": { "p50_ms": percentile(0.5), "p99_ms": percentile(0.99) },
    }))
}

/// The best items of all shards; each shard knows what the ones before have found.
fn best(shards: &[Shard<'_>], search: Search, query: &[f32]) -> Option<TopK<(usize, u32)>> {
    let mut best = TopK::new(TOP);
    for (at, shard) in shards.iter().enumerate() {
        let selection = Selection {
            scoring: shard.scoring(search, query),
            counts: shard.counts,
            first_row: 0,
            exclude: &[],
            filter: None,
            n: TOP,
            floor: best.threshold(),
        };
        for (score, row) in top_n(&[selection], &GO_ON)?.pop()? {
            best.push(score, (at, row));
        }
    }
    Some(best)
}
