//! Trainings of models that are not ALS, and versions that are there already.

use std::collections::BTreeSet;

use model_parameters::Model;
use shoal_common::model_parameters::blended_version;
use shoal_core::ModelKind;
use step_event::Event;

use super::{worker::Act, *};

/// Parameters of any model, with a fifth held out.
pub(super) fn model(model: Model) -> ModelParameters {
    ModelParameters { split: Some(held_out()), model: Some(model) }
}

fn item_cf(neighbours: u32) -> ModelParameters {
    model(Model::ItemCf(ItemCfParameters {
        similarity: Similarity::Cosine.into(),
        common_users_min: 2,
        shrinkage: 0.0,
        neighbours,
        user_ratings_max: 100,
        prediction_neighbours: 20,
    }))
}

fn content() -> ModelParameters {
    model(Model::Content(ContentParameters {
        genres_weight: 1.0,
        tag_items_min: 1,
        neighbours: 10,
        ..ContentParameters::default()
    }))
}

impl World {
    pub(super) async fn ask_for(&self, model: ModelParameters, reuse: bool) -> StartJobReply {
        let request = StartTrainingRequest {
            dataset_name: "films".into(),
            model: Some(model),
            reuse,
            ..StartTrainingRequest::default()
        };
        self.asked(request).await
    }

    async fn asked(&self, request: StartTrainingRequest) -> StartJobReply {
        let reply = self.cluster.ask(|mut leader| {
            let request = request.clone();
            async move { leader.start_training(request).await }
        });
        reply.await.unwrap()
    }

    pub(super) async fn made(&self, model: ModelParameters) -> ModelVersion {
        let job_id = self.ask_for(model, false).await.job_id;
        let job = self.cluster.over(&job_id).await;
        assert_eq!(job.state(), JobState::Succeeded, "{}", job.error);
        let versions = self.versions().await;
        versions.into_iter().find(|version| version.name == job.model_version).unwrap()
    }

    async fn versions(&self) -> Vec<ModelVersion> {
        let models =
            self.cluster.ask(|mut leader| async move { leader.list_models(ListModelsRequest {}).await });
        models.await.unwrap().versions
    }

    /// The words of all steps so far, those of one worker.
    pub(super) fn words(&self) -> Vec<String> {
        let seen = self.stage.seen();
        seen.iter().filter(|seen| seen.worker == "worker-1").map(|seen| word(&seen.step)).collect()
    }

