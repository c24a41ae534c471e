//! One symmetric system as the engine and as faer solve it.

use faer::{
    Conj, Mat, Par,
    dyn_stack::{MemBuffer, MemStack},
    linalg::cholesky::llt,
};
use shoal_engine::als::kernel::{
    Kernel, LANES, blocks,
    factor::Factor,
    padded,
    systems::{ORDER_MAX, Systems},
};

/// A well-conditioned system in the engine's blocks and as faer's matrix, and a right-hand side.
#[derive(Debug)]
pub struct System {
    order: usize,
    blocked: Vec<f32>,
    dense: Mat<f32>,
    right: Vec<f32>,
}

impl System {
    /// A system of this order.
    #[must_use]
    pub fn new(order: usize) -> Self {
        let value = |row: usize, column: usize| {
            let off = ((row * 7 + column * 13) % 11) as f32 * 0.01;
            if row == column { 2.0 + order as f32 * 0.1 } else { off }
        };
        let mut blocked = vec![0.0; blocks::len(order)];
        for row in 0..order {
            for column in 0..=row {
                blocked[blocks::index(row, column)] = value(row, column);
            }
        }
        let dense = Mat::from_fn(order, order, |row, column| value(row.max(column), row.min(column)));
        let mut right = vec![1.0; order];
        right.resize(padded(order), 0.0);
        Self { order, blocked, dense, right }
    }

    /// The engine's factorisation and substitution, the copy that is destroyed included.
    ///
    /// # Panics
    /// The call does when the system, which is well conditioned, cannot be solved.
    pub fn ours(&self) -> impl FnMut() -> f32 + use<'_> {
        let (mut work, mut x, mut factor) = (self.blocked.clone(), self.right.clone(), Factor::default());
        move || {
            work.copy_from_slice(&self.blocked);
            x.copy_from_slice(&self.right);
            assert!(Kernel::detect().solve(&mut work, self.order, &mut x, &mut factor).is_ok());
            x[0]
        }
    }

    /// [`LANES`] times the system side by side, the copy included, where it is small enough for that.
    ///
    /// # Panics
    /// The call does when the system, which is well conditioned, cannot be solved.
    pub fn side_by_side(&self) -> Option<impl FnMut() -> f32 + use<>> {
        if self.order > ORDER_MAX {
            return None;
        }
        let mut systems = Systems::default();
        systems.reshape(self.order);
        for row in 0..self.order {
            for column in 0..=row {
                systems.element(row, column).fill(self.blocked[blocks::index(row, column)]);
            }
            systems.right(row).fill(self.right[row]);
        }
        let mut work = systems.clone();
        Some(move || {
            work.clone_from(&systems);
            assert_eq!(Kernel::detect().solve_systems(&mut work), [true; LANES]);
            work.right(0)[LANES - 1]
        })
    }

    /// faer's in-place LLᵀ and solve, the copy included.
    ///
    /// # Panics
    /// The call does when the system, which is well conditioned, cannot be solved.
    pub fn faer(&self) -> impl FnMut() -> f32 + use<'_> {
        let order = self.order;
        let right = Mat::from_fn(order, 1, |row, _| self.right[row]);
        let (mut work, mut x) = (self.dense.clone(), right.clone());
        let factorising =
            llt::factor::cholesky_in_place_scratch::<f32>(order, Par::Seq, faer::Spec::default());
        let solving = llt::solve::solve_in_place_scratch::<f32>(order, 1, Par::Seq);
        let mut memory = MemBuffer::new(factorising.or(solving));
        move || {
            let stack = MemStack::new(&mut memory);
            work.copy_from(&self.dense);
            x.copy_from(&right);
            let (regularization, spec) = (Default::default(), faer::Spec::default());
            let factorised =
                llt::factor::cholesky_in_place(work.as_mut(), regularization, Par::Seq, stack, spec);
            assert!(factorised.is_ok());
            llt::solve::solve_in_place_with_conj(work.as_ref(), Conj::No, x.as_mut(), Par::Seq, stack);
            x[(0, 0)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_solve_the_same_system() {
        for order in [1, 20, 64, 130] {
            let system = System::new(order);
            let (ours, theirs) = (system.ours()(), system.faer()());
            assert!((ours - theirs).abs() < 1e-5, "order {order}: {ours} and {theirs}");
            if let Some(mut side_by_side) = system.side_by_side() {
                assert!((side_by_side() - theirs).abs() < 1e-5, "order {order}");
            }
        }
    }
}
