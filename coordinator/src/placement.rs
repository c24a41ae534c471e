//! Which worker has which shard. Pure and deterministic: the same input gives the same placement.

use std::collections::BTreeMap;

use shoal_proto::v1::{DatasetInfo, Placement, ShardOwner, ShardReplicas, Side};

/// A worker may carry this many times the mean before shards are moved off it.
const OVERLOAD_MAX: f64 = 1.25;

/// The mean may be this many times what a worker carries before shards are moved to it: a new worker takes its
/// share, and what a lost one has left uneven stays where it is.
const UNDERLOAD_MAX: f64 = 1.5;

/// A shard and what it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weighed {
    side: Side,
    shard: u32,
    weight: u64,
}

/// The shards of both sides, heaviest first.
fn weighed(dataset: &DatasetInfo) -> Vec<Weighed> {
    let side = |side, stats: &[shoal_proto::v1::ShardStats]| {
        // A row costs something even without ratings.
        let weigh = |stats: &shoal_proto::v1::ShardStats| Weighed {
            side,
            shard: stats.shard,
            weight: stats.ratings + stats.rows + 1,
        };
        stats.iter().map(weigh).collect::<Vec<_>>()
    };
    let mut shards = side(Side::Users, &dataset.user_shards);
    shards.extend(side(Side::Items, &dataset.item_shards));
    shards.sort_by_key(|shard| (std::cmp::Reverse(shard.weight), shard.side as i32, shard.shard));
    shards
}

/// One owner for each shard of both sides. A half-step is over when the last worker has solved its rows of one side, so
/// each side is balanced by itself: the heaviest shard first, to whoever has least of the side (Graham 1969, longest
/// processing time first). Who then has most of the users gets least of the items. Empty when there is no worker.
#[must_use]
pub fn owners(dataset: &DatasetInfo, workers: &[String]) -> Vec<ShardOwner> {
    if workers.is_empty() {
        return Vec::new();
    }
    let (users, items): (Vec<Weighed>, Vec<Weighed>) =
        weighed(dataset).into_iter().partition(|shard| shard.side == Side::Users);
    let of_workers = portions(users, workers.len()).into_iter().rev().zip(portions(items, workers.len()));
    let mut owners: Vec<ShardOwner> = workers
        .iter()
        .zip(of_workers)
        .flat_map(|(worker, (users, items))| {
            let owner = |shard: Weighed| ShardOwner {
                side: shard.side.into(),
                shard: shard.shard,
                node: worker.clone(),
            };
            users.into_iter().chain(items).map(owner)
        })
        .collect();
    owners.sort_by_key(|owner| (owner.side, owner.shard));
    owners
}

/// Shards, heaviest first, in so many portions of about equal weight: the lightest portion comes first.
fn portions(shards: Vec<Weighed>, count: usize) -> Vec<Vec<Weighed>> {
    let mut portions = vec![(0, Vec::new()); count];
    for shard in shards {
        if let Some((weight, portion)) = portions.iter_mut().min_by_key(|(weight, _)| *weight) {
            *weight += shard.weight;
            portion.push(shard);
        }
    }
    portions.sort_by_key(|(weight, _)| *weight);
    portions.into_iter().map(|(_, portion)| portion).collect()
}

/// One owner for each of `shard_count` shards of both sides whose sizes are not known yet.
#[must_use]
pub fn even_owners(shard_count: u32, workers: &[String]) -> Vec<ShardOwner> {
    let all = [Side::Users, Side::Items]
        .into_iter()
        .flat_map(|side| (0..shard_count).map(move |shard| (side, shard)));
    let owner = |(side, shard): (Side, u32)| {
        let node = workers.get(shard as usize % workers.len().max(1))?;
        Some(ShardOwner { side: side.into(), shard, node: node.clone() })
    };
    all.filter_map(owner).collect()
}

