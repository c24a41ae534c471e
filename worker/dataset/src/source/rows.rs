//! The rows of a range of a file, of whatever format, to a sink.

use std::ops::Range;

use shoal_common::{
    compute::{Compute, ComputeError},
    store::join,
};
use shoal_format::row::Row;
use shoal_proto::v1::{ImportReport, SourceFile, SourceFormat};

use super::{
    SourceError, SourceFolder,
    decoding::{TextDecoder, has_no_ranges},
    parquet::ParquetFile,
};
use crate::parse::{RowReader, Rules, Tally};

/// Stored bytes of a file without ranges that are read and decoded in one go.
const STREAM_BYTES: u64 = 1024 * 1024;

/// Takes rows, on threads for computing.
pub trait RowSink: Send + 'static {
    /// Why it takes no more, or none came.
    type Error: From<SourceError> + From<ComputeError> + Send + 'static;

    /// Takes a row. Positions tell rows of a file apart, and ascend.
    ///
    /// # Errors
    /// When the rest is not wanted.
    fn take(&mut self, row: &Row<'_>, position: u64) -> Result<(), Self::Error>;
}

/// What was read of a range.
#[derive(Debug)]
pub struct RangeRead<S> {
    /// The sink, with what it took.
    pub sink: S,
    /// Rows counted; lines from the range's first, or rows from the file's where a format has no lines.
    pub report: ImportReport,
    /// Lines of the rows that start in the range.
    pub lines: u64,
    /// Lines that open a quote and do not close it.
    pub open_quotes: u64,
}

impl SourceFolder {
    /// Hands the rows that start in `range` to `sink`, parsing on `compute`. `on_bytes` is told how many more bytes are read.
    ///
    /// # Errors
    /// When the file cannot be read, or the sink's own.
    pub async fn read_range<S: RowSink>(
        &self,
        file: &SourceFile,
        rules: Rules,
        range: Range<u64>,
        compute: &Compute,
        sink: S,
        on_bytes: impl Fn(u64) + Send + Sync,
    ) -> Result<RangeRead<S>, S::Error> {
        let name = join(&self.uri, &file.uri);
        if file.format() == SourceFormat::Parquet {
            return self.read_groups(file, rules, range, name, compute, sink, on_bytes).await;
        }
        if has_no_ranges(file) {
            return self.read_stream(file, rules, name, compute, sink, on_bytes).await;
        }
        let end = range.end;
        let mut sink = sink;
        let mut reader = RowReader::new(file, rules, name, range);
        while let Some(position) = reader.wants() {
            let (bytes, last) = self.read_piece(file, position, end).await?;
            let length = bytes.len() as u64;
            let parsing = compute.run(move || {
                let mut outcome = Ok(());
                reader.take(&bytes, last, |row, position| {
                    if outcome.is_ok() {
                        outcome = sink.take(&row, position);
                    }
                });
                outcome.map(|()| (reader, sink))
            });
            (reader, sink) = parsing.await??;
            on_bytes(length);
        }
        let open_quotes = reader.open_quotes();
        let (report, lines) = reader.finish();
        Ok(RangeRead { sink, report, lines, open_quotes })
    }

    /// Reads a file whose text is not what is stored, from its first byte to its last. Positions of rows are those of the
    /// text.
    async fn read_stream<S: RowSink>(
        &self,
        file: &SourceFile,
        rules: Rules,
        name: String,
        compute: &Compute,
        sink: S,
        on_bytes: impl Fn(u64) + Send + Sync,
    ) -> Result<RangeRead<S>, S::Error> {
        let mut stream = RowStream::new(file, rules, name, sink)?;
        let mut begin = 0;
        while begin < file.length_bytes {
            let end = (begin + STREAM_BYTES).min(file.length_bytes);
            let bytes = self.read_exactly(&file.uri, begin..end).await?;
            let last = end == file.length_bytes;
            stream = compute.run(move || stream.take(&bytes, last)).await??;
            on_bytes(end - begin);
            begin = end;
        }
        let RowStream { reader, sink, decoder, .. } = stream;
        let open_quotes = reader.open_quotes();
        let (mut report, lines) = reader.finish();
        report.characters_replaced = decoder.replaced();
        Ok(RangeRead { sink, report, lines, open_quotes })
    }

    #[expect(clippy::too_many_arguments, reason = "as many as the function above, which alone calls it")]
    async fn read_groups<S: RowSink>(
        &self,
        file: &SourceFile,
        rules: Rules,
        range: Range<u64>,
        name: String,
        compute: &Compute,
        sink: S,
        on_bytes: impl Fn(u64) + Send + Sync,
    ) -> Result<RangeRead<S>, S::Error> {
        let parquet = ParquetFile::open(self, &file.uri, file.length_bytes).await?;
        let (mut sink, mut tally) = (sink, Tally::new(name));
        for group in parquet.groups_in(&range) {
            let bytes = parquet.fetch(self, group, file).await?;
            let length = bytes.len();
            let file = file.clone();
            let reading = compute.run(move || {
                bytes.read(&file, &rules, &mut tally, |row, position| sink.take(row, position))?;
                Ok::<_, S::Error>((tally, sink))
            });
            (tally, sink) = reading.await??;
            on_bytes(length);
        }
        Ok(RangeRead { sink, report: tally.finish(), lines: 0, open_quotes: 0 })
    }
}

/// Rows of a text that is decoded as it is read.
struct RowStream<S> {
    decoder: TextDecoder,
    reader: RowReader,
    sink: S,
    /// Bytes of the text before the first row that are still to come.
    before_rows: u64,
}

impl<S: RowSink> RowStream<S> {
    fn new(file: &SourceFile, rules: Rules, name: String, sink: S) -> Result<Self, SourceError> {
        let decoder = TextDecoder::new(file, &name)?;
        // How long the text is comes out at its end.
        let text = SourceFile { length_bytes: u64::MAX, ..file.clone() };
        let reader = RowReader::new(&text, rules, name, 0..u64::MAX);
        Ok(Self { decoder, reader, sink, before_rows: file.data_offset })
    }

    /// Takes the next stored bytes, `last` when no others follow.
    fn take(mut self, stored: &[u8], last: bool) -> Result<Self, S::Error> {
        let Self { decoder, reader, sink, before_rows } = &mut self;
        decoder.take(stored, last, |text| {
            // No longer than the text.
            let skipped = (*before_rows).min(text.len() as u64);
            *before_rows -= skipped;
            let mut outcome = Ok(());
            reader.take(&text[skipped as usize..], false, |row, position| {
                if outcome.is_ok() {
                    outcome = sink.take(&row, position);
                }
            });
            outcome
        })?;
        let mut outcome = Ok(());
        if last {
            reader.take(&[], true, |row, position| outcome = sink.take(&row, position));
        }
        outcome.map(|()| self)
    }
}
