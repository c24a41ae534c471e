//! `shoal train`: starts a training and follows it.

mod test_reading;

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};
use shoal_common::{
    readable::{evaluation_json, held_out_json, held_out_lines},
    split,
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    DatasetInfo, JobInfo, ModelVersion, PromoteReply, SplitParameters, StartTrainingRequest,
};

use self::test_reading::TestReading;
use super::{
    blend_choice::{BlendChoice, blended},
    connection::{ClusterArgs, find_dataset, find_version, newest},
    dataset::source_uri,
    failure::{Exit, refusal},
    job_summary::{describe, is_to_be_live},
    model_failures::{ModelFailure, exit_with},
    model_kind::ModelKindParser,
    progress::{Followed, Style, View, follow, succeeded},
    signals::Signals,
};
use crate::{
    client::{ClusterClient, Started, is_over},
    model_parameters::ModelArgs,
    output,
    parameters::AlsArgs,
};

const EXAMPLE: &str = "\
Examples:
  shoal train --dataset ml-latest-small --promote
  shoal train --models als --rank 64 --iterations 20 --objective implicit
  shoal train --models als --rank 256 --objective implicit --solver ials++ --block-size 64
  shoal train --models als --objective explicit --nonnegative
  shoal train --models item_cf,hybrid --force
  shoal train --models item_cf --promote --default
  shoal train --models hybrid --weights als=.6,item_cf=.2,content=.2
  shoal train --models als,item_cf --split temporal --test-ratio 0.1
  shoal train --split strong --held-out-users 10000

A model that was trained before from the same data with the same parameters is not trained again without --force. \
One that fails does not keep the others from being trained; the exit code is 1 then.

Ctrl-C asks whether to cancel the job or only to stop watching it.";

/// Flags of `shoal train`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Name of the data set, or name@version; by default the one imported last
    #[arg(long, alias = "data-set", value_name = "NAME")]
    dataset: Option<String>,
    /// Which models to train
    #[arg(long, value_parser = ModelKindParser, value_delimiter = ',', default_values_t = ModelKind::ALL)]
    models: Vec<ModelKind>,
    /// Make the versions live when they are trained, each of its own model
    #[arg(long)]
    promote: bool,
    /// With --promote: let the model answer queries that name none; the first model with a live version does so
    /// anyhow
    #[arg(long, requires = "promote", conflicts_with = "detach")]
    default: bool,
    /// Train again what was trained alike before
    #[arg(long)]
    force: bool,
    /// Start the job and leave it; for one model
    #[arg(long)]
    detach: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    als: AlsArgs,
    #[command(flatten)]
    test_reading: TestReading,
    #[command(flatten)]
    others: ModelArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What came of one model.
struct Outcome {
    kind: ModelKind,
    version: ModelVersion,
    /// Unset for a version that was there.
    job: Option<JobInfo>,
}

pub(super) async fn run(mut args: Args) -> anyhow::Result<Exit> {
    args.models.sort_unstable();
    args.models.dedup();
    if args.detach && args.models.len() > 1 {
        return Err(refusal(Exit::Usage, "one model at a time can be detached; name it with --models"));
    }
    if args.default && args.models.len() > 1 {
        return Err(refusal(Exit::Usage, "one model answers queries that name none; name it with --models"));
    }
    if let Some(unread) = args.others.unread(&args.models) {
        return Err(refusal(Exit::Usage, unread));
    }
    let test = args.als.test.as_deref().map(source_uri).transpose()?;
    let client = args.cluster.connect()?;
    let mut signals = Signals::install()?;
    let datasets = client.datasets().await?;
    let dataset = match &args.dataset {
        Some(wanted) => find_dataset(&datasets, wanted)?,
        None => newest(datasets.iter()).ok_or_else(|| {
            refusal(Exit::NotFound, "there is no data set yet; `shoal dataset import PATH` reads one")
        })?,
    };
    let guessed = args.als.guessed_preference(dataset).filter(|_| args.models.contains(&ModelKind::Als));
    if let Some(guessed) = guessed.filter(|_| !args.json) {
        output::print(&guessed)?;
    }
    let mut trained = Trained::default();
    for kind in args.models.iter().copied() {
        let step = train_one(kind, &args, test.clone(), dataset, &mut trained, &client, &mut signals).await;
        match step {
            Ok(None) => {}
            Ok(Some(exit)) => return Ok(exit),
            Err(error) if args.models.len() == 1 => return Err(error),
            Err(error) => {
                let failure = ModelFailure::of(kind, error)?;
                output::say(&format!("shoal: {}", failure.line()));
                trained.failures.push(failure);
            }
        }
    }
    report(&trained, args.json)
}