/// The replicas of every shard, `replicas` workers each (or as many as there are). What `current` says
/// stays where it can: replicas on workers that are gone are replaced, and when a worker carries far
/// more than the others some of its shards move.
#[must_use]
pub fn place(
    dataset: &DatasetInfo,
    workers: &[String],
    replicas: u32,
    current: Option<&Placement>,
) -> Placement {
    let replicas = (replicas as usize).min(workers.len());
    let kept: BTreeMap<(i32, u32), &[String]> = current
        .iter()
        .flat_map(|placement| &placement.shards)
        .map(|shard| ((shard.side, shard.shard), shard.nodes.as_slice()))
        .collect();
    let shards = weighed(dataset);
    let mut loads = Loads::new(workers);
    let mut placed: Vec<(Weighed, Vec<String>)> = Vec::new();
    for shard in shards {
        let known = kept.get(&(shard.side.into(), shard.shard)).copied().unwrap_or_default();
        let nodes: Vec<String> =
            known.iter().filter(|node| workers.contains(node)).take(replicas).cloned().collect();
        for node in &nodes {
            loads.add(node, shard.weight);
        }
        placed.push((shard, nodes));
    }
    for (shard, nodes) in &mut placed {
        while nodes.len() < replicas
            && let Some(node) = loads.lightest(nodes)
        {
            loads.add(&node, shard.weight);
            nodes.push(node);
        }
    }
    even_out(&mut placed, &mut loads);
    let mut shards: Vec<ShardReplicas> = placed
        .into_iter()
        .map(|(shard, nodes)| ShardReplicas { side: shard.side.into(), shard: shard.shard, nodes })
        .collect();
    shards.sort_by_key(|shard| (shard.side, shard.shard));
    Placement { dataset_name: dataset.name.clone(), dataset_version: dataset.version.clone(), shards }
}

/// Moves single replicas from the heaviest worker to the lightest while one of them is far from the mean.
fn even_out(placed: &mut [(Weighed, Vec<String>)], loads: &mut Loads) {
    for _ in 0..placed.len() {
        let (Some((heaviest, most)), Some((lightest, least))) =
            (loads.heaviest(), loads.lightest_with_load())
        else {
            return;
        };
        let mean = loads.mean();
        if most as f64 <= mean * OVERLOAD_MAX && mean <= least as f64 * UNDERLOAD_MAX {
            return;
        }
        // The heaviest shard whose move leaves the receiver below the giver.
        let movable = placed.iter_mut().find(|(shard, nodes)| {
            nodes.contains(&heaviest) && !nodes.contains(&lightest) && least + shard.weight < most
        });
        let Some((shard, nodes)) = movable else { return };
        for node in nodes.iter_mut().filter(|node| **node == heaviest) {
            node.clone_from(&lightest);
        }
        loads.add(&lightest, shard.weight);
        loads.remove(&heaviest, shard.weight);
    }
}

/// Ratings carried per worker. Both sides count: a worker solves users and items in turn.
struct Loads {
    by_node: BTreeMap<String, u64>,
    /// Replicas carried, which breaks ties so that small shards spread too.
    shards: BTreeMap<String, usize>,
}

impl Loads {
    fn new(workers: &[String]) -> Self {
        Self {
            by_node: workers.iter().map(|worker| (worker.clone(), 0)).collect(),
            shards: workers.iter().map(|worker| (worker.clone(), 0)).collect(),
        }
    }

    fn add(&mut self, node: &str, weight: u64) {
        *self.by_node.entry(node.to_owned()).or_default() += weight;
        *self.shards.entry(node.to_owned()).or_default() += 1;
    }

    fn remove(&mut self, node: &str, weight: u64) {
        if let Some(load) = self.by_node.get_mut(node) {
            *load = load.saturating_sub(weight);
        }
        if let Some(shards) = self.shards.get_mut(node) {
            *shards = shards.saturating_sub(1);
        }
    }

    fn lightest(&self, without: &[String]) -> Option<String> {
        let free = self.by_node.iter().filter(|(node, _)| !without.contains(node));
        free.min_by_key(|(node, load)| (**load, self.shards.get(*node).copied(), *node))
            .map(|(node, _)| node.clone())
    }

    fn lightest_with_load(&self) -> Option<(String, u64)> {
        let node = self.lightest(&[])?;
        let load = self.by_node[&node];
        Some((node, load))
    }

    fn heaviest(&self) -> Option<(String, u64)> {
        self.by_node
            .iter()
            .max_by_key(|(node, load)| (**load, std::cmp::Reverse(*node)))
            .map(|(node, load)| (node.clone(), *load))
    }

