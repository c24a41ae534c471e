//! HYBRID: weights learned on a part of the training ratings, then calibrations of the real models.
//!
//! Weights must not be learned from models that know the answers. So the models are trained anew on the
//! training ratings less a share of them, with the parameters of the versions that are blended, and weights
//! are learned on that share. Vectors of items are made anew too where there are tags: the tags of that share tell what it
//! is. With the weights given none of this is needed.
//!
//! A few numbers do not need all ratings of a large data set: they are learned on a sample of the users, of whom
//! all ratings take part, so that somebody's taste is as well known there as it is in use.
//!
//! A source that knows nothing, as content without a catalogue, gets no weight.

mod calibrations;
mod components;
mod learning;

use serde_json::{Value, json};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    BlendedVersion, Evaluation, HybridLearning, HybridModel, HybridParameters, HybridSource,
    model_parameters::Model,
};

use self::{
    calibrations::{CALIBRATION_STEPS, calibrations},
    components::{Components, POPULARITY},
    learning::{Learned, learn},
};
use crate::{
    jobs::{
        density::Density,
        error::JobError,
        model_training::{Made, ModelTraining},
        remarks,
        run::{PREPARE_STEPS, Prepared, Run},
        tracker::{Phase, Tracker},
    },
    state::Job,
};

const LOADING: Phase = Phase { name: "calibrating", text: "loading the ratings", span: (0.5, 0.58) };
const CALIBRATING: Phase = Phase { name: "calibrating", text: "calibrating scores", span: (0.58, 0.7) };
const EVALUATING: Phase = Phase { name: "evaluating", text: "evaluating", span: (0.7, 0.97) };

/// Said of a blend whose weights no user could teach.
const NOT_LEARNED: &str = "No weight was learned, because no user has ratings both to train on and to learn from: the sources that \
     know scores count alike.";

#[tonic::async_trait]
impl ModelTraining for HybridParameters {
    fn check(&self, problems: &mut Vec<String>) {
        check_versions(&self.versions, problems);
        if self.weights.is_empty() {
            if !(self.validation_ratio > 0.0 && self.validation_ratio < 1.0) {
                let ratio = self.validation_ratio;
                problems
                    .push(format!("the share that weights are learned on, {ratio}, must be between 0 and 1"));
            }
            return;
        }
        let numbers = self.weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite());
        let sources = self.versions.len() + 1;
        if self.weights.len() != sources || !numbers || self.weights.iter().sum::<f64>() <= 0.0 {
            let models: Vec<&str> = self.versions.iter().map(|blended| blended.model.as_str()).collect();
            problems.push(format!(
                "the weights must be {sources} numbers from 0, for {} and {POPULARITY}, in this order, not all 0",
                models.join(", ")
            ));
        }
    }

    fn decisive(&self) -> Model {
        Model::Hybrid(self.clone())
    }

    async fn train(&self, run: &Run<'_>, _: &mut Job, tracker: &mut Tracker) -> Result<Made, JobError> {
        let components = Components::find(run, self)?;
        let weights_given = !self.weights.is_empty();
        let mut said = Vec::new();
        let mut learning = None;
        let mut weights = if weights_given {
            let sum: f64 = self.weights.iter().sum();
            self.weights.iter().map(|weight| weight / sum).collect()
        } else {
            let learned = match learn(run, &components, self, tracker).await {
                // The share to learn from is all that there is.
                Err(JobError::NothingToTrainOn) => None,
                learned => Some(learned?).filter(|learned| learned.on.users > 0),
            };
            if let Some(Learned { weights, on }) = learned {
                learning = Some(on);
                weights
            } else {
                said.push(NOT_LEARNED.to_owned());
                vec![1.0 / components.sources() as f64; components.sources()]
            }
        };
        tracker.begin(&LOADING);
        tracker.steps(PREPARE_STEPS);
        let Prepared { rating_mean, held_out, sample, .. } = run.prepare(tracker).await?;
        tracker.begin(&CALIBRATING);
        tracker.steps(CALIBRATION_STEPS);
        let sources = calibrations(run, &components.folders(), self, tracker).await?;
        if !weights_given {
            weights = without_ignorant(&weights, &sources);
        }
        let hybrid = HybridModel { learning, ..components.blend(sources, &weights, weights_given) };
        said.extend(remarks::of_sources(&hybrid));
        said.extend(remarks::of_learning(&hybrid));
        tracker.begin(&EVALUATING);
        tracker.steps([1.0]);
        let evaluation = run.evaluate(components.folders(), Some(hybrid.clone()), sample, tracker).await?;
        let metadata =
            vec![("sources", sources_json(&hybrid)), ("learning", hybrid.learning.map(learning_json).into())];
        // A blend keeps nothing per shard: what it blends is in the folders of its versions.
        Ok(Made {
            rating_mean,
            hybrid: Some(hybrid),
            evaluation,
            held_out,
            remarks: said,
            metadata,
            ..Made::default()
        })
    }

    fn advice(&self, _: &Evaluation, _: &Density) -> String {
        "Try other --weights, or better versions of the models that it blends.".to_owned()
    }
}

