//! The eigenvectors of a symmetric matrix, in f64: Householder's reduction to tridiagonal form, then QL with
//! implicit shifts (Bowdler, Martin, Reinsch and Wilkinson, 1968; `tred2` and `tql2` of EISPACK).
//!
//! One thread and plain multiplications and additions: the same matrix gives the same bits on every machine.

/// Sweeps after which an eigenvalue is given up; two or three are usual.
const SWEEPS_MAX: usize = 60;

/// A symmetric matrix as Σ λⱼ vⱼ vⱼᵀ.
#[derive(Debug, Clone)]
pub struct Eigen {
    /// λⱼ, in no particular order.
    pub values: Vec<f64>,
    /// vⱼ, one after the other: orthonormal.
    pub vectors: Vec<f64>,
}

/// Decomposes the symmetric `order` × `order` matrix (row-major, both triangles); `None` when it is not finite.
#[must_use]
pub fn decompose(matrix: &[f64], order: usize) -> Option<Eigen> {
    debug_assert_eq!(matrix.len(), order * order);
    if !matrix.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut work = matrix.to_vec();
    let (mut values, mut beside, reflectors) = tridiagonal(&mut work, order);
    let mut vectors = accumulate(&work, &reflectors, order);
    diagonalise(&mut values, &mut beside, &mut vectors, order)?;
    Some(Eigen { values, vectors })
}

/// Reduces `a` to tridiagonal form: its diagonal, what stands beside it (number k beside elements k and k + 1), and
/// each step's 2 / ‖v‖². The reflector v of step k stays in row k of `a`, from column k + 1 on.
fn tridiagonal(a: &mut [f64], order: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut beside, mut scales) = (vec![0.0; order], vec![0.0; order]);
    let (mut v, mut p) = (vec![0.0; order], vec![0.0; order]);
    for step in 0..order.saturating_sub(1) {
        let first = step + 1;
        let (v, p) = (&mut v[first..], &mut p[first..]);
        v.copy_from_slice(&a[step * order + first..][..order - first]);
        let norm = dot(v, v).sqrt();
        let beyond = dot(&v[1..], &v[1..]);
        if beyond == 0.0 {
            // Tridiagonal already: the reflector is none.
            beside[step] = v[0];
            v.fill(0.0);
        } else {
            let alpha = if v[0] > 0.0 { -norm } else { norm };
            beside[step] = alpha;
            v[0] -= alpha;
            scales[step] = 2.0 / (v[0] * v[0] + beyond);
        }
        let scale = scales[step];
        if scale != 0.0 {
            for (row, p) in p.iter_mut().enumerate() {
                *p = scale * dot(&a[(first + row) * order + first..][..order - first], v);
            }
            let share = scale / 2.0 * dot(p, v);
            for (p, v) in p.iter_mut().zip(&*v) {
                *p -= share * v;
            }
            for row in 0..order - first {
                let (vr, pr) = (v[row], p[row]);
                let target = &mut a[(first + row) * order + first..][..order - first];
                for ((target, v), p) in target.iter_mut().zip(&*v).zip(&*p) {
                    *target -= vr * p + pr * v;
                }
            }
        }
        a[step * order + first..][..order - first].copy_from_slice(v);
    }
    let diagonal = (0..order).map(|at| a[at * order + at]).collect();
    (diagonal, beside, scales)
}

/// Qᵀ of A = Q T Qᵀ: the reflections, last to first.
fn accumulate(a: &[f64], scales: &[f64], order: usize) -> Vec<f64> {
    let mut q = vec![0.0; order * order];
    for at in 0..order {
        q[at * order + at] = 1.0;
    }
    for step in (0..order.saturating_sub(1)).rev() {
        let first = step + 1;
        let v = &a[step * order + first..][..order - first];
        if scales[step] == 0.0 {
            continue;
        }
        // Rows up to `step` are still those of the identity, which the reflector does not touch.
        for row in q.chunks_exact_mut(order).skip(first) {
            let share = scales[step] * dot(&row[first..], v);
            for (value, v) in row[first..].iter_mut().zip(v) {
                *value -= share * v;
            }
        }
    }
    q
}

