//! What commands print: tables and sentences for people, JSON for scripts.

pub(crate) mod answers;
mod import_report;
mod json;
mod panels;
pub mod scale;
pub mod style;
mod table;
mod text;
mod worth;

use std::io::{self, Write as _};

use serde_json::Value;

pub use import_report::{import_report_json, import_report_text};
pub use json::{dataset, iso_time, job, job_seconds, known_node, model, status, sweep_metrics};
pub use panels::{Baseline, Panel, Panels, Series};
pub use style::Colour;
pub use table::{Align, Cell, Table};
pub use text::{
    bytes, count, counted, decimal, evaluation_lines, genre_list, metrics_lines, seconds, to_the_second,
    unsure, users_measured, work_line,
};
pub use worth::{remarks, worth};

/// Prints text and a newline to standard output, without its colours where they are not wanted. A reader that has gone away (`shoal … | head`) is no error.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints one JSON document.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_json(value: &Value) -> io::Result<()> {
    print(&format!("{value:#}"))
}
