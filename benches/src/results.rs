//! Results: a table for people, JSON for comparing, a plot for looking.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::machine;

/// Whether more or less is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At least this much.
    AtLeast(f64),
    /// At most this much.
    AtMost(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        if self.is_met(value) { "met" } else { "NOT MET" }
    }

    /// How far the figure is: 1 is the target, more is better.
    fn share(self, value: f64) -> f64 {
        match self {
            Self::AtLeast(bound) => value / bound,
            Self::AtMost(bound) => bound / value,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {}", figure(bound)),
            Self::AtMost(bound) => format!("≤ {}", figure(bound)),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Measure {
    /// What was measured.
    pub name: String,
    /// The figure: a ratio, unless the name says otherwise.
    pub value: f64,
    /// What it should be.
    pub target: Target,
    /// What the figure was made of.
    pub detail: Value,
}

/// Every figure of a run.
#[derive(Debug, Default)]
pub struct Results {
    measures: Vec<Measure>,
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Results {
    /// Adds a figure and prints it.
    pub fn add(&mut self, name: &str, value: f64, target: Target, detail: Value) {
        let (bound, verdict) = (target.text(), target.verdict(value));
        println!("{name}: {} (target {bound}, {verdict})\n    {detail}", figure(value));
        self.measures.push(Measure { name: name.to_owned(), value, target, detail });
    }

    /// The table as Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = "| measure | target | measured | |\n| --- | --- | --- | --- |\n".to_owned();
        for measure in &self.measures {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                measure.name,
                measure.target.text(),
                figure(measure.value),
                measure.target.verdict(measure.value)
            );
        }
        text
    }

    /// Writes `<name>.json` and `<name>.svg` below `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let rows: Vec<Value> = self
            .measures
            .iter()
            .map(|measure| {
                json!({
                    "measure": measure.name,
                    "value": measure.value,
                    "target": measure.target.text(),
                    "met": measure.target.is_met(measure.value),
                    "detail": measure.detail,
                })
            })
            .collect();
        let whole = json!({ "machine": machine::describe(), "measures": rows });
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make '{}'", folder.display()))?;
        std::fs::write(folder.join(format!("{name}.json")), format!("{whole:#}\n"))?;
        std::fs::write(folder.join(format!("{name}.svg")), self.plot())?;
        Ok(())
    }

    /// One bar per figure, as a share of its target: a bar beyond the line has met it.
    fn plot(&self) -> String {
        const ROW: f64 = 26.0;
        const LABELS: f64 = 430.0;
        const UNIT: f64 = 180.0;
        const SHARE_MAX: f64 = 2.0;
        let height = 50.0 + ROW * self.measures.len() as f64;
        let width = LABELS + UNIT * SHARE_MAX + 90.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"20\" font-weight=\"bold\">Share of the target reached (cut off at {SHARE_MAX})</text>\n"
        );
        for (place, measure) in self.measures.iter().enumerate() {
            let y = 36.0 + ROW * place as f64;
            let share = measure.target.share(measure.value).clamp(0.0, SHARE_MAX);
            let colour = if measure.target.is_met(measure.value) { "#2a7f9e" } else { "#d1603d" };
            let label = escape(&measure.name);
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{text_y}\" text-anchor=\"end\">{label}</text>\
                 <rect x=\"{LABELS}\" y=\"{y}\" width=\"{bar}\" height=\"16\" fill=\"{colour}\"/>\
                 <text x=\"{end}\" y=\"{text_y}\">{value}</text>",
                x = LABELS - 8.0,
                text_y = y + 13.0,
                bar = share * UNIT,
                end = LABELS + share * UNIT + 6.0,
                value = figure(measure.value),
            );
        }
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"28\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"black\" stroke-dasharray=\"4 3\"/>\n</svg>",
            x = LABELS + UNIT,
            bottom = height - 8.0,
        );
        svg
    }
}

/// Text as SVG may hold it.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_own_side() {
        assert!(Target::AtLeast(2.0).is_met(2.0) && !Target::AtLeast(2.0).is_met(1.9));
        assert!(Target::AtMost(2.0).is_met(2.0) && !Target::AtMost(2.0).is_met(2.1));
        assert!(Target::AtMost(2.0).share(1.0) > 1.0 && Target::AtLeast(2.0).share(1.0) < 1.0);
    }

    #[test]
    fn the_plot_has_a_bar_for_each_figure_and_no_raw_markup() {
        let mut results = Results::default();
        results.add("a < b & c", 3.0, Target::AtLeast(1.0), Value::Null);
        results.add("d", 0.5, Target::AtLeast(1.0), Value::Null);
        let plot = results.plot();
        assert_eq!(plot.matches("height=\"16\"").count(), 2);
        assert!(plot.contains("a &lt; b &amp; c"));
        assert!(results.table().contains("| d | ≥ 1.00 | 0.50 | NOT MET |"));
    }
}
