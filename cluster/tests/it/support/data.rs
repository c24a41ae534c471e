//! Rating files for tests: generated ones with twins among the items, and real ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::shoal;

/// Added to an item's id for its twins: one is found before it, the other after it.
const TWINS: [i64; 2] = [-1_000_000, 1_000_000];
/// Every so many items one has twins.
const TWINS_EVERY: i64 = 5;

/// How much to generate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) users: u32,
    pub(crate) items: u32,
    pub(crate) ratings: u32,
}

/// Enough for lists that mean something, little enough to be trained in a second.
pub(crate) const SMALL: Size = Size { users: 240, items: 160, ratings: 9_000 };

/// Generates MovieLens-shaped files into `folder`. Every fifth item has twins: items with its very ratings,
/// and so with its factors, that only their ids tell apart.
pub(crate) fn generate(folder: &Path, size: Size) -> PathBuf {
    let out = folder.join("items");
    let [users, items, ratings] = [size.users, size.items, size.ratings].map(|count| count.to_string());
    let path = out.to_str().unwrap();
    let flags = ["--users", &users, "--items", &items, "--ratings", &ratings, "--seed", "7"];
    shoal(&[&["dataset", "generate", "--out", path][..], &flags].concat()).exits_with(0);
    add_twins(&out);
    out
}

fn add_twins(folder: &Path) {
    for (file, column) in [("ratings.csv", 1), ("movies.csv", 0)] {
        let path = folder.join(file);
        let mut text = std::fs::read_to_string(&path).unwrap();
        let mut twins = String::new();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let item: i64 = fields[column].parse().unwrap();
            if item % TWINS_EVERY != 0 {
                continue;
            }
            for offset in TWINS {
                let id = (item + offset).to_string();
                let fields: Vec<&str> = fields
                    .iter()
                    .enumerate()
                    .map(|(at, field)| if at == column { &id } else { *field })
                    .collect();
                writeln!(twins, "{}", fields.join(",")).unwrap();
            }
        }
        text.push_str(&twins);
        std::fs::write(&path, text).unwrap();
    }
}

/// The folder of real MovieLens files, when there is to be one.
#[allow(clippy::disallowed_methods, reason = "the one setting of the tests themselves")]
pub(crate) fn real_data() -> Option<PathBuf> {
    std::env::var_os("SHOAL_REAL_DATA").map(|folder| PathBuf::from(folder).join("ml-latest-small"))
}

/// What a `ratings.csv` says.
#[derive(Debug)]
pub(crate) struct Ratings {
    /// By user, then item.
    pub(crate) by_user: BTreeMap<i64, BTreeMap<i64, f64>>,
    /// By item, in the order of users.
    pub(crate) by_item: BTreeMap<i64, Vec<f64>>,
}

impl Ratings {
    pub(crate) fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("ratings.csv")).unwrap();
        let mut by_user: BTreeMap<i64, BTreeMap<i64, f64>> = BTreeMap::new();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let (user, item): (i64, i64) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
            let before = by_user.entry(user).or_default().insert(item, fields[2].parse().unwrap());
            assert_eq!(before, None, "a pair comes once");
        }
        let mut by_item: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (item, rating) in by_user.values().flatten() {
            by_item.entry(*item).or_default().push(*rating);
        }
        Self { by_user, by_item }
    }

    pub(crate) fn users(&self) -> BTreeSet<i64> {
        self.by_user.keys().copied().collect()
    }

    /// The lowest and the highest rating.
    pub(crate) fn range(&self) -> (f64, f64) {
        let all = self.by_item.values().flatten();
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &rating| {
            (low.min(rating), high.max(rating))
        })
    }

    pub(crate) fn mean(&self) -> f64 {
        let count: usize = self.by_item.values().map(Vec::len).sum();
        self.by_item.values().flatten().sum::<f64>() / count as f64
    }
}
