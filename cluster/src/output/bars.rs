//! Grouped bars as an SVG drawing.

use std::fmt::Write as _;

/// Colours of the series, in order and then again.
const COLOURS: [&str; 6] = ["#2f6db3", "#d9822b", "#3a9b5c", "#8a5bb5", "#b5453c", "#6b7280"];

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 48.0;
const PLOT_HEIGHT: f64 = 320.0;
const TITLE_HEIGHT: f64 = 40.0;
const LABEL_HEIGHT: f64 = 40.0;
const LEGEND_LINE: f64 = 20.0;
/// Of a group's width, what its bars take.
const BARS_SHARE: f64 = 0.8;

/// Bars side by side: for each group one bar per series.
#[derive(Debug, Clone)]
pub struct Bars {
    /// Above the drawing.
    pub title: String,
    /// What the bars of a group stand for.
    pub series: Vec<String>,
    /// From left to right.
    pub groups: Vec<Group>,
}

/// One group of bars.
#[derive(Debug, Clone)]
pub struct Group {
    /// Below the group.
    pub label: String,
    /// One per series, from 0.
    pub values: Vec<f64>,
}

impl Bars {
    /// The drawing; every group on one scale from 0 to the greatest value.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let values = self.groups.iter().flat_map(|group| group.values.iter().copied());
        let greatest = values.filter(|value| value.is_finite()).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let height = TITLE_HEIGHT + PLOT_HEIGHT + LABEL_HEIGHT + LEGEND_LINE * (self.series.len() + 1) as f64;
        let ground = TITLE_HEIGHT + PLOT_HEIGHT;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{MARGIN}\" y=\"26\" font-size=\"16\">{}</text>\n",
            escaped(&self.title)
        );
        let group_width = (WIDTH - 2.0 * MARGIN) / self.groups.len().max(1) as f64;
        let bar_width = BARS_SHARE * group_width / self.series.len().max(1) as f64;
        for (place, group) in self.groups.iter().enumerate() {
            let left = MARGIN + group_width * (place as f64 + (1.0 - BARS_SHARE) / 2.0);
            for (series, value) in group.values.iter().enumerate() {
                // Writing to a string does not fail, here and below.
                let length = (value / greatest).clamp(0.0, 1.0) * (PLOT_HEIGHT - 16.0);
                let (x, y) = (left + bar_width * series as f64, ground - length);
                let colour = COLOURS[series % COLOURS.len()];
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{length:.1}\" fill=\"{colour}\"/>",
                    bar_width * 0.92
                );
                let _ = writeln!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\" text-anchor=\"middle\">{value:.3}</text>",
                    x + bar_width / 2.0,
                    y - 3.0
                );
            }
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                MARGIN + group_width * (place as f64 + 0.5),
                ground + 18.0,
                escaped(&group.label)
            );
        }
        let _ = writeln!(
            svg,
            "<line x1=\"{MARGIN}\" y1=\"{ground}\" x2=\"{}\" y2=\"{ground}\" stroke=\"black\"/>",
            WIDTH - MARGIN
        );
        for (series, name) in self.series.iter().enumerate() {
            let y = ground + LABEL_HEIGHT + LEGEND_LINE * series as f64;
            let colour = COLOURS[series % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                MARGIN + 20.0,
                y + 10.0,
                escaped(name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_names_are_escaped() {
        let bars = Bars {
            title: "a < b".to_owned(),
            series: vec!["one".to_owned(), "two & three".to_owned()],
            groups: vec![Group { label: "x".to_owned(), values: vec![0.5, 1.0] }],
        };
        let svg = bars.to_svg();
        assert!(svg.contains("a &lt; b") && svg.contains("two &amp; three"));
        assert!(svg.contains("height=\"152.0\"") && svg.contains("height=\"304.0\""));
        assert_eq!((svg.matches("<rect").count(), svg.matches("</svg>").count()), (5, 1));
    }

    #[test]
    fn nothing_to_draw_is_an_empty_drawing() {
        let nothing = Bars { title: String::new(), series: Vec::new(), groups: Vec::new() };
        assert!(nothing.to_svg().ends_with("</svg>\n"));
    }
}
