//! The items: titles, genres and the tag genome.

use std::{fmt::Write as _, path::Path};

use rayon::prelude::*;

use super::{
    output::Output,
    spec::{GenerateError, GenerateSpec},
    taste::{Stream, Taste},
    words,
};

/// Items made and written at a time.
const BLOCK_ITEMS: u64 = 4_096;

/// The genome covers the more popular part, as in MovieLens: items above this share of the mean.
const GENOME_POPULARITY_MIN: f64 = 0.5;

pub(super) struct Catalogue {
    pub(super) genome_scores: u64,
    pub(super) bytes: u64,
}

pub(super) fn write(spec: &GenerateSpec, taste: &Taste, folder: &Path) -> Result<Catalogue, GenerateError> {
    let mut catalogue = Output::create(folder, "movies.csv", "movieId,title,genres\n")?;
    let mut scores = Output::create(folder, "genome-scores.csv", "movieId,tagId,relevance\n")?;
    let mut tags = Output::create(folder, "genome-tags.csv", "tagId,tag\n")?;
    for (number, tag) in words::GENOME_TAGS.iter().enumerate() {
        tags.write(format!("{},{tag}\n", number + 1).as_bytes())?;
    }
    let mut genome_scores = 0;
    for first in (0..spec.items).step_by(BLOCK_ITEMS as usize) {
        let items = first..spec.items.min(first + BLOCK_ITEMS);
        let rows: Vec<(String, String)> = items
            .into_par_iter()
            .map(|item| (catalogue_row(taste, item), genome_rows(taste, item)))
            .collect();
        for (row, genome) in rows {
            catalogue.write(row.as_bytes())?;
            scores.write(genome.as_bytes())?;
            genome_scores += genome.lines().count() as u64;
        }
    }
    Ok(Catalogue { genome_scores, bytes: catalogue.finish()? + scores.finish()? + tags.finish()? })
}

fn catalogue_row(taste: &Taste, item: u64) -> String {
    let title = words::title(item, taste.hash(Stream::Year, 0, 0));
    // More of the newer ones, as catalogues have.
    let year = 2019 - (taste.uniform(Stream::Year, item, 1).powi(2) * 80.0) as u32;
    let title = format!("{title} ({year})");
    let quoted = if title.contains(',') { format!("\"{title}\"") } else { title };
    format!("{},{quoted},{}\n", item + 1, taste.genres(item).join("|"))
}

/// Relevance of each tag, 0 to 1: the logistic of how far the item goes in the tag's direction.
fn genome_rows(taste: &Taste, item: u64) -> String {
    let mut rows = String::new();
    if taste.popularity(item) < GENOME_POPULARITY_MIN {
        return rows;
    }
    for tag in 0..words::GENOME_TAGS.len() as u64 {
        let along = taste.direction(Stream::Genome, tag, taste.item(item));
        let relevance = 1.0 / (1.0 + (-2.0 * along + 1.5).exp());
        // Writing to a string does not fail.
        let _ = writeln!(rows, "{},{},{relevance:.5}", item + 1, tag + 1);
    }
    rows
}
