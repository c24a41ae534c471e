//! Names that stand in one place.

use std::path::Path;

use super::{
    files, is_test, none, read,
    rust::{Piece, pieces, without_tests},
};

/// The names of models, as people and the store spell them.
const MODELS: [&str; 6] = ["als", "item_cf", "content", "content_based", "hybrid", "ease"];
/// The one file where names of models stand.
const MODEL_KIND: &str = "common/core/src/model_kind.rs";
/// The same word as something else: what a file of an import has.
const NO_MODELS: [&str; 1] = ["cluster/src/output/import_report.rs"];

/// Where items are movies: in the contract of existing clients, where that is joined to the rest, and in what asks by it.
const MOVIES: [&str; 4] = [
    "cluster/src/recommender.rs",
    "router/src/http/mod.rs",
    "router/src/http/movies",
    "router/src/http/openapi.rs",
];
/// Names of others: of MovieLens, of its files and columns, and of a cluster and a data set in examples.
const NAMES: [&str; 9] = [
    "movielens",
    "movies.csv",
    "movie.csv",
    "movies.dat",
    "movies.parquet",
    "movieid",
    // As a column is named.
    "\"movie\"",
    "--cluster-id movies",
    "--name movies",
];

fn sources() -> Vec<std::path::PathBuf> {
    files(&[".rs"]).into_iter().filter(|path| !is_test(path)).collect()
}

fn is_in(path: &Path, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[test]
fn names_of_models_stand_in_one_file() {
    let mut found = Vec::new();
    let places = [&NO_MODELS[..], &[MODEL_KIND]].concat();
    for path in sources().iter().filter(|path| !is_in(path, &places)) {
        for piece in pieces(without_tests(&read(path))) {
            if let Piece::Text(line, text) = piece
                && MODELS.contains(&text.as_str())
            {
                found.push(format!("{}:{line}: \"{text}\"", path.display()));
            }
        }
    }
    none(&found, "names of models outside ModelKind");
}

#[test]
fn only_the_contract_and_names_of_files_say_movie() {
    let mut found = Vec::new();
    for path in sources().iter().filter(|path| !is_in(path, &MOVIES)) {
        for (line, text) in without_tests(&read(path)).lines().enumerate() {
            let words = NAMES.iter().fold(text.to_lowercase(), |text, name| text.replace(name, ""));
            if words.contains("movie") {
                found.push(format!("{}:{}: {}", path.display(), line + 1, text.trim()));
            }
        }
    }
    none(&found, "movies where items are meant");
}

/// No role reads the environment; variables are settings of the command line alone.
#[test]
fn the_environment_is_named_where_it_is_read() {
    const PLACES: [&str; 2] = ["cluster/src", "common/src/config"];
    let mut found = Vec::new();
    for path in sources().iter().filter(|path| !is_in(path, &PLACES)) {
        for piece in pieces(without_tests(&read(path))) {
            if let Piece::Text(line, text) = piece
                && text.contains("SHOAL_")
            {
                found.push(format!("{}:{line}: \"{text}\"", path.display()));
            }
        }
    }
    none(&found, "variables of the environment outside the command line");
}
