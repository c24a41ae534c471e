//! The owned blocks of both sides, cut into what is trained on and what is held out.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;
use shoal_common::store::{LocalCache, Manifest, Store};
use shoal_core::hash::mix64;
use shoal_engine::evaluate::{LIST_LENGTH, STRONG_LIST_LENGTH};
use shoal_proto::v1::{
    DatasetInfo, DatasetSource, HeldOutReport, ShardOwner, ShardRatingSum, Side, SplitParameters, WorkerPeer,
};

use super::{
    context::TrainContext,
    dataset_blocks::{DatasetBlocks, position_of, side_shards},
    error::TrainError,
    held_out_file::{Given, test_source},
    known_tags::KnownTags,
    split::{HeldOutUsers, Split, Test, Validation},
    split_times::SplitTimes,
    training_ratings::{Blocks, PairSplit},
    training_side::{OwnedShard, TrainingSide},
};
use crate::exchange::routing::{SideShards, SlotTable};

/// How pairs are split.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SplitChoice {
    /// Share held out, 0 for none.
    pub(super) test_ratio: f64,
    /// A held-out file instead; empty for none.
    pub(super) test_uri: String,
    /// How that file is read; as the data set's own files were where nothing is said.
    pub(super) test_source: Option<DatasetSource>,
    pub(super) seed: u64,
    /// The folder of all users' cuts, where the newest ratings are held out; else empty.
    pub(super) cuts_path: String,
    /// Above 0: this share of the users is held out entirely, and of their ratings the share `test_ratio` is measured on.
    pub(super) held_out_user_share: f64,
    /// Above 0: of the training pairs this share is held out instead, and the test pairs are in neither part.
    pub(super) validation_ratio: f64,
    /// With that, the share of the users whose pairs take part; 0 for all.
    pub(super) user_share: f64,
    /// Whether the tags that may be known have to be told from the others.
    pub(super) for_tags: bool,
}

impl SplitChoice {
    /// What a split says; the rest is left open.
    pub(super) fn of_split(split: SplitParameters) -> Self {
        // The cuts of a split by time come by a path of their own.
        let SplitParameters { test_ratio, test_uri, seed, temporal: _, test_source, held_out_user_share } =
            split;
        Self { test_ratio, test_uri, test_source, seed, held_out_user_share, ..Self::default() }
    }

    /// How long the lists are that are judged at the end.
    pub(super) fn list_length(&self) -> usize {
        if self.held_out_user_share > 0.0 { STRONG_LIST_LENGTH } else { LIST_LENGTH }
    }

    /// Whether any pair may be kept out of training.
    pub(super) fn holds_out(&self) -> bool {
        self.test_ratio > 0.0
            || self.validation_ratio > 0.0
            || !self.test_uri.is_empty()
            || !self.cuts_path.is_empty()
    }
}

/// The ratings of both sides' owned shards, shared by all who work with them.
#[derive(Debug, Clone)]
pub struct Sides {
    /// What they were cut out of.
    pub(super) origin: Origin,
    /// Objects of the data set.
    pub(super) manifest: Manifest,
    pub(super) peers: Vec<WorkerPeer>,
    /// This worker's place among the peers.
    pub(super) me: usize,
    pub(super) users: Arc<TrainingSide>,
    pub(super) items: Arc<TrainingSide>,
    /// Training ratings per owned user shard: how many, and their sum in row order.
    pub(super) rating_sums: Vec<ShardRatingSum>,
    /// Users of the data set who are not held out.
    pub(super) training_users: u32,
    /// Unset where every tag may be known, or nobody asks.
    pub(super) known_tags: Option<Arc<KnownTags>>,
    /// What became of the held-out file, where one is measured on: the pairs are those of the owned users.
    pub(super) held_out: Option<HeldOutReport>,
}

/// Of which data and shards ratings are, and how they were cut: alike, they are the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Origin {
    pub(super) dataset_path: String,
    pub(super) manifest_checksum: String,
    pub(super) choice: SplitChoice,
    pub(super) owners: Vec<ShardOwner>,
    pub(super) workers: Vec<WorkerPeer>,
}

