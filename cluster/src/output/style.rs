//! Colours of what is printed. Whoever prints through this module's neighbours need not ask whether there is a
//! terminal: styles are taken out where the reader is not one, or asked for none.

use anstyle::{AnsiColor, Style};

/// The best of several figures.
pub const BEST: Style = AnsiColor::Green.on_default().bold();
/// What is well, or live.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What is under way.
pub const UNDER_WAY: Style = AnsiColor::Cyan.on_default();
/// What has failed.
pub const BAD: Style = AnsiColor::Red.on_default();
/// What matters less.
pub const FAINT: Style = Style::new().dimmed();

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
