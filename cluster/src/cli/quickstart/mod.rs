//! `shoal quickstart`: from files to answers in one command.
//!
//! Every stage first looks for what an earlier start in the same folder left: a second start with
//! the same data and parameters only serves.

mod report;
mod stages;

use super::{
    dataset::{readable_source, source_uri},
    failure::Exit,
    local_args::{self, LocalArgs, Running, Start},
    signals::Signals,
};
use shoal_common::split;

use crate::{
    client::ClusterClient,
    model_parameters::{Components, ModelArgs},
    output,
    parameters::AlsArgs,
    recommender::Recommender,
};

use report::Report;
use stages::{Stages, Watch};

const EXAMPLE: &str = "\
Examples:
  shoal quickstart
  shoal quickstart --data ./ml-latest-small
  shoal quickstart --data ./ml-latest-small --exit --json
  shoal quickstart --workers 5 --coordinators 1 --http 127.0.0.1:8080 --dir ./my-cluster

Starts coordinators, workers and a router as processes of their own, imports the data, trains all four models, \
makes them live, prints what was measured and keeps serving until Ctrl-C. ALS answers where no model is named. A second \
start with the same --dir and data serves at once.";

/// Flags of `shoal quickstart`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// MovieLens files, or one ratings file; by default a sample made from --seed
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// Stop once everything is printed
    #[arg(long)]
    exit: bool,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    local: LocalArgs,
    #[command(flatten)]
    als: AlsArgs,
    #[command(flatten)]
    others: ModelArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let data = match &args.data {
        Some(path) => Some(readable_source(path).await?),
        None => None,
    };
    let test = args.als.test.as_deref().map(source_uri).transpose()?;
    let mut signals = args.local.signals()?;
    let mut watch = Watch::new(args.json);
    let started = local_args::start(&args.local.spec(Some(args.als.seed)), &mut signals).await?;
    let Start::Up(running) = started else { return Ok(Exit::Interrupted) };
    watch.done("start", &up_sentence(&running));

    let prepared = tokio::select! {
        biased;
        // Whoever presses Ctrl-C wants everything stopped; what is finished stays in the folder.
        () = signals.received() => None,
        prepared = prepare(&running, data, test, &args, &mut watch) => Some(prepared),
    };
    let outcome = match prepared {
        None => Ok(Exit::Interrupted),
        Some(Err(error)) => Err(error),
        Some(Ok(report)) => serve(&args, &report, &mut signals).await,
    };
    if !args.json {
        eprintln!("shoal: stopping");
    }
    running.stop().await;
    outcome
}

fn up_sentence(running: &Running) -> String {
    let plan = running.plan();
    format!(
        "{} coordinators, {} workers and a router are up in '{}'",
        plan.file.coordinators.len(),
        plan.file.workers.len(),
        plan.dir.display()
    )
}

/// Everything up to the first answer.
async fn prepare(
    running: &Running,
    data: Option<String>,
    test: Option<String>,
    args: &Args,
    watch: &mut Watch,
) -> anyhow::Result<Report> {
    let (file, others) = (&running.plan().file, &args.others);
    let client = ClusterClient::new(shoal_common::rpc::Channels::tcp(), file.coordinator_addresses());
    let http = running.http_url();
    let router = Recommender::new(&http)?;
    let mut stages = Stages { client, router, plan: running.plan(), watch };
    let (uri, name) = match data {
        Some(uri) => {
            let name = super::dataset::dataset_name(&uri);
            (uri, name)
        }
        None => stages.sample(args.als.seed).await?,
    };
    let dataset = stages.dataset(&uri, &name).await?;
    let (parameters, guessed) = (args.als.parameters(&dataset, test), args.als.guessed_preference(&dataset));
    let version = stages.als(&dataset, &parameters).await?;
    stages.promote(&version).await?;
    // The first answers come before the other models are there.
    let answer = stages.answer(&dataset, &version).await?;
    let held_out = split::of_als(&parameters);
    let item_cf = stages.other("item_cf", &dataset, others.item_cf(held_out.clone())).await?;
    let content = stages.other("content", &dataset, others.content(held_out.clone())).await?;
    let components = Components {
        als: version.name.clone(),
        item_cf: item_cf.name.clone(),
        content: content.name.clone(),
    };
    let hybrid = stages.other("hybrid", &dataset, others.hybrid(held_out, &components)).await?;
    let others = [("item_cf", item_cf), ("content", content), ("hybrid", hybrid)];
    // Workers that were started again load one version after the other.
    for (model, version) in &others {
        stages.is_served(model, version, &answer["user_id"]).await?;
    }
    let others = others.map(|(_, version)| version);
    let dir = running.plan().dir.display().to_string();
    Ok(Report { dataset, guessed, version, others, answer, http, dir, seconds: watch.seconds() })
}

async fn serve(args: &Args, report: &Report, signals: &mut Signals) -> anyhow::Result<Exit> {
    if args.json {
        output::print_json(&report.json())?;
    } else {
        output::print(&report.text(!args.exit))?;
    }
    if !args.exit {
        signals.received().await;
    }
    Ok(Exit::Done)
}
