//! An import: look at the source, hand out its byte ranges, sort, build, publish.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use shoal_common::{
    clock::UtcTime,
    import_report::{ReportSum, rejections_in_a_line},
    store::{METADATA_FILE, Manifest, dataset_path, join, staging_path},
};
use shoal_proto::v1::{
    DatasetInfo, DatasetSource, FileContent, FileLook, ImportReport, IngestBegin, IngestBuild, IngestParse,
    IngestSort, InspectSourceReply, InspectSourceRequest, JobInfo, ObjectEntry, ShardStats, SourceFile,
    SourceFormat, update_job::Update,
};

use super::{
    error::JobError,
    lanes::share_out,
    shares::Shares,
    steps::{Crew, client, incomplete, refusal},
    tracker::{Phase, Tracker},
};
use crate::{
    leader::{Leader, LiveWorker},
    placement::even_owners,
    state::{Job, stamp_of},
};

const SHARDS_DEFAULT: u32 = 16;

const INSPECTING: Phase = Phase { name: "inspecting", text: "looking at the files", span: (0.0, 0.02) };
const PARSING: Phase = Phase { name: "parsing", text: "parsing", span: (0.02, 0.6) };
const SORTING: Phase = Phase { name: "sorting", text: "sorting", span: (0.6, 0.75) };
const BUILDING: Phase = Phase { name: "building", text: "writing blocks", span: (0.75, 0.98) };
const PUBLISHING: Phase = Phase { name: "publishing", text: "publishing", span: (0.98, 1.0) };

/// Bytes of a range: small enough that a worker holds only a few, large enough to be worth a call.
const RANGE_BYTES_MIN: u64 = 1024 * 1024;
const RANGE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Ranges that a worker parses at once: one for each of its threads, and one that is read or sent meanwhile.
fn lanes_of(worker: &LiveWorker) -> usize {
    worker.threads.max(1) as usize + 1
}

pub(super) async fn run(
    leader: &Leader,
    job: &mut Job,
    workers: &[LiveWorker],
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    let info = job.info.clone();
    if info.dataset.is_some() {
        // Published by an attempt whose leader was lost before it could say so.
        return Ok(());
    }
    let request = info.import.clone().unwrap_or_default();
    let source = request.source.clone().unwrap_or_default();
    let crew = Crew { job_id: info.job_id.clone(), attempt: info.attempt, workers: workers.to_vec() };
    tracker.begin(&INSPECTING);
    let found = inspect(leader, &workers[0], &source, false).await?;

    let shard_count = if request.shard_count == 0 { SHARDS_DEFAULT } else { request.shard_count };
    let mut begin = IngestBegin {
        source: Some(source.clone()),
        shard_count,
        user_id_kind: found.user_id_kind,
        item_id_kind: found.item_id_kind,
        owners: even_owners(shard_count, &crew.names()),
        workers: crew.peers(),
        staging_path: staging_path(&info.job_id, info.attempt),
        files: found.files.clone(),
        duplicates: found.duplicates,
    };
    let ranges = loop {
        crew.on_all(leader, begin.clone(), tracker).await?;
        tracker.begin(&PARSING);
        let ranges = parse(leader, &crew, &begin.files, tracker).await?;
        // Where quotes were left open ranges may have begun inside of fields: those files are read again,
        // each in one piece, by workers that begin anew.
        if !set_multiline(&mut begin.files, &ranges) {
            break ranges;
        }
        tracker.wait("parsing again, as fields go on over line ends");
    };
    let (report, files) = merge_reports(&begin.files, ranges);
    check_report(&report, &files, &source)?;

    tracker.begin(&SORTING);
    let mut dataset = sort(leader, &crew, shard_count, tracker).await?;
    dataset.report = Some(ImportReport {
        duplicates: dataset.report.take().unwrap_or_default().duplicates,
        duplicate_rule: found.duplicates,
        look: found.look,
        ..report
    });
    dataset.name.clone_from(&request.name);
    dataset.version = stamp_of(&info);
    dataset.path = path_of(&info);
    dataset.shard_count = shard_count;
    dataset.user_id_kind = found.user_id_kind;
    dataset.item_id_kind = found.item_id_kind;
    dataset.created_unix_ms = info.created_unix_ms;
    dataset.source_uri.clone_from(&source.uri);
    dataset.source = Some(source);

    tracker.begin(&BUILDING);
    let build = IngestBuild {
        path: dataset.path.clone(),
        user_rows: dataset.user_shards.iter().map(|shard| shard.rows).collect(),
        item_rows: dataset.item_shards.iter().map(|shard| shard.rows).collect(),
    };
    let written = crew.on_all(leader, build, tracker).await?;
    let objects = written.into_iter().flat_map(|written| written.objects).collect();
    tracker.begin(&PUBLISHING);
    publish(leader, &mut dataset, objects).await?;
    leader.update_job(&info.job_id, Update::DatasetPublished(dataset.clone())).await?;
    job.info.dataset = Some(dataset);
    Ok(())
}

