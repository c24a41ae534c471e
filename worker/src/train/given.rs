//! The pairs that a held-out file names, by own row of each side.
//!
//! The file is read in ranges, several at a time. Ids become row numbers as they are read, so that of a pair that
//! concerns nobody here nothing is kept, and of the others twelve bytes.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rayon::prelude::*;
use shoal_common::{compute::Compute, ids::IdKind};
use shoal_proto::v1::{DatasetInfo, DatasetSource, FileContent, SourceFile};

use super::TrainError;
use crate::{
    dataset::{
        parse::Rules,
        row::{IdRef, Row},
        source::{SourceFolder, inspect, rows::RowSink},
    },
    exchange::routing::SideShards,
    id_column::IdColumn,
};

/// Bytes of a file that one thread reads in one go.
const RANGE_BYTES: u64 = 4 * 1024 * 1024;

/// Integer ids below this have a table of their rows, whatever there is of them; 4 bytes each.
const SMALL_IDS: usize = 1 << 20;

/// So do those below so many times the number of rows.
const SMALL_IDS_OF_ROWS: usize = 4;

/// In place of a row where there is none.
const NO_ROW: u32 = u32::MAX;

/// The held-out pairs of one side's own rows.
#[derive(Debug)]
pub(super) struct GivenRows {
    /// Own rows + 1 offsets.
    pub(super) indptr: Vec<u64>,
    /// Global rows of the other side, ascending within a row.
    pub(super) others: Vec<u32>,
    /// One per pair.
    pub(super) ratings: Vec<f32>,
}

/// Where the ids of one side are, and which of them are owned here.
#[derive(Debug)]
pub(super) struct Directory {
    /// By shard.
    ids: Vec<IdColumn>,
    /// Global number of each shard's first row.
    firsts: Vec<u32>,
    /// Place among the own rows of each shard's first row, where it is owned here.
    own_firsts: Vec<Option<u32>>,
    own_rows: usize,
    /// Global rows of the small integer ids, by id.
    small: Vec<u32>,
}

/// A row: its shard, and its place there.
type Place = (usize, usize);

/// A rating of the file between rows that the data set has.
#[derive(Debug, Clone, Copy)]
struct Pair {
    user: u32,
    item: u32,
    rating: f32,
}

impl Directory {
    /// Of these shards, whose ids are given by shard, on worker `me`.
    pub(super) fn new(shards: &SideShards, ids: Vec<IdColumn>, me: usize) -> Self {
        let mut own_firsts = vec![None; ids.len()];
        let mut own_rows = 0;
        for shard in shards.owned_by(me) {
            // Own rows are counted in a u32 as global ones are.
            own_firsts[shard as usize] = Some(own_rows as u32);
            own_rows += shards.shard_rows(shard).len();
        }
        let firsts: Vec<u32> = (0..shards.count()).map(|shard| shards.shard_rows(shard).start).collect();
        let small = small_ids(&ids, &firsts);
        Self { ids, firsts, own_firsts, own_rows, small }
    }

    /// The global row of an id; `last` is what was found before, which often comes again.
    fn find(&self, id: IdRef<'_>, last: &mut Option<Place>) -> Option<u32> {
        if let IdRef::Integer(id) = id
            && let Some(&row) = usize::try_from(id).ok().and_then(|id| self.small.get(id))
        {
            return (row != NO_ROW).then_some(row);
        }
        let again = last.filter(|&(shard, row)| self.ids[shard].is(row, id));
        let found = again.or_else(|| {
            let shard = id.shard(self.ids.len() as u32) as usize;
            self.ids[shard].find_ref(id).map(|row| (shard, row))
        });
        *last = found.or(*last);
        found.map(|(shard, row)| self.firsts[shard] + row as u32)
    }

    /// The place of a global row among the own ones.
    fn own_row(&self, row: u32) -> Option<usize> {
        let shard = self.firsts.partition_point(|&first| first <= row) - 1;
        self.own_firsts[shard].map(|first| (first + row - self.firsts[shard]) as usize)
    }
}

