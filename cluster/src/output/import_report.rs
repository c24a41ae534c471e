//! The report of an import: what was understood of the files, and what became of their rows.

use shoal_common::readable::count;
use shoal_proto::v1::{DuplicateRule, FileLook, IdKind, ImportReport, SourceFormat, SourceLook};
use shoal_router::http::views::content_name;

/// Files whose looks are printed; the others are counted.
const FILES_SHOWN: usize = 8;

fn kind_name(kind: IdKind) -> &'static str {
    if kind == IdKind::Integer { "integers" } else { "texts" }
}

/// The report in lines.
#[must_use]
pub fn import_report_text(report: &ImportReport, user_ids: IdKind, item_ids: IdKind) -> String {
    let mut text = report.look.as_ref().map(|look| look_text(look, user_ids, item_ids)).unwrap_or_default();
    let rejected: u64 = report.rejections.iter().map(|rejection| rejection.count).sum();
    let rule = match report.duplicate_rule() {
        DuplicateRule::Unspecified | DuplicateRule::Last => "the last one counts",
        DuplicateRule::Count => "rows of a pair are counted",
        DuplicateRule::Sum => "ratings of a pair are added",
    };
    text.push_str(&format!(
        "rows     {} read, {} taken, {} came again ({rule}), {} rejected\n",
        count(report.rows_read),
        count(report.rows_accepted),
        count(report.duplicates),
        count(rejected),
    ));
    if report.rows_without_time > 0 {
        text.push_str(&format!("times    missing in {} rows\n", count(report.rows_without_time)));
    }
    if report.rows_not_utf8 > 0 {
        text.push_str(&format!(
            "encoding {} rows were not UTF-8 and were read as Windows-1252 (--encoding says otherwise)\n",
            count(report.rows_not_utf8),
        ));
    }
    if report.characters_replaced > 0 {
        text.push_str(&format!(
            "encoding {} characters are none in the file's encoding and became \u{fffd}\n",
            count(report.characters_replaced),
        ));
    }
    for rejection in &report.rejections {
        text.push_str(&format!("  {} × {}\n", count(rejection.count), rejection.reason));
        for line in &rejection.examples {
            text.push_str(&format!("    {}:{}: {}\n", line.file, line.line, line.reason));
        }
    }
    text
}

fn look_text(look: &SourceLook, user_ids: IdKind, item_ids: IdKind) -> String {
    let mut text = String::new();
    for (at, file) in look.files.iter().take(FILES_SHOWN).enumerate() {
        text.push_str(if at == 0 { "files    " } else { "         " });
        text.push_str(&file_text(file));
    }
    if let Some(more @ 1..) = (look.file_count as usize).checked_sub(FILES_SHOWN.min(look.files.len())) {
        text.push_str(&format!("         and {} more\n", count(more as u64)));
    }
    for (side, kind, because) in
        [("users", user_ids, &look.user_ids_because), ("items", item_ids, &look.item_ids_because)]
    {
        let label = if side == "users" { "ids     " } else { "        " };
        text.push_str(&format!("{label} {side} are {}: {because}\n", kind_name(kind)));
    }
    if !look.not_read.is_empty() {
        text.push_str(&format!(
            "beside   not read: {} (--with-neighbours reads them)\n",
            look.not_read.join(", ")
        ));
    }
    if look.empty_file_count > 0 {
        text.push_str(&format!("empty    passed over: {}\n", empty_files(look)));
    }
    text
}

/// The first files without anything in them, and how many more there are.
fn empty_files(look: &SourceLook) -> String {
    let shown = look.empty_files.iter().take(FILES_SHOWN).map(String::as_str).collect::<Vec<_>>();
    match look.empty_file_count - shown.len() as u64 {
        0 => shown.join(", "),
        more => format!("{} and {} more", shown.join(", "), count(more)),
    }
}

