//! What the leader asks of workers, each step with the type of its answer.
//!
//! The wire has one message for all steps and one for all answers. The table at the end says which answer belongs to
//! which step: the leader reads an answer through it and refuses another one, and a worker cannot make another one.

use shoal_proto::v1::{self, step_event::Event, step_request::Step};

/// A step of a job on one worker.
pub trait StepKind: Clone + Send + Sync + 'static {
    /// What a worker answers when the step is done.
    type Done: Send + 'static;

    /// The step's name in logs, metrics and errors: that of its field on the wire.
    const NAME: &'static str;

    /// As it is sent.
    fn into_step(self) -> Step;

    /// The answer as it is sent.
    fn into_event(done: Self::Done) -> Event;

    /// The answer out of what was received.
    ///
    /// # Errors
    /// When the event is no answer to this step.
    fn from_event(event: Event) -> Result<Self::Done, WrongAnswer>;
}

/// A worker has answered something else than what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answered '{answer}' to the step '{step}'; coordinators and workers have to be of one release")]
pub struct WrongAnswer {
    /// Name of the step that was asked for.
    pub step: &'static str,
    /// Name of the answer that came.
    pub answer: &'static str,
}

/// Declares the steps: `field: Message => AnswerVariant(Answer)`.
macro_rules! steps {
    ($($field:ident: $message:ident => $answer:ident($done:ident),)*) => {
        $(impl StepKind for v1::$message {
            type Done = v1::$done;

            const NAME: &'static str = stringify!($field);

            fn into_step(self) -> Step {
                Step::$message(self)
            }

            fn into_event(done: Self::Done) -> Event {
                Event::$answer(done)
            }

            fn from_event(event: Event) -> Result<Self::Done, WrongAnswer> {
                match event {
                    Event::$answer(done) => Ok(done),
                    other => Err(WrongAnswer { step: Self::NAME, answer: answer_name(&other) }),
                }
            }
        })*

        /// The name of a step in logs, metrics and errors.
        #[must_use]
        pub fn step_name(step: &Step) -> &'static str {
            match step {
                $(Step::$message(_) => <v1::$message as StepKind>::NAME,)*
            }
        }
    };
}

steps! {
    ingest_begin: IngestBegin => EmptyDone(StepEmptyDone),
    ingest_parse: IngestParse => IngestParseDone(IngestParseDone),
    ingest_sort: IngestSort => IngestSortDone(IngestSortDone),
    ingest_build: IngestBuild => IngestBuildDone(ObjectsWritten),
    split_cuts: SplitCuts => SplitCutsDone(SplitCutsDone),
    train_load: TrainLoad => TrainLoadDone(TrainLoadDone),
    train_route: TrainRoute => TrainRouteDone(TrainRouteDone),
    train_half_step: TrainHalfStep => TrainHalfStepDone(TrainHalfStepDone),
    train_write: TrainWrite => TrainWriteDone(ObjectsWritten),
    train_evaluate: TrainEvaluate => TrainEvaluateDone(TrainEvaluateDone),
    model_load: ModelLoad => ModelLoadDone(ModelLoadDone),
    model_items: ModelItems => ObjectsWritten(ObjectsWritten),
    model_baselines: ModelBaselines => EmptyDone(StepEmptyDone),
    model_write: ModelWrite => ObjectsWritten(ObjectsWritten),
    model_evaluate: ModelEvaluate => ModelEvaluateDone(ModelEvaluateDone),
    item_cf_prepare: ItemCfPrepare => EmptyDone(StepEmptyDone),
    item_cf_totals: ItemCfTotals => ObjectsWritten(ObjectsWritten),
    item_cf_neighbours: ItemCfNeighbours => EmptyDone(StepEmptyDone),
    content_census: ContentCensus => ObjectsWritten(ObjectsWritten),
    content_vectors: ContentVectors => ObjectsWritten(ObjectsWritten),
    content_neighbours: ContentNeighbours => EmptyDone(StepEmptyDone),
    content_slope: ContentSlope => ContentSlopeDone(ContentSlopeDone),
    hybrid_histograms: HybridHistograms => ObjectsWritten(ObjectsWritten),
    hybrid_calibrate: HybridCalibrate => HybridCalibrateDone(HybridCalibrateDone),
    hybrid_candidates: HybridCandidates => ObjectsWritten(ObjectsWritten),
    hybrid_learn: HybridLearn => HybridLearnDone(HybridLearnDone),
    ease_prepare: EasePrepare => EasePrepareDone(EasePrepareDone),
    ease_sum: EaseSum => EmptyDone(StepEmptyDone),
    ease_invert: EaseInvert => EaseInvertDone(EaseInvertDone),
    ease_sizes: EaseSizes => EaseSizesDone(EaseSizesDone),
    ease_select: EaseSelect => EmptyDone(StepEmptyDone),
    ease_neighbours: EaseNeighbours => EmptyDone(StepEmptyDone),
    lists_begin: ListsBegin => EmptyDone(StepEmptyDone),
    lists_claim: ListsClaim => ListsClaimDone(ListsClaimDone),
    lists_write: ListsWrite => ListsWriteDone(ListsPart),
    lists_finish: ListsFinish => ListsFinishDone(ListsInfo),
    lists_discard: ListsDiscard => EmptyDone(StepEmptyDone),
}

