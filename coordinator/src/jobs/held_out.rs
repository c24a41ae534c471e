//! What became of a held-out file: the reports of all workers as one, and whether anything is left to measure on.

use shoal_common::import_report::rejections_in_a_line;
use shoal_proto::v1::HeldOutReport;

use super::error::JobError;

/// One report of all workers'. Each has read the whole file, and has the pairs of its own users.
///
/// # Errors
/// When no pair is left to measure on, with the reasons.
pub(super) fn combined(
    reports: Vec<HeldOutReport>,
    test_uri: &str,
) -> Result<Option<HeldOutReport>, JobError> {
    let sum = |of: fn(&HeldOutReport) -> u64| reports.iter().map(of).sum::<u64>();
    let (pairs, in_dataset) = (sum(|report| report.pairs), sum(|report| report.pairs_in_dataset));
    let duplicates = sum(|report| report.read.as_ref().map_or(0, |read| read.duplicates));
    let Some(first) = reports.into_iter().next() else { return Ok(None) };
    let mut report = HeldOutReport { pairs, pairs_in_dataset: in_dataset, ..first };
    if let Some(read) = &mut report.read {
        read.duplicates = duplicates;
    }
    if pairs > 0 {
        return Ok(Some(report));
    }
    let read = report.read.clone().unwrap_or_default();
    let rejected = rejections_in_a_line(&read);
    let rejected = if rejected.is_empty() { String::new() } else { format!(" ({rejected})") };
    Err(JobError::Fatal(format!(
        "nothing of the test file '{test_uri}' is left to measure on: of {} rows {} are rejected{rejected}, {} are of users and {} of items that the data set does not have; give a file with ids of the data set, or say with --test-user-col and its like how it is read",
        read.rows_read,
        read.rows_read - read.rows_accepted,
        report.unknown_user_rows,
        report.unknown_item_rows,
    )))
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::ImportReport;

    use super::*;

    fn report(pairs: u64) -> HeldOutReport {
        let read = ImportReport { rows_read: 9, rows_accepted: 7, duplicates: 1, ..ImportReport::default() };
        HeldOutReport {
            read: Some(read),
            pairs,
            unknown_user_rows: 2,
            pairs_in_dataset: 1,
            ..HeldOutReport::default()
        }
    }

    #[test]
    fn rows_are_those_of_the_file_and_pairs_are_added() {
        assert!(combined(Vec::new(), "t").unwrap().is_none());
        let all = combined(vec![report(3), report(0), report(1)], "t").unwrap().unwrap();
        let read = all.read.unwrap();
        assert_eq!((all.pairs, all.pairs_in_dataset, all.unknown_user_rows), (4, 3, 2));
        assert_eq!((read.rows_read, read.duplicates), (9, 3));
        let error = combined(vec![report(0)], "t.csv").unwrap_err().to_string();
        for part in ["'t.csv'", "of 9 rows 2 are rejected", "2 are of users"] {
            assert!(error.contains(part), "'{part}' is not in: {error}");
        }
    }
}
