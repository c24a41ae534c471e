//! `shoal quickstart`: from files to answers in one command.
//!
//! Every stage first looks for what an earlier start in the same folder left: a second start with
//! the same data and parameters only serves.

mod report;
mod stages;

use super::{
    connection::channels,
    dataset::{readable_source, source_uri},
    failure::{Exit, refusal},
    local_args::{self, LocalArgs, Running, Start},
    model_failures::{ModelFailure, exit_with},
    signals::Signals,
};
use serde_json::Value;
use shoal_common::model_parameters::blended_version;
use shoal_core::ModelKind;
use shoal_proto::v1::{BlendedVersion, DatasetInfo, ModelParameters, ModelVersion, SplitParameters};

use crate::{
    client::ClusterClient, model_parameters::ModelArgs, output, parameters::AlsArgs, recommender::Recommender,
};

use report::{Models, Report};
use stages::{Stages, Watch};

const EXAMPLE: &str = "\
Examples:
  shoal quickstart
  shoal quickstart --data ./ml-latest-small
  shoal quickstart --data ./ml-latest-small --exit --json
  shoal quickstart --workers 5 --coordinators 1 --http 127.0.0.1:8080 --dir ./my-cluster

Starts coordinators, workers and a router as processes of their own, imports the data, trains all five models, \
makes them live, prints what was measured and keeps serving until Ctrl-C. ALS answers where no model is named. A model \
that fails does not keep the others from being trained; the exit code is 1 then. A second start with the same --dir and \
data serves at once.";

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
        Some(path) => Some(readable_source(path, args.local.store_options()?).await?),
        None => None,
    };
    let test = args.als.test.as_deref().map(source_uri).transpose()?;
    let mut signals = args.local.signals()?;
    let mut watch = Watch::new(args.json);
    let started = local_args::start(&args.local.spec(Some(args.als.seed))?, &mut signals).await?;
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
        output::say("shoal: stopping");
    }
    running.stop().await;
    outcome
}

fn up_sentence(running: &Running) -> String {
    let plan = running.plan();
    format!(
        "{}, {} and a router are up in '{}'",
        output::counted(plan.file.coordinators.len() as u64, "coordinator"),
        output::counted(plan.file.workers.len() as u64, "worker"),
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
    let file = &running.plan().file;
    let certs = running.plan().settings.certs();
    let token = running.plan().admin_token()?;
    let client = ClusterClient::new(channels(certs.as_deref())?, file.coordinator_addresses());
    let client = client.with_token(token.as_ref());
    let http = running.http_url();
    let router = Recommender::new(&http, certs.as_deref(), token.as_ref())?;
    let ranking_users_max = args.als.ranking_users.0;
    let mut stages = Stages { client, router, plan: running.plan(), watch, ranking_users_max };
    let (uri, name) = match data {
        Some(uri) => {
            let name = super::dataset::dataset_name(&uri);
            (uri, name)
        }
        None => stages.sample(args.als.seed).await?,
    };
    let dataset = stages.dataset(&uri, &name).await?;
    let guessed = args.als.guessed_preference(&dataset);
    let held_out = args.als.held_out(&dataset, test, None);
    let held_out = held_out.map_err(|reason| refusal(Exit::Usage, reason))?;
    let als = args.als.model(&dataset, held_out.clone());
    let models = models(&mut stages, &dataset, als, held_out, args).await?;
    let dir = running.plan().dir.display().to_string();
    let curl = running.plan().curl();
    Ok(Report { dataset, guessed, models, http, curl, dir, seconds: watch.seconds() })
}

/// Every model that can be trained, live, with an answer of ALS.
async fn models(
    stages: &mut Stages<'_>,
    dataset: &DatasetInfo,
    als: ModelParameters,
    held_out: SplitParameters,
    args: &Args,
) -> anyhow::Result<Models> {
    let mut models = Models::default();
    // The first answers come before the other models are there.
    match first_answer(stages, dataset, als).await {
        Ok((version, answer)) => (models.answer, models.versions) = (answer, vec![(ModelKind::Als, version)]),
        Err(error) => models.failures.push(ModelFailure::of(ModelKind::Als, error)?),
    }
    for kind in ModelKind::ALL.into_iter().filter(|kind| *kind != ModelKind::Als) {
        if let Some(single) = args.others.single(kind, &args.als, dataset, held_out.clone()) {
            let version = stages.other(kind, dataset, single).await;
            models.keep(kind, version)?;
        }
    }
    let versions = models.versions.iter().map(|(kind, version)| blended_version(*kind, version.name.clone()));
    let versions: Vec<BlendedVersion> = versions.collect();
    if versions.is_empty() {
        models.failures.push(ModelFailure::of_blend());
    } else {
        let without = models.failures.iter().map(|failure| failure.model.name()).collect::<Vec<_>>();
        if !without.is_empty() {
            stages.watch.say(&format!("The hybrid blends no {}, which failed", without.join(" and no ")));
        }
        let hybrid = args.others.hybrid(held_out, versions);
        let hybrid = hybrid.map_err(|unfit| refusal(Exit::Usage, unfit.to_string()))?;
        models.keep(ModelKind::Hybrid, stages.other(ModelKind::Hybrid, dataset, hybrid).await)?;
    }
    if models.versions.is_empty() {
        let lines: Vec<String> = models.failures.iter().map(ModelFailure::line).collect();
        return Err(refusal(Exit::Failed, format!("no model could be trained. {}", lines.join(". "))));
    }
    if !models.answer.is_null() {
        // Workers that were started again load one version after the other.
        for (model, version) in models.versions.iter().filter(|(model, _)| *model != ModelKind::Als) {
            stages.is_served(model.name(), version, &models.answer["user_id"]).await?;
        }
    }
    Ok(models)
}

/// The live ALS version, and its answer for one user.
async fn first_answer(
    stages: &mut Stages<'_>,
    dataset: &DatasetInfo,
    als: ModelParameters,
) -> anyhow::Result<(ModelVersion, Value)> {
    let version = stages.als(dataset, als).await?;
    stages.promote(&version).await?;
    let answer = stages.answer(dataset, &version).await?;
    Ok((version, answer))
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
    Ok(exit_with(&report.models.failures))
}
