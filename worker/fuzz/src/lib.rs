//! What the worker decodes: files of the store and of its own disk, and what other workers send. Each function takes
//! any bytes and must return: a panic, a loop without end or memory beyond what the bytes ask for is a finding.
//!
//! `cargo test -p shoal-worker-fuzz` tries every target on mutated `examples`; CONTRIBUTING says how to let libFuzzer
//! search for hours.
#![allow(clippy::expect_used, reason = "examples are made by the code that is tried")]

use bytes::Bytes;
use shoal_common::{
    ids::{EntityId, IdKind},
    store::Manifest,
};
use shoal_dataset::genome::Genome;
use shoal_engine::{
    ease,
    item_cf::{ItemTotals, Neighbours, PairRow, Totals, decode_rows, encode_row},
};
use shoal_format::{
    blocks::{BlockValues, RatingBlock},
    id_column::IdColumn,
    model_parts,
    tensor_file::TensorFile,
};
use shoal_proto::v1::{ExchangeFormat, ObjectEntry};
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

fn manifests() -> Vec<Vec<u8>> {
    let object =
        |path: &str| ObjectEntry { path: path.to_owned(), length_bytes: 3, checksum: "0".repeat(32) };
    vec![Manifest::new("model", vec![object("b"), object("a/c")]).to_bytes().to_vec()]
}
