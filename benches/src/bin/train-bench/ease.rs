//! EASE's sums, inverse and weights beside LAPACK's inverse by Cholesky, on the same ratings and threads, in turns.

use std::{collections::HashMap, path::Path, time::Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_benches::{machine::median, peers::Peers, results::Target, roofline::gemm_rate};
use shoal_core::topk::TopK;
use shoal_engine::{
    als::kernel::Kernel,
    ease::{Entries, Grid, Levels, UserRows, all_weights, invert, likes_of, sum},
    evaluate::{LIST_LENGTH, score_list},
    preference::Preference,
};

use crate::measures::{Bench, THREADS};

const RIDGE: usize = 500;
/// Weights per item on average.
const NEIGHBOURS: usize = 200;
/// Users whose lists are compared, the first by id.
const JUDGED_USERS: usize = 2_000;

/// Likings by the height of the rating, and held-out items of the same users: rows in the order of ids.
struct Ratings {
    items: usize,
    indptr: Vec<u64>,
    rated: Vec<u32>,
    likings: Vec<f32>,
    /// Of each user, ascending, without what they have rated.
    held_out: Vec<Vec<u32>>,
}

/// Seconds of each part.
#[derive(Debug, Default)]
struct Seconds {
    sums: Vec<f64>,
    inverse: Vec<f64>,
    weights: Vec<f64>,
}

impl Bench {
    /// The whole of EASE on one machine.
    pub(crate) fn ease(&mut self) -> anyhow::Result<()> {
        let ratings = Ratings::read(&self.files.train, &self.files.test)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?;
        let (mut ours, mut weights, mut answers) = (Seconds::default(), Vec::new(), Vec::new());
        for run in 0..self.runs {
            weights = pool.install(|| ours.fit(&ratings))?;
            if let Some(peers) = &self.peers {
                answers.push(self.scipy(peers, run == 0)?);
            }
        }
        let (ndcg, order) = (ratings.ndcg(&weights), ratings.items);
        // Both cores at once: alone a core may run faster.
        let rate: f64 = pool.broadcast(|_| gemm_rate()).into_iter().sum();
        let operations = (order as f64).powi(3);
        let detail = json!({
            "items": order, "users": ratings.held_out.len(), "ratings": ratings.rated.len(),
            "threads": THREADS, "neighbours": NEIGHBOURS, "ndcg_at_20": ndcg,
            "sums_seconds": ours.sums, "inverse_seconds": ours.inverse, "weights_seconds": ours.weights,
            "inverse_operations": operations, "gemm_flops_per_second": rate, "scipy": answers,
        });
        let name = format!("EASE of {order} items, seconds over the inverse's arithmetic at gemm's rate");
        self.results.add(&name, median(ours.whole()) * rate / operations, Target::AtMost(1.3), detail);
        if answers.is_empty() {
            return Ok(());
        }
        let theirs = answers.iter().filter_map(|answer| answer["inverse_seconds"].as_f64()).collect();
        let name = format!("EASE's inverse of {order} items, times the speed of scipy's by Cholesky in f32");
        let ratio = median(theirs) / median(ours.inverse);
        self.results.add(&name, ratio, Target::AtLeast(1.0), json!({}));
        let theirs = answers[0]["ndcg_of_largest"].as_f64().context("there is no ndcg")?;
        let name = "EASE's ndcg@20, difference to the Python program's";
        self.results.add(name, (ndcg - theirs).abs(), Target::AtMost(1e-3), json!({}));
        Ok(())
    }

    /// The same by the Python program; with lists in one run, because they take long and are the same in each.
    fn scipy(&self, peers: &Peers, with_lists: bool) -> anyhow::Result<Value> {
        let [train, test] = [&self.files.train, &self.files.test].map(|file| file.display().to_string());
        let [reg, threads, neighbours, judged] =
            [RIDGE, THREADS, NEIGHBOURS, JUDGED_USERS].map(|number| number.to_string());
        let mut arguments = vec![train.as_str(), "--height", "--reg", &reg, "--threads", &threads];
        if with_lists {
            arguments.extend(["--test", &test, "--neighbours", &neighbours, "--users", &judged]);
        }
        peers.run("ease.py", &arguments)
    }
}

impl Seconds {
    fn fit(&mut self, ratings: &Ratings) -> anyhow::Result<Vec<Entries>> {
        let all: Vec<u32> = (0..ratings.items as u32).collect();
        let users = UserRows { indptr: &ratings.indptr, items: &ratings.rated, likings: &ratings.likings };
        let levels = Levels::of_users(ratings.held_out.len() as u64);
        let grid = Grid::new(ratings.items as u32, 1);
        let started = Instant::now();
        let likes = likes_of(users, &all, ratings.items, levels);
        let sums = sum(&likes, grid, Kernel::detect());
        self.sums.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let share = invert(sums, RIDGE as f64, levels)?;
        self.inverse.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let weights = all_weights(&share, NEIGHBOURS);
        self.weights.push(started.elapsed().as_secs_f64());
        Ok(weights)
    }

    /// Seconds of all steps together, of each run.
    fn whole(&self) -> Vec<f64> {
        let parts = self.sums.iter().zip(&self.inverse).zip(&self.weights);
        parts.map(|((sums, inverse), weights)| sums + inverse + weights).collect()
    }
}

impl Ratings {
    /// From CSV files whose first three columns are integer ids and the rating.
    fn read(train: &Path, test: &Path) -> anyhow::Result<Self> {
        let mut triples = triples(train)?;
        triples.sort_unstable_by_key(|&(user, item, _)| (user, item));
        let mut items: Vec<u64> = triples.iter().map(|triple| triple.1).collect();
        items.sort_unstable();
        items.dedup();
        let rows: HashMap<u64, u32> = items.iter().copied().zip(0..).collect();
        let extremes = |(least, greatest): (f32, f32), rating: f32| (least.min(rating), greatest.max(rating));
        let (least, greatest) = triples.iter().map(|triple| triple.2).fold((f32::MAX, f32::MIN), extremes);
        let preference = Preference::by_height(least.into(), greatest.into());
        let (mut indptr, mut users) = (vec![0], HashMap::new());
        for of_user in triples.chunk_by(|a, b| a.0 == b.0) {
            users.insert(of_user[0].0, users.len());
            indptr.push(indptr[indptr.len() - 1] + of_user.len() as u64);
        }
        let (rated, likings): (Vec<u32>, Vec<f32>) =
            triples.iter().map(|(_, item, rating)| (rows[item], preference.of(*rating) as f32)).unzip();
        let mut held_out = vec![Vec::new(); users.len()];
        for (user, item, _) in self::triples(test)? {
            if let (Some(&user), Some(&row)) = (users.get(&user), rows.get(&item)) {
                held_out[user].push(row);
            }
        }
        held_out.iter_mut().for_each(|rows| rows.sort_unstable());
        Ok(Self { items: items.len(), indptr, rated, likings, held_out })
    }

    /// Of the lists of the first users that something is held out of.
    fn ndcg(&self, weights: &[Entries]) -> f64 {
        // For each item that may have been rated, what it says of others.
        let mut says: Vec<Vec<(u32, f32)>> = vec![Vec::new(); self.items];
        for (item, entries) in (0..).zip(weights) {
            entries.iter().for_each(|&(weight, rated)| says[rated as usize].push((item, weight)));
        }
        let users = (0..self.held_out.len()).filter(|&user| !self.held_out[user].is_empty());
        let judged: Vec<usize> = users.take(JUDGED_USERS).collect();
        let ndcg = |&user: &usize| {
            let range = self.indptr[user] as usize..self.indptr[user + 1] as usize;
            let (rated, mut scores) = (&self.rated[range.clone()], vec![0.0; self.items]);
            for (&item, &liking) in rated.iter().zip(&self.likings[range]) {
                let of_item = says[item as usize].iter();
                of_item.for_each(|&(other, weight)| scores[other as usize] += liking * weight);
            }
            let mut top = TopK::new(LIST_LENGTH);
            let listable = (0..).zip(&scores).filter(|(row, _)| rated.binary_search(row).is_err());
            listable.for_each(|(row, &score)| top.push(score, row));
            let list = top.into_sorted().into_iter().map(|(_, row)| row);
            score_list(list, &self.held_out[user]).ndcg
        };
        judged.iter().map(ndcg).sum::<f64>() / judged.len() as f64
    }
}

fn triples(path: &Path) -> anyhow::Result<Vec<(u64, u64, f32)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let triple = |line: &str| {
        let mut fields = line.split(',');
        let mut field = || fields.next().unwrap_or_default();
        Ok::<_, anyhow::Error>((field().parse()?, field().parse()?, field().parse()?))
    };
    let lines = text.lines().skip(1);
    lines.map(|line| triple(line).with_context(|| format!("in '{line}'"))).collect()
}
