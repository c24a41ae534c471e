//! The inverse as a state machine: an owner's tiles, what it is sent and what it sends. Nothing here waits or moves bytes.
//!
//! Each owner runs one [`Elimination`]: it takes a [`Elimination::turn`] while there is work, sends everybody the messages that a turn
//! leaves, and hands in what others send ([`Elimination::accept`]). In which order messages arrive changes nothing but who
//! waits.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::{
    grid::{Grid, SIDE, TILE, Tile},
    pivot::{LostDigits, Pivot, eliminate},
    share::{Share, panels_len},
};

/// Tiles of the bulk of a step that a thread has in one turn.
const TILES_PER_THREAD: usize = 16;

/// What an owner tells all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The step, from 0.
    pub step: u32,
    /// What of the step.
    pub part: Part,
    /// A tile, panel by panel, cut to the panels that hold rows.
    pub values: Arc<Vec<f32>>,
}

/// What of a step is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// L⁻¹ of the pivot.
    Pivot,
    /// Yᵢ of this tile row.
    Panel(u32),
}

/// What a turn was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something was done, and there may be more to do.
    Worked,
    /// Nothing can be done before a message is accepted.
    Waiting,
    /// The tiles hold −P.
    Done,
}

/// A message that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("worker {from} has sent of step {step} what it cannot: {why}")]
pub struct BadMessage {
    /// Number of the owner that sent it.
    pub from: u32,
    /// Number of the elimination step.
    pub step: u32,
    /// What is wrong with it.
    pub why: &'static str,
}

/// One owner's part of an inverse.
#[derive(Debug)]
pub struct Elimination {
    share: Share,
    /// The step whose pivot and panel are made, or waited for.
    making: u32,
    is_panel_made: bool,
    /// What is known of the step before `making`, of `making`, and of the one after it.
    steps: VecDeque<Step>,
    /// The own tiles before this one have had the step before `making`.
    applied: usize,
}

/// What is known of one step.
#[derive(Debug, Default)]
struct Step {
    pivot: Option<Arc<Vec<f32>>>,
    /// The tiles of the panel by tile row; `None` until a tile has come.
    panel: Vec<Option<Arc<Vec<f32>>>>,
    missing: usize,
}

impl Step {
    fn new(grid: Grid) -> Self {
        let side = grid.side() as usize;
        Self { pivot: None, panel: vec![None; side], missing: side.saturating_sub(1) }
    }
}

impl Elimination {
    /// Of a share that holds G.
    #[must_use]
    pub fn new(share: Share) -> Self {
        let grid = share.grid();
        let applied = share.len();
        let steps = [Step::default(), Step::new(grid), Step::new(grid)].into();
        Self { share, making: 0, is_panel_made: false, steps, applied }
    }

