//! Factors and recall@20 from a CSV file of `user,item,rating` lines, without a cluster. A fifth of the pairs is held
//! out: `cargo run --release --package shoal-engine --example fit -- ratings.csv`

use std::collections::{BTreeMap, HashMap};

use shoal_core::{hash, topk::TopK};
use shoal_engine::{als, evaluate, score};

const RANK: usize = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name a CSV file of user,item,rating lines with a header")?;
    let number = |ids: &mut HashMap<String, u32>, id: &str| {
        let next = ids.len() as u32;
        *ids.entry(id.to_owned()).or_insert(next)
    };
    let (mut users, mut items) = (HashMap::new(), HashMap::new());
    let (mut held_out, mut kept) = (BTreeMap::<u32, Vec<u32>>::new(), Vec::new());
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (user, item) = (number(&mut users, fields[0]), number(&mut items, fields[1]));
        if hash::is_held_out(hash::pair_hash(user.into(), item.into(), 42), 0.2) {
            held_out.entry(user).or_default().push(item);
        } else {
            kept.push((user, item, fields[2].parse()?));
        }
    }
    let by_user = als::RatingMatrix::new(users.len(), kept.clone());
    let by_item = als::RatingMatrix::new(items.len(), kept.into_iter().map(|(u, i, r)| (i, u, r)).collect());
    let stream = als::init::Stream { seed: 42, users: false, ranking: true };
    let mut of_items = als::init::rows(stream, RANK, (0..items.len()).map(|item| hash::mix64(item as u64)));
    let mut of_users = vec![0.0; users.len() * RANK];
    for _ in 0..8 {
        half_step(&by_user, &of_items, &mut of_users)?;
        half_step(&by_item, &of_users, &mut of_items)?;
    }
    let mut recall = 0.0;
    for (&user, relevant) in &mut held_out {
        let seen = by_user.rows().row(user as usize).slots;
        let query = &of_users[user as usize * RANK..][..RANK];
        let mut list = TopK::new(evaluate::LIST_LENGTH);
        for (item, row) in (0_u32..).zip(of_items.chunks(RANK)).filter(|(item, _)| !seen.contains(item)) {
            list.push(score::dot(query, row), item);
        }
        relevant.sort_unstable();
        recall += evaluate::score_list(list.into_sorted().into_iter().map(|(_, item)| item), relevant).recall;
    }
    println!("recall@20 of {} users: {:.4}", held_out.len(), recall / held_out.len() as f64);
    Ok(())
}

/// Solves every row of one side from the other side's factors.
fn half_step(ratings: &als::RatingMatrix, fixed: &[f32], solved: &mut [f32]) -> Result<(), als::RowError> {
    let (kernel, rows) = (als::Kernel::detect(), ratings.rows());
    let settings = als::implicit::Settings::ials(RANK, 0.007, 0.3, (fixed.len() / RANK) as u64);
    let gramian = als::gramian::shard_gramian(kernel, fixed, RANK);
    let fit = als::Fit::Implicit { settings: &settings, fixed, gramian: &gramian };
    als::HalfStep::new(kernel, fit, als::Solver::Cholesky, rows).solve(0..rows.len(), solved)
}
