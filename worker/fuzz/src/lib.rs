//! What the worker decodes: files of the store and of its own disk, and what other workers send. Each function takes
//! any bytes and must return: a panic, a loop without end or memory beyond what the bytes ask for is a finding.
//!
//! `cargo test -p shoal-worker-fuzz` tries every target on mutated `examples`; CONTRIBUTING says how to let libFuzzer
//! search for hours.
#![allow(clippy::expect_used, reason = "examples are made by the code that is tried")]

use std::sync::Arc;

use bytes::Bytes;
use shoal_common::{
    ids::{EntityId, IdKind},
    store::Manifest,
};
use shoal_dataset::{
    genome::Genome,
    parse::{RowReader, Rules},
};
use shoal_engine::{
    als::kernel::Kernel,
    ease,
    item_cf::{
        CoRaters, Fixed, ItemTotals, Measure, Neighbours, PairAccumulator, PairRow, Settings, Totals,
        UserRows, decode_rows, encode_row,
    },
};
use shoal_format::{
    blocks::{BlockValues, RatingBlock},
    id_column::IdColumn,
    model_parts,
    tensor_file::TensorFile,
};
use shoal_proto::v1::{ExchangeFormat, FileContent, ObjectEntry, SourceFile, SourceFormat};
use shoal_worker::{exchange::wire, ingest::read_records};

/// Rows and columns that a reader is told to expect: they come from the registry, not from the file.
const ROWS: usize = 3;

/// A tensor file as every reader of one takes it.
pub fn tensor_file(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let open = || TensorFile::from_bytes("fuzz", &bytes);
    let Ok(file) = open() else { return };
    if let Ok(ids) = IdColumn::read(&file) {
        for row in 0..ids.len() {
            assert_eq!(ids.find(&ids.get(row)), Some(row), "an id is found where it is");
            assert!(ids.is(row, ids.get_ref(row)));
        }
    }
    if let Ok((values, columns)) = file.matrix::<f32>("ranking", ROWS) {
        assert_eq!(values.len(), ROWS * columns);
    }
    let _ = model_parts::read_biases(&file, ROWS);
    let _ = model_parts::read_totals(&file, ROWS, &mut ItemTotals(vec![Totals::default(); ROWS]));
    let _ = model_parts::read_vectors(&file, ROWS);
    let _ = Genome::read(&file, ROWS);
    if let Ok(neighbours) = model_parts::read_neighbours(&file, ROWS, ROWS as u32) {
        assert_eq!(neighbours.len(), ROWS);
    }
    if let Ok(block) = open().and_then(|file| RatingBlock::open(file, ROWS, ROWS as u64)) {
        for row in 0..block.rows() {
            assert_eq!(block.indices()[block.span(row)].len(), block.ratings()[block.span(row)].len());
        }
    }
}

/// A batch of parsed rows, as workers send them and keep them in spools. The first byte chooses the kind of the rows and of
/// the ids.
pub fn records(bytes: &[u8]) {
    let Some((&choice, batch)) = bytes.split_first() else { return };
    let ids = |bit: u8| if choice & bit == 0 { IdKind::Integer } else { IdKind::Text };
    let _ = read_records(batch, i32::from(choice & 7), ids(8), ids(16));
}

/// Numbers of factor rows, and triangles of Gramians.
pub fn exchange(bytes: &[u8]) {
    let _ = wire::from_bytes::<u32>(bytes);
    if let Ok(values) = wire::from_bytes::<f64>(bytes) {
        for rank in 0..8 {
            let matrix = wire::from_lower_triangle(&values, rank);
            assert_eq!(matrix.is_some(), values.len() == rank * (rank + 1) / 2);
        }
    }
    for format in [ExchangeFormat::F32, ExchangeFormat::Bf16].map(wire::RowFormat::from_proto) {
        let mut row = vec![0.0; bytes.len() / format.size()];
        let read = format.read(bytes, &mut row);
        assert_eq!(read.is_ok(), bytes.len().is_multiple_of(format.size()));
    }
}

/// Rows of sums over pairs of items. The first byte says how many rows and sums are expected.
pub fn pairs(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let (rows, width, items) = (usize::from(choice & 7), usize::from(choice >> 3 & 3) + 1, 1 << 10);
    if let Ok(decoded) = decode_rows(rest, rows, width, items) {
        assert_eq!(decoded.len(), rows);
        for row in &decoded {
            assert_eq!(row.sums.len(), row.columns.len() * width);
            assert!(
                row.columns.is_sorted_by(|a, b| a < b) && row.columns.iter().all(|&at| (at as usize) < items)
            );
        }
    }
    let _ = ItemTotals(vec![Totals::default(); rows]).merge_bytes(rest);
}

/// What an owner of EASE's tiles keeps of weights. The first byte says how many items are expected, of a model with how many.
pub fn weights(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let (items, order) = (usize::from(choice & 7), u32::from(choice >> 3) + 1);
    if let Ok(selected) = ease::decode_entries(rest, items, order) {
        assert_eq!(selected.len(), items);
        assert!(selected.iter().flatten().all(|(weight, row)| weight.abs() > 0.0 && *row < order));
        assert_eq!(ease::encode_entries(&selected), rest, "what was read is written");
    }
}