/// Loads the blocks of the shards that are owned here, and cuts them.
pub(super) async fn load_sides(
    context: &TrainContext,
    cache: &LocalCache,
    dataset: &DatasetInfo,
    choice: SplitChoice,
    owners: &[ShardOwner],
    workers: Vec<WorkerPeer>,
) -> Result<Sides, TrainError> {
    let me = position_of(context, &workers)?;
    let source = DatasetBlocks::open(context, cache, dataset).await?;
    let shards_of = |side| side_shards(dataset, side, owners, &workers);
    let shards = [shards_of(Side::Users)?, shards_of(Side::Items)?];
    let split = split(&context.job.store, &choice, &shards[0]).await?;
    let loading = async {
        let [users, items] = shards.clone();
        Ok([source.blocks(Side::Users, users, me).await?, source.blocks(Side::Items, items, me).await?])
    };
    let finding = async {
        match choice.test_uri.as_str() {
            "" => Ok(None),
            uri => {
                let test = test_source(uri, choice.test_source.as_ref(), dataset);
                source.given(&shards, &test, me).await.map(Some)
            }
        }
    };
    // Neither needs the other: where one waits for a disk there is the other to compute.
    let (blocks, given) = futures::try_join!(loading, finding)?;
    let hashes = if split.needs_hashes() {
        [source.id_hashes(Side::Users).await?, source.id_hashes(Side::Items).await?]
    } else {
        [Vec::new(), Vec::new()]
    };
    let training_users = match split.held_out_users() {
        // Rows of a side are counted in a u32.
        Some(users) => hashes[0].iter().filter(|hash| !users.has(**hash)).count() as u32,
        None => shards[0].rows(),
    };
    let (folder, count) = (context.job.folder.clone(), workers.len());
    let for_tags = choice.for_tags && choice.holds_out();
    let user_ids = if for_tags { Some(source.ids(Side::Users).await?) } else { None };
    let cutting = context.job.compute.run(move || {
        let places = Places { folder: &folder, workers: count, me, keeps_untrained: for_tags };
        let (users, items, pairs_in_dataset) = cut(blocks, hashes, &split, given.as_ref(), &places)?;
        let rating_sums = rating_sums(&users);
        let is_measured = split.validation.is_none();
        let report = given.as_ref().filter(|_| is_measured).map(|given| given.report.clone());
        let held_out = report.map(|report| HeldOutReport { pairs_in_dataset, ..report });
        let known_tags = user_ids.map(|ids| {
            let user_of_slot = users.global_rows(count);
            KnownTags::new(&users.shards, ids, user_of_slot, split.test, given.map(|given| given.items))
        });
        Ok::<_, TrainError>((users, items, rating_sums, known_tags.map(Arc::new), held_out))
    });
    let (users, items, rating_sums, known_tags, held_out) = cutting.await??;
    let (users, items) = (Arc::new(users), Arc::new(items));
    let origin = Origin {
        dataset_path: dataset.path.clone(),
        manifest_checksum: dataset.manifest_checksum.clone(),
        choice,
        owners: owners.to_vec(),
        workers: workers.clone(),
    };
    let manifest = source.manifest;
    Ok(Sides {
        origin,
        manifest,
        peers: workers,
        me,
        users,
        items,
        rating_sums,
        training_users,
        known_tags,
        held_out,
    })
}

/// What the choice makes of every pair. `users` are the shards of all users.
async fn split(store: &Store, choice: &SplitChoice, users: &SideShards) -> Result<Split, TrainError> {
    // Pairs that the test holds out must not be those that validation does: another seed.
    let validation = (choice.validation_ratio > 0.0).then(|| Validation {
        ratio: choice.validation_ratio,
        seed: mix64(choice.seed),
        user_share: if choice.user_share > 0.0 { choice.user_share } else { 1.0 },
    });
    let test = if !choice.cuts_path.is_empty() {
        Test::Newest(SplitTimes::read(store, &choice.cuts_path, users, choice.seed).await?)
    } else if choice.held_out_user_share > 0.0 {
        let SplitChoice { held_out_user_share: share, test_ratio: ratio, seed, .. } = *choice;
        Test::OfUsers(HeldOutUsers { share, ratio, seed })
    } else if choice.test_uri.is_empty() {
        Test::Ratio { ratio: choice.test_ratio, seed: choice.seed }
    } else {
        Test::Given
    };
    Ok(Split { test, validation })
}

