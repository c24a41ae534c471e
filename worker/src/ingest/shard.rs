//! One shard of one side: what has arrived for it, sorted and without duplicates.
//!
//! Ids are numbered as they come ([`IdNumbering`]), so that a rating is 32 bytes whatever its ids are; the
//! numbers are then brought into the order of rows. Rows of the other side are in the order of their
//! shards, then ids: that of their global rows, which are not known yet.

use shoal_format::{
    id_column::IdColumn,
    row::{IdRef, RatingRow, Row},
};
use shoal_proto::v1::{DuplicateRule, RecordKind, Side};

use crate::ingest::{
    IngestError,
    extras::{Extras, SortedExtras},
    id_numbering::IdNumbering,
    records::{self, Kinds},
};

/// A rating. Ids are numbers, and later places among the shard's ids.
#[derive(Debug, Clone, Copy)]
struct Cell {
    row: u32,
    other: u32,
    rating: f32,
    timestamp: i64,
    position: u64,
}

/// Collects what has arrived for a shard.
#[derive(Debug)]
pub(super) struct ShardSorter {
    side: Side,
    kinds: Kinds,
    shard_count: u32,
    duplicates: DuplicateRule,
    own: IdNumbering,
    others: IdNumbering,
    cells: Vec<Cell>,
    extras: Extras,
}

/// A shard's ratings by row, and what else is known of its items.
#[derive(Debug)]
pub(super) struct SortedShard {
    /// The ids of its rows, ascending: rated, or only in the catalogue.
    pub(super) ids: IdColumn,
    /// Rows + 1 offsets of the ratings.
    pub(super) indptr: Vec<u64>,
    /// By row, then by place of the other side's id; every pair once.
    cells: Vec<Cell>,
    /// The other side's ids that occur, by shard, then id.
    pub(super) other_ids: IdColumn,
    /// Of item shards only.
    pub(super) extras: SortedExtras,
    /// Pairs that came again.
    pub(super) duplicates: u64,
}

impl ShardSorter {
    pub(super) fn new(side: Side, kinds: Kinds, shard_count: u32, duplicates: DuplicateRule) -> Self {
        let (own, others) =
            if side == Side::Items { (kinds.item, kinds.user) } else { (kinds.user, kinds.item) };
        Self {
            side,
            kinds,
            shard_count,
            duplicates,
            own: IdNumbering::new(own),
            others: IdNumbering::new(others),
            cells: Vec::new(),
            extras: Extras::new(kinds.item),
        }
    }

    /// Makes room for ratings, so that none is moved when others come.
    pub(super) fn reserve(&mut self, ratings: u64) {
        self.cells.reserve_exact(ratings as usize);
    }

    /// Takes a batch of rows of one kind.
    pub(super) fn add(&mut self, kind: RecordKind, batch: &[u8]) -> Result<(), IngestError> {
        let Self { side, duplicates, own, others, cells, extras, .. } = self;
        let counts = *duplicates == DuplicateRule::Count;
        records::rows(batch, kind, self.kinds, |row, position| {
            let rating = match row {
                Row::Rating(rating) => rating,
                other => {
                    if let Row::Item(row) = &other {
                        // An item may be in the catalogue only.
                        own.of(row.item);
                    }
                    return extras.take(other, position);
                }
            };
            let RatingRow { user, item, rating, timestamp } = rating;
            let rating = if counts { 1.0 } else { rating };
            let (own_id, other_id) = if *side == Side::Items { (item, user) } else { (user, item) };
            cells.push(Cell { row: own.of(own_id), other: others.of(other_id), rating, timestamp, position });
        })
    }

