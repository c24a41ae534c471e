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

/// A tick's text where ticks are `step` apart: as many digits as tell it from the next.
#[must_use]
pub fn tick_text_by(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    if value == 0.0 { "0".to_owned() } else { format!("{value:.digits$}") }
}

/// Text as HTML and SVG show it.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_digits_that_tell_them_apart() {
        assert_eq!([0.0, 0.05, 0.1].map(|tick| tick_text_by(tick, 0.05)), ["0", "0.05", "0.10"]);
        assert_eq!([0.9761, 0.9762].map(|tick| tick_text_by(tick, 0.0001)), ["0.9761", "0.9762"]);
        assert_eq!([20.0, 40.0].map(|tick| tick_text_by(tick, 20.0)), ["20", "40"]);
    }
}
