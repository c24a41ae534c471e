//! `shoal dataset import`: starts an import and follows it.

use shoal_common::store::{Access, StoreOptions};
use shoal_dataset::source::inspect;
use shoal_proto::v1::{DatasetSource, ImportDatasetRequest, PreviewImportReply};

use super::reading::ReadingArgs;
use crate::{
    cli::{
        connection::ClusterArgs,
        dataset::describe::describe,
        environment::remote_options_of_command,
        failure::{Exit, refusal, sentence},
        progress::{Followed, Style, follow, succeeded},
        signals::Signals,
    },
    output,
};

const EXAMPLE: &str = "\
Examples:
  shoal dataset import ./ml-latest-small
  shoal dataset import ./ml-20m --name movies --max-bad-rows 0.5%
  shoal dataset import stars.csv --user-col customer --item-col sku --rating-col stars --dry-run
  shoal dataset import clicks.csv --no-rating --duplicates count --time-unit ms
  shoal dataset import notes.csv --delimiter ';' --decimal-comma --time-format '%d.%m.%Y %H:%M'
  shoal dataset import 'logs/2024-*.csv.gz' --name clicks
  shoal dataset import ratings_Beauty.csv --no-header --user-col 1 --item-col 2 --rating-col 3 --time-col 4

MovieLens folders are recognised by their files: ratings.csv and movies.csv, rating.csv and movie.csv \
(Kaggle), ratings.dat and movies.dat (1M), u.data and u.item (100K). Of other CSV files (with commas, \
semicolons, tabs, bars or ::) and Parquet files the columns are found by their names, or named with flags. \
What is not said is found out from the first rows, and the report says what was found: --dry-run shows it \
before anything is imported. CSV files may be packed with gzip or zstd, and any file may be a folder of \
parts, as Spark writes it. docs/files.md has every rule. \
The workers read the files, so a path must name the same files on each of them.";

/// Flags of `shoal dataset import`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// A folder, a ratings file or a pattern of files ('logs/2024-*.csv'), as a path, file:///… or s3://…; several files are
    /// read as one, in this order
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Name of the data set; by default that of the folder or file
    #[arg(long)]
    name: Option<String>,
    /// Shards per side
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    shards: u32,
    /// Share of rejected rows above which nothing is imported
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = share)]
    max_bad_rows: f64,
    /// Reject ratings below this
    #[arg(long, value_name = "RATING", requires = "rating_max", allow_hyphen_values = true)]
    rating_min: Option<f64>,
    /// Reject ratings above this
    #[arg(long, value_name = "RATING", requires = "rating_min", allow_hyphen_values = true)]
    rating_max: Option<f64>,
    /// Read the first rows, say what would be made of the files, and import nothing
    #[arg(long, conflicts_with = "detach")]
    dry_run: bool,
    /// Start the job and leave it
    #[arg(long)]
    detach: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: ReadingArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), 100.0),
        None => (text, 1.0),
    };
    match number.parse::<f64>().map(|number| number / unit) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it must be a share such as 0.1% or 0.001".to_owned()),
    }
}

/// A source's address as the workers take it: local paths become absolute.
pub(in crate::cli) fn source_uri(source: &str) -> anyhow::Result<String> {
    if source.contains("://") {
        return Ok(source.to_owned());
    }
    // A script's variable that is not set must not stand for the folder where the script runs.
    if source.is_empty() {
        return Err(refusal(Exit::Usage, "a source has an empty name; give a folder or a ratings file"));
    }
    // Of a pattern only the folders before it are there for sure.
    let (there, pattern) =
        match source.find(['*', '?', '[']).filter(|_| !std::path::Path::new(source).exists()) {
            Some(first) => source.split_at(source[..first].rfind('/').map_or(0, |slash| slash + 1)),
            None => (source, ""),
        };
    match std::path::Path::new(if there.is_empty() { "." } else { there }).canonicalize() {
        Ok(path) if pattern.is_empty() => Ok(path.display().to_string()),
        Ok(path) => Ok(path.join(pattern).display().to_string()),
        Err(error) => {
            let message =
                format!("cannot find '{source}': {error}; give a folder or a ratings file that is there");
            Err(refusal(Exit::NotFound, message))
        }
    }
}

/// As [`source_uri`], for files that are read on this machine: looked at now, which is quicker than an
/// import that fails.
pub(in crate::cli) async fn readable_source(source: &str, options: StoreOptions) -> anyhow::Result<String> {
    let uri = source_uri(source)?;
    let looked_at = DatasetSource { uri: uri.clone(), ..DatasetSource::default() };
    match inspect(&looked_at, &Access::anywhere(remote_options_of_command(options)?)).await {
        Ok(_) => Ok(uri),
        Err(error) => Err(refusal(Exit::NotFound, sentence(&error.into()))),
    }
}

