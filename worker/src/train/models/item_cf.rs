//! Item CF: similarities from the co-ratings of all workers' users.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::*;
use shoal_common::store::{Manifest, PartKind, join, part};
use shoal_engine::item_cf::{
    BadPairs, CoRaters, Fixed, ItemTotals, Measure, Neighbours, PairAccumulator, PairRow, Settings, UserRows,
    decode_rows,
};
use shoal_format::model_parts::{read_totals, totals_bytes};
use shoal_proto::v1::{
    ItemCfNeighbours, ItemCfParameters, ItemCfPrepare, ItemCfTotals, ObjectEntry, Side, Similarity,
};

use super::{
    attempt::{Making, ModelAttempt, RatedItems},
    pairs::{Asked, PeerPairs, blocks, user_blocks},
};
use crate::train::TrainError;

/// Items whose neighbours are looked for between two reports, where no peer is asked.
const ITEMS_AT_ONCE: usize = 256;

/// What the steps of item CF have made so far.
#[derive(Debug)]
pub(super) struct ItemCfState {
    co_ratings: Arc<CoRatings>,
    /// Of the owned item shards, in their order.
    pub(super) neighbours: Vec<Arc<Neighbours>>,
}

/// Users' ratings laid out for pairs, and what similarities are made by.
#[derive(Debug)]
pub(super) struct CoRatings {
    pub(super) raters: CoRaters,
    /// The first of their users are the own ones.
    pub(super) own_users: usize,
    users: Users,
    settings: Settings,
    /// Accumulators that nobody is using: each is as large as the catalogue.
    free: Mutex<Vec<PairAccumulator>>,
}

/// Whose ratings are laid out on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Users {
    /// Those of its own users: peers are asked for sums over pairs with theirs.
    Own,
    /// Those of its own users until those of all others are there.
    ToBeGathered,
    /// Those of everybody.
    All,
}

impl CoRatings {
    /// Lends an accumulator, which has to be empty again afterwards.
    pub(super) fn with_accumulator<T>(&self, work: impl FnOnce(&mut PairAccumulator) -> T) -> T {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut accumulator =
            free.unwrap_or_else(|| PairAccumulator::new(self.raters.items(), self.raters.width()));
        let result = work(&mut accumulator);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(accumulator);
        result
    }

    /// The neighbours of a block's items. `peers` has the rows of each peer, one per item, as bytes.
    fn neighbours(
        &self,
        block: Range<u32>,
        peers: &[Vec<u8>],
        totals: &ItemTotals,
    ) -> Result<Vec<Vec<(f32, u32)>>, BadPairs> {
        let (width, items) = (self.raters.width(), self.raters.items());
        let decode = |bytes: &Vec<u8>| decode_rows(bytes, block.len(), width, items);
        let rows: Vec<Vec<PairRow>> = peers.par_iter().map(decode).collect::<Result<_, _>>()?;
        let of_item = |item: u32| {
            self.with_accumulator(|pairs| {
                pairs.add_users(&self.raters, item);
                rows.iter().for_each(|rows| pairs.add_row(&rows[(item - block.start) as usize]));
                pairs.take_neighbours(item, totals, &self.settings)
            })
        };
        Ok(block.clone().into_par_iter().map(of_item).collect())
    }
}

fn settings(parameters: &ItemCfParameters, seed: u64) -> Result<Settings, TrainError> {
    let measure = match parameters.similarity() {
        Similarity::Cosine => Measure::Cosine,
        Similarity::AdjustedCosine => Measure::AdjustedCosine,
        Similarity::Pearson => Measure::Pearson,
        Similarity::Jaccard => Measure::Jaccard,
        Similarity::Unspecified => return Err(TrainError::Request("the similarity is missing".to_owned())),
    };
    Ok(Settings {
        measure,
        common_users_min: parameters.common_users_min,
        shrinkage: parameters.shrinkage,
        neighbours_max: parameters.neighbours as usize,
        user_ratings_max: parameters.user_ratings_max as usize,
        seed,
    })
}