/// Names models as the registry does, however the request names them.
pub(super) fn fill_in_defaults(parameters: &mut HybridParameters) {
    for blended in &mut parameters.versions {
        if let Ok(kind) = ModelKind::parse(&blended.model) {
            kind.folder().clone_into(&mut blended.model);
        }
    }
}

/// Says what is wrong with the versions to be blended.
fn check_versions(versions: &[BlendedVersion], problems: &mut Vec<String>) {
    if versions.is_empty() {
        problems.push("the versions to be blended are missing".to_owned());
    }
    let mut kinds: Vec<ModelKind> = Vec::with_capacity(versions.len());
    for BlendedVersion { model, version } in versions {
        match ModelKind::parse(model) {
            Err(unknown) => problems.push(format!("a version to be blended: {unknown}")),
            Ok(ModelKind::Hybrid) => problems.push("a hybrid cannot be blended".to_owned()),
            Ok(kind) if kinds.contains(&kind) => {
                problems.push(format!("two versions of '{kind}' are to be blended; name one"));
            }
            Ok(kind) if version.is_empty() => {
                problems.push(format!("the version of '{kind}' to be blended is missing"));
            }
            Ok(kind) => kinds.push(kind),
        }
    }
}

/// Weights of 1 together, without those of sources that know nothing; popularity's alone where that leaves none.
fn without_ignorant(weights: &[f64], sources: &[HybridSource]) -> Vec<f64> {
    let knows = sources.iter().map(|source| !source.knots.is_empty());
    let kept: Vec<f64> =
        weights.iter().zip(knows).map(|(&weight, knows)| if knows { weight } else { 0.0 }).collect();
    if kept == weights {
        return kept;
    }
    let sum: f64 = kept.iter().sum();
    if sum > 0.0 {
        return kept.into_iter().map(|weight| weight / sum).collect();
    }
    (1..=weights.len()).map(|source| f64::from(u8::from(source == weights.len()))).collect()
}

fn sources_json(hybrid: &HybridModel) -> Value {
    let source = |source: &HybridSource| {
        json!({
            "model": source.model,
            "version": source.version,
            "weight": source.weight,
            "knots": source.knots.iter().map(|knot| json!([knot.score, knot.level])).collect::<Vec<_>>(),
        })
    };
    json!(hybrid.sources.iter().map(source).collect::<Vec<_>>())
}

fn learning_json(learning: HybridLearning) -> Value {
    let HybridLearning { users, ratings, user_share, ndcg_at_20 } = learning;
    json!({ "users": users, "ratings": ratings, "user_share": user_share, "ndcg_at_20": ndcg_at_20 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_knows_nothing_has_no_weight() {
        let sources = |knows: [bool; 4]| {
            knows.map(|knows| HybridSource {
                knots: vec![Default::default(); usize::from(knows)],
                ..HybridSource::default()
            })
        };
        let weights = [0.5, 0.25, 0.125, 0.125];
        assert_eq!(without_ignorant(&weights, &sources([true; 4])), weights);
        let without = without_ignorant(&[0.25, 0.25, 0.5, 0.0], &sources([true, true, false, true]));
        assert_eq!(without, [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(
            without_ignorant(&[0.0, 0.0, 1.0, 0.0], &sources([true, true, false, true])),
            [0.0, 0.0, 0.0, 1.0]
        );
    }
}
