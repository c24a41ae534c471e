//! Messages of the elimination that have come and are not taken yet.
//!
//! A message is kept here if its step is being made or is the next one. Who sends one of a later step is not read from until
//! then: its stream stands still. Nobody waits for ever by that, since the worker that is furthest behind never sends anything
//! too early, and whatever it needs was sent before.

use std::sync::{Arc, Mutex, PoisonError};

use shoal_engine::ease::{Grid, Message, Part, SIDE};
use shoal_proto::v1::EliminationPart;
use tokio::sync::{Notify, watch};

use crate::{exchange::wire, train::TrainError};

/// Numbers in a tile.
pub(super) const TILE: usize = SIDE * SIDE;

/// What other workers have sent and the elimination has not taken, by sender.
#[derive(Debug)]
pub(super) struct Inbox {
    steps: u32,
    /// What two steps have at the most.
    messages_max: usize,
    /// The step that is being made; unset before the first.
    making: watch::Sender<Option<u32>>,
    messages: Mutex<Vec<(u32, Message)>>,
    arrived: Notify,
}

impl Inbox {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            steps: grid.side(),
            messages_max: 2 * grid.side() as usize,
            making: watch::Sender::new(None),
            messages: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Takes a message once its step is near. What it holds is for the elimination to check; here are its size and how many
    /// there are.
    pub(super) async fn deliver(&self, from: usize, part: EliminationPart) -> Result<(), TrainError> {
        let step = part.step;
        if step >= self.steps {
            return Err(TrainError::Request(format!("the elimination has no step {step}")));
        }
        if part.values.len() > TILE * size_of::<f32>() {
            return Err(TrainError::Request("a part of a panel is larger than a tile".to_owned()));
        }
        let mut making = self.making.subscribe();
        let is_near = |making: &Option<u32>| making.is_some_and(|making| step < making.saturating_add(2));
        // The sending half lives as long as the attempt, and who waits for it is told when that is over.
        let _ = making.wait_for(is_near).await;
        let values = Arc::new(wire::from_bytes::<f32>(&part.values)?);
        let message = Message { step, part: part.tile_row.map_or(Part::Pivot, Part::Panel), values };
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() >= self.messages_max {
            return Err(TrainError::Request("there are more messages than two steps have".to_owned()));
        }
        // Workers are counted in a u32.
        messages.push((from as u32, message));
        drop(messages);
        self.arrived.notify_one();
        Ok(())
    }

    /// What has come, with who sent it.
    pub(super) fn take(&self) -> Vec<(u32, Message)> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there is something to take.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Says which step is being made.
    pub(super) fn reached(&self, step: u32) {
        self.making.send_if_modified(|making| making.replace(step) != Some(step));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn part(step: u32, tile_row: Option<u32>) -> EliminationPart {
        EliminationPart { step, tile_row, values: wire::to_bytes(&[0.5_f32]) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_early_waits_and_nothing_else_does() {
        let inbox = Inbox::new(Grid::new(5 * SIDE as u32, 2));
        let patience = Duration::from_secs(60);
        let too_early = |step| tokio::time::timeout(patience, inbox.deliver(1, part(step, Some(4))));
        // Nothing has begun here.
        assert!(too_early(0).await.is_err());
        inbox.reached(0);
        for step in [0, 1] {
            inbox.deliver(1, part(step, None)).await.unwrap();
        }
        assert!(too_early(2).await.is_err());
        inbox.arrived().await;
        let steps = |messages: Vec<(u32, Message)>| -> Vec<(u32, Part)> {
            messages.into_iter().map(|(_, message)| (message.step, message.part)).collect()
        };
        assert_eq!(steps(inbox.take()), [(0, Part::Pivot), (1, Part::Pivot)]);
        let last = part(2, Some(4));
        let waiting = inbox.deliver(1, last);
        let reaching = async { inbox.reached(1) };
        tokio::join!(waiting, reaching).0.unwrap();
        assert_eq!(steps(inbox.take()), [(2, Part::Panel(4))]);
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused() {
        let inbox = Inbox::new(Grid::new(3 * SIDE as u32, 2));
        inbox.reached(0);
        let refused = |part: EliminationPart| {
            let inbox = &inbox;
            async move { inbox.deliver(1, part).await.unwrap_err().to_string() }
        };
        assert!(refused(part(3, None)).await.contains("no step 3"));
        assert!(refused(part(u32::MAX, None)).await.contains("no step"));
        let torn = EliminationPart { values: vec![0; 7].into(), ..part(0, None) };
        assert!(refused(torn).await.contains("7 bytes"));
        let large = EliminationPart { values: vec![0; 4 * TILE + 4].into(), ..part(0, None) };
        assert!(refused(large).await.contains("larger"));
        // No more than two steps have, however often something is sent.
        for _ in 0..6 {
            inbox.deliver(1, part(0, None)).await.unwrap();
        }
        assert!(refused(part(0, None)).await.contains("more messages"));
    }
}
