//! Row lengths of a ratings file: how many ratings each user and each item has.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::Context as _;

/// Ratings per row of both sides, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowLengths {
    /// Of each user.
    pub users: Vec<u32>,
    /// Of each item.
    pub items: Vec<u32>,
}

/// Counts a CSV file whose first two columns are integer ids.
///
/// # Errors
/// When the file cannot be read or an id is no number.
pub fn row_lengths(path: &Path) -> anyhow::Result<RowLengths> {
    let file = File::open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut users, mut items) = (HashMap::<u64, u32>::new(), HashMap::<u64, u32>::new());
    let mut line = String::new();
    reader.read_line(&mut line)?;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        let mut fields = line.split(',');
        for counts in [&mut users, &mut items] {
            let id: u64 =
                fields.next().unwrap_or_default().parse().with_context(|| format!("in '{line}'"))?;
            *counts.entry(id).or_default() += 1;
        }
    }
    Ok(RowLengths { users: users.into_values().collect(), items: items.into_values().collect() })
}
