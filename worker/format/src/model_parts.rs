//! What models that are not ALS keep of a shard, as tensor files. Every part has the id column of its rows,
//! but for totals, which only pass between steps.

use bytes::Bytes;
use shoal_engine::{
    content::{ItemVectors, VectorParts},
    item_cf::{ItemTotals, Neighbours, Totals},
};

use crate::{
    id_column::IdColumn,
    tensor_file::{TensorFile, TensorFileError, TensorWriter},
};

const BIAS: &str = "bias";
const TRAIN_COUNTS: &str = "train_counts";
const INDPTR: &str = "indptr";
const ROWS: &str = "rows";
const SIMILARITIES: &str = "similarities";
const FEATURES: &str = "features";
const VALUES: &str = "values";
const GENOME_ROWS: &str = "genome_rows";
const GENOMES: &str = "genomes";
const SHAPE: &str = "shape";
const RATERS: &str = "raters";
const SQUARES: &str = "squares";

/// A part of biases: `bias` `f32[rows]` and `train_counts` `u32[rows]`. `path` names it in errors, here and below.
///
/// # Errors
/// When the lengths do not fit together, here and below.
pub fn biases_bytes(
    path: &str,
    ids: &IdColumn,
    biases: &[f32],
    train_counts: &[u32],
) -> Result<Bytes, TensorFileError> {
    let mut writer = TensorWriter::new();
    ids.write(&mut writer);
    writer.add(BIAS, &[biases.len()], biases);
    writer.add(TRAIN_COUNTS, &[train_counts.len()], train_counts);
    writer.to_bytes(path)
}

/// Biases and training counts of a part of `rows` rows.
///
/// # Errors
/// When a tensor is missing, of another type or length, or makes no sense; here and below.
pub fn read_biases(file: &TensorFile, rows: usize) -> Result<(&[f32], &[u32]), TensorFileError> {
    let biases = file.vector::<f32>(BIAS)?;
    if biases.iter().any(|bias| !bias.is_finite()) {
        return Err(file.tensor_error(BIAS, "a bias is not finite".to_owned()));
    }
    let train_counts = file.vector::<u32>(TRAIN_COUNTS)?;
    check_rows(file, BIAS, biases.len(), rows)?;
    check_rows(file, TRAIN_COUNTS, train_counts.len(), rows)?;
    Ok((biases, train_counts))
}

/// A part of neighbours: `indptr` `u64[rows + 1]`, `rows` `u32[n]` (global item rows, best first), `similarities` `f32[n]`.
///
/// # Errors
/// See above.
pub fn neighbours_bytes(
    path: &str,
    ids: &IdColumn,
    neighbours: &Neighbours,
) -> Result<Bytes, TensorFileError> {
    let (indptr, rows, similarities) = neighbours.parts();
    let mut writer = TensorWriter::new();
    ids.write(&mut writer);
    writer.add(INDPTR, &[indptr.len()], indptr);
    writer.add(ROWS, &[rows.len()], rows);
    writer.add(SIMILARITIES, &[similarities.len()], similarities);
    writer.to_bytes(path)
}

/// The neighbours of the `rows` items of a shard, among `items` in all.
///
/// # Errors
/// See above.
pub fn read_neighbours(file: &TensorFile, rows: usize, items: u32) -> Result<Neighbours, TensorFileError> {
    let indptr = file.vector::<u64>(INDPTR)?.to_vec();
    let neighbours = file.vector::<u32>(ROWS)?.to_vec();
    let similarities = file.vector::<f32>(SIMILARITIES)?.to_vec();
    let read = Neighbours::from_parts(indptr, neighbours, similarities, items)
        .map_err(|error| file.tensor_error(INDPTR, error.to_string()))?;
    check_rows(file, INDPTR, read.len(), rows)?;
    Ok(read)
}

/// A part of vectors: `indptr` `u64[rows + 1]`, `features` `u32[n]`, `values` `f32[n]`, `genome_rows` `u32[m]`, `genomes`
/// `f32[m, tags]` and `shape` `u64[2]`, how many features and genome tags there are.
///
/// # Errors
/// See above.
pub fn vectors_bytes(path: &str, ids: &IdColumn, vectors: &ItemVectors) -> Result<Bytes, TensorFileError> {
    let VectorParts { indptr, features, values, genome_rows, genomes } = vectors.parts();
    let shape = [vectors.feature_count() as u64, vectors.genome_width() as u64];
    let mut writer = TensorWriter::new();
    ids.write(&mut writer);
    writer.add(INDPTR, &[indptr.len()], indptr);
    writer.add(FEATURES, &[features.len()], features);
    writer.add(VALUES, &[values.len()], values);
    writer.add(GENOME_ROWS, &[genome_rows.len()], genome_rows);
    writer.add(GENOMES, &[genome_rows.len(), vectors.genome_width()], genomes);
    writer.add(SHAPE, &[shape.len()], &shape);
    writer.to_bytes(path)
}

/// The vectors of the `rows` items of a shard.
///
/// # Errors
/// See above.
pub fn read_vectors(file: &TensorFile, rows: usize) -> Result<ItemVectors, TensorFileError> {
    let genome_rows = file.vector::<u32>(GENOME_ROWS)?.to_vec();
    let parts = VectorParts {
        indptr: file.vector::<u64>(INDPTR)?.to_vec(),
        features: file.vector::<u32>(FEATURES)?.to_vec(),
        values: file.vector::<f32>(VALUES)?.to_vec(),
        genomes: file.matrix::<f32>(GENOMES, genome_rows.len())?.0.to_vec(),
        genome_rows,
    };
    let &[features, genome_width] = file.vector::<u64>(SHAPE)? else {
        return Err(file.tensor_error(SHAPE, "it has not two numbers".to_owned()));
    };
    let vectors = ItemVectors::from_parts(parts, features as usize, genome_width as usize)
        .map_err(|error| file.tensor_error(INDPTR, error.to_string()))?;
    check_rows(file, INDPTR, vectors.len(), rows)?;
    Ok(vectors)
}

/// A part of totals: `raters` `i64[rows]` and `squares` `i64[rows]`.
///
/// # Errors
/// See above.
pub fn totals_bytes(path: &str, totals: &[Totals]) -> Result<Bytes, TensorFileError> {
    let raters: Vec<i64> = totals.iter().map(|totals| totals.raters).collect();
    let squares: Vec<i64> = totals.iter().map(|totals| totals.squares).collect();
    let mut writer = TensorWriter::new();
    writer.add(RATERS, &[raters.len()], &raters);
    writer.add(SQUARES, &[squares.len()], &squares);
    writer.to_bytes(path)
}

/// Adds the totals of a shard of `rows` items to those of the shards before it.
///
/// # Errors
/// See above.
pub fn read_totals(file: &TensorFile, rows: usize, totals: &mut ItemTotals) -> Result<(), TensorFileError> {
    let (raters, squares) = (file.vector::<i64>(RATERS)?, file.vector::<i64>(SQUARES)?);
    check_rows(file, RATERS, raters.len(), rows)?;
    check_rows(file, SQUARES, squares.len(), rows)?;
    let pairs = raters.iter().zip(squares);
    totals.0.extend(pairs.map(|(&raters, &squares)| Totals { raters, squares }));
    Ok(())
}

fn check_rows(file: &TensorFile, name: &str, found: usize, expected: usize) -> Result<(), TensorFileError> {
    if found == expected {
        return Ok(());
    }
    Err(file.tensor_error(name, format!("it is of {found} rows, the data set's shard has {expected}")))
}
