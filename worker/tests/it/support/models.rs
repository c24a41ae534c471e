//! Models that are not ALS, as a leader trains and measures them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use shoal_common::{model_parameters::folder_of, store::Manifest};
use shoal_proto::v1::{model_parameters::Model, step_event::Event, step_request::Step, *};
use tonic::Status;

use super::{Workers, train::Trained};

pub(crate) fn split() -> SplitParameters {
    SplitParameters { test_ratio: 0.2, seed: 42, ..SplitParameters::default() }
}

pub(crate) fn item_cf(similarity: Similarity) -> ItemCfParameters {
    ItemCfParameters {
        similarity: similarity.into(),
        common_users_min: 3,
        shrinkage: 5.0,
        neighbours: 20,
        user_ratings_max: 60,
        prediction_neighbours: 15,
    }
}

/// The folder of factors that were trained with these parameters.
pub(crate) fn als_folder(trained: &Trained, parameters: &AlsParameters) -> ModelFolder {
    let folder = folder_of(Model::Als(parameters.clone()), trained.path.clone());
    ModelFolder { rating_mean: trained.rating_mean, ..folder }
}

pub(crate) fn content() -> ContentParameters {
    ContentParameters {
        genres_weight: 1.0,
        genome_weight: 2.0,
        tags_weight: 1.0,
        decade_weight: 0.25,
        tag_items_min: 2,
        tags_max: 500,
        neighbours: 20,
    }
}

/// Likings by height from half a star to five.
pub(crate) fn ease(neighbours: u32) -> EaseParameters {
    EaseParameters {
        regularization: 20.0,
        neighbours,
        prediction_neighbours: 15,
        preference: Preference::Height.into(),
        rating_least: 0.5,
        rating_greatest: 5.0,
        ..EaseParameters::default()
    }
}

/// One attempt, whose steps write below folders of their own.
pub(crate) struct ModelRun<'a> {
    workers: &'a Workers,
    pub(crate) dataset: DatasetInfo,
    attempt: u32,
    folders: AtomicU32,
    pub(crate) rating_mean: f64,
    pub(crate) held_out_pairs: u64,
    /// Whether each worker takes the ratings of all users for item CF.
    pub(crate) gathered: bool,
}

/// The bytes of each object, by its path.
pub(crate) type Parts = BTreeMap<String, bytes::Bytes>;

impl<'a> ModelRun<'a> {
    /// Loads, and reads the baselines.
    pub(crate) async fn begin(
        workers: &'a Workers,
        dataset: &DatasetInfo,
        validation_ratio: f64,
    ) -> Result<Self, Status> {
        Self::begin_with(workers, dataset, split(), validation_ratio).await
    }

    /// The same where other pairs are held out.
    pub(crate) async fn begin_with(
        workers: &'a Workers,
        dataset: &DatasetInfo,
        split: SplitParameters,
        validation_ratio: f64,
    ) -> Result<Self, Status> {
        let attempt = workers.next_attempt();
        let (cuts_path, _) = workers.cut_by_time(attempt, dataset, &split).await?;
        let mut run = Self {
            workers,
            dataset: dataset.clone(),
            attempt,
            folders: AtomicU32::new(0),
            rating_mean: 0.0,
            held_out_pairs: 0,
            gathered: true,
        };
        let load = ModelLoad {
            dataset: Some(dataset.clone()),
            split: Some(split),
            validation_ratio,
            cuts_path,
            owners: workers.owners(dataset.shard_count),
            workers: workers.peers.clone(),
            ..ModelLoad::default()
        };
        let mut sums = Vec::new();
        for event in run.on_all(Step::ModelLoad(load)).await? {
            let Event::ModelLoadDone(done) = event else { panic!("{event:?}") };
            sums.extend(done.rating_sums);
            run.held_out_pairs += done.held_out_pairs;
        }
        sums.sort_by_key(|sum| sum.shard);
        let ratings: u64 = sums.iter().map(|sum| sum.ratings).sum();
        run.rating_mean = sums.iter().map(|sum| sum.sum).sum::<f64>() / ratings as f64;
        let rating_mean = run.rating_mean;
        let path = run.written(|path| Step::ModelItems(ModelItems { path, rating_mean })).await?;
        run.on_all(Step::ModelBaselines(ModelBaselines { path })).await?;
        Ok(run)
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) async fn on_all(&self, step: Step) -> Result<Vec<Event>, Status> {
        self.workers.on_all(self.attempt, step).await
    }