    /// Steps that are done, and how many there are.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        let is_applied = self.applied == self.share.len();
        (self.making.saturating_sub(u32::from(!is_applied)), self.share.grid().side())
    }

    /// The step whose pivot and panel are made, or waited for; as many as there are steps when all are made. A message
    /// [comes too early](Self::is_early) that is of a step more than one after it.
    #[must_use]
    pub fn making(&self) -> u32 {
        self.making
    }

    /// The share, which holds −P when the last turn has been [`Turn::Done`].
    #[must_use]
    pub fn into_share(self) -> Share {
        self.share
    }

    /// Does the most urgent work that can be done, on the threads of the current rayon pool. Messages for all other owners
    /// are added to `outbox`.
    ///
    /// # Errors
    /// [`LostDigits`] when a pivot has.
    pub fn turn(&mut self, outbox: &mut Vec<Message>) -> Result<Turn, LostDigits> {
        let (step, grid) = (self.making, self.share.grid());
        let is_last_made = step == grid.side();
        if !is_last_made && self.steps[1].pivot.is_none() && self.is_own(step, step) {
            self.make_pivot(outbox)?;
            return Ok(Turn::Worked);
        }
        if !is_last_made && !self.is_panel_made && self.steps[1].pivot.is_some() {
            self.make_panel(outbox);
            return Ok(Turn::Worked);
        }
        if self.applied < self.share.len() {
            let places = self.portion();
            apply_bulk(&mut self.share, &self.steps[0], step, places);
            return Ok(Turn::Worked);
        }
        if is_last_made {
            return Ok(Turn::Done);
        }
        if !self.is_panel_made || self.steps[1].missing > 0 {
            return Ok(Turn::Waiting);
        }
        self.advance();
        Ok(Turn::Worked)
    }

    fn is_own(&self, one: u32, other: u32) -> bool {
        self.share.grid().owner(Tile::between(one, other)) == self.share.owner()
    }

    /// The next own tiles of the bulk.
    fn portion(&mut self) -> Range<usize> {
        let begin = self.applied;
        self.applied = self.share.len().min(begin + TILES_PER_THREAD * rayon::current_num_threads());
        begin..self.applied
    }

    /// Eliminates the pivot on one thread while the others go on with the bulk of the step before.
    fn make_pivot(&mut self, outbox: &mut Vec<Message>) -> Result<(), LostDigits> {
        let step = self.making;
        let Some((tile, diagonal)) = self.share.pivot_tile(step) else { return Ok(()) };
        let places = self.portion();
        let Self { share, steps, .. } = self;
        let (eliminated, ()) =
            rayon::join(|| eliminate(&tile, &diagonal), || apply_bulk(share, &steps[0], step, places));
        let lost = |row: usize| LostDigits { row: step * SIDE as u32 + row as u32 };
        let Pivot { inverse_factor, negative_inverse } = eliminated.map_err(lost)?;
        self.share.replace(Tile { row: step, column: step }, &negative_inverse);
        let values = Arc::new(inverse_factor);
        self.steps[1].pivot = Some(Arc::clone(&values));
        outbox.push(Message { step, part: Part::Pivot, values });
        Ok(())
    }

    fn make_panel(&mut self, outbox: &mut Vec<Message>) {
        let step = self.making;
        let known = &mut self.steps[1];
        let Some(pivot) = &known.pivot else { return };
        for (line, values) in self.share.make_panel(step, pivot) {
            let values = Arc::new(values);
            known.panel[line as usize] = Some(Arc::clone(&values));
            known.missing -= 1;
            outbox.push(Message { step, part: Part::Panel(line), values });
        }
        self.is_panel_made = true;
    }

    /// The whole panel is there: applies it to the tiles that the next pivot and panel are made of, and goes on to these.
    fn advance(&mut self) {
        self.steps.pop_front();
        self.steps.push_back(Step::new(self.share.grid()));
        let (step, next) = (self.making, self.making + 1);
        let Self { share, steps, .. } = self;
        share.apply(step, 0..share.len(), |tile| tile.is_of(next), |line| of_panel(&steps[0], line));
        (self.making, self.is_panel_made, self.applied) = (next, false, 0);
    }

    /// Whether messages of a step come too early. An owner that has no part of a step may be passed by others; who
    /// delivers keeps their messages until then, so that an owner holds no more than two panels.
    #[must_use]
    pub fn is_early(&self, step: u32) -> bool {
        step.checked_sub(self.making).is_some_and(|ahead| ahead >= 2)
    }

    /// Takes a message of another owner, which does not come [too early](Self::is_early).
    ///
    /// # Errors
    /// [`BadMessage`] when the sender does not own such a part, has sent it before, is further than it can be, or the numbers
    /// are not as many as the part has, or not finite.
    pub fn accept(&mut self, from: u32, message: Message) -> Result<(), BadMessage> {
        let Message { step, part, values } = message;
        let grid = self.share.grid();
        let bad = |why| Err(BadMessage { from, step, why });
        let Some(at) = step.checked_sub(self.making).filter(|ahead| *ahead < 2 && step < grid.side()) else {
            return bad("it is not the step that is being made, nor the next one");
        };
        let (line, len) = match part {
            Part::Pivot => (step, TILE),
            Part::Panel(line) if line >= grid.side() || line == step => {
                return bad("the panel has no such part");
            }
            Part::Panel(line) => (line, panels_len(grid.extent(line))),
        };
        if from == self.share.owner() || grid.owner(Tile::between(step, line)) != from {
            return bad("it does not own that tile");
        }
        if values.len() != len {
            return bad("the tile has another size");
        }
        if !values.iter().all(|value| value.is_finite()) {
            return bad("a number is not finite");
        }
        let known = &mut self.steps[1 + at as usize];
        let place = match part {
            Part::Pivot => &mut known.pivot,
            Part::Panel(line) => &mut known.panel[line as usize],
        };
        if place.is_some() {
            return bad("it was sent before");
        }
        *place = Some(values);
        known.missing -= usize::from(part != Part::Pivot);
        Ok(())
    }
}

/// Applies the step before `making` to what [`Elimination::advance`] has left of it.
fn apply_bulk(share: &mut Share, known: &Step, making: u32, places: Range<usize>) {
    // Before the first step is applied no place is left.
    if let Some(step) = making.checked_sub(1).filter(|_| !places.is_empty()) {
        share.apply(step, places, |tile| !tile.is_of(making), |line| of_panel(known, line));
    }
}

fn of_panel(step: &Step, line: u32) -> &[f32] {
    // A step is applied when nothing of its panel is missing.
    step.panel[line as usize].as_deref().map_or(&[], Vec::as_slice)
}
