//! ALS: load, route, alternate half-steps, keep checkpoints, measure.
//!
//! Workers keep the factors of a training under the job's own name from the first step to the last. A sweep is committed
//! with its checkpoint: a later attempt, or another leader, goes on from the last one.

mod defaults;
mod sweeps;

use shoal_common::{model_parameters::folder_of, split::is_strong};
use shoal_proto::v1::{
    AlsParameters, AlsSolver, Confidence, DatasetInfo, Evaluation, ExplicitParameters, HeldOutReport,
    ImplicitParameters, ModelFolder, ObjectEntry, ObjectiveChoice, Preference, RegularizationScaling, Side,
    SweepCommitted, SweepMetrics, SweepOrder, SweepWork, TrainEvaluate, TrainHalfStep, TrainLoad, TrainRoute,
    TrainWrite, model_parameters::Model, update_job::Update,
};
use tokio::time::Instant;

use self::sweeps::{add_work, metrics, metrics_json};
use crate::{
    jobs::{
        density::Density,
        error::JobError,
        evaluation::evaluation,
        held_out,
        model_training::{LearningPhase, Made, ModelTraining, PartTraining, within},
        parts::{Part, SWEEPS_MAX},
        run::{PREPARE_STEPS, Run},
        sample::after_a_sweep,
        tracker::{Phase, Tracker},
    },
    placement::owners,
    state::Job,
};

pub(super) use self::defaults::fill_in_defaults;

const RANK_MAX: u32 = 512;
const SOLVER_STEPS_MAX: u32 = 100;

const LOADING: Phase = Phase { name: "loading", text: "loading the ratings", span: (0.0, 0.08) };
const SWEEPS: Phase = Phase { name: "sweeps", text: "sweeps", span: (0.08, 0.85) };
const CHECKPOINTS: Phase = Phase { name: "checkpoints", ..SWEEPS };
const EVALUATING_SWEEPS: Phase = Phase { name: "evaluating", ..SWEEPS };
const WRITING: Phase = Phase { name: "publishing", text: "writing the factors", span: (0.85, 0.87) };
const EVALUATING: Phase = Phase { name: "evaluating", text: "evaluating", span: (0.87, 0.97) };

/// Where in a sweep's share of the bar its half-steps, its checkpoint and its measuring end.
const SWEEP_PARTS: [f64; 4] = [0.42, 0.84, 0.9, 1.0];

/// What the steps of [`Training::load`] weigh.
const LOAD_STEPS: [f64; 3] = [4.0, 1.0, 1.0];

#[tonic::async_trait]
impl ModelTraining for AlsParameters {
    fn check(&self, problems: &mut Vec<String>) {
        within("rank", self.rank, 1, RANK_MAX, problems);
        within("number of sweeps", self.sweeps, 1, SWEEPS_MAX, problems);
        check_solver(self, problems);
        let choice = self.objective();
        if choice != ObjectiveChoice::Implicit {
            match &self.explicit {
                None => problems.push("the explicit parameters are missing".to_owned()),
                Some(explicit) => check_explicit(explicit, problems),
            }
        }
        if choice != ObjectiveChoice::Explicit {
            match &self.implicit {
                None => problems.push("the implicit parameters are missing".to_owned()),
                Some(implicit) => check_implicit(implicit, problems),
            }
        }
    }

    /// Versions of builds that knew fewer conventions are taken to have today's defaults.
    fn decisive(&self) -> Model {
        let mut decisive = Self { threads: 0, checkpoint_every_sweeps: 0, ..self.clone() };
        fill_in_defaults(&mut decisive);
        Model::Als(decisive)
    }

    async fn train(&self, run: &Run<'_>, job: &mut Job, tracker: &mut Tracker) -> Result<Made, JobError> {
        tracker.begin(&LOADING);
        tracker.steps(LOAD_STEPS);
        let committed = job.info.committed_sweeps;
        let training = Training::load(self, run, &job.checkpoint_path, committed, tracker).await?;
        for sweep in committed + 1..=self.sweeps {
            training.sweep(job, sweep, tracker).await?;
        }
        tracker.begin(&WRITING);
        let objects = training.write(&run.version_path, self.sweeps, tracker).await?;
        let (evaluation, measured) = training.measure(&job.checkpoint_path, tracker).await?;
        let mut sweeps = job.info.sweeps.clone();
        if let Some(last) = sweeps.last_mut() {
            (last.rating, last.ranking) = (measured.rating, measured.ranking);
        }
        let [first, second] = training.order();
        let metadata = vec![
            ("order", format!("{}, then {}, in every sweep", side_name(first), side_name(second)).into()),
            ("metrics", sweeps.last().map(metrics_json).into()),
            ("sweeps", sweeps.iter().map(metrics_json).collect()),
            ("kernel", training.kernel.clone().into()),
        ];
        Ok(Made {
            objects,
            evaluation,
            rating_mean: training.served_mean(),
            metrics: sweeps.last().copied(),
            held_out: training.held_out,
            metadata,
            ..Made::default()
        })
    }