    pub(crate) async fn on_first(&self, step: Step) -> Result<Event, Status> {
        self.workers.on_one(0, self.attempt, step).await
    }

    pub(crate) async fn written(&self, step: impl FnOnce(String) -> Step) -> Result<String, Status> {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        let path = format!("checkpoints/test/{}-{number}", self.attempt);
        let mut objects = Vec::new();
        for event in self.on_all(step(path.clone())).await? {
            let Event::ObjectsWritten(done) = event else { panic!("{event:?}") };
            objects.extend(done.objects);
        }
        Manifest::new("checkpoint", objects).write(&self.workers.store, &path).await.unwrap();
        Ok(path)
    }

    /// Trains item CF; its folder.
    pub(crate) async fn item_cf(&self, parameters: ItemCfParameters) -> Result<ModelFolder, Status> {
        let prepare =
            ItemCfPrepare { parameters: Some(parameters), seed: split().seed, gathered: self.gathered };
        self.on_all(Step::ItemCfPrepare(prepare)).await?;
        let totals_path = self.written(|path| Step::ItemCfTotals(ItemCfTotals { path })).await?;
        self.on_all(Step::ItemCfNeighbours(ItemCfNeighbours { totals_path })).await?;
        let path = self.written(|path| Step::ModelWrite(ModelWrite { path })).await?;
        Ok(folder_of(Model::ItemCf(parameters), path))
    }

    /// Trains EASE; its folder, and how many items are in it and are rated.
    pub(crate) async fn ease(
        &self,
        parameters: EaseParameters,
    ) -> Result<(ModelFolder, EasePrepareDone), Status> {
        let prepare = EasePrepare { parameters: Some(parameters) };
        let prepared: Vec<EasePrepareDone> = self
            .answers(Step::EasePrepare(prepare), |event| match event {
                Event::EasePrepareDone(done) => Some(done),
                _ => None,
            })
            .await?;
        assert!(prepared.iter().all(|done| *done == prepared[0]));
        self.on_all(Step::EaseSum(EaseSum {})).await?;
        let inverted = self.answers(Step::EaseInvert(EaseInvert {}), |event| match event {
            Event::EaseInvertDone(done) => Some(done.diagonals),
            _ => None,
        });
        let diagonals = inverted.await?.concat();
        let counts = self.answers(Step::EaseSizes(EaseSizes { diagonals }), |event| match event {
            Event::EaseSizesDone(done) => Some(done.counts),
            _ => None,
        });
        let counts = counts.await?;
        self.on_all(Step::EaseSelect(EaseSelect { counts })).await?;
        self.on_all(Step::EaseNeighbours(EaseNeighbours {})).await?;
        let path = self.written(|path| Step::ModelWrite(ModelWrite { path })).await?;
        Ok((folder_of(Model::Ease(parameters), path), prepared[0]))
    }

    /// What all workers answer to a step.
    async fn answers<T>(&self, step: Step, read: fn(Event) -> Option<T>) -> Result<Vec<T>, Status> {
        let events = self.on_all(step).await?;
        Ok(events.into_iter().map(|event| read(event).expect("the step's own answer")).collect())
    }

