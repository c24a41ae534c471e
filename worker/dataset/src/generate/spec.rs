//! What a sample is to be like, and why it cannot be made.

use std::{io, path::PathBuf};

/// Ratings that every user gives at least, as in MovieLens.
pub const RATINGS_PER_USER_MIN: u64 = 20;

/// The size and the seed of a generated sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateSpec {
    /// Users, numbered from 1.
    pub users: u64,
    /// Items, numbered from 1.
    pub items: u64,
    /// Ratings to write; the files have exactly this many.
    pub ratings: u64,
    /// Length of the planted vectors.
    pub rank: usize,
    /// The same seed makes the same files.
    pub seed: u64,
    /// Threads to use; they do not change the files.
    pub threads: usize,
}

/// The files cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The numbers do not go together.
    #[error("cannot make such a data set: {0}")]
    Spec(String),
    /// A file cannot be written.
    #[error("cannot write '{path}'")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Threads cannot be started.
    #[error("cannot start {0} threads")]
    Threads(usize, #[source] rayon::ThreadPoolBuildError),
}

impl GenerateSpec {
    pub(super) fn check(&self) -> Result<(), GenerateError> {
        let refuse = |reason: String| Err(GenerateError::Spec(reason));
        let Self { users, items, ratings, rank, .. } = *self;
        if users == 0 || items == 0 || u32::try_from(users.max(items)).is_err() {
            return refuse(format!("users and items must be from 1 to {}", u32::MAX));
        }
        if !(1..=256).contains(&rank) {
            return refuse(format!("the rank {rank} must be from 1 to 256"));
        }
        let (least, most) = (users * RATINGS_PER_USER_MIN, users * self.ratings_per_user_max());
        if self.ratings_per_user_max() < RATINGS_PER_USER_MIN {
            return refuse(format!("{items} items are too few; at least {}", 2 * RATINGS_PER_USER_MIN));
        }
        if !(least..=most).contains(&ratings) {
            return refuse(format!(
                "{users} users of {items} items give from {least} to {most} ratings, not {ratings}"
            ));
        }
        Ok(())
    }

    /// Nobody rates more than half of the items.
    pub(super) fn ratings_per_user_max(&self) -> u64 {
        self.items / 2
    }
}