fn path_of(info: &JobInfo) -> String {
    let name = info.import.clone().unwrap_or_default().name;
    dataset_path(&name, &stamp_of(info))
}

/// What a job that did not publish may have written.
pub(super) fn unpublished_folder(info: &JobInfo) -> Option<String> {
    (info.import.is_some() && info.dataset.is_none()).then(|| path_of(info))
}

pub(super) async fn inspect(
    leader: &Leader,
    worker: &LiveWorker,
    source: &DatasetSource,
    preview: bool,
) -> Result<InspectSourceReply, JobError> {
    let request = InspectSourceRequest { source: Some(source.clone()), preview };
    let reply = client(leader, worker)?.inspect_source(request).await;
    Ok(reply.map_err(|status| refusal(worker, &status))?.into_inner())
}

/// A range of a file, and what was in it.
pub(super) struct RangeDone {
    pub(super) step: IngestParse,
    pub(super) report: ImportReport,
    /// Lines of the range.
    pub(super) lines: u64,
    /// Lines that open a quoted field and do not close it.
    pub(super) open_quotes: u64,
}

/// The ranges of all files; the smaller the more are read at once, so that none is the last for long.
fn ranges(files: &[SourceFile], lanes: usize) -> Vec<IngestParse> {
    let mut ranges = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let size = if file.multiline || file.one_range {
            // A range begins at a line end, which may be inside a quoted field, and of a packed or transcoded file
            // only the first byte's place is known.
            file.length_bytes.max(1)
        } else {
            (file.length_bytes / (2 * lanes as u64)).clamp(RANGE_BYTES_MIN, RANGE_BYTES_MAX)
        };
        let mut begin = 0;
        while begin < file.length_bytes {
            let end = (begin + size).min(file.length_bytes);
            ranges.push(IngestParse { file: number as u32, begin, end });
            begin = end;
        }
    }
    ranges
}

/// Hands out the ranges to whoever is free.
async fn parse(
    leader: &Leader,
    crew: &Crew,
    files: &[SourceFile],
    tracker: &mut Tracker,
) -> Result<Vec<RangeDone>, JobError> {
    let total: u64 = files.iter().map(|file| file.length_bytes).sum();
    let lanes: Vec<&LiveWorker> =
        crew.workers.iter().flat_map(|worker| std::iter::repeat_n(worker, lanes_of(worker))).collect();
    // Bytes of its range that each lane has parsed so far.
    let shares = &Shares::new(lanes.len());
    let work = |lane: usize, step: IngestParse| {
        let worker = lanes[lane];
        async move {
            let on_progress = |done, total| shares.set(lane, done, total);
            let done = crew.on_one(leader, worker, step, on_progress).await?;
            let Some(report) = done.report else { return Err(incomplete(worker, "a report on its rows")) };
            Ok(RangeDone { step, report, lines: done.lines, open_quotes: done.open_quotes })
        }
    };
    let mut done = Vec::new();
    let mut bytes = 0;
    let on_news = |range: Option<RangeDone>| {
        if let Some(range) = range {
            bytes += range.step.end - range.step.begin;
            done.push(range);
        }
        tracker.done((bytes + shares.done()) as f64 / total.max(1) as f64);
    };
    share_out(ranges(files, lanes.len()), shares, work, on_news).await?;
    Ok(done)
}

/// Marks the CSV files in which a quote was left open and that were read as if no row went on over a line
/// end. Whether there are any.
fn set_multiline(files: &mut [SourceFile], ranges: &[RangeDone]) -> bool {
    let mut any = false;
    for RangeDone { step, open_quotes, .. } in ranges {
        let file = &mut files[step.file as usize];
        if *open_quotes > 0 && file.format() == SourceFormat::Csv && !file.multiline {
            file.multiline = true;
            any = true;
        }
    }
    any
}

/// How many rows of a file were read, and rejected. The parts of one file count together.
#[derive(Debug, Clone, Default)]
pub(super) struct FileRows {
    content: FileContent,
    name: String,
    read: u64,
    rejected: u64,
}