    /// Trains content; its folder.
    pub(crate) async fn content(&self, parameters: ContentParameters) -> Result<ModelFolder, Status> {
        let census_path = self.written(|path| Step::ContentCensus(ContentCensus { path })).await?;
        let vectors =
            |path| Step::ContentVectors(ContentVectors { parameters: Some(parameters), census_path, path });
        let vectors_path = self.written(vectors).await?;
        let neighbours =
            ContentNeighbours { vectors_path: vectors_path.clone(), neighbours: parameters.neighbours };
        self.on_all(Step::ContentNeighbours(neighbours)).await?;
        let (mut product, mut square) = (0.0, 0.0);
        let mut shards = Vec::new();
        for event in self.on_all(Step::ContentSlope(ContentSlope { vectors_path })).await? {
            let Event::ContentSlopeDone(done) = event else { panic!("{event:?}") };
            shards.extend(done.shards);
        }
        shards.sort_by_key(|sums| sums.shard);
        shards.iter().for_each(|sums| (product, square) = (product + sums.product, square + sums.square));
        let path = self.written(|path| Step::ModelWrite(ModelWrite { path })).await?;
        let rating_slope = product / (square + 10.0);
        Ok(ModelFolder { rating_slope, ..folder_of(Model::Content(parameters), path) })
    }

    /// Calibrations of these folders and of popularity.
    pub(crate) async fn calibrations(&self, folders: &[ModelFolder]) -> Result<Vec<HybridSource>, Status> {
        let folders = folders.to_vec();
        let histograms = |path| Step::HybridHistograms(HybridHistograms { folders, users_max: 0, path });
        let path = self.written(histograms).await?;
        match self.on_first(Step::HybridCalibrate(HybridCalibrate { path })).await? {
            Event::HybridCalibrateDone(done) => Ok(done.sources),
            other => panic!("{other:?}"),
        }
    }

    /// Weights learned on what is held out, with what they are worth.
    pub(crate) async fn weights(
        &self,
        folders: &[ModelFolder],
        sources: &[HybridSource],
    ) -> Result<HybridLearnDone, Status> {
        let (folders, sources) = (folders.to_vec(), sources.to_vec());
        let count = sources.len() as u32;
        let candidates =
            |path| Step::HybridCandidates(HybridCandidates { folders, sources, users_max: 0, path });
        let path = self.written(candidates).await?;
        match self.on_first(Step::HybridLearn(HybridLearn { path, sources: count })).await? {
            Event::HybridLearnDone(done) => Ok(done),
            other => panic!("{other:?}"),
        }
    }

    /// Sums in shard order, and how often each item was listed over all workers.
    pub(crate) async fn evaluate(
        &self,
        folders: Vec<ModelFolder>,
        hybrid: Option<HybridModel>,
    ) -> Result<(Vec<ShardEvaluationSums>, Vec<u32>), Status> {
        self.evaluate_some(folders, hybrid, None).await
    }

    /// The same over a sample of the users.
    pub(crate) async fn evaluate_some(
        &self,
        folders: Vec<ModelFolder>,
        hybrid: Option<HybridModel>,
        sample: Option<UserSample>,
    ) -> Result<(Vec<ShardEvaluationSums>, Vec<u32>), Status> {
        let step = ModelEvaluate { folders, hybrid, sample, seed: 1 };
        let (mut shards, mut exposure) = (Vec::new(), vec![0; self.dataset.items as usize]);
        for event in self.on_all(Step::ModelEvaluate(step)).await? {
            let Event::ModelEvaluateDone(done) = event else { panic!("{event:?}") };
            shards.extend(done.shards);
            for (sum, bytes) in exposure.iter_mut().zip(done.exposure.as_chunks().0) {
                *sum += u32::from_le_bytes(*bytes);
            }
        }
        shards.sort_by_key(|sums: &ShardEvaluationSums| sums.shard);
        Ok((shards, exposure))
    }

    /// The objects of a folder.
    pub(crate) async fn parts(&self, path: &str) -> Parts {
        let store = &self.workers.store;
        let mut parts = Parts::new();
        for entry in Manifest::read(store, path, "").await.unwrap().objects {
            let bytes = store.get_verified(path, &entry).await.unwrap();
            parts.insert(entry.path, bytes);
        }
        parts
    }
}