    fn mean(&self) -> f64 {
        self.by_node.values().sum::<u64>() as f64 / self.by_node.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_proto::v1::ShardStats;

    use super::*;

    fn dataset(weights: &[u64]) -> DatasetInfo {
        let stats: Vec<ShardStats> = weights
            .iter()
            .enumerate()
            .map(|(shard, &ratings)| ShardStats { shard: shard as u32, rows: 1, ratings })
            .collect();
        DatasetInfo { user_shards: stats.clone(), item_shards: stats, ..DatasetInfo::default() }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("w{n}")).collect()
    }

    fn load(placement: &Placement, dataset: &DatasetInfo, node: &String) -> u64 {
        let held = placement.shards.iter().filter(|shard| shard.nodes.contains(node));
        held.map(|shard| dataset.user_shards[shard.shard as usize].ratings + 2).sum()
    }

    proptest! {
        #[test]
        fn every_shard_has_distinct_live_replicas(
            weights in prop::collection::vec(0_u64..1_000, 1..20),
            before in 1_usize..6,
            after in 1_usize..6,
            replicas in 1_u32..4,
        ) {
            let dataset = dataset(&weights);
            let first = place(&dataset, &names(before), replicas, None);
            let second = place(&dataset, &names(after), replicas, Some(&first));
            for (placement, workers) in [(&first, before), (&second, after)] {
                prop_assert_eq!(placement.shards.len(), 2 * weights.len());
                for shard in &placement.shards {
                    let mut nodes = shard.nodes.clone();
                    nodes.sort();
                    nodes.dedup();
                    prop_assert_eq!(nodes.len(), (replicas as usize).min(workers));
                    prop_assert!(nodes.iter().all(|node| names(workers).contains(node)));
                }
            }
            prop_assert_eq!(place(&dataset, &names(after), replicas, Some(&first)), second);
        }

        #[test]
        fn a_second_look_moves_nothing(weights in prop::collection::vec(1_u64..1_000, 1..20), workers in 1_usize..6) {
            let dataset = dataset(&weights);
            let first = place(&dataset, &names(workers), 2, None);
            prop_assert_eq!(place(&dataset, &names(workers), 2, Some(&first)), first);
        }

        #[test]
        fn a_lost_worker_moves_only_its_own_shards(weights in prop::collection::vec(90_u64..110, 16)) {
            let dataset = dataset(&weights);
            let before = place(&dataset, &names(4), 2, None);
            let after = place(&dataset, &names(3), 2, Some(&before));
            for (old, new) in before.shards.iter().zip(&after.shards) {
                if !old.nodes.contains(&"w3".to_owned()) {
                    prop_assert_eq!(&old.nodes, &new.nodes);
                }
            }
        }

        #[test]
        fn each_side_is_balanced_among_owners(
            users in prop::collection::vec(900_u64..1_100, 16),
            items in prop::collection::vec(900_u64..1_100, 16),
            workers in 1_usize..9,
        ) {
            let dataset =
                DatasetInfo { item_shards: dataset(&items).item_shards, ..dataset(&users) };
            let owners = owners(&dataset, &names(workers));
            // Each shard of these has one row.
            let held = |side: Side, ratings: &[u64]| -> Vec<u64> {
                let of_side = |node: &String| {
                    let owned = owners.iter().filter(|owner| owner.side() == side && owner.node == *node);
                    owned.map(|owner| ratings[owner.shard as usize] + 2).sum()
                };
                names(workers).iter().map(of_side).collect()
            };
            let (users_held, items_held) = (held(Side::Users, &users), held(Side::Items, &items));
            for (held, ratings) in [(&users_held, &users), (&items_held, &items)] {
                prop_assert_eq!(held.iter().sum::<u64>(), ratings.iter().map(|ratings| ratings + 2).sum::<u64>());
                // The last shard that anybody got went to who had least.
                let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
                prop_assert!(most - least <= 1_102, "{:?}", held);
            }
            prop_assert_eq!(users_held.iter().max(), users_held.first());
            prop_assert_eq!(items_held.iter().min(), items_held.first());
        }
    }

    #[test]
    fn a_new_worker_takes_its_share() {
        let dataset = dataset(&[100; 16]);
        let before = place(&dataset, &names(2), 1, None);
        let after = place(&dataset, &names(3), 1, Some(&before));
        let loads: Vec<u64> = names(3).iter().map(|node| load(&after, &dataset, node)).collect();
        assert!(loads.iter().max().unwrap() < &(2 * loads.iter().min().unwrap()), "{loads:?}");
    }
}
