//! Trainings of EASE: what workers have is put together for all of them.

use bytes::Bytes;
use model_parameters::Model;
use serde_json::Value;
use shoal_common::model_parameters::blended_version;
use shoal_core::ModelKind;
use step_event::Event;

use super::{models::model, worker::Act, *};

const PARAMETERS: EaseParameters = EaseParameters {
    regularization: 20.0,
    neighbours: 10,
    items_max: 12,
    preference: 3,
    rating_least: 0.5,
    rating_greatest: 5.0,
    prediction_neighbours: 5,
};

fn ease(items_max: u32) -> ModelParameters {
    model(Model::Ease(EaseParameters { items_max, ..PARAMETERS }))
}

#[tokio::test(flavor = "multi_thread")]
async fn ease_inverts_the_likings_of_all_and_says_which_items_it_leaves_to_others() {
    let world = World::with_films(1, 2).await;
    let version = world.made(ease(12)).await;
    let steps = "load for a model, items, baselines, likings, sum, invert, sizes, select by 2, weights, \
                 write checkpoints, measure, write models";
    assert_eq!(world.words(), steps.split(", ").collect::<Vec<_>>());
    assert!(version.name.starts_with("ease_model_v1_"));
    let says_so =
        |version: &ModelVersion| version.remarks.iter().any(|remark| remark.contains("--items-max"));
    assert!(!says_so(&version), "{:?}", version.remarks);
    let limited = world.made(ease(5)).await;
    assert!(says_so(&limited), "{:?}", limited.remarks);

    // Who counts other ratings than the others cannot invert with them.
    let odd = |seen: &Seen| match &seen.step {
        Step::EasePrepare(_) if seen.worker == "worker-2" && seen.attempt == 1 => {
            let done = EasePrepareDone { items: 4, rated_items: 12 };
            Act::Answer(Box::new(Event::EasePrepareDone(done)))
        }
        _ => Act::Do,
    };
    world.stage.play(odd);
    let again = world.made(ease(6)).await;
    assert_eq!((again.model.as_str(), again.state()), ("ease", VersionState::Ready));
    world.end().await;
}

/// What a worker has of the diagonal: the second has what the first has not.
fn diagonal(worker: &str) -> EaseDiagonal {
    let (tile_row, values) = if worker == "worker-1" { (0, vec![1; 4]) } else { (1, vec![2; 4]) };
    EaseDiagonal { tile_row, values: values.into() }
}