/// What an owner of EASE's tiles is told by others: a part of the elimination, then the counts of weights by size. The first
/// bytes choose sender, step and part.
pub fn elimination(bytes: &[u8]) {
    let Some((&[from, step, part], rest)) = bytes.split_first_chunk() else { return };
    // Two owners of three tiles, one of which has only some rows.
    let grid = ease::Grid::new(ease::SIDE as u32 + 1, 2);
    let mut share = ease::Share::new(grid, 0, Kernel::detect());
    share.finish_sums(1.0, ease::Levels::of_users(1));
    let mut elimination = ease::Elimination::new(share);
    if let Ok(values) = wire::from_bytes::<f32>(rest) {
        let part = part.checked_sub(1).map_or(ease::Part::Pivot, |line| ease::Part::Panel(line.into()));
        let message = ease::Message { step: step.into(), part, values: Arc::new(values) };
        if elimination.accept(from.into(), message.clone()).is_ok() {
            assert!(elimination.accept(from.into(), message).is_err(), "a message is taken once");
        }
    }
    if let Ok(counts) = wire::from_bytes::<u64>(rest)
        && let Some(sizes) = ease::Sizes::from_counts(counts)
    {
        let mut all = ease::Sizes::default();
        all.merge(&sizes);
        let _ = all.selection(grid.order(), 20);
    }
}

/// The ratings of other workers' users that take part in pairs. The first byte says how many users are expected.
pub fn raters(bytes: &[u8]) {
    let Some((&users, rest)) = bytes.split_first() else { return };
    let own = item_raters();
    let items = own.items() as u32;
    let every = 0..items;
    if let Ok(all) = own.gathered(&[(usize::from(users & 7), rest.to_vec())], std::slice::from_ref(&every)) {
        for item in every {
            let mut pairs = PairAccumulator::new(all.items(), Measure::Cosine.width());
            pairs.add_users(&all, item);
        }
    }
}

/// The text of a source. The first byte chooses what the file holds and how its rows are written, the second where one
/// reader ends and the next begins: together they read what one alone does.
pub fn text_rows(bytes: &[u8]) {
    let Some((&[choice, border], text)) = bytes.split_first_chunk() else { return };
    let contents = [FileContent::Ratings, FileContent::Items, FileContent::Tags, FileContent::GenomeScores];
    let file = SourceFile {
        content: contents[usize::from(choice & 3)].into(),
        format: SourceFormat::Csv.into(),
        columns: vec![0, 1, 2, 3],
        column_count: 4,
        delimiter: u32::from(if choice & 4 == 0 { b',' } else { b';' }),
        multiline: choice & 8 != 0,
        length_bytes: text.len() as u64,
        ..SourceFile::default()
    };
    let kind = |bit: u8| if choice & bit == 0 { IdKind::Integer } else { IdKind::Text };
    let rules = Rules { user_id_kind: kind(16), item_id_kind: kind(32), rating_min: 0.5, rating_max: 5.0 };
    let read = |range: std::ops::Range<u64>| {
        let mut reader = RowReader::new(&file, rules, "fuzz".into(), range);
        let mut rows = 0;
        while let Some(position) = reader.wants() {
            reader.take(&text[position as usize..], true, |_, _| rows += 1);
        }
        (rows, reader.finish().0)
    };
    let (length, border) = (text.len() as u64, u64::from(border).min(text.len() as u64));
    let (rows, report) = read(0..length);
    assert_eq!(rows, report.rows_accepted);
    // A row over several lines may hold what looks like others where a reader begins in its midst.
    if !file.multiline {
        assert_eq!(read(0..border).0 + read(border..length).0, rows);
    }
}

/// The list of a folder's objects.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse("fuzz", bytes) {
        let again = Manifest::parse("fuzz", &manifest.to_bytes()).expect("what was read is written");
        assert_eq!(again, manifest);
    }
}

/// All targets of this crate.
#[must_use]
pub fn targets() -> Vec<shoal_fuzz::Target> {
    vec![
        ("tensor_file", tensor_file, tensor_files()),
        ("records", records, record_batches()),
        ("exchange", exchange, vec![wire::to_bytes(&[1.0_f64, 2.0, 3.0]).to_vec()]),
        ("pairs", pairs, pair_rows()),
        ("weights", weights, item_weights()),
        ("elimination", elimination, parts_of_elimination()),
        ("raters", raters, user_ratings()),
        ("text_rows", text_rows, texts()),
        ("manifest", manifest, manifests()),
    ]
}

