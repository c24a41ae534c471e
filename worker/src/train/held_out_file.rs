//! The pairs that a held-out file names, by own row of each side.
//!
//! The file is read as an import reads one, and every worker reads all of it: in ranges, several at a time. Ids become
//! row numbers as they are read, so that of a pair that concerns nobody here nothing is kept, and of the others what
//! each side needs. Then they are put in order ([`RowBlocks`]). What was read, and what could not be, is counted.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::{compute::Compute, ids::IdKind, import_report::ReportSum, store::Access};
use shoal_dataset::{
    parse::Rules,
    source::{SourceFolder, inspect, rows::RowSink},
};
use shoal_format::{
    id_column::IdColumn,
    row::{IdRef, Row},
};
use shoal_proto::v1::{
    DatasetInfo, DatasetSource, DuplicateRule, FileContent, HeldOutReport, ImportReport, SourceFile,
    SourceFormat, SourceLook,
};

use super::{
    TrainError,
    held_out_rows::{Cell, Divided, HeldOutRows, RowBlocks},
};
use crate::exchange::routing::SideShards;

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
    pub(super) users: HeldOutRows,
    pub(super) items: HeldOutRows,
    /// One per pair of the users.
    pub(super) ratings: Vec<f32>,
    /// Rows of the whole file, and pairs of the own users.
    pub(super) report: HeldOutReport,
}

/// A rating, and when it was made.
#[derive(Debug, Clone, Copy, Default)]
struct Rated {
    rating: f64,
    /// Seconds since the epoch.
    timestamp: i64,
}

