//! The steps of an attempt that trains or measures a model that is not ALS.

use std::sync::Arc;

use futures::StreamExt as _;
use shoal_common::job_steps::{StepKind as _, step_name};
use shoal_proto::v1::{
    ContentCensus, ContentNeighbours, ContentSlope, ContentVectors, EaseInvert, EaseNeighbours, EasePrepare,
    EaseSelect, EaseSizes, EaseSum, HybridCalibrate, HybridCandidates, HybridHistograms, HybridLearn,
    ItemCfNeighbours, ItemCfPrepare, ItemCfTotals, ModelBaselines, ModelEvaluate, ModelItems, ModelWrite,
    PairsRequest, TileChunk, step_event::Event, step_request::Step,
};

use super::{
    attempt::{Attempt, Pairs, StepContext, StepError, done, written, wrong_kind},
    step_progress::on_share,
};
use crate::train::models::ModelAttempt;

/// The attempt of a model that is not ALS, or of a measuring.
pub(super) struct Model(pub(super) Arc<ModelAttempt>);

#[tonic::async_trait]
impl Attempt for Model {
    async fn step(&self, step: Step, context: StepContext) -> Result<Event, StepError> {
        let on_share = on_share(&context);
        let progress = context.progress;
        let on_done = |done| progress.add(done);
        // What a step that is cancelled has begun in the pool ends there, and its result is dropped.
        let work = async {
            Ok(match step {
                Step::ModelItems(step) => written::<ModelItems>(self.0.write_items(step).await?),
                Step::ModelBaselines(step) => {
                    self.0.read_baselines(step).await?;
                    done::<ModelBaselines>()
                }
                Step::ItemCfPrepare(step) => {
                    self.0.prepare_pairs(step).await?;
                    done::<ItemCfPrepare>()
                }
                Step::ItemCfTotals(step) => written::<ItemCfTotals>(self.0.write_totals(step).await?),
                Step::ItemCfNeighbours(step) => {
                    progress.set_total(self.0.own_items());
                    self.0.find_item_cf_neighbours(step, on_done).await?;
                    done::<ItemCfNeighbours>()
                }
                Step::ContentCensus(step) => ContentCensus::into_event(self.0.write_census(step).await?),
                Step::ContentVectors(step) => written::<ContentVectors>(self.0.write_vectors(step).await?),
                Step::ContentNeighbours(step) => {
                    progress.set_total(self.0.item_shards());
                    self.0.find_content_neighbours(step, on_done).await?;
                    done::<ContentNeighbours>()
                }
                Step::ContentSlope(step) => ContentSlope::into_event(self.0.sum_slope(step).await?),
                Step::EasePrepare(step) => EasePrepare::into_event(self.0.prepare_likings(step).await?),
                Step::EaseSum(_) => {
                    progress.set_total(self.0.ease_tiles());
                    self.0.sum_likings(on_done).await?;
                    done::<EaseSum>()
                }
                Step::EaseInvert(_) => EaseInvert::into_event(self.0.invert_sums(on_share).await?),
                Step::EaseSizes(step) => EaseSizes::into_event(self.0.count_weights(step).await?),
                Step::EaseSelect(step) => {
                    self.0.select_weights(&step)?;
                    done::<EaseSelect>()
                }
                Step::EaseNeighbours(_) => {
                    progress.set_total(self.0.own_items());
                    self.0.take_weights(on_done).await?;
                    done::<EaseNeighbours>()
                }
                Step::HybridHistograms(step) => {
                    progress.set_total(self.0.item_shards());
                    written::<HybridHistograms>(self.0.write_histograms(step, on_done).await?)
                }
                Step::HybridCalibrate(step) => HybridCalibrate::into_event(self.0.calibrate(step).await?),
                Step::HybridCandidates(step) => {
                    progress.set_total(self.0.item_shards());
                    written::<HybridCandidates>(self.0.write_candidates(step, on_done).await?)
                }
                Step::HybridLearn(step) => HybridLearn::into_event(self.0.learn(step).await?),
                Step::ModelWrite(step) => written::<ModelWrite>(self.0.write(step).await?),
                Step::ModelEvaluate(step) => {
                    ModelEvaluate::into_event(self.0.evaluate(step, on_share).await?)
                }
                other => return Err(wrong_kind(step_name(&other))),
            })
        };
        tokio::select! {
            // Work that has ended is not cancelled any more.
            biased;
            outcome = work => outcome,
            () = context.cancelled.cancelled() => Err(StepError::Cancelled),
        }
    }

    async fn pull_pairs(&self, request: PairsRequest) -> Result<Pairs, StepError> {
        let pairs = self.0.serve_pairs(&request)?;
        Ok(pairs.map(|chunk| Ok(chunk?)).boxed())
    }

    async fn push_tiles(&self, chunk: TileChunk) -> Result<(), StepError> {
        Ok(self.0.receive_tiles(chunk).await?)
    }
}
