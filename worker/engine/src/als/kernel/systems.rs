//! Small systems, one in each lane: the same loops solve [`LANES`] of them in the time of a few.
//!
//! A factorisation of one small matrix waits for its own square roots and divisions, and most lanes of its vectors are
//! above the diagonal. Number by number beside fifteen others it waits once for all, and no lane is idle.
//!
//! Each lane's operations are the same whatever the others hold: a system's solution does not depend on its neighbours.

use super::{
    Kernel, LANES, Task,
    blocks::side,
    factor::{PIVOT_SHARE_MIN, is_trusted},
    products::InstructionSet,
    small_rank::{QUAD, SMALL_RANK_MAX, index, quads, sums_len, triangle},
    vector::{Lanes, Vector},
};

/// The largest order of such systems: that of the longest rows with a bias. Sixteen of them take 46 KiB, which the second
/// cache holds.
pub const ORDER_MAX: usize = SMALL_RANK_MAX + 1;

/// A number of each system.
pub type Each = [f32; LANES];

/// [`LANES`] systems A x = b of the same order.
#[derive(Debug, Default, Clone)]
pub struct Systems {
    order: usize,
    /// The lower triangle, in the order of [`index`].
    matrix: Vec<Each>,
    /// b, then x: whole quads.
    right: Vec<Each>,
    /// The diagonal of A.
    diagonal: Vec<Each>,
    pivots: Vec<Each>,
}

impl Systems {
    /// Makes room for systems of this order.
    ///
    /// # Panics
    /// When it is zero or above [`ORDER_MAX`].
    pub fn reshape(&mut self, order: usize) {
        assert!((1..=ORDER_MAX).contains(&order));
        self.order = order;
        let rows = quads(order) * QUAD;
        self.matrix.resize(triangle(order), [0.0; LANES]);
        for buffer in [&mut self.right, &mut self.diagonal, &mut self.pivots] {
            buffer.resize(rows, [0.0; LANES]);
        }
        // The last quad may have rows beyond the order: those of the unit matrix.
        for row in order..rows {
            for column in 0..=row {
                *self.element(row, column) = [if row == column { 1.0 } else { 0.0 }; LANES];
            }
            self.right[row] = [0.0; LANES];
        }
    }

    /// A number of the lower triangle of every A.
    ///
    /// # Panics
    /// When it is beyond the systems.
    pub fn element(&mut self, row: usize, column: usize) -> &mut Each {
        debug_assert!(column <= row);
        &mut self.matrix[index(row, column)]
    }

    /// A number of every b and, when they are solved, of every x.
    ///
    /// # Panics
    /// When it is beyond the systems.
    pub fn right(&mut self, row: usize) -> &mut Each {
        &mut self.right[row]
    }

    /// x of one of the systems, when they are solved.
    pub fn solution(&self, lane: usize) -> impl Iterator<Item = f32> {
        self.right[..self.order].iter().map(move |each| each[lane])
    }
}

impl Kernel {
    /// Takes A and b from `sums` of rows of this `width` ([`Kernel::add_small_rank`]), one after the other: the first [`LANES`]
    /// systems are of that order. With two `sides` they have one order more, and the second side is the last row of A,
    /// whose diagonal and right-hand side are left to the caller. Without sides the sums are Grams of so many rows
    /// ([`Kernel::write_gram`]), and b is left to the caller.
    ///
    /// # Panics
    /// When there are not so many sums.
    pub fn fill_systems(self, systems: &mut Systems, width: usize, sides: usize, sums: &[f32]) {
        assert!(sides <= 2 && sums.len() == LANES * sums_len(width, sides));
        systems.reshape(width + sides.saturating_sub(1));
        self.run(Fill { systems, width, sides, sums });
        let order = systems.order;
        systems.reshape(order);
    }

