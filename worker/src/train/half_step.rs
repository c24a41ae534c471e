//! One half-step: solve the own rows of a side and send them to whom they concern, chunk by chunk.

use std::{sync::Arc, time::Duration};

use rayon::prelude::*;
use shoal_engine::als::{
    fit::Fit,
    gramian::{add_in_order, shard_gramian},
    half_step::{HalfStep, Kept},
    problem::RowError,
};
use shoal_proto::v1::{Objective, Side, TrainHalfStep, TrainHalfStepDone};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{TrainError, attempt::TrainAttempt};
use crate::exchange::push::{Envelope, Outlet, Pushes, Receiver};

/// Rows solved between two looks at cancellation and before they are sent.
const CHUNK_ROWS: usize = 2_048;

/// The same where nobody waits for them: at the end of a chunk threads wait for each other.
const CHUNK_ROWS_ALONE: usize = 8_192;

/// Told how many more rows are done.
pub type OnRows = Arc<dyn Fn(u64) + Send + Sync>;

/// What the computing thread has done.
struct Solved {
    rows: u64,
    bytes_sent: u64,
    busy: Duration,
}

impl TrainAttempt {
    /// Solves every own row of a side (or with `solve` unset only sends what is held), sends rows and
    /// Gramians to the peers, and returns when all of it has arrived.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] when a row cannot be solved; [`TrainError::Push`] when a peer is lost.
    pub async fn half_step(
        self: &Arc<Self>,
        step: TrainHalfStep,
        cancelled: CancellationToken,
        on_rows: OnRows,
    ) -> Result<TrainHalfStepDone, TrainError> {
        let side = step.side();
        self.begin_sweep(step.sweep);
        let envelope = Envelope {
            cluster_id: self.context.job.cluster_id.clone(),
            job_id: self.job_id.clone(),
            attempt: self.attempt,
            sweep: step.sweep,
            side,
            node: self.context.job.node.clone(),
        };
        let (receivers, format) = (self.receivers(side)?, self.settings().exchange);
        let bytes_needed = self.bytes_needed(&receivers);
        let mut pushes = Pushes::open(&envelope, &receivers, format, &self.context.job.channels)?;
        let outlets = pushes.take_outlets();
        let attempt = Arc::clone(self);
        let solving =
            self.context.job.compute.run(move || attempt.solve_and_send(step, outlets, &cancelled, &on_rows));
        // The outlets end with the closure, and then the streams: both sides finish together.
        let solved = solving.await?;
        let waiting_since = Instant::now();
        let pushed = pushes.finish().await;
        // A broken stream stops the solving too; its own error says more than "the stream has ended".
        let solved = match (solved, pushed) {
            (Err(TrainError::Cancelled), Err(push)) | (Ok(_), Err(push)) => return Err(push.into()),
            (Err(error), _) => return Err(error),
            (Ok(solved), Ok(())) => solved,
        };
        Ok(TrainHalfStepDone {
            solve_seconds: solved.busy.as_secs_f64(),
            exchange_wait_seconds: waiting_since.elapsed().as_secs_f64(),
            bytes_sent: solved.bytes_sent,
            rows_solved: solved.rows,
            bytes_needed,
        })
    }

    /// Bytes of the rows that the receivers need, as plain numbers.
    fn bytes_needed(&self, receivers: &[Receiver]) -> u64 {
        let settings = self.settings();
        let row: usize = settings.widths().iter().map(|(_, width)| width * settings.exchange.size()).sum();
        receivers.iter().map(|receiver| (receiver.rows.len() * row) as u64).sum()
    }

    /// Rows that a half-step of this side goes through, for progress.
    #[must_use]
    pub fn half_step_rows(&self, side: Side) -> u64 {
        (self.side(side).table.own_rows() * self.settings().widths().len()) as u64
    }