    /// Sorts what has arrived. Of several ratings of a pair the one with the last timestamp stays, of
    /// several with the same the one that stands last in the source; or their sum does, with the last timestamp.
    pub(super) fn sort(self) -> SortedShard {
        let (ids, row_places) = ordered(self.own.into_ids(), |_| 0);
        let shard_count = self.shard_count;
        let (other_ids, other_places) = ordered(self.others.into_ids(), |id| id.shard(shard_count));
        let mut cells = self.cells;
        for cell in &mut cells {
            cell.row = row_places[cell.row as usize];
            cell.other = other_places[cell.other as usize];
        }
        drop((row_places, other_places));
        let arrived = cells.len();
        let adds = matches!(self.duplicates, DuplicateRule::Count | DuplicateRule::Sum);
        let begins = group_by_row(&mut cells, ids.len());
        let (mut indptr, mut sorter, mut kept) = (vec![0], RowSorter::default(), 0);
        for row in begins.windows(2) {
            let row_cells = &mut cells[row[0]..row[1]];
            let pairs = if adds { sorter.sort_and_add(row_cells) } else { sorter.sort(row_cells) };
            if kept < row[0] {
                cells.copy_within(row[0]..row[0] + pairs, kept);
            }
            kept += pairs;
            indptr.push(kept as u64);
        }
        cells.truncate(kept);
        let duplicates = (arrived - kept) as u64;
        let extras = self.extras.sort(&ids);
        SortedShard { ids, indptr, cells, other_ids, extras, duplicates }
    }
}

/// Brings the cells of each row together, rows in order, without a second copy of them: each cell is swapped to the
/// next free place of its row until all are there (American flag sort). Returns where rows begin, and the end.
///
/// A shard's ratings are too many for the cache and its rows are few, so this passes over them about once where a
/// sort by comparisons passes as often as they can be halved.
fn group_by_row(cells: &mut [Cell], rows: usize) -> Vec<usize> {
    let mut begins = vec![0; rows + 1];
    for cell in &*cells {
        begins[cell.row as usize + 1] += 1;
    }
    for row in 1..begins.len() {
        begins[row] += begins[row - 1];
    }
    let mut next = begins.clone();
    for row in 0..rows {
        while next[row] < begins[row + 1] {
            let at = next[row];
            let home = cells[at].row as usize;
            if home != row {
                cells.swap(at, next[home]);
            }
            // Either way the cell that was here is in its place now.
            next[home] += 1;
        }
    }
    begins
}

/// Sorts the ratings of one row; kept from row to row for its memory.
#[derive(Debug, Default)]
struct RowSorter {
    /// The other side's place, and below it where in the row a cell is.
    keys: Vec<u64>,
    cells: Vec<Cell>,
}

impl RowSorter {
    /// Takes a row, and says in which order its cells are in that of the other side.
    fn order(&mut self, row: &[Cell]) {
        let Self { keys, cells } = self;
        keys.clear();
        keys.extend(row.iter().enumerate().map(|(at, cell)| u64::from(cell.other) << 32 | at as u64));
        keys.sort_unstable();
        cells.clear();
        cells.extend_from_slice(row);
    }

    /// Brings a row into the order of the other side and puts in place of each pair the sum of its ratings, in the
    /// order of the source and in f64, so that either side has the same; returns how many pairs there are. What follows
    /// them is not defined.
    fn sort_and_add(&mut self, row: &mut [Cell]) -> usize {
        self.order(row);
        let Self { keys, cells } = self;
        let mut pairs = 0;
        let mut same: Vec<Cell> = Vec::new();
        for group in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            same.clear();
            same.extend(group.iter().map(|key| cells[*key as u32 as usize]));
            same.sort_unstable_by_key(|cell| cell.position);
            let sum: f64 = same.iter().map(|cell| f64::from(cell.rating)).sum();
            let timestamp = same.iter().map(|cell| cell.timestamp).max().unwrap_or_default();
            // A group has at least one.
            row[pairs] = Cell { rating: sum as f32, timestamp, ..same[0] };
            pairs += 1;
        }
        pairs
    }

    /// Brings a row into the order of the other side and leaves of each pair the last; returns how many pairs
    /// there are. What follows them is not defined.
    fn sort(&mut self, row: &mut [Cell]) -> usize {
        self.order(row);
        let Self { keys, cells } = self;
        let mut pairs = 0;
        for key in keys {
            let cell = cells[*key as u32 as usize];
            match row[..pairs].last_mut() {
                Some(last) if last.other == cell.other => {
                    if (cell.timestamp, cell.position) > (last.timestamp, last.position) {
                        *last = cell;
                    }
                }
                _ => {
                    row[pairs] = cell;
                    pairs += 1;
                }
            }
        }
        pairs
    }
}

