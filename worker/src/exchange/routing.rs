//! Which rows go where: pure tables.
//!
//! A side's *slots* are the rows that one worker holds of it: first its own rows in global order,
//! then, for each other worker in the order of the peers' list, the rows that this worker's ratings
//! need of it, ascending. Ratings name slots, so a solve never looks anything up.

/// The shards of one side: who owns them, and where their rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideShards {
    /// Global number of each shard's first row, and at the end the number of all rows.
    first_rows: Vec<u32>,
    /// Position of each shard's owner in the list of workers.
    owners: Vec<usize>,
}

/// The shards cannot be addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a side has more than {} rows; split the data set", u32::MAX)]
pub struct TooManyRows;

impl SideShards {
    /// From the rows of each shard and the owner of each shard, in shard order.
    ///
    /// # Errors
    /// [`TooManyRows`] when a global row would not fit in a u32.
    pub fn new(rows: impl IntoIterator<Item = u64>, owners: Vec<usize>) -> Result<Self, TooManyRows> {
        let mut first_rows = vec![0_u32];
        let mut total = 0_u64;
        for rows in rows {
            total += rows;
            first_rows.push(u32::try_from(total).map_err(|_| TooManyRows)?);
        }
        debug_assert_eq!(first_rows.len(), owners.len() + 1);
        Ok(Self { first_rows, owners })
    }

    /// How many shards the side has.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.owners.len() as u32
    }

    /// How many rows all shards have together.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.first_rows[self.owners.len()]
    }

    /// The global rows of a shard.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn shard_rows(&self, shard: u32) -> std::ops::Range<u32> {
        self.first_rows[shard as usize]..self.first_rows[shard as usize + 1]
    }

    /// The shards of one worker, ascending.
    pub fn owned_by(&self, worker: usize) -> impl Iterator<Item = u32> + '_ {
        (0..self.count()).filter(move |&shard| self.owners[shard as usize] == worker)
    }

    /// The owner of a global row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn owner_of_row(&self, row: u32) -> usize {
        self.owners[self.first_rows.partition_point(|&first| first <= row) - 1]
    }
}

/// The slots of one side on one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotTable {
    /// How many rows this worker owns: they have the first slots.
    own_rows: usize,
    /// Per worker: first slot, and the global rows needed of it, ascending. Empty for this worker.
    needed: Vec<(usize, Vec<u32>)>,
    slots: usize,
}

/// Slots of a side's global rows while ratings are being translated: 4 bytes for every row of the side.
#[derive(Debug)]
pub struct SlotOfRow(Vec<u32>);

const NO_SLOT: u32 = u32::MAX;

impl SlotTable {
    /// The slots for worker `me`: its own rows, and of the others those in `needed` (global rows, any
    /// order, repetitions allowed).
    #[must_use]
    pub fn build(
        shards: &SideShards,
        workers: usize,
        me: usize,
        needed: impl IntoIterator<Item = u32>,
    ) -> (Self, SlotOfRow) {
        let mut slot_of_row = vec![NO_SLOT; shards.rows() as usize];
        let mut own_rows = 0;
        for shard in shards.owned_by(me) {
            for row in shards.shard_rows(shard) {
                slot_of_row[row as usize] = own_rows as u32;
                own_rows += 1;
            }
        }
        // Any other value than NO_SLOT marks a row as needed until its slot is known.
        let mut by_owner: Vec<Vec<u32>> = vec![Vec::new(); workers];
        for row in needed {
            if slot_of_row[row as usize] == NO_SLOT {
                slot_of_row[row as usize] = 0;
                by_owner[shards.owner_of_row(row)].push(row);
            }
        }
        let mut slots = own_rows;
        let needed = by_owner
            .into_iter()
            .map(|mut rows| {
                rows.sort_unstable();
                let first = slots;
                for &row in &rows {
                    slot_of_row[row as usize] = slots as u32;
                    slots += 1;
                }
                (first, rows)
            })
            .collect();
        (Self { own_rows, needed, slots }, SlotOfRow(slot_of_row))
    }

    /// Rows owned here: the first slots.
    #[must_use]
    pub fn own_rows(&self) -> usize {
        self.own_rows
    }

    /// How many slots there are, the own rows included.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The rows needed of a worker (global, ascending) and the slot of the first.
    ///
    /// # Panics
    /// When there is no such worker.
    #[must_use]
    pub fn needed_of(&self, worker: usize) -> (usize, &[u32]) {
        let (first, rows) = &self.needed[worker];
        (*first, rows)
    }

    /// Rows that others send.
    #[must_use]
    pub fn remote_rows(&self) -> usize {
        self.slots - self.own_rows
    }
}

impl SlotOfRow {
    /// The slot of a row that is owned or needed here.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn slot(&self, row: u32) -> u32 {
        debug_assert_ne!(self.0[row as usize], NO_SLOT, "row {row} has no slot");
        self.0[row as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_needed_row_has_its_own_slot(
            shards in prop::collection::vec((0_u64..20, 0_usize..3), 1..8),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let (rows, owners): (Vec<u64>, Vec<usize>) = shards.into_iter().unzip();
            let side = SideShards::new(rows, owners).unwrap();
            let needed: Vec<u32> = if side.rows() == 0 {
                Vec::new()
            } else {
                picks.iter().map(|pick| pick.index(side.rows() as usize) as u32).collect()
            };
            let (table, slot_of_row) = SlotTable::build(&side, 3, 1, needed.iter().copied());
            let own: Vec<u32> = side.owned_by(1).flat_map(|shard| side.shard_rows(shard)).collect();
            prop_assert_eq!(own.len(), table.own_rows());
            for (slot, &row) in own.iter().enumerate() {
                prop_assert_eq!(slot_of_row.slot(row) as usize, slot);
            }
            for &row in &needed {
                let owner = side.owner_of_row(row);
                if owner != 1 {
                    let (first, rows) = table.needed_of(owner);
                    let at = rows.binary_search(&row).unwrap();
                    prop_assert_eq!(slot_of_row.slot(row) as usize, first + at);
                }
            }
            prop_assert!(table.needed_of(1).1.is_empty());
        }
    }

    #[test]
    fn empty_shards_do_not_own_rows() {
        let side = SideShards::new([2, 0, 3], vec![0, 1, 2]).unwrap();
        assert_eq!((0..5).map(|row| side.owner_of_row(row)).collect::<Vec<_>>(), [0, 0, 2, 2, 2]);
        assert!(SideShards::new([u64::from(u32::MAX), 1], vec![0, 0]).is_err());
    }
}
