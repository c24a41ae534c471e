//! MovieLens-shaped files with planted taste, for trying things and for measuring at full size.
//!
//! Users and items get latent vectors (`taste`). A user rates items drawn by popularity and taste
//! together, so that who rates what says something (the implicit objective has something to learn),
//! and gives half stars that follow the inner product, the item's quality, the user's mood and noise
//! (so has the explicit one). Genres, tags and the tag genome follow the items' vectors (`items`).
//!
//! Everything is a function of the seed and of a row's number: the same files come out with any number
//! of threads, and users are written in blocks as they are made, in bounded memory.

mod items;
mod output;
mod spec;
mod taste;
mod words;

use std::path::Path;

use rayon::prelude::*;

use self::{output::Output, taste::Taste};

pub use self::spec::{GenerateError, GenerateSpec, RATINGS_PER_USER_MIN};

/// Users made and written at a time, per thread.
const BLOCK_USERS: u64 = 256;

/// Rows of the written files, and bytes of all together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateReport {
    /// Rows of `ratings.csv`.
    pub ratings: u64,
    /// Rows of `movies.csv`.
    pub items: u64,
    /// Rows of `tags.csv`.
    pub tags: u64,
    /// Rows of `genome-scores.csv`.
    pub genome_scores: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Writes `ratings.csv`, `movies.csv`, `tags.csv`, `genome-tags.csv` and `genome-scores.csv` into `folder`, made when missing.
