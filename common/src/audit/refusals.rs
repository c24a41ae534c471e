//! Refusals, which strangers cause as often as they like: the first of a kind is told at once, the others of it as a sum.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::{Entry, entry::Key};

/// How long a kind of refusal is summed.
const WINDOW: Duration = Duration::from_secs(10);

/// Kinds that are told apart in a window: what is written in it has at most twice as many lines, and one more.
const KINDS_MAX: usize = 64;

/// Kinds of one caller's address that are told apart in a window, so that a caller leaves room for the others.
const KINDS_OF_ADDRESS_MAX: usize = KINDS_MAX / 4;

/// The refusals of one window.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    began: Option<Instant>,
    kinds: HashMap<Key, Held>,
    /// Of kinds that found no place.
    others: u64,
}

#[derive(Debug)]
struct Held {
    /// In which order kinds came.
    place: usize,
    /// The last of them.
    entry: Entry,
    /// Since the first one, which was told.
    count: u64,
}

impl Refusals {
    /// Takes one more; what is to be written now, and how many each line stands for beside itself.
    pub(super) fn note(&mut self, entry: Entry, now: Instant) -> Vec<(Entry, u64)> {
        let mut due = self.settle(now);
        self.began.get_or_insert(now);
        let (key, place) = (entry.key(), self.kinds.len());
        let has_room = place < KINDS_MAX && self.kinds_of(key.address) < KINDS_OF_ADDRESS_MAX;
        match self.kinds.get_mut(&key) {
            Some(held) => {
                held.count += 1;
                held.entry = entry;
            }
            None if has_room => {
                self.kinds.insert(key, Held { place, entry: entry.clone(), count: 0 });
                due.push((entry, 0));
            }
            None => self.others += 1,
        }
        due
    }

    fn kinds_of(&self, address: Option<IpAddr>) -> usize {
        self.kinds.keys().filter(|kind| kind.address == address).count()
    }

    /// The sums of a window that is over; the last refusal of each kind stands for the others.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<(Entry, u64)> {
        if self.began.is_none_or(|began| now.duration_since(began) < WINDOW) {
            return Vec::new();
        }
        self.began = None;
        let mut held: Vec<Held> =
            std::mem::take(&mut self.kinds).into_values().filter(|held| held.count > 0).collect();
        held.sort_by_key(|held| held.place);
        let others = std::mem::take(&mut self.others);
        let sums = held.into_iter().map(|held| (held.entry, held.count));
        sums.chain((others > 0).then(|| (Entry::of_others(), others))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::audit::{Outcome, Who};

    fn entry(from: u32) -> Entry {
        let who = Who { address: Some(SocketAddr::from((from.to_be_bytes(), 1))), ..Who::default() };
        Entry::new("/s/M", who, Outcome::refused("no"))
    }

    #[test]
    fn every_refusal_is_told_or_counted_and_lines_are_few() {
        let (start, mut refusals) = (Instant::now(), Refusals::default());
        let (mut lines, mut told) = (0, 0);
        let mut take = |due: Vec<(Entry, u64)>, are_sums: bool| {
            lines += due.len();
            told += due.iter().map(|(_, left_out)| if are_sums { *left_out } else { 1 }).sum::<u64>();
        };
        for number in 0..100_000_u32 {
            take(refusals.note(entry(number % 1_000), start), false);
        }
        assert!(refusals.settle(start + WINDOW / 2).is_empty());
        take(refusals.settle(start + WINDOW), true);
        assert_eq!((lines, told), (2 * KINDS_MAX + 1, 100_000));
        // One caller with ever new kinds of refusals does not hide another caller's.
        let (later, mut refusals) = (start + WINDOW, Refusals::default());
        let who = || Who { address: Some(SocketAddr::from(([0, 0, 0, 1], 1))), ..Who::default() };
        let of_kind = |number: u32| Entry::new(&format!("/s/{number}"), who(), Outcome::refused("no"));
        let told = (0..1_000).map(|number| refusals.note(of_kind(number), later).len()).sum::<usize>();
        assert_eq!(told, KINDS_OF_ADDRESS_MAX);
        assert_eq!(refusals.note(entry(2), later), [(entry(2), 0)]);
        let mut refusals = Refusals::default();
        // A new window tells of a kind anew.
        assert_eq!(refusals.note(entry(1), start + WINDOW), [(entry(1), 0)]);
        assert!(refusals.settle(start + WINDOW * 2).is_empty());
    }
}
