//! `shoal models`: list, show, compare, promote, rollback, verify, export, import.

mod compare;
mod files;
mod import;

use std::collections::BTreeMap;

use serde_json::Value;
use shoal_common::{
    model_parameters::als_of,
    readable::{held_out_lines, parameters_json},
    split,
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    HybridModel, HybridSource, ImplicitParameters, ModelVersion, ObjectiveChoice, Preference, PromoteReply,
    SplitParameters,
};

use super::{
    connection::{ClusterArgs, find_version},
    failure::Exit,
    listing::ListArgs,
    model_kind::ModelKindParser,
};
use crate::output::{self, Align, Cell, Table, style};

/// Commands on model versions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every version, with its metrics
    #[command(after_help = "Examples:\n  shoal models list\n  shoal models list --json")]
    List(ListArgs),
    /// One version, with its parameters and metrics
    #[command(after_help = "Examples:\n  shoal models show als_model_v1_20261124_101500")]
    Show(VersionArgs),
    /// Versions side by side, by what they are worth on held-out ratings
    #[command(
        after_help = "Examples:\n  shoal models compare als_model_v1_20261124_101500 hybrid_model_v1_20261124_102000\n  shoal models compare A B --plot out.svg"
    )]
    Compare(compare::CompareArgs),
    /// Make a version the live one of its model; returns when it answers
    #[command(
        after_help = "Examples:\n  shoal models promote als_model_v1_20261124_101500\n  shoal models promote item_cf_model_v1_20261124_101500 --default"
    )]
    Promote(PromoteArgs),
    /// Make the version that was live before the live one again
    #[command(after_help = "Examples:\n  shoal models rollback\n  shoal models rollback --model item_cf")]
    Rollback(RollbackArgs),
    /// Read every file of a version and check it against the registry
    Verify(files::VerifyArgs),
    /// Write a version's factors as Parquet, or as a model that Spark loads
    Export(files::ExportArgs),
    /// Register a model that Spark has saved
    Import(import::ImportArgs),
}

/// Flags of `shoal models promote`.
#[derive(Debug, clap::Args)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    version: VersionArgs,
    /// Let its model answer queries that name none; the first model with a live version does so anyhow
    #[arg(long)]
    default: bool,
}

/// Flags of `shoal models rollback`.
#[derive(Debug, clap::Args)]
pub(super) struct RollbackArgs {
    /// Of which model; by default of the one that answers queries that name none
    #[arg(long, value_parser = ModelKindParser)]
    model: Option<ModelKind>,
    #[command(flatten)]
    output: ListArgs,
}

/// Flags of the commands on one version.
#[derive(Debug, clap::Args)]
pub(super) struct VersionArgs {
    /// Name of the version
    version: String,
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
        Command::Compare(args) => compare::run(args).await,
        Command::Promote(args) => {
            let PromoteArgs { version, default } = args;
            let reply = version.cluster.connect()?.promote(&version.version, default).await?;
            print_live(&reply, version.json)
        }
        Command::Rollback(args) => {
            let reply = args.output.connect()?.rollback(args.model.map(ModelKind::folder)).await?;
            print_live(&reply, args.output.json)
        }
        Command::Verify(args) => files::verify(args).await,
        Command::Export(args) => files::export(args).await,
        Command::Import(args) => import::run(args).await,
    }
}

fn print_live(reply: &PromoteReply, as_json: bool) -> anyhow::Result<Exit> {
    output::say_late_routers(reply);
    if as_json {
        output::print_json(&output::live_versions(reply))?;
    } else {
        let previous = Some(&reply.previous_version).filter(|name| !name.is_empty());
        let before = previous.map(|name| format!(" (before: {name})")).unwrap_or_default();
        let other = if reply.model == reply.default_model {
            String::new()
        } else {
            format!(
                "\nQueries that name no model go to {}; promote it with --default to let it answer them.",
                reply.default_model
            )
        };
        output::print(&format!("{} is live{before}.{other}", reply.live_version))?;
    }
    Ok(Exit::Done)
}

