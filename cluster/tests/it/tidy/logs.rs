//! Log lines are for machines too: values are no `Debug` prints, and things are called the same everywhere.

use super::{
    files, is_test, none, read,
    rust::{Piece, pieces, without_tests},
};

const LEVELS: [&str; 5] =
    ["tracing::error!(", "tracing::warn!(", "tracing::info!(", "tracing::debug!(", "tracing::trace!("];

/// Names of fields that have another one, and that one.
const OTHERWISE: [(&str, &str); 3] = [("worker", "node"), ("job_id", "job"), ("gap", "error")];

/// The code of each log line of a file, without its texts, with the number of the line where it begins.
fn log_lines(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut open): (Vec<(usize, String)>, i32) = (Vec::new(), 0);
    for piece in pieces(text) {
        let Piece::Code(line, code) = piece else { continue };
        let mut rest = code.as_str();
        loop {
            if open == 0 {
                let begins = LEVELS.iter().filter_map(|level| Some((rest.find(level)?, level.len())));
                let Some((at, length)) = begins.min() else { break };
                let before = &code[..code.len() - rest.len() + at];
                found.push((line + before.matches('\n').count(), String::new()));
                rest = &rest[at + length..];
                open = 1;
            }
            let Some((_, body)) = found.last_mut() else { break };
            let mut end = rest.len();
            for (at, letter) in rest.char_indices() {
                open += i32::from(letter == '(') - i32::from(letter == ')');
                if open == 0 {
                    end = at;
                    break;
                }
            }
            body.push_str(&rest[..end]);
            // A text stood here.
            body.push('"');
            rest = &rest[end..];
            if open > 0 {
                break;
            }
        }
    }
    found
}

/// Whether a value is printed as `Debug` has it.
fn prints_debug(body: &str) -> bool {
    body.match_indices('?').any(|(at, _)| {
        let before = body[..at].trim_end().chars().next_back();
        before.is_none_or(|letter| ['(', ',', '=', '"'].contains(&letter))
    })
}

#[test]
fn no_value_is_printed_as_debug_has_it_and_fields_have_one_name() {
    let (mut debug, mut names, mut count) = (Vec::new(), Vec::new(), 0);
    for path in files(&[".rs"]).iter().filter(|path| !is_test(path)) {
        for (line, body) in log_lines(without_tests(&read(path))) {
            count += 1;
            let place = format!("{}:{line}", path.display());
            if prints_debug(&body) {
                debug.push(place.clone());
            }
            for (name, better) in OTHERWISE {
                let field = body.split(',').map(|field| field.trim_start_matches([' ', '\n', '%', '"']));
                let is_used = field.clone().any(|field| {
                    let rest = field.strip_prefix(name);
                    rest.is_some_and(|rest| {
                        rest.trim_start().starts_with('=') || rest.trim_matches(['"', ' ', '\n']).is_empty()
                    })
                });
                if is_used {
                    names.push(format!("{place}: {name} is called {better}"));
                }
            }
        }
    }
    assert!(count > 80, "{count} log lines were found");
    none(&debug, "log lines with values as Debug has them");
    none(&names, "fields of log lines that are called otherwise elsewhere");
}

#[test]
fn debug_prints_are_found() {
    let line = |code: &str| log_lines(code).pop().map(|(_, body)| prints_debug(&body)).unwrap();
    assert!(line("tracing::info!(%a, ?b, \"text?\");"));
    assert!(line("tracing::warn!(side = ?key.side, \"text\");"));
    assert!(!line("tracing::info!(a = b()?.c, \"why?\");"));
    assert!(line("tracing::info!(\"text\", ?b);"));
}
