//! What a version's items have in sum: asked for when a query first needs it, and kept for as long as the
//! version is likely to be asked again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use shoal_proto::v1::ShardFacts;

/// Versions whose sums are kept: of each model the live one and the one before.
const KEPT: usize = 8;

/// The sum over all item shards.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CatalogueSums {
    /// Σ q qᵀ of the ranking factors, little-endian f64; empty when the version has none.
    pub(crate) gramian: Bytes,
    /// Time of the newest rating; 0 when none has a time.
    pub(crate) newest_unix_s: i64,
}

impl CatalogueSums {
    /// Adds in shard order, as training does, so that the sum has the same bits.
    pub(crate) fn add(mut shards: Vec<(u32, ShardFacts)>) -> Self {
        shards.sort_by_key(|(shard, _)| *shard);
        let elements = shards.iter().map(|(_, facts)| facts.gramian.len() / 8).max().unwrap_or_default();
        let mut sum = vec![0.0_f64; elements];
        for (_, facts) in &shards {
            let (values, _) = facts.gramian.as_chunks::<8>();
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from_le_bytes(*value));
        }
        Self {
            gramian: sum.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>().into(),
            newest_unix_s: shards.iter().map(|(_, facts)| facts.newest_unix_s).max().unwrap_or_default(),
        }
    }
}

/// A version and its sums.
type Known = (String, Arc<CatalogueSums>);

/// The sums of the versions asked for last. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownSums(Arc<Mutex<Vec<Known>>>);

impl KnownSums {
    pub(crate) fn get(&self, version: &str) -> Option<Arc<CatalogueSums>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(name, _)| name == version).map(|(_, sums)| Arc::clone(sums))
    }

    pub(crate) fn put(&self, version: String, sums: Arc<CatalogueSums>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(name, _)| *name != version);
        known.insert(0, (version, sums));
        known.truncate(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_added_in_their_order() {
        let of = |shard: u32, value: f64, newest_unix_s| {
            let gramian = value.to_le_bytes().to_vec().into();
            (shard, ShardFacts { shard, gramian, newest_unix_s, ..ShardFacts::default() })
        };
        // The sum of these depends on their order.
        let sums = CatalogueSums::add(vec![of(2, -1e16, 5), of(0, 1e16, 9), of(1, 1.0, 7)]);
        assert_eq!(sums.gramian, ((1e16_f64 + 1.0) - 1e16).to_le_bytes().to_vec());
        assert_eq!(sums.newest_unix_s, 9);
    }

    #[test]
    fn the_versions_asked_for_last_are_kept() {
        let known = KnownSums::default();
        for version in ["a", "b", "a"].into_iter().chain(["c", "d", "e", "f", "g", "h", "i"]) {
            known.put(version.to_owned(), Arc::default());
        }
        assert!(known.get("a").is_some() && known.get("i").is_some() && known.get("b").is_none());
    }
}
