//! Conjugate gradients like for like: ours and the package implicit's, three steps each, beside exact rows.
//!
//! All solve the same problem, by the package's convention: a rating's confidence is α times its height, λ is added as it is. The
//! package begins from the factors that ours have after the first iteration, so that both take the same steps. The
//! objective's value after each iteration is computed by one program, in f64, from the factors of each.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_benches::{
    cluster::Cluster,
    machine::median,
    peers::Peers,
    results::{Results, Target},
};

use crate::measures::{Bench, THREADS, solve_seconds};

const ALPHA: &str = "10";
const REGULARIZATION: &str = "0.01";
const ITERATIONS: u32 = 4;

/// Seconds of iterations but the first, and the objective after each iteration.
#[derive(Default)]
struct Course {
    seconds: Vec<f64>,
    objectives: Vec<f64>,
}

impl Bench {
    /// Three steps of conjugate gradients against as many of the package implicit.
    pub(crate) fn conjugate_gradients(&mut self) -> anyhow::Result<()> {
        let Some(peers) = self.peers.clone() else { return Ok(()) };
        let cluster = self.cluster("gradients", 1, THREADS)?;
        cluster.import(&self.files.observed, "observed")?;
        for rank in [64_u32, 128, 256] {
            let contest = Contest { bench: self, cluster: &cluster, peers: &peers, rank: rank.to_string() };
            let (mut ours, mut exact, mut theirs) = (Course::default(), Course::default(), Course::default());
            contest.objectives("cg", &mut ours)?;
            contest.objectives("cholesky", &mut exact)?;
            // In turns: machines drift.
            for run in 0..self.runs {
                ours.seconds.extend(contest.seconds("cg")?);
                exact.seconds.extend(contest.seconds("cholesky")?);
                contest.run_peer(run == 0, &mut theirs)?;
            }
            report(&mut self.results, rank, &ours, &exact, &theirs);
        }
        Ok(())
    }
}

/// The solvers that are compared at one rank.
struct Contest<'a> {
    bench: &'a Bench,
    cluster: &'a Cluster,
    peers: &'a Peers,
    rank: String,
}

impl Contest<'_> {
    fn train(&self, solver: &str, iterations: u32) -> anyhow::Result<Value> {
        let iterations = iterations.to_string();
        let mut flags = vec!["--objective", "implicit", "--preset", "implicit", "--alpha", ALPHA];
        flags.extend(["--implicit-reg", REGULARIZATION, "--rank", &self.rank]);
        flags.extend(["--iterations", &iterations, "--test-ratio", "0", "--solver", solver]);
        if solver == "cg" {
            flags.extend(["--cg-steps", "3"]);
        }
        self.cluster.train("observed", &flags)
    }

    /// Seconds of all iterations but the first.
    fn seconds(&self, solver: &str) -> anyhow::Result<Vec<f64>> {
        Ok(solve_seconds(&self.train(solver, ITERATIONS)?).into_iter().skip(1).collect())
    }

    /// The objective after each iteration: a training of two iterations repeats one of one to the bit.
    fn objectives(&self, solver: &str, course: &mut Course) -> anyhow::Result<()> {
        for iterations in 1..=ITERATIONS {
            let job = self.train(solver, iterations)?;
            let version = job["model_version"].as_str().context("the job names no version")?;
            let folder = self.folder(solver, iterations);
            if folder.exists() {
                std::fs::remove_dir_all(&folder)?;
            }
            self.cluster.json(&["models", "export", version, "--out", &shown(&folder)])?;
            let (file, factors) = (shown(&self.bench.files.observed), shown(&folder.join("ranking")));
            let arguments = [&file, &factors, "--alpha", ALPHA, "--regularization", REGULARIZATION];
            let value = self.peers.run("objective.py", &arguments)?;
            course.objectives.push(value["objective"].as_f64().context("there is no objective")?);
            // The peer begins from the first.
            if solver != "cg" || iterations > 1 {
                std::fs::remove_dir_all(&folder)?;
            }
        }
        Ok(())
    }

    fn folder(&self, solver: &str, iterations: u32) -> PathBuf {
        self.bench.work.join(format!("factors-{solver}-{}-{iterations}", self.rank))
    }

    fn run_peer(&self, measured: bool, course: &mut Course) -> anyhow::Result<()> {
        let (file, start) = (shown(&self.bench.files.observed), shown(&self.folder("cg", 1).join("ranking")));
        let [iterations, threads] = [ITERATIONS - 1, THREADS as u32].map(|number| number.to_string());
        let mut arguments = vec![file.as_str(), "--factors", &self.rank, "--iterations", &iterations];
        arguments.extend(["--threads", &threads, "--alpha", ALPHA, "--regularization", REGULARIZATION]);
        arguments.extend(["--start", &start]);
        let peer = self.peers.run("implicit_als.py", &arguments)?;
        let numbers = |key: &str| -> Vec<f64> {
            peer[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
        };
        course.seconds.extend(numbers("seconds_per_iteration"));
        // They are the same in every run.
        if measured {
            course.objectives = numbers("objectives");
        }
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn report(results: &mut Results, rank: u32, ours: &Course, exact: &Course, theirs: &Course) {
    let detail = json!({
        "alpha": ALPHA, "regularization": REGULARIZATION,
        "shoal_cg3_seconds": ours.seconds, "shoal_cg3_objectives": ours.objectives,
        "shoal_exact_seconds": exact.seconds, "shoal_exact_objectives": exact.objectives,
        "implicit_cg3_seconds": theirs.seconds, "implicit_cg3_objectives": theirs.objectives,
    });
    let ratio = median(theirs.seconds.clone()) / median(ours.seconds.clone());
    let name = format!("implicit iteration, three CG steps, rank {rank}, times implicit's speed");
    results.add(&name, ratio, Target::AtLeast(1.0), detail);
    let last = |course: &Course| course.objectives.last().copied().unwrap_or(f64::NAN);
    let name =
        format!("objective after {ITERATIONS} iterations of three CG steps, rank {rank}, over implicit's");
    results.add(&name, last(ours) / last(theirs), Target::AtMost(1.001), json!({}));
}
