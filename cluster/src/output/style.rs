//! Colours of what is printed. Whoever prints through this module's neighbours need not ask whether there is a
//! terminal: styles are taken out where the reader is not one, or asked for none.

use anstyle::{AnsiColor, Style};

/// The best of several figures.
pub const BEST: Style = AnsiColor::Green.on_default().bold();
/// What is well, or live.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What is under way.
pub const UNDER_WAY: Style = AnsiColor::Cyan.on_default();
/// The style of what has failed.
pub const BAD: Style = AnsiColor::Red.on_default();
/// The style of what matters less.
pub const FAINT: Style = Style::new().dimmed();

/// Styles that may be marked in text.
const MARKED: [Style; 5] = [BEST, GOOD, UNDER_WAY, BAD, FAINT];

/// A character of private use for the first of the styles; the others follow.
const FIRST_MARK: char = '\u{f8f0}';

/// Ends a marked style.
const END_MARK: char = '\u{f8ff}';

/// Text in a style, by marks that only what prints turns into sequences: text from elsewhere cannot have any.
#[must_use]
pub fn marked(style: Style, text: &str) -> String {
    match MARKED.iter().position(|known| *known == style) {
        Some(at) => {
            let mark = char::from_u32(u32::from(FIRST_MARK) + at as u32).unwrap_or(END_MARK);
            format!("{mark}{text}{END_MARK}")
        }
        None => text.to_owned(),
    }
}

/// Whether a character marks a style.
#[must_use]
pub(super) fn is_mark(letter: char) -> bool {
    (FIRST_MARK..=END_MARK).contains(&letter)
}

/// What a terminal is told for a mark.
pub(super) fn sequence(mark: char) -> String {
    let at = u32::from(mark) - u32::from(FIRST_MARK);
    match MARKED.get(at as usize) {
        Some(style) => style.to_string(),
        None => anstyle::Reset.to_string(),
    }
}

/// The style of a state of a job, a version or a node.
#[must_use]
pub fn of_state(state: &str) -> Style {
    match state {
        "live" | "succeeded" | "up" => GOOD,
        "running" | "queued" | "promoting" | "cancelling" => UNDER_WAY,
        "failed" | "down" => BAD,
        "cancelled" | "retired" => FAINT,
        _ => Style::new(),
    }
}

/// When colours are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// Where the output is a terminal that has colours, and `NO_COLOR` is not set
    #[default]
    Auto,
    /// Also into files and pipes
    Always,
    /// Nowhere
    Never,
}

impl Colour {
    /// Makes this the choice of the whole process.
    pub fn choose(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}