impl ModelAttempt {
    /// Lays the own users' ratings out for summing over pairs.
    ///
    /// # Errors
    /// When the parameters make no sense.
    pub async fn prepare_pairs(self: &Arc<Self>, step: ItemCfPrepare) -> Result<(), TrainError> {
        let parameters = step.parameters.unwrap_or_default();
        let settings = settings(&parameters, step.seed)?;
        let attempt = Arc::clone(self);
        let users = if step.gathered { Users::ToBeGathered } else { Users::Own };
        let co_ratings = self.context.job.compute.run(move || attempt.lay_out(settings, users)).await?;
        let made = ItemCfState { co_ratings: Arc::new(co_ratings), neighbours: Vec::new() };
        self.update(|state| state.making = Making::ItemCf(made));
        Ok(())
    }

    /// Looks at what the steps have made, or changes it.
    fn item_cf<T>(&self, with: impl FnOnce(&mut ItemCfState) -> T) -> Result<T, TrainError> {
        self.update(|state| match &mut state.making {
            Making::ItemCf(made) => Ok(with(made)),
            _ => Err(TrainError::OutOfTurn("the ratings are not laid out for pairs yet")),
        })
    }

    pub(super) fn co_ratings(&self) -> Result<Arc<CoRatings>, TrainError> {
        self.item_cf(|made| Arc::clone(&made.co_ratings))
    }

    fn lay_out(&self, settings: Settings, users: Users) -> CoRatings {
        let own_users = self.users.table.own_rows();
        let rating_rows = self.users.rating_rows();
        let mut items = Vec::with_capacity(rating_rows.slots.len());
        let mut rated = RatedItems::default();
        for row in 0..own_users {
            self.trained_on(row, &mut rated);
            items.extend_from_slice(&rated.items);
        }
        let hashes: Vec<u64> = (0..own_users).map(|row| self.user_hash(row)).collect();
        let rows = UserRows {
            indptr: rating_rows.indptr,
            items: &items,
            ratings: rating_rows.ratings,
            hashes: &hashes,
        };
        let (least, greatest) = (self.dataset.rating_min, self.dataset.rating_max);
        let fixed = Fixed::new(settings.measure, least, greatest, self.training_users);
        let raters = CoRaters::new(rows, self.item_rows(), fixed, &settings);
        CoRatings { raters, own_users, users, settings, free: Mutex::default() }
    }

    /// Takes the ratings of the peers' users too, where that is to be.
    async fn gather(self: &Arc<Self>) -> Result<Arc<CoRatings>, TrainError> {
        let co_ratings = self.co_ratings()?;
        if co_ratings.users != Users::ToBeGathered {
            return Ok(co_ratings);
        }
        let users_of = |worker| {
            let shards = self.users.shards.owned_by(worker);
            shards.map(|shard| self.users.shards.shard_rows(shard).len()).sum::<usize>()
        };
        let pulling =
            PeerPairs::open(self, Asked::UserRatings).await?.streams().into_iter().map(|mut peer| {
                let users = users_of(peer.worker);
                async move {
                    let mut pulled = Vec::new();
                    for block in user_blocks(users) {
                        pulled.push((block.len(), peer.next_block().await?));
                    }
                    Ok::<_, TrainError>(pulled)
                }
            });
        let others = futures::future::try_join_all(pulling).await?.concat();
        let shards = self.items.owned.iter().map(|owned| self.items.shards.shard_rows(owned.shard));
        let items: Vec<Range<u32>> = shards.collect();
        let gathering = self.context.job.compute.run(move || {
            let raters = co_ratings.raters.gathered(&others, &items)?;
            let (own_users, settings) = (co_ratings.own_users, co_ratings.settings);
            Ok::<_, BadPairs>(CoRatings {
                raters,
                own_users,
                users: Users::All,
                settings,
                free: Mutex::default(),
            })
        });
        let gathered = Arc::new(gathering.await??);
        self.item_cf(|made| made.co_ratings = Arc::clone(&gathered))?;
        Ok(gathered)
    }