/// Global rows of the small integer ids, by id: most data sets count their users and items from 1.
fn small_ids(ids: &[IdColumn], firsts: &[u32]) -> Vec<u32> {
    let rows = ids.iter().map(IdColumn::len).sum::<usize>();
    let limit = SMALL_IDS.max(rows.saturating_mul(SMALL_IDS_OF_ROWS));
    let mut small = Vec::new();
    for (ids, &first) in ids.iter().zip(firsts) {
        let IdColumn::Integer(ids) = ids else { return Vec::new() };
        for (row, &id) in (first..).zip(ids) {
            let Some(id) = usize::try_from(id).ok().filter(|&id| id < limit) else { continue };
            if id >= small.len() {
                small.resize(id + 1, NO_ROW);
            }
            small[id] = row;
        }
    }
    small
}

/// The pairs of a held-out file, by own user row and by own item row. Lines that are no ratings, and ids that the
/// data set does not have, are passed over: the file is checked like any other source when it is imported. Of a
/// pair that comes again the first rating counts.
pub(super) async fn read_given(
    uri: &str,
    options: &BTreeMap<String, String>,
    dataset: &DatasetInfo,
    compute: &Compute,
    directories: [Directory; 2],
) -> Result<[GivenRows; 2], TrainError> {
    let source = DatasetSource { uri: uri.to_owned(), ..DatasetSource::default() };
    let found = inspect(&source, options).await?;
    let (folder, _) = SourceFolder::open(uri, options)?;
    let kind = |kind| IdKind::from_proto(kind).unwrap_or(IdKind::Integer);
    let rules = Rules {
        user_id_kind: kind(dataset.user_id_kind()),
        item_id_kind: kind(dataset.item_id_kind()),
        rating_min: 0.0,
        rating_max: 0.0,
    };
    let directories = Arc::new(directories);
    let (folder, ratings) =
        (&folder, found.files.iter().filter(|file| file.content() == FileContent::Ratings));
    let reading: Vec<_> = ratings
        .flat_map(ranges)
        .map(|(file, range)| {
            let sink = Finder { directories: Arc::clone(&directories), last: [None; 2], pairs: Vec::new() };
            async move {
                let read = folder.read_range(file, rules, range, compute, sink, |_| {}).await?;
                Ok::<_, TrainError>(read.sink.pairs)
            }
        })
        .collect();
    // While some are being parsed the bytes of others come in.
    let pieces: Vec<Vec<Pair>> = stream::iter(reading).buffered(2 * compute.threads()).try_collect().await?;
    Ok(compute.run(move || by_rows(&directories, &pieces)).await?)
}

fn ranges(file: &SourceFile) -> impl Iterator<Item = (&SourceFile, std::ops::Range<u64>)> {
    let begins = (0..file.length_bytes).step_by(RANGE_BYTES as usize);
    begins.map(move |begin| (file, begin..file.length_bytes.min(begin + RANGE_BYTES)))
}

/// Finds the rows of ratings, and keeps those that are owned here on either side.
struct Finder {
    directories: Arc<[Directory; 2]>,
    last: [Option<Place>; 2],
    pairs: Vec<Pair>,
}

impl RowSink for Finder {
    type Error = TrainError;

    fn take(&mut self, row: &Row<'_>, _position: u64) -> Result<(), TrainError> {
        let Row::Rating(row) = row else { return Ok(()) };
        let ([users, items], [last_user, last_item]) = (&*self.directories, &mut self.last);
        if let (Some(user), Some(item)) = (users.find(row.user, last_user), items.find(row.item, last_item))
            && (users.own_row(user).is_some() || items.own_row(item).is_some())
        {
            self.pairs.push(Pair { user, item, rating: row.rating });
        }
        Ok(())
    }
}

fn by_rows([users, items]: &[Directory; 2], pieces: &[Vec<Pair>]) -> [GivenRows; 2] {
    let pairs = || pieces.iter().flatten();
    let of_users = || pairs().filter_map(|pair| Some((users.own_row(pair.user)?, pair.item, pair.rating)));
    let of_items = || pairs().filter_map(|pair| Some((items.own_row(pair.item)?, pair.user, pair.rating)));
    let (users, items) =
        rayon::join(|| GivenRows::new(users.own_rows, of_users), || GivenRows::new(items.own_rows, of_items));
    [users, items]
}

