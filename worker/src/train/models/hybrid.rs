//! HYBRID: calibrations and weights from the scores of other models.
//!
//! Some users, chosen by a hash of their id, stand for all. What they have been trained on is left out: no
//! list has it.

use std::sync::Arc;

use rayon::prelude::*;
use shoal_common::{
    model_parameters::{als, model_in},
    store::{Manifest, PartKind, join, part},
};
use shoal_core::topk::TopK;
use shoal_engine::{
    evaluate::USERS_TOGETHER,
    hybrid::{Blend, Calibration, Candidates, Relevant, ScoreHistogram, UNKNOWN, learn_weights, popularity},
    preference::Preference,
};
use shoal_format::tensor_file::{TensorFile, TensorFileError, TensorWriter};
use shoal_proto::v1::{
    CalibrationKnot, HybridCalibrate, HybridCalibrateDone, HybridCandidates, HybridHistograms, HybridLearn,
    HybridLearnDone, HybridSource, ModelFolder, ObjectEntry, Side, model_parameters::Model,
};

use super::{
    attempt::ModelAttempt,
    blend::blend_of_models,
    sources::{ScoredUsers, ShardScores, Source},
};
use crate::train::{
    TrainError,
    settings::{Settings, ease_preference},
    split::takes_part,
};

/// Items of each source that weights are learned on, per user.
const CANDIDATES_PER_SOURCE: usize = 100;

/// A user whose candidates are collected.
#[derive(Debug)]
struct Collected {
    row: usize,
    items: Levels,
    /// Of each source the highest levels among them.
    best: Vec<TopK<u32>>,
}

/// Items of a user with the level of each source.
#[derive(Debug, Default)]
struct Levels {
    /// Global rows of the items, ascending.
    rows: Vec<u32>,
    /// For each row as many as there are sources.
    levels: Vec<f32>,
}

impl Collected {
    fn new(row: usize, sources: usize) -> Self {
        Self { row, items: Levels::default(), best: vec![TopK::new(CANDIDATES_PER_SOURCE); sources] }
    }

    /// Adds those of a shard's best items by each source that can be among the best of all shards.
    fn add_best(&mut self, blend: &Blend, sources: &[&[f32]], first_row: u32) {
        let mut rows: Vec<u32> = Vec::new();
        for (source, scores) in sources.iter().enumerate() {
            let mut top = TopK::new(CANDIDATES_PER_SOURCE);
            // What is lower has as many above it as are kept.
            let floor = blend.score_below(source, self.best[source].threshold());
            for (row, &score) in (0..).zip(*scores).filter(|(_, score)| **score != UNKNOWN) {
                if score >= floor && score >= top.threshold() {
                    top.push(score, row);
                }
            }
            rows.extend(top.into_sorted().into_iter().map(|(_, row)| row));
        }
        rows.sort_unstable();
        rows.dedup();
        for row in rows {
            self.items.rows.push(first_row + row);
            for (source, (scores, best)) in sources.iter().zip(&mut self.best).enumerate() {
                let level = blend.level(source, scores[row as usize]);
                best.push(level, first_row + row);
                self.items.levels.push(level);
            }
        }
    }
}

impl ModelAttempt {
    async fn open_all(&self, folders: &[ModelFolder]) -> Result<Vec<Source>, TrainError> {
        let mut sources = Vec::with_capacity(folders.len());
        for folder in folders {
            sources.push(Source::open(self, folder.clone()).await?);
        }
        Ok(sources)
    }

    async fn open_shard(&self, sources: &[Source], shard: u32) -> Result<Vec<ShardScores>, TrainError> {
        let mut scores = Vec::with_capacity(sources.len());
        for source in sources {
            scores.push(source.shard(self, shard).await?);
        }
        Ok(scores)
    }

    /// Own users with training ratings, about `users_max` of the whole data set's (0: all).
    fn sampled_users(&self, users_max: u32) -> Vec<usize> {
        let share = match users_max {
            0 => 1.0,
            most => f64::from(most) / f64::from(self.training_users).max(1.0),
        };
        let ratings = self.users.rating_rows();
        let rows = 0..self.users.table.own_rows();
        let known = rows.filter(|&row| !ratings.row(row).slots.is_empty());
        known.filter(|&row| takes_part(self.user_hash(row), share)).collect()
    }

