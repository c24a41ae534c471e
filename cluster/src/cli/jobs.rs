//! `shoal jobs`: list, show, cancel.

use serde_json::Value;
use shoal_common::model_parameters::als_of_job;
use shoal_proto::v1::{JobInfo, JobKind, JobState, LeftOutWorker};

use super::{
    connection::ClusterArgs, failure::Exit, job_summary, listing::ListArgs, progress::with_remaining,
    signals::Signals, train,
};
use crate::{
    client::is_over,
    output::{self, Align, Cell, Table, style},
};

/// Columns of a reason or an address in the list. A version's name has fewer, and is never cut: people copy it.
const RESULT_WIDTH: usize = 32;

/// Commands on jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every job that goes on or waits, and the last 1,000 that are over
    #[command(after_help = "Examples:\n  shoal jobs list\n  shoal jobs list --json")]
    List(ListArgs),
    /// One job, with its phases and sweeps
    #[command(after_help = "Examples:\n  shoal jobs show JOB\n  shoal jobs show JOB --follow")]
    Show(ShowArgs),
    /// Cancel a job; nothing of it is left
    #[command(after_help = "Examples:\n  shoal jobs cancel JOB")]
    Cancel(CancelArgs),
}

/// Flags of `shoal jobs show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Id of the job
    job: String,
    /// Stay until it is over
    #[arg(long, short)]
    follow: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Flags of `shoal jobs cancel`.
#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// Id of the job
    job: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Cancel(args) => cancel(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<Exit> {
    let mut jobs = args.connect()?.jobs().await?;
    jobs.sort_by(|a, b| (a.created_unix_ms, &a.job_id).cmp(&(b.created_unix_ms, &b.job_id)));
    args.print(&jobs, output::job, "There is no job yet.", table)
}

fn table(jobs: Vec<(&JobInfo, &Value)>) -> Table {
    // Where nobody proves who they are there is nothing to tell.
    let is_told = jobs.iter().any(|(job, _)| !job.submitter.is_empty());
    let mut columns = vec![
        ("JOB", Align::Left),
        ("KIND", Align::Left),
        ("STATE", Align::Left),
        ("DONE", Align::Right),
        ("DATA SET", Align::Left),
        ("RESULT", Align::Left),
        ("CREATED", Align::Left),
    ];
    columns.extend(is_told.then_some(("BY", Align::Left)));
    let mut table = Table::new(&columns).flexible(&["DATA SET", "BY"]);
    for (job, json) in jobs {
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let result = match (&job.dataset, job.model_version.as_str()) {
            (Some(dataset), _) => format!("{}@{}", dataset.name, dataset.version),
            (None, "") if job.listed.is_some() => {
                output::cut(&job.listed.clone().unwrap_or_default().uri, RESULT_WIDTH)
            }
            (None, "") => output::cut(job.error.lines().next().unwrap_or_default(), RESULT_WIDTH),
            (None, version) => version.to_owned(),
        };
        let state = text("state");
        let mut cells = vec![
            Cell::from(job.job_id.clone()),
            text("kind").into(),
            Cell::styled(state.clone(), style::of_state(&state)),
            format!("{:.0} %", share_done(job) * 100.0).into(),
            text("dataset_name").into(),
            result.into(),
            output::to_the_second(&text("created")).into(),
        ];
        cells.extend(is_told.then(|| Cell::from(submitter(&job.submitter))));
        table.row(cells);
    }
    table
}

/// Who asked for a job, without the cluster's name: it is this one.
fn submitter(told: &str) -> &str {
    told.split_once(" of cluster ").map_or(told, |(who, _)| who)
}

fn share_done(job: &JobInfo) -> f64 {
    if job.state() == JobState::Succeeded { 1.0 } else { job.progress }
}

async fn show(args: ShowArgs) -> anyhow::Result<Exit> {
    let client = args.cluster.connect()?;
    let job = client.job(&args.job).await?;
    if args.follow && !is_over(&job) {
        let mut signals = Signals::install()?;
        let what = match job.kind() {
            JobKind::Import => "import",
            JobKind::Lists => "lists",
            JobKind::Training | JobKind::Unspecified => "train",
        };
        return train::follow_to_the_end(&client, &args.job, what, args.json, &mut signals).await;
    }
    if args.json {
        output::print_json(&output::job(&job))?;
    } else {
        output::print(&describe(&job))?;
    }
    Ok(Exit::Done)
}

async fn cancel(args: CancelArgs) -> anyhow::Result<Exit> {
    let job = args.cluster.connect()?.cancel(&args.job).await?;
    if args.json {
        output::print_json(&output::job(&job))?;
    } else {
        let outcome = match job.state() {
            JobState::Succeeded => "had succeeded before",
            JobState::Failed => "had failed before",
            JobState::Cancelled => "is cancelled",
            _ => "is being cancelled",
        };
        output::print(&format!("Job {} {outcome}.", job.job_id))?;
    }
    Ok(Exit::Done)
}

fn describe(job: &JobInfo) -> String {
    let json = output::job(job);
    let text = |key: &str| json[key].as_str().unwrap_or_default();
    let of = job.lists.as_ref().map_or_else(|| text("dataset_name"), |lists| &lists.version);
    let mut lines = vec![
        format!("{} of {of}: {}", text("kind"), text("state")),
        format!("created   {}", text("created")),
    ];
    if !job.submitter.is_empty() {
        lines.push(output::shown_line(&format!("asked by  {}", job.submitter)).into_owned());
    }
    if !is_over(job) {
        let done = format!("progress  {:.0} %, attempt {}", share_done(job) * 100.0, job.attempt);
        let phase = with_remaining(&job.phase, job.remaining_seconds);
        lines.push(if phase.is_empty() { done } else { format!("{done}: {phase}") });
    }
    if job.finished_unix_ms != 0 {
        lines.push(format!("finished  {}", text("finished")));
        lines.push(format!("took      {}", output::seconds(output::job_seconds(job))));
    }
    for LeftOutWorker { attempt, node, reason } in &job.left_out {
        lines.push(
            output::shown_line(&format!("attempt {attempt} went on without {node}: {reason}")).into_owned(),
        );
    }
    if let Some(parameters) = als_of_job(job) {
        lines.push(format!("sweeps    {} of {}", job.committed_sweeps, parameters.sweeps));
    }
    let mut phases: Vec<(&String, &f64)> = job.phase_seconds.iter().collect();
    phases.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
    for (phase, seconds) in phases {
        lines.push(format!("  {:>10}  {phase}", output::seconds(*seconds)));
    }
    for sweep in &job.sweeps {
        let work = sweep.work.as_ref().map(output::work_line).unwrap_or_default();
        lines.push(format!("sweep {:>3}  {}: {work}", sweep.sweep, output::seconds(sweep.seconds)));
    }
    if !job.error.is_empty() {
        lines.push(format!("error     {}", output::shown_line(&job.error)));
    }
    if job.state() == JobState::Succeeded {
        lines.push(job_summary::describe(job));
    }
    lines.join("\n")
}