    fn advice(&self, _: &Evaluation, density: &Density) -> String {
        if let Some(sparse) = density.hardly_any() {
            return sparse;
        }
        if self.objective() == ObjectiveChoice::Explicit {
            return "The explicit objective predicts ratings and does not rank: train with --objective both or \
                    implicit for lists."
                .to_owned();
        }
        let begin = density.few().map_or_else(|| "Try".to_owned(), |few| format!("{few}try"));
        format!("{begin} a smaller --rank, more --implicit-reg, or item_cf instead.")
    }
}

#[tonic::async_trait]
impl PartTraining for AlsParameters {
    fn learning_phase(&self) -> LearningPhase {
        let text = "learning weights: ALS without a share of the ratings";
        LearningPhase { name: "learning_als", text, share: 4.0 }
    }

    fn keeps_own_state(&self) -> bool {
        true
    }

    /// Before the sweeps, two half-steps of each, and the factors.
    fn learning_steps(&self, _: &DatasetInfo) -> Vec<f64> {
        let half_steps = std::iter::repeat_n(3.0, 2 * self.sweeps as usize);
        LOAD_STEPS.into_iter().chain(half_steps).chain([1.0]).collect()
    }

    /// To the last sweep, without checkpoints.
    async fn train_part(
        &self,
        part: &Run<'_>,
        _: ModelFolder,
        tracker: &mut Tracker,
    ) -> Result<ModelFolder, JobError> {
        let training = Training::load(self, part, "", 0, tracker).await?;
        for sweep in 1..=self.sweeps {
            for side in training.order() {
                part.on_all(TrainHalfStep { sweep, side: side.into(), solve: true }, tracker).await?;
            }
        }
        let path = part.new_folder();
        let objects = training.write(&path, self.sweeps, tracker).await?;
        part.close(&path, objects).await?;
        Ok(training.folder(path))
    }
}

/// One attempt whose ratings and factors are loaded.
struct Training<'a> {
    parameters: &'a AlsParameters,
    run: &'a Run<'a>,
    /// Of the training ratings.
    rating_mean: f64,
    held_out_users: u64,
    /// The instruction set that workers compute with.
    kernel: String,
    /// What became of the held-out file, where one is measured on.
    held_out: Option<HeldOutReport>,
}

impl<'a> Training<'a> {
    /// Everything before the first half-step, [`LOAD_STEPS`]. Goes on after `sweep`, whose checkpoint is given.
    async fn load(
        parameters: &'a AlsParameters,
        run: &'a Run<'a>,
        checkpoint: &str,
        sweep: u32,
        tracker: &mut Tracker,
    ) -> Result<Self, JobError> {
        let load = TrainLoad {
            dataset: Some(run.dataset.clone()),
            parameters: Some(parameters.clone()),
            split: Some(run.split.clone()),
            owners: owners(&run.dataset, &run.crew.names()),
            workers: run.crew.peers(),
            checkpoint_path: checkpoint.to_owned(),
            validation_ratio: run.validation.ratio,
            cuts_path: run.split_path.clone(),
            user_share: run.validation.user_share,
            for_tags: run.for_tags,
        };
        let (mut sums, mut reports) = (Vec::new(), Vec::new());
        let (mut held_out_users, mut kernel) = (0, String::new());
        for done in run.on_all(load, tracker).await? {
            sums.extend(done.rating_sums);
            reports.extend(done.held_out);
            kernel = done.kernel;
            held_out_users += done.held_out_users;
        }
        run.check_held_out(held_out_users)?;
        let held_out = held_out::combined(reports, &run.split.test_uri)?;
        let rating_mean = run.rating_mean(sums)?;
        let route = TrainRoute { rating_mean, users: run.dataset.users, items: run.dataset.items };
        run.on_all(route, tracker).await?;
        let training = Self { parameters, run, rating_mean, held_out_users, kernel, held_out };
        // The first side is solved from the other one's factors as they are.
        let send = TrainHalfStep { sweep, side: training.order()[1].into(), solve: false };
        run.on_all(send, tracker).await?;
        if is_strong(&run.split) && training.order()[1] == Side::Users {
            // Nobody sends the items after the last sweep, and held-out users are folded in from them.
            run.on_all(TrainHalfStep { side: Side::Items.into(), ..send }, tracker).await?;
        }
        Ok(training)
    }