/// `progress` is told how many of the ratings are written.
///
/// # Errors
/// When the numbers do not go together or a file cannot be written.
pub fn generate(
    spec: &GenerateSpec,
    folder: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<GenerateReport, GenerateError> {
    spec.check()?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(spec.threads)
        .build()
        .map_err(|error| GenerateError::Threads(spec.threads, error))?;
    std::fs::create_dir_all(folder)
        .map_err(|source| GenerateError::File { path: folder.to_owned(), source })?;
    pool.install(|| {
        let taste = Taste::new(spec);
        let (ratings, tags, mut bytes) = write_users(spec, &taste, folder, progress)?;
        let catalogue = items::write(spec, &taste, folder)?;
        bytes += catalogue.bytes;
        Ok(GenerateReport { ratings, items: spec.items, tags, genome_scores: catalogue.genome_scores, bytes })
    })
}

/// What one user wrote.
struct UserRows {
    ratings: Vec<u8>,
    tags: Vec<u8>,
    tag_rows: u64,
}

fn write_users(
    spec: &GenerateSpec,
    taste: &Taste,
    folder: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(u64, u64, u64), GenerateError> {
    let mut ratings = Output::create(folder, "ratings.csv", "userId,movieId,rating,timestamp\n")?;
    let mut tags = Output::create(folder, "tags.csv", "userId,movieId,tag,timestamp\n")?;
    let counts = taste.rating_counts(spec);
    let block = BLOCK_USERS * rayon::current_num_threads() as u64;
    let (mut written, mut tag_rows) = (0, 0);
    for first in (0..spec.users).step_by(block as usize) {
        let users = first..spec.users.min(first + block);
        let rows: Vec<UserRows> =
            users.clone().into_par_iter().map(|user| user_rows(taste, user, counts[user as usize])).collect();
        for rows in rows {
            ratings.write(&rows.ratings)?;
            tags.write(&rows.tags)?;
            tag_rows += rows.tag_rows;
        }
        written += users.map(|user| u64::from(counts[user as usize])).sum::<u64>();
        progress(written, spec.ratings);
    }
    let bytes = ratings.finish()? + tags.finish()?;
    Ok((written, tag_rows, bytes))
}

fn user_rows(taste: &Taste, user: u64, count: u32) -> UserRows {
    use std::fmt::Write as _;
    let (mut ratings, mut tags, mut tag_rows) = (String::new(), String::new(), 0);
    for rating in taste.ratings_of(user, count) {
        let (user_id, item_id) = (user + 1, rating.item + 1);
        let whole = rating.half_stars / 2;
        let half = if rating.half_stars % 2 == 1 { 5 } else { 0 };
        // Writing to a string does not fail.
        let _ = writeln!(ratings, "{user_id},{item_id},{whole}.{half},{}", rating.timestamp);
        if let Some(tag) = taste.tag_of(user, &rating) {
            let _ = writeln!(tags, "{user_id},{item_id},{tag},{}", rating.timestamp + 60);
            tag_rows += 1;
        }
    }
    UserRows { ratings: ratings.into_bytes(), tags: tags.into_bytes(), tag_rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: GenerateSpec =
        GenerateSpec { users: 300, items: 200, ratings: 12_000, rank: 6, seed: 7, threads: 1 };

    fn files(folder: &Path) -> Vec<Vec<u8>> {
        ["ratings.csv", "movies.csv", "tags.csv", "genome-tags.csv", "genome-scores.csv"]
            .map(|name| std::fs::read(folder.join(name)).unwrap())
            .into()
    }

    #[test]
    fn threads_do_not_change_a_byte_and_seeds_do() {
        let [one, three, other] = [(1, 7), (3, 7), (1, 8)].map(|(threads, seed)| {
            let folder = tempfile::tempdir().unwrap();
            let spec = GenerateSpec { threads, seed, ..SPEC };
            generate(&spec, folder.path(), &|_, _| {}).unwrap();
            files(folder.path())
        });
        assert!(one == three);
        assert!(one[0] != other[0]);
    }

    #[test]
    fn the_shape_is_movielens_like() {
        let folder = tempfile::tempdir().unwrap();
        let report = generate(&SPEC, folder.path(), &|_, _| {}).unwrap();
        assert_eq!(report.ratings, SPEC.ratings);
        let mut reader = csv::Reader::from_path(folder.path().join("ratings.csv")).unwrap();
        let (mut by_user, mut by_item, mut sum) = (vec![0_u64; 300], vec![0_u64; 200], 0.0);
        let mut pairs = std::collections::HashSet::new();
        for row in reader.deserialize() {
            let (user, item, rating, _): (usize, usize, f64, i64) = row.unwrap();
            assert!((rating * 2.0).fract() == 0.0 && (0.5..=5.0).contains(&rating));
            assert!(pairs.insert((user, item)));
            by_user[user - 1] += 1;
            by_item[item - 1] += 1;
            sum += rating;
        }
        assert_eq!(pairs.len() as u64, SPEC.ratings);
        assert!(by_user.iter().all(|&count| (20..=100).contains(&count)));
        let mean = sum / SPEC.ratings as f64;
        assert!((3.3..3.7).contains(&mean), "{mean}");
        by_item.sort_unstable();
        let (head, tail): (u64, u64) = (by_item[160..].iter().sum(), by_item[..100].iter().sum());
        assert!(head > tail, "the upper fifth has {head} ratings, the lower half {tail}");
        let mut titles = csv::Reader::from_path(folder.path().join("movies.csv")).unwrap();
        let titles: std::collections::HashSet<String> =
            titles.deserialize::<(u64, String, String)>().map(|row| row.unwrap().1).collect();
        assert_eq!(titles.len(), 200);
    }

    #[test]
    fn numbers_that_do_not_go_together_are_refused() {
        for spec in [
            GenerateSpec { ratings: 100, ..SPEC },
            GenerateSpec { items: 10, ..SPEC },
            GenerateSpec { rank: 0, ..SPEC },
            GenerateSpec { users: 0, ..SPEC },
        ] {
            let folder = tempfile::tempdir().unwrap();
            assert!(generate(&spec, folder.path(), &|_, _| {}).is_err(), "{spec:?}");
            assert!(!folder.path().join("ratings.csv").exists());
        }
    }
}