/// Where the ids of one side are, and which of them are owned here.
#[derive(Debug)]
pub(super) struct Directory {
    /// The ids of each shard's rows.
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
    rated: Rated,
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

/// How a held-out file is read: as was said, or else as the data set's own files were.
pub(super) fn test_source(uri: &str, said: Option<&DatasetSource>, dataset: &DatasetInfo) -> DatasetSource {
    let as_imported =
        || DatasetSource { more_uris: Vec::new(), ..dataset.source.clone().unwrap_or_default() };
    DatasetSource { uri: uri.to_owned(), ..said.cloned().unwrap_or_else(as_imported) }
}

/// The pairs of a held-out file, by own user row and by own item row. Rows that are no ratings are rejected as an import
/// rejects them; ids that the data set does not have are counted; with a pair that comes again is done what was said, or
/// else what the import did.
pub(super) async fn read_given(
    source: &DatasetSource,
    access: &Access,
    dataset: &DatasetInfo,
    compute: &Compute,
    [users, items]: [Directory; 2],
) -> Result<Given, TrainError> {
    let mut found = inspect(source, access).await?;
    found.files.retain(|file| file.content() == FileContent::Ratings);
    let folder = &SourceFolder::open(source, access)?;
    let kind = |kind| IdKind::from_proto(kind).unwrap_or(IdKind::Integer);
    let rules = Rules {
        user_id_kind: kind(dataset.user_id_kind()),
        item_id_kind: kind(dataset.item_id_kind()),
        rating_min: source.rating_min,
        rating_max: source.rating_max,
    };
    let rule = match source.duplicates() {
        DuplicateRule::Unspecified => {
            dataset.report.as_ref().map(|report| report.duplicate_rule()).unwrap_or_default()
        }
        said => said,
    };
    let pairs = (found.files.iter().map(|file| file.length_bytes).sum::<u64>() / PAIR_BYTES) as usize;
    let finding = Arc::new(Finding {
        user_blocks: RowBlocks::new(users.own_rows, pairs),
        item_blocks: RowBlocks::new(items.own_rows, pairs),
        users,
        items,
        spare: Mutex::default(),
    });
    let mut report = ReportSum::new(&found.files);
    let (mut of_users, mut of_items, mut unknown) = (Vec::new(), Vec::new(), [0; 2]);
    loop {
        // Where quotes were left open ranges may have begun inside of fields: those files are read again in one piece.
        let mut any_open = false;
        let ranges: Vec<(usize, std::ops::Range<u64>)> =
            found.files.iter().enumerate().flat_map(ranges).collect();
        let reading: Vec<_> = ranges
            .iter()
            .cloned()
            .map(|(number, range)| {
                let (finding, file) = (Arc::clone(&finding), &found.files[number]);
                async move {
                    let sink = Finder::new(finding, rule == DuplicateRule::Count);
                    let read = folder.read_range(file, rules, range, compute, sink, |_| {}).await?;
                    let (sink, report) = (read.sink, read.report);
                    let unknown = sink.unknown;
                    let divided = compute.run(move || sink.divide()).await?;
                    Ok::<_, TrainError>((divided, unknown, report, read.lines, read.open_quotes))
                }
            })
            .collect();
        // While some are being parsed the bytes of others come in.
        let pieces: Vec<_> = stream::iter(reading).buffered(2 * compute.threads()).try_collect().await?;
        for ((number, _), (divided, unknown_rows, read, lines, open_quotes)) in ranges.into_iter().zip(pieces)
        {
            let file = &mut found.files[number];
            if open_quotes > 0 && file.format() == SourceFormat::Csv && !file.multiline {
                (file.multiline, any_open) = (true, true);
            }
            of_users.push(divided.0);
            of_items.push(divided.1);
            report.add(number, read, lines);
            for (sum, rows) in unknown.iter_mut().zip(unknown_rows) {
                *sum += rows;
            }
        }
        if !any_open {
            break;
        }
        (report, of_users, of_items, unknown) =
            (ReportSum::new(&found.files), Vec::new(), Vec::new(), [0; 2]);
    }
    let mut report = HeldOutReport {
        read: Some(ImportReport {
            duplicate_rule: rule.into(),
            look: look_of_first(found.look),
            ..report.finish()
        }),
        unknown_user_rows: unknown[0],
        unknown_item_rows: unknown[1],
        ..HeldOutReport::default()
    };
    let sorting = move || {
        let own_rows = of_users.iter().map(Divided::len).sum::<usize>();
        let (users, rated) = finding.user_blocks.sort(&of_users, |kept, later| again(rule, kept, later));
        drop(of_users);
        let (items, _) = finding.item_blocks.sort(&of_items, |_, ()| {});
        report.pairs = rated.len() as u64;
        if let Some(read) = &mut report.read {
            read.duplicates = (own_rows - rated.len()) as u64;
        }
        let ratings = rated.into_iter().map(|rated| rated.rating as f32).collect();
        Given { users, items, ratings, report }
    };
    Ok(compute.run(sorting).await?)
}

/// What was understood of the first file: the parts of one are alike, and every version keeps this.
fn look_of_first(look: Option<SourceLook>) -> Option<SourceLook> {
    look.map(|look| SourceLook { files: look.files.into_iter().take(1).collect(), ..look })
}

/// Takes what came of a pair again into what came before.
fn again(rule: DuplicateRule, kept: &mut Rated, later: Rated) {
    match rule {
        DuplicateRule::Unspecified | DuplicateRule::Last => {
            if later.timestamp >= kept.timestamp {
                *kept = later;
            }
        }
        // Each row of those that are counted has a rating of 1.
        DuplicateRule::Count | DuplicateRule::Sum => kept.rating += later.rating,
    }
}

impl Finding {
    fn spare_pairs(&self) -> Vec<Pair> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}

/// The ranges of a file, with its number.
fn ranges(
    (number, file): (usize, &SourceFile),
) -> impl Iterator<Item = (usize, std::ops::Range<u64>)> + use<> {
    let length = file.length_bytes;
    let bytes = if file.one_range || file.multiline { length.max(1) } else { RANGE_BYTES };
    let begins = (0..length).step_by(bytes as usize);
    begins.map(move |begin| (number, begin..length.min(begin + bytes)))
}

/// Finds the rows of ratings, and keeps those that are owned here on either side.
struct Finder {
    finding: Arc<Finding>,
    last: [Option<Place>; 2],
    pairs: Vec<Pair>,
    /// Rows of users and of items that the data set does not have.
    unknown: [u64; 2],
    /// Whether each row counts 1, whatever its rating.
    counts: bool,
}

impl Finder {
    fn new(finding: Arc<Finding>, counts: bool) -> Self {
        Self { pairs: finding.spare_pairs(), finding, last: [None; 2], unknown: [0; 2], counts }
    }

    /// What was found, by blocks of each side.
    fn divide(self) -> (Divided<Rated>, Divided<()>) {
        let Self { finding, mut pairs, .. } = self;
        let Finding { users, items, user_blocks, item_blocks, spare } = &*finding;
        let of_users = user_blocks.divide(&pairs, |pair| {
            users.own_row(pair.user).map(|row| Cell { row, other: pair.item, value: pair.rated })
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
        let (user, item) = (users.find(row.user, last_user), items.find(row.item, last_item));
        self.unknown[0] += u64::from(user.is_none());
        self.unknown[1] += u64::from(item.is_none());
        if let (Some(user), Some(item)) = (user, item)
            && (users.own_row(user).is_some() || items.own_row(item).is_some())
        {
            let rating = if self.counts { 1.0 } else { f64::from(row.rating) };
            self.pairs.push(Pair { user, item, rated: Rated { rating, timestamp: row.timestamp } });
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
