//! `shoal simulate`: traffic as users would make it, measured and checked.

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_common::clock::{Clock as _, SystemClock};
use tokio::{sync::Mutex, time::Instant};

use super::{
    connection::TargetArgs,
    dataset::source_uri,
    failure::{Exit, refusal},
    progress::{Style, View},
    signals::Signals,
};
use crate::{
    output::{self, Align, Table},
    recommender::{Api, Recommender},
    simulate::{
        arrivals::{Arrivals, Spacing},
        client::Client,
        logs::Logs,
        plan::{Asked, Cast, Endpoint, Mix, Plan},
        report,
        run::{Simulated, Simulation, run as run_simulation},
        sources::{self, Users},
        summary::{Configuration, Summary},
        tally::Tally,
        users::{Popularity, Population},
    },
};

const ABOUT: &str = "\
Examples:
  shoal simulate
  shoal simulate --rate 300 --duration 60 --report out.html
  shoal simulate --url http://shoal.example:8000 --data ./ml-latest-small --mix recommend=1
  shoal simulate --api v1 --param categories=Comedy
  shoal simulate --param model=hybrid --param use_cache=false --json

Requests are due at times drawn beforehand, and a latency counts from then to the answer, also where a request \
had to wait for others. Answers are checked: n items, none twice, none that the user has rated, scores that descend, one version.

Known users are those of the cluster's live version. With --url alone they are the ids from 1 to 1,000 that the \
service says it knows; lists can be checked for rated items only with --cluster and --store, or with --data.

Exit codes: 0 when every objective is met, 1 when one is missed, 4 when the service cannot be asked, 130 when \
interrupted; the files are written in each case but the third.";