/// A name for the data set of a source: its last part, in the letters that names may have.
pub(in crate::cli) fn dataset_name(uri: &str) -> String {
    let last = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let stem = last.split_once('.').map_or(last, |(stem, _)| stem);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let name: String = stem.chars().map(plain).collect();
    let name: String = name.trim_start_matches(['-', '_']).chars().take(64).collect();
    if name.is_empty() { "ratings".to_owned() } else { name }
}

impl Args {
    fn request(&self) -> anyhow::Result<ImportDatasetRequest> {
        let mut uris = self.sources.iter().map(|source| source_uri(source)).collect::<Result<Vec<_>, _>>()?;
        // At least one is required.
        let uri = uris.remove(0);
        Ok(ImportDatasetRequest {
            name: self.name.clone().unwrap_or_else(|| dataset_name(&uri)),
            source: Some(self.reading.source(DatasetSource {
                uri,
                more_uris: uris,
                bad_rows_ratio_max: self.max_bad_rows,
                rating_min: self.rating_min.unwrap_or_default(),
                rating_max: self.rating_max.unwrap_or_default(),
                ..DatasetSource::default()
            })),
            shard_count: self.shards,
            ..ImportDatasetRequest::default()
        })
    }
}

/// Prints what an import would make of the files; fails as it would, as far as the first rows tell.
fn show_preview(previewed: &PreviewImportReply, json: bool) -> anyhow::Result<Exit> {
    let report = previewed.report.clone().unwrap_or_default();
    let (user_ids, item_ids) = (previewed.user_id_kind(), previewed.item_id_kind());
    if json {
        let mut value = output::import_report_json(&report, user_ids, item_ids);
        value["dry_run"] = true.into();
        value["refusal"] = previewed.refusal.clone().into();
        output::print_json(&value)?;
    } else {
        let rows = output::count(report.rows_read);
        let text = output::import_report_text(&report, user_ids, item_ids);
        output::print(&format!(
            "Nothing is imported; of the first {rows} rows an import would make:\n{text}"
        ))?;
    }
    if previewed.refusal.is_empty() {
        return Ok(Exit::Done);
    }
    Err(refusal(Exit::Failed, format!("an import would be refused: {}", previewed.refusal)))
}

pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<Exit> {
    let request = args.request()?;
    let client = args.cluster.connect()?;
    if args.dry_run {
        let previewed = client.preview_import(request).await?;
        return show_preview(&previewed, args.json);
    }
    let mut signals = Signals::install()?;
    let job_id = client.start_import(request).await?;
    if args.detach {
        let job = client.job(&job_id).await?;
        if args.json {
            output::print_json(&output::job(&job))?;
        } else {
            output::print(&format!(
                "Job {job_id} imports; follow it with `shoal jobs show {job_id} --follow`."
            ))?;
        }
        return Ok(Exit::Done);
    }
    match follow(&client, &job_id, Style::choose(args.json), "import", &mut signals).await? {
        Followed::Interrupted => {
            output::say(&format!("shoal: job {job_id} goes on; `shoal jobs cancel {job_id}` cancels it"));
            Ok(Exit::Interrupted)
        }
        Followed::Over(job) => {
            let job = succeeded(*job)?;
            if args.json {
                output::print_json(&output::job(&job))?;
            } else if let Some(info) = &job.dataset {
                output::print(&format!("Imported {}", describe(info)))?;
            }
            Ok(Exit::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_with_and_without_the_percent_sign() {
        assert_eq!(share("0.1%").unwrap(), 0.001);
        assert_eq!(share("0.001").unwrap(), 0.001);
        assert!(share("101%").is_err());
        assert!(share("many").is_err());
    }

    #[test]
    fn patterns_become_absolute_with_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        std::fs::create_dir(path.join("logs")).unwrap();
        std::fs::write(path.join("logs/a[1].csv"), "x").unwrap();
        for (source, expected) in [
            ("logs/../logs/2024-*.csv", "logs/2024-*.csv"),
            ("log?/x.csv", "log?/x.csv"),
            ("logs/a[1].csv", "logs/a[1].csv"),
        ] {
            let uri = source_uri(&format!("{}/{source}", path.display())).unwrap();
            assert_eq!(uri, format!("{}/{expected}", path.display()));
        }
        assert!(source_uri(&format!("{}/logz/*.csv", path.display())).is_err());
        assert_eq!(source_uri("s3://b/x-*.csv").unwrap(), "s3://b/x-*.csv");
    }

    #[test]
    fn names_follow_from_addresses() {
        let cases = [
            ("/data/ml-latest-small", "ml-latest-small"),
            ("s3://bucket/Movie Ratings/", "movie-ratings"),
            ("/data/ratings.csv.gz", "ratings"),
            ("/data/__x", "x"),
            ("/", "ratings"),
        ];
        for (uri, name) in cases {
            assert_eq!(dataset_name(uri), name, "{uri}");
        }
    }
}
