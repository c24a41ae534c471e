//! Round ticks for axes of drawings, and text as drawings show it.

/// The next of 1, 2, 5, 10, 20, … above a distance.
#[must_use]
pub fn round_step(distance: f64) -> f64 {
    let power = 10_f64.powf(distance.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= distance)
        .unwrap_or(10.0 * power)
}

/// A tick's text: no more digits than it needs.
#[must_use]
pub fn tick_text(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.to_owned()
}

/// Text as HTML and SVG show it.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
