//! Whether a training fits into this worker's memory, looked at before any is taken.

use super::{TrainError, settings::Settings};

/// What a thread holds besides matrices of rank × rank: packed rows, a piece's solutions.
const THREAD_BYTES: u64 = 4 << 20;

/// Matrices of rank × rank, f32, that a thread works with at most.
const THREAD_MATRICES: u64 = 4;

/// What decides how much memory a training takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryNeed {
    /// Rows of each side that are held here, own and others'.
    pub(super) user_slots: usize,
    pub(super) item_slots: usize,
    /// Shards of both sides: the ranking objective has a Gramian of each.
    pub(super) shards: usize,
    pub(super) threads: usize,
}

impl MemoryNeed {
    /// Bytes at the peak, apart from the mapped ratings. `rank` stands in for the settings' own.
    fn bytes(&self, settings: &Settings, rank: u64) -> u64 {
        let (users, items) = (self.user_slots as u64, self.item_slots as u64);
        let (mut per_row, mut more) = (0, 0);
        if let Some(rating) = settings.rating() {
            per_row += rank + u64::from(rating.biases);
        }
        if settings.has_ranking() {
            per_row += rank;
            // A rotated copy of the fixed side at the worst, and the Gramians in f64.
            more += users.max(items) * rank * 4 + self.shards as u64 * rank * rank * 8;
        }
        let thread = THREAD_BYTES + THREAD_MATRICES * rank * rank * 4;
        (users + items) * per_row * 4 + more + self.threads as u64 * thread
    }

    /// Refuses what does not fit into `available` bytes, with the largest rank that does.
    pub(super) fn check(&self, settings: &Settings, available: u64) -> Result<(), TrainError> {
        let rank = settings.rank as u64;
        let needed = self.bytes(settings, rank);
        if needed <= available {
            return Ok(());
        }
        let rank_max = (1..rank).rev().find(|&rank| self.bytes(settings, rank) <= available);
        let remedy = match rank_max {
            Some(rank) => format!("rank {rank} fits, or give the job more workers"),
            None => "give the job more workers, or this one more memory".to_owned(),
        };
        Err(TrainError::Memory { rank, needed_mib: needed >> 20, available_mib: available >> 20, remedy })
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{AlsParameters, ExplicitParameters, ImplicitParameters, ObjectiveChoice};

    use super::*;

    const NEED: MemoryNeed = MemoryNeed { user_slots: 100_000, item_slots: 20_000, shards: 32, threads: 2 };

    fn settings(objective: ObjectiveChoice, rank: u32) -> Settings {
        let parameters = AlsParameters {
            objective: objective.into(),
            rank,
            explicit: Some(ExplicitParameters { regularization: 0.1, biases: true, ..Default::default() }),
            implicit: Some(ImplicitParameters { regularization: 0.1, ..Default::default() }),
            ..AlsParameters::default()
        };
        Settings::new(&parameters, 100_000, 20_000).unwrap()
    }

    #[test]
    fn the_rank_that_is_named_fits_and_the_next_does_not() {
        let available = 200 << 20;
        for objective in [ObjectiveChoice::Explicit, ObjectiveChoice::Implicit, ObjectiveChoice::Both] {
            let refused = NEED.check(&settings(objective, 512), available).unwrap_err().to_string();
            let rank: u32 =
                refused.split("rank ").nth(2).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(NEED.check(&settings(objective, rank), available).is_ok(), "{refused}");
            assert!(NEED.check(&settings(objective, rank + 1), available).is_err(), "{refused}");
        }
    }

    #[test]
    fn factors_alone_are_counted_as_they_are() {
        let of = |rank| NEED.bytes(&settings(ObjectiveChoice::Explicit, rank), u64::from(rank));
        assert_eq!(of(65) - of(64), 120_000 * 4 + 2 * 4 * (65 * 65 - 64 * 64) * 4);
    }

    #[test]
    fn where_no_rank_fits_more_memory_is_asked_for() {
        let refused = NEED.check(&settings(ObjectiveChoice::Both, 8), 1 << 20).unwrap_err().to_string();
        assert!(refused.contains("more memory"), "{refused}");
    }
}
