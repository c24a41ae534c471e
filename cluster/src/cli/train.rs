//! `shoal train`: starts a training and follows it.

use std::io::{IsTerminal as _, Write as _};

use shoal_proto::v1::{JobInfo, StartTrainingRequest};

use super::{
    connection::{ClusterArgs, find_dataset, newest},
    dataset::source_uri,
    failure::{Exit, refusal},
    progress::{Followed, Style, View, follow, succeeded},
    signals::Signals,
};
use crate::{
    client::{ClusterClient, is_over},
    output,
    parameters::AlsArgs,
};

const EXAMPLE: &str = "\
Examples:
  shoal train --data-set ml-latest-small --promote
  shoal train --data-set ml-20m --rank 64 --iterations 20 --objective implicit
  shoal train --rank 256 --objective implicit --solver ials++ --block-size 64
  shoal train --objective explicit --nonnegative
  shoal train --test ./held-out.csv --json

Ctrl-C asks whether to cancel the job or only to stop watching it.";

/// Flags of `shoal train`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Name of the data set, or name@version; by default the one imported last
    #[arg(long, alias = "dataset", value_name = "NAME")]
    data_set: Option<String>,
    /// Which models to train
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',', default_value = "als")]
    models: Vec<Model>,
    #[command(flatten)]
    als: AlsArgs,
    /// Make the version the live one when it is trained
    #[arg(long)]
    promote: bool,
    /// Start the job and leave it
    #[arg(long)]
    detach: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Model {
    /// Matrix factorisation by alternating least squares
    Als,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let test = args.als.test.as_deref().map(source_uri).transpose()?;
    let client = args.cluster.connect()?;
    let mut signals = Signals::install()?;
    let datasets = client.datasets().await?;
    let dataset = match &args.data_set {
        Some(wanted) => find_dataset(&datasets, wanted)?,
        None => newest(datasets.iter()).ok_or_else(|| {
            refusal(Exit::NotFound, "there is no data set yet; `shoal dataset import PATH` reads one")
        })?,
    };
    let request = StartTrainingRequest {
        dataset_name: dataset.name.clone(),
        dataset_version: dataset.version.clone(),
        parameters: Some(args.als.parameters(test)),
        promote: args.promote,
        ..StartTrainingRequest::default()
    };
    let job_id = client.start_training(request).await?;
    if args.detach {
        let job = client.job(&job_id).await?;
        if args.json {
            output::print_json(&output::job(&job))?;
        } else {
            output::print(&format!(
                "Job {job_id} trains; follow it with `shoal jobs show {job_id} --follow`."
            ))?;
        }
        return Ok(Exit::Done);
    }
    follow_to_the_end(&client, &job_id, args.json, &mut signals).await
}

/// Follows a job, asking at Ctrl-C what to do with it, and prints what came of it.
pub(super) async fn follow_to_the_end(
    client: &ClusterClient,
    job_id: &str,
    json: bool,
    signals: &mut Signals,
) -> anyhow::Result<Exit> {
    loop {
        let followed = follow(client, job_id, Style::choose(json), "train", signals).await?;
        let Followed::Over(job) = followed else {
            match ask_what_to_do(signals).await {
                Wish::Watch => continue,
                Wish::Leave => {
                    eprintln!(
                        "shoal: job {job_id} goes on; `shoal jobs show {job_id} --follow` shows it again"
                    );
                    return Ok(Exit::Interrupted);
                }
                Wish::Cancel => return cancel(client, job_id).await,
            }
        };
        let job = succeeded(*job)?;
        if is_to_be_live(&job) {
            // The job is over once the version is made; whoever asked for it to be live asks for it next.
            let view = View::new(Style::choose(json), "promote");
            view.set(0.0, "workers load the version");
            let promoted = client.promote(&job.model_version, false).await;
            drop(view);
            promoted?;
        }
        if json {
            output::print_json(&output::job(&job))?;
        } else {
            output::print(&describe(&job))?;
        }
        return Ok(Exit::Done);
    }
}

fn is_to_be_live(job: &JobInfo) -> bool {
    job.training.as_ref().is_some_and(|training| training.promote)
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
    eprint!("\nCancel the job [c], only stop watching it [s], or go on watching [w]? ");
    // A prompt that does not show is answered or not all the same.
    let _ = std::io::stderr().flush();
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

/// What came of a job, for people.
pub(super) fn describe(job: &JobInfo) -> String {
    if let Some(dataset) = &job.dataset {
        return format!("Imported {}", super::dataset::describe(dataset));
    }
    let spent = (job.finished_unix_ms - job.created_unix_ms).max(0) as f64 / 1_000.0;
    let mut text = format!("Trained {} in {}", job.model_version, output::seconds(spent));
    for line in job.sweeps.last().map(output::metrics_lines).unwrap_or_default() {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    if let Some(work) = job.sweeps.last().and_then(|sweep| sweep.work.as_ref()) {
        text.push_str(&format!("\n  last sweep: {}", output::work_line(work)));
    }
    if !is_to_be_live(job) {
        text.push_str(&format!("\nMake it live with `shoal models promote {}`.", job.model_version));
    }
    text
}