/// QL with implicit shifts; the rotations are applied to the rows of `vectors`.
fn diagonalise(d: &mut [f64], e: &mut [f64], vectors: &mut [f64], order: usize) -> Option<()> {
    let scale = d.iter().zip(&*e).map(|(d, e)| d.abs() + e.abs()).fold(0.0, f64::max);
    let negligible = scale * f64::EPSILON;
    for first in 0..order {
        for sweep in 0.. {
            let end = (first..order - 1).find(|&at| e[at].abs() <= negligible).unwrap_or(order - 1);
            if end == first {
                break;
            }
            if sweep == SWEEPS_MAX {
                return None;
            }
            let half = (d[first + 1] - d[first]) / (2.0 * e[first]);
            let root = (half * half + 1.0).sqrt();
            let shift = d[end] - d[first] + e[first] / (half + root.copysign(half));
            sweep_once(d, e, vectors, order, first..end, shift);
        }
    }
    Some(())
}

/// One sweep of rotations over a part of the tridiagonal matrix, from its end to its beginning.
fn sweep_once(
    d: &mut [f64],
    e: &mut [f64],
    vectors: &mut [f64],
    order: usize,
    part: std::ops::Range<usize>,
    mut g: f64,
) {
    let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
    for at in part.clone().rev() {
        let (f, b) = (sine * e[at], cosine * e[at]);
        let radius = (f * f + g * g).sqrt();
        e[at + 1] = radius;
        if radius == 0.0 {
            // The matrix splits here.
            d[at + 1] -= p;
            e[part.end] = 0.0;
            return;
        }
        sine = f / radius;
        cosine = g / radius;
        g = d[at + 1] - p;
        let r = (d[at] - g) * sine + 2.0 * cosine * b;
        p = sine * r;
        d[at + 1] = g + p;
        g = cosine * r - b;
        let (upper, lower) = vectors[at * order..(at + 2) * order].split_at_mut(order);
        for (upper, lower) in upper.iter_mut().zip(lower) {
            let below = *lower;
            *lower = sine * *upper + cosine * below;
            *upper = cosine * *upper - sine * below;
        }
    }
    d[part.start] -= p;
    e[part.start] = g;
    e[part.end] = 0.0;
}

/// In eight partial sums, which the compiler may keep in registers.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_parts, b_parts) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_parts.remainder().iter().zip(b_parts.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_parts.zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    rest + sums.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_core::hash::{mix64, unit_interval};

    use super::*;

    fn check(matrix: &[f64], order: usize) {
        let Eigen { values, vectors } = decompose(matrix, order).unwrap();
        let scale = matrix.iter().fold(1e-300_f64, |most, value| most.max(value.abs()));
        for i in 0..order {
            for j in 0..order {
                let (x, y) = (&vectors[i * order..][..order], &vectors[j * order..][..order]);
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((dot(x, y) - expected).abs() < 1e-12, "{i} {j} of {order}");
                let sum: f64 =
                    (0..order).map(|k| values[k] * vectors[k * order + i] * vectors[k * order + j]).sum();
                assert!(
                    (sum - matrix[i * order + j]).abs() < 1e-12 * scale * order as f64,
                    "{i} {j} of {order}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_orthonormal_and_make_the_whole(order in 1_usize..40, rank in 0_usize..60, seed: u64) {
            let x: Vec<f64> = (0..rank * order).map(|i| unit_interval(mix64(seed ^ i as u64)) - 0.5).collect();
            let mut matrix = vec![0.0; order * order];
            for row in x.chunks_exact(order) {
                for i in 0..order {
                    for j in 0..order {
                        matrix[i * order + j] += row[i] * row[j];
                    }
                }
            }
            check(&matrix, order);
        }
    }

    #[test]
    fn what_is_diagonal_or_equal_is_no_trouble() {
        check(&[4.0], 1);
        check(&[3.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 3.0], 3);
        check(&[2.0, 1e-9, 1e-9, 2.0], 2);
        check(&[1e-30, 0.0, 0.0, 1e30], 2);
        check(&[0.0; 16], 4);
        check(&[1.0; 25], 5);
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        assert!(decompose(&[1.0, f64::NAN, f64::NAN, 1.0], 2).is_none());
    }
}
