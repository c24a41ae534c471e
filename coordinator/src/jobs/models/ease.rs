//! EASE: likings, their sums, the inverse, weights, measure.

use shoal_common::model_parameters::{EASE_RIDGE_MAX, folder_of};
use shoal_proto::v1::{
    DatasetInfo, EaseInvert, EaseNeighbours, EaseParameters, EasePrepare, EasePrepareDone, EaseSelect,
    EaseSizes, EaseSum, Evaluation, ModelFolder, ModelWrite, model_parameters::Model,
};

use crate::{
    jobs::{
        density::Density,
        error::JobError,
        model_training::{LearningPhase, Made, ModelTraining, NEIGHBOURS_MAX, PartTraining, within},
        run::{PREPARE_STEPS, Prepared, Run},
        tracker::{Phase, Tracker},
    },
    state::Job,
};

const LOADING: Phase = Phase { name: "loading", text: "loading the ratings", span: (0.0, 0.1) };
const WEIGHTS: Phase = Phase { name: "weights", text: "weighing items", span: (0.1, 0.8) };
const EVALUATING: Phase = Phase { name: "evaluating", text: "evaluating", span: (0.8, 0.97) };

/// What the steps of [`weights`] weigh.
const WEIGHT_STEPS: [f64; 7] = [1.0, 4.0, 12.0, 1.0, 0.1, 2.0, 1.0];

#[tonic::async_trait]
impl ModelTraining for EaseParameters {
    fn check(&self, problems: &mut Vec<String>) {
        // A NaN is refused too.
        if !(self.regularization > 0.0 && self.regularization <= EASE_RIDGE_MAX) {
            problems.push(format!(
                "the ridge, {}, must be above 0 and at most {EASE_RIDGE_MAX}",
                self.regularization
            ));
        }
        within("number of neighbours", self.neighbours, 1, NEIGHBOURS_MAX, problems);
        let used = self.prediction_neighbours;
        within("number of neighbours to predict from", used, 1, NEIGHBOURS_MAX, problems);
        if !(self.rating_least.is_finite() && self.rating_greatest.is_finite()) {
            problems.push("the ends of the scale of ratings must be numbers".to_owned());
        }
    }

    fn decisive(&self) -> Model {
        Model::Ease(*self)
    }

    async fn train(&self, run: &Run<'_>, _: &mut Job, tracker: &mut Tracker) -> Result<Made, JobError> {
        tracker.begin(&LOADING);
        tracker.steps(PREPARE_STEPS);
        let Prepared { rating_mean, held_out, sample, .. } = run.prepare(tracker).await?;
        tracker.begin(&WEIGHTS);
        tracker.steps(WEIGHT_STEPS);
        let (folder, chosen) = weights(self, run, tracker).await?;
        tracker.begin(&EVALUATING);
        tracker.steps([1.0]);
        let evaluation = run.evaluate(vec![folder], None, sample, tracker).await?;
        let objects = run.write_version(tracker).await?;
        let remarks = left_out(chosen).into_iter().collect();
        let metadata = vec![("items_in_model", chosen.items.into())];
        Ok(Made { objects, rating_mean, evaluation, held_out, remarks, metadata, ..Made::default() })
    }

    fn advice(&self, _: &Evaluation, density: &Density) -> String {
        density.advice(
            "try a larger --ease-reg, so that little evidence weighs less.",
            "Try another --ease-reg, or more --neighbours.",
        )
    }
}

#[tonic::async_trait]
impl PartTraining for EaseParameters {
    fn learning_phase(&self) -> LearningPhase {
        LearningPhase { name: "learning_ease", text: "learning weights: weighing items", share: 1.5 }
    }

    fn learning_steps(&self, _: &DatasetInfo) -> Vec<f64> {
        WEIGHT_STEPS.to_vec()
    }

    async fn train_part(
        &self,
        part: &Run<'_>,
        _: ModelFolder,
        tracker: &mut Tracker,
    ) -> Result<ModelFolder, JobError> {
        Ok(weights(self, part, tracker).await?.0)
    }
}

/// Makes the weights from what is loaded, and writes them to a folder. Also returns which items they are of.
async fn weights(
    parameters: &EaseParameters,
    run: &Run<'_>,
    tracker: &mut Tracker,
) -> Result<(ModelFolder, EasePrepareDone), JobError> {
    let prepared = run.on_all(EasePrepare { parameters: Some(*parameters) }, tracker).await?;
    let chosen = agreed(&prepared)?;
    run.on_all(EaseSum {}, tracker).await?;
    let inverted = run.on_all(EaseInvert {}, tracker).await?;
    let diagonals = inverted.into_iter().flat_map(|done| done.diagonals).collect();
    let sizes = run.on_all(EaseSizes { diagonals }, tracker).await?;
    let counts = sizes.into_iter().map(|done| done.counts).collect();
    run.on_all(EaseSelect { counts }, tracker).await?;
    run.on_all(EaseNeighbours {}, tracker).await?;
    let path = run.written(|path| ModelWrite { path }, tracker).await?;
    Ok((folder_of(Model::Ease(*parameters), path), chosen))
}

/// What all workers have chosen, who cannot invert together otherwise.
fn agreed(prepared: &[EasePrepareDone]) -> Result<EasePrepareDone, JobError> {
    match prepared {
        [first, others @ ..] if others.iter().all(|other| other == first) => Ok(*first),
        _ => Err(JobError::Transient("the workers have not chosen the same items".to_owned())),
    }
}

/// That there are items in none of its lists.
fn left_out(chosen: EasePrepareDone) -> Option<String> {
    let EasePrepareDone { items, rated_items } = chosen;
    let others = rated_items.saturating_sub(items);
    (others > 0).then(|| {
        format!(
            "The {items} most rated of {rated_items} rated items are in the model; it never lists the other {others}, \
             which are left to other models. A larger --items-max takes more of them."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_are_left_to_others_are_counted() {
        let chosen = |items, rated_items| EasePrepareDone { items, rated_items };
        assert_eq!(left_out(chosen(7, 7)), None);
        let said = left_out(chosen(5, 12)).unwrap();
        assert!(said.contains("5 most rated of 12") && said.contains("other 7"), "{said}");
        assert_eq!(agreed(&[chosen(5, 7), chosen(5, 7)]).unwrap(), chosen(5, 7));
        assert!(agreed(&[chosen(5, 7), chosen(5, 8)]).is_err() && agreed(&[]).is_err());
    }
}
