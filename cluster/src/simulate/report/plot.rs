//! Plots as SVG: lines over two axes, and bars. Pure.

use std::fmt::Write as _;

use crate::output::scale::{escaped, round_step, tick_text};

/// Size of a plot, and the room around its lines, in pixels.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// About so many ticks on a linear axis.
const TICKS: f64 = 5.0;
/// Height of a bar's row.
const BAR_ROW: f64 = 28.0;
/// Where bars begin, after their names, and how long the longest is.
const BARS_LEFT: f64 = 190.0;
const BARS_WIDTH: f64 = 270.0;

/// A direction of a plot.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    label: String,
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to `high`, with round ticks.
    pub(super) fn linear(label: &str, high: f64) -> Self {
        let high = if high > 0.0 { high } else { 1.0 };
        let step = round_step(high / TICKS);
        let count = (high / step).ceil() as usize;
        let ticks = (0..=count).map(|at| (at as f64 * step, tick_text(at as f64 * step)));
        let ticks: Vec<_> = ticks.filter(|(value, _)| *value <= high * 1.000_001).collect();
        Self { label: label.to_owned(), low: 0.0, high, is_log: false, ticks }
    }

    /// Logarithmic, with ticks at 1, 2 and 5 of each power of ten.
    pub(super) fn log(label: &str, low: f64, high: f64) -> Self {
        let low = if low > 0.0 { low } else { 1e-3 };
        let high = high.max(low * 10.0);
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let ticks = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        let all: Vec<f64> = ticks.filter(|tick| (low..=high).contains(tick)).collect();
        // Over many powers only those of ten itself have room.
        let sparse = all.len() > 10;
        let is_shown = |tick: &f64| !sparse || (tick.log10() - tick.log10().round()).abs() < 1e-9;
        let ticks = all.into_iter().filter(is_shown).map(|tick| (tick, tick_text(tick))).collect();
        Self { label: label.to_owned(), low, high, is_log: true, ticks }
    }

    /// With ticks of the caller's.
    pub(super) fn ticked(label: &str, high: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { label: label.to_owned(), low: 0.0, high, is_log: false, ticks }
    }

    /// Where a value is, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

/// A line of a plot. The class says its colour.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines over two axes, with their names above.
pub(super) fn lines(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let across = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
    let up = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<figure><figcaption><b>{}</b>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escaped(title),
        legend(lines),
        escaped(title)
    );
    for (value, text) in &y.ticks {
        let at = up(*value);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (value, text) in &x.ticks {
        let at = across(*value);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{:.1}\"/><text class=\"mid\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 16.0
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"mid label\" x=\"{:.1}\" y=\"{:.1}\">{}</text><text class=\"mid label\" transform=\"translate(14 {:.1}) rotate(-90)\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0,
        escaped(&x.label),
        (TOP + HEIGHT - BOTTOM) / 2.0,
        escaped(&y.label)
    );
    // The first line is drawn last, and a dashed one over a solid one, so that lines of one course are all seen.
    for line in lines.iter().rev().filter(|line| !line.points.is_empty()) {
        let points: Vec<String> =
            line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", across(*a), up(*b))).collect();
        let _ = writeln!(svg, "<polyline class=\"{}\" points=\"{}\"/>", line.class, points.join(" "));
    }
    svg.push_str("</svg></figure>\n");
    svg
}

fn legend(lines: &[Line]) -> String {
    lines.iter().map(|line| format!(" <i class=\"{}\">{}</i>", line.class, escaped(line.name))).collect()
}

/// Counts as bars, one below the other; the class says the colour.
pub(super) fn bars(title: &str, bars: &[(String, u64, &str)]) -> String {
    let height = BAR_ROW * bars.len().max(1) as f64 + 8.0;
    let most = bars.iter().map(|(_, count, _)| *count).max().unwrap_or_default().max(1) as f64;
    let mut svg = format!(
        "<figure><figcaption><b>{0}</b></figcaption>\n<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{0}\">\n",
        escaped(title)
    );
    for (row, (name, count, class)) in bars.iter().enumerate() {
        let y = row as f64 * BAR_ROW + 6.0;
        // A single request among a million is still to be seen.
        let width = (*count as f64 / most * BARS_WIDTH).max(2.0);
        let _ = writeln!(
            svg,
            "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text><rect class=\"{class}\" x=\"{BARS_LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"18\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            BARS_LEFT - 8.0,
            y + 13.0,
            escaped(name),
            BARS_LEFT + width + 6.0,
            y + 13.0,
            crate::output::count(*count)
        );
    }
    svg.push_str("</svg></figure>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let texts = |axis: &Axis| axis.ticks.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&Axis::linear("s", 23.0)), ["0", "5", "10", "15", "20"]);
        assert_eq!(texts(&Axis::linear("s", 0.7)), ["0", "0.2", "0.4", "0.6"]);
        assert_eq!(texts(&Axis::log("ms", 0.9, 40.0)), ["1", "2", "5", "10", "20"]);
        assert_eq!(texts(&Axis::log("ms", 0.01, 2_000.0)), ["0.01", "0.1", "1", "10", "100", "1000"]);
    }

    #[test]
    fn places_follow_the_scale_and_stay_within_it() {
        let log = Axis::log("ms", 1.0, 100.0);
        assert_eq!([0.1, 1.0, 10.0, 100.0, 1e9].map(|value| log.place(value)), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(Axis::linear("s", 10.0).place(2.5), 0.25);
        assert_eq!(Axis::linear("s", 0.0).place(0.0), 0.0);
    }

    #[test]
    fn names_are_escaped() {
        let svg = bars("a < b", &[("<script>".into(), 3, "good")]);
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script>"), "{svg}");
        assert!(svg.contains("a &lt; b"), "{svg}");
    }
}
