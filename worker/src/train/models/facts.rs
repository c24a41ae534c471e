//! What the data set says of a shard's items: genres, years, tags and genome, by row.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use shoal_common::{
    ids::EntityId,
    store::{StoreError, catalogue_part, genome_part, tags_part},
};
use shoal_dataset::{
    catalogue::{GENRE_SEPARATOR, read_catalogue},
    genome::Genome,
    tags::read_tags,
};
use shoal_engine::content::{GenomeFacts, ItemFacts, clean_tag};
use shoal_format::{id_column::IdColumn, tensor_file::TensorFile};
use shoal_proto::v1::Side;

use super::attempt::ModelAttempt;
use crate::train::{TrainError, training_side::OwnedShard};

/// What is known of the items of one shard, by row.
#[derive(Debug, Default)]
pub(super) struct ShardFacts {
    genres: Vec<Vec<String>>,
    years: Vec<Option<i32>>,
    /// Terms with how many users gave them.
    tags: Vec<Vec<(String, u32)>>,
    /// Tags that may not be known: see [`crate::train::known_tags`].
    pub(super) tags_left_out: u64,
    genome: Genome,
}

impl ShardFacts {
    /// What is known of the item of a row.
    pub(super) fn item(&self, row: usize) -> ItemFacts<'_> {
        // Rows of a side are counted in a u32.
        let genome = self.genome.rows.binary_search(&(row as u32)).ok().map(|at| {
            let width = self.genome.tags.len();
            GenomeFacts { tags: &self.genome.tags, relevance: &self.genome.relevance[at * width..][..width] }
        });
        ItemFacts { genres: &self.genres[row], tags: &self.tags[row], year: self.years[row], genome }
    }
}

/// Genres of every item of the data set, as numbers.
#[derive(Debug)]
pub(super) struct GenreSets {
    /// By global row; ascending within an item.
    items: Vec<Vec<u32>>,
}

impl GenreSets {
    /// Cosine of two items' sets of genres; 0 where either has none.
    pub(super) fn similarity(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (&self.items[a as usize], &self.items[b as usize]);
        let common = a.iter().filter(|genre| b.binary_search(genre).is_ok()).count() as f64;
        if common == 0.0 { 0.0 } else { common / ((a.len() * b.len()) as f64).sqrt() }
    }
}

impl ModelAttempt {
    /// Everything known of an own shard's items.
    pub(super) async fn shard_facts(self: &Arc<Self>, owned: &OwnedShard) -> Result<ShardFacts, TrainError> {
        let (shard, first, ids) = (owned.shard, owned.rows.start, owned.ids.clone());
        let catalogue = self.data_object(&catalogue_part(shard)).await?;
        let tags = self.data_object(&tags_part(shard)).await?;
        let genome = self.data_object(&genome_part(shard)).await?;
        let attempt = Arc::clone(self);
        let reading = self.context.job.compute.run(move || {
            let mut facts = ShardFacts {
                genres: vec![Vec::new(); ids.len()],
                years: vec![None; ids.len()],
                tags: vec![Vec::new(); ids.len()],
                tags_left_out: 0,
                genome: Genome::default(),
            };
            if let Some((path, bytes)) = catalogue {
                let described = read_catalogue(bytes).map_err(|error| damaged(&path, error.to_string()))?;
                for item in described {
                    let row = row_of(&ids, &item.item, &path)?;
                    let genres: BTreeSet<&str> =
                        item.genres.split(GENRE_SEPARATOR).filter(|genre| !genre.is_empty()).collect();
                    facts.genres[row] = genres.into_iter().map(str::to_owned).collect();
                    facts.years[row] = item.year;
                }
            }
            if let Some((path, bytes)) = tags {
                let tags = read_tags(bytes).map_err(|error| damaged(&path, error.to_string()))?;
                let mut users: BTreeMap<(usize, String), BTreeSet<EntityId>> = BTreeMap::new();
                for tag in tags {
                    let row = row_of(&ids, &tag.item, &path)?;
                    let may_be_known = attempt.known_tags.as_ref().is_none_or(|known| {
                        known.may_be_known(&attempt.items, first + row, &tag.user, tag.timestamp)
                    });
                    if !may_be_known {
                        facts.tags_left_out += 1;
                        continue;
                    }
                    if let Some(term) = clean_tag(&tag.tag) {
                        users.entry((row, term)).or_default().insert(tag.user);
                    }
                }
                for ((row, term), users) in users {
                    facts.tags[row].push((term, users.len() as u32));
                }
            }
            if let Some((path, bytes)) = genome {
                facts.genome = Genome::read(&TensorFile::from_bytes(&path, &bytes)?, ids.len())?;
            }
            Ok::<_, TrainError>(facts)
        });
        reading.await?
    }

    /// The genres of every item; none where the data set has no catalogue.
    pub(super) async fn genre_sets(self: &Arc<Self>) -> Result<GenreSets, TrainError> {
        let mut items = Vec::with_capacity(self.item_rows());
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        for shard in 0..self.items.shards.count() {
            let ids = self.shard_ids(Side::Items, shard).await?;
            let first = items.len();
            items.resize(first + ids.len(), Vec::new());
            let path = catalogue_part(shard);
            let Some((_, bytes)) = self.data_object(&path).await? else { continue };
            for item in read_catalogue(bytes).map_err(|error| damaged(&path, error.to_string()))? {
                let row = row_of(&ids, &item.item, &path)?;
                let genres = item.genres.split(GENRE_SEPARATOR).filter(|genre| !genre.is_empty());
                let mut set: Vec<u32> = genres
                    .map(|genre| {
                        let next = numbers.len() as u32;
                        *numbers.entry(genre.to_owned()).or_insert(next)
                    })
                    .collect();
                set.sort_unstable();
                set.dedup();
                items[first + row] = set;
            }
        }
        Ok(GenreSets { items })
    }

    /// An object of the data set, if it has it.
    async fn data_object(&self, path: &str) -> Result<Option<(String, bytes::Bytes)>, TrainError> {
        let entry = match self.manifest.entry(path) {
            Ok(entry) => entry,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = self.context.job.store.get_verified(&self.dataset.path, entry).await?;
        Ok(Some((path.to_owned(), bytes)))
    }
}

fn row_of(ids: &IdColumn, item: &EntityId, path: &str) -> Result<usize, TrainError> {
    ids.find(item)
        .ok_or_else(|| damaged(path, format!("it describes '{item}', which the shard does not have")))
}

fn damaged(path: &str, reason: String) -> TrainError {
    StoreError::Damaged { path: path.to_owned(), reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_alike_by_their_common_genres() {
        let sets = GenreSets { items: vec![vec![0, 1], vec![1, 2], vec![0, 1], vec![]] };
        assert_eq!((sets.similarity(0, 1), sets.similarity(0, 3), sets.similarity(3, 3)), (0.5, 0.0, 0.0));
        assert!((sets.similarity(0, 2) - 1.0).abs() < 1e-12);
    }
}
