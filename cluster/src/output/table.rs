//! Columns that line up, also with titles in wide scripts, and lines that fit the terminal.

use std::fmt;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{shown::shown_line, style::marked};

/// Width of lines where the output is no terminal.
const WIDTH_DEFAULT: usize = 120;
/// Lines are not made narrower than this, however narrow the terminal is.
const WIDTH_MIN: usize = 60;
/// A column that gives way keeps this much.
const FLEXIBLE_MIN: usize = 12;
/// Blanks between two columns.
const GAP: usize = 2;

/// Which edge of a column its cells keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words, which begin at the left edge.
    Left,
    /// Numbers, which end at the right edge.
    Right,
}

/// What stands in a row of one column.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a colour.
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::new() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A table with a line of headings. Lines fit the terminal, or 120 columns where there is no terminal, as far as
/// columns that may give way allow.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Align)>,
    flexible: Vec<usize>,
    optional: Vec<usize>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of these columns and no rows.
    #[must_use]
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|(heading, align)| ((*heading).to_owned(), *align)).collect();
        Self { columns, flexible: Vec::new(), optional: Vec::new(), rows: Vec::new() }
    }

    /// Lets the columns of these headings give way where lines are too long: their cells are cut, and end in "…".
    #[must_use]
    pub fn flexible(mut self, headings: &[&str]) -> Self {
        self.flexible = self.places(headings);
        self
    }

    /// Leaves the columns of these headings out where lines would still be too long: for what is said elsewhere too.
    #[must_use]
    pub fn optional(mut self, headings: &[&str]) -> Self {
        self.optional = self.places(headings);
        self
    }

    fn places(&self, headings: &[&str]) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        let wanted = columns.filter(|(_, (heading, _))| headings.contains(&heading.as_str()));
        wanted.map(|(at, _)| at).collect()
    }

    /// Adds a row, one cell a column. Line breaks become spaces; whatever else acts on a terminal is shown.
    pub fn row<I, S>(&mut self, cells: I)
    where
        I: IntoIterator<Item = S>,
        S: Into<Cell>,
    {
        let clean = |cell: S| {
            let cell = cell.into();
            let text = cell.text.replace(['\n', '\r', '\t'], " ");
            Cell { text: shown_line(&text).into_owned(), ..cell }
        };
        let mut cells: Vec<Cell> = cells.into_iter().map(clean).collect();
        cells.resize(self.columns.len(), Cell::default());
        self.rows.push(cells);
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table in lines of at most `width` columns, as far as flexible and optional columns allow.
    #[must_use]
    pub fn within(&self, width: usize) -> String {
        let widths = self.widths(width);
        let is_too_wide = whole_width(widths.iter().copied()) > width;
        let shown: Vec<usize> =
            (0..widths.len()).filter(|at| !is_too_wide || !self.optional.contains(at)).collect();
        let headings: Vec<Cell> = self.columns.iter().map(|(heading, _)| heading.as_str().into()).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            // Blanks wait for the next cell, so that none stand at a line's end.
            let mut blanks = 0;
            for (place, &at) in shown.iter().enumerate() {
                let cell = &row[at];
                let text = cut(&cell.text, widths[at]);
                let padding = widths[at] - text.width();
                let right = self.columns[at].1 == Align::Right;
                blanks += if place > 0 { GAP } else { 0 } + if right { padding } else { 0 };
                if !text.is_empty() {
                    line.push_str(&" ".repeat(blanks));
                    blanks = 0;
                    line.push_str(&marked(cell.style, &text));
                }
                blanks += if right { 0 } else { padding };
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn widths(&self, most: usize) -> Vec<usize> {
        let widest = |(at, (heading, _)): (usize, &(String, Align))| {
            self.rows.iter().map(|row| row[at].text.width()).chain([heading.width()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(widest).collect();
        let mut over = whole_width(widths.iter().copied()).saturating_sub(most);
        // A column at a time, so that the widest gives way first.
        while over > 0
            && let Some(at) = self.flexible.iter().copied().max_by_key(|&at| widths[at])
            && widths[at] > FLEXIBLE_MIN.max(self.columns[at].0.width())
        {
            widths[at] -= 1;
            over -= 1;
        }
        widths
    }
}

/// Of a line with columns of these widths.
fn whole_width(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    let gaps = GAP * widths.len().saturating_sub(1);
    widths.sum::<usize>() + gaps
}

/// The text, or its beginning and "…" where it is wider than there is room.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut room = width.saturating_sub(1);
    for letter in text.chars() {
        let needed = letter.width().unwrap_or(0);
        if needed > room {
            break;
        }
        room -= needed;
        shown.push(letter);
    }
    shown.push('…');
    shown
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0).max(WIDTH_MIN));
        f.write_str(&self.within(terminal.unwrap_or(WIDTH_DEFAULT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shown::painted;
    use crate::output::style;

    #[test]
    fn columns_line_up_in_every_script() {
        let mut table = Table::new(&[("TITLE", Align::Left), ("N", Align::Right), ("STATE", Align::Left)]);
        table.row(["七人の侍", "7", "live"]);
        table.row(["Amélie\n(2001)", "1,234", "ready"]);
        let expected = "TITLE              N  STATE\n\
                        七人の侍           7  live\n\
                        Amélie (2001)  1,234  ready\n";
        assert_eq!(table.within(80), expected);
    }

    #[test]
    fn flexible_columns_give_way_and_the_others_do_not() {
        let mut table = Table::new(&[("JOB", Align::Left), ("RESULT", Align::Left), ("AT", Align::Left)])
            .flexible(&["RESULT"]);
        table.row(["job-000001", &"七人の侍 ".repeat(30), "2026-11-29"]);
        table.row(["job-000002", "short", ""]);
        for (width, longest) in [(60, 60), (300, 294), (10, 36)] {
            let text = table.within(width);
            let widths: Vec<usize> = text.lines().map(str::width).collect();
            assert!(widths[1] <= longest && widths[1] + 1 >= longest.min(270), "{width}: {text}");
            assert!(text.contains("job-000001") && text.contains("2026-11-29"), "{text}");
        }
        assert!(table.within(60).contains('…') && !table.within(300).contains('…'));
        assert!(table.within(60).lines().all(|line| line == line.trim_end()));
    }

    #[test]
    fn optional_columns_are_left_out_where_they_do_not_fit() {
        let mut table =
            Table::new(&[("MODEL", Align::Left), ("VERSION", Align::Left), ("TIME", Align::Right)])
                .optional(&["VERSION"]);
        table.row(["als", "als_model_v1_20261129_101500", "1 s"]);
        assert_eq!(
            table.within(43),
            "MODEL  VERSION                       TIME\nals    als_model_v1_20261129_101500   1 s\n"
        );
        assert_eq!(table.within(20), "MODEL  TIME\nals     1 s\n");
    }

    #[test]
    fn colours_take_no_room() {
        let mut table = Table::new(&[("A", Align::Right), ("B", Align::Left)]);
        table.row([Cell::styled("1", style::BEST), "x".into()]);
        table.row(["100", "y"]);
        let painted = painted(&table.within(80));
        let plain = anstream::adapter::strip_str(&painted).to_string();
        assert_eq!(plain, "  A  B\n  1  x\n100  y\n");
        assert!(painted.contains("\u{1b}["));
    }
}