/// One report of all ranges, in file order, with line numbers of the file; and the counts of each file.
pub(super) fn merge_reports(
    files: &[SourceFile],
    mut ranges: Vec<RangeDone>,
) -> (ImportReport, Vec<FileRows>) {
    let mut by_file: Vec<FileRows> = Vec::new();
    let mut of_file = Vec::new();
    for file in files {
        let (content, name) = (file.content(), file.uri.clone());
        let at = by_file.iter().position(|rows| rows.content == content).unwrap_or_else(|| {
            by_file.push(FileRows { content, name, ..FileRows::default() });
            by_file.len() - 1
        });
        of_file.push(at);
    }
    ranges.sort_by_key(|range| (range.step.file, range.step.begin));
    let mut sum = ReportSum::new(files);
    for RangeDone { step, report, lines, .. } in ranges {
        let rows = &mut by_file[of_file[step.file as usize]];
        rows.read += report.rows_read;
        rows.rejected += report.rows_read - report.rows_accepted;
        sum.add(step.file as usize, report, lines);
    }
    (sum.finish(), by_file)
}

/// Refuses an import that has no good row, or a file with too many bad ones, in one sentence with examples.
pub(super) fn check_report(
    report: &ImportReport,
    files: &[FileRows],
    source: &DatasetSource,
) -> Result<(), JobError> {
    if report.rows_accepted == 0 {
        return Err(JobError::Fatal(format!("no row of '{}' could be read{}", source.uri, examples(report))));
    }
    let share = |file: &FileRows| file.rejected as f64 / file.read.max(1) as f64;
    // Of each file by itself: a long good one must not hide a short bad one.
    let Some(bad) = files.iter().find(|file| share(file) > source.bad_rows_ratio_max) else { return Ok(()) };
    Err(JobError::Fatal(format!(
        "{} of {} rows of '{}' are bad ({:.3} %), more than the {:.3} % allowed, so nothing was imported{}; mend the file, or allow more with --max-bad-rows",
        bad.rejected,
        bad.read,
        bad.name,
        share(bad) * 100.0,
        source.bad_rows_ratio_max * 100.0,
        examples(report),
    )))
}

fn examples(report: &ImportReport) -> String {
    let rejected = rejections_in_a_line(report);
    if rejected.is_empty() { String::new() } else { format!(": {rejected}") }
}

/// Sorts on every worker and adds up what they found.
async fn sort(
    leader: &Leader,
    crew: &Crew,
    shard_count: u32,
    tracker: &mut Tracker,
) -> Result<DatasetInfo, JobError> {
    let mut dataset =
        DatasetInfo { rating_min: f64::INFINITY, rating_max: f64::NEG_INFINITY, ..DatasetInfo::default() };
    let mut sums = Vec::new();
    let mut duplicates = 0;
    for done in crew.on_all(leader, IngestSort {}, tracker).await? {
        dataset.user_shards.extend(done.user_shards);
        dataset.item_shards.extend(done.item_shards);
        dataset.catalogue_items += done.catalogue_items;
        dataset.tags += done.tags;
        dataset.genome_items += done.genome_items;
        dataset.rating_min = dataset.rating_min.min(done.rating_min);
        dataset.rating_max = dataset.rating_max.max(done.rating_max);
        duplicates += done.duplicates;
        sums.extend(done.rating_sums);
    }
    dataset.user_shards.sort_by_key(|shard| shard.shard);
    dataset.item_shards.sort_by_key(|shard| shard.shard);
    // In shard order, so that the mean does not depend on who summed.
    sums.sort_by_key(|sum| sum.shard);
    let sides = [&dataset.user_shards, &dataset.item_shards];
    if !sides.iter().all(|side| side.iter().map(|shard| shard.shard).eq(0..shard_count))
        || !sums.iter().map(|sum| sum.shard).eq(0..shard_count)
    {
        return Err(JobError::Transient("the workers have not sorted every shard once".to_owned()));
    }
    let rows = |shards: &[ShardStats]| shards.iter().map(|shard| shard.rows).sum();
    dataset.users = rows(&dataset.user_shards);
    dataset.items = rows(&dataset.item_shards);
    dataset.ratings = dataset.user_shards.iter().map(|shard| shard.ratings).sum();
    if dataset.ratings == 0 {
        return Err(JobError::Fatal("the source has no ratings".to_owned()));
    }
    dataset.rating_mean = sums.iter().map(|sum| sum.sum).sum::<f64>() / dataset.ratings as f64;
    dataset.report = Some(ImportReport { duplicates, ..ImportReport::default() });
    Ok(dataset)
}

