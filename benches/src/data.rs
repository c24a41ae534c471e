//! Data at size: generated once per folder, and the files that are cut from it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use shoal_core::hash::{hash_bytes, unit_interval};
use shoal_dataset::generate::{GenerateSpec, generate};

/// Share of the ratings that is held out.
pub const TEST_RATIO: f64 = 0.2;
/// A rating from here on counts as observed where preference is trained.
const OBSERVED_RATING_MIN: f32 = 4.0;

/// The files that are measured on.
#[derive(Debug, Clone)]
pub struct Files {
    /// The file with all ratings.
    pub ratings: PathBuf,
    /// About 80 % of them.
    pub train: PathBuf,
    /// The ratings that `train` does not have.
    pub test: PathBuf,
    /// Those of the training ratings that are at least 4.
    pub observed: PathBuf,
}

/// Makes the files below `folder`, or finds those of an earlier run.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(folder: &Path, spec: &GenerateSpec) -> anyhow::Result<Files> {
    let name = format!("{}x{}x{}-{}", spec.users, spec.items, spec.ratings, spec.seed);
    let whole = folder.join(&name);
    let file = |stem: &str| folder.join(format!("{name}-{stem}.csv"));
    let files = Files {
        ratings: whole.join("ratings.csv"),
        train: file("train"),
        test: file("test"),
        observed: file("observed"),
    };
    if !whole.exists() {
        let unfinished = folder.join(format!("{name}.unfinished"));
        let _ = std::fs::remove_dir_all(&unfinished);
        generate(spec, &unfinished, &|_, _| ())?;
        std::fs::rename(&unfinished, &whole)?;
    }
    // The last one written tells that all are there.
    if !files.observed.exists() {
        cut(&files).with_context(|| format!("cannot cut '{}'", files.ratings.display()))?;
    }
    Ok(files)
}

fn cut(files: &Files) -> anyhow::Result<()> {
    let create = |path: &Path| File::create(path).map(|file| BufWriter::with_capacity(1 << 20, file));
    let unfinished = files.observed.with_extension("unfinished");
    let (mut train, mut test, mut observed) =
        (create(&files.train)?, create(&files.test)?, create(&unfinished)?);
    let mut reader = BufReader::with_capacity(1 << 20, File::open(&files.ratings)?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    for out in [&mut train, &mut test, &mut observed] {
        out.write_all(line.as_bytes())?;
    }
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        let mut fields = line.trim_end().rsplitn(3, ',');
        let (_, rating) = (fields.next(), fields.next().unwrap_or_default());
        let pair = fields.next().unwrap_or_default();
        if unit_interval(hash_bytes(pair.as_bytes())) < TEST_RATIO {
            test.write_all(line.as_bytes())?;
            continue;
        }
        train.write_all(line.as_bytes())?;
        if rating.parse::<f32>()? >= OBSERVED_RATING_MIN {
            observed.write_all(line.as_bytes())?;
        }
    }
    for out in [train, test, observed] {
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    }
    Ok(std::fs::rename(&unfinished, &files.observed)?)
}
