//! The elimination over workers: takes turns while there is work, sends what comes of them, and waits for what others send.

use std::sync::Arc;

use shoal_engine::ease::{Elimination, Message, Part, Share, Turn};
use shoal_proto::v1::{EaseDiagonal, EaseInvertDone, EliminationPart, tile_chunk::Content};

use super::{
    super::attempt::ModelAttempt,
    Ease, Tiles,
    pushes::{TilePushes, shared},
};
use crate::{
    exchange::wire,
    train::{TrainError, evaluation::OnShare},
};

impl ModelAttempt {
    /// Inverts the sums of all workers; what of the diagonal is here. `on_share` is told how many of the steps are done.
    ///
    /// # Errors
    /// When the sums are not complete, a peer cannot be sent to or sends what it cannot, or f32 loses a pivot.
    pub async fn invert_sums(self: &Arc<Self>, on_share: OnShare) -> Result<EaseInvertDone, TrainError> {
        let ease = self.ease()?;
        let share = ease.summed(self.me)?;
        let (ridge, levels) = (ease.parameters.regularization, ease.levels);
        let beginning = self.context.job.compute.run(move || {
            let mut share = share;
            share.finish_sums(ridge, levels);
            Elimination::new(share)
        });
        let mut elimination = beginning.await?;
        // The own parts of two steps: who computes seldom waits for who is slow.
        let queued = 2 * (ease.grid.side() as usize / self.peers.len() + 2);
        let mut pushes = TilePushes::open(self, queued)?;
        ease.inbox.reached(0);
        loop {
            for (from, message) in ease.inbox.take() {
                elimination.accept(from, message)?;
            }
            let taking = self.context.job.compute.run(move || {
                let mut outbox = Vec::new();
                let turn = elimination.turn(&mut outbox);
                (elimination, turn, outbox)
            });
            let (after, turn, outbox) = taking.await?;
            elimination = after;
            let turn = turn?;
            for message in outbox {
                pushes.send_to_all(&content(message)).await?;
            }
            ease.inbox.reached(elimination.making());
            let (done, steps) = elimination.progress();
            on_share(done.into(), steps.into());
            match turn {
                Turn::Worked => {}
                Turn::Waiting => tokio::select! {
                    () = ease.inbox.arrived() => {}
                    error = pushes.failure() => return Err(error),
                },
                Turn::Done => break,
            }
        }
        pushes.finish().await?;
        let share = elimination.into_share();
        let diagonals = share.diagonals();
        let diagonal =
            |(tile_row, values): (u32, Vec<f32>)| EaseDiagonal { tile_row, values: wire::to_bytes(&values) };
        let done = EaseInvertDone { diagonals: diagonals.map(diagonal).collect() };
        *ease.tiles() = Tiles::Inverted(Arc::new(share));
        Ok(done)
    }
}

impl Ease {
    /// The own tiles when the sums of all workers are in them.
    fn summed(&self, me: usize) -> Result<Share, TrainError> {
        let mut tiles = self.tiles();
        match std::mem::replace(&mut *tiles, Tiles::Inverting) {
            Tiles::Summing { share, come } => {
                let is_complete = |(from, come): (usize, &usize)| from == me || *come == share.tiles().len();
                if come.iter().enumerate().all(is_complete) {
                    return Ok(share);
                }
                *tiles = Tiles::Summing { share, come };
                Err(TrainError::OutOfTurn("the sums of some workers are missing"))
            }
            other => {
                *tiles = other;
                Err(TrainError::OutOfTurn("the likings were inverted before"))
            }
        }
    }
}

fn content(message: Message) -> Content {
    let Message { step, part, values } = message;
    let tile_row = match part {
        Part::Pivot => None,
        Part::Panel(line) => Some(line),
    };
    Content::Part(EliminationPart { step, tile_row, values: shared(values) })
}
