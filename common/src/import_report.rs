//! Reports of the ranges of a source's files, added up to one.

use std::collections::BTreeMap;

use shoal_proto::v1::{ImportReport, RejectionCount, SourceFile};

/// Examples kept per reason.
const EXAMPLES_MAX: usize = 3;

/// Names of files kept, as every coordinator has them in memory.
const FILES_KEPT: usize = 100;

/// The sum of reports on ranges, which come in the order of the files and of their bytes.
#[derive(Debug)]
pub struct ReportSum {
    report: ImportReport,
    counts: BTreeMap<String, RejectionCount>,
    header_lines: Vec<u64>,
    file: usize,
    /// Lines of the file before the next range.
    lines: u64,
}

impl ReportSum {
    /// Nothing read yet of these files.
    #[must_use]
    pub fn new(files: &[SourceFile]) -> Self {
        let report = ImportReport {
            files: files.iter().take(FILES_KEPT).map(|file| file.uri.clone()).collect(),
            file_count: files.len() as u64,
            ..ImportReport::default()
        };
        let header_lines = files.iter().map(|file| u64::from(file.header_lines)).collect();
        Self { report, counts: BTreeMap::new(), header_lines, file: usize::MAX, lines: 0 }
    }

    /// Adds the report on the next range, of the file of this number and with so many lines; its own line numbers begin
    /// with the range.
    pub fn add(&mut self, file: usize, report: ImportReport, lines: u64) {
        if file != self.file {
            self.file = file;
            self.lines = self.header_lines.get(file).copied().unwrap_or_default();
        }
        let sum = &mut self.report;
        sum.rows_read += report.rows_read;
        sum.rows_accepted += report.rows_accepted;
        sum.bytes_read += report.bytes_read;
        sum.rows_without_time += report.rows_without_time;
        sum.rows_not_utf8 += report.rows_not_utf8;
        sum.characters_replaced += report.characters_replaced;
        for rejection in report.rejections {
            let count = self.counts.entry(rejection.reason.clone()).or_insert_with(|| RejectionCount {
                reason: rejection.reason.clone(),
                ..RejectionCount::default()
            });
            count.count += rejection.count;
            for mut example in rejection.examples {
                example.line += self.lines;
                if count.examples.len() < EXAMPLES_MAX {
                    count.examples.push(example);
                }
            }
        }
        self.lines += lines;
    }

    /// The sum; the reason with the most rows first.
    #[must_use]
    pub fn finish(mut self) -> ImportReport {
        self.report.rejections = self.counts.into_values().collect();
        self.report.rejections.sort_by_key(|rejection| std::cmp::Reverse(rejection.count));
        self.report
    }
}

/// The reasons for which rows were rejected, each with its first place; empty when none was.
#[must_use]
pub fn rejections_in_a_line(report: &ImportReport) -> String {
    let lines = report.rejections.iter().map(|rejection| {
        let first = rejection.examples.first().cloned().unwrap_or_default();
        format!("{} × {} (first at {} line {})", rejection.count, rejection.reason, first.file, first.line)
    });
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::RejectedLine;

    use super::*;

    #[test]
    fn lines_count_on_from_range_to_range_and_anew_in_each_file() {
        let file = |name: &str, header_lines| SourceFile {
            uri: name.to_owned(),
            header_lines,
            ..SourceFile::default()
        };
        let mut sum = ReportSum::new(&[file("a", 1), file("b", 0)]);
        let report = |file: &str, line: u64, reason: &str| ImportReport {
            rows_read: 5,
            rows_accepted: 4,
            rejections: vec![RejectionCount {
                reason: reason.to_owned(),
                count: 1,
                examples: vec![RejectedLine { file: file.to_owned(), line, reason: reason.to_owned() }],
            }],
            ..ImportReport::default()
        };
        sum.add(0, report("a", 2, "x"), 10);
        sum.add(0, report("a", 3, "y"), 10);
        sum.add(1, report("b", 4, "y"), 10);
        let report = sum.finish();
        assert_eq!((report.rows_read, report.rows_accepted, report.file_count), (15, 12, 2));
        let text = rejections_in_a_line(&report);
        assert_eq!(text, "2 × y (first at a line 14); 1 × x (first at a line 3)");
        let last = report.rejections[0].examples.last().map(|example| (example.file.as_str(), example.line));
        assert_eq!(last, Some(("b", 4)));
    }
}
