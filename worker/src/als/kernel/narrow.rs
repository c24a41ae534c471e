//! Sums of outer products of rows so short that one pass over them has registers for every sum: they are
//! multiplied where they lie, and not packed.
//!
//! A row is taken in *quads* of four numbers. The product of two quads is one vector: the lower triangle in quads wastes
//! an eighth of the operations of a rank of 20, where blocks of eight columns waste nearly half.

use super::{
    Kernel, LANES, Task,
    blocks::side,
    normal::Ahead,
    products::InstructionSet,
    vector::{Lanes as _, Vector as _},
};

/// Numbers of a quad.
pub(super) const QUAD: usize = 4;

const HALF: usize = LANES / 2;

/// The longest rows that there are registers for.
pub const NARROW: usize = 6 * QUAD;

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
    /// Whether rows of this width are summed in one pass.
    #[must_use]
    pub fn is_narrow(self, width: usize) -> bool {
        self.has_many_registers() && width <= NARROW
    }

    /// Adds Σᵣ xᵣ xᵣᵀ over the rows of at most [`NARROW`] columns that `slots` names to `sums`, and Σᵣ fᵣ xᵣ to the
    /// right-hand side behind it; where there are two `SIDES`, Σᵣ xᵣ to the second. What is beyond the width is undefined.
    ///
    /// The rows of `ahead` are fetched meanwhile.
    ///
    /// # Panics
    /// When a slot names no row, or a slice has another length than the width and `slots` ask for.
    pub fn add_narrow<const SIDES: usize>(
        self,
        slots: &[u32],
        factors: &[f32],
        ahead: Ahead<'_>,
        sums: &mut [f32],
    ) {
        let width = ahead.rows.width();
        assert!(width <= NARROW && (1..=2).contains(&SIDES));
        ahead.rows.check(slots);
        assert_eq!(factors.len(), slots.len());
        assert_eq!(sums.len(), sums_len(width, SIDES));
        self.run(AddNarrow::<SIDES> { slots, factors, ahead, sums });
    }
}

struct AddNarrow<'a, const SIDES: usize> {
    slots: &'a [u32],
    factors: &'a [f32],
    /// The rows, and which of them come next.
    ahead: Ahead<'a>,
    sums: &'a mut [f32],
}

impl<const SIDES: usize> Task for AddNarrow<'_, SIDES> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        // SAFETY: as of this function.
        unsafe {
            match quads(self.ahead.rows.width()) {
                1 => self.add::<S, 1, 1>(),
                2 => self.add::<S, 2, 3>(),
                3 => self.add::<S, 3, 6>(),
                4 => self.add::<S, 4, 10>(),
                5 => self.add::<S, 5, 15>(),
                _ => self.add::<S, 6, 21>(),
            }
        }
    }
}

impl<const SIDES: usize> AddNarrow<'_, SIDES> {
    /// Of rows of so many quads, whose `PRODUCTS` are as many as a triangle has.
    #[inline(always)]
    unsafe fn add<S: InstructionSet, const QUADS: usize, const PRODUCTS: usize>(self) {
        let Ahead { rows, slots: ahead } = self.ahead;
        let is_wide = QUADS * QUAD > LANES;
        let sums = self.sums.as_mut_ptr();
        // SAFETY: the caller vouches for the instruction set. Slots and lengths were checked. Whole blocks or one and a half
        // are read of every row, whatever its width: of rows that are not followed by as much, of a copy.
        unsafe {
            let to_side = |side: usize, part: usize| {
                sums.add((PRODUCTS + side * if is_wide { 2 } else { 1 } + part) * LANES)
            };
            let mut products: [S::Full; PRODUCTS] =
                std::array::from_fn(|at| S::Full::load(sums.add(at * LANES)));
            let mut sides: [S::Full; SIDES] = std::array::from_fn(|side| S::Full::load(to_side(side, 0)));
            let mut further = [S::Half::splat(0.0); SIDES];
            if is_wide {
                further = std::array::from_fn(|side| S::Half::load(to_side(side, 1)));
            }
            let whole = rows.followed_by(if is_wide { LANES + HALF } else { LANES });
            let mut copy = [0.0_f32; LANES + HALF];
            for (at, &slot) in self.slots.iter().enumerate() {
                if let Some(&next) = ahead.get(at) {
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
                for down in 0..QUADS {
                    let spread = quads[down].spread_quad();
                    for &quad in &quads[..=down] {
                        products[product] = spread.mul_add(quad, products[product]);
                        product += 1;
                    }
                }
                let factor = *self.factors.get_unchecked(at);
                let head = S::Full::load(row);
                sides[0] = head.mul_add(S::Full::splat(factor), sides[0]);
                if SIDES > 1 {
                    sides[1] = sides[1].add(head);
                }
                if is_wide {
                    let tail = S::Half::load(row.add(LANES));
                    further[0] = tail.mul_add(S::Half::splat(factor), further[0]);
                    if SIDES > 1 {
                        further[1] = further[1].add(tail);
                    }
                }
            }
            for (at, sum) in products.into_iter().enumerate() {
                sum.store(sums.add(at * LANES));
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
