//! The exact top ten of a shard on one core: what each step of the scoring gives, and faiss beside it.
//!
//! ```text
//! cargo bench -p shoal-benches --bench scoring                  # criterion's figures
//! SHOAL_PEERS=$PWD/DIR cargo bench -p shoal-benches --bench scoring   # ... and ratios to faiss, same matrices
//! ```
//!
//! Beside them, lists of a hundred for users in batches, and `gemm` on the same matrices.
//!
//! Two kinds of rows: with norms spread as trained factors' are (log-normal), and with norms as alike as those of
//! normal numbers, which no order by norms can cut short.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on should stop there")]

use std::{hint::black_box, path::Path, sync::atomic::AtomicBool, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shoal_benches::{machine::median, peers::Peers, roofline::Gemm, timing::contest};
use shoal_core::{
    hash::{mix64, unit_interval},
    topk::TopK,
};
use shoal_engine::{
    als::kernel::{
        Kernel,
        pack::{Panels, Rows},
    },
    evaluate::{ItemPanels, ItemRows, LIST_LENGTH, USERS_TOGETHER, offer_items},
    score::{Bounds, FactorRows, Scoring, Screen, Selection, dot, top_n},
};

const RANK: usize = 64;
const TOP: usize = 10;
const BATCH: usize = 64;
/// Spread of the logarithm of norms, as of factors trained on MovieLens 20M.
const SPREAD: f64 = 0.7;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// A standard normal number (Box and Muller 1958).
fn normal(at: u64) -> f64 {
    let (u, v) = (unit_interval(mix64(at)), unit_interval(mix64(!at)));
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn rows(count: usize, spread: f64, seed: u64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count * RANK);
    for row in 0..count as u64 {
        let size = (spread * normal(mix64(seed) ^ row)).exp();
        let first = mix64(seed + 1).wrapping_add(row * RANK as u64);
        values.extend((0..RANK as u64).map(|at| (normal(first.wrapping_add(at)) * size) as f32));
    }
    values
}

/// A matrix, its queries and its bounds.
struct Case {
    name: &'static str,
    values: Vec<f32>,
    queries: Vec<f32>,
    counts: Vec<u32>,
    norms: Screen,
    fastest: Screen,
}

impl Case {
    fn new(name: &'static str, count: usize, spread: f64) -> Self {
        let values = rows(count, spread, 1);
        let counts = vec![1; count];
        let screen = |bounds| Screen::new(&values, RANK, &[], &counts, bounds);
        let (norms, fastest) = (screen(Bounds::Norms), screen(Bounds::Fastest));
        Self { name, queries: rows(512, 0.0, 9), counts, norms, fastest, values }
    }

    fn query(&self, at: usize) -> &[f32] {
        &self.queries[at % 512 * RANK..][..RANK]
    }

    /// The lists of some queries, with a screen's help or without.
    fn lists(&self, queries: std::ops::Range<usize>, screen: Option<&Screen>) -> Vec<Vec<(f32, u32)>> {
        let factors = FactorRows::new(&self.values, RANK);
        let factors = screen.map_or(factors, |screen| factors.screened(screen));
        let selection = |at| Selection {
            scoring: Scoring::Product { factors, query: self.query(at) },
            counts: &self.counts,
            first_row: 0,
            exclude: &[],
            filter: None,
            n: TOP,
            floor: f32::NEG_INFINITY,
        };
        top_n(&queries.map(selection).collect::<Vec<_>>(), &GO_ON).unwrap()
    }

    /// Every score first, then the best of them.
    fn unfused(&self, query: usize) -> Vec<(f32, u32)> {
        let query = self.query(query);
        let scores: Vec<f32> = self.values.chunks_exact(RANK).map(|row| dot(row, query)).collect();
        let mut best = TopK::new(TOP);
        scores.iter().zip(0..).for_each(|(score, row)| best.push(*score, row));
        best.into_sorted()
    }
}

fn cases() -> [Case; 4] {
    [
        Case::new("27k trained-like norms", 27_000, SPREAD),
        Case::new("27k like norms", 27_000, 0.0),
        Case::new("1M trained-like norms", 1_000_000, SPREAD),
        Case::new("1M like norms", 1_000_000, 0.0),
    ]
}

fn scoring(criterion: &mut Criterion) {
    let peers = peers_folder().map(|folder| Peers::open(Path::new(&folder)).unwrap());
    for case in cases() {
        for at in 0..8 {
            let expected = vec![case.unfused(at)];
            assert_eq!(case.lists(at..at + 1, None), expected);
            assert_eq!(case.lists(at..at + 1, Some(&case.norms)), expected);
            assert_eq!(case.lists(at..at + 1, Some(&case.fastest)), expected);
        }
        let mut group = criterion.benchmark_group(case.name);
        group.sample_size(10).warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(2)).throughput(Throughput::Elements(1));
        let mut at = 0;
        let mut next = || {
            at += 1;
            at
        };
        group.bench_function("1 scores, then selection", |b| b.iter(|| black_box(case.unfused(next()))));
        for (name, screen) in [
            ("2 fused", None),
            ("3 fused, by norm", Some(&case.norms)),
            ("4 fused, by norm and bytes", Some(&case.fastest)),
        ] {
            group.bench_function(name, |b| {
                b.iter(|| {
                    let at = next();
                    black_box(case.lists(at..at + 1, screen))
                });
            });
        }
        group.throughput(Throughput::Elements(BATCH as u64));
        for (name, screen) in [("fused", None), ("fused, by norm and bytes", Some(&case.fastest))] {
            group.bench_function(BenchmarkId::new("batch of 64", name), |b| {
                b.iter(|| black_box(case.lists(0..BATCH, screen)));
            });
        }
        group.finish();
        // The shape of MovieLens 20M.
        if case.counts.len() == 27_000 {
            all_users(&case);
        }
        if let Some(peers) = &peers {
            compare(&case, peers);
        }
    }
}