fn counts(worker: &str) -> Bytes {
    worker.as_bytes().to_vec().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_worker_has_is_told_to_all_of_them() {
    let world = World::with_films(1, 2).await;
    world.stage.play(|seen| match &seen.step {
        Step::EaseInvert(_) => {
            let diagonals = vec![diagonal(&seen.worker)];
            Act::Answer(Box::new(Event::EaseInvertDone(EaseInvertDone { diagonals })))
        }
        Step::EaseSizes(_) => {
            Act::Answer(Box::new(Event::EaseSizesDone(EaseSizesDone { counts: counts(&seen.worker) })))
        }
        _ => Act::Do,
    });
    let version = world.made(ease(7)).await;
    let names = ["worker-1", "worker-2"];
    let seen = world.stage.seen();
    let of = |worker: &str, is: fn(&Step) -> bool| -> Vec<Step> {
        let steps = seen.iter().filter(|seen| seen.worker == worker && is(&seen.step));
        steps.map(|seen| seen.step.clone()).collect()
    };
    let parameters = EaseParameters { items_max: 7, ..PARAMETERS };
    for worker in names {
        // One of each, with the parameters that were asked for and the parts of both workers, in their order.
        let prepare = EasePrepare { parameters: Some(parameters) };
        assert_eq!(of(worker, |step| matches!(step, Step::EasePrepare(_))), [Step::EasePrepare(prepare)]);
        assert_eq!(of(worker, |step| matches!(step, Step::EaseSum(_))).len(), 1);
        assert_eq!(of(worker, |step| matches!(step, Step::EaseInvert(_))).len(), 1);
        let sizes = EaseSizes { diagonals: names.map(diagonal).to_vec() };
        assert_eq!(of(worker, |step| matches!(step, Step::EaseSizes(_))), [Step::EaseSizes(sizes)]);
        let select = EaseSelect { counts: names.map(counts).to_vec() };
        assert_eq!(of(worker, |step| matches!(step, Step::EaseSelect(_))), [Step::EaseSelect(select)]);
        assert_eq!(of(worker, |step| matches!(step, Step::EaseNeighbours(_))).len(), 1);
        // What is measured is what was written of the weights, as a model of these parameters.
        let written = of(worker, |step| matches!(step, Step::ModelWrite(_)));
        let [Step::ModelWrite(checkpoint), Step::ModelWrite(_)] = &written[..] else { panic!("{written:?}") };
        let evaluate = of(worker, |step| matches!(step, Step::ModelEvaluate(_)));
        let [Step::ModelEvaluate(evaluate)] = &evaluate[..] else { panic!("{evaluate:?}") };
        let folder = &evaluate.folders[0];
        assert_eq!((&folder.path, evaluate.folders.len()), (&checkpoint.path, 1));
        let of_folder = folder.parameters.as_ref().and_then(|parameters| parameters.model.as_ref());
        assert_eq!(of_folder, Some(&Model::Ease(parameters)));
    }
    let stored = version.model_parameters.as_ref().and_then(|parameters| parameters.model.as_ref());
    assert_eq!(stored, Some(&Model::Ease(parameters)));
    let metadata = world.cluster.store_folder().join(&version.path).join("metadata.json");
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["items_in_model"], 7);
    assert!(
        version.remarks.iter().any(|remark| remark.contains("7 most rated of 12")),
        "{:?}",
        version.remarks
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_make_no_model_are_refused_before_anything_is_done() {
    let world = World::with_films(1, 1).await;
    let cases: [(EaseParameters, &str); 8] = [
        (EaseParameters { regularization: 0.0, ..PARAMETERS }, "ridge"),
        (EaseParameters { regularization: f64::NAN, ..PARAMETERS }, "ridge"),
        (EaseParameters { regularization: 1e13, ..PARAMETERS }, "ridge"),
        (EaseParameters { neighbours: 0, ..PARAMETERS }, "number of neighbours"),
        (EaseParameters { neighbours: 1 << 20, ..PARAMETERS }, "number of neighbours"),
        (EaseParameters { prediction_neighbours: 0, ..PARAMETERS }, "to predict from"),
        (EaseParameters { rating_least: f64::NAN, ..PARAMETERS }, "ends of the scale"),
        (EaseParameters { rating_greatest: f64::INFINITY, ..PARAMETERS }, "ends of the scale"),
    ];
    for (parameters, says) in cases {
        let request = StartTrainingRequest {
            dataset_name: "films".into(),
            model: Some(model(Model::Ease(parameters))),
            ..StartTrainingRequest::default()
        };
        let refused = world.cluster.ask(|mut leader| {
            let request = request.clone();
            async move { leader.start_training(request).await }
        });
        let refused = refused.await.unwrap_err();
        assert!(refused.message().contains(says), "'{says}' is missing: {refused}");
    }
    assert!(world.stage.seen().is_empty());
    // What is just inside is trained.
    let least =
        EaseParameters { regularization: 1e12, neighbours: 1, prediction_neighbours: 1, ..PARAMETERS };
    let version = world.made(model(Model::Ease(least))).await;
    assert_eq!(version.state(), VersionState::Ready);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blend_learns_on_a_model_of_the_versions_own_parameters() {
    let world = World::with_films(1, 2).await;
    let version = world.made(ease(7)).await;
    world.stage.forget();
    let hybrid = HybridParameters {
        versions: vec![blended_version(ModelKind::Ease, version.name.clone())],
        validation_ratio: 0.25,
        ..HybridParameters::default()
    };
    let blend = world.made(model(Model::Hybrid(hybrid))).await;
    assert_eq!(blend.hybrid.unwrap().sources[0].version, version.name);
    // On the training ratings less a share, in a part of its own; the version itself stays as it is.
    let own = Model::Ease(EaseParameters { items_max: 7, ..PARAMETERS });
    let mut prepared = 0;
    for seen in world.stage.seen() {
        match seen.step {
            Step::EasePrepare(step) => {
                assert_eq!(step.parameters.map(Model::Ease), Some(own.clone()));
                prepared += 1;
            }
            Step::HybridCandidates(step) => {
                let parameters = step.folders[0].parameters.clone().unwrap();
                assert_eq!((parameters.model, step.folders.len()), (Some(own.clone()), 1));
                assert_ne!(step.folders[0].path, version.path);
            }
            _ => {}
        }
    }
    assert_eq!(prepared, 2, "once on each worker");
    world.end().await;
}