fn file_text(file: &FileLook) -> String {
    let mut parts = vec![content_name(file.content()).to_owned()];
    if file.format() == SourceFormat::Parquet {
        parts.push("Parquet".to_owned());
    } else {
        let delimiter =
            if file.delimiter == "tab" { "tabs".to_owned() } else { format!("'{}'", file.delimiter) };
        parts.push(format!("text with {delimiter}"));
        parts.push(if file.header { "a header" } else { "no header" }.to_owned());
    }
    if !file.encoding.is_empty() {
        parts.push(file.encoding.clone());
    }
    let mut text = format!("{}: {}\n", file.file, parts.join(", "));
    let columns = file.columns.iter().map(|column| {
        let mut named = match column.name.as_str() {
            "" => format!("{} = column {}", column.role, column.number),
            name => format!("{} = '{name}' (column {})", column.role, column.number),
        };
        if !column.candidates.is_empty() {
            named.push_str(&format!(", not '{}'", column.candidates.join("' or '")));
        }
        named
    });
    text.push_str(&format!("           {}\n", columns.collect::<Vec<_>>().join("; ")));
    if !file.times.is_empty() {
        text.push_str(&format!("           times are {}\n", file.times));
    }
    for note in &file.notes {
        text.push_str(&format!("           {note}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shoal_proto::v1::{ColumnLook, FileContent, RejectedLine, RejectionCount};

    use super::*;
    use crate::output::import_report_json;

    fn report() -> ImportReport {
        let column = |role: &str, name: &str, number, candidates: &[&str]| ColumnLook {
            role: role.into(),
            name: name.into(),
            number,
            candidates: candidates.iter().map(|&name| name.to_owned()).collect(),
        };
        let file = FileLook {
            file: "clicks.csv".into(),
            content: FileContent::Ratings.into(),
            format: SourceFormat::Csv.into(),
            delimiter: "tab".into(),
            encoding: "UTF-8".into(),
            header: true,
            columns: vec![column("user", "user_id", 2, &["user"]), column("item", "item", 1, &[])],
            times: "milliseconds since 1970, kept as seconds".into(),
            notes: vec!["no column is read as the rating: each row counts 1".into()],
        };
        let reason = "the user id is empty".to_owned();
        ImportReport {
            rows_read: 5,
            rows_accepted: 4,
            duplicates: 2,
            duplicate_rule: DuplicateRule::Count.into(),
            rows_without_time: 1,
            look: Some(SourceLook {
                files: vec![file],
                user_ids_because: "'007' on line 3 would change as a number".into(),
                item_ids_because: "the first 4 are whole numbers".into(),
                not_read: vec!["movies.csv".into()],
                file_count: 3,
                empty_files: vec!["part-1.csv".into(), "part-2.csv".into()],
                empty_file_count: 5,
            }),
            rejections: vec![RejectionCount {
                reason: reason.clone(),
                count: 1,
                examples: vec![RejectedLine { file: "/d/clicks.csv".into(), line: 4, reason }],
            }],
            ..ImportReport::default()
        }
    }

    #[test]
    fn everything_that_was_understood_is_said() {
        let text = import_report_text(&report(), IdKind::Text, IdKind::Integer);
        for part in [
            "clicks.csv: ratings, text with tabs, a header, UTF-8",
            "user = 'user_id' (column 2), not 'user'; item = 'item' (column 1)",
            "times are milliseconds since 1970, kept as seconds",
            "each row counts 1",
            "users are texts: '007' on line 3 would change as a number",
            "items are integers: the first 4 are whole numbers",
            "and 2 more",
            "not read: movies.csv (--with-neighbours reads them)",
            "passed over: part-1.csv, part-2.csv and 3 more\n",
            "5 read, 4 taken, 2 came again (rows of a pair are counted), 1 rejected",
            "missing in 1 rows",
            "1 × the user id is empty\n    /d/clicks.csv:4: the user id is empty\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn json_has_the_same() {
        let json = import_report_json(&report(), IdKind::Text, IdKind::Integer);
        assert_eq!(json["understood"][0]["columns"][0]["candidates"], json!(["user"]));
        assert_eq!(json["user_ids"]["kind"], "text");
        assert_eq!((&json["duplicate_rule"], &json["rows_without_time"]), (&json!("count"), &json!(1)));
        assert_eq!(json["not_read"], json!(["movies.csv"]));
        assert_eq!((&json["empty_files"][1], &json["empty_file_count"]), (&json!("part-2.csv"), &json!(5)));
        assert_eq!(json["rejections"][0]["examples"][0]["line"], 4);
    }
}
