//! Weights, learned on a share of the training ratings that models trained on the rest have not seen.

use shoal_common::split::training_share;
use shoal_proto::v1::{
    DatasetInfo, HybridCandidates, HybridLearn, HybridLearnDone, HybridLearning, HybridParameters,
    ModelFolder, SplitParameters,
};

use super::{
    calibrations::{CALIBRATION_STEPS, calibrations},
    components::Components,
};
use crate::jobs::{
    error::JobError,
    model_training::LearningPhase,
    parts::Part,
    run::{PREPARE_STEPS, Run, Validation},
    tracker::{Phase, Tracker},
};

/// Where in the job models are trained for learning.
const MODELS_SPAN: (f64, f64) = (0.0, 0.35);

/// For the models that share their ratings.
const LOADING: LearningPhase =
    LearningPhase { name: "learning_ratings", text: "learning weights: loading the ratings", share: 1.0 };
const LEARNING: Phase = Phase { name: "learning_weights", text: "learning weights", span: (0.35, 0.5) };

/// Weights, and what they were learned on.
pub(super) struct Learned {
    pub(super) weights: Vec<f64>,
    pub(super) on: HybridLearning,
}

/// Places phases one after the other in a span, each by its share of all.
struct Spans {
    next: f64,
    per_share: f64,
}

impl Spans {
    fn of(components: &Components) -> Result<Self, JobError> {
        let mut shares = LOADING.share;
        for component in components.iter() {
            shares += component.training()?.learning_phase().share;
        }
        Ok(Self { next: MODELS_SPAN.0, per_share: (MODELS_SPAN.1 - MODELS_SPAN.0) / shares })
    }

    fn phase(&mut self, phase: LearningPhase) -> Phase {
        let LearningPhase { name, text, share } = phase;
        let begin = self.next;
        self.next += share * self.per_share;
        Phase { name, text, span: (begin, self.next) }
    }
}

/// The share of the users whose ratings take part in learning: so many that there are the ratings asked for, and the users
/// whose lists are ranked.
fn user_share(dataset: &DatasetInfo, parameters: &HybridParameters, split: &SplitParameters) -> f64 {
    let (ratings, users) = (parameters.learning_ratings_max, parameters.learning_users_max);
    if ratings == 0 || users == 0 {
        return 1.0;
    }
    let trained = dataset.ratings as f64 * training_share(split);
    let of_ratings = ratings as f64 / trained.max(1.0);
    let of_users = f64::from(users) / (dataset.users as f64).max(1.0);
    of_ratings.max(of_users).min(1.0)
}

/// Trains every model that is blended anew, and learns weights. The ratings are loaded once: models that keep a state of
/// their own on workers come first, and the others share the ratings of the last of them.
///
/// # Errors
/// See [`JobError`].
pub(super) async fn learn(
    run: &Run<'_>,
    components: &Components,
    parameters: &HybridParameters,
    tracker: &mut Tracker,
) -> Result<Learned, JobError> {
    let user_share = user_share(&run.dataset, parameters, &run.split);
    let validation = Validation { ratio: parameters.validation_ratio, user_share };
    let mut spans = Spans::of(components)?;
    let mut folders = vec![ModelFolder::default(); components.iter().len()];
    let mut apart: Option<Run<'_>> = None;
    for (component, folder) in components.iter().zip(&mut folders) {
        let training = component.training()?;
        if training.keeps_own_state() {
            tracker.begin(&spans.phase(training.learning_phase()));
            tracker.steps(training.learning_steps(&run.dataset));
            let part = run.part(Part::Learning(component.kind)).that_leaves_out(validation);
            *folder = training.train_part(&part, component.folder(), tracker).await?;
            if let Some(before) = apart.replace(part) {
                before.release().await;
            }
        }
    }
    tracker.begin(&spans.phase(LOADING));
    tracker.steps(PREPARE_STEPS);
    let part = run.part(Part::Blending);
    let part = match &apart {
        Some(apart) => part.with_the_ratings_of(apart),
        None => part.that_leaves_out(validation),
    };
    let ratings = part.prepare(tracker).await?.ratings;
    if let Some(apart) = apart {
        apart.release().await;
    }
    for (component, folder) in components.iter().zip(&mut folders) {
        let training = component.training()?;
        if !training.keeps_own_state() {
            tracker.begin(&spans.phase(training.learning_phase()));
            tracker.steps(training.learning_steps(&run.dataset));
            *folder = training.train_part(&part, component.folder(), tracker).await?;
        }
    }
    tracker.begin(&LEARNING);
    // Then candidates, and the search.
    tracker.steps(CALIBRATION_STEPS.into_iter().chain([5.0, 4.0]));
    let sources = calibrations(&part, &folders, parameters, tracker).await?;
    let count = sources.len();
    let users_max = parameters.learning_users_max;
    let candidates = |path| HybridCandidates { folders, sources, users_max, path };
    let path = part.written(candidates, tracker).await?;
    let learned = part.on_first(HybridLearn { path, sources: count as u32 }, tracker).await?;
    part.release().await;
    let HybridLearnDone { weights, ndcg_at_20, users } = learned;
    if weights.len() != count {
        let found = weights.len();
        return Err(JobError::Transient(format!("a worker has learned {found} weights of {count}")));
    }
    Ok(Learned { weights, on: HybridLearning { users, ratings, user_share, ndcg_at_20 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_users_take_part_that_there_are_the_ratings_and_the_users_asked_for() {
        let share = |ratings: u64, learning_ratings_max, learning_users_max| {
            let dataset = DatasetInfo { users: 100_000, ratings, ..DatasetInfo::default() };
            let parameters =
                HybridParameters { learning_ratings_max, learning_users_max, ..HybridParameters::default() };
            let split = SplitParameters { test_ratio: 0.2, ..SplitParameters::default() };
            user_share(&dataset, &parameters, &split)
        };
        assert_eq!(share(20_000_000, 4_000_000, 5_000), 0.25);
        // Few ratings each: for the lists more users are needed than for the ratings.
        assert_eq!(share(20_000_000, 400_000, 5_000), 0.05);
        assert_eq!(share(5_000_000, 4_000_000, 5_000), 1.0);
        // Of builds before, and where all are asked for.
        assert_eq!((share(20_000_000, 0, 5_000), share(20_000_000, 4_000_000, 0)), (1.0, 1.0));
    }
}
