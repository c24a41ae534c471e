//! Cholesky factorisation and substitution of a symmetric matrix in blocks, in place.
//!
//! Block column by block column, left-looking: a block is brought up to date with everything to its left in one
//! product of block rows, so that it is read and written once. Within a diagonal block the factorisation is
//! right-looking, A = U D Uᵀ with a unit triangle U: the square roots leave its chain of dependent operations.
//! With S = √D the usual factor is L = U S; off the diagonal the blocks hold L, on it U without its ones.

use super::{
    Kernel, LANES, Task,
    blocks::{self, BLOCK, offset, side},
    dense::add_lanes,
    for_lanes,
    products::{InstructionSet, Sides, Sign},
    vector::{Lanes, Vector},
};

/// A pivot this much smaller than its diagonal element has lost most of its digits to cancellation.
pub(super) const PIVOT_SHARE_MIN: f32 = 1e-5;

/// A pivot has lost its digits: the matrix is not positive definite, or too nearly so for f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("f32 does not factorise the normal equations of a row well enough")]
pub struct PrecisionLost;

/// What a factorisation leaves beside the blocks; kept per thread.
#[derive(Debug, Default)]
pub struct Factor {
    /// Uᵀ of every diagonal block.
    transposed: Vec<f32>,
    /// 1 / S.
    inverse: Vec<f32>,
    /// The smallest pivots that are trusted.
    pivots_min: Vec<f32>,
}

/// A last row and column of the matrix, kept apart: A bordered by v and d, of which the solution's last element is.
#[derive(Debug, Clone, Copy)]
pub struct Border {
    /// d, the element in the last row and column.
    pub diagonal: f32,
    /// The right-hand side's last element.
    pub right: f32,
}

impl Kernel {
    /// Solves A x = b for the positive definite A of this `order` in `matrix` (see [`blocks`]), which is
    /// destroyed; `right`, b padded to whole blocks with zeros, becomes x.
    ///
    /// # Errors
    /// [`PrecisionLost`] when a pivot is not trustworthy; `right` is then undefined.
    ///
    /// # Panics
    /// When a slice has another length than the order asks for.
    pub fn solve(
        self,
        matrix: &mut [f32],
        order: usize,
        right: &mut [f32],
        factor: &mut Factor,
    ) -> Result<(), PrecisionLost> {
        assert_eq!(right.len(), side(order) * LANES);
        self.factorise(matrix, order, factor)?;
        self.substitute(matrix, order, right, factor)
    }

    /// The second half of [`Kernel::solve`], for what [`Kernel::factorise`] has left: as often as there are right-hand
    /// sides.
    ///
    /// # Errors
    /// [`PrecisionLost`] when the solution is not finite.
    ///
    /// # Panics
    /// When a slice has another length than the order asks for.
    pub fn substitute(
        self,
        matrix: &[f32],
        order: usize,
        right: &mut [f32],
        factor: &Factor,
    ) -> Result<(), PrecisionLost> {
        let count = side(order);
        assert!(matrix.len() == blocks::len(order) && right.len() == count * LANES);
        assert!(factor.transposed.len() == count * BLOCK && factor.inverse.len() == count * LANES);
        self.run(Forward::<1> { matrix, order, right, factor });
        self.run(Backward { matrix, order, right, factor });
        finite(right)
    }

    /// The same where A has one more row and column, `border`, whose elements v off the diagonal stand behind the
    /// right-hand side in `right_and_border`, both padded to whole blocks. Returns the last element of x.
    ///
    /// # Errors
    /// [`PrecisionLost`] when a pivot is not trustworthy.
    ///
    /// # Panics
    /// When a slice has another length than the order asks for.
    pub fn solve_bordered(
        self,
        matrix: &mut [f32],
        order: usize,
        right_and_border: &mut [f32],
        border: Border,
        factor: &mut Factor,
    ) -> Result<f32, PrecisionLost> {
        let width = side(order) * LANES;
        assert_eq!(right_and_border.len(), 2 * width);
        self.factorise(matrix, order, factor)?;
        self.run(Forward::<2> { matrix, order, right: right_and_border, factor });
        // With z = L⁻¹ b and w = L⁻¹ v: the last pivot is d − w·w.
        let (right, column) = right_and_border.split_at_mut(width);
        let pivot = border.diagonal - self.dot(column, column);
        if !is_trusted(pivot, border.diagonal * PIVOT_SHARE_MIN) {
            return Err(PrecisionLost);
        }
        let last = (border.right - self.dot(column, right)) / pivot;
        self.add_scaled(-last, column, right);
        self.run(Backward { matrix, order, right, factor });
        finite(right)?;
        if last.is_finite() { Ok(last) } else { Err(PrecisionLost) }
    }