/// What has come of the models so far.
#[derive(Default)]
struct Trained {
    outcomes: Vec<Outcome>,
    failures: Vec<ModelFailure>,
    /// What a hybrid of this run blends.
    choices: Vec<BlendChoice>,
    /// Which answers queries that name none, where versions are made live.
    default_model: Option<String>,
}

/// Trains one model, or finds the version that was trained alike; an exit code where the command is over with that.
async fn train_one(
    kind: ModelKind,
    args: &Args,
    test: Option<String>,
    dataset: &DatasetInfo,
    trained: &mut Trained,
    client: &ClusterClient,
    signals: &mut Signals,
) -> anyhow::Result<Option<Exit>> {
    let request = request(kind, args, test, dataset, trained, client).await?;
    let warning = args.others.ease_warning(dataset).filter(|_| kind == ModelKind::Ease);
    if let Some(warning) = warning {
        output::say(&format!("shoal: {warning}"));
    }
    let started = match args.force {
        true => Started::Job(client.start_training(request).await?),
        false => client.start_or_reuse(request).await?,
    };
    let outcome = match started {
        Started::Existing(name) => {
            if !args.json {
                output::print(&format!("{name} was trained alike before; --force trains it again."))?;
            }
            Outcome { kind, version: version_of(client, &name).await?, job: None }
        }
        Started::Job(job_id) if args.detach => return detached(client, &job_id, args.json).await.map(Some),
        Started::Job(job_id) => {
            match follow_trained(client, &job_id, &title(kind, args), args.json, signals).await? {
                Ended::Trained(job) => {
                    Outcome { kind, version: version_of(client, &job.model_version).await?, job: Some(*job) }
                }
                Ended::Left(exit) => return Ok(Some(exit)),
            }
        }
    };
    if !args.json {
        print_outcome(&outcome)?;
        // All models of a run are measured on the same file.
        if trained.outcomes.is_empty() {
            for line in outcome.version.held_out.as_ref().map(held_out_lines).unwrap_or_default() {
                output::print(&format!("  test file: {line}"))?;
            }
        }
    }
    let name = outcome.version.name.clone();
    // A blend is made of it, live or not.
    trained.outcomes.push(outcome);
    if let Some(default_model) = make_live(client, &name, args).await? {
        trained.default_model = Some(default_model);
    }
    Ok(None)
}

/// What came of a training, for people.
fn print_outcome(Outcome { version, job, .. }: &Outcome) -> anyhow::Result<()> {
    let Some(job) = job else { return Ok(()) };
    output::print(&describe(job))?;
    // Those of a model with sweeps are told with the last of them, but for lists that are longer than after a sweep.
    let is_told = !job.sweeps.is_empty() && !split::is_strong(&split::of_version(version));
    let evaluation = version.evaluation.as_ref().filter(|_| !is_told);
    for line in evaluation.map(output::evaluation_lines).unwrap_or_default() {
        output::print(&format!("  {line}"))?;
    }
    for remark in &version.remarks {
        output::print(&format!("  {remark}"))?;
    }
    Ok(())
}

/// Promotes a version where that was asked for; the model that then answers queries which name none.
async fn make_live(client: &ClusterClient, version: &str, args: &Args) -> anyhow::Result<Option<String>> {
    if !args.promote {
        return Ok(None);
    }
    // The job asks for the same when it is over; what it leaves as the default is settled here.
    Ok(Some(promote(client, version, args.default, args.json).await?.default_model))
}

