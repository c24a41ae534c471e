//! Counts over the whole catalogue: how many items have which feature.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ItemFacts;

/// Steps per unit of relevance in sums: they are integers, so that the order of adding does not matter.
const RELEVANCE_STEPS: f64 = (1_u64 << 30) as f64;

/// How many items have which feature. Those of several shards add up in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// How many items were counted.
    pub items: u64,
    /// Items with each genre.
    pub genres: BTreeMap<String, u64>,
    /// Items with each tag.
    pub tags: BTreeMap<String, u64>,
    /// Items of each decade (1990 for the nineties).
    pub decades: BTreeMap<i32, u64>,
    /// Sums over the items that have a tag genome.
    pub genome: GenomeSums,
}

/// Sums of relevance over the items that have a genome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenomeSums {
    /// Items with a genome.
    pub items: u64,
    /// Σ relevance per genome tag, in steps of 2⁻³⁰.
    pub relevance_steps: BTreeMap<u32, i64>,
}

impl GenomeSums {
    /// The mean relevance of each genome tag, by its number.
    pub fn means(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        let items = self.items.max(1) as f64;
        let mean = move |(&tag, &steps): (&u32, &i64)| (tag, (steps as f64 / RELEVANCE_STEPS / items) as f32);
        self.relevance_steps.iter().map(mean)
    }

    fn add(&mut self, items: u64, steps: impl Iterator<Item = (u32, i64)>) {
        self.items += items;
        for (tag, steps) in steps {
            *self.relevance_steps.entry(tag).or_default() += steps;
        }
    }
}

/// The decade of a year.
pub(super) fn decade(year: i32) -> i32 {
    year.div_euclid(10) * 10
}

impl Census {
    /// Counts the features and the genome of one more item.
    pub fn add(&mut self, item: &ItemFacts<'_>) {
        self.items += 1;
        for genre in item.genres {
            count(&mut self.genres, genre, 1);
        }
        for (tag, _) in item.tags {
            count(&mut self.tags, tag, 1);
        }
        if let Some(year) = item.year {
            *self.decades.entry(decade(year)).or_default() += 1;
        }
        if let Some(genome) = item.genome {
            // A relevance is at most 1, so that 2³³ items fit.
            let steps = |(&tag, &relevance): (&u32, &f32)| {
                (tag, (f64::from(relevance) * RELEVANCE_STEPS).round() as i64)
            };
            self.genome.add(1, genome.tags.iter().zip(genome.relevance).map(steps));
        }
    }

    /// Adds the counts of other items.
    pub fn merge(&mut self, other: &Self) {
        self.items += other.items;
        for (own, others) in [(&mut self.genres, &other.genres), (&mut self.tags, &other.tags)] {
            others.iter().for_each(|(term, items)| count(own, term, *items));
        }
        for (decade, items) in &other.decades {
            *self.decades.entry(*decade).or_default() += items;
        }
        self.genome
            .add(other.genome.items, other.genome.relevance_steps.iter().map(|(tag, steps)| (*tag, *steps)));
    }
}

fn count(counts: &mut BTreeMap<String, u64>, term: &str, items: u64) {
    match counts.get_mut(term) {
        Some(count) => *count += items,
        None => drop(counts.insert(term.to_owned(), items)),
    }
}
