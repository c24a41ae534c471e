//! What commands print: tables and sentences for people, JSON for scripts.

mod bars;
mod json;
mod table;
mod text;
mod worth;

use std::io::{self, Write as _};

use serde_json::Value;

pub use bars::{Bars, Group};
pub use json::{dataset, iso_time, job, model, parameters, status, sweep_metrics};
pub use table::{Align, Table};
pub use text::{bytes, count, decimal, evaluation_lines, genre_list, metrics_lines, seconds, work_line};
pub use worth::worth;

/// Prints text and a newline to standard output. A reader that has gone away (`shoal … | head`) is no error.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
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
