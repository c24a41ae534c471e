//! `shoal models import`: a model that was trained elsewhere becomes a version of the cluster.

use anyhow::Context as _;
use serde_json::json;
use shoal_common::{clock::SystemClock, store::Store};
use shoal_proto::v1::{DatasetInfo, ObjectiveChoice};

use super::files::Objective;
use crate::{
    cli::{
        connection::{ClusterArgs, StoreArgs, find_dataset},
        environment::remote_options_of_command,
        failure::Exit,
        progress::{Style, View},
    },
    client::ClientError,
    import::{Imported, SparkModel, Wanted, discard, write_spark_model},
    output,
};

const EXAMPLE: &str = "\
Examples:
  shoal models import --from spark ./als-model --dataset ml-latest-small
  shoal models import --from spark ./cross-validator --objective implicit

Reads a folder that ALSModel.save wrote, or one with it below bestModel/, and registers it as a version that is \
promoted and served like any other. Titles, popularity and what users have seen come from the data set; without \
one there are none. Spark saves no training parameters, so such a version solves no rows for sessions.";

/// Flags of `shoal models import`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct ImportArgs {
    /// Folder of the saved model
    #[arg(value_name = "DIR")]
    folder: String,
    /// What saved it
    #[arg(long, value_enum)]
    from: Source,
    /// Name of the data set that it was trained on, or name@version
    #[arg(long, alias = "data-set", value_name = "NAME")]
    dataset: Option<String>,
    /// What it was trained for: Spark does not save it
    #[arg(long, value_enum, default_value = "explicit")]
    objective: Objective,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What a model can come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Source {
    /// A saved Spark ALSModel
    Spark,
}

pub(in crate::cli) async fn run(args: ImportArgs) -> anyhow::Result<Exit> {
    let Source::Spark = args.from;
    let client = args.cluster.connect()?;
    let dataset: Option<DatasetInfo> = match &args.dataset {
        Some(wanted) => Some(find_dataset(&client.datasets().await?, wanted)?.clone()),
        None => None,
    };
    let store = args.cluster.open_store(&args.store)?;
    let view = View::new(Style::choose(args.json), "import");
    let unreadable = || format!("cannot read a model from '{}'", args.folder);
    let source = Store::open_existing(&args.folder, &remote_options_of_command(args.store.options()?)?)
        .with_context(unreadable)?;
    let model = SparkModel::read(&source).await?;
    view.set(0.5, "writing");
    let objective = match args.objective {
        Objective::Explicit => ObjectiveChoice::Explicit,
        Objective::Implicit => ObjectiveChoice::Implicit,
    };
    let wanted = Wanted { dataset: dataset.as_ref(), objective, source_uri: &args.folder };
    let imported = write_spark_model(&store, &SystemClock, &model, wanted).await?;
    let registered = client.register(imported.version.clone(), imported.dataset.clone()).await;
    drop(view);
    if let Err(error) = registered {
        // Without an answer it may be registered all the same: then the files must stay.
        if matches!(error, ClientError::Refused(_)) {
            discard(&store, &imported.version, imported.dataset.is_some()).await?;
        }
        return Err(error.into());
    }
    let latest = format!("models/{}/model_latest", imported.version.model);
    store.point_latest(&latest, &imported.version.name).await?;
    report(&imported, &model, dataset.as_ref(), args.json)?;
    Ok(Exit::Done)
}

fn report(
    imported: &Imported,
    model: &SparkModel,
    dataset: Option<&DatasetInfo>,
    as_json: bool,
) -> std::io::Result<()> {
    let Imported { version, users, items, .. } = imported;
    let without = |known: u64, of: fn(&DatasetInfo) -> u64| dataset.map_or(0, |dataset| of(dataset) - known);
    let (users_without, items_without) =
        (without(*users, |dataset| dataset.users), without(*items, |dataset| dataset.items));
    if as_json {
        return output::print_json(&json!({
            "version": version.name,
            "dataset": version.dataset_name,
            "dataset_version": version.dataset_version,
            "rank": model.rank,
            "users": users,
            "items": items,
            "users_without_factors": users_without,
            "items_without_factors": items_without,
        }));
    }
    let mut text = format!(
        "Registered {}: rank {}, {}, {}. `shoal models promote {}` makes it the live one.",
        version.name,
        model.rank,
        output::counted(*users, "user"),
        output::counted(*items, "item"),
        version.name
    );
    if users_without + items_without > 0 {
        text.push_str(&format!(
            "\nThe model does not have {} and {} of '{}': they are answered for as unknown.",
            output::counted(users_without, "user"),
            output::counted(items_without, "item"),
            version.dataset_name
        ));
    }
    output::print(&text)
}