    /// What is stored of a version, and nothing of its job.
    pub(super) fn assert_stored(&self, version: &ModelVersion, files: &[&str]) {
        let stored = self.cluster.stored();
        let folder = format!("models/{}/{}/", version.model, version.name);
        let of_version: Vec<&str> = stored.iter().filter_map(|path| path.strip_prefix(&folder)).collect();
        assert_eq!(of_version, files);
        assert!(stored.contains(&format!("models/{}/model_latest", version.model)));
        assert!(!stored.iter().any(|path| path.starts_with("checkpoints/")), "{stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn item_cf_finds_neighbours_measures_and_publishes() {
    let world = World::with_films(1, 2).await;
    let version = world.made(item_cf(10)).await;
    let steps = "load for a model, items, baselines, prepare pairs, totals, neighbours, write checkpoints, \
                 measure, write models";
    assert_eq!(world.words(), steps.split(", ").collect::<Vec<_>>());
    assert_eq!((version.model.as_str(), version.state()), ("item_cf", VersionState::Ready));
    assert!(version.name.starts_with("item_cf_model_v1_"));
    let evaluation = version.evaluation.clone().unwrap();
    assert_eq!((evaluation.coverage, evaluation.gini, evaluation.rating.unwrap().rmse), (1.0, 0.0, 0.8));
    let files = ["manifest.json", "metadata.json", "model_info.json", "worker-1.bin", "worker-2.bin"];
    world.assert_stored(&version, &files);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_learns_a_slope() {
    let world = World::with_films(1, 2).await;
    let version = world.made(content()).await;
    let steps = "load for a model, items, baselines, census, vectors, neighbours, write checkpoints, slope, \
                 measure, write models";
    assert_eq!(world.words(), steps.split(", ").collect::<Vec<_>>());
    // Over four shards 4 × 30 / (4 × 47.5 + 10).
    assert_eq!((version.model.as_str(), version.rating_slope), ("content_based", 0.6));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hybrid_learns_on_models_that_have_not_seen_the_answers() {
    let world = World::with_films(1, 2).await;
    let als = world.trained().await;
    let (item_cf, content) = (world.made(item_cf(10)).await.name, world.made(content()).await.name);
    let hybrid = |weights: &[f64]| {
        model(Model::Hybrid(HybridParameters {
            versions: vec![
                blended_version(ModelKind::Als, als.clone()),
                blended_version(ModelKind::ItemCf, item_cf.clone()),
                blended_version(ModelKind::Content, content.clone()),
            ],
            weights: weights.to_vec(),
            validation_ratio: 0.25,
            ..HybridParameters::default()
        }))
    };
    world.stage.forget();
    let version = world.made(hybrid(&[])).await;
    let sources = version.hybrid.clone().unwrap();
    let weights: Vec<f64> = sources.sources.iter().map(|source| source.weight).collect();
    assert_eq!((weights, sources.weights_given), (vec![0.5, 0.25, 0.125, 0.125], false));
    let versions: Vec<&str> = sources.sources.iter().map(|source| source.version.as_str()).collect();
    assert_eq!(versions, [als.as_str(), &item_cf, &content, ""]);
    world.assert_stored(&version, &["manifest.json", "metadata.json", "model_info.json"]);

    // What learning works with is cut by the share; what is calibrated and measured is not.
    let ratios = |learning: bool| {
        let seen = world.stage.seen().into_iter();
        let ratios = seen.filter_map(|seen| match (seen.step, seen.job_id.contains('.')) {
            (Step::TrainLoad(load), part) if part == learning => Some(load.validation_ratio),
            (Step::ModelLoad(load), part) if part == learning => Some(load.validation_ratio),
            _ => None,
        });
        ratios.collect::<Vec<_>>()
    };
    assert_eq!((ratios(true), ratios(false)), (vec![0.25; 4], vec![0.0; 2]));
    // The ratings are loaded once for learning: item CF and content share those of ALS.
    let job = &version.job_id;
    for seen in world.stage.seen().into_iter().filter(|seen| seen.job_id.contains('.')) {
        match seen.step {
            Step::TrainLoad(load) => assert!(load.for_tags),
            Step::ModelLoad(load) => assert_eq!((load.kept_by, load.for_tags), (format!("{job}.als"), true)),
            _ => {}
        }
    }
    let learning = sources.learning.unwrap();
    assert_eq!(learning.user_share, 1.0);
    assert!(learning.users > 0 && learning.ratings > 0, "{learning:?}");

    // Of a large data set some users are enough, which is said.
    world.stage.forget();
    let mut sampled = hybrid(&[]);
    let Some(Model::Hybrid(parameters)) = &mut sampled.model else { panic!("{sampled:?}") };
    (parameters.learning_users_max, parameters.learning_ratings_max) = (1, 1);
    let sampled = world.made(sampled).await;
    let learning = sampled.hybrid.unwrap().learning.unwrap();
    assert!(learning.user_share > 0.0 && learning.user_share < 1.0, "{learning:?}");
    assert!(
        sampled.remarks.iter().any(|remark| remark.contains("learned on a sample")),
        "{:?}",
        sampled.remarks
    );
    let shares = world.stage.seen().into_iter().filter_map(|seen| match seen.step {
        Step::TrainLoad(load) => Some((load.validation_ratio, load.user_share)),
        Step::ModelLoad(load) => Some((load.validation_ratio, load.user_share)),
        _ => None,
    });
    // What is calibrated and measured is everybody's.
    let of_learning = (0.25, learning.user_share);
    assert_eq!(shares.collect::<Vec<_>>(), [[of_learning; 4].to_vec(), vec![(0.0, 0.0); 2]].concat());

    world.stage.forget();
    let given = world.made(hybrid(&[2.0, 1.0, 1.0, 0.0])).await.hybrid.unwrap();
    let weights: Vec<f64> = given.sources.iter().map(|source| source.weight).collect();
    assert_eq!((weights, given.weights_given), (vec![0.5, 0.25, 0.25, 0.0], true));
    let words = "load for a model, items, baselines, histograms, calibrate, measure";
    assert_eq!(world.words(), words.split(", ").collect::<Vec<_>>());

    let mut of_other_users = hybrid(&[2.0, 1.0, 1.0, 0.0]);
    of_other_users.split.as_mut().unwrap().held_out_user_share = 0.1;
    let job = world.cluster.over(&world.ask_for(of_other_users, false).await.job_id).await;
    assert!(job.error.contains("was trained with another split"), "{:?}: {}", job.state(), job.error);

    // Who is to hold the blend is told what it is made of, which is not served for that.
    for worker in &world.workers {
        worker.has_loaded(&version.name, &[0, 1, 2, 3]);
    }
    world.promote(&version.name, "").await.unwrap();
    let metadata = world.cluster.status().await.metadata.unwrap();
    let names = |versions: &[ModelVersion]| -> BTreeSet<String> {
        versions.iter().map(|version| version.name.clone()).collect()
    };
    assert_eq!(names(&metadata.versions), [version.name].into());
    assert_eq!(names(&metadata.components), [als, item_cf, content].into());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hybrid_blends_the_versions_that_it_is_told_in_their_order() {
    let world = World::with_films(1, 2).await;
    let als = world.trained().await;
    let (item_cf, content) = (world.made(item_cf(10)).await.name, world.made(content()).await.name);
    let hybrid = |versions: &[(ModelKind, &String)], weights: &[f64]| {
        let versions = versions.iter().map(|(kind, name)| blended_version(*kind, (*name).clone()));
        model(Model::Hybrid(HybridParameters {
            versions: versions.collect(),
            weights: weights.to_vec(),
            validation_ratio: 0.25,
            ..HybridParameters::default()
        }))
    };
    for (versions, learned) in [
        (vec![(ModelKind::Content, &content), (ModelKind::ItemCf, &item_cf)], vec![0.5, 0.25, 0.25]),
        (vec![(ModelKind::Als, &als)], vec![0.5, 0.5]),
    ] {
        world.stage.forget();
        let version = world.made(hybrid(&versions, &[])).await;
        let sources = version.hybrid.unwrap().sources;
        let found: Vec<(&str, &str, f64)> = sources
            .iter()
            .map(|source| (source.model.as_str(), source.version.as_str(), source.weight))
            .collect();
        let models = versions.iter().map(|(kind, name)| (kind.folder(), name.as_str()));
        let expected: Vec<(&str, &str, f64)> = models
            .chain([("popularity", "")])
            .zip(&learned)
            .map(|((model, name), weight)| (model, name, *weight))
            .collect();
        assert_eq!(found, expected);
        // Candidates have a folder for each version, and its model's parameters with it.
        let candidates = world.stage.seen().into_iter().find_map(|seen| match seen.step {
            Step::HybridCandidates(step) => Some(step.folders),
            _ => None,
        });
        let kinds = candidates.unwrap().into_iter().map(|folder| {
            let model = folder.parameters.unwrap().model.unwrap();
            shoal_common::model_parameters::kind_of(&model)
        });
        assert!(kinds.eq(versions.iter().map(|(kind, _)| *kind)));
        // Without ALS the ratings are loaded by the part itself.
        let has_als = versions[0].0 == ModelKind::Als;
        for seen in world.stage.seen().into_iter().filter(|seen| seen.job_id.ends_with(".blend")) {
            if let Step::ModelLoad(load) = seen.step {
                assert_eq!((load.validation_ratio, load.kept_by.is_empty()), (0.25, !has_als));
            }
        }
    }
    let given = world.made(hybrid(&[(ModelKind::Content, &content)], &[3.0, 1.0])).await;
    let weights: Vec<f64> = given.hybrid.unwrap().sources.iter().map(|source| source.weight).collect();
    assert_eq!(weights, [0.75, 0.25]);
    // A version of another model than was said.
    let job = world.ask_for(hybrid(&[(ModelKind::ItemCf, &content)], &[]), false).await.job_id;
    let job = world.cluster.over(&job).await;
    assert_eq!(job.state(), JobState::Failed);
    assert!(job.error.contains(&format!("'{content}' of 'item_cf' to be blended is gone")), "{}", job.error);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_by_time_is_cut_before_anything_is_loaded() {
    let world = World::with_films(1, 2).await;
    let by_time = |dataset: &str, als: bool| {
        let mut item_cf = item_cf(10);
        item_cf.split.as_mut().unwrap().temporal = true;
        let explicit = ExplicitParameters { regularization: 0.1, ..ExplicitParameters::default() };
        let parameters = AlsParameters {
            objective: ObjectiveChoice::Explicit.into(),
            rank: 8,
            sweeps: 1,
            explicit: Some(explicit),
            test_ratio: 0.2,
            temporal: true,
            ..AlsParameters::default()
        };
        StartTrainingRequest {
            dataset_name: dataset.into(),
            parameters: als.then_some(parameters),
            model: (!als).then_some(item_cf),
            ..StartTrainingRequest::default()
        }
    };
    for als in [true, false] {
        world.stage.forget();
        let job = world.cluster.over(&world.asked(by_time("films", als)).await.job_id).await;
        assert_eq!(job.state(), JobState::Succeeded, "{}", job.error);
        let words = world.words();
        assert_eq!((words[0].as_str(), words.iter().filter(|word| *word == "cut").count()), ("cut", 1));
        // Measuring, which loads anew, has the same cuts.
        let mut paths: Vec<String> = world
            .stage
            .seen()
            .into_iter()
            .filter_map(|seen| match seen.step {
                Step::SplitCuts(step) => Some(step.path),
                Step::TrainLoad(step) => Some(step.cuts_path),
                Step::ModelLoad(step) => Some(step.cuts_path),
                _ => None,
            })
            .collect();
        assert_eq!(paths.len(), if als { 6 } else { 4 });
        paths.dedup();
        assert!(paths.len() == 1 && !paths[0].is_empty(), "{paths:?}");
    }
    assert!(!world.cluster.stored().iter().any(|path| path.starts_with("checkpoints/")));

    let imported = world.import("untimed").await;
    assert_eq!(world.cluster.over(&imported).await.state(), JobState::Succeeded);
    let job = world.cluster.over(&world.asked(by_time("untimed", false)).await.job_id).await;
    assert_eq!(job.state(), JobState::Failed);
    assert!(job.error.contains("no rating of data set 'untimed' has a time stamp"), "{}", job.error);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_there_is_answered_instead_of_trained_again() {
    let world = World::with_films(1, 2).await;
    let version = world.made(item_cf(10)).await;
    let again = world.ask_for(item_cf(10), true).await;
    assert_eq!((again.job_id.as_str(), &again.existing_version), ("", &version.name));
    // Other parameters are another model.
    let other = world.ask_for(item_cf(11), true).await;
    assert_eq!(other.existing_version, "");
    world.cluster.over(&other.job_id).await;
    // One whose folder is damaged is trained anew.
    std::fs::remove_file(world.cluster.store_folder().join(&version.path).join("manifest.json")).unwrap();
    let anew = world.ask_for(item_cf(10), true).await;
    assert_eq!(anew.existing_version, "");
    assert_eq!(world.cluster.over(&anew.job_id).await.state(), JobState::Succeeded);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_trained_where_users_are_to_be_held_out_and_none_is() {
    let world = World::with_films(1, 1).await;
    world.stage.play(|seen| match &seen.step {
        Step::ModelLoad(_) => Act::Answer(Box::new(Event::ModelLoadDone(ModelLoadDone::default()))),
        Step::TrainLoad(_) => Act::Answer(Box::new(Event::TrainLoadDone(TrainLoadDone::default()))),
        _ => Act::Do,
    });
    for mut asked in [item_cf(5), als(2)] {
        asked.split.as_mut().unwrap().held_out_user_share = 0.1;
        let job = world.cluster.over(&world.ask_for(asked, false).await.job_id).await;
        assert_eq!((job.state(), job.attempt), (JobState::Failed, 1));
        for part in ["none of the", "a share of 0.1000", "give --held-out-users"] {
            assert!(job.error.contains(part), "{}", job.error);
        }
    }
    world.end().await;
}
