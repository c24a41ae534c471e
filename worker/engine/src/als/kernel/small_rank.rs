//! Sums of outer products of rows so short that one pass over them, or two, has registers for every sum: they are
//! multiplied where they lie, and not packed.
//!
//! A row is taken in *quads* of four numbers. The product of two quads is one vector: the lower triangle in quads wastes
//! an eighth of the operations of a rank of 20, where blocks of eight columns waste more than a quarter.

use super::{
    Kernel, LANES, Task,
    blocks::side,
    normal::Ahead,
    products::InstructionSet,
    vector::{Lanes as _, Vector},
};

/// Numbers of a quad.
pub(super) const QUAD: usize = 4;

const HALF: usize = LANES / 2;

/// The longest rows that there are registers for.
pub const SMALL_RANK_MAX: usize = 8 * QUAD;

/// Quads along the side of a matrix of this order.
pub(super) const fn quads(order: usize) -> usize {
    order.div_ceil(QUAD)
}

/// Where a number of the lower triangle is: the products of quads row by row, each row by row.
pub(super) const fn index(row: usize, column: usize) -> usize {
    let (down, right) = (row / QUAD, column / QUAD);
    (down * (down + 1) / 2 + right) * LANES + row % QUAD * QUAD + column % QUAD
}

/// Numbers of the lower triangle in quads, both triangles of those on the diagonal.
pub(super) const fn triangle(order: usize) -> usize {
    quads(order) * (quads(order) + 1) / 2 * LANES
}

/// Numbers of the sums of rows of this width, with so many right-hand sides.
#[must_use]
pub const fn sums_len(width: usize, sides: usize) -> usize {
    triangle(width) + sides * side(width) * LANES
}

impl Kernel {
    /// Whether rows of this width are summed where they lie.
    #[must_use]
    pub fn is_small_rank(self, width: usize) -> bool {
        self.has_many_registers() && width <= SMALL_RANK_MAX
    }

    /// Adds Σᵣ xᵣ xᵣᵀ over the rows of at most [`SMALL_RANK_MAX`] columns that `slots` names to `sums`, and Σᵣ fᵣ xᵣ to the
    /// right-hand side behind it; where there are two `SIDES`, Σᵣ xᵣ to the second. What is beyond the width is undefined.
    ///
    /// The rows of `ahead` are fetched meanwhile.
    ///
    /// # Panics
    /// When a slot names no row, or a slice has another length than the width and `slots` ask for.
    pub fn add_small_rank<const SIDES: usize>(
        self,
        slots: &[u32],
        factors: &[f32],
        ahead: Ahead<'_>,
        sums: &mut [f32],
    ) {
        let width = ahead.rows.width();
        assert!(width <= SMALL_RANK_MAX && (1..=2).contains(&SIDES));
        ahead.rows.check(slots);
        assert_eq!(factors.len(), slots.len());
        assert_eq!(sums.len(), sums_len(width, SIDES));
        self.run(AddSmallRank::<SIDES> { slots, factors, ahead, sums });
    }
}

struct AddSmallRank<'a, const SIDES: usize> {
    slots: &'a [u32],
    factors: &'a [f32],
    /// The rows, and which of them come next.
    ahead: Ahead<'a>,
    sums: &'a mut [f32],
}

impl<const SIDES: usize> Task for AddSmallRank<'_, SIDES> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(mut self) {
        // SAFETY: as of this function.
        unsafe {
            match quads(self.ahead.rows.width()) {
                1 => self.pass::<S, S::Half, 0, 1, 1>(LANES),
                2 => self.pass::<S, S::Half, 0, 2, 3>(LANES),
                3 => self.pass::<S, S::Half, 0, 3, 6>(LANES),
                4 => self.pass::<S, S::Half, 0, 4, 10>(LANES),
                5 => self.pass::<S, S::Half, 0, 5, 15>(LANES + HALF),
                6 => self.pass::<S, S::Half, 0, 6, 21>(LANES + HALF),
                7 => {
                    self.pass::<S, S::Full, 0, 5, 15>(2 * LANES);
                    self.pass::<S, S::Full, 5, 7, 13>(2 * LANES);
                }
                _ => {
                    self.pass::<S, S::Full, 0, 5, 15>(2 * LANES);
                    self.pass::<S, S::Full, 5, 8, 21>(2 * LANES);
                }
            }
        }
    }
}

