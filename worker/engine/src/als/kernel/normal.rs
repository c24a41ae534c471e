//! Sums of outer products of packed rows: the normal equations, the Gram of a dual, the Gramian of a side.

use super::{
    Kernel, LANES, Task,
    blocks::{self, offset, side},
    pack::{Panels, Rows},
    products::{InstructionSet, Sides, Sign},
};

/// Rows that are gathered next: they are asked for while the present ones are multiplied.
#[derive(Debug, Clone, Copy)]
pub struct Ahead<'a> {
    /// The matrix that the rows lie in.
    pub rows: Rows<'a>,
    /// The slots of the rows that are gathered next.
    pub slots: &'a [u32],
}

/// What is summed. Row r of the panels is xᵣ; `left`, where it is given, holds wᵣ xᵣ instead.
#[derive(Debug, Clone, Copy)]
pub struct Products<'a> {
    /// Columns of the panels, which is the order of the sum.
    pub order: usize,
    /// The rows xᵣ, gathered and packed.
    pub panels: &'a Panels,
    /// wᵣ xᵣ, packed like the panels; without, every weight is one.
    pub left: Option<&'a Panels>,
    /// For each row, the factors with which it is added to the right-hand sides: as many per row as there are.
    pub factors: &'a [f32],
    /// Rows to fetch meanwhile.
    pub ahead: Option<Ahead<'a>>,
}

impl Kernel {
    /// Adds Σᵣ wᵣ xᵣ xᵣᵀ to `normal` (see [`blocks`]), and Σᵣ fᵣ xᵣ to each of `SIDES` right-hand sides, which
    /// stand one after the other in `sides`, padded to whole blocks.
    ///
    /// # Panics
    /// When a slice has another length than the order and depth ask for.
    pub fn add_products<const SIDES: usize>(
        self,
        products: Products<'_>,
        normal: &mut [f32],
        sides: &mut [f32],
    ) {
        let Products { order, panels, left, factors, .. } = products;
        let count = side(order);
        let holds = |panels: &Panels| {
            panels.depth == products.panels.depth && panels.values.len() >= count * panels.stride
        };
        assert!(holds(panels) && left.is_none_or(holds));
        assert_eq!(normal.len(), blocks::len(order));
        assert_eq!(factors.len(), SIDES * panels.depth);
        assert_eq!(sides.len(), SIDES * count * LANES);
        self.run(AddProducts::<SIDES> { products, normal, sides });
    }
}

struct AddProducts<'a, const SIDES: usize> {
    products: Products<'a>,
    normal: &'a mut [f32],
    sides: &'a mut [f32],
}

impl<const SIDES: usize> Task for AddProducts<'_, SIDES> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let Products { order, panels, left, factors, ahead } = self.products;
        let count = side(order);
        let total = count * (count + 1) / 2;
        let mut done = 0;
        for row in 0..count {
            // In the last block row only the first half of the rows may exist.
            let half = order - row * LANES <= LANES / 2;
            for column in 0..=row {
                if let Some(ahead) = ahead {
                    let part = |blocks: usize| ahead.slots.len() * blocks / total;
                    for &slot in &ahead.slots[part(done)..part(done + 1)] {
                        // SAFETY: a prefetch may have any address.
                        unsafe { ahead.rows.prefetch_second::<S::Full>(slot) };
                    }
                    done += 1;
                }
                // SAFETY: lengths were checked; panels, blocks and sides are within their slices.
                unsafe {
                    let panel = |panels: &Panels, at: usize| panels.values.as_ptr().add(at * panels.stride);
                    let (depth, right) = (panels.depth, panel(panels, row));
                    let left = panel(left.unwrap_or(panels), column);
                    let target = self.normal.as_mut_ptr().add(offset(row, column));
                    if column < row {
                        if half {
                            S::half_block(Sign::Plus, depth, left, right, target);
                        } else {
                            S::block(Sign::Plus, depth, left, right, target);
                        }
                        continue;
                    }
                    let sides = Sides {
                        values: factors.as_ptr(),
                        target: self.sides.as_mut_ptr().wrapping_add(row * LANES),
                        stride: count * LANES,
                    };
                    if half {
                        S::half_diagonal::<SIDES>(Sign::Plus, depth, left, right, target, sides);
                    } else {
                        S::diagonal::<SIDES>(Sign::Plus, depth, left, right, target, sides);
                    }
                }
            }
        }
    }
}
