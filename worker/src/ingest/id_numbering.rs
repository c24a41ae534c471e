//! Ids of a shard as they come, each with a number.

use shoal_common::ids::IdKind;
use shoal_core::hash::mix64;
use shoal_format::{id_column::IdColumn, row::IdRef};

const FREE: u32 = u32::MAX;

/// Integer ids from 0 to below this are found by the id itself: 8 MiB of numbers at most.
const SMALL_IDS: u64 = 1 << 21;

/// Numbers for ids, from 0 in the order in which the ids first came. Small integers have a table of their own, as most
/// files count their users and items; all others a hash table with open addressing that holds numbers only: ids
/// are kept once, in their column.
#[derive(Debug)]
pub(super) struct IdNumbering {
    ids: IdColumn,
    /// The numbers of small integer ids, by id.
    small: Vec<u32>,
    slots: Vec<u32>,
    /// How many slots are taken.
    hashed: usize,
    /// What came last: rows of one user or item often come together.
    last: u32,
}

impl IdNumbering {
    pub(super) fn new(kind: IdKind) -> Self {
        Self { ids: IdColumn::empty(kind), small: Vec::new(), slots: vec![FREE; 64], hashed: 0, last: FREE }
    }

    /// The number of an id.
    #[inline]
    pub(super) fn of(&mut self, id: IdRef<'_>) -> u32 {
        if let IdRef::Integer(integer) = id
            && integer.cast_unsigned() < SMALL_IDS
        {
            let at = integer as usize;
            return match self.small.get(at) {
                Some(&number) if number != FREE => number,
                _ => self.add_small(at, id),
            };
        }
        self.of_hashed(id)
    }

    fn add_small(&mut self, at: usize, id: IdRef<'_>) -> u32 {
        if at >= self.small.len() {
            self.small.resize((at + 1).next_power_of_two(), FREE);
        }
        // A side's rows are counted in a u32.
        let number = self.ids.len() as u32;
        self.small[at] = number;
        self.ids.push_ref(id);
        number
    }

    fn of_hashed(&mut self, id: IdRef<'_>) -> u32 {
        if self.last != FREE && self.ids.is(self.last as usize, id) {
            return self.last;
        }
        if (self.hashed + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let mut at = self.home(id);
        loop {
            match self.slots[at] {
                FREE => {
                    // As above.
                    self.last = self.ids.len() as u32;
                    self.slots[at] = self.last;
                    self.hashed += 1;
                    self.ids.push_ref(id);
                    return self.last;
                }
                number if self.ids.is(number as usize, id) => {
                    self.last = number;
                    return number;
                }
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// The ids by number.
    pub(super) fn into_ids(self) -> IdColumn {
        self.ids
    }

    fn home(&self, id: IdRef<'_>) -> usize {
        let hash = match id {
            IdRef::Integer(id) => mix64(id.cast_unsigned()),
            IdRef::Text(_) => id.hash64(),
        };
        // The length is a power of two.
        hash as usize & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let taken = std::mem::take(&mut self.slots);
        self.slots = vec![FREE; taken.len() * 2];
        for number in taken.into_iter().filter(|&number| number != FREE) {
            let mut at = self.home(self.ids.get_ref(number as usize));
            while self.slots[at] != FREE {
                at = (at + 1) & (self.slots.len() - 1);
            }
            self.slots[at] = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_keeps_its_number(ids in prop::collection::vec("[a-c]{0,3}", 0..200)) {
            let (mut texts, mut integers) = (IdNumbering::new(IdKind::Text), IdNumbering::new(IdKind::Integer));
            let mut known = HashMap::new();
            for id in &ids {
                let next = known.len() as u32;
                let number = *known.entry(id.clone()).or_insert(next);
                prop_assert_eq!(texts.of(IdRef::Text(id)), number);
                // Some are small, some are not.
                prop_assert_eq!(integers.of(IdRef::Integer(i64::from(number) << (number % 40))), number);
            }
            let column = texts.into_ids();
            prop_assert_eq!(column.len(), known.len());
            for (id, number) in &known {
                prop_assert_eq!(column.get_ref(*number as usize), IdRef::Text(id));
            }
        }
    }
}