async fn request(
    kind: ModelKind,
    args: &Args,
    test: Option<String>,
    dataset: &DatasetInfo,
    trained: &mut Trained,
    client: &ClusterClient,
) -> anyhow::Result<StartTrainingRequest> {
    let held_out = args.als.held_out(dataset, test, args.test_reading.source(dataset));
    let held_out = held_out.map_err(|reason| refusal(Exit::Usage, reason))?;
    if kind == ModelKind::Hybrid {
        trained.choices = choices(args, trained, dataset, &held_out, &client.models().await?)?;
        for choice in trained.choices.iter().filter(|_| !args.json) {
            output::print(&choice.line())?;
        }
    }
    let model = match args.others.single(kind, &args.als, dataset, held_out.clone()) {
        Some(parameters) => parameters,
        None => {
            let versions = blended(&trained.choices);
            let hybrid = args.others.hybrid(held_out, versions);
            hybrid.map_err(|unfit| refusal(Exit::Usage, unfit.to_string()))?
        }
    };
    Ok(StartTrainingRequest {
        dataset_name: dataset.name.clone(),
        dataset_version: dataset.version.clone(),
        model: Some(model),
        promote: args.promote,
        ranking_users_max: args.als.ranking_users.0,
        ..StartTrainingRequest::default()
    })
}

/// What a blend is made of: of each model the version of this run, else the newest with the same data and split.
fn choices(
    args: &Args,
    trained: &Trained,
    dataset: &DatasetInfo,
    held_out: &SplitParameters,
    versions: &[ModelVersion],
) -> anyhow::Result<Vec<BlendChoice>> {
    let choose = |kind: ModelKind| {
        if let Some(outcome) = trained.outcomes.iter().find(|outcome| outcome.kind == kind) {
            return Some(BlendChoice::of_run(kind, &outcome.version.name, outcome.job.is_none()));
        }
        let asked = args.others.single(kind, &args.als, dataset, held_out.clone())?;
        let has_failed = trained.failures.iter().any(|failure| failure.model == kind);
        Some(BlendChoice::of_before(kind, versions, dataset, held_out, &asked, has_failed))
    };
    let choices: Vec<BlendChoice> = ModelKind::blended().filter_map(choose).collect();
    if blended(&choices).is_empty() {
        return Err(refusal(Exit::NotFound, ModelFailure::of_blend().reason));
    }
    Ok(choices)
}

async fn version_of(client: &ClusterClient, name: &str) -> anyhow::Result<ModelVersion> {
    Ok(find_version(&client.models().await?, name)?.clone())
}

async fn detached(client: &ClusterClient, job_id: &str, json: bool) -> anyhow::Result<Exit> {
    if json {
        output::print_json(&output::job(&client.job(job_id).await?))?;
    } else {
        output::print(&format!("Job {job_id} trains; follow it with `shoal jobs show {job_id} --follow`."))?;
    }
    Ok(Exit::Done)
}

/// One model's job, or that it was skipped; for several models all of them, and a table for people.
fn report(trained: &Trained, json: bool) -> anyhow::Result<Exit> {
    let Trained { outcomes, failures, choices, default_model } = trained;
    let exit = exit_with(failures);
    if json {
        let failed = failures.iter().map(ModelFailure::json);
        let documents: Vec<Value> =
            outcomes.iter().map(|outcome| outcome_json(outcome, choices)).chain(failed).collect();
        match &documents[..] {
            [only] => output::print_json(only)?,
            _ => output::print_json(&json!({"models": documents, "default_model": default_model}))?,
        }
        return Ok(exit);
    }
    if outcomes.len() + failures.len() > 1 {
        let kept = |outcome: &Outcome| outcome.job.is_none();
        let versions = outcomes.iter().map(|outcome| (&outcome.version, kept(outcome)));
        output::print(&format!("\n{}", output::worth(versions)))?;
        for line in output::remarks(outcomes.iter().map(|outcome| &outcome.version)) {
            output::print(&line)?;
        }
        for failure in failures {
            output::print(&failure.line())?;
        }
    } else if let [Outcome { version, job: None, .. }] = &outcomes[..] {
        for remark in &version.remarks {
            output::print(&format!("  {remark}"))?;
        }
    }
    if let Some(default_model) = default_model {
        let is_only = matches!(&outcomes[..], [only] if only.kind.folder() != default_model);
        let remedy = if is_only { "; `--promote --default` lets this one answer them" } else { "" };
        output::print(&format!("Live. Queries that name no model go to {default_model}{remedy}."))?;
    }
    Ok(exit)
}

