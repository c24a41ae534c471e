//! Curves of a quality over time: JSON for comparing, a plot for looking.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{machine, results::escape};

/// What one contestant reached, and when.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Whose.
    pub name: String,
    /// Seconds and what was reached by then, in order.
    pub points: Vec<(f64, f64)>,
}

/// Several curves of the same quality.
#[derive(Debug, Clone)]
pub struct Curves {
    /// What is plotted, for the heading.
    pub title: String,
    /// What was measured on.
    pub about: Value,
    /// Each contestant's.
    pub curves: Vec<Curve>,
}

const COLOURS: [&str; 5] = ["#2a7f9e", "#d1603d", "#5b8c3a", "#7d5ba6", "#b08900"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Room left of and below the axes, and on the other two sides.
const MARGINS: (f64, f64) = (64.0, 30.0);
const TICKS: u32 = 5;

/// From numbers to places in the picture.
struct Frame {
    seconds_max: f64,
    values: (f64, f64),
}

impl Frame {
    fn of(curves: &[Curve]) -> Self {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = points().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        let seconds_max = points().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
        // Of curves that are flat, or none, a frame can be drawn too.
        let values = if low < high { (low, high) } else { (0.0, 1.0) };
        Self { seconds_max, values }
    }

    fn x(&self, seconds: f64) -> f64 {
        MARGINS.0 + (WIDTH - MARGINS.0 - MARGINS.1) * seconds / self.seconds_max
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        HEIGHT - MARGINS.0 - (HEIGHT - MARGINS.0 - MARGINS.1) * (value - low) / (high - low)
    }
}

impl Curves {
    /// Writes `<name>.json` and `<name>.svg` below `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let curves: Vec<Value> = self
            .curves
            .iter()
            .map(|curve| json!({ "name": curve.name, "seconds_and_value": curve.points }))
            .collect();
        let whole = json!({
            "machine": machine::describe(), "title": self.title, "about": self.about, "curves": curves,
        });
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make '{}'", folder.display()))?;
        std::fs::write(folder.join(format!("{name}.json")), format!("{whole:#}\n"))?;
        std::fs::write(folder.join(format!("{name}.svg")), self.plot())?;
        Ok(())
    }

    fn plot(&self) -> String {
        let frame = Frame::of(&self.curves);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"20\" font-weight=\"bold\">{}</text>\n",
            escape(&self.title)
        );
        axes(&frame, &mut svg);
        for (place, curve) in self.curves.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            let points: Vec<String> = curve
                .points
                .iter()
                .map(|&(seconds, value)| format!("{:.1},{:.1}", frame.x(seconds), frame.y(value)))
                .collect();
            // Writing to a string does not fail.
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                points.join(" ")
            );
            for point in &points {
                let (x, y) = point.split_once(',').unwrap_or_default();
                let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let y = HEIGHT - MARGINS.0 - 20.0 * (self.curves.len() - place) as f64;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
                WIDTH - MARGINS.1 - 6.0,
                escape(&curve.name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Both axes with their numbers.
fn axes(frame: &Frame, svg: &mut String) {
    let (left, bottom) = (MARGINS.0, HEIGHT - MARGINS.0);
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {MARGIN} V{bottom} H{right}\" fill=\"none\" stroke=\"black\"/>\
         <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">seconds of training</text>",
        MARGIN = MARGINS.1,
        right = WIDTH - MARGINS.1,
        middle = WIDTH / 2.0,
        below = HEIGHT - 14.0,
    );
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let seconds = frame.seconds_max * share;
        let value = frame.values.0 + (frame.values.1 - frame.values.0) * share;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{under}\" text-anchor=\"middle\">{seconds:.1}</text>\
             <text x=\"{beside}\" y=\"{y:.1}\" text-anchor=\"end\">{value:.4}</text>",
            x = frame.x(seconds),
            under = bottom + 18.0,
            beside = left - 6.0,
            y = frame.y(value) + 4.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(curves: Vec<Curve>) -> Curves {
        Curves { title: "a < b".to_owned(), about: Value::Null, curves }
    }

    #[test]
    fn every_point_is_within_the_axes() {
        let drawn = curves(vec![
            Curve { name: "one".to_owned(), points: vec![(1.0, 0.2), (2.0, 0.5)] },
            Curve { name: "other".to_owned(), points: vec![(4.0, 0.1)] },
        ]);
        let plot = drawn.plot();
        assert_eq!(plot.matches("<polyline").count(), 2);
        assert!(plot.contains("a &lt; b"));
        let centres = plot.split("<circle ").skip(1).map(|circle| {
            let number = |name: &str| -> f64 {
                let rest = circle.split(&format!("{name}=\"")).nth(1).unwrap();
                rest.split('"').next().unwrap().parse().unwrap()
            };
            (number("cx"), number("cy"))
        });
        let centres: Vec<(f64, f64)> = centres.collect();
        assert_eq!(centres.len(), 3);
        for (x, y) in &centres {
            assert!((MARGINS.0..=WIDTH - MARGINS.1).contains(x), "{x}");
            assert!((MARGINS.1..=HEIGHT - MARGINS.0).contains(y), "{y}");
        }
        // More is higher up, later is further right.
        assert!(centres[1].1 < centres[0].1 && centres[1].0 > centres[0].0);
    }

    #[test]
    fn flat_or_missing_curves_are_drawn_without_infinite_numbers() {
        let flat = Curve { name: "flat".to_owned(), points: vec![(1.0, 0.5), (2.0, 0.5)] };
        for drawn in [curves(vec![flat]), curves(Vec::new())] {
            let plot = drawn.plot();
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        }
    }
}