/// The longest lists for many users, without what each has rated, beside a product of the same matrices that keeps
/// nothing: one batch after the other into the same place.
fn all_users(case: &Case) {
    const USERS: usize = 512;
    const LONG: usize = 100;
    const RATED: usize = 144;
    /// As imports have them by default.
    const SHARDS: usize = 16;
    let rows = case.counts.len();
    let rated: Vec<Vec<u32>> = (0..USERS)
        .map(|user| {
            let seed = mix64(user as u64);
            let mut rated: Vec<u32> =
                (0..RATED as u64).map(|at| (mix64(seed ^ at) % rows as u64) as u32).collect();
            rated.sort_unstable();
            rated
        })
        .collect();
    let factors = FactorRows::new(&case.values, RANK).screened(&case.fastest);
    let selection = |user: usize| Selection {
        scoring: Scoring::Product { factors, query: case.query(user) },
        counts: &case.counts,
        first_row: 0,
        exclude: &rated[user],
        filter: None,
        floor: f32::NEG_INFINITY,
        n: LONG,
    };
    let kernel = Kernel::detect();
    let shards: Vec<(usize, ItemPanels)> = (0..rows)
        .step_by(rows.div_ceil(SHARDS))
        .map(|first| {
            let of_shard = first * RANK..(first + rows.div_ceil(SHARDS)).min(rows) * RANK;
            (first, ItemPanels::new(kernel, &case.values[of_shard], RANK, RANK))
        })
        .collect();
    let (mut scores, mut scratch) = (Vec::new(), Panels::default());
    let mut judge = |users: std::ops::Range<usize>| {
        let slots: Vec<u32> = users.clone().map(|user| user as u32).collect();
        let mut tops: Vec<TopK<u32>> = users.clone().map(|_| TopK::new(LIST_LENGTH)).collect();
        for (first, panels) in &shards {
            let queries = Rows::new(&case.queries, RANK, RANK);
            panels.products(kernel, queries, &slots, &mut scores, &mut scratch);
            let train_counts = &case.counts[*first..first + panels.items()];
            let items = ItemRows { first_row: *first as u32, train_counts };
            for ((top, scores), user) in
                tops.iter_mut().zip(scores.chunks_mut(panels.items())).zip(users.clone())
            {
                offer_items(scores, items, &rated[user], top);
            }
        }
        black_box(tops);
    };
    let mut gemm = Gemm::of(rows, RANK, BATCH);
    let times = contest(&mut [
        ("evaluation", &mut || {
            for first in (0..USERS).step_by(USERS_TOGETHER) {
                judge(first..first + USERS_TOGETHER);
            }
        }),
        ("lists", &mut || {
            for first in (0..USERS).step_by(BATCH) {
                let batch: Vec<Selection<'_>> = (first..first + BATCH).map(selection).collect();
                black_box(top_n(&batch, &GO_ON));
            }
        }),
        ("gemm", &mut || (0..USERS / BATCH).for_each(|_| gemm.run())),
    ]);
    let rates: Vec<f64> = times.iter().map(|seconds| USERS as f64 / seconds).collect();
    for (rate, n, by) in [(rates[1], LONG, "with bounds"), (rates[0], LIST_LENGTH, "from every score")] {
        println!(
            "{}, the best {n} for all users, {by}: {rate:.0} users/s, gemm {:.0}: {:.2} × (target ≥ 0.7)",
            case.name,
            rates[2],
            rate / rates[2]
        );
    }
}

#[allow(clippy::disallowed_methods, reason = "the one setting of a benchmark that cargo runs")]
fn peers_folder() -> Option<String> {
    std::env::var("SHOAL_PEERS").ok()
}

/// Queries per second of both, one after the other on the same numbers.
fn compare(case: &Case, peers: &Peers) {
    let folder = std::env::temp_dir().join(format!("shoal-scoring-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let path = folder.join(name).display().to_string();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (rows, queries) = (file("rows.f32", &case.values), file("queries.f32", &case.queries));
    let peer = peers.run("faiss_flat.py", &[&rows, &queries]).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let per_second = |queries: usize, call: &mut dyn FnMut(usize)| {
        let figure = |call: &mut dyn FnMut(usize)| {
            let (started, mut calls) = (std::time::Instant::now(), 0);
            while started.elapsed() < Duration::from_millis(400) {
                call(calls);
                calls += 1;
            }
            (queries * calls) as f64 / started.elapsed().as_secs_f64()
        };
        median((0..5).map(|_| figure(call)).collect())
    };
    let screen = Some(&case.fastest);
    let single = per_second(1, &mut |at| drop(black_box(case.lists(at..at + 1, screen))));
    let batch = per_second(BATCH, &mut |_| drop(black_box(case.lists(0..BATCH, screen))));
    for (name, ours, target) in [("single", single, 1.5), ("batch", batch, 1.0)] {
        let theirs = peer[name].as_f64().unwrap();
        let ratio = ours / theirs;
        println!(
            "{}, {name}: {ours:.0} queries/s, faiss {} {theirs:.0}: {ratio:.2} × (target ≥ {target})",
            case.name, peer["faiss"]
        );
    }
}

criterion_group!(benches, scoring);
criterion_main!(benches);
