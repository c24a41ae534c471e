//! What an import would make of a source, by its first rows. It is no job: nothing is kept, and one worker reads.

use shoal_proto::v1::{ImportDatasetRequest, ImportReport, IngestParse, PreviewImportReply};

use super::{
    error::JobError,
    import::{RangeDone, check_report, inspect, merge_reports},
};
use crate::leader::Leader;

/// Reads the first rows of the source on a worker that can be reached.
///
/// # Errors
/// When there is no worker, or the source cannot be read or understood.
pub(crate) async fn preview(
    leader: &Leader,
    request: ImportDatasetRequest,
) -> Result<PreviewImportReply, JobError> {
    let source = request.source.unwrap_or_default();
    let state = leader.raft.view().borrow().clone();
    let workers = leader.members.live_workers(&state, leader.config.lease);
    let worker = workers.first().ok_or_else(|| {
        JobError::Transient("there is no worker that could read the source; start one".to_owned())
    })?;
    let found = inspect(leader, worker, &source, true).await?;
    let ranges = found.previews.iter().enumerate().map(|(file, report)| RangeDone {
        step: IngestParse { file: file as u32, ..IngestParse::default() },
        report: report.clone(),
        lines: 0,
        open_quotes: 0,
    });
    let (report, files) = merge_reports(&found.files, ranges.collect());
    let refusal = check_report(&report, &files, &source).err().map(|error| error.to_string());
    Ok(PreviewImportReply {
        report: Some(ImportReport { duplicate_rule: found.duplicates, look: found.look, ..report }),
        user_id_kind: found.user_id_kind,
        item_id_kind: found.item_id_kind,
        refusal: refusal.unwrap_or_default(),
    })
}