/// The ids in order (by `shard`, then id), and the place of each in it.
fn ordered(ids: IdColumn, shard: impl Fn(IdRef<'_>) -> u32) -> (IdColumn, Vec<u32>) {
    // Numbers are counted in a u32.
    let mut order: Vec<(u32, u32)> =
        (0..ids.len()).map(|number| (shard(ids.get_ref(number)), number as u32)).collect();
    order.sort_unstable_by(|a, b| {
        let by_id = || ids.get_ref(a.1 as usize).cmp(&ids.get_ref(b.1 as usize));
        a.0.cmp(&b.0).then_with(by_id)
    });
    let (mut sorted, mut places) = (IdColumn::empty(ids.kind()), vec![0; ids.len()]);
    for (place, &(_, number)) in order.iter().enumerate() {
        places[number as usize] = place as u32;
        sorted.push_ref(ids.get_ref(number as usize));
    }
    (sorted, places)
}

impl SortedShard {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// For each rating the place of the other side's id in `other_ids` (ascending within a row), the
    /// rating and its time.
    pub(super) fn ratings(&self) -> impl Iterator<Item = (u32, f32, i64)> + '_ {
        self.cells.iter().map(|cell| (cell.other, cell.rating, cell.timestamp))
    }

    /// Sum, least and greatest of the ratings.
    ///
    /// The sum runs in row order, so it does not depend on what arrived when.
    pub(super) fn rating_range(&self) -> (f64, f64, f64) {
        let values = self.cells.iter().map(|cell| f64::from(cell.rating));
        values.fold((0.0, f64::INFINITY, f64::NEG_INFINITY), |(sum, least, greatest), value| {
            (sum + value, least.min(value), greatest.max(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::ids::{EntityId, IdKind};
    use shoal_format::row::{GenomeRow, ItemRow, TagRow};

    use super::*;
    use crate::ingest::records::Batch;

    const KINDS: Kinds = Kinds { user: IdKind::Integer, item: IdKind::Integer };

    fn batch(rows: &[(i64, i64, f32, i64, u64)]) -> Vec<u8> {
        let mut batch = Batch::default();
        for &(user, item, rating, timestamp, position) in rows {
            let (user, item) = (IdRef::Integer(user), IdRef::Integer(item));
            batch.put(&Row::Rating(RatingRow { user, item, rating, timestamp }), position);
        }
        batch.bytes
    }

    #[test]
    fn the_last_timestamp_wins_and_then_the_last_place() {
        let rows = [
            (2, 7, 1.0, 50, 0),
            (1, 7, 2.0, 10, 1),
            (1, 7, 3.0, 20, 2),
            (1, 7, 4.0, 15, 3),
            (2, 7, 5.0, 50, 4),
        ];
        for side in [Side::Users, Side::Items] {
            for rotation in 0..rows.len() {
                // With one shard rows of the other side are in the order of their ids.
                let mut sorter = ShardSorter::new(side, KINDS, 1, DuplicateRule::Last);
                let mut arrived = rows;
                arrived.rotate_left(rotation);
                for row in arrived {
                    sorter.add(RecordKind::Rating, &batch(&[row])).unwrap();
                }
                let shard = sorter.sort();
                let kept: Vec<(f32, i64)> = shard.ratings().map(|(_, rating, time)| (rating, time)).collect();
                assert_eq!((kept, shard.duplicates), (vec![(3.0, 20), (5.0, 50)], 3));
            }
        }
    }

    #[test]
    fn pairs_are_counted_or_added_whatever_came_first() {
        // In f32 the sum would depend on the order.
        let rows = [(1, 7, 16_777_216.0, 30, 0), (1, 7, 1.0, 10, 1), (1, 7, 1.0, 40, 2), (2, 7, 0.5, 5, 3)];
        for (duplicates, expected) in [
            (DuplicateRule::Count, vec![(3.0, 40), (1.0, 5)]),
            (DuplicateRule::Sum, vec![(16_777_218.0, 40), (0.5, 5)]),
        ] {
            for side in [Side::Users, Side::Items] {
                for rotation in 0..rows.len() {
                    let mut sorter = ShardSorter::new(side, KINDS, 1, duplicates);
                    let mut arrived = rows;
                    arrived.rotate_left(rotation);
                    for row in arrived {
                        sorter.add(RecordKind::Rating, &batch(&[row])).unwrap();
                    }
                    let shard = sorter.sort();
                    let kept: Vec<(f32, i64)> =
                        shard.ratings().map(|(_, rating, time)| (rating, time)).collect();
                    assert_eq!((&kept, shard.duplicates), (&expected, 2));
                }
            }
        }
    }

    #[test]
    fn items_that_are_only_in_the_catalogue_have_empty_rows() {
        let mut sorter = ShardSorter::new(Side::Items, KINDS, 3, DuplicateRule::Last);
        sorter.add(RecordKind::Rating, &batch(&[(9, 4, 1.0, 0, 0)])).unwrap();
        let mut items = Batch::default();
        for (position, item) in [5, 3, 5].into_iter().enumerate() {
            let title = format!("T{position}").into();
            let row = ItemRow { item: IdRef::Integer(item), title, year: None, genres: String::new() };
            items.put(&Row::Item(row), position as u64);
        }
        sorter.add(RecordKind::Item, &items.bytes).unwrap();
        // Items that are neither rated nor in the catalogue have no row.
        let (mut tags, mut genome) = (Batch::default(), Batch::default());
        for (position, item) in [6, 5, 4].into_iter().enumerate() {
            let (item, user) = (IdRef::Integer(item), IdRef::Integer(1));
            let tag = TagRow { user, item, tag: format!("t{position}").into(), timestamp: 0 };
            tags.put(&Row::Tag(tag), position as u64);
            for relevance in [0.25, 0.5] {
                genome.put(&Row::Genome(GenomeRow { item, tag: 7, relevance }), position as u64);
            }
        }
        sorter.add(RecordKind::Tag, &tags.bytes).unwrap();
        sorter.add(RecordKind::Genome, &genome.bytes).unwrap();
        let shard = sorter.sort();
        assert_eq!(shard.ids, IdColumn::Integer(vec![3, 4, 5]));
        assert_eq!(shard.indptr, [0, 0, 1, 1]);
        let titles: Vec<&str> = shard.extras.items.iter().map(|item| item.title.as_str()).collect();
        assert_eq!(titles, ["T1", "T2"]);
        let tags: Vec<&str> = shard.extras.tags.iter().map(|tag| tag.tag.as_str()).collect();
        assert_eq!(tags, ["t2", "t1"]);
        assert_eq!((&shard.extras.genome.rows[..], shard.extras.genome.relevance.len()), (&[1, 2][..], 2));
    }

    #[test]
    fn others_are_in_the_order_of_their_shards() {
        let rows: Vec<(i64, i64, f32, i64, u64)> =
            (0..50).map(|item| (1, item, 1.0, 0, item as u64)).collect();
        let mut sorter = ShardSorter::new(Side::Users, KINDS, 4, DuplicateRule::Last);
        sorter.add(RecordKind::Rating, &batch(&rows)).unwrap();
        let shard = sorter.sort();
        assert!(shard.ratings().map(|(other, ..)| other).eq(0..50));
        let keys: Vec<(u32, EntityId)> =
            (0..50).map(|at| (shard.other_ids.get(at).shard(4), shard.other_ids.get(at))).collect();
        assert!(keys.is_sorted());
    }
}