async fn list(args: ListArgs) -> anyhow::Result<Exit> {
    let mut versions = args.connect()?.models().await?;
    versions.sort_by(|a, b| (a.created_unix_ms, &a.name).cmp(&(b.created_unix_ms, &b.name)));
    let nothing = "There is no model version yet; `shoal train` makes one.";
    let exit = args.print(&versions, output::model, nothing, table)?;
    let caution = mixed_splits(&versions).filter(|_| !args.json);
    caution.iter().try_for_each(|caution| output::print(caution))?;
    Ok(exit)
}

fn table(versions: Vec<(&ModelVersion, &Value)>) -> Table {
    // A version's name says when it was made.
    let mut table = Table::new(&[
        ("VERSION", Align::Left),
        ("STATE", Align::Left),
        ("DATA SET", Align::Left),
        ("MODEL", Align::Left),
        ("RMSE", Align::Right),
        ("RECALL@20", Align::Right),
        ("NDCG@20", Align::Right),
    ])
    .flexible(&["DATA SET"]);
    for (version, json) in &versions {
        // The version of a data set says something where there are several.
        let is_only = versions.iter().all(|(other, _)| {
            other.dataset_name != version.dataset_name || other.dataset_version == version.dataset_version
        });
        let dataset = match is_only {
            true => version.dataset_name.clone(),
            false => format!("{}@{}", version.dataset_name, version.dataset_version),
        };
        table.row(version_cells(json, &version.name, dataset));
    }
    table
}

/// That figures of the table are of different splits.
fn mixed_splits(versions: &[ModelVersion]) -> Option<String> {
    let (mut splits, mut kinds): (Vec<SplitParameters>, BTreeMap<&str, u32>) = Default::default();
    for version in versions.iter().filter(|version| version.evaluation.is_some()) {
        let split = split::of_version(version);
        *kinds.entry(split::kind(&split)).or_default() += 1;
        if !splits.iter().any(|other| split::is_alike(other, &split)) {
            splits.push(split);
        }
    }
    let counts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    (splits.len() > 1).then(|| {
        format!(
            "Figures of different splits cannot be held against each other ({}).\n`shoal models show VERSION` says what \
             is measured.",
            counts.join(", ")
        )
    })
}

fn version_cells(json: &Value, name: &str, dataset: String) -> [Cell; 7] {
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let number = |path: &str| json.pointer(path).and_then(serde_json::Value::as_f64);
    let metric = |path: &str| number(path).map(output::decimal).unwrap_or_default();
    let state = text("state");
    [
        name.into(),
        Cell::styled(state.clone(), style::of_state(&state)),
        dataset.into(),
        text("model").into(),
        metric("/evaluation/rating/rmse").into(),
        metric("/evaluation/lists/recall_at_20").into(),
        metric("/evaluation/lists/ndcg_at_20").into(),
    ]
}

/// The parameters that were chosen, in a line.
fn describe_parameters(version: &ModelVersion) -> String {
    let Some(parameters) = als_of(version) else { return String::new() };
    if !version.imported_from.is_empty() {
        let rating = parameters.objective() == ObjectiveChoice::Explicit;
        let objective = if rating { "explicit" } else { "implicit" };
        return format!("rank {}, {objective}; the others are not known", parameters.rank);
    }
    let split = split::of_version(version);
    let mut text = format!("rank {}, {} sweeps, seed {}", parameters.rank, parameters.sweeps, split.seed);
    let held_out = match (split.test_uri.as_str(), split.test_ratio) {
        ("", 0.0) => "nothing held out".to_owned(),
        ("", ratio) if split.temporal => format!("the newest {} % of each user held out", ratio * 100.0),
        ("", _) if split::is_strong(&split) => "some users held out".to_owned(),
        ("", ratio) => format!("{} % held out", ratio * 100.0),
        (file, _) => format!("measured on {file}"),
    };
    text.push_str(&format!(", {held_out}"));
    let choice = parameters.objective();
    if let Some(explicit) = parameters.explicit.filter(|_| choice != ObjectiveChoice::Implicit) {
        let biases = if explicit.biases { "with biases" } else { "without biases" };
        text.push_str(&format!("\n  explicit  regularization {}, {biases}", explicit.regularization));
    }
    if let Some(implicit) = parameters.implicit.filter(|_| choice != ObjectiveChoice::Explicit) {
        text.push_str(&format!(
            "\n  implicit  regularization {}, exponent {}, unobserved weight {}, alpha {}{}",
            implicit.regularization,
            implicit.regularization_exponent,
            implicit.unobserved_weight,
            implicit.alpha,
            preference_of(&implicit)
        ));
    }
    text
}