    /// Solves the systems; says of each whether f32 was enough. The x of one that it was not is undefined.
    pub fn solve_systems(self, systems: &mut Systems) -> [bool; LANES] {
        for row in 0..systems.order {
            systems.diagonal[row] = systems.matrix[index(row, row)];
        }
        self.run(Solve { systems });
        let mut solved = [true; LANES];
        for row in 0..systems.order {
            let (pivots, diagonal) = (&systems.pivots[row], &systems.diagonal[row]);
            for (lane, solved) in solved.iter_mut().enumerate() {
                *solved &= is_trusted(pivots[lane], diagonal[lane] * PIVOT_SHARE_MIN);
                *solved &= systems.right[row][lane].is_finite();
            }
        }
        solved
    }
}

struct Fill<'a> {
    systems: &'a mut Systems,
    width: usize,
    sides: usize,
    sums: &'a [f32],
}

impl Task for Fill<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let Self { systems, width, sides, sums } = self;
        let length = sums_len(width, sides);
        let mut block = [[0.0_f32; LANES]; LANES];
        let transpose = |first: usize, to: *mut f32| {
            let from = std::array::from_fn(|lane| sums[lane * length + first..][..LANES].as_ptr());
            // SAFETY: the caller vouches for the instruction set, and this task for a block at `to`.
            unsafe { S::Full::transpose(&from, LANES, to) };
        };
        // Of the last rows what is beyond the width is there too, and is set right afterwards.
        for (first, to) in systems.matrix.chunks_exact_mut(LANES).take(triangle(width) / LANES).enumerate() {
            transpose(first * LANES, to.as_mut_ptr().cast());
        }
        for at in 0..sides {
            for part in 0..side(width) {
                let first = triangle(width) + (at * side(width) + part) * LANES;
                transpose(first, block.as_mut_ptr().cast());
                for (column, each) in (part * LANES..width).zip(&block) {
                    match at {
                        0 => systems.right[column] = *each,
                        _ => systems.matrix[index(width, column)] = *each,
                    }
                }
            }
        }
    }
}

struct Solve<'a> {
    systems: &'a mut Systems,
}

/// The product of two quads.
type Square<V> = [[V; QUAD]; QUAD];