fn tensor_files() -> Vec<Vec<u8>> {
    let mut texts = IdColumn::empty(IdKind::Text);
    ["a", "bé", "c"].iter().for_each(|id| texts.push(&EntityId::Text((*id).into())));
    let integers = IdColumn::Integer(vec![-3, 0, i64::MAX]);
    let block = |ids: &IdColumn| {
        let (indptr, indices) = ([0, 2, 2, 3], [0, 2, 1]);
        let values = BlockValues {
            ids,
            indptr: &indptr,
            indices: &indices,
            ratings: &[1.0, 5.0, 3.5],
            timestamps: &[0, 7, 9],
        };
        values.to_bytes("block").expect("lengths fit")
    };
    let neighbours =
        Neighbours::from_parts(vec![0, 1, 2, 2], vec![1, 0], vec![0.5, 0.5], 3).expect("they fit");
    let totals = [Totals { raters: 2, squares: 9 }, Totals::default(), Totals { raters: 1, squares: 4 }];
    let genome = Genome::from_scores(&[(0, 1, 0.5), (2, 4, 1.0)]);
    vec![
        block(&texts),
        block(&integers),
        model_parts::biases_bytes("b", &integers, &[0.5, 0.0, -1.0], &[1, 0, 2]).expect("lengths fit"),
        model_parts::neighbours_bytes("n", &texts, &neighbours).expect("lengths fit"),
        model_parts::totals_bytes("t", &totals).expect("lengths fit"),
        genome.to_bytes("g").expect("lengths fit"),
    ]
    .into_iter()
    .map(|bytes| bytes.to_vec())
    .collect()
}

fn record_batches() -> Vec<Vec<u8>> {
    // Kind, position, then by the head of `ingest::records`.
    vec![
        [&[1][..], &[0; 8], &[0, 2, 4], &4.5_f32.to_le_bytes(), &[6]].concat(),
        [&[1 | 8 | 16][..], &[0; 8], &[0, 1, b'u', 2, 0xc3, 0xa9], &0.5_f32.to_le_bytes(), &[1]].concat(),
        [&[2 | 16][..], &[7; 8], &[0, 1, b'i', 5], b"title", &[2, 3], b"a|b"].concat(),
        [&[3][..], &[0; 8], &[0, 2, 4, 3], b"tag", &[0]].concat(),
        [&[4][..], &[0; 8], &[0, 4, 9], &0.25_f32.to_le_bytes()].concat(),
        [&[5][..], &[0; 8], &[0, 9, 4], b"mood"].concat(),
    ]
}

fn pair_rows() -> Vec<Vec<u8>> {
    let row = PairRow { columns: vec![0, 5, 900], sums: vec![1, -2, 3, 4, i64::MAX, i64::MIN] };
    let mut bytes = vec![1 | 1 << 3];
    encode_row(&row, 2, &mut bytes);
    let totals = ItemTotals(vec![Totals { raters: 3, squares: 40 }; 2]);
    vec![bytes, [&[2][..], &totals.to_bytes()].concat()]
}

fn item_weights() -> Vec<Vec<u8>> {
    let selected = [vec![(0.5, 3), (-0.25, 0)], Vec::new(), vec![(1e-3, 6)]];
    vec![[&[3 | 6 << 3][..], &ease::encode_entries(&selected)].concat()]
}

fn parts_of_elimination() -> Vec<Vec<u8>> {
    // The other owner has the tile below the first pivot.
    let panel = vec![0.5_f32; ease::SIDE * 16];
    let counts = vec![1_u64; ease::Sizes::default().counts().len()];
    vec![
        [&[1, 0, 2][..], &wire::to_bytes(&panel)].concat(),
        [&[1, 1, 0][..], &wire::to_bytes(&[0.5_f32; 4])].concat(),
        [&[9, 9, 9][..], &wire::to_bytes(&counts)].concat(),
    ]
}

/// Two users of six items.
fn item_raters() -> CoRaters {
    let rows = UserRows {
        indptr: &[0, 2, 5],
        items: &[0, 3, 1, 3, 5],
        ratings: &[4.0, 2.5, 5.0, 1.0, 3.0],
        hashes: &[1, 2],
    };
    let settings = Settings {
        measure: Measure::Cosine,
        common_users_min: 1,
        shrinkage: 0.0,
        neighbours_max: 3,
        user_ratings_max: 10,
        seed: 0,
    };
    CoRaters::new(rows, 6, Fixed::new(settings.measure, 0.5, 5.0, 30), &settings)
}

fn user_ratings() -> Vec<Vec<u8>> {
    let own = item_raters();
    vec![[&[2][..], &own.encode_users(0..2)].concat(), [&[1][..], &own.encode_users(1..2)].concat()]
}

fn texts() -> Vec<Vec<u8>> {
    let text = |choice: u8, border: u8, text: &str| [&[choice, border][..], text.as_bytes()].concat();
    vec![
        text(0, 9, "1,20,4.5,964982703\r\n2,20,3,964982931\nx,7,9,0\n"),
        text(1, 20, "1,Toy Story (1995),Comedy|Drama,1995\n2,\"Heat, The\",,\n"),
        text(2 | 8, 5, "1,2,\"over\nlines\",5\n"),
        text(3 | 4, 3, "1;2;0.25;\n1;3;1;\n"),
        text(16 | 32, 1, "u,\u{e9},5,1\n"),
    ]
}

fn manifests() -> Vec<Vec<u8>> {
    let object =
        |path: &str| ObjectEntry { path: path.to_owned(), length_bytes: 3, checksum: "0".repeat(32) };
    vec![Manifest::new("model", vec![object("b"), object("a/c")]).to_bytes().to_vec()]
}
