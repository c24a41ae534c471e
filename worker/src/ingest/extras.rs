//! What comes for an item shard beside ratings: its part of the catalogue, tags and the tag genome.

use bytes::Bytes;
use shoal_common::{
    ids::IdKind,
    store::{catalogue_part, genome_part, genome_tags_part, tags_part},
};
use shoal_dataset::{
    catalogue::{CatalogueItem, write_catalogue},
    genome::{Genome, write_genome_tags},
    tags::{Tag, write_tags},
};
use shoal_format::{id_column::IdColumn, row::Row};

use crate::ingest::{IngestError, id_numbering::IdNumbering};

/// A genome score: number of the item, number of the tag, relevance, position.
type Score = (u32, u32, f32, u64);

/// Collects rows of every content but ratings.
#[derive(Debug)]
pub(super) struct Extras {
    items: Vec<(CatalogueItem, u64)>,
    tags: Vec<Tag>,
    genome_items: IdNumbering,
    scores: Vec<Score>,
    genome_tags: Vec<(u32, u64, String)>,
}

/// What has come, sorted, without duplicates.
#[derive(Debug, Default)]
pub(super) struct SortedExtras {
    /// By id; every item once.
    pub(super) items: Vec<CatalogueItem>,
    /// Of items that the shard has, in order.
    pub(super) tags: Vec<Tag>,
    /// Of items that the shard has.
    pub(super) genome: Genome,
    /// By number; every number once.
    pub(super) genome_tags: Vec<(u32, String)>,
}

impl Extras {
    pub(super) fn new(item_kind: IdKind) -> Self {
        Self {
            items: Vec::new(),
            tags: Vec::new(),
            genome_items: IdNumbering::new(item_kind),
            scores: Vec::new(),
            genome_tags: Vec::new(),
        }
    }

    /// Takes a row that is no rating.
    pub(super) fn take(&mut self, row: Row<'_>, position: u64) {
        match row {
            Row::Rating(_) => {}
            Row::Item(row) => self.items.push((row.into(), position)),
            Row::Tag(row) => self.tags.push(row.into()),
            Row::Genome(row) => {
                let item = self.genome_items.of(row.item);
                self.scores.push((item, row.tag, row.relevance, position));
            }
            Row::GenomeTag(row) => self.genome_tags.push((row.tag, position, row.name.into_owned())),
        }
    }

    /// Sorts what has come for a shard with these ids. Of several rows of an item, a score or a genome tag the last
    /// in the source stays; tags and scores of items that are neither rated nor in the catalogue are left out.
    pub(super) fn sort(self, ids: &IdColumn) -> SortedExtras {
        let mut tags = self.tags;
        tags.retain(|tag| ids.find(&tag.item).is_some());
        tags.sort_unstable();
        let mut genome_tags = self.genome_tags;
        genome_tags.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        genome_tags.dedup_by_key(|tag| tag.0);
        SortedExtras {
            items: last_of_each(self.items),
            tags,
            genome: genome(&self.genome_items.into_ids(), self.scores, ids),
            genome_tags: genome_tags.into_iter().map(|(tag, _, name)| (tag, name)).collect(),
        }
    }
}

fn last_of_each(mut items: Vec<(CatalogueItem, u64)>) -> Vec<CatalogueItem> {
    items.sort_unstable_by(|a, b| a.0.item.cmp(&b.0.item).then(b.1.cmp(&a.1)));
    items.dedup_by(|a, b| a.0.item == b.0.item);
    items.into_iter().map(|(item, _)| item).collect()
}

fn genome(items: &IdColumn, scores: Vec<Score>, ids: &IdColumn) -> Genome {
    let rows: Vec<Option<usize>> =
        (0..items.len()).map(|number| ids.find_ref(items.get_ref(number))).collect();
    let known = scores.into_iter().filter_map(|(item, tag, relevance, position)| {
        // Rows are counted in a u32.
        rows[item as usize].map(|row| (row as u32, tag, relevance, position))
    });
    let mut known: Vec<Score> = known.collect();
    known.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(b.3.cmp(&a.3)));
    known.dedup_by_key(|score| (score.0, score.1));
    let scores: Vec<(u32, u32, f32)> =
        known.into_iter().map(|(row, tag, value, _)| (row, tag, value)).collect();
    Genome::from_scores(&scores)
}

impl SortedExtras {
    /// The names of every object that a shard may have of these.
    pub(super) fn names(shard: u32) -> Vec<String> {
        let mut names = vec![catalogue_part(shard), tags_part(shard), genome_part(shard)];
        names.extend((shard == 0).then(genome_tags_part));
        names
    }

    /// The objects of those contents that there are.
    pub(super) fn objects(
        &self,
        shard: u32,
        user_kind: IdKind,
        item_kind: IdKind,
    ) -> Result<Vec<(String, Bytes)>, IngestError> {
        let failed = |source| IngestError::Catalogue { shard, source };
        let mut objects = Vec::new();
        if !self.items.is_empty() {
            objects.push((catalogue_part(shard), write_catalogue(&self.items, item_kind).map_err(failed)?));
        }
        if !self.tags.is_empty() {
            objects.push((tags_part(shard), write_tags(&self.tags, user_kind, item_kind).map_err(failed)?));
        }
        if !self.genome.rows.is_empty() {
            let name = genome_part(shard);
            let bytes = self.genome.to_bytes(&name)?;
            objects.push((name, bytes));
        }
        if !self.genome_tags.is_empty() {
            objects.push((genome_tags_part(), write_genome_tags(&self.genome_tags).map_err(failed)?));
        }
        Ok(objects)
    }
}