fn outcome_json(outcome: &Outcome, choices: &[BlendChoice]) -> Value {
    let mut json = outcome.job.as_ref().map_or_else(|| json!({}), output::job);
    json["model"] = json!(outcome.kind.folder());
    json["model_version"] = json!(outcome.version.name);
    json["skipped"] = json!(outcome.job.is_none());
    json["test_file"] = outcome.version.held_out.as_ref().map_or(Value::Null, held_out_json);
    json["evaluation"] = outcome.version.evaluation.as_ref().map_or(Value::Null, evaluation_json);
    json["remarks"] = json!(outcome.version.remarks);
    if outcome.kind == ModelKind::Hybrid {
        json["blended"] = choices.iter().map(BlendChoice::json).collect();
    }
    json
}

/// What stands before the bar: which model is trained, and which of how many it is.
fn title(kind: ModelKind, args: &Args) -> String {
    let place = args.models.iter().position(|model| *model == kind).map_or(1, |place| place + 1);
    match args.models.len() {
        0 | 1 => format!("train {}", kind.folder()),
        count => format!("train {} ({place} of {count})", kind.folder()),
    }
}

/// How following a training ended.
enum Ended {
    Trained(Box<JobInfo>),
    Left(Exit),
}

/// Follows a job, asking at Ctrl-C what to do with it, and prints what came of it.
pub(super) async fn follow_to_the_end(
    client: &ClusterClient,
    job_id: &str,
    what: &str,
    json: bool,
    signals: &mut Signals,
) -> anyhow::Result<Exit> {
    let job = match follow_trained(client, job_id, what, json, signals).await? {
        Ended::Trained(job) => job,
        Ended::Left(exit) => return Ok(exit),
    };
    if is_to_be_live(&job) {
        // The job is over once the version is made; whoever asked for it to be live asks for it next.
        promote(client, &job.model_version, false, json).await?;
    }
    if json {
        output::print_json(&output::job(&job))?;
    } else {
        output::print(&describe(&job))?;
    }
    Ok(Exit::Done)
}

async fn follow_trained(
    client: &ClusterClient,
    job_id: &str,
    title: &str,
    json: bool,
    signals: &mut Signals,
) -> anyhow::Result<Ended> {
    loop {
        let followed = follow(client, job_id, Style::choose(json), title, signals).await?;
        let Followed::Over(job) = followed else {
            match ask_what_to_do(signals).await {
                Wish::Watch => continue,
                Wish::Leave => {
                    output::say(&format!(
                        "shoal: job {job_id} goes on; `shoal jobs show {job_id} --follow` shows it again"
                    ));
                    return Ok(Ended::Left(Exit::Interrupted));
                }
                Wish::Cancel => return cancel(client, job_id).await.map(Ended::Left),
            }
        };
        return Ok(Ended::Trained(Box::new(succeeded(*job)?)));
    }
}

async fn promote(
    client: &ClusterClient,
    version: &str,
    make_default: bool,
    json: bool,
) -> anyhow::Result<PromoteReply> {
    let view = View::new(Style::choose(json), "promote");
    view.set(0.0, "workers load the version");
    let promoted = client.promote(version, make_default).await;
    drop(view);
    let promoted = promoted?;
    output::say_late_routers(&promoted);
    Ok(promoted)
}

async fn cancel(client: &ClusterClient, job_id: &str) -> anyhow::Result<Exit> {
    let mut job = client.cancel(job_id).await?;
    let mut changes = client.watch(job_id);
    while !is_over(&job) {
        match changes.next().await? {
            Some(changed) => job = changed,
            None => break,
        }
    }
    succeeded(job).map(|_| Exit::Done)
}

enum Wish {
    Cancel,
    Leave,
    Watch,
}

/// Asks at a terminal; elsewhere nobody could answer, and the job goes on.
async fn ask_what_to_do(signals: &mut Signals) -> Wish {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Wish::Leave;
    }
    // A prompt that does not show is answered or not all the same.
    let _ =
        write!(std::io::stderr(), "\nCancel the job [c], only stop watching it [s], or go on watching [w]? ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = tokio::select! {
        biased;
        // Ctrl-C again means: let me go.
        () = signals.received() => return Wish::Leave,
        line = answer => line,
    };
    match line.ok().and_then(Result::ok).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "c" | "cancel" => Wish::Cancel,
        "w" | "watch" => Wish::Watch,
        _ => Wish::Leave,
    }
}