    /// Hands over, for each of some users, the scores of every source for a shard's items: of the models in their order, then
    /// popularity. They are [`UNKNOWN`] for what the user was trained on.
    fn score_users(
        &self,
        rows: impl IntoIterator<Item = usize>,
        shard: u32,
        models: &[ShardScores],
        counts: &[u32],
        users: &mut ScoredUsers,
        mut each: impl FnMut(usize, &[&[f32]]),
    ) {
        users.load(self, rows);
        let all: Vec<usize> = (0..users.len()).collect();
        users.score(models, &all);
        let rows = self.items.shards.shard_rows(shard);
        let counts = &counts[rows.start as usize..rows.end as usize];
        let mut of_popularity: Vec<f32> = Vec::with_capacity(counts.len());
        for at in all {
            of_popularity.clear();
            of_popularity.extend(counts.iter().map(|&count| popularity(count)));
            let (rated, of_models) = users.of(at, at);
            let mut sources: Vec<&mut [f32]> = of_models.collect();
            sources.push(&mut of_popularity);
            for &item in &rated.items[super::profiles::span(&rated.items, &rows)] {
                for source in &mut sources {
                    source[(item - rows.start) as usize] = UNKNOWN;
                }
            }
            let sources: Vec<&[f32]> = sources.iter().map(|source| &**source).collect();
            each(at, &sources);
        }
    }

    /// Counts the scores of some own users by each source, and writes the counts.
    ///
    /// # Errors
    /// When there are no baselines yet, a part cannot be read, or the store cannot be written.
    pub async fn write_histograms(
        self: &Arc<Self>,
        step: HybridHistograms,
        on_shards: impl Fn(u64),
    ) -> Result<Vec<ObjectEntry>, TrainError> {
        let baselines = self.baselines()?;
        let sources = self.open_all(&step.folders).await?;
        let users = Arc::new(self.sampled_users(step.users_max));
        let mut histograms = vec![ScoreHistogram::default(); step.folders.len() + 1];
        for shard in 0..self.items.shards.count() {
            let models = self.open_shard(&sources, shard).await?;
            let (attempt, users, baselines) = (Arc::clone(self), Arc::clone(&users), Arc::clone(&baselines));
            let counting = self.context.job.compute.run(move || {
                // A histogram is large: one set per thread, not one per user.
                let users_each = users.len().div_ceil(rayon::current_num_threads()).max(1);
                let counted = users.par_chunks(users_each).map(|users| {
                    let mut histograms = vec![ScoreHistogram::default(); models.len() + 1];
                    let mut scored = ScoredUsers::default();
                    for users in users.chunks(USERS_TOGETHER) {
                        let (rows, counts) = (users.iter().copied(), &baselines.train_counts);
                        attempt.score_users(rows, shard, &models, counts, &mut scored, |_, sources| {
                            for (histogram, scores) in histograms.iter_mut().zip(sources) {
                                let known = scores.iter().filter(|score| **score != UNKNOWN);
                                known.for_each(|&score| histogram.add(score));
                            }
                        });
                    }
                    histograms
                });
                counted.collect::<Vec<_>>().into_iter().fold(histograms, merged)
            });
            histograms = counting.await?;
            on_shards(1);
        }
        // Named by the worker's place: every worker has users of its own.
        let name = format!("histograms/part-{:05}.safetensors", self.me);
        let bytes = histogram_bytes(&name, &histograms)?;
        let entry = self.context.job.store.put(&join(&step.path, &name), bytes).await?;
        Ok(vec![ObjectEntry { path: name, ..entry }])
    }

