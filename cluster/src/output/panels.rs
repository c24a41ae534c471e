//! Several series compared by many measures, as an SVG drawing: a panel for each measure, with an axis of its own.

use std::fmt::Write as _;

use super::scale::{escaped, round_step, tick_text_by};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
const GAP: f64 = 16.0;
const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = (WIDTH - 2.0 * MARGIN - (COLUMNS - 1) as f64 * GAP) / COLUMNS as f64;
const PANEL_HEIGHT: f64 = 208.0;
/// Room around the plot in a panel.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 30.0;
const LEGEND_LINE: f64 = 22.0;
/// About so many ticks on an axis.
const TICKS: f64 = 4.0;
const BAR_WIDTH_MAX: f64 = 40.0;
/// Least part of the greatest value that an axis which does not begin at 0 shows.
const SPAN_MIN: f64 = 0.02;
/// Above so many series their figures would touch each other.
const LABELS_MAX: usize = 8;

/// Colours that differ also for people who see few of them (Okabe and Ito 2008), on white and on black.
const STYLE: &str = "\
.page{fill:#fff}.card{fill:#f7f8fa;stroke:#e2e5ea}.figure{paint-order:stroke;stroke:#f7f8fa;stroke-width:3px}text{fill:#1b2430;font-size:12px}.dim{fill:#5b6675}\
.grid{stroke:#dde1e7}.base{stroke:#5b6675;stroke-width:1.5;stroke-dasharray:5 4}\
.s0{fill:#0072b2}.s1{fill:#e69f00}.s2{fill:#009e73}.s3{fill:#cc79a7}.s4{fill:#d55e00}.s5{fill:#56b4e9}\
@media(prefers-color-scheme:dark){.page{fill:#12161c}.card{fill:#1b2129;stroke:#2c343f}.figure{stroke:#1b2129}text{fill:#e6e9ee}\
.dim{fill:#9aa4b2}.grid{stroke:#323b47}.base{stroke:#9aa4b2}.s0{fill:#4aa8e0}}";
const COLOURS: usize = 6;

/// One of the things that are compared.
#[derive(Debug, Clone)]
pub struct Series {
    /// A letter or two, below its bars.
    pub short: String,
    /// The name in the legend.
    pub name: String,
}

/// Something to hold all series of a panel against.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// What it is the figure of.
    pub name: &'static str,
    /// On the panel's axis.
    pub value: f64,
}

/// One measure of several series, drawn with an axis of its own.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Name of the measure.
    pub title: String,
    /// Whether the least figure is the best. Figures of this kind are drawn as points on an axis of their range, the
    /// others as bars from 0.
    pub lower_is_better: bool,
    /// One for each series; absent where it was not measured.
    pub values: Vec<Option<f64>>,
    /// A figure to hold all bars against, drawn as a dashed line.
    pub baseline: Option<Baseline>,
}

/// A drawing of panels.
#[derive(Debug, Clone)]
pub struct Panels {
    /// The line above the drawing.
    pub title: String,
    /// Below the title: on what was measured.
    pub subtitle: String,
    /// In the order of their bars.
    pub series: Vec<Series>,
    /// From left to right, three in a line.
    pub panels: Vec<Panel>,
}