/// Times between lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Times between changes of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Flags of `shoal simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct Args {
    /// Requests per second
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    rate: f64,
    /// Seconds during which requests are due
    #[arg(long, default_value_t = 30.0, value_parser = positive)]
    duration: f64,
    /// Seconds after which an answer is given up
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    timeout: f64,
    /// Requests under way at a time, at most
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: u16,
    /// What is drawn follows from it
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// How requests are spread over the time
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: ArrivalsChoice,
    /// The face of the service that is asked
    #[arg(long, value_enum, default_value_t = Api::Recommendations)]
    api: Api,
    /// Weights of the endpoints
    #[arg(long, default_value = "recommend=80,similar=10,predict=10")]
    mix: Mix,
    /// Items per list
    #[arg(short, long, default_value_t = 10)]
    n: u32,
    /// A further parameter of every recommend request, such as use_cache=false
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::connection::key_value)]
    param: Vec<(String, String)>,
    /// Share of the recommend requests that are for users nobody knows
    #[arg(long, default_value_t = 0.2, value_parser = ratio)]
    unknown: f64,
    /// How often each known user asks
    #[arg(long, value_enum, default_value = "zipf")]
    popularity: PopularityChoice,
    /// The k-th most active user asks as 1 / k^EXPONENT
    #[arg(long, default_value_t = 1.0, value_name = "EXPONENT", value_parser = positive)]
    zipf_exponent: f64,
    /// Known users from a file of ids, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    users: Option<PathBuf>,
    /// Known users, and what they have rated, from MovieLens files or one ratings file
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// Folder for the two result files
    #[arg(long, value_name = "DIR", default_value = "logs")]
    logs: PathBuf,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ArrivalsChoice {
    /// As independent people would come
    Poisson,
    /// At equal distances
    Constant,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PopularityChoice {
    /// A few users ask often, most seldom
    Zipf,
    /// All alike
    Uniform,
}

fn positive(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "it must be a number above 0".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let signals = Arc::new(Mutex::new(Signals::install()?));
    let service = args.target.router()?.by(args.api);
    check_health(&service).await?;
    let cast = Arc::new(args.cast(&service).await?);
    let start_unix_ms = SystemClock.now_unix_ms();
    let simulation = args.simulation(&service, &cast, start_unix_ms)?;
    let about = args.about(&cast);
    let lines_path = simulation.logs.lines_path().display().to_string();
    let show = args.progress(&simulation);
    let interrupted = || {
        let signals = Arc::clone(&signals);
        async move { signals.lock().await.received().await }
    };
    let Simulated { tally, logs, whole } = run_simulation(simulation, interrupted, show).await?;
    let configuration = Configuration {
        rate: args.rate,
        duration: args.duration,
        api_base_url: service.base().as_str().trim_end_matches('/').to_owned(),
    };
    let summary = Summary::new(configuration, start_unix_ms, whole, &tally);
    let summary_path = logs.summary_path().display().to_string();
    logs.finish(&summary)?;
    let mut files = vec![lines_path, summary_path];
    if let Some(path) = &args.report {
        std::fs::write(path, report::page(&summary, &tally, &about))
            .with_context(|| format!("cannot write the report '{}'", path.display()))?;
        files.push(path.display().to_string());
    }
    if args.json {
        output::print_json(&json_of(&summary, &tally, &files)?)?;
    } else {
        output::print(&text_of(&summary, &tally, &files))?;
    }
    Ok(match summary.objectives().iter().all(|objective| objective.met) {
        _ if !whole => Exit::Interrupted,
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// Whether there is a point in asking.
async fn check_health(service: &Recommender) -> anyhow::Result<()> {
    let health = service.health().await?;
    if health["model_loaded"] == false || health["status"] == "no_model" {
        let message =
            format!("no model is live at {}; `shoal train --promote` makes one that is", service.base());
        return Err(refusal(Exit::Unavailable, message));
    }
    if health["status"] == "degraded" {
        output::say("shoal: the service is degraded: some shards cannot be asked for");
    }
    Ok(())
}

impl Args {
    async fn cast(&self, service: &Recommender) -> anyhow::Result<Cast> {
        let (users, largest) = self.known_users(service).await?;
        let needs_items = self.mix.share(Endpoint::Recommend) < 1.0;
        let items = if needs_items { sources::listed_items(service, &users).await? } else { Vec::new() };
        let popularity = match self.popularity {
            PopularityChoice::Uniform => Popularity::Uniform,
            PopularityChoice::Zipf => Popularity::Zipf { exponent: self.zipf_exponent },
        };
        let population = Population::new(users, largest, popularity);
        Ok(Cast { population, items, unknown_ratio: self.unknown, mix: self.mix })
    }

    async fn known_users(&self, service: &Recommender) -> anyhow::Result<Users> {
        if let Some(path) = &self.users {
            return Ok(sources::from_file(path, self.seed)?);
        }
        if let Some(path) = &self.data {
            return Ok(sources::from_data(&source_uri(path)?, self.seed).await?);
        }
        if let Some((client, store)) = self.target.cluster()? {
            let live = client.live_version().await?;
            let (version, dataset) =
                live.ok_or_else(|| refusal(Exit::Unavailable, "no version is live in the cluster"))?;
            return Ok(sources::from_store(&store, &version, &dataset, self.seed).await?);
        }
        Ok(sources::from_service(service, self.seed).await?)
    }

    fn simulation(
        &self,
        service: &Recommender,
        cast: &Arc<Cast>,
        start_unix_ms: i64,
    ) -> anyhow::Result<Simulation> {
        let spacing = match self.arrivals {
            ArrivalsChoice::Poisson => Spacing::Poisson,
            ArrivalsChoice::Constant => Spacing::Constant,
        };
        let duration = Duration::try_from_secs_f64(self.duration).context("--duration is too long")?;
        let timeout = Duration::try_from_secs_f64(self.timeout).context("--timeout is too long")?;
        let arrivals = Arrivals::new(spacing, self.rate, duration, self.seed);
        let asked = Arc::new(Asked { api: self.api, n: self.n, parameters: self.param.clone() });
        let concurrency = usize::from(self.concurrency);
        let client =
            Client::new(service.clone(), Arc::clone(&asked), Arc::clone(cast), timeout, concurrency)?;
        Ok(Simulation {
            plan: Plan::new(arrivals, Arc::clone(cast), self.seed),
            duration,
            client,
            asked,
            concurrency,
            logs: Logs::create(&self.logs, start_unix_ms)?,
        })
    }

    /// What is asked, in a line.
    fn about(&self, cast: &Cast) -> String {
        format!(
            "{} requests/s, {}, n = {}, {} known users, {} % unknown, seed {}",
            self.rate,
            self.mix,
            self.n,
            output::count(cast.population.users().len() as u64),
            self.unknown * 100.0,
            self.seed
        )
    }

    /// Shows how far the simulation is.
    fn progress(&self, simulation: &Simulation) -> impl FnMut(&Tally) + Send + use<> {
        let view = View::new(Style::choose(self.json), "simulate");
        let every = if std::io::stderr().is_terminal() { BAR_EVERY } else { LINE_EVERY };
        let planned = simulation.plan.in_all();
        let mut told = Instant::now();
        move |tally| {
            if told.elapsed() < every {
                return;
            }
            told = Instant::now();
            let line = format!(
                "{} of {} answered, {} failed, p50 {:.1} ms, p99 {:.1} ms",
                output::count(tally.total()),
                output::count(planned),
                output::count(tally.failed()),
                tally.latencies.quantile(0.5) * 1e3,
                tally.latencies.quantile(0.99) * 1e3
            );
            if every == LINE_EVERY {
                view.say(&line);
            }
            view.set(tally.total() as f64 / planned as f64, &line);
        }
    }
}

fn json_of(summary: &Summary, tally: &Tally, files: &[String]) -> anyhow::Result<Value> {
    let mut json = serde_json::to_value(summary)?;
    json["objectives"] = serde_json::to_value(summary.objectives())?;
    json["answers"] = json!({
        "sources": tally.sources,
        "versions": tally.versions,
        "statuses": tally.statuses,
        "incomplete": tally.incomplete,
    });
    json["files"] = json!(files);
    Ok(json)
}

fn text_of(summary: &Summary, tally: &Tally, files: &[String]) -> String {
    let (requests, latency) = (&summary.requests, &summary.latency);
    let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
    let mut text = format!(
        "{} requests in {}, {} of them failed; {:.1} per second\n\
         latency  min {}  p50 {}  p95 {}  p99 {}  max {}  (from when each was due)\n",
        output::count(requests.total),
        output::seconds(summary.execution.actual_duration),
        output::count(requests.failed),
        requests.actual_rate,
        ms(latency.min),
        ms(latency.p50),
        ms(latency.p95),
        ms(latency.p99),
        ms(latency.max),
    );
    for (title, counts) in
        [("sources", &tally.sources), ("versions", &tally.versions), ("failures", &summary.errors)]
    {
        let parts: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {}", output::count(*count))).collect();
        if !parts.is_empty() {
            text.push_str(&format!("{title:<8} {}\n", parts.join(", ")));
        }
    }
    if tally.incomplete > 0 {
        text.push_str(&format!("{} answers lacked shards\n", output::count(tally.incomplete)));
    }
    let mut table = Table::new(&[("OBJECTIVE", Align::Left), ("FIGURE", Align::Right), ("", Align::Left)]);
    for objective in summary.objectives() {
        let verdict = if objective.met { "met" } else { "MISSED" };
        table.row([
            objective.name.to_owned(),
            format!("{:.2} {}", objective.value, objective.unit),
            verdict.to_owned(),
        ]);
    }
    text.push_str(&format!("\n{table}\nWritten: {}", files.join(", ")));
    text
}
