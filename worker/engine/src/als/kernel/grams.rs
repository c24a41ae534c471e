//! The Gram of a few packed rows in quads: what the dual of a short row is made of.
//!
//! In blocks of eight columns a Gram of eighteen rows takes the operations of one of twenty-four, and one of four those
//! of one of eight. In quads ([`super::small_rank`]) nothing but the last quad is filled up. The sums come out in the order
//! in which [`super::systems`] takes them, so that sixteen Grams are factorised side by side.

use super::{
    Kernel, LANES, Task,
    normal::Ahead,
    pack::Panels,
    products::InstructionSet,
    small_rank::{QUAD, SMALL_RANK_MAX, quads, triangle},
    vector::{Lanes as _, Vector as _},
};

/// Quads of a panel.
const PANEL_QUADS: usize = LANES / QUAD;

impl Kernel {
    /// Writes P Pᵀ for the `order` rows P of at most [`SMALL_RANK_MAX`] that [`Kernel::pack_columns`] has packed to the beginning of
    /// `gram`, in the order of [`super::small_rank`]; products with rows beyond the order are zero, and what is behind becomes
    /// zero too. The rows of `ahead` are fetched meanwhile.
    ///
    /// # Panics
    /// When the order is zero or too large, or a length does not fit.
    pub fn write_gram(self, order: usize, panels: &Panels, ahead: Ahead<'_>, gram: &mut [f32]) {
        assert!((1..=SMALL_RANK_MAX).contains(&order) && gram.len() >= triangle(order));
        let count = order.div_ceil(LANES);
        assert!(panels.values.len() >= count * panels.stride && panels.stride > panels.depth * LANES);
        let (written, behind) = gram.split_at_mut(triangle(order));
        behind.fill(0.0);
        self.run(WriteGram { order, panels, ahead, gram: written });
    }
}

struct WriteGram<'a> {
    order: usize,
    panels: &'a Panels,
    ahead: Ahead<'a>,
    gram: &'a mut [f32],
}

impl Task for WriteGram<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(mut self) {
        // SAFETY: as of this function.
        unsafe {
            match quads(self.order) {
                1 => self.pass::<S, 0, 1, 1>(),
                2 => self.pass::<S, 0, 2, 3>(),
                3 => self.pass::<S, 0, 3, 6>(),
                4 => self.pass::<S, 0, 4, 10>(),
                5 => self.pass::<S, 0, 5, 15>(),
                6 => self.pass::<S, 0, 6, 21>(),
                7 => {
                    self.pass::<S, 0, 5, 15>();
                    self.pass::<S, 5, 7, 13>();
                }
                _ => {
                    self.pass::<S, 0, 5, 15>();
                    self.pass::<S, 5, 8, 21>();
                }
            }
        }
    }
}

impl WriteGram<'_> {
    /// One pass over the panels. It sums the products of quad i with the quads 0 to i, for each i from `FIRST` up to `QUADS`:
    /// `PRODUCTS` of them, which fit the registers.
    #[inline(always)]
    unsafe fn pass<S: InstructionSet, const FIRST: usize, const QUADS: usize, const PRODUCTS: usize>(
        &mut self,
    ) {
        let Ahead { rows, slots: ahead } = self.ahead;
        let Panels { values, stride, depth } = self.panels;
        let is_first = FIRST == 0;
        // SAFETY: the caller vouches for the instruction set and for so many quads; lengths were checked: there are as many
        // panels as the quads need, and each has `depth` steps. A prefetch may have any address.
        unsafe {
            let mut products = [S::Full::splat(0.0); PRODUCTS];
            for step in 0..*depth {
                if is_first && let Some(&next) = ahead.get(step) {
                    rows.prefetch_second::<S::Full>(next);
                }
                let from = values.as_ptr().add(step * LANES);
                let quads: [S::Full; QUADS] = std::array::from_fn(|quad| {
                    S::Full::load_quad(from.add(quad / PANEL_QUADS * stride + quad % PANEL_QUADS * QUAD))
                });
                let mut product = 0;
                for down in FIRST..QUADS {
                    let spread = quads[down].spread_quad();
                    for &quad in &quads[..=down] {
                        products[product] = spread.mul_add(quad, products[product]);
                        product += 1;
                    }
                }
            }
            let to = self.gram.as_mut_ptr().add(FIRST * (FIRST + 1) / 2 * LANES);
            for (at, sum) in products.into_iter().enumerate() {
                sum.store(to.add(at * LANES));
            }
        }
    }
}