    /// The calibrations that follow from the counts of all workers.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub async fn calibrate(
        self: &Arc<Self>,
        step: HybridCalibrate,
    ) -> Result<HybridCalibrateDone, TrainError> {
        let manifest = Manifest::read(&self.context.job.store, &step.path, "").await?;
        let mut all: Vec<ScoreHistogram> = Vec::new();
        for entry in &manifest.objects {
            let file = self.read_part(&step.path, entry).await?;
            let read = read_histograms(&file)?;
            all = if all.is_empty() { read } else { merged(all, read) };
        }
        let source = |histogram: &ScoreHistogram| {
            let calibration = Calibration::new(histogram);
            let knots = calibration.knots().iter().map(|&(score, level)| CalibrationKnot { score, level });
            HybridSource { knots: knots.collect(), ..HybridSource::default() }
        };
        let calibrating = self.context.job.compute.run(move || all.iter().map(source).collect());
        Ok(HybridCalibrateDone { sources: calibrating.await? })
    }

    /// Writes, for some own users with held-out pairs, their best items by each source with the levels of all.
    ///
    /// # Errors
    /// When there are no baselines yet, a part cannot be read, or the store cannot be written.
    pub async fn write_candidates(
        self: &Arc<Self>,
        step: HybridCandidates,
        on_shards: impl Fn(u64),
    ) -> Result<Vec<ObjectEntry>, TrainError> {
        let baselines = self.baselines()?;
        let blend = Arc::new(blend_of_models(&step.sources, step.folders.len())?);
        let sources = self.open_all(&step.folders).await?;
        let held_out = |row: &usize| !self.users.held_out().row(*row).0.is_empty();
        let users = self.sampled_users(step.users_max).into_iter().filter(held_out);
        let mut users: Vec<Collected> = users.map(|row| Collected::new(row, step.sources.len())).collect();
        for shard in 0..self.items.shards.count() {
            let models = self.open_shard(&sources, shard).await?;
            let (attempt, blend, baselines) = (Arc::clone(self), Arc::clone(&blend), Arc::clone(&baselines));
            let collecting = self.context.job.compute.run(move || {
                let first = attempt.items.shards.shard_rows(shard).start;
                users.par_chunks_mut(USERS_TOGETHER).for_each_init(ScoredUsers::default, |scored, users| {
                    let rows: Vec<usize> = users.iter().map(|user| user.row).collect();
                    attempt.score_users(
                        rows,
                        shard,
                        &models,
                        &baselines.train_counts,
                        scored,
                        |at, sources| users[at].add_best(&blend, sources, first),
                    );
                });
                users
            });
            users = collecting.await?;
            on_shards(1);
        }
        let mut entries = Vec::new();
        let count = step.sources.len();
        let preference = self.preference_of(&step.folders)?;
        for owned in &self.users.owned {
            let begin = users.partition_point(|user| user.row < owned.rows.start);
            let end = users.partition_point(|user| user.row < owned.rows.end);
            let of_shard = users[begin..end].iter_mut().map(|user| {
                let (rows, ratings) = self.users.held_out().row(user.row);
                let gains = ratings.iter().map(|&rating| preference.of(rating) as f32);
                let relevant = Relevant::new(rows.to_vec(), gains.collect());
                // They are many more than the best of them: gone before the next user's are looked at.
                candidates(&std::mem::take(&mut user.items), count, relevant)
            });
            let of_shard: Vec<Candidates> = of_shard.collect();
            let name = part(PartKind::Candidates, Side::Users, owned.shard);
            let bytes = candidates_bytes(&name, &of_shard, count)?;
            let entry = self.context.job.store.put(&join(&step.path, &name), bytes).await?;
            entries.push(ObjectEntry { path: name, ..entry });
        }
        Ok(entries)
    }

    /// What a held-out rating says of liking: what ratings say to the ALS version that is blended; without one that lists
    /// are made by, what they say to EASE; without that, as to the others, by height.
    fn preference_of(&self, folders: &[ModelFolder]) -> Result<Preference, TrainError> {
        if let Some(als) = folders.iter().filter_map(|folder| folder.parameters.as_ref()).find_map(als) {
            let (users, items) = (&self.users.shards, &self.items.shards);
            let settings = Settings::new(als, u64::from(users.rows()), u64::from(items.rows()))?;
            if let Some(ranking) = settings.ranking(Side::Users) {
                return Ok(ranking.preference);
            }
        }
        let of_ease = |folder| match model_in(folder) {
            Some(Model::Ease(ease)) => Some(ease_preference(ease)),
            Some(Model::Als(_) | Model::ItemCf(_) | Model::Content(_) | Model::Hybrid(_)) | None => None,
        };
        if let Some(preference) = folders.iter().find_map(of_ease) {
            return Ok(preference);
        }
        Ok(Preference::by_height(self.dataset.rating_min, self.dataset.rating_max))
    }

    /// The weights under which the candidates of all workers' users make the best lists.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub async fn learn(self: &Arc<Self>, step: HybridLearn) -> Result<HybridLearnDone, TrainError> {
        let manifest = Manifest::read(&self.context.job.store, &step.path, "").await?;
        let sources = step.sources as usize;
        let mut users = Vec::new();
        for shard in 0..self.users.shards.count() {
            let entry = manifest.entry(&part(PartKind::Candidates, Side::Users, shard))?;
            let file = self.read_part(&step.path, entry).await?;
            users.extend(read_candidates(&file, sources)?);
        }
        let count = users.len() as u64;
        let learned = self.context.job.compute.run(move || learn_weights(&users, sources)).await?;
        Ok(HybridLearnDone { weights: learned.of_sources, ndcg_at_20: learned.worth, users: count })
    }
}