/// What a rating was taken for. Versions of builds without preferences have that of their confidence, and do not name it.
fn preference_of(implicit: &ImplicitParameters) -> String {
    match implicit.preference() {
        Preference::Unspecified => String::new(),
        Preference::Observed => ", every rating a liking".to_owned(),
        Preference::Positive => ", ratings above 0 likings".to_owned(),
        Preference::Height => {
            format!(", likings by height from {} to {}", implicit.rating_least, implicit.rating_greatest)
        }
    }
}

/// Where a version comes from.
fn origin(version: &ModelVersion) -> String {
    if version.imported_from.is_empty() {
        let seconds = output::seconds(version.training_seconds);
        return format!("trained in  {seconds} (job {})", version.job_id);
    }
    format!("trained by  {}", version.imported_from)
}

fn parameters_of(version: &ModelVersion) -> String {
    if als_of(version).is_some() {
        return describe_parameters(version);
    }
    let json = version.model_parameters.as_ref().map(parameters_json).unwrap_or_default();
    let pairs = json.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null() && *value != "");
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    pairs.map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
}

fn blend_line(hybrid: &HybridModel) -> String {
    let source = |source: &HybridSource| format!("{} {:.3}", source.model, source.weight);
    let weights = hybrid.sources.iter().map(source).collect::<Vec<_>>().join(", ");
    let origin = match (hybrid.weights_given, &hybrid.learning) {
        (true, _) => "given",
        (false, Some(_)) => "learned",
        (false, None) => "not learned: no user could teach them",
    };
    format!("weights     {weights} ({origin})")
}

/// How many users a version of strong generalisation was measured on and never trained on.
fn held_out_users(version: &ModelVersion) -> Option<String> {
    let lists = version.evaluation.as_ref()?.model.as_ref()?;
    let users = lists.users_in_all.max(lists.users);
    split::is_strong(&split::of_version(version)).then(|| output::counted(users, "user"))
}

async fn show(args: VersionArgs) -> anyhow::Result<Exit> {
    let versions = args.cluster.connect()?.models().await?;
    let version = find_version(&versions, &args.version)?;
    let json = output::model(version);
    if args.json {
        output::print_json(&json)?;
        return Ok(Exit::Done);
    }
    let mut lines = vec![
        format!("{} ({})", version.name, json["state"].as_str().unwrap_or_default()),
        format!("data set    {}@{}", version.dataset_name, version.dataset_version),
        format!("parameters  {}", parameters_of(version)),
        origin(version),
        format!("created     {}", json["created"].as_str().unwrap_or_default()),
        format!("files       {} (manifest {})", version.path, version.manifest_checksum),
    ];
    lines.extend(json["protocol"].as_str().map(|protocol| {
        let users = held_out_users(version).map(|users| format!(" ({users} held out)")).unwrap_or_default();
        format!("split       {protocol}{users}")
    }));
    lines.extend(version.hybrid.iter().map(blend_line));
    lines.extend(match &version.evaluation {
        Some(evaluation) => output::evaluation_lines(evaluation),
        None => version.metrics.iter().flat_map(output::metrics_lines).collect(),
    });
    lines.extend(version.remarks.iter().map(|remark| format!("remark      {remark}")));
    let test_file = version.held_out.as_ref().map(held_out_lines).unwrap_or_default();
    lines.extend(test_file.into_iter().map(|line| format!("test file   {line}")));
    output::print(&lines.join("\n"))?;
    Ok(Exit::Done)
}
