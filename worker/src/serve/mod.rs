//! Loaded versions and the best n of a shard.
//!
//! [`Loader`] brings one shard from the store into memory and checks it; [`LoadedModels`] is the
//! set that queries read; [`difference`] says what a worker should hold. Scoring is
//! [`shoal_engine::score`].
//!
//! Who owns what: the node's reconciler is the only one that changes [`LoadedModels`]; shards are
//! immutable once loaded and live as long as a query holds them.
//!
//! Caveats: a shard's factors are mapped, so their first pass after a restart reads the disk (the
//! check at loading is that pass); titles, genres, popularity and what bounds scores are kept on the heap.

mod best;
mod blend_scores;
mod blended;
mod catalogue;
mod descriptions;
mod error;
mod factor_bounds;
mod factors;
mod filter;
mod item_model;
mod item_shard;
mod joined;
mod likeness_data;
mod loader;
mod neighbours;
mod numbers;
mod placement_diff;
mod predicted;
mod profiles;
mod query;
mod query_error;
mod rated_items;
mod ratings;
mod score;
mod source;
mod table_scores;
mod titles;
mod top_items;
mod user_shard;
mod version;
mod weak_cache;

pub use best::{BestOfShards, Found};
pub use descriptions::Descriptions;
pub use error::LoadError;
pub use factors::{FactorPart, FactorShape};
pub use filter::{ItemFilter, RowFilter};
pub use item_shard::{ItemShard, ItemVectors};
pub use joined::JoinedItems;
pub use likeness_data::Representation;
pub use loader::Loader;
pub(crate) use numbers::{copy, elements};
pub use placement_diff::{Difference, difference};
pub(crate) use query::rated_items;
pub use query::{ItemQuery, check_shards};
pub use query_error::{N_MAX, QueryError};
pub use rated_items::RatedItems;
pub use score::Score;
pub use source::VersionSource;
pub use titles::Matches;
pub use top_items::Hit;
pub use user_shard::{UserShard, UserVectors};
pub use version::{LoadedModels, LoadedShard, LoadedVersion, ShardKey};

pub use crate::train::{
    FoldInError,
    fold_in::{FoldIn, Folded, Rated},
};