/// Where what is cut goes.
struct Places<'a> {
    folder: &'a Path,
    /// How many workers there are, and this one's place among them.
    workers: usize,
    me: usize,
    /// Whether the users are kept whose ratings of an item are not trained on.
    keeps_untrained: bool,
}

/// Slots and training ratings of both sides, and how many pairs of a held-out file the own users' blocks have. The
/// blocks are let go of.
fn cut(
    [users, items]: [Blocks; 2],
    [user_hashes, item_hashes]: [Vec<u64>; 2],
    split: &Split,
    given: Option<&Given>,
    &Places { folder, workers, me, keeps_untrained }: &Places<'_>,
) -> Result<(TrainingSide, TrainingSide, u64), TrainError> {
    let of_users = PairSplit {
        split,
        other_hashes: item_hashes,
        given: given.map(|given| &given.users),
        keeps_untrained: false,
    };
    let of_items = PairSplit {
        split,
        other_hashes: user_hashes,
        given: given.map(|given| &given.items),
        keeps_untrained,
    };
    let mut user_counts = users.count(&of_users, u64::from(items.shards.rows()));
    let in_blocks = user_counts.held_indptr.last().copied().unwrap_or_default();
    // Where validation is measured on, the test pairs are not.
    let measured = given.filter(|_| split.validation.is_none());
    if let Some(given) = measured {
        // Among them are pairs that the data set does not have.
        user_counts.held_indptr.clone_from(&given.users.indptr);
    }
    let item_counts = items.count(&of_items, u64::from(users.shards.rows()));
    let (item_table, item_slots) = SlotTable::build(&items.shards, workers, me, user_counts.needed.iter());
    let (user_table, user_slots) = SlotTable::build(&users.shards, workers, me, item_counts.needed.iter());
    let path = |name: &str| folder.join(format!("training-{name}.safetensors"));
    let user_file =
        users.write(&path("users"), &of_users, &user_counts, measured, |row| item_slots.slot(row))?;
    let item_file = items.write(&path("items"), &of_items, &item_counts, None, |row| user_slots.slot(row))?;
    Ok((
        TrainingSide::new(users, user_table, user_counts, user_file),
        TrainingSide::new(items, item_table, item_counts, item_file),
        in_blocks,
    ))
}

fn rating_sums(users: &TrainingSide) -> Vec<ShardRatingSum> {
    let ratings = users.file.ratings();
    let sum_of = |owned: &OwnedShard| {
        let range = users.indptr[owned.rows.start] as usize..users.indptr[owned.rows.end] as usize;
        let sum = ratings[range.clone()].iter().map(|&rating| f64::from(rating)).sum();
        ShardRatingSum { shard: owned.shard, ratings: range.len() as u64, sum }
    };
    users.owned.par_iter().map(sum_of).collect()
}

impl Sides {
    /// Held-out pairs of the owned users.
    pub(super) fn held_out_pairs(&self) -> u64 {
        self.users.held_indptr.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::split::Fate, *};

    #[tokio::test]
    async fn validation_holds_out_as_much_where_its_share_is_that_of_the_test() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let users = SideShards::new([1], vec![0]).unwrap();
        let test = SplitChoice { test_ratio: 0.2, seed: 7, ..SplitChoice::default() };
        let nested = SplitChoice { validation_ratio: 0.2, ..test.clone() };
        let (test, nested) =
            (split(&store, &test, &users).await.unwrap(), split(&store, &nested, &users).await.unwrap());
        let hashes = |pair: u64| (mix64(pair), mix64(pair ^ 0x5bd1_e995));
        let fates = (0..10_000_u64)
            .map(hashes)
            .map(|(user, item)| (test.fate(user, item, false), nested.fate(user, item, false)));
        let held_out = fates.filter(|fates| *fates == (Fate::Trained, Fate::HeldOut)).count();
        // A fifth of four fifths.
        assert!((1_450..1_750).contains(&held_out), "{held_out}");
    }
}
