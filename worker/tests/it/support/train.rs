//! Trainings, as a leader runs them.

use std::collections::BTreeMap;

use shoal_common::{model_parameters::of_als_before, store::Manifest};
use shoal_proto::v1::{step_event::Event, step_request::Step, *};
use tonic::Status;

use super::Workers;

/// Both objectives with biases, a fifth held out.
pub(crate) fn parameters(rank: u32, sweeps: u32) -> AlsParameters {
    AlsParameters {
        objective: ObjectiveChoice::Both.into(),
        rank,
        sweeps,
        explicit: Some(ExplicitParameters {
            regularization: 0.1,
            biases: true,
            ..ExplicitParameters::default()
        }),
        implicit: Some(ImplicitParameters {
            regularization: 0.01,
            unobserved_weight: 0.3,
            alpha: 1.0,
            regularization_exponent: 1.0,
            ..ImplicitParameters::default()
        }),
        seed: 42,
        test_ratio: 0.2,
        ..AlsParameters::default()
    }
}

/// What a test's parameters hold out. Tests write it where builds before had it, beside the other parameters.
pub(crate) fn of_als(parameters: &AlsParameters) -> SplitParameters {
    of_als_before(parameters.clone()).split.unwrap()
}

/// What a training made.
pub(crate) struct Trained {
    /// Folder in the store.
    pub(crate) path: String,
    /// Mean of the training ratings.
    pub(crate) rating_mean: f64,
    /// Objects of the factors, by path.
    pub(crate) factors: BTreeMap<String, bytes::Bytes>,
    /// Of every half-step of every worker, the first sending of the items included.
    pub(crate) work: Vec<TrainHalfStepDone>,
    /// Held-out sums in shard order.
    pub(crate) metrics: Vec<ShardMetricSums>,
    pub(crate) loads: Vec<TrainLoadDone>,
}

impl Trained {
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.work.iter().map(|done| done.bytes_sent).sum()
    }

    pub(crate) fn bytes_needed(&self) -> u64 {
        self.work.iter().map(|done| done.bytes_needed).sum()
    }

    pub(crate) fn rmse(&self) -> f64 {
        let pairs: u64 = self.metrics.iter().map(|sums| sums.pairs).sum();
        let squares: f64 = self.metrics.iter().map(|sums| sums.squared_error).sum();
        (squares / pairs as f64).sqrt()
    }
}

impl Workers {
    pub(crate) async fn train(
        &self,
        dataset: &DatasetInfo,
        parameters: &AlsParameters,
    ) -> Result<Trained, Status> {
        self.train_from("", 0, dataset, parameters).await
    }

    /// The same where the split says what builds before could not.
    pub(crate) async fn train_split(
        &self,
        dataset: &DatasetInfo,
        parameters: &AlsParameters,
        split: &SplitParameters,
    ) -> Result<Trained, Status> {
        self.train_split_from("", 0, dataset, parameters, split).await
    }

    /// A training that goes on after `done` sweeps, whose factors are in the folder `checkpoint`.
    pub(crate) async fn train_from(
        &self,
        checkpoint: &str,
        done: u32,
        dataset: &DatasetInfo,
        parameters: &AlsParameters,
    ) -> Result<Trained, Status> {
        self.train_split_from(checkpoint, done, dataset, parameters, &of_als(parameters)).await
    }

    pub(crate) async fn train_split_from(
        &self,
        checkpoint: &str,
        done: u32,
        dataset: &DatasetInfo,
        parameters: &AlsParameters,
        split: &SplitParameters,
    ) -> Result<Trained, Status> {
        let attempt = self.next_attempt();
        let (rating_mean, loads) = self.load_split(attempt, checkpoint, dataset, parameters, split).await?;
        let work = self.sweeps(attempt, done, parameters).await?;
        let path = format!("models/test/v{attempt}");
        let mut objects = Vec::new();
        let write = TrainWrite { path: path.clone(), sweep: parameters.sweeps };
        for event in self.on_all(attempt, Step::TrainWrite(write)).await? {
            let Event::TrainWriteDone(done) = event else { panic!("{event:?}") };
            objects.extend(done.objects);
        }
        let manifest = Manifest::new("checkpoint", objects);
        manifest.write(&self.store, &path).await.unwrap();
        let evaluate = TrainEvaluate { path: path.clone(), sweep: parameters.sweeps, sample: None };
        let mut metrics = Vec::new();
        for event in self.on_all(attempt, Step::TrainEvaluate(evaluate)).await? {
            let Event::TrainEvaluateDone(done) = event else { panic!("{event:?}") };
            metrics.extend(done.shards);
        }
        metrics.sort_by_key(|sums| sums.shard);
        let mut factors = BTreeMap::new();
        for entry in manifest.objects {
            let bytes = self.store.get_verified(&path, &entry).await.unwrap();
            factors.insert(entry.path, bytes);
        }
        self.release().await;
        Ok(Trained { path, rating_mean, factors, work, metrics, loads })
    }