impl Task for Solve<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let Systems { order, matrix, right, pivots, .. } = self.systems;
        let quads = quads(*order);
        let (matrix, right) = (matrix.as_mut_ptr().cast::<f32>(), right.as_mut_ptr().cast::<f32>());
        let pivots = pivots.as_mut_ptr().cast::<f32>();
        // SAFETY: the caller vouches for the instruction set; the systems have room for whole quads of their order, of which
        // nothing beyond is named.
        unsafe {
            for at in 0..quads {
                // A = L Lᵀ, left-looking: the quad on the diagonal, with b as one more row; then those below.
                let above = matrix.add(index(at * QUAD, 0) * LANES);
                let diagonal = matrix.add(index(at * QUAD, at * QUAD) * LANES);
                let mut square = load_square::<S::Full>(diagonal);
                let side = right.add(at * QUAD * LANES);
                let mut values: [S::Full; QUAD] =
                    std::array::from_fn(|row| S::Full::load(side.add(row * LANES)));
                for step in 0..at * QUAD {
                    let column = step / QUAD * LANES + step % QUAD;
                    let lefts: [S::Full; QUAD] =
                        std::array::from_fn(|row| S::Full::load(above.add((column + row * QUAD) * LANES)));
                    let known = S::Full::load(right.add(step * LANES));
                    for row in 0..QUAD {
                        for column in 0..=row {
                            square[row][column] = lefts[row].neg_mul_add(lefts[column], square[row][column]);
                        }
                        values[row] = lefts[row].neg_mul_add(known, values[row]);
                    }
                }
                let inverse = factorise(&mut square, pivots.add(at * QUAD * LANES));
                for row in 0..QUAD {
                    for column in 0..row {
                        values[row] = square[row][column].neg_mul_add(values[column], values[row]);
                    }
                    values[row] = values[row].mul(inverse[row]);
                    values[row].store(side.add(row * LANES));
                }
                store_square(square, diagonal);
                for (row, inverse) in inverse.into_iter().enumerate() {
                    // What is needed of the diagonal from here on.
                    inverse.store(diagonal.add(row * (QUAD + 1) * LANES));
                }
                for below in at + 1..quads {
                    let left = matrix.add(index(below * QUAD, 0) * LANES);
                    let target = matrix.add(index(below * QUAD, at * QUAD) * LANES);
                    let mut result = load_square::<S::Full>(target);
                    for step in 0..at * QUAD {
                        let column = step / QUAD * LANES + step % QUAD;
                        let load = |from: *const f32, row: usize| {
                            S::Full::load(from.add((column + row * QUAD) * LANES))
                        };
                        let rights: [S::Full; QUAD] = std::array::from_fn(|row| load(above, row));
                        for (row, result) in result.iter_mut().enumerate() {
                            let left = load(left, row);
                            for (result, right) in result.iter_mut().zip(rights) {
                                *result = left.neg_mul_add(right, *result);
                            }
                        }
                    }
                    for row in &mut result {
                        for column in 0..QUAD {
                            for before in 0..column {
                                row[column] = row[before].neg_mul_add(square[column][before], row[column]);
                            }
                            row[column] = row[column].mul(inverse[column]);
                        }
                    }
                    store_square(result, target);
                }
            }
            // Lᵀ x = z.
            for at in (0..quads).rev() {
                let side = right.add(at * QUAD * LANES);
                let mut values: [S::Full; QUAD] =
                    std::array::from_fn(|row| S::Full::load(side.add(row * LANES)));
                for step in (at + 1) * QUAD..quads * QUAD {
                    let row = matrix.add(index(step, at * QUAD) * LANES);
                    let known = S::Full::load(right.add(step * LANES));
                    for (column, value) in values.iter_mut().enumerate() {
                        *value = S::Full::load(row.add(column * LANES)).neg_mul_add(known, *value);
                    }
                }
                let square = load_square::<S::Full>(matrix.add(index(at * QUAD, at * QUAD) * LANES));
                for row in (0..QUAD).rev() {
                    for below in row + 1..QUAD {
                        values[row] = square[below][row].neg_mul_add(values[below], values[row]);
                    }
                    values[row] = values[row].mul(square[row][row]);
                    values[row].store(side.add(row * LANES));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load_square<V: Vector>(from: *const f32) -> Square<V> {
    // SAFETY: the caller vouches for the instruction set and the product of two quads of every system.
    unsafe {
        std::array::from_fn(|row| {
            std::array::from_fn(|column| V::load(from.add((row * QUAD + column) * LANES)))
        })
    }
}

#[inline(always)]
unsafe fn store_square<V: Vector>(square: Square<V>, to: *mut f32) {
    for (row, values) in square.into_iter().enumerate() {
        for (column, value) in values.into_iter().enumerate() {
            // SAFETY: the caller vouches for the instruction set and room for the product of two quads of every system.
            unsafe { value.store(to.add((row * QUAD + column) * LANES)) };
        }
    }
}

/// The lower triangle of a square as L, whose pivots are written; returns the inverse of L's diagonal.
#[inline(always)]
unsafe fn factorise<V: Lanes>(square: &mut Square<V>, pivots: *mut f32) -> [V; QUAD] {
    // SAFETY: the caller vouches for the instruction set and room for a quad of pivots.
    unsafe {
        let mut inverse = [V::splat(1.0); QUAD];
        for at in 0..QUAD {
            let pivot = square[at][at];
            pivot.store(pivots.add(at * LANES));
            inverse[at] = V::splat(1.0).div(pivot.sqrt());
            for below in &mut square[at + 1..] {
                below[at] = below[at].mul(inverse[at]);
            }
            for row in at + 1..QUAD {
                for column in at + 1..=row {
                    square[row][column] =
                        square[row][at].neg_mul_add(square[column][at], square[row][column]);
                }
            }
        }
        inverse
    }
}
