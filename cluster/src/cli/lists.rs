//! `shoal recommend --all`: the lists of every user, written as files by the workers.

use shoal_proto::v1::{ListsColumn, ListsFormat, ListsParameters, RankBy, StartListsRequest};

use super::{
    failure::{Exit, refusal},
    filter_args::FilterArgs,
    signals::Signals,
    train,
};
use crate::{client::ClusterClient, output};

/// Flags of `shoal recommend --all`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "For every user")]
pub(super) struct ListsArgs {
    /// Write the lists of every user as files
    #[arg(long)]
    pub(super) all: bool,
    /// Folder to write to, which every worker reaches: a path, file:///… or s3://…; by default lists/JOB in the store
    #[arg(long, value_name = "FOLDER", requires = "all", conflicts_with = "user")]
    out: Option<String>,
    /// How to write
    #[arg(long, value_enum, default_value_t = Format::Parquet, requires = "all", conflicts_with = "user")]
    format: Format,
    /// Which columns, in which order; by default all but title
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "COLUMN",
        requires = "all",
        conflicts_with = "user"
    )]
    columns: Vec<Column>,
    /// Only the users of this text file, which has an id in each line and which every worker reaches
    #[arg(long, value_name = "FILE", requires = "all", conflicts_with = "user")]
    users: Option<String>,
    /// Leave out users whom the version does not know, who are listed what is popular otherwise
    #[arg(long, requires = "all", conflicts_with = "user")]
    known_users_only: bool,
    /// The version that ranks, live or not; by default the one that is live
    #[arg(long, value_name = "NAME", requires = "all", conflicts_with = "user")]
    version: Option<String>,
    /// Start the job and leave it
    #[arg(long, requires = "all", conflicts_with = "user")]
    detach: bool,
}

/// The formats that lists are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Parquet, compressed with Snappy
    Parquet,
    /// Text with commas and a header
    Csv,
    /// A JSON object in each line
    Jsonl,
}

/// The columns that lists may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Column {
    /// As in the data set
    UserId,
    /// As in the data set
    ItemId,
    /// From 1
    Rank,
    /// What the list is ordered by
    Score,
    /// On the data set's scale, missing where the version predicts none
    PredictedRating,
    /// "model", or "fallback_popular" for a user whom the version does not know
    Source,
    /// As in the catalogue
    Title,
}

impl Column {
    fn message(self) -> ListsColumn {
        match self {
            Self::UserId => ListsColumn::UserId,
            Self::ItemId => ListsColumn::ItemId,
            Self::Rank => ListsColumn::Rank,
            Self::Score => ListsColumn::Score,
            Self::PredictedRating => ListsColumn::PredictedRating,
            Self::Source => ListsColumn::Source,
            Self::Title => ListsColumn::Title,
        }
    }
}

/// What lists of one user and of all have in common.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) n: u32,
    /// As the registry names it; empty for the default model.
    pub(super) model: String,
    pub(super) rank_by: Option<String>,
    pub(super) filter: FilterArgs,
    pub(super) json: bool,
}

/// Starts the job, and follows it unless it is to be left.
pub(super) async fn run(args: ListsArgs, asked: Asked, client: &ClusterClient) -> anyhow::Result<Exit> {
    let rank_by = match asked.rank_by.as_deref() {
        None => RankBy::Unspecified,
        Some("rating") => RankBy::Rating,
        Some(_) => RankBy::Ranking,
    };
    let format = match args.format {
        Format::Parquet => ListsFormat::Parquet,
        Format::Csv => ListsFormat::Csv,
        Format::Jsonl => ListsFormat::Jsonl,
    };
    let whole = |path: &Option<String>| path.as_deref().map(whole_path).transpose();
    let parameters = ListsParameters {
        n: asked.n,
        rank_by: rank_by.into(),
        include_seen: asked.filter.include_seen,
        filter: asked.filter.message(),
        users_uri: whole(&args.users)?.unwrap_or_default(),
        known_users_only: args.known_users_only,
        out_uri: whole(&args.out)?.unwrap_or_default(),
        format: format.into(),
        columns: args.columns.iter().map(|column| column.message().into()).collect(),
    };
    let request = StartListsRequest {
        version: args.version.unwrap_or_default(),
        model: asked.model,
        parameters: Some(parameters),
        ..StartListsRequest::default()
    };
    let mut signals = Signals::install()?;
    let job_id = client.start_lists(request).await?;
    if !args.detach {
        return train::follow_to_the_end(client, &job_id, "lists", asked.json, &mut signals).await;
    }
    if asked.json {
        output::print_json(&output::job(&client.job(&job_id).await?))?;
    } else {
        output::print(&format!(
            "Job {job_id} writes the lists; follow it with `shoal jobs show {job_id} --follow`."
        ))?;
    }
    Ok(Exit::Done)
}

/// A path that means the same in every working folder; addresses stay as they are.
fn whole_path(path: &str) -> anyhow::Result<String> {
    if path.contains("://") {
        return Ok(path.to_owned());
    }
    let whole = std::path::absolute(path)
        .map_err(|error| refusal(Exit::Usage, format!("'{path}' is no path: {error}")))?;
    whole.to_str().map(str::to_owned).ok_or_else(|| {
        refusal(Exit::Usage, format!("'{}' is no UTF-8 text; name another folder", whole.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_whole_and_addresses_stay() {
        assert_eq!(whole_path("s3://bucket/lists").unwrap(), "s3://bucket/lists");
        assert_eq!(whole_path("/lists/").unwrap(), "/lists/");
        assert!(whole_path("lists").unwrap().starts_with('/'));
    }
}