    /// Factorises A, which is destroyed: the first half of [`Kernel::solve`].
    ///
    /// # Errors
    /// [`PrecisionLost`] when a pivot is not trustworthy.
    ///
    /// # Panics
    /// When the matrix has another length than the order asks for.
    pub fn factorise(
        self,
        matrix: &mut [f32],
        order: usize,
        factor: &mut Factor,
    ) -> Result<(), PrecisionLost> {
        assert_eq!(matrix.len(), blocks::len(order));
        let count = side(order);
        factor.transposed.resize(count * BLOCK, 0.0);
        factor.inverse.resize(count * LANES, 0.0);
        factor.pivots_min.clear();
        factor.pivots_min.extend((0..order).map(|row| matrix[blocks::index(row, row)] * PIVOT_SHARE_MIN));
        if self.run(Factorise { matrix, order, factor }) { Ok(()) } else { Err(PrecisionLost) }
    }
}

/// A NaN is not.
pub(super) fn is_trusted(pivot: f32, pivot_min: f32) -> bool {
    pivot > pivot_min && pivot > 0.0 && pivot.is_finite()
}

fn finite(values: &[f32]) -> Result<(), PrecisionLost> {
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(PrecisionLost) }
}

struct Factorise<'a> {
    matrix: &'a mut [f32],
    order: usize,
    factor: &'a mut Factor,
}

impl Task for Factorise<'_> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) -> bool {
        let count = side(self.order);
        let matrix = self.matrix.as_mut_ptr();
        for column in 0..count {
            let valid = (self.order - column * LANES).min(LANES);
            let depth = column * LANES;
            // SAFETY: the lengths were checked; every block is within the matrix, and the factor has room for `count`
            // diagonal blocks.
            unsafe {
                let above = matrix.add(offset(column, 0));
                let diagonal = matrix.add(offset(column, column));
                S::diagonal::<0>(Sign::Minus, depth, above, above, diagonal, Sides::NONE);
                let transposed = self.factor.transposed.as_mut_ptr().add(column * BLOCK);
                let inverse = self.factor.inverse.as_mut_ptr().add(column * LANES);
                let pivots_min = &self.factor.pivots_min[column * LANES..][..valid];
                if !factorise_diagonal::<S::Full>(diagonal, pivots_min, transposed, inverse) {
                    return false;
                }
                for row in column + 1..count {
                    let left = matrix.add(offset(row, 0));
                    let target = matrix.add(offset(row, column));
                    S::block(Sign::Minus, depth, above, left, target);
                    S::solve_triangle(diagonal, inverse, target);
                }
            }
        }
        true
    }
}

/// A = U D Uᵀ for a block on the diagonal with as many columns as there are `pivots_min`: U without its ones to the
/// block, Uᵀ and 1/√D beside it. False when a pivot is not trusted.
#[inline(always)]
unsafe fn factorise_diagonal<V: Lanes>(
    block: *mut f32,
    pivots_min: &[f32],
    transposed: *mut f32,
    inverse: *mut f32,
) -> bool {
    let valid = pivots_min.len();
    // SAFETY: the caller vouches for the instruction set, blocks at `block` and `transposed`, and LANES numbers at
    // `inverse`.
    unsafe {
        let mut columns = [V::splat(0.0); LANES];
        for_lanes!(lane ascending { columns[lane] = V::load(block.add(lane * LANES)); });
        let mut pivots = [1.0_f32; LANES];
        let mut units = [V::splat(0.0); LANES];
        'columns: {
            for_lanes!(lane ascending {
                if lane >= valid {
                    break 'columns;
                }
                let pivot = columns[lane].broadcast_lane(lane);
                pivots[lane] = pivot.first();
                let unit = columns[lane].div(pivot);
                for next in lane + 1..LANES {
                    columns[next] = unit.neg_mul_add(columns[lane].broadcast_lane(next), columns[next]);
                }
                units[lane] = unit.after(lane);
            });
        }
        for_lanes!(lane ascending { units[lane].store(block.add(lane * LANES)); });
        for (pivot, pivot_min) in pivots.iter().zip(pivots_min) {
            if !is_trusted(*pivot, *pivot_min) {
                return false;
            }
        }
        V::splat(1.0).div(V::load(pivots.as_ptr()).sqrt()).store(inverse);
        let rows = std::array::from_fn(|lane| block.cast_const().add(lane * LANES));
        V::transpose(&rows, LANES, transposed);
        true
    }
}

/// X (U S)ᵀ = A for the rows of a block that `V` holds: X takes the place of A.
#[inline(always)]
pub(super) unsafe fn solve_triangle<V: Vector>(units: *const f32, inverse: *const f32, target: *mut f32) {
    // SAFETY: the caller vouches for the instruction set, blocks at `units` and `target`, and LANES numbers at `inverse`.
    unsafe {
        let mut columns = [V::splat(0.0); LANES];
        for_lanes!(lane ascending { columns[lane] = V::load(target.add(lane * LANES)); });
        for_lanes!(lane ascending {
            for next in lane + 1..LANES {
                let unit = V::splat(*units.add(lane * LANES + next));
                columns[next] = columns[lane].neg_mul_add(unit, columns[next]);
            }
        });
        for_lanes!(lane ascending {
            columns[lane].mul(V::splat(*inverse.add(lane))).store(target.add(lane * LANES));
        });
    }
}