impl<const SIDES: usize> AddSmallRank<'_, SIDES> {
    /// One pass over the rows. It sums the outer products of quad i with the quads 0 to i, for each i from `FIRST` up to
    /// `QUADS`: `PRODUCTS` of them, which fit the registers. The pass with the first quads sums the right-hand sides too; the
    /// part of a side beyond one block is a vector of type `T`. `read` numbers are read of each row, whatever its width.
    #[inline(always)]
    unsafe fn pass<S, T, const FIRST: usize, const QUADS: usize, const PRODUCTS: usize>(
        &mut self,
        read: usize,
    ) where
        S: InstructionSet,
        T: Vector,
    {
        let Ahead { rows, slots: ahead } = self.ahead;
        let (is_first, is_wide) = (FIRST == 0, read > LANES);
        let sides_at = triangle(rows.width());
        let sums = self.sums.as_mut_ptr();
        // SAFETY: the caller vouches for the instruction set, and that `read` is enough. Slots and lengths were checked. Of rows
        // that are not followed by so many numbers, a copy is read.
        unsafe {
            let to_product = |at: usize| sums.add((FIRST * (FIRST + 1) / 2 + at) * LANES);
            let to_side = |side: usize, part: usize| {
                sums.add(sides_at + (side * if is_wide { 2 } else { 1 } + part) * LANES)
            };
            let mut products: [S::Full; PRODUCTS] = std::array::from_fn(|at| S::Full::load(to_product(at)));
            let mut sides: [S::Full; SIDES] = std::array::from_fn(|side| S::Full::load(to_side(side, 0)));
            let mut further = [T::splat(0.0); SIDES];
            if is_wide {
                further = std::array::from_fn(|side| T::load(to_side(side, 1)));
            }
            let whole = rows.followed_by(read);
            let mut copy = [0.0_f32; SMALL_RANK_MAX];
            for (at, &slot) in self.slots.iter().enumerate() {
                if is_first && let Some(&next) = ahead.get(at) {
                    rows.prefetch::<S::Full>(next);
                }
                let mut row = rows.at(slot);
                if slot as usize >= whole {
                    std::ptr::copy_nonoverlapping(row, copy.as_mut_ptr(), rows.width());
                    row = copy.as_ptr();
                }
                let quads: [S::Full; QUADS] =
                    std::array::from_fn(|quad| S::Full::load_quad(row.add(quad * QUAD)));
                let mut product = 0;
                for down in FIRST..QUADS {
                    let spread = quads[down].spread_quad();
                    for &quad in &quads[..=down] {
                        products[product] = spread.mul_add(quad, products[product]);
                        product += 1;
                    }
                }
                if !is_first {
                    continue;
                }
                let factor = *self.factors.get_unchecked(at);
                let head = S::Full::load(row);
                sides[0] = head.mul_add(S::Full::splat(factor), sides[0]);
                if SIDES > 1 {
                    sides[1] = sides[1].add(head);
                }
                if is_wide {
                    let tail = T::load(row.add(LANES));
                    further[0] = tail.mul_add(T::splat(factor), further[0]);
                    if SIDES > 1 {
                        further[1] = further[1].add(tail);
                    }
                }
            }
            for (at, sum) in products.into_iter().enumerate() {
                sum.store(to_product(at));
            }
            if !is_first {
                return;
            }
            for (side, sum) in sides.into_iter().enumerate() {
                sum.store(to_side(side, 0));
            }
            if is_wide {
                for (side, sum) in further.into_iter().enumerate() {
                    sum.store(to_side(side, 1));
                }
            }
        }
    }
}
