//! Conjugate gradients like for like: ours and the package implicit's, three steps each, beside exact rows.
//!
//! All solve the same problem, by the package's convention: a rating's confidence is α times its height, λ is added as it is. The
//! objective's value after each iteration is computed by one program, in f64, from the factors of each. Each begins with
//! starting factors of its own.

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
            let (mut ours, mut exact, mut theirs) = (Course::default(), Course::default(), Course::default());
            // In turns: machines drift.
            for run in 0..self.runs {
                for iterations in 1..=ITERATIONS {
                    // The objective is the same in every run.
                    if run > 0 && iterations < ITERATIONS {
                        continue;
                    }
                    let is_first = run == 0;
                    self.train(&cluster, &peers, rank, "cg", iterations, is_first, &mut ours)?;
                    self.train(&cluster, &peers, rank, "cholesky", iterations, is_first, &mut exact)?;
                }
                self.run_peer(&peers, rank, run == 0, &mut theirs)?;
            }
            report(&mut self.results, rank, &ours, &exact, &theirs);
        }
        Ok(())
    }

    /// Trains so many iterations. The seconds of all but the first are added to the course, and with `measured` the objective
    /// after the last one.
    #[expect(clippy::too_many_arguments, reason = "what is trained, and where it is noted")]
    fn train(
        &self,
        cluster: &Cluster,
        peers: &Peers,
        rank: u32,
        solver: &str,
        iterations: u32,
        measured: bool,
        course: &mut Course,
    ) -> anyhow::Result<()> {
        let (rank, iterations) = (rank.to_string(), iterations.to_string());
        let mut flags = vec!["--objective", "implicit", "--preset", "implicit", "--alpha", ALPHA];
        flags.extend(["--implicit-reg", REGULARIZATION, "--rank", &rank, "--iterations", &iterations]);
        flags.extend(["--test-ratio", "0", "--solver", solver]);
        if solver == "cg" {
            flags.extend(["--cg-steps", "3"]);
        }
        let job = cluster.train("observed", &flags)?;
        course.seconds.extend(solve_seconds(&job).into_iter().skip(1));
        if !measured {
            return Ok(());
        }
        let version = job["model_version"].as_str().context("the job names no version")?;
        let folder = self.work.join("gradients-factors");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        cluster.json(&["models", "export", version, "--out", &folder.display().to_string()])?;
        let (file, factors) = (self.files.observed.display(), folder.join("ranking"));
        let arguments = [&file.to_string(), &factors.display().to_string(), "--alpha", ALPHA];
        let arguments = [&arguments[..], &["--regularization", REGULARIZATION]].concat();
        let value = peers.run("objective.py", &arguments)?;
        course.objectives.push(value["objective"].as_f64().context("there is no objective")?);
        Ok(std::fs::remove_dir_all(&folder)?)
    }

    fn run_peer(&self, peers: &Peers, rank: u32, measured: bool, course: &mut Course) -> anyhow::Result<()> {
        let file = self.files.observed.display().to_string();
        let [rank, iterations, threads] = [rank, ITERATIONS, THREADS as u32].map(|number| number.to_string());
        let mut arguments = vec![file.as_str(), "--factors", &rank, "--iterations", &iterations];
        arguments.extend(["--threads", &threads, "--alpha", ALPHA, "--regularization", REGULARIZATION]);
        if measured {
            arguments.push("--objective");
        }
        let peer = peers.run("implicit_als.py", &arguments)?;
        let numbers = |key: &str| -> Vec<f64> {
            peer[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
        };
        course.seconds.extend(numbers("seconds_per_iteration"));
        course.objectives.extend(numbers("objectives"));
        Ok(())
    }
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
    results.add(&name, last(ours) / last(theirs), Target::AtMost(1.0), json!({}));
}