    fn solve_and_send(
        &self,
        step: TrainHalfStep,
        mut outlets: Vec<Outlet>,
        cancelled: &CancellationToken,
        on_rows: &OnRows,
    ) -> Result<Solved, TrainError> {
        let started = Instant::now();
        let side = step.side();
        self.forget_held_out();
        let rows = self.side(side).table.own_rows();
        let (format, method) = (self.settings().exchange, self.settings().solver);
        let (rating, ranking) = (self.settings().rating(), self.settings().ranking(side));
        for (objective, width) in self.settings().widths() {
            let gramian = self.other_gramian(step, objective)?;
            // Nobody writes the other side while this one is solved, so its lock can be held.
            let fixed = self.factors(opposite(side));
            let fixed = fixed.of(objective);
            let fit = match (objective, &rating, &ranking) {
                (Objective::Ranking, _, Some(settings)) => {
                    Fit::Implicit { settings, fixed, gramian: &gramian }
                }
                (_, Some(settings), _) => Fit::Explicit { settings, fixed },
                _ => return Err(TrainError::Request("the objective is not trained".to_owned())),
            };
            let rating_rows = self.side(side).rating_rows();
            let solver = step.solve.then(|| {
                let is_ranking = objective == Objective::Ranking;
                let kept = if is_ranking { self.take_kept() } else { Kept::default() };
                HalfStep::with_kept(self.context.kernel, fit, method, rating_rows, kept)
            });
            let chunk = if outlets.is_empty() { CHUNK_ROWS_ALONE } else { CHUNK_ROWS };
            for begin in (0..rows).step_by(chunk) {
                if cancelled.is_cancelled() {
                    return Err(TrainError::Cancelled);
                }
                let range = begin..rows.min(begin + chunk);
                let elements = range.start * width..range.end * width;
                // As they were: some solvers start there.
                let mut solved = self.factors(side).of(objective)[elements.clone()].to_vec();
                if let Some(solver) = &solver {
                    solver
                        .solve(range.clone(), &mut solved)
                        .map_err(|source| self.diverged(step.sweep, side, source))?;
                    format.round(&mut solved);
                    self.factors_mut(side).of_mut(objective)[elements].copy_from_slice(&solved);
                }
                for outlet in &mut outlets {
                    // A stream that has ended is reported, with its reason, when the pushes finish.
                    outlet
                        .send_rows(objective, range.clone(), width, &solved)
                        .map_err(|_| TrainError::Cancelled)?;
                }
                on_rows(range.len() as u64);
            }
            for outlet in &mut outlets {
                outlet.flush().map_err(|_| TrainError::Cancelled)?;
            }
            if objective == Objective::Ranking {
                self.keep(solver.map(HalfStep::into_room).unwrap_or_default());
                self.share_gramians(side, &mut outlets)?;
            }
        }
        // The other side's ratings are gone through next: there need not be memory for both.
        self.side(side).file.release();
        let bytes_sent = outlets.iter().map(Outlet::bytes_sent).sum();
        Ok(Solved { rows: rows as u64, bytes_sent, busy: started.elapsed() })
    }

    fn diverged(&self, sweep: u32, side: Side, source: RowError) -> TrainError {
        let shard = self.side(side).shard_of_own_row(source.row);
        let side = if side == Side::Items { "items" } else { "users" };
        TrainError::Diverged { sweep, side, shard, source }
    }

    /// Σ q qᵀ over the whole other side, for solving the ranking objective.
    fn other_gramian(&self, step: TrainHalfStep, objective: Objective) -> Result<Vec<f64>, TrainError> {
        if !step.solve || objective != Objective::Ranking {
            return Ok(Vec::new());
        }
        let partials = self
            .gramians(opposite(step.side()))
            .ok_or(TrainError::OutOfTurn("a Gramian of the other side has not arrived"))?;
        Ok(add_in_order(partials.iter().map(Vec::as_slice), self.settings().rank))
    }

    /// Sums each owned shard's Gramian and sends it to everybody.
    fn share_gramians(&self, side: Side, outlets: &mut [Outlet]) -> Result<(), TrainError> {
        let rank = self.settings().rank;
        let owned = &self.side(side).owned;
        let gramians: Vec<Vec<f64>> = {
            let factors = self.factors(side);
            let rows =
                |owned: &super::training_side::OwnedShard| owned.rows.start * rank..owned.rows.end * rank;
            let kernel = self.context.kernel;
            owned.par_iter().map(|owned| shard_gramian(kernel, &factors.ranking[rows(owned)], rank)).collect()
        };
        for (owned, gramian) in owned.iter().zip(gramians) {
            for outlet in &mut *outlets {
                outlet.send_gramian(owned.shard, &gramian, rank).map_err(|_| TrainError::Cancelled)?;
            }
            self.put_gramian(side, owned.shard, gramian)?;
        }
        Ok(())
    }
}

pub(super) fn opposite(side: Side) -> Side {
    if side == Side::Items { Side::Users } else { Side::Items }
}
