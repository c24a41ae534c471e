//! One list of many: the k-way merge of the shards' hits under the one total order, score
//! descending, then item id ascending.

use std::cmp::Ordering;

use shoal_common::ids::EntityId;
use shoal_core::topk::better_first;
use shoal_proto::v1::ItemHit;

/// A hit whose id is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Id of the item.
    pub item: EntityId,
    /// What the worker says of it.
    pub hit: ItemHit,
}

/// The best `n` of lists that are each in order.
#[must_use]
pub fn merge(lists: Vec<Vec<ItemHit>>, n: usize) -> Vec<Hit> {
    let with_id = |mut hit: ItemHit| {
        let item = EntityId::try_from(hit.item.take()?).ok()?;
        Some(Hit { item, hit })
    };
    let mut lists: Vec<_> =
        lists.into_iter().map(|list| list.into_iter().filter_map(with_id).peekable()).collect();
    let mut merged = Vec::with_capacity(n);
    while merged.len() < n {
        let heads = lists.iter_mut().enumerate().filter_map(|(at, list)| list.peek().map(|hit| (at, hit)));
        let best = heads.min_by(|(_, a), (_, b)| order(a, b)).map(|(at, _)| at);
        match best.and_then(|at| lists[at].next()) {
            Some(hit) => merged.push(hit),
            None => break,
        }
    }
    merged
}

fn order(a: &Hit, b: &Hit) -> Ordering {
    better_first((a.hit.score, &a.item), (b.hit.score, &b.item))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hit(item: i64, score: f32) -> ItemHit {
        ItemHit { item: Some(EntityId::Integer(item).into()), score, ..ItemHit::default() }
    }

    proptest! {
        #[test]
        fn equals_sorting_everything(
            scores in prop::collection::vec((0_usize..4, -2_i8..3), 0..60),
            n in 0_usize..20,
        ) {
            let mut lists = vec![Vec::new(); 4];
            for (item, &(list, score)) in scores.iter().enumerate() {
                lists[list].push(hit(item as i64, f32::from(score)));
            }
            let key = |hit: &ItemHit| EntityId::try_from(hit.item.clone().unwrap()).unwrap();
            let sort = |list: &mut Vec<ItemHit>| {
                list.sort_by(|a, b| better_first((a.score, &key(a)), (b.score, &key(b))));
            };
            lists.iter_mut().for_each(sort);
            let mut all: Vec<ItemHit> = lists.concat();
            sort(&mut all);
            let expected: Vec<EntityId> = all.iter().take(n).map(key).collect();
            let merged: Vec<EntityId> = merge(lists, n).into_iter().map(|hit| hit.item).collect();
            prop_assert_eq!(merged, expected);
        }
    }
}
