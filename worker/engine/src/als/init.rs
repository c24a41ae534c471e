//! Where factors start: normal numbers that follow from the seed, the side, the objective and the
//! row's id, so that they do not depend on which worker makes them or in which order.

use shoal_core::hash::{mix64, unit_interval};

/// Standard deviation of a row's inner product at the start, as iALS uses (Rendle et al. 2022):
/// each element is drawn with this over √rank.
const DEVIATION: f64 = 0.1;

/// Which of a model's four factor matrices a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The seed of the training job.
    pub seed: u64,
    /// `true` for the users' rows, `false` for the items'.
    pub users: bool,
    /// The ranking (implicit) or the rating (explicit) factors.
    pub ranking: bool,
}

/// Fills `row` with the starting factors of the row whose id has this hash.
pub fn fill_row(stream: Stream, id_hash: u64, row: &mut [f32]) {
    let deviation = DEVIATION / (row.len() as f64).sqrt();
    let tag = u64::from(stream.users) << 1 | u64::from(stream.ranking);
    let key = mix64(mix64(stream.seed ^ mix64(tag)) ^ id_hash);
    for (pair, values) in row.chunks_mut(2).enumerate() {
        let (first, second) = normal_pair(key, pair as u64);
        for (value, normal) in values.iter_mut().zip([first, second]) {
            *value = (normal * deviation) as f32;
        }
    }
}

/// The starting factors of rows whose ids have these hashes, row-major.
#[must_use]
pub fn rows(stream: Stream, rank: usize, id_hashes: impl ExactSizeIterator<Item = u64>) -> Vec<f32> {
    let mut factors = vec![0.0; id_hashes.len() * rank];
    for (id_hash, row) in id_hashes.zip(factors.chunks_exact_mut(rank)) {
        fill_row(stream, id_hash, row);
    }
    factors
}

/// Two independent standard normal numbers (Box and Muller, 1958) for a key and a counter.
fn normal_pair(key: u64, counter: u64) -> (f64, f64) {
    let first = mix64(key.wrapping_add(counter.wrapping_mul(2)));
    let second = mix64(key.wrapping_add(counter.wrapping_mul(2) + 1));
    // One minus a number in [0, 1) is never zero, so the logarithm is finite.
    let radius = (-2.0 * (1.0 - unit_interval(first)).ln()).sqrt();
    let angle = std::f64::consts::TAU * unit_interval(second);
    (radius * angle.cos(), radius * angle.sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream { seed: 42, users: true, ranking: false };

    #[test]
    fn rows_have_the_deviation_they_should() {
        let rank = 33;
        let mut row = vec![0.0; rank];
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for id in 0..3_000 {
            fill_row(STREAM, mix64(id), &mut row);
            for &value in &row {
                sum += f64::from(value);
                squares += f64::from(value) * f64::from(value);
                count += 1.0;
            }
        }
        let expected = DEVIATION / (rank as f64).sqrt();
        assert!((squares / count).sqrt() / expected - 1.0 < 0.02);
        assert!((sum / count).abs() < expected * 0.02);
    }

    #[test]
    fn every_part_of_the_stream_matters() {
        let fill = |stream, id| {
            let mut row = [0.0; 4];
            fill_row(stream, id, &mut row);
            row
        };
        let base = fill(STREAM, 1);
        assert_eq!(base, fill(STREAM, 1));
        assert_ne!(base, fill(STREAM, 2));
        assert_ne!(base, fill(Stream { seed: 43, ..STREAM }, 1));
        assert_ne!(base, fill(Stream { users: false, ..STREAM }, 1));
        assert_ne!(base, fill(Stream { ranking: true, ..STREAM }, 1));
    }
}