/// The name of an answer's field on the wire.
fn answer_name(event: &Event) -> &'static str {
    match event {
        Event::Progress(_) => "progress",
        Event::EmptyDone(_) => "empty_done",
        Event::IngestParseDone(_) => "ingest_parse_done",
        Event::IngestSortDone(_) => "ingest_sort_done",
        Event::IngestBuildDone(_) => "ingest_build_done",
        Event::TrainLoadDone(_) => "train_load_done",
        Event::TrainRouteDone(_) => "train_route_done",
        Event::TrainHalfStepDone(_) => "train_half_step_done",
        Event::TrainWriteDone(_) => "train_write_done",
        Event::TrainEvaluateDone(_) => "train_evaluate_done",
        Event::SplitCutsDone(_) => "split_cuts_done",
        Event::ModelLoadDone(_) => "model_load_done",
        Event::ObjectsWritten(_) => "objects_written",
        Event::ModelEvaluateDone(_) => "model_evaluate_done",
        Event::ContentSlopeDone(_) => "content_slope_done",
        Event::HybridCalibrateDone(_) => "hybrid_calibrate_done",
        Event::HybridLearnDone(_) => "hybrid_learn_done",
        Event::EasePrepareDone(_) => "ease_prepare_done",
        Event::EaseInvertDone(_) => "ease_invert_done",
        Event::EaseSizesDone(_) => "ease_sizes_done",
        Event::ListsClaimDone(_) => "lists_claim_done",
        Event::ListsWriteDone(_) => "lists_write_done",
        Event::ListsFinishDone(_) => "lists_finish_done",
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{IngestParse, IngestParseDone, ListsPart, ListsWrite, StepEmptyDone};

    use super::*;

    #[test]
    fn only_a_steps_own_answer_is_taken() {
        let part = ListsPart { shard: 7, ..ListsPart::default() };
        let sent = ListsWrite::into_event(part.clone());
        assert_eq!(ListsWrite::from_event(sent.clone()), Ok(part));
        let wrong = WrongAnswer { step: "ingest_parse", answer: "lists_write_done" };
        assert_eq!(IngestParse::from_event(sent), Err(wrong));
        let empty = IngestParse::from_event(Event::EmptyDone(StepEmptyDone {})).unwrap_err();
        assert_eq!((empty.step, empty.answer), ("ingest_parse", "empty_done"));
        let done = IngestParseDone { lines: 3, ..IngestParseDone::default() };
        assert_eq!(IngestParse::from_event(IngestParse::into_event(done.clone())), Ok(done));
        assert_eq!(step_name(&ListsWrite { shard: 7 }.into_step()), "lists_write");
    }
}
