//! Where things are in the store.

use shoal_proto::v1::Side;

/// The folder of a data set's version: `datasets/<name>/<version>`.
#[must_use]
pub fn dataset_path(name: &str, version: &str) -> String {
    format!("datasets/{name}/{version}")
}

/// The folder of a model's version: `models/<model>/<version name>`.
#[must_use]
pub fn model_path(model: &str, version: &str) -> String {
    format!("models/{model}/{version}")
}

/// `lists/<job>`: batch lists for which no other folder was named.
#[must_use]
pub fn lists_path(job: &str) -> String {
    format!("lists/{job}")
}

/// `checkpoints/<job>/<attempt>-<sweep>`: attempts never share a folder, so objects stay immutable.
#[must_use]
pub fn checkpoint_path(job: &str, attempt: u32, sweep: u32) -> String {
    format!("checkpoints/{job}/{attempt:03}-{sweep:05}")
}

/// `staging/<job>/<attempt>`: what one attempt of an import writes before its data set exists.
#[must_use]
pub fn staging_path(job: &str, attempt: u32) -> String {
    format!("staging/{job}/{attempt:03}")
}

/// A data set's rating block: `users/part-00003.safetensors`. What models keep of a shard has the same name in a
/// folder that says what it is, as `user_factors`, `item_biases` or `item_neighbours`.
#[must_use]
pub fn part(kind: PartKind, side: Side, shard: u32) -> String {
    let side = if side == Side::Items { "item" } else { "user" };
    let folder = match kind {
        PartKind::Ratings => format!("{side}s"),
        PartKind::Factors => format!("{side}_factors"),
        PartKind::Biases => format!("{side}_biases"),
        PartKind::Totals => format!("{side}_totals"),
        PartKind::Neighbours => format!("{side}_neighbours"),
        PartKind::Vectors => format!("{side}_vectors"),
        PartKind::Candidates => format!("{side}_candidates"),
        PartKind::Cuts => format!("{side}_cuts"),
    };
    format!("{folder}/part-{shard:05}.safetensors")
}

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A CSR block of ratings.
    Ratings,
    /// Rows of factors of users or items.
    Factors,
    /// Biases and numbers of training ratings.
    Biases,
    /// What the similarities of items need of each.
    Totals,
    /// The most similar items of each.
    Neighbours,
    /// Vectors of the items' features.
    Vectors,
    /// The items that weights of a blend are learned on.
    Candidates,
    /// Where the held-out ratings of each begin.
    Cuts,
}

/// A shard's id list in an import's staging folder: `ids/items-00003.safetensors`.
#[must_use]
pub fn ids_part(side: Side, shard: u32) -> String {
    let name = if side == Side::Items { "items" } else { "users" };
    format!("ids/{name}-{shard:05}.safetensors")
}

/// Titles, years and genres of one item shard: `catalogue/part-00003.parquet`.
#[must_use]
pub fn catalogue_part(shard: u32) -> String {
    format!("catalogue/part-{shard:05}.parquet")
}

/// How many of an item shard's items have which feature: `census/part-00003.json`.
#[must_use]
pub fn census_part(shard: u32) -> String {
    format!("census/part-{shard:05}.json")
}

/// User tags on one item shard's items: `tags/part-00003.parquet`.
#[must_use]
pub fn tags_part(shard: u32) -> String {
    format!("tags/part-{shard:05}.parquet")
}

/// The tags of the genome, by number: `genome/tags.parquet`.
#[must_use]
pub fn genome_tags_part() -> String {
    "genome/tags.parquet".to_owned()
}

/// The tag genome of one item shard's items: `genome/part-00003.safetensors`.
#[must_use]
pub fn genome_part(shard: u32) -> String {
    format!("genome/part-{shard:05}.safetensors")
}