impl Panels {
    /// The drawing, which follows the reader's choice of light or dark.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let top = 74.0 + LEGEND_LINE * self.series.len() as f64;
        let lines = self.panels.len().div_ceil(COLUMNS) as f64;
        let height = top + lines * (PANEL_HEIGHT + GAP) + MARGIN - GAP;
        // Writing to a string does not fail, here and below.
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"system-ui, sans-serif\" role=\"img\" aria-label=\"{0}\">\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
             <text x=\"{MARGIN}\" y=\"34\" style=\"font-size:18px;font-weight:600\">{0}</text>\n\
             <text class=\"dim\" x=\"{MARGIN}\" y=\"54\">{1}</text>\n",
            escaped(&self.title),
            escaped(&self.subtitle)
        );
        for (place, series) in self.series.iter().enumerate() {
            let y = 70.0 + LEGEND_LINE * place as f64;
            let _ = writeln!(
                svg,
                "<rect class=\"s{0}\" x=\"{MARGIN}\" y=\"{y}\" width=\"14\" height=\"14\" rx=\"3\"/>\
                 <text x=\"{1}\" y=\"{2}\" style=\"font-weight:600\">{3}</text><text x=\"{4}\" y=\"{2}\">{5}</text>",
                place % COLOURS,
                MARGIN + 22.0,
                y + 11.5,
                escaped(&series.short),
                MARGIN + 42.0,
                escaped(&series.name)
            );
        }
        for (place, panel) in self.panels.iter().enumerate() {
            let x = MARGIN + (place % COLUMNS) as f64 * (PANEL_WIDTH + GAP);
            let y = top + (place / COLUMNS) as f64 * (PANEL_HEIGHT + GAP);
            let _ = writeln!(svg, "<g transform=\"translate({x:.1} {y:.1})\">");
            self.draw(panel, &mut svg);
            svg.push_str("</g>\n");
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw(&self, panel: &Panel, svg: &mut String) {
        let direction = if panel.lower_is_better { "lower is better" } else { "" };
        let _ = writeln!(
            svg,
            "<rect class=\"card\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\" rx=\"8\"/>\
             <text x=\"12\" y=\"22\" style=\"font-size:13px;font-weight:600\">{}</text>\
             <text class=\"dim\" x=\"{1}\" y=\"22\" text-anchor=\"end\" style=\"font-size:11px\">{direction}</text>",
            escaped(&panel.title),
            PANEL_WIDTH - 12.0
        );
        let range = Range::of(panel);
        let ground = PANEL_HEIGHT - BOTTOM;
        let up = |value: f64| ground - range.place(value) * (ground - TOP);
        for tick in range.ticks() {
            let at = up(tick);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/>\
                 <text class=\"dim\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" style=\"font-size:10px\">{}</text>",
                PANEL_WIDTH - RIGHT,
                LEFT - 6.0,
                at + 3.5,
                tick_text_by(tick, range.step)
            );
        }
        let labels = self.draw_values(panel, &up, svg);
        if let Some(baseline) = &panel.baseline {
            let at = up(baseline.value);
            // Its figure stands above the plot, where no bar's figure is.
            let _ = writeln!(
                svg,
                "<path class=\"base\" d=\"M{LEFT} {at:.1}H{:.1}\"/><path class=\"base\" d=\"M12 39H34\"/>\
                 <text class=\"dim\" x=\"40\" y=\"43\" style=\"font-size:11px\">{} {:.4}</text>",
                PANEL_WIDTH - RIGHT,
                baseline.name,
                baseline.value
            );
        }
        // Last, so that no line goes through a figure.
        svg.push_str(&labels);
    }

    /// Draws bars or points; their figures are returned, to be drawn over everything else.
    fn draw_values(&self, panel: &Panel, up: &impl Fn(f64) -> f64, svg: &mut String) -> String {
        let mut labels = String::new();
        let ground = PANEL_HEIGHT - BOTTOM;
        let slot = (PANEL_WIDTH - LEFT - RIGHT) / panel.values.len().max(1) as f64;
        let best = panel.best();
        for (place, value) in panel.values.iter().enumerate() {
            let middle = LEFT + slot * (place as f64 + 0.5);
            let short = self.series.get(place).map(|series| escaped(&series.short)).unwrap_or_default();
            let _ = writeln!(
                svg,
                "<text class=\"dim\" x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\" style=\"font-size:11px\">{short}</text>",
                ground + 18.0
            );
            let class = place % COLOURS;
            let Some(value) = value else {
                let _ = writeln!(
                    svg,
                    "<text class=\"dim\" x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">–</text>",
                    ground - 6.0
                );
                continue;
            };
            let y = up(*value);
            if panel.lower_is_better {
                let _ =
                    writeln!(svg, "<circle class=\"s{class}\" cx=\"{middle:.1}\" cy=\"{y:.1}\" r=\"6\"/>");
            } else {
                let width = (slot * 0.72).min(BAR_WIDTH_MAX);
                let _ = writeln!(
                    svg,
                    "<rect class=\"s{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                    middle - width / 2.0,
                    ground - y
                );
            }
            if panel.values.len() <= LABELS_MAX {
                let weight = if best == Some(*value) { 700 } else { 400 };
                let _ = writeln!(
                    labels,
                    "<text class=\"figure\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" style=\"font-size:10.5px;font-weight:{weight}\">{value:.3}</text>",
                    y - if panel.lower_is_better { 10.0 } else { 4.0 }
                );
            }
        }
        labels
    }
}