/// z = L⁻¹ b for `SIDES` right-hand sides.
struct Forward<'a, const SIDES: usize> {
    matrix: &'a [f32],
    order: usize,
    right: &'a mut [f32],
    factor: &'a Factor,
}

impl<const SIDES: usize> Task for Forward<'_, SIDES> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        /// Partial sums, so that additions do not wait for each other.
        const PARTS: usize = 4;
        let count = side(self.order);
        let matrix = self.matrix.as_ptr();
        let right = self.right.as_mut_ptr();
        for row in 0..count {
            let valid = (self.order - row * LANES).min(LANES);
            // SAFETY: lengths were checked; blocks and right-hand sides are within their slices.
            unsafe {
                let at = |side: usize| right.add((side * count + row) * LANES);
                let left = matrix.add(offset(row, 0));
                let mut sums = [[S::Full::splat(0.0); PARTS]; SIDES];
                for step in (0..row * LANES).step_by(PARTS) {
                    for part in 0..PARTS {
                        let column = S::Full::load(left.add((step + part) * LANES));
                        for (side, sums) in sums.iter_mut().enumerate() {
                            let known = S::Full::splat(*right.add(side * count * LANES + step + part));
                            sums[part] = column.mul_add(known, sums[part]);
                        }
                    }
                }
                let units = matrix.add(offset(row, row));
                let inverse = S::Full::load(self.factor.inverse.as_ptr().add(row * LANES));
                let mut values = [S::Full::splat(0.0); SIDES];
                for (side, sums) in sums.into_iter().enumerate() {
                    let sum = sums[0].add(sums[1]).add(sums[2].add(sums[3]));
                    values[side] = S::Full::load(at(side)).sub(sum);
                }
                'columns: {
                    for_lanes!(lane ascending {
                        if lane >= valid {
                            break 'columns;
                        }
                        let unit = S::Full::load(units.add(lane * LANES));
                        for value in &mut values {
                            *value = unit.neg_mul_add(value.broadcast_lane(lane), *value);
                        }
                    });
                }
                for (side, value) in values.into_iter().enumerate() {
                    value.mul(inverse).store(at(side));
                }
            }
        }
    }
}

/// x = L⁻ᵀ z.
struct Backward<'a> {
    matrix: &'a [f32],
    order: usize,
    right: &'a mut [f32],
    factor: &'a Factor,
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let count = side(self.order);
        let matrix = self.matrix.as_ptr();
        let right = self.right.as_mut_ptr();
        for row in (0..count).rev() {
            let valid = (self.order - row * LANES).min(LANES);
            // SAFETY: lengths were checked; blocks and the right-hand side are within their slices.
            unsafe {
                let at = right.add(row * LANES);
                let known = below::<S>(matrix, right, row, count);
                let inverse = S::Full::load(self.factor.inverse.as_ptr().add(row * LANES));
                let mut value = S::Full::load(at).sub(known).mul(inverse);
                let transposed = self.factor.transposed.as_ptr().add(row * BLOCK);
                for_lanes!(lane descending {
                    if lane < valid {
                        let unit = S::Full::load(transposed.add(lane * LANES));
                        value = unit.neg_mul_add(value.broadcast_lane(lane), value);
                    }
                });
                value.store(at);
            }
        }
    }
}

/// Σ L[i, row]ᵀ x[i] over the block rows i below `row`.
#[inline(always)]
unsafe fn below<S: InstructionSet>(
    matrix: *const f32,
    right: *const f32,
    row: usize,
    count: usize,
) -> S::Full {
    /// Columns summed side by side, so that additions do not wait for each other.
    const COLUMNS: usize = 4;
    // SAFETY: the caller vouches for the instruction set, the matrix and the right-hand side.
    unsafe {
        if row + 1 == count {
            return S::Full::splat(0.0);
        }
        let mut products = [0.0_f32; BLOCK];
        for first in (0..LANES).step_by(COLUMNS) {
            let mut sums = [S::Full::splat(0.0); COLUMNS];
            for lower in row + 1..count {
                let known = S::Full::load(right.add(lower * LANES));
                let block = matrix.add(offset(lower, row) + first * LANES);
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum = S::Full::load(block.add(column * LANES)).mul_add(known, *sum);
                }
            }
            for (column, sum) in sums.into_iter().enumerate() {
                sum.store(products.as_mut_ptr().add((first + column) * LANES));
            }
        }
        add_lanes(&products)
    }
}
