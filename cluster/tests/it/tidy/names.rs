//! Names that stand in one place.

use std::path::Path;

use super::{
    files, is_test, none, read,
    rust::{Piece, pieces, without_tests},
};

fn sources() -> Vec<std::path::PathBuf> {
    files(&[".rs"]).into_iter().filter(|path| !is_test(path)).collect()
}

fn is_in(path: &Path, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
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
