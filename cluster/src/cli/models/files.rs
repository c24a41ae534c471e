//! `shoal models verify` and `export`: the commands that read a version's files themselves.

use std::path::PathBuf;

use serde_json::json;
use shoal_common::user_query::Answers;
use shoal_core::ModelKind;
use shoal_proto::v1::{DatasetInfo, ModelVersion};

use crate::{
    cli::{
        connection::{ClusterArgs, StoreArgs, find_dataset, find_version},
        failure::{Exit, refusal},
        progress::{Style, View},
    },
    export::{SparkObjective, export_neighbours, export_parquet, export_spark},
    model_files::ModelFiles,
    output,
};

const VERIFY_EXAMPLE: &str = "\
Examples:
  shoal models verify als_model_v1_20261124_101500
  shoal models verify als_model_v1_20261124_101500 --store s3://bucket/shoal --store-option aws_region=eu-west-1

Checked: the manifest against the registry's digest; of each object length and checksum; of each part \
of factors its rows, rank and ids against the data set, and that every value is finite.";

const EXPORT_EXAMPLE: &str = "\
Examples:
  shoal models export als_model_v1_20261124_101500 --out ./factors
  shoal models export ease_model_v1_20261124_102000 --out ./weights
  shoal models export als_model_v1_20261124_101500 --to spark ./als-model

ALS as Parquet: ranking/ and rating/, each with userFactors/ and itemFactors/ (columns id and features, as Spark \
saves them); rating/ has userBiases/ and itemBiases/ (id, bias) beside. export.json has the rating mean: \
a predicted rating is mean + user bias + item bias + inner product of the rating factors.

Item CF, content and EASE as Parquet: itemNeighbours/ (id, neighbour_id, weight: a row for each pair, the weight being a \
similarity or a weight of EASE), userBiases/ and itemBiases/ (id, bias). A hybrid has no files: export what it blends.

For Spark: a folder that ALSModel.load reads and that predicts the same ratings. Mean and biases are in two \
more elements of each row; users and items without training ratings are left out.";

/// Flags of `shoal models verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = VERIFY_EXAMPLE)]
pub(in crate::cli) struct VerifyArgs {
    /// Name of the version
    version: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Flags of `shoal models export`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPORT_EXAMPLE)]
pub(in crate::cli) struct ExportArgs {
    /// Name of the version
    version: String,
    /// Folder to make
    #[arg(value_name = "DIR", required_unless_present = "out")]
    folder: Option<PathBuf>,
    /// What to write
    #[arg(long, alias = "format", value_enum, default_value = "parquet")]
    to: Format,
    /// Folder to make
    #[arg(long, value_name = "DIR", conflicts_with = "folder")]
    out: Option<PathBuf>,
    /// For Spark: which factors; by default those that predict ratings where there are some
    #[arg(long, value_enum)]
    objective: Option<Objective>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What an export can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Factors, or neighbours, and biases; factors with columns as a saved Spark ALSModel has them
    Parquet,
    /// A saved Spark ALSModel
    Spark,
}

/// Which of a version's two sets of factors is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Objective {
    /// Those that predict ratings
    Explicit,
    /// Those that rank
    Implicit,
}

/// The version and its data set, as the registry knows them.
async fn registered(cluster: &ClusterArgs, wanted: &str) -> anyhow::Result<(ModelVersion, DatasetInfo)> {
    let client = cluster.connect()?;
    let version = find_version(&client.models().await?, wanted)?.clone();
    let name = format!("{}@{}", version.dataset_name, version.dataset_version);
    let dataset = find_dataset(&client.datasets().await?, &name)?.clone();
    Ok((version, dataset))
}

fn share(done: usize, total: usize) -> f64 {
    done as f64 / total.max(1) as f64
}