fn merged(mut all: Vec<ScoreHistogram>, more: Vec<ScoreHistogram>) -> Vec<ScoreHistogram> {
    for (sum, histogram) in all.iter_mut().zip(&more) {
        sum.merge(histogram);
    }
    all
}

/// Of the best items of all shards, the best of all by each source.
fn candidates(items: &Levels, sources: usize, relevant: Relevant) -> Candidates {
    let levels_of = |at: usize| &items.levels[at * sources..][..sources];
    let mut kept: Vec<usize> = Vec::new();
    for source in 0..sources {
        let mut top = TopK::new(CANDIDATES_PER_SOURCE);
        for at in 0..items.rows.len() {
            let level = levels_of(at)[source];
            if level != UNKNOWN {
                top.push(level, at);
            }
        }
        kept.extend(top.into_sorted().into_iter().map(|(_, at)| at));
    }
    kept.sort_unstable();
    kept.dedup();
    Candidates {
        rows: kept.iter().map(|&at| items.rows[at]).collect(),
        levels: kept.iter().flat_map(|&at| levels_of(at)).copied().collect(),
        relevant,
    }
}

/// Per source k the tensors `bins_k` u32 and `counts_k` u64.
fn histogram_bytes(path: &str, histograms: &[ScoreHistogram]) -> Result<bytes::Bytes, TensorFileError> {
    let columns: Vec<(Vec<u32>, Vec<u64>)> =
        histograms.iter().map(|histogram| histogram.bins().unzip()).collect();
    let mut writer = TensorWriter::new();
    for (source, (bins, counts)) in columns.iter().enumerate() {
        writer.add(&format!("bins_{source}"), &[bins.len()], bins);
        writer.add(&format!("counts_{source}"), &[counts.len()], counts);
    }
    writer.to_bytes(path)
}

fn read_histograms(file: &TensorFile) -> Result<Vec<ScoreHistogram>, TensorFileError> {
    let mut histograms = Vec::new();
    for source in (0..).take_while(|source| file.has(&format!("bins_{source}"))) {
        let bins = file.vector::<u32>(&format!("bins_{source}"))?;
        let counts = file.vector::<u64>(&format!("counts_{source}"))?;
        histograms.push(ScoreHistogram::from_bins(bins.iter().copied().zip(counts.iter().copied())));
    }
    Ok(histograms)
}

/// `indptr` u64[users + 1], `rows` u32[n], `levels` f32[n, sources], `held_indptr` u64[users + 1], `held` u32[m], `gains`
/// f32[m].
fn candidates_bytes(
    path: &str,
    users: &[Candidates],
    sources: usize,
) -> Result<bytes::Bytes, TensorFileError> {
    let (mut indptr, mut held_indptr) = (vec![0_u64], vec![0_u64]);
    let (mut rows, mut levels, mut held, mut gains) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for user in users {
        rows.extend_from_slice(&user.rows);
        levels.extend_from_slice(&user.levels);
        let (relevant, of_relevant) = user.relevant.parts();
        held.extend_from_slice(relevant);
        gains.extend_from_slice(of_relevant);
        indptr.push(rows.len() as u64);
        held_indptr.push(held.len() as u64);
    }
    let mut writer = TensorWriter::new();
    writer.add("indptr", &[indptr.len()], &indptr);
    writer.add("rows", &[rows.len()], &rows);
    writer.add("levels", &[rows.len(), sources], &levels);
    writer.add("held_indptr", &[held_indptr.len()], &held_indptr);
    writer.add("held", &[held.len()], &held);
    writer.add("gains", &[gains.len()], &gains);
    writer.to_bytes(path)
}

