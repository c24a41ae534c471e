//! EASE from a CSV file of `user,item,rating` lines, without a cluster: seconds of each part, and ndcg@20 of a fifth of the
//! pairs, which is held out: `cargo run --release --package shoal-engine --example ease -- ratings.csv 500 200`

use std::{collections::HashMap, time::Instant};

use shoal_core::{hash, topk::TopK};
use shoal_engine::{als::Kernel, ease, evaluate, item_cf, preference::Preference};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, ridge, neighbours] = &arguments[..] else {
        return Err("name a CSV file, λ and weights per item".into());
    };
    let (ridge, neighbours) = (ridge.parse()?, neighbours.parse()?);
    let number = |ids: &mut HashMap<String, u32>, id: &str| {
        let next = ids.len() as u32;
        *ids.entry(id.to_owned()).or_insert(next)
    };
    let (mut users, mut items) = (HashMap::new(), HashMap::new());
    let (mut held_out, mut kept) = (Vec::<Vec<u32>>::new(), Vec::<Vec<(u32, f32)>>::new());
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (user, item) = (number(&mut users, fields[0]), number(&mut items, fields[1]));
        held_out.resize(users.len(), Vec::new());
        kept.resize(users.len(), Vec::new());
        if hash::is_held_out(hash::pair_hash(user.into(), item.into(), 42), 0.2) {
            held_out[user as usize].push(item);
        } else {
            kept[user as usize].push((item, fields[2].parse()?));
        }
    }
    let (least, greatest) =
        kept.iter().flatten().fold((f32::MAX, f32::MIN), |(least, greatest), (_, rating)| {
            (least.min(*rating), greatest.max(*rating))
        });
    let preference = Preference::by_height(least.into(), greatest.into());
    kept.iter_mut().for_each(|list| list.sort_unstable_by_key(|(item, _)| *item));
    held_out.iter_mut().for_each(|list| list.sort_unstable());
    let mut indptr = vec![0];
    kept.iter().for_each(|list| indptr.push(indptr[indptr.len() - 1] + list.len() as u64));
    let (liked, likings): (Vec<u32>, Vec<f32>) =
        kept.iter().flatten().map(|&(item, rating)| (item, preference.of(rating) as f32)).unzip();

    let settings = ease::Settings { ridge, neighbours, items_max: None, memory_max: 16 << 30 };
    let started = Instant::now();
    let users = ease::UserRows { indptr: &indptr, items: &liked, likings: &likings };
    let fitted = ease::fit(users, items.len(), &settings, Kernel::detect())?;
    let (seconds, order) = (started.elapsed().as_secs_f64(), fitted.items.len());
    println!(
        "{order} items in {seconds:.2} s, {:.1} GF/s of the inverse",
        (order as f64).powi(3) / seconds / 1e9
    );

    let index = item_cf::ListIndex::new(&fitted.weights, items.len());
    let (mut ndcg, mut judged) = (0.0, 0);
    for (ends, relevant) in
        indptr.windows(2).zip(&held_out).filter(|(ends, held)| ends[0] < ends[1] && !held.is_empty())
    {
        let range = ends[0] as usize..ends[1] as usize;
        let (liked, mut scores) = (&liked[range.clone()], vec![0.0; items.len()]);
        index.add_scores(liked, &likings[range], &mut scores);
        let mut list = TopK::new(evaluate::LIST_LENGTH);
        for (item, score) in (0..).zip(scores).filter(|(item, _)| liked.binary_search(item).is_err()) {
            list.push(score, item);
        }
        ndcg += evaluate::score_list(list.into_sorted().into_iter().map(|(_, item)| item), relevant).ndcg;
        judged += 1;
    }
    println!("ndcg@20 of {judged} users: {:.4}", ndcg / f64::from(judged));
    Ok(())
}