impl GivenRows {
    /// Of so many own rows, from pairs (own row, other row, rating) in the order of the file, which are gone through
    /// twice.
    fn new<P: Iterator<Item = (usize, u32, f32)>>(rows: usize, pairs: impl Fn() -> P) -> Self {
        let mut begins = vec![0; rows + 1];
        for (row, ..) in pairs() {
            begins[row + 1] += 1;
        }
        for row in 0..rows {
            begins[row + 1] += begins[row];
        }
        let mut next = begins.clone();
        let mut cells = vec![(0, 0.0); begins[rows]];
        for (row, other, rating) in pairs() {
            cells[next[row]] = (other, rating);
            next[row] += 1;
        }
        let mut of_rows = Vec::with_capacity(rows);
        let mut rest = &mut cells[..];
        for row in begins.windows(2) {
            let (cells, after) = rest.split_at_mut(row[1] - row[0]);
            of_rows.push(cells);
            rest = after;
        }
        // Stable: of a pair that comes again the first stays in front.
        of_rows.par_iter_mut().with_min_len(256).for_each(|row| row.sort_by_key(|&(other, _)| other));
        let (mut others, mut ratings) = (Vec::with_capacity(begins[rows]), Vec::with_capacity(begins[rows]));
        let mut indptr = vec![0];
        for row in of_rows {
            let begin = others.len();
            for &mut (other, rating) in row {
                if others.len() == begin || others.last() != Some(&other) {
                    others.push(other);
                    ratings.push(rating);
                }
            }
            indptr.push(others.len() as u64);
        }
        Self { indptr, others, ratings }
    }

    /// What is held out of an own row: global rows of the other side, ascending.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.others[self.indptr[row] as usize..self.indptr[row + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use shoal_common::ids::EntityId;

    use super::*;

    proptest! {
        #[test]
        fn rows_have_every_pair_once_with_its_first_rating(
            pairs in prop::collection::vec((0_usize..6, 0_u32..9, 0_u8..10), 0..80),
        ) {
            let pairs: Vec<(usize, u32, f32)> =
                pairs.into_iter().map(|(row, other, rating)| (row, other, f32::from(rating))).collect();
            let mut first = BTreeMap::new();
            for &(row, other, rating) in &pairs {
                first.entry((row, other)).or_insert(rating);
            }
            let given = GivenRows::new(6, || pairs.iter().copied());
            let found = (0..6).flat_map(|row| given.row(row).iter().map(move |&other| (row, other)));
            let found: Vec<((usize, u32), f32)> = found.zip(given.ratings.iter().copied()).collect();
            prop_assert_eq!(found, first.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(given.indptr.len(), 7);
        }
    }

    #[test]
    fn ids_are_found_whatever_they_are_and_whatever_came_before() {
        let shards = SideShards::new([2, 0, 3], vec![1, 0, 0]).unwrap();
        // Small ones and large ones, and the same as texts.
        for (kind, begin) in
            [(IdKind::Integer, 0), (IdKind::Integer, SMALL_IDS as i64 - 2), (IdKind::Text, 0)]
        {
            let entity = |id: i64| match kind {
                IdKind::Integer => EntityId::Integer(id),
                IdKind::Text => EntityId::Text(format!("{id:03}").into()),
            };
            let mut ids = vec![Vec::new(); 3];
            for id in begin.. {
                let shard = entity(id).shard(3) as usize;
                if ids[shard].len() < shards.shard_rows(shard as u32).len() {
                    ids[shard].push(entity(id));
                }
                if ids.iter().map(Vec::len).sum::<usize>() == 5 {
                    break;
                }
            }
            let column = |ids: &Vec<EntityId>| {
                let mut column = IdColumn::empty(kind);
                ids.iter().for_each(|id| column.push(id));
                column
            };
            let directory = Directory::new(&shards, ids.iter().map(column).collect(), 0);
            let mut last = None;
            let absent = entity(begin + 900);
            for (shard, row, own) in
                [(0, 1, None), (2, 0, Some(0)), (2, 0, Some(0)), (2, 2, Some(2)), (0, 0, None)]
            {
                let found = directory.find(id_ref(&ids[shard][row]), &mut last).unwrap();
                assert_eq!(found as usize, [0, 2, 2][shard] + row, "{kind:?} from {begin}");
                assert_eq!(directory.own_row(found), own);
                for absent in [&absent, &EntityId::Integer(-1)] {
                    assert_eq!(directory.find(id_ref(absent), &mut last), None);
                }
            }
            assert_eq!(directory.own_rows, 3);
        }
    }

    fn id_ref(id: &EntityId) -> IdRef<'_> {
        match id {
            EntityId::Integer(id) => IdRef::Integer(*id),
            EntityId::Text(text) => IdRef::Text(text),
        }
    }
}