    /// What explicit predictions start from.
    fn served_mean(&self) -> f64 {
        let biases = self.parameters.explicit.as_ref().is_some_and(|explicit| explicit.biases);
        if biases { self.rating_mean } else { 0.0 }
    }

    /// The sides in the order that a sweep solves them.
    fn order(&self) -> [Side; 2] {
        match self.parameters.order() {
            SweepOrder::Unspecified | SweepOrder::UsersFirst => [Side::Users, Side::Items],
            SweepOrder::ItemsFirst => [Side::Items, Side::Users],
        }
    }

    /// Both half-steps of a sweep, and its checkpoint where one is due. The last sweep's is measured as the version.
    async fn sweep(&self, job: &mut Job, sweep: u32, tracker: &mut Tracker) -> Result<(), JobError> {
        let started = Instant::now();
        let sweeps = self.parameters.sweeps;
        let mut work = SweepWork::default();
        let share = (SWEEPS.span.1 - SWEEPS.span.0) / f64::from(sweeps);
        let begin = SWEEPS.span.0 + share * f64::from(sweep - 1);
        let [first, second, third, fourth] = SWEEP_PARTS.map(|part| begin + share * part);
        let text = |what: &str| format!("sweep {sweep} of {sweeps}: {what}");
        for (side, span) in self.order().into_iter().zip([(begin, first), (first, second)]) {
            tracker.begin_part(&SWEEPS, &text(side_name(side)), span);
            tracker.steps([1.0]);
            let step = TrainHalfStep { sweep, side: side.into(), solve: true };
            add_work(&mut work, &self.run.on_all(step, tracker).await?);
        }
        let is_last = sweep == sweeps;
        if !is_last && !sweep.is_multiple_of(self.parameters.checkpoint_every_sweeps.max(1)) {
            return Ok(());
        }
        let seconds = started.elapsed().as_secs_f64();
        tracker.begin_part(&CHECKPOINTS, &text("checkpoint"), (second, third));
        let path = self.run.folder(sweep);
        let objects = self.write(&path, sweep, tracker).await?;
        self.run.close(&path, objects).await?;
        let mut metrics = SweepMetrics::default();
        if !is_last {
            tracker.begin_part(&EVALUATING_SWEEPS, &text("evaluating"), (third, fourth));
            tracker.steps([1.0]);
            metrics = self.evaluate(&path, sweep, tracker).await?;
        }
        (metrics.sweep, metrics.seconds, metrics.work) = (sweep, seconds, Some(work));
        self.commit(job, path, metrics, tracker).await
    }

    /// Commits a sweep with its checkpoint, and deletes the checkpoint before it.
    async fn commit(
        &self,
        job: &mut Job,
        checkpoint: String,
        metrics: SweepMetrics,
        tracker: &mut Tracker,
    ) -> Result<(), JobError> {
        let committed = SweepCommitted {
            sweep: metrics.sweep,
            checkpoint_path: checkpoint.clone(),
            metrics: Some(metrics),
            phase_seconds: tracker.phase_seconds(),
        };
        let leader = self.run.leader;
        leader.update_job(&job.info.job_id, Update::SweepCommitted(committed)).await?;
        tracker.milestone();
        job.info.committed_sweeps = metrics.sweep;
        job.info.sweeps.push(metrics);
        let superseded = std::mem::replace(&mut job.checkpoint_path, checkpoint);
        if !superseded.is_empty() {
            leader.store.delete_folder(&superseded).await?;
        }
        Ok(())
    }

    /// Measures the factors below `path`, their lists for some of the users.
    async fn evaluate(
        &self,
        path: &str,
        sweep: u32,
        tracker: &mut Tracker,
    ) -> Result<SweepMetrics, JobError> {
        let (run, parameters) = (self.run, self.parameters);
        let sample =
            after_a_sweep(&run.dataset, parameters, &run.split, run.ranking_users_max, self.held_out_users);
        let evaluate = TrainEvaluate { path: path.to_owned(), sweep, sample: Some(sample) };
        let sums = run.on_all(evaluate, tracker).await?.into_iter().flat_map(|done| done.shards);
        Ok(metrics(sums.collect(), parameters.objective()))
    }

