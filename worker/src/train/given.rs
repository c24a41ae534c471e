//! The pairs that a held-out file names, by own row of each side.
//!
//! The file is read in ranges, several at a time. Ids become row numbers as they are read, so that of a pair that
//! concerns nobody here nothing is kept, and of the others what each side needs. Then they are put in order
//! ([`RowBlocks`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::{compute::Compute, ids::IdKind};
use shoal_proto::v1::{DatasetInfo, DatasetSource, FileContent, SourceFile};

use super::{
    TrainError,
    given_rows::{Cell, Divided, GivenRows, RowBlocks},
};
use crate::{
    dataset::{
        parse::Rules,
        row::{IdRef, Row},
        source::{SourceFolder, inspect, rows::RowSink},
    },
    exchange::routing::SideShards,
    id_column::IdColumn,
};

/// Bytes of a file that one thread reads in one go: little enough for their memory to be used again and again, and for
/// all threads to have some till the end.
const RANGE_BYTES: u64 = 1024 * 1024;

/// Bytes of a pair in a file, about.
const PAIR_BYTES: u64 = 24;

/// Integer ids below this have a table of their rows, whatever there is of them; 4 bytes each.
const SMALL_IDS: usize = 1 << 20;

/// So do those below so many times the number of rows.
const SMALL_IDS_OF_ROWS: usize = 4;

/// In place of a row where there is none.
const NO_ROW: u32 = u32::MAX;

/// The held-out pairs of the own rows.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) users: GivenRows,
    pub(super) items: GivenRows,
    /// One per pair of the users.
    pub(super) ratings: Vec<f32>,
}

/// Where the ids of one side are, and which of them are owned here.
#[derive(Debug)]
pub(super) struct Directory {
    /// By shard.
    ids: Vec<IdColumn>,
    /// Global number of each shard's first row.
    firsts: Vec<u32>,
    /// Places among the own rows, by global row.
    own: Vec<u32>,
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
        let mut own = vec![NO_ROW; shards.rows() as usize];
        let mut own_rows = 0;
        for row in shards.owned_by(me).flat_map(|shard| shards.shard_rows(shard)) {
            own[row as usize] = own_rows;
            own_rows += 1;
        }
        let firsts: Vec<u32> = (0..shards.count()).map(|shard| shards.shard_rows(shard).start).collect();
        let small = small_ids(&ids, &firsts);
        Self { ids, firsts, own, own_rows: own_rows as usize, small }
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
    fn own_row(&self, row: u32) -> Option<u32> {
        let own = self.own[row as usize];
        (own != NO_ROW).then_some(own)
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

/// What all ranges share.
struct Finding {
    users: Directory,
    items: Directory,
    user_blocks: RowBlocks,
    item_blocks: RowBlocks,
    /// Memory of ranges that are divided, for the next ones.
    spare: Mutex<Vec<Vec<Pair>>>,
}

/// The pairs of a held-out file, by own user row and by own item row. Lines that are no ratings, and ids that the
/// data set does not have, are passed over: the file is checked like any other source when it is imported. Of a
/// pair that comes again the first rating counts.
pub(super) async fn read_given(
    uri: &str,
    options: &BTreeMap<String, String>,
    dataset: &DatasetInfo,
    compute: &Compute,
    [users, items]: [Directory; 2],
) -> Result<Given, TrainError> {
    let source = DatasetSource { uri: uri.to_owned(), ..DatasetSource::default() };
    let found = inspect(&source, options).await?;
    let folder = SourceFolder::open(&source, options)?;
    let kind = |kind| IdKind::from_proto(kind).unwrap_or(IdKind::Integer);
    let rules = Rules {
        user_id_kind: kind(dataset.user_id_kind()),
        item_id_kind: kind(dataset.item_id_kind()),
        rating_min: 0.0,
        rating_max: 0.0,
    };
    let ratings = || found.files.iter().filter(|file| file.content() == FileContent::Ratings);
    let pairs = (ratings().map(|file| file.length_bytes).sum::<u64>() / PAIR_BYTES) as usize;
    let finding = Arc::new(Finding {
        user_blocks: RowBlocks::new(users.own_rows, pairs),
        item_blocks: RowBlocks::new(items.own_rows, pairs),
        users,
        items,
        spare: Mutex::default(),
    });
    let folder = &folder;
    let reading: Vec<_> = ratings()
        .flat_map(ranges)
        .map(|(file, range)| {
            let finding = Arc::clone(&finding);
            async move {
                let sink = Finder { pairs: finding.spare_pairs(), finding, last: [None; 2] };
                let read = folder.read_range(file, rules, range, compute, sink, |_| {}).await?;
                Ok::<_, TrainError>(compute.run(move || read.sink.divide()).await?)
            }
        })
        .collect();
    // While some are being parsed the bytes of others come in.
    let pieces: Vec<_> = stream::iter(reading).buffered(2 * compute.threads()).try_collect().await?;
    let sorting = move || {
        let (of_users, of_items): (Vec<Divided<f32>>, Vec<Divided<()>>) = pieces.into_iter().unzip();
        let (users, ratings) = finding.user_blocks.sort(&of_users);
        drop(of_users);
        let (items, _) = finding.item_blocks.sort(&of_items);
        Given { users, items, ratings }
    };
    Ok(compute.run(sorting).await?)
}

impl Finding {
    fn spare_pairs(&self) -> Vec<Pair> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}

fn ranges(file: &SourceFile) -> impl Iterator<Item = (&SourceFile, std::ops::Range<u64>)> {
    let bytes = if file.one_range || file.multiline { file.length_bytes.max(1) } else { RANGE_BYTES };
    let begins = (0..file.length_bytes).step_by(bytes as usize);
    begins.map(move |begin| (file, begin..file.length_bytes.min(begin + bytes)))
}

/// Finds the rows of ratings, and keeps those that are owned here on either side.
struct Finder {
    finding: Arc<Finding>,
    last: [Option<Place>; 2],
    pairs: Vec<Pair>,
}

impl Finder {
    /// What was found, by blocks of each side.
    fn divide(self) -> (Divided<f32>, Divided<()>) {
        let Self { finding, mut pairs, .. } = self;
        let Finding { users, items, user_blocks, item_blocks, spare } = &*finding;
        let of_users = user_blocks.divide(&pairs, |pair| {
            users.own_row(pair.user).map(|row| Cell { row, other: pair.item, value: pair.rating })
        });
        // Ratings are measured with users alone.
        let of_items = item_blocks.divide(&pairs, |pair| {
            items.own_row(pair.item).map(|row| Cell { row, other: pair.user, value: () })
        });
        pairs.clear();
        spare.lock().unwrap_or_else(PoisonError::into_inner).push(pairs);
        (of_users, of_items)
    }
}

impl RowSink for Finder {
    type Error = TrainError;

    fn take(&mut self, row: &Row<'_>, _position: u64) -> Result<(), TrainError> {
        let Row::Rating(row) = row else { return Ok(()) };
        let (Finding { users, items, .. }, [last_user, last_item]) = (&*self.finding, &mut self.last);
        if let (Some(user), Some(item)) = (users.find(row.user, last_user), items.find(row.item, last_item))
            && (users.own_row(user).is_some() || items.own_row(item).is_some())
        {
            self.pairs.push(Pair { user, item, rating: row.rating });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::ids::EntityId;

    use super::*;

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