    /// Everything before the first half-step: the mean of the training ratings, and what workers have loaded.
    pub(crate) async fn load_training(
        &self,
        attempt: u32,
        checkpoint: &str,
        dataset: &DatasetInfo,
        parameters: &AlsParameters,
    ) -> Result<(f64, Vec<TrainLoadDone>), Status> {
        self.load_split(attempt, checkpoint, dataset, parameters, &of_als(parameters)).await
    }

    async fn load_split(
        &self,
        attempt: u32,
        checkpoint: &str,
        dataset: &DatasetInfo,
        parameters: &AlsParameters,
        split: &SplitParameters,
    ) -> Result<(f64, Vec<TrainLoadDone>), Status> {
        let (cuts_path, _) = self.cut_by_time(attempt, dataset, split).await?;
        let load = TrainLoad {
            dataset: Some(dataset.clone()),
            parameters: Some(parameters.clone()),
            split: Some(split.clone()),
            owners: self.owners(dataset.shard_count),
            workers: self.peers.clone(),
            checkpoint_path: checkpoint.to_owned(),
            cuts_path,
            ..TrainLoad::default()
        };
        let (mut sums, mut loads) = (Vec::new(), Vec::new());
        for event in self.on_all(attempt, Step::TrainLoad(load)).await? {
            let Event::TrainLoadDone(done) = event else { panic!("{event:?}") };
            sums.extend(done.rating_sums.clone());
            loads.push(done);
        }
        sums.sort_by_key(|sum| sum.shard);
        let ratings: u64 = sums.iter().map(|sum| sum.ratings).sum();
        let rating_mean = sums.iter().map(|sum| sum.sum).sum::<f64>() / ratings as f64;
        let route = TrainRoute { rating_mean, users: dataset.users, items: dataset.items };
        self.on_all(attempt, Step::TrainRoute(route)).await?;
        if split.held_out_user_share > 0.0 && parameters.order() == SweepOrder::ItemsFirst {
            let send = TrainHalfStep { sweep: 0, side: Side::Items.into(), solve: false };
            self.half_step(attempt, send).await?;
        }
        Ok((rating_mean, loads))
    }

    /// The sweeps after the first `done`; what each half-step of each worker did.
    pub(crate) async fn sweeps(
        &self,
        attempt: u32,
        done: u32,
        parameters: &AlsParameters,
    ) -> Result<Vec<TrainHalfStepDone>, Status> {
        let order = match parameters.order() {
            SweepOrder::ItemsFirst => [Side::Items, Side::Users],
            _ => [Side::Users, Side::Items],
        };
        let send = TrainHalfStep { sweep: done, side: order[1].into(), solve: false };
        let mut work = self.half_step(attempt, send).await?;
        for sweep in done + 1..=parameters.sweeps {
            for side in order {
                let solve = TrainHalfStep { sweep, side: side.into(), solve: true };
                work.extend(self.half_step(attempt, solve).await?);
            }
        }
        Ok(work)
    }

    /// The folder of the users' cuts, empty for a split that is not by time, and how many ratings have times.
    pub(crate) async fn cut_by_time(
        &self,
        attempt: u32,
        dataset: &DatasetInfo,
        split: &SplitParameters,
    ) -> Result<(String, u64), Status> {
        if !split.temporal {
            return Ok((String::new(), 0));
        }
        let path = format!("checkpoints/test/{attempt}-cuts");
        let step = SplitCuts {
            dataset: Some(dataset.clone()),
            split: Some(split.clone()),
            owners: self.owners(dataset.shard_count),
            workers: self.peers.clone(),
            path: path.clone(),
        };
        let (mut objects, mut timed_ratings) = (Vec::new(), 0);
        for event in self.on_all(attempt, Step::SplitCuts(step)).await? {
            let Event::SplitCutsDone(done) = event else { panic!("{event:?}") };
            objects.extend(done.objects);
            timed_ratings += done.timed_ratings;
        }
        Manifest::new("checkpoint", objects).write(&self.store, &path).await.unwrap();
        Ok((path, timed_ratings))
    }

    async fn half_step(&self, attempt: u32, step: TrainHalfStep) -> Result<Vec<TrainHalfStepDone>, Status> {
        let events = self.on_all(attempt, Step::TrainHalfStep(step)).await?;
        let done = events.into_iter().map(|event| match event {
            Event::TrainHalfStepDone(done) => done,
            other => panic!("{other:?}"),
        });
        Ok(done.collect())
    }
}