pub(in crate::cli) async fn verify(args: VerifyArgs) -> anyhow::Result<Exit> {
    let (version, dataset) = registered(&args.cluster, &args.version).await?;
    let store = args.cluster.open_store(&args.store)?;
    let files = ModelFiles::open(&store, &version, &dataset).await?;
    let view = View::new(Style::choose(args.json), "verify");
    let verified = files.verify(|done, total| view.set(share(done, total), "")).await;
    drop(view);
    let verified = verified?;
    if args.json {
        output::print_json(&json!({
            "version": version.name,
            "manifest_checksum": version.manifest_checksum,
            "objects": verified.objects,
            "bytes": verified.bytes,
            "rows": verified.rows,
            "whole": true,
        }))?;
    } else {
        let rows = match verified.rows {
            0 => String::new(),
            rows => format!(", {} rows", output::count(rows)),
        };
        output::print(&format!(
            "{} is whole: {} objects, {} bytes{rows}.",
            version.name,
            output::count(verified.objects as u64),
            output::count(verified.bytes)
        ))?;
    }
    Ok(Exit::Done)
}

pub(in crate::cli) async fn export(args: ExportArgs) -> anyhow::Result<Exit> {
    if args.to == Format::Parquet && args.objective.is_some() {
        let message = "--objective goes with --to spark: as Parquet the factors of both are written";
        return Err(refusal(Exit::Usage, message));
    }
    // One of the two is there: the command line is not accepted otherwise.
    let out = args.folder.or(args.out).unwrap_or_default();
    let (version, dataset) = registered(&args.cluster, &args.version).await?;
    let kind = ModelKind::parse(&version.model)?;
    let unfit = match (kind.answers(), args.to) {
        (Answers::ByFactors, _) | (Answers::ByNeighbours, Format::Parquet) => None,
        (Answers::ByNeighbours, Format::Spark) => {
            Some("has no factors, of which an ALSModel is made; use --to parquet")
        }
        (Answers::ByBlend, _) => Some(
            "has no files but its weights, which `shoal models show` prints; export the versions that it blends",
        ),
    };
    if let Some(reason) = unfit {
        return Err(refusal(Exit::Usage, format!("a version of '{kind}' {reason}")));
    }
    let store = args.cluster.open_store(&args.store)?;
    let files = ModelFiles::open(&store, &version, &dataset).await?;
    let view = View::new(Style::choose(args.json), "export");
    let progress = |done, total| view.set(share(done, total), "");
    let exported = match args.to {
        Format::Parquet if kind.answers() == Answers::ByNeighbours => {
            export_neighbours(&files, &version, &dataset, &out, progress).await
        }
        Format::Parquet => export_parquet(&files, &version, &dataset, &out, progress).await,
        Format::Spark => {
            let has_rating = files.objectives().1;
            let objective = match args.objective {
                Some(Objective::Explicit) => SparkObjective::Explicit,
                None if has_rating => SparkObjective::Explicit,
                Some(Objective::Implicit) | None => SparkObjective::Implicit,
            };
            export_spark(&files, &version, objective, &out, progress).await
        }
    };
    drop(view);
    let exported = exported?;
    let out = out.display();
    if args.json {
        output::print_json(&json!({
            "version": version.name,
            "out": out.to_string(),
            "files": exported.files,
            "users": exported.users,
            "items": exported.items,
            "neighbours": exported.neighbours,
        }))?;
    } else {
        let neighbours = match exported.neighbours {
            0 => String::new(),
            neighbours => format!(", {}", output::counted(neighbours, "neighbour")),
        };
        output::print(&format!(
            "Wrote {} to '{out}': {}, {}, {}{neighbours}.",
            version.name,
            output::counted(exported.files as u64, "file"),
            output::counted(exported.users, "user"),
            output::counted(exported.items, "item")
        ))?;
        if kind == ModelKind::Content {
            output::print(
                "The vectors of the items' features are left out; the neighbours were made of them.",
            )?;
        }
    }
    Ok(Exit::Done)
}