fn read_candidates(file: &TensorFile, sources: usize) -> Result<Vec<Candidates>, TensorFileError> {
    let (indptr, held_indptr) = (file.vector::<u64>("indptr")?, file.vector::<u64>("held_indptr")?);
    let (rows, held) = (file.vector::<u32>("rows")?, file.vector::<u32>("held")?);
    let gains = file.vector::<f32>("gains")?;
    let (levels, columns) = file.matrix::<f32>("levels", rows.len())?;
    let spans = |indptr: &[u64], length: usize| {
        indptr.first() == Some(&0) && indptr.last() == Some(&(length as u64)) && indptr.is_sorted()
    };
    if columns != sources || !spans(indptr, rows.len()) || !spans(held_indptr, held.len()) {
        return Err(file.tensor_error("indptr", "the candidates are not those of its users".to_owned()));
    }
    if gains.len() != held.len() {
        return Err(file.tensor_error("gains", "there is not one for each held-out item".to_owned()));
    }
    if indptr.len() != held_indptr.len() {
        return Err(file.tensor_error("held_indptr", "it has another number of users".to_owned()));
    }
    let pairs = indptr.windows(2).zip(held_indptr.windows(2));
    let user = |(of_rows, of_held): (&[u64], &[u64])| {
        let range = of_rows[0] as usize..of_rows[1] as usize;
        let of_held = of_held[0] as usize..of_held[1] as usize;
        Candidates {
            rows: rows[range.clone()].to_vec(),
            levels: levels[range.start * sources..range.end * sources].to_vec(),
            relevant: Relevant::new(held[of_held.clone()].to_vec(), gains[of_held].to_vec()),
        }
    };
    Ok(pairs.map(user).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_passes_between_workers_comes_back_as_it_was() {
        let mut first = ScoreHistogram::default();
        [0.5, 0.5, -3.0].into_iter().for_each(|score| first.add(score));
        let histograms = vec![first, ScoreHistogram::default()];
        let file = TensorFile::from_bytes("h", &histogram_bytes("h", &histograms).unwrap()).unwrap();
        assert_eq!(read_histograms(&file).unwrap(), histograms);

        let users = vec![
            Candidates {
                rows: vec![3, 9],
                levels: vec![0.1, 0.2, 0.3, 0.4],
                relevant: Relevant::new(vec![9], vec![0.5]),
            },
            Candidates { relevant: Relevant::new(vec![1, 2], vec![1.0, 0.1]), ..Candidates::default() },
        ];
        let file = TensorFile::from_bytes("c", &candidates_bytes("c", &users, 2).unwrap()).unwrap();
        assert_eq!(read_candidates(&file, 2).unwrap(), users);
        assert!(read_candidates(&file, 3).is_err());
    }

    proptest! {
        /// What is passed over while shards are gone through is not among the best in the end.
        #[test]
        fn candidates_are_those_of_every_shards_best(
            numbers in prop::collection::vec(0_u16..400, 7..60),
            shards in 1_usize..8,
            rows in 1_usize..260,
        ) {
            let knots = || {
                let knots = (0..9).map(|knot| (knot as f32 * 40.0, knot as f32 / 9.0));
                Calibration::from_knots(knots.collect()).unwrap()
            };
            let blend = Blend::new(vec![(knots(), 0.5), (knots(), 0.5)]);
            let score = |at: usize| match numbers[at % numbers.len()] {
                // Some items are not known to a source.
                number if number % 11 == 0 => UNKNOWN,
                number => f32::from(number) + (at % 13) as f32 / 16.0,
            };
            let mut collected = Collected::new(0, 2);
            let mut everything = Levels::default();
            for shard in 0..shards {
                let of_source = |source: usize| -> Vec<f32> {
                    (0..rows).map(|row| score((shard * rows + row) * 3 + source * 17)).collect()
                };
                let scores = [of_source(0), of_source(1)];
                let first = (shard * rows) as u32;
                collected.add_best(&blend, &[&scores[0], &scores[1]], first);
                for (row, of_row) in scores[0].iter().zip(&scores[1]).enumerate() {
                    everything.rows.push(first + row as u32);
                    everything.levels.extend([blend.level(0, *of_row.0), blend.level(1, *of_row.1)]);
                }
            }
            let found = candidates(&collected.items, 2, Relevant::default());
            // By level and then row, of all items.
            let expected = candidates(&everything, 2, Relevant::default());
            prop_assert_eq!(found.rows, expected.rows);
            prop_assert_eq!(found.levels, expected.levels);
        }
    }

    #[test]
    fn candidates_are_the_best_of_each_source() {
        let second = |row: u32| if row < 2 { 1.0 - row as f32 / 10.0 } else { UNKNOWN };
        let items = Levels {
            rows: (0..300).collect(),
            levels: (0..300).flat_map(|row| [row as f32 / 300.0, second(row)]).collect(),
        };
        let found = candidates(&items, 2, Relevant::default());
        let expected: Vec<u32> = (0..2).chain(200..300).collect();
        assert_eq!(found.rows, expected);
        assert_eq!(found.levels[..4], [0.0, 1.0, 1.0 / 300.0, 0.9]);
    }
}
