//! Curves of one figure over another: JSON for comparing, a plot for looking.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{machine, results::escape};

/// The figures of one contestant, by the horizontal axis.
#[derive(Debug, Clone)]
pub struct Curve {
    /// The name that the legend gives the curve.
    pub name: String,
    /// Places on the horizontal axis and the figure at each, in order.
    pub points: Vec<(f64, f64)>,
}

/// How numbers are spread over both axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal ratios are; every number has to be above 0.
    Logarithmic,
}

/// Several curves of the same figure.
#[derive(Debug, Clone)]
pub struct Curves {
    /// What is plotted, for the heading.
    pub title: String,
    /// What lies along the horizontal axis.
    pub along: &'static str,
    /// How the marks of both axes are spaced.
    pub spacing: Spacing,
    /// What was measured on.
    pub about: Value,
    /// One curve for each contestant.
    pub curves: Vec<Curve>,
}

const COLOURS: [&str; 6] = ["#2a7f9e", "#d1603d", "#5b8c3a", "#7d5ba6", "#b08900", "#444444"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Room left of and below the axes, and on the other two sides.
const MARGINS: (f64, f64) = (64.0, 30.0);
const TICKS: u32 = 5;

/// From numbers to places in the picture.
struct Frame {
    spacing: Spacing,
    along: (f64, f64),
    values: (f64, f64),
}

impl Frame {
    fn of(curves: &[Curve], spacing: Spacing) -> Self {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let span = |number: fn(&(f64, f64)) -> f64| {
            let numbers = || points().map(number);
            (numbers().fold(f64::INFINITY, f64::min), numbers().fold(f64::NEG_INFINITY, f64::max))
        };
        let (mut along, mut values) = (span(|point| point.0), span(|point| point.1));
        if spacing == Spacing::Linear {
            along.0 = 0.0;
        }
        // Of curves that are flat, or none, a frame can be drawn too.
        for span in [&mut along, &mut values] {
            let is_wide = span.0 < span.1;
            if !is_wide {
                *span = if spacing == Spacing::Linear { (0.0, 1.0) } else { (1.0, 10.0) };
            }
        }
        Self { spacing, along, values }
    }

    /// How far along a span a number lies, 0 to 1.
    fn share(&self, (low, high): (f64, f64), number: f64) -> f64 {
        match self.spacing {
            Spacing::Linear => (number - low) / (high - low),
            Spacing::Logarithmic => (number / low).ln() / (high / low).ln(),
        }
    }

    /// The number that lies so far along a span.
    fn number(&self, (low, high): (f64, f64), share: f64) -> f64 {
        match self.spacing {
            Spacing::Linear => low + (high - low) * share,
            Spacing::Logarithmic => low * (high / low).powf(share),
        }
    }

    fn x(&self, number: f64) -> f64 {
        MARGINS.0 + (WIDTH - MARGINS.0 - MARGINS.1) * self.share(self.along, number)
    }

    fn y(&self, number: f64) -> f64 {
        HEIGHT - MARGINS.0 - (HEIGHT - MARGINS.0 - MARGINS.1) * self.share(self.values, number)
    }

    /// A number beside an axis.
    fn label(&self, number: f64, decimals: usize) -> String {
        match self.spacing {
            Spacing::Linear => format!("{number:.decimals$}"),
            Spacing::Logarithmic if number >= 1e6 => format!("{:.1} M", number / 1e6),
            Spacing::Logarithmic if number >= 1e4 => format!("{:.0} k", number / 1e3),
            Spacing::Logarithmic => format!("{number:.0}"),
        }
    }
}

impl Curves {
    /// Writes `<name>.json` and `<name>.svg` below `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let curves: Vec<Value> =
            self.curves.iter().map(|curve| json!({ "name": curve.name, "points": curve.points })).collect();
        let whole = json!({
            "machine": machine::describe(), "title": self.title, "along": self.along, "about": self.about,
            "curves": curves,
        });
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make '{}'", folder.display()))?;
        std::fs::write(folder.join(format!("{name}.json")), format!("{whole:#}\n"))?;
        std::fs::write(folder.join(format!("{name}.svg")), self.plot())?;
        Ok(())
    }

    fn plot(&self) -> String {
        let frame = Frame::of(&self.curves, self.spacing);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"20\" font-weight=\"bold\">{}</text>\n",
            escape(&self.title)
        );
        axes(&frame, self.along, &mut svg);
        for (place, curve) in self.curves.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            let points: Vec<String> = curve
                .points
                .iter()
                .map(|&(along, value)| format!("{:.1},{:.1}", frame.x(along), frame.y(value)))
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
fn axes(frame: &Frame, along: &str, svg: &mut String) {
    let (left, bottom) = (MARGINS.0, HEIGHT - MARGINS.0);
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {MARGIN} V{bottom} H{right}\" fill=\"none\" stroke=\"black\"/>\
         <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>",
        escape(along),
        MARGIN = MARGINS.1,
        right = WIDTH - MARGINS.1,
        middle = WIDTH / 2.0,
        below = HEIGHT - 14.0,
    );
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let (along, value) = (frame.number(frame.along, share), frame.number(frame.values, share));
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{under}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{beside}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
            frame.label(along, 1),
            frame.label(value, 4),
            x = frame.x(along),
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
        let title = "a < b".to_owned();
        Curves { title, along: "seconds", spacing: Spacing::Linear, about: Value::Null, curves }
    }

    #[test]
    fn equal_ratios_are_equally_far_apart_where_that_is_asked_for() {
        let points = vec![(10.0, 3.0), (100.0, 30.0), (1_000.0, 300.0)];
        let frame = Frame::of(&[Curve { name: String::new(), points }], Spacing::Logarithmic);
        let apart = |place: &dyn Fn(f64) -> f64, numbers: [f64; 3]| {
            let [a, b, c] = numbers.map(place);
            ((b - a).abs() - (c - b).abs()).abs() < 1e-9 && (a - c).abs() > 300.0
        };
        assert!(apart(&|number| frame.x(number), [10.0, 100.0, 1_000.0]));
        assert!(apart(&|number| frame.y(number), [3.0, 30.0, 300.0]));
        assert!((frame.number(frame.along, 0.5) - 100.0).abs() < 1e-9);
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
        let spacings = [Spacing::Linear, Spacing::Logarithmic];
        let drawn = spacings
            .map(|spacing| [vec![flat.clone()], Vec::new()].map(|drawn| Curves { spacing, ..curves(drawn) }));
        for drawn in drawn.iter().flatten() {
            let plot = drawn.plot();
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        }
    }
}