/// What was understood of each file, for people who look into the store.
fn understood(report: &ImportReport) -> Vec<serde_json::Value> {
    let look = report.look.clone().unwrap_or_default();
    let file = |file: &FileLook| {
        let columns: serde_json::Map<String, serde_json::Value> = file
            .columns
            .iter()
            .map(|column| (column.role.clone(), json!({ "name": column.name, "number": column.number })))
            .collect();
        json!({
            "file": file.file,
            "delimiter": file.delimiter,
            "encoding": file.encoding,
            "header": file.header,
            "columns": columns,
            "times": file.times,
            "notes": file.notes,
        })
    };
    look.files.iter().map(file).collect()
}

/// Writes the file for people and the manifest, last.
async fn publish(
    leader: &Leader,
    dataset: &mut DatasetInfo,
    mut objects: Vec<ObjectEntry>,
) -> Result<(), JobError> {
    let report = dataset.report.clone().unwrap_or_default();
    let rejections: BTreeMap<&str, u64> =
        report.rejections.iter().map(|rejection| (rejection.reason.as_str(), rejection.count)).collect();
    let readable = json!({
        "name": dataset.name,
        "version": dataset.version,
        "source": dataset.source_uri,
        "shards_per_side": dataset.shard_count,
        "users": dataset.users,
        "items": dataset.items,
        "ratings": dataset.ratings,
        "catalogue_items": dataset.catalogue_items,
        "tags": dataset.tags,
        "genome_items": dataset.genome_items,
        "rating": { "min": dataset.rating_min, "max": dataset.rating_max, "mean": dataset.rating_mean },
        "rows_read": report.rows_read,
        "rows_without_time": report.rows_without_time,
        "duplicates": report.duplicates,
        "rejected": rejections,
        "files": understood(&report),
        "created": UtcTime::from_unix_ms(dataset.created_unix_ms).iso_8601(),
        "code_version": env!("CARGO_PKG_VERSION"),
    });
    let text = format!("{readable:#}\n");
    let entry = leader.store.put(&join(&dataset.path, METADATA_FILE), Bytes::from(text)).await?;
    objects.push(ObjectEntry { path: METADATA_FILE.to_owned(), ..entry });
    dataset.manifest_checksum = Manifest::new("dataset", objects).write(&leader.store, &dataset.path).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{RejectedLine, RejectionCount};

    use super::*;

    fn file(uri: &str, length_bytes: u64) -> SourceFile {
        let content = FileContent::Ratings.into();
        SourceFile { uri: uri.to_owned(), content, length_bytes, ..SourceFile::default() }
    }

    #[test]
    fn ranges_cover_every_file_and_some_files_have_one() {
        let long = 3 * RANGE_BYTES_MAX + 1;
        let files = [
            file("a", long),
            SourceFile { one_range: true, ..file("packed", long) },
            SourceFile { multiline: true, ..file("quoted", long) },
            file("b", 10),
            file("empty", 0),
        ];
        let found = ranges(&files, 1);
        for (number, (file, expected)) in files.iter().zip([4, 1, 1, 1, 0]).enumerate() {
            let of_file: Vec<_> = found.iter().filter(|range| range.file == number as u32).collect();
            assert_eq!(of_file.len(), expected, "{}", file.uri);
            let end = of_file.iter().fold(0, |end, range| {
                assert_eq!(range.begin, end);
                range.end
            });
            assert_eq!(end, file.length_bytes);
        }
    }

    fn done(begin: u64, line: u64) -> RangeDone {
        let example = RejectedLine { file: "a".into(), line, reason: "x".into() };
        let rejection = RejectionCount { reason: "x".into(), count: 1, examples: vec![example] };
        let report = ImportReport {
            rows_read: 100,
            rows_accepted: 99,
            rejections: vec![rejection],
            ..ImportReport::default()
        };
        let step = IngestParse { file: 0, begin, end: begin + 1_000 };
        RangeDone { step, report, lines: 100, open_quotes: 0 }
    }

    #[test]
    fn lines_are_those_of_the_file_whichever_range_is_done_first() {
        let files = [file("a", 3_000)];
        let (report, _) = merge_reports(&files, vec![done(2_000, 3), done(0, 1), done(1_000, 2)]);
        let lines: Vec<u64> = report.rejections[0].examples.iter().map(|example| example.line).collect();
        assert_eq!(lines, [1, 102, 203]);
    }

    #[test]
    fn as_many_bad_rows_are_taken_as_are_allowed() {
        let files = [file("a", 1_000)];
        let (report, rows) = merge_reports(&files, vec![done(0, 1)]);
        let allows = |bad_rows_ratio_max| {
            let source = DatasetSource { bad_rows_ratio_max, ..DatasetSource::default() };
            check_report(&report, &rows, &source).is_ok()
        };
        assert!(allows(0.01) && !allows(0.009_99));
    }
}
