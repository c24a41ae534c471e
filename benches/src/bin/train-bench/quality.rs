//! What each solver reaches per second of training, at a rank where an exact row is dear.

use serde_json::json;
use shoal_benches::curves::{Curve, Curves, Spacing};

use crate::measures::{Bench, THREADS, of_sweeps, solve_seconds};

const RANK: &str = "256";
/// Users whose lists are measured after each sweep.
const USERS: &str = "10000";

/// A solver's name, its flags and how many sweeps it gets: those that cost less get more.
type Contestant = (&'static str, &'static [&'static str], u32);

const SOLVERS: [Contestant; 4] = [
    ("exact", &["--solver", "cholesky"], 5),
    ("conjugate gradients, 3 steps", &["--solver", "cg", "--cg-steps", "3"], 8),
    ("iALS++, blocks of 64", &["--solver", "ials++", "--block-size", "64"], 8),
    ("iALS++, blocks of 128", &["--solver", "ials++", "--block-size", "128"], 8),
];

/// ndcg@20 of held-out ratings after each sweep, beside the seconds spent in half-steps by then.
pub(crate) fn curves(bench: &Bench) -> anyhow::Result<Curves> {
    let cluster = bench.cluster("quality", 1, THREADS)?;
    cluster.import(&bench.files.observed, "observed")?;
    let mut curves = Vec::new();
    for (name, solver, sweeps) in SOLVERS {
        // The last sweep is measured on every user, which is another quality: it is left out.
        let iterations = (sweeps + 1).to_string();
        let mut flags =
            vec!["--objective", "implicit", "--rank", RANK, "--test-ratio", "0.1", "--ranking-users", USERS];
        flags.extend(["--iterations", &iterations]);
        flags.extend(solver);
        let job = cluster.train("observed", &flags)?;
        let ndcg = of_sweeps(&job, |sweep| sweep["ranking"]["ndcg_at_20"].as_f64());
        let ends = solve_seconds(&job).into_iter().scan(0.0, |spent, seconds| {
            *spent += seconds;
            Some(*spent)
        });
        let points: Vec<(f64, f64)> = ends.zip(ndcg).take(sweeps as usize).collect();
        println!("{name}");
        for (seconds, ndcg) in &points {
            println!("  {seconds:8.2} s  ndcg@20 {ndcg:.4}");
        }
        curves.push(Curve { name: name.to_owned(), points });
    }
    Ok(Curves {
        title: format!("ndcg@20 over seconds of training, implicit, rank {RANK}"),
        along: "seconds of training",
        spacing: Spacing::Linear,
        about: json!({
            "ratings": bench.spec.ratings, "users": bench.spec.users, "items": bench.spec.items,
            "test_ratio": 0.1, "users_measured": USERS, "threads": THREADS,
        }),
        curves,
    })
}