impl Panel {
    /// The best figure, unless all are alike.
    #[must_use]
    pub fn best(&self) -> Option<f64> {
        let values: Vec<f64> =
            self.values.iter().copied().flatten().filter(|value| value.is_finite()).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least < most).then_some(if self.lower_is_better { least } else { most })
    }
}

/// What an axis shows.
struct Range {
    low: f64,
    high: f64,
    step: f64,
}

impl Range {
    fn of(panel: &Panel) -> Self {
        let base = panel.baseline.as_ref().map(|baseline| baseline.value);
        let all = panel.values.iter().copied().flatten().chain(base).filter(|value| value.is_finite());
        let (least, most) =
            all.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        // Differences that hardly are any shall not look large.
        let span = (most - least).max(most * SPAN_MIN);
        let low = if panel.lower_is_better && least.is_finite() { least - span * 0.25 } else { 0.0 };
        let high = match panel.lower_is_better {
            true if most > 0.0 => least + span,
            false if most > 0.0 => most,
            _ => low + 1.0,
        };
        let step = round_step((high - low) / TICKS);
        let floor = if panel.lower_is_better { (low / step).floor() * step } else { 0.0 };
        Self { low: floor.max(0.0), high: (high / step).ceil() * step, step }
    }

    fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count).map(|at| self.low + at as f64 * self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(lower_is_better: bool, values: &[f64]) -> Panel {
        let values = values.iter().copied().map(Some).collect();
        let baseline = Some(Baseline { name: "popularity", value: 0.18 });
        Panel { title: "ndcg@20".to_owned(), lower_is_better, values, baseline }
    }

    fn drawing(panels: Vec<Panel>, series: usize) -> Panels {
        let series = (0..series).map(|at| Series { short: at.to_string(), name: "a < b & c".to_owned() });
        Panels { title: "<title>".to_owned(), subtitle: String::new(), series: series.collect(), panels }
    }

    #[test]
    fn bars_begin_at_zero_and_are_as_long_as_their_values() {
        let svg = drawing(vec![panel(false, &[0.2, 0.4])], 2).to_svg();
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect class=\"s"))
            .filter_map(|line| line.split("height=\"").nth(1)?.split('"').next()?.parse().ok())
            .filter(|height| *height != 14.0)
            .collect();
        assert_eq!(heights.len(), 2, "{svg}");
        assert!((heights[1] / heights[0] - 2.0).abs() < 0.01, "{heights:?}");
        assert!(
            svg.contains("&lt;title&gt;") && svg.contains("a &lt; b &amp; c") && !svg.contains("<title>")
        );
        assert!(svg.contains("popularity 0.1800"));
    }

    #[test]
    fn the_best_is_the_least_where_that_is_better() {
        assert_eq!(panel(true, &[0.9, 0.8, 1.0]).best(), Some(0.8));
        assert_eq!(panel(false, &[0.9, 0.8, 1.0]).best(), Some(1.0));
        assert_eq!(panel(false, &[0.9, 0.9]).best(), None);
    }

    #[test]
    fn figures_of_six_series_do_not_touch_and_those_of_twenty_are_left_out() {
        let figures = |count: usize| {
            let svg = drawing(vec![panel(false, &vec![0.123; count])], count).to_svg();
            svg.matches(">0.123<").count()
        };
        // A figure of five characters takes about 30 pixels, and six series have 39 each.
        assert!((PANEL_WIDTH - LEFT - RIGHT) / LABELS_MAX as f64 > 28.0);
        assert_eq!((figures(6), figures(20)), (6, 0));
    }

    #[test]
    fn what_was_not_measured_and_nothing_at_all_are_drawn() {
        let mut one = panel(false, &[0.0, 0.0]);
        one.values[1] = None;
        let svg = drawing(vec![one, panel(true, &[0.85, 0.85])], 2).to_svg();
        assert!(svg.contains(">–<") && !svg.contains("NaN") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(drawing(Vec::new(), 0).to_svg().ends_with("</svg>\n"));
    }
}
