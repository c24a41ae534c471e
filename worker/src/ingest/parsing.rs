//! A byte range of the source on its way to the owners of its rows.

use std::sync::Arc;

use shoal_dataset::source::rows::RangeRead;
use shoal_proto::v1::{IngestParse, IngestParseDone, SourceFile};
use tokio_util::sync::CancellationToken;

use crate::ingest::{
    IngestError,
    attempt::{IngestAttempt, OnDone},
    outbox::Outbox,
    push::RecordStreams,
};

impl IngestAttempt {
    /// Parses a range and sends its rows to the owners; returns when they have taken them.
    ///
    /// # Errors
    /// When the source cannot be read or an owner is lost.
    pub async fn parse(
        self: &Arc<Self>,
        step: IngestParse,
        cancelled: CancellationToken,
        on_bytes: OnDone,
    ) -> Result<IngestParseDone, IngestError> {
        let file = self.files.get(step.file as usize);
        let file =
            file.ok_or_else(|| IngestError::Request(format!("there is no file {}", step.file)))?.clone();
        let (streams, outlets) = RecordStreams::open(&self.workers, self.me, &self.context.channels)?;
        let outbox = Outbox::new(Arc::clone(self), outlets, step.file, cancelled);
        // The outbox goes with the rows, and with it the streams end.
        let parsed = self.parse_rows(&file, step, outbox, &on_bytes).await;
        let sent = streams.finish().await;
        match (parsed, sent) {
            (Ok(done), Ok(())) => Ok(done),
            // A broken stream stops the parsing too; its own error says more.
            (Err(IngestError::Cancelled) | Ok(_), Err(error)) | (Err(error), _) => Err(error),
        }
    }

    async fn parse_rows(
        &self,
        file: &SourceFile,
        step: IngestParse,
        outbox: Outbox,
        on_bytes: &OnDone,
    ) -> Result<IngestParseDone, IngestError> {
        let compute = &self.context.compute;
        let reading =
            self.source
                .read_range(file, self.rules, step.begin..step.end, compute, outbox, |bytes| on_bytes(bytes));
        let RangeRead { sink, mut report, lines, open_quotes } = reading.await?;
        // Sending may wait for a slow owner, which async code must not.
        compute.run(move || sink.finish()).await??;
        report.bytes_read = step.end.saturating_sub(step.begin);
        Ok(IngestParseDone { report: Some(report), lines, open_quotes })
    }
}
