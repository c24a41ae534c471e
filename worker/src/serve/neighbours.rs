//! What an item shard of a version of neighbours answers from: the neighbour lists of its items, both ways round.
//!
//! Item CF, content and EASE versions have the same lists and differ in where the similarities come from; of EASE these are
//! weights, of which some are below 0. A score is the sum
//! over the user's rated items that are among an item's neighbours; item CF and EASE predict ratings from them.

use std::{path::Path, sync::Arc};

use shoal_core::topk::better_first;
use shoal_engine::{
    item_cf::{Centre, ListIndex, Neighbours, predict, prediction_parts, score_parts},
    preference::Preference,
};
use shoal_format::{model_parts::read_neighbours, tensor_file::TensorFile};

use super::{error::LoadError, query_error::QueryError, rated_items::RatedItems};

/// Rated items named for a score.
pub(super) const PARTS_MAX: usize = 5;

/// What the lists of a version's shards have in common.
#[derive(Debug, Clone)]
pub(super) struct ListShape {
    /// The item rows of all shards.
    pub(super) items: u32,
    /// Neighbours that a predicted rating is the mean of; 0 for a version that predicts none.
    pub(super) prediction_neighbours: usize,
    /// What a rated item counts for in lists.
    pub(super) preference: Preference,
    /// Of every item; not read by a version that predicts no ratings.
    pub(super) biases: Arc<[f32]>,
}

/// The neighbours of one shard's items.
#[derive(Debug)]
pub(super) struct NeighbourLists {
    shape: ListShape,
    first_row: u32,
    lists: Neighbours,
    index: ListIndex,
}

impl NeighbourLists {
    /// Maps the file and checks it; `path` is the object's, for errors. The shard has `rows` items, the first of which
    /// is the global row `first_row`.
    pub(super) fn open(
        file: &Path,
        path: &str,
        rows: usize,
        first_row: u32,
        shape: ListShape,
    ) -> Result<Self, LoadError> {
        let lists = TensorFile::map(file).and_then(|file| read_neighbours(&file, rows, shape.items));
        let lists =
            lists.map_err(|source| LoadError::Tensors { path: path.to_owned(), source: Box::new(source) })?;
        let index = ListIndex::new(&lists, shape.items as usize);
        Ok(Self { shape, first_row, lists, index })
    }

    /// Checks that what was rated are items.
    pub(super) fn check(&self, rated: &RatedItems) -> Result<(), QueryError> {
        match rated.rows.last().filter(|row| **row >= self.shape.items) {
            Some(row) => Err(QueryError::RatedRow(*row)),
            None => Ok(()),
        }
    }

    /// Whether ratings are predicted from the neighbours.
    pub(super) fn predicts(&self) -> bool {
        self.shape.prediction_neighbours > 0
    }

    /// Global rows and similarities of an item's neighbours, best first.
    pub(super) fn of(&self, row: usize) -> (&[u32], &[f32]) {
        self.lists.of(row)
    }

    /// What each of the rated items counts for.
    fn weights(&self, rated: &RatedItems) -> Vec<f32> {
        let preference = self.shape.preference;
        // What was only looked at counts as if it was liked.
        let weight = |rating: &f32| if rating.is_nan() { 1.0 } else { preference.of(*rating) as f32 };
        rated.ratings.iter().map(weight).collect()
    }

    /// A score for each item of the shard: Σ weight · similarity over its rated neighbours, 0 where there are none.
    pub(super) fn scores(&self, rated: &RatedItems) -> Vec<f32> {
        let mut scores = vec![0.0; self.lists.len()];
        self.index.add_scores(&rated.rows, &self.weights(rated), &mut scores);
        scores
    }

    /// The predicted rating of an item by somebody whose ratings are expected to be `user` above the item's bias;
    /// `None` where no neighbour was rated, or the version predicts no ratings.
    pub(super) fn predict(&self, row: usize, rated: &RatedItems, user: f64) -> Option<f32> {
        self.predict_from(row, |item| rated.as_slices().of(item), user)
    }

    /// The same for each item of the shard. What was rated has been checked.
    pub(super) fn predictions(&self, rated: &RatedItems, user: f64) -> Vec<Option<f32>> {
        // Every neighbour of every item is looked up: one look into a table of all items rather than a search.
        let mut ratings = vec![f32::NAN; self.shape.items as usize];
        rated.rows.iter().zip(&rated.ratings).for_each(|(row, rating)| ratings[*row as usize] = *rating);
        let rating = |item: u32| Some(ratings[item as usize]).filter(|rating| !rating.is_nan());
        (0..self.lists.len()).map(|row| self.predict_from(row, rating, user)).collect()
    }

    fn predict_from(&self, row: usize, rated: impl Fn(u32) -> Option<f32>, user: f64) -> Option<f32> {
        let most = self.shape.prediction_neighbours;
        // Rows were checked to fit when the shard was loaded.
        let item = self.first_row + row as u32;
        predict(item, self.lists.of(row), rated, Some(self.centre(user)), most).map(|rating| rating as f32)
    }

    fn centre(&self, user: f64) -> Centre<'_> {
        Centre { user, items: &self.shape.biases }
    }

    /// The rated items that a predicted rating is the mean of, most first, with what each adds to what is expected of
    /// user and item.
    pub(super) fn prediction_parts(&self, row: usize, rated: &RatedItems, user: f64) -> Vec<(u32, f32)> {
        let (rated, centre) = (rated.as_slices(), Some(self.centre(user)));
        let most = self.shape.prediction_neighbours;
        let parts = prediction_parts(self.lists.of(row), |item| rated.of(item), centre, most);
        let mut parts: Vec<(u32, f32)> = parts.into_iter().map(|(row, part)| (row, part as f32)).collect();
        parts.sort_by(|a, b| better_first((a.1, &a.0), (b.1, &b.0)));
        parts
    }

    /// The rated items that add most to an item's score, most first, with what each adds.
    pub(super) fn parts(&self, row: usize, rated: &RatedItems) -> Vec<(u32, f32)> {
        let weights = self.weights(rated);
        let weight = |neighbour| rated.rows.binary_search(&neighbour).ok().map(|at| weights[at]);
        let mut parts = score_parts(self.lists.of(row), weight);
        parts.truncate(PARTS_MAX);
        parts
    }
}