    async fn write(
        &self,
        path: &str,
        sweep: u32,
        tracker: &mut Tracker,
    ) -> Result<Vec<ObjectEntry>, JobError> {
        self.run.objects(TrainWrite { path: path.to_owned(), sweep }, tracker).await
    }

    /// A folder with these factors, for workers that measure or calibrate.
    fn folder(&self, path: String) -> ModelFolder {
        ModelFolder {
            rating_mean: self.served_mean(),
            ..folder_of(Model::Als(self.parameters.clone()), path)
        }
    }

    /// Measures the last checkpoint as every model is measured, and as a sweep is.
    async fn measure(
        &self,
        checkpoint: &str,
        tracker: &mut Tracker,
    ) -> Result<(Evaluation, SweepMetrics), JobError> {
        tracker.begin(&EVALUATING);
        tracker.steps(PREPARE_STEPS.into_iter().chain([10.0]));
        let measuring = self.run.part(Part::Measuring).with_the_trainings_ratings();
        let sample = measuring.prepare(tracker).await?.sample;
        // The ratings are shared; the factors are read from the store.
        self.run.release().await;
        let done = measuring.sums(vec![self.folder(checkpoint.to_owned())], None, sample, tracker).await?;
        measuring.release().await;
        let of_sweep = done.iter().flat_map(|done| &done.shards).filter_map(|shard| shard.sweep);
        let metrics = metrics(of_sweep.collect(), self.parameters.objective());
        Ok((evaluation(done, self.run.dataset.items)?, metrics))
    }
}

fn side_name(side: Side) -> &'static str {
    if side == Side::Items { "items" } else { "users" }
}

fn check_solver(parameters: &AlsParameters, problems: &mut Vec<String>) {
    let solver = parameters.solver();
    if parameters.solver_steps > SOLVER_STEPS_MAX {
        let steps = parameters.solver_steps;
        problems
            .push(format!("{steps} steps of conjugate gradients are too many; at most {SOLVER_STEPS_MAX}"));
    }
    if solver == AlsSolver::Ialspp && parameters.solver_block > parameters.rank {
        problems.push(format!(
            "blocks of {} are larger than the rank; at most {}",
            parameters.solver_block, parameters.rank
        ));
    }
    if !parameters.nonnegative {
        return;
    }
    if !matches!(solver, AlsSolver::Unspecified | AlsSolver::Cholesky) {
        problems.push(
            "factors without negative elements take the cholesky solver; leave the other out".to_owned(),
        );
    }
    let biases = parameters.explicit.as_ref().is_some_and(|explicit| explicit.biases);
    if biases && parameters.objective() != ObjectiveChoice::Implicit {
        problems.push("factors without negative elements go without biases; leave the biases out".to_owned());
    }
}

fn check_explicit(explicit: &ExplicitParameters, problems: &mut Vec<String>) {
    check_positive("explicit regularization", explicit.regularization, problems);
    if explicit.scaling() == RegularizationScaling::Ials {
        problems.push(
            "the iALS scaling of the regularization is of the implicit objective; the explicit one takes ratings or none"
                .to_owned(),
        );
    }
}

fn check_implicit(implicit: &ImplicitParameters, problems: &mut Vec<String>) {
    check_positive("implicit regularization", implicit.regularization, problems);
    for (name, value) in [
        ("weight of unobserved pairs", implicit.unobserved_weight),
        ("alpha", implicit.alpha),
        ("regularization exponent", implicit.regularization_exponent),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            problems.push(format!("the {name}, {value}, must be a number from 0"));
        }
    }
    let (least, greatest) = (implicit.rating_least, implicit.rating_greatest);
    if implicit.preference() == Preference::Height
        && !(greatest - least > 0.0 && (greatest - least).is_finite())
    {
        problems.push(format!(
            "a preference by height needs a scale, whose lowest rating, {least}, is below its highest, {greatest}"
        ));
    }
    let convention = match implicit.confidence() {
        Confidence::Unspecified | Confidence::Ials => return,
        Confidence::Spark => "spark",
        Confidence::Implicit => "implicit",
    };
    if implicit.unobserved_weight != 1.0 {
        problems.push(format!(
            "the {convention} confidence counts every unobserved pair with a weight of 1, not {}",
            implicit.unobserved_weight
        ));
    }
    check_positive(&format!("alpha of the {convention} confidence"), implicit.alpha, problems);
}

fn check_positive(name: &str, value: f64, problems: &mut Vec<String>) {
    if !(value > 0.0 && value.is_finite()) {
        problems.push(format!("the {name}, {value}, must be a number above 0"));
    }
}
