//! Seeded random numbers: what a simulation draws follows from its seed alone.

use shoal_core::hash::{mix64, unit_interval};

/// The increment of SplitMix64 (Steele, Lea and Flood, 2014), which `mix64` finishes.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// A stream of its own for each pair of a seed and a purpose.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self { state: mix64(mix64(seed) ^ purpose) }
    }

    pub(super) fn next(&mut self) -> u64 {
        let drawn = mix64(self.state);
        self.state = self.state.wrapping_add(GOLDEN);
        drawn
    }

    /// From 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        unit_interval(self.next())
    }

    /// From 0 to below `end`, which is above 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // The product is below `end`, but rounding may lift it to there.
        ((self.unit() * end as f64) as usize).min(end - 1)
    }

    /// From an exponential distribution of mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}
