//! What commands print: tables and sentences for people, JSON for scripts.

pub(crate) mod answers;
mod import_report;
mod json;
mod panels;
pub mod scale;
mod shown;
mod status;
pub mod style;
mod table;
mod text;
mod worth;

use std::io::{self, Write as _};

use serde_json::Value;
use shoal_common::rpc::shortened;
use shoal_proto::v1::PromoteReply;

pub use import_report::import_report_text;
pub use json::{
    dataset, import_report_json, iso_time, job, job_seconds, known_node, live_versions, model, status,
    sweep_metrics, token, troubles, unprotected,
};
pub use panels::{Baseline, Panel, Panels, Series};
pub use shoal_common::readable::{bytes, count, counted, to_the_second};
pub use shown::shown_line;
pub use status::status_text;
pub use style::Colour;
pub use table::{Align, Cell, Table, cut};
pub use text::{
    decimal, evaluation_lines, genre_list, metrics_lines, seconds, unsure, users_measured, work_line,
};
pub use worth::{remarks, worth};

/// Bytes of a sentence: others may have a hand in it, and nobody reads more.
const SENTENCE_BYTES_MAX: usize = 8 * 1024;

/// Prints text and a newline to standard output, without its colours where they are not wanted. Lines and marked styles
/// are kept; whatever else acts on a terminal is shown. A reader that has gone away (`shoal … | head`) is no error.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    print_to_reader(text).map(drop)
}

/// As [`print()`]; false when the reader has gone away, for commands that would go on printing without an end.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_to_reader(text: &str) -> io::Result<bool> {
    write(&shown::painted(text.trim_end_matches('\n')))
}

/// Whether somebody has read it.
fn write(text: &str) -> io::Result<bool> {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Prints a sentence on standard error, in one line: line breaks and what else acts on a terminal is shown. A reader that
/// has gone away (`shoal … 2>&1 | head`) ends no command: nobody is left to tell.
pub fn say(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", shortened(&shown_line(sentence), SENTENCE_BYTES_MAX));
}

/// Says of a switch which routers may still answer from the version before.
pub fn say_late_routers(switched: &PromoteReply) {
    for sentence in &switched.late_routers {
        say(&format!("shoal: {sentence}"));
    }
}

/// Empties the terminal before the next text.
///
/// # Errors
/// When standard output cannot be written.
pub fn clear_terminal() -> io::Result<()> {
    anstream::stdout().lock().write_all(b"\x1b[H\x1b[2J")
}

/// Prints one JSON document.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_json(value: &Value) -> io::Result<()> {
    write(&shown::json(&format!("{value:#}"))).map(drop)
}

/// Prints a JSON document in one line; false when the reader has gone away.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_json_line(value: &Value) -> io::Result<bool> {
    write(&shown::json(&value.to_string()))
}
