//! Latencies in bins, eight to each doubling: a quantile is within an eighth of what it was.

use std::{collections::BTreeMap, time::Duration};

/// Bins: up to 64 µs, then eight to each doubling, up to two minutes and longer.
pub(super) const BINS: usize = 1 + 8 * 21;
/// The first bin ends where the power of two of this exponent is, in microseconds.
const FIRST_EXPONENT: u32 = 6;

/// The bin of a latency.
pub(super) fn bin_of(elapsed: Duration) -> usize {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let Some(exponent) = micros.checked_ilog2().filter(|exponent| *exponent >= FIRST_EXPONENT) else {
        return 0;
    };
    let eighth = (micros >> (exponent - 3)) & 7;
    // At most 58 doublings: a small number.
    (1 + 8 * (exponent - FIRST_EXPONENT) as usize + eighth as usize).min(BINS - 1)
}

/// Where a bin begins, in microseconds.
fn begin_of(bin: usize) -> f64 {
    match bin.checked_sub(1) {
        None => 0.0,
        Some(bin) => {
            let (doublings, eighth) = (bin / 8, bin % 8);
            (8 + eighth) as f64 / 8.0 * 2_f64.powi(FIRST_EXPONENT as i32 + doublings as i32)
        }
    }
}

/// How many latencies are in each bin; bins without any are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct Latencies(BTreeMap<u16, u64>);

impl Latencies {
    /// Of the counts of all bins.
    pub(super) fn of(counts: impl Iterator<Item = u64>) -> Self {
        Self((0..).zip(counts).filter(|(_, count)| *count > 0).collect())
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (bin, count) in &other.0 {
            *self.0.entry(*bin).or_default() += count;
        }
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let added = self
            .0
            .iter()
            .map(|(bin, count)| (*bin, count.saturating_sub(before.0.get(bin).copied().unwrap_or_default())));
        Self(added.filter(|(_, count)| *count > 0).collect())
    }

    /// The latency in milliseconds that this share of them is not above; nothing without any.
    pub(in crate::http) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let all: u64 = self.0.values().sum();
        let rank = share * all as f64;
        let mut below = 0.0;
        for (bin, count) in &self.0 {
            let (bin, count) = (usize::from(*bin), *count as f64);
            if below + count >= rank {
                let (begin, end) = (begin_of(bin), begin_of(bin + 1));
                let within = ((rank - below) / count).clamp(0.0, 1.0);
                return Some((begin + within * (end - begin)) / 1_000.0);
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_in_the_bin_that_begins_before_it_and_ends_after_it() {
        for micros in (0..200_000).step_by(7).chain([1 << 26, (1 << 27) - 1]) {
            let bin = bin_of(Duration::from_micros(micros));
            let (begin, end) = (begin_of(bin), begin_of(bin + 1));
            assert!(begin <= micros as f64 && (micros as f64) < end, "{micros} in {begin}..{end}");
            assert!(bin == 0 || end <= begin * 1.126, "{begin}..{end}");
        }
        assert_eq!(bin_of(Duration::MAX), BINS - 1);
    }

    #[test]
    fn quantiles_are_within_an_eighth() {
        let mut counts = vec![0; BINS];
        for millisecond in 1..=1_000 {
            counts[bin_of(Duration::from_millis(millisecond))] += 1;
        }
        let latencies = Latencies::of(counts.into_iter());
        for (share, expected) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = latencies.quantile_ms(share).unwrap();
            assert!((found / expected - 1.0_f64).abs() < 0.125, "{found} for {expected}");
        }
        assert_eq!(Latencies::default().quantile_ms(0.5), None);
    }
}
