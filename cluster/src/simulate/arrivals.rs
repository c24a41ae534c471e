//! When requests are due. Pure: the times follow from rate, duration and seed, never from how the
//! service answers, which is what makes the loop an open one.

use std::time::Duration;

use super::random::Random;

/// How requests are spread over the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// As independent people would: a Poisson process.
    Poisson,
    /// Requests come at equal distances.
    Constant,
}

/// The times at which requests are due, counted from the start, ascending: as many as rate and duration say, rounded.
///
/// A Poisson process of which the number of arrivals is known is that many independent uniform times in order, and
/// those are the partial sums of exponential gaps over the sum of one gap more (Devroye 1986, V.3).
#[derive(Debug)]
pub struct Arrivals {
    spacing: Spacing,
    gaps: Random,
    /// Seconds per unit of the gaps' sum, or between arrivals.
    scale: f64,
    sum: f64,
    given: u64,
    count: u64,
}

const PURPOSE: u64 = 1;

impl Arrivals {
    /// `rate` arrivals per second for `duration`; at least one.
    #[must_use]
    pub fn new(spacing: Spacing, rate: f64, duration: Duration, seed: u64) -> Self {
        let seconds = duration.as_secs_f64();
        let count = ((rate * seconds).round() as u64).max(1);
        let gaps = Random::new(seed, PURPOSE);
        let scale = match spacing {
            Spacing::Constant => seconds / count as f64,
            Spacing::Poisson => {
                let mut ahead = gaps.clone();
                seconds / (0..=count).map(|_| ahead.exponential()).sum::<f64>()
            }
        };
        Self { spacing, gaps, scale, sum: 0.0, given: 0, count }
    }

    /// How many there are in all.
    #[must_use]
    pub fn in_all(&self) -> u64 {
        self.count
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.given == self.count {
            return None;
        }
        self.sum = match self.spacing {
            Spacing::Constant => self.given as f64,
            Spacing::Poisson => self.sum + self.gaps.exponential(),
        };
        self.given += 1;
        Some(Duration::from_secs_f64(self.sum * self.scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(spacing: Spacing, seed: u64) -> Vec<f64> {
        let arrivals = Arrivals::new(spacing, 200.0, Duration::from_secs(50), seed);
        assert_eq!(arrivals.in_all(), 10_000);
        arrivals.map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced() {
        let times = times(Spacing::Constant, 1);
        assert_eq!(times.len(), 10_000);
        assert!(times.iter().enumerate().all(|(at, time)| (time - at as f64 / 200.0).abs() < 1e-6));
    }

    #[test]
    fn poisson_arrivals_ascend_within_the_duration_and_follow_from_the_seed() {
        let first = times(Spacing::Poisson, 7);
        assert_eq!(first.len(), 10_000);
        assert!(first.is_sorted() && first[0] >= 0.0 && first[9_999] < 50.0);
        assert_eq!(first, times(Spacing::Poisson, 7));
        assert_ne!(first, times(Spacing::Poisson, 8));
    }

    /// Counts in equal spans vary as a Poisson process's do: the variance is the mean.
    #[test]
    fn poisson_counts_vary_by_their_mean() {
        let mut counts = [0.0_f64; 500];
        for time in times(Spacing::Poisson, 3) {
            counts[(time * 10.0) as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 500.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 499.0;
        assert_eq!(mean, 20.0);
        assert!((0.75..1.25).contains(&(variance / mean)), "{variance}");
    }

    #[test]
    fn there_is_at_least_one() {
        assert_eq!(Arrivals::new(Spacing::Poisson, 0.1, Duration::from_secs(1), 1).in_all(), 1);
    }
}