    /// Adds up the totals of the owned items over all workers' users, and writes them. Before that the ratings of all users
    /// are gathered, where they are to be.
    ///
    /// # Errors
    /// When a peer cannot be asked or the store cannot be written.
    pub async fn write_totals(self: &Arc<Self>, step: ItemCfTotals) -> Result<Vec<ObjectEntry>, TrainError> {
        let co_ratings = self.gather().await?;
        let mut entries = Vec::new();
        for owned in &self.items.owned {
            let rows = self.items.shards.shard_rows(owned.shard);
            let mut totals = co_ratings.raters.totals(rows.start as usize..rows.end as usize);
            if co_ratings.users == Users::Own {
                let mut peers = PeerPairs::open(self, Asked::Totals(owned.shard)).await?;
                for bytes in peers.next_block().await? {
                    totals.merge_bytes(&bytes)?;
                }
            }
            let name = part(PartKind::Totals, Side::Items, owned.shard);
            let bytes = totals_bytes(&name, &totals.0)?;
            let entry = self.context.job.store.put(&join(&step.path, &name), bytes).await?;
            entries.push(ObjectEntry { path: name, ..entry });
        }
        Ok(entries)
    }

    /// Finds the neighbours of the owned items. `on_rows` is told how many more items are done.
    ///
    /// # Errors
    /// When a part cannot be read, or a peer cannot be asked.
    pub async fn find_item_cf_neighbours(
        self: &Arc<Self>,
        step: ItemCfNeighbours,
        on_rows: impl Fn(u64),
    ) -> Result<(), TrainError> {
        let totals = Arc::new(self.read_totals(&step.totals_path).await?);
        let co_ratings = self.co_ratings()?;
        let mut found = Vec::with_capacity(self.items.owned.len());
        for owned in &self.items.owned {
            let rows = self.items.shards.shard_rows(owned.shard);
            if co_ratings.users == Users::All {
                found.push(Arc::new(neighbours_of_all(self, &co_ratings, rows, &totals, &on_rows).await?));
                continue;
            }
            let mut peers = PeerPairs::open(self, Asked::Pairs(owned.shard)).await?;
            let mut neighbours = Neighbours::default();
            let blocks = blocks(rows, co_ratings.raters.items(), co_ratings.raters.width());
            // A shard without items has no block, and nobody sends one.
            let mut next = if blocks.is_empty() { Vec::new() } else { peers.next_block().await? };
            for (number, block) in blocks.iter().enumerate() {
                let (co_ratings, totals, block) =
                    (Arc::clone(&co_ratings), Arc::clone(&totals), block.clone());
                let peer_rows = std::mem::take(&mut next);
                let computing =
                    self.context.job.compute.run(move || co_ratings.neighbours(block, &peer_rows, &totals));
                // The peers' next block arrives while this one is looked at.
                let is_last = number + 1 == blocks.len();
                let fetching = async { if is_last { Ok(Vec::new()) } else { peers.next_block().await } };
                let (lists, fetched) = tokio::join!(computing, fetching);
                next = fetched?;
                let lists = lists??;
                on_rows(lists.len() as u64);
                lists.iter().for_each(|list| neighbours.push(list));
            }
            found.push(Arc::new(neighbours));
        }
        self.item_cf(|made| made.neighbours = found)
    }

    async fn read_totals(&self, path: &str) -> Result<ItemTotals, TrainError> {
        let manifest = Manifest::read(&self.context.job.store, path, "").await?;
        let mut totals = ItemTotals::default();
        for shard in 0..self.items.shards.count() {
            let entry = manifest.entry(&part(PartKind::Totals, Side::Items, shard))?;
            let file = self.read_part(path, entry).await?;
            read_totals(&file, self.items.shards.shard_rows(shard).len(), &mut totals)?;
        }
        Ok(totals)
    }
}

/// The neighbours of a shard's items, where the ratings of all users are here.
async fn neighbours_of_all(
    attempt: &ModelAttempt,
    co_ratings: &Arc<CoRatings>,
    rows: Range<u32>,
    totals: &Arc<ItemTotals>,
    on_rows: impl Fn(u64),
) -> Result<Neighbours, TrainError> {
    let mut neighbours = Neighbours::default();
    for begin in rows.clone().step_by(ITEMS_AT_ONCE) {
        let (co_ratings, totals) = (Arc::clone(co_ratings), Arc::clone(totals));
        let block = begin..rows.end.min(begin.saturating_add(ITEMS_AT_ONCE as u32));
        let computing = attempt.context.job.compute.run(move || co_ratings.neighbours(block, &[], &totals));
        let lists = computing.await??;
        on_rows(lists.len() as u64);
        lists.iter().for_each(|list| neighbours.push(list));
    }
    Ok(neighbours)
}
