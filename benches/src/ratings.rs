//! A ratings file as numbers: how many ratings each user and each item has, and the ratings themselves.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::Context as _;
use shoal_common::ids::EntityId;
use shoal_engine::als::fit::RatingRows;

/// Shards of a side, as imports have them by default.
const SHARDS: u32 = 16;

/// Ratings per row of both sides, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowLengths {
    /// Ratings of each user.
    pub users: Vec<u32>,
    /// Ratings of each item.
    pub items: Vec<u32>,
}

/// Counts a CSV file whose first two columns are integer ids.
///
/// # Errors
/// When the file cannot be read or an id is no number.
pub fn row_lengths(path: &Path) -> anyhow::Result<RowLengths> {
    let file = File::open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut users, mut items) = (HashMap::<u64, u32>::new(), HashMap::<u64, u32>::new());
    let mut line = String::new();
    reader.read_line(&mut line)?;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        let mut fields = line.split(',');
        for counts in [&mut users, &mut items] {
            let id: u64 =
                fields.next().unwrap_or_default().parse().with_context(|| format!("in '{line}'"))?;
            *counts.entry(id).or_default() += 1;
        }
    }
    Ok(RowLengths { users: users.into_values().collect(), items: items.into_values().collect() })
}

/// A ratings file in memory as both sides see it, with slots as one worker assigns them.
#[derive(Debug, Default)]
pub struct Matrix {
    /// The ratings as rows of users.
    pub users: Compressed,
    /// The ratings as rows of items.
    pub items: Compressed,
}

impl Matrix {
    /// The same with the slots of either side in the order of how often they are named: the rows that are read most often lie
    /// together. Rows of ratings stay in their order, and so do the ratings of a row.
    #[must_use]
    pub fn hot_first(mut self) -> Self {
        let counts = |side: &Compressed| -> Vec<usize> {
            side.indptr.windows(2).map(|ends| (ends[1] - ends[0]) as usize).collect()
        };
        // A row of one side is named as often as it has ratings.
        let (of_users, of_items) = (counts(&self.users), counts(&self.items));
        self.users.rename(&places_by_count(&of_items));
        self.items.rename(&places_by_count(&of_users));
        self
    }
}

/// The place of each row when those with the greatest counts come first.
fn places_by_count(counts: &[usize]) -> Vec<u32> {
    // Rows are counted in a u32.
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(counts[row as usize]));
    let mut places = vec![0; counts.len()];
    for (place, &row) in (0..).zip(&order) {
        places[row as usize] = place;
    }
    places
}

/// Rows of ratings, one after the other.
#[derive(Debug, Default)]
pub struct Compressed {
    /// Rows + 1 offsets.
    pub indptr: Vec<u64>,
    /// The other side's row of each rating.
    pub slots: Vec<u32>,
    /// The ratings, row after row.
    pub ratings: Vec<f32>,
}

impl Compressed {
    /// As the engine takes them.
    #[must_use]
    pub fn rows(&self) -> RatingRows<'_> {
        RatingRows { indptr: &self.indptr, slots: &self.slots, ratings: &self.ratings }
    }

    /// Only the rows whose number of ratings is wanted.
    #[must_use]
    pub fn filtered(&self, is_wanted: impl Fn(usize) -> bool) -> Self {
        let mut kept = Self { indptr: vec![0], ..Self::default() };
        for ends in self.indptr.windows(2) {
            let range = ends[0] as usize..ends[1] as usize;
            if is_wanted(range.len()) {
                kept.slots.extend(&self.slots[range.clone()]);
                kept.ratings.extend(&self.ratings[range]);
                kept.indptr.push(kept.slots.len() as u64);
            }
        }
        kept
    }

    fn rename(&mut self, places: &[u32]) {
        self.slots.iter_mut().for_each(|slot| *slot = places[*slot as usize]);
    }

    /// `rows` rows of triples: row, the other side's row, rating. Within a row they stay in their order.
    ///
    /// # Panics
    /// When a row is not below `rows`.
    #[must_use]
    pub fn from_triples(rows: usize, triples: impl Iterator<Item = (u32, u32, f32)> + Clone) -> Self {
        let mut indptr = vec![0_u64; rows + 1];
        for (row, ..) in triples.clone() {
            indptr[row as usize + 1] += 1;
        }
        for row in 0..rows {
            indptr[row + 1] += indptr[row];
        }
        let mut next = indptr.clone();
        let count = indptr[rows] as usize;
        let (mut slots, mut ratings) = (vec![0; count], vec![0.0; count]);
        for (row, slot, rating) in triples {
            let at = &mut next[row as usize];
            (slots[*at as usize], ratings[*at as usize]) = (slot, rating);
            *at += 1;
        }
        Self { indptr, slots, ratings }
    }
}

/// Reads a CSV file whose first two columns are integer ids and whose third is the rating.
///
/// # Errors
/// When the file cannot be read or a number is none.
pub fn matrix(path: &Path) -> anyhow::Result<Matrix> {
    let file = File::open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let mut triples: Vec<(i64, i64, f32)> = Vec::new();
    for line in BufReader::with_capacity(1 << 20, file).lines().skip(1) {
        let line = line?;
        triples.push(triple(&line).with_context(|| format!("in '{line}'"))?);
    }
    let users = slots(triples.iter().map(|triple| triple.0));
    let items = slots(triples.iter().map(|triple| triple.1));
    let mut by_slot: Vec<(u32, u32, f32)> =
        triples.into_iter().map(|(user, item, rating)| (users[&user], items[&item], rating)).collect();
    // Within a row the other side's rows ascend.
    by_slot.sort_unstable_by_key(|&(user, item, _)| (user, item));
    let turned = by_slot.iter().map(|&(user, item, rating)| (item, user, rating));
    Ok(Matrix {
        users: Compressed::from_triples(users.len(), by_slot.iter().copied()),
        items: Compressed::from_triples(items.len(), turned),
    })
}

fn triple(line: &str) -> anyhow::Result<(i64, i64, f32)> {
    let mut fields = line.split(',');
    let mut field = || fields.next().unwrap_or_default();
    Ok((field().parse()?, field().parse()?, field().parse()?))
}

/// Shard after shard, ids ascending within each.
fn slots(ids: impl Iterator<Item = i64>) -> HashMap<i64, u32> {
    let distinct: HashSet<i64> = ids.collect();
    let mut ids: Vec<i64> = distinct.into_iter().collect();
    ids.sort_unstable_by_key(|&id| (EntityId::Integer(id).shard(SHARDS), id));
    ids.into_iter().zip(0..).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_most_often_is_first_and_rows_stay() {
        let pairs = [(0, 2), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)];
        let turned = pairs.map(|(user, item)| (item, user));
        let side = |pairs: [(u32, u32); 6]| {
            let mut pairs = pairs;
            pairs.sort_unstable();
            Compressed::from_triples(3, pairs.map(|(row, slot)| (row, slot, 1.0)).into_iter())
        };
        let matrix = Matrix { users: side(pairs), items: side(turned) }.hot_first();
        // Item 2 has three ratings, item 1 two, item 0 one; so have the users.
        assert_eq!(matrix.users.slots, [0, 1, 0, 2, 1, 0]);
        assert_eq!(matrix.users.indptr, [0, 1, 3, 6]);
        assert_eq!(matrix.items.slots, [0, 1, 0, 2, 1, 0]);
    }
}
