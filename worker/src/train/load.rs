//! The first step: the owned blocks, the split, the slots and the starting factors.

use std::sync::Arc;

use shoal_common::store::{LocalCache, Manifest, PartKind, Store, StoreError, part};
use shoal_format::{id_column::IdColumn, tensor_file::TensorFile};
use shoal_proto::v1::{ShardStats, Side, SweepOrder, TrainLoad};

use super::{
    context::TrainContext,
    error::TrainError,
    factor_part::read_rows,
    load_sides::{Sides, SplitChoice, load_sides},
    memory_need::MemoryNeed,
    settings::Settings,
    training_side::{Factors, OwnedShard, TrainingSide},
};

/// What the step makes.
pub(super) struct Loaded {
    pub(super) settings: Settings,
    pub(super) sides: Sides,
    /// The least and the greatest rating of the data set.
    pub(super) scale: [f64; 2],
    pub(super) user_factors: Factors,
    pub(super) item_factors: Factors,
}

pub(super) async fn load(
    context: &TrainContext,
    cache: &LocalCache,
    step: TrainLoad,
) -> Result<Loaded, TrainError> {
    let missing = |what: &str| TrainError::Request(format!("the {what} is missing"));
    let dataset = step.dataset.ok_or_else(|| missing("data set"))?;
    let parameters = step.parameters.ok_or_else(|| missing("parameters"))?;
    let split = step.split.ok_or_else(|| missing("split"))?;
    let settings = Settings::new(&parameters, dataset.users, dataset.items)?.with_seed(split.seed);
    let choice = SplitChoice {
        cuts_path: step.cuts_path,
        validation_ratio: step.validation_ratio,
        user_share: step.user_share,
        for_tags: step.for_tags && dataset.tags > 0,
        ..SplitChoice::of_split(split)
    };
    let sides = load_sides(context, cache, &dataset, choice, &step.owners, step.workers).await?;
    let settings = settings.with_users(u64::from(sides.training_users));
    let (users, items) = (Arc::clone(&sides.users), Arc::clone(&sides.items));
    if let Some(available) = context.memory_bytes {
        let extent = MemoryNeed {
            user_slots: users.table.slots(),
            item_slots: items.table.slots(),
            shards: (users.shards.count() + items.shards.count()) as usize,
            threads: context.job.compute.threads(),
        };
        extent.check(&settings, available)?;
    }
    let (mut user_factors, mut item_factors) = {
        let settings = settings.clone();
        let solved_first =
            if parameters.order() == SweepOrder::ItemsFirst { Side::Items } else { Side::Users };
        let fill = move || {
            let start = |side: &TrainingSide| {
                // What is solved exactly before anybody looks at it needs no values to start from.
                if side.side == solved_first && settings.is_exact() {
                    Factors::zeroed(side.table.slots(), &settings)
                } else {
                    Factors::initial(side, &settings)
                }
            };
            (start(&users), start(&items))
        };
        context.job.compute.run(fill).await?
    };
    if !step.checkpoint_path.is_empty() {
        let manifest = Manifest::read(&context.job.store, &step.checkpoint_path, "").await?;
        for (side, factors) in [(&sides.users, &mut user_factors), (&sides.items, &mut item_factors)] {
            restore(&context.job.store, &step.checkpoint_path, &manifest, &settings, side, factors).await?;
        }
    }
    let scale = [dataset.rating_min, dataset.rating_max];
    Ok(Loaded { settings, sides, scale, user_factors, item_factors })
}

/// Reads a checkpoint's rows of the owned shards.
async fn restore(
    store: &Store,
    checkpoint: &str,
    manifest: &Manifest,
    settings: &Settings,
    side: &TrainingSide,
    factors: &mut Factors,
) -> Result<(), TrainError> {
    for owned in &side.owned {
        let path = part(PartKind::Factors, side.side, owned.shard);
        let bytes = store.get_verified(checkpoint, manifest.entry(&path)?).await?;
        let file = TensorFile::from_bytes(&path, &bytes)?;
        if IdColumn::read(&file)? != owned.ids {
            return Err(
                StoreError::Damaged { path, reason: "its rows are not the data set's".to_owned() }.into()
            );
        }
        for (objective, width) in settings.widths() {
            read_rows(
                &file,
                objective,
                settings.rank,
                width,
                &mut factors.of_mut(objective)[owned.rows.start * width..owned.rows.end * width],
            )?;
        }
    }
    Ok(())
}

impl Loaded {
    /// Rows and training ratings per owned user shard.
    pub(super) fn user_stats(&self) -> Vec<ShardStats> {
        let users = &self.sides.users;
        let stats = |owned: &OwnedShard| ShardStats {
            shard: owned.shard,
            rows: owned.rows.len() as u64,
            ratings: users.indptr[owned.rows.end] - users.indptr[owned.rows.start],
        };
        users.owned.iter().map(stats).collect()
    }

    /// Bytes of factors in memory.
    pub(super) fn factor_bytes(&self) -> u64 {
        (self.user_factors.memory_bytes() + self.item_factors.memory_bytes()) as u64
    }

    /// Bytes of ratings and factors in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        let sides = self.sides.users.memory_bytes() + self.sides.items.memory_bytes();
        sides as u64 + self.factor_bytes()
    }
}
