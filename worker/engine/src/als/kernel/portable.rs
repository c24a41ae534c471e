//! Vectors as arrays: whatever the compiler makes of them for the build's baseline. Multiply and add
//! round separately, unless the baseline fuses them.

use super::{
    LANES,
    vector::{Lanes, Vector},
};

/// Whether every processor of the build's target multiplies and adds in one rounding.
const FUSES: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// A vector in an array.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Array<const COUNT: usize>([f32; COUNT]);

impl<const COUNT: usize> Array<COUNT> {
    #[inline(always)]
    fn zip(self, other: Self, with: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| with(self.0[lane], other.0[lane])))
    }
}

#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if FUSES { a.mul_add(b, c) } else { a * b + c }
}

impl<const COUNT: usize> Vector for Array<COUNT> {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for COUNT numbers; an array of f32 has the alignment of one.
        Self(unsafe { from.cast::<[f32; COUNT]>().read() })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut values = [0.0; COUNT];
        // SAFETY: the caller vouches for `count` numbers, and says that they are at most COUNT.
        unsafe { std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), count) };
        Self(values)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for room for COUNT numbers.
        unsafe { to.cast::<[f32; COUNT]>().write(self.0) };
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; COUNT])
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|lane| mul_add(self.0[lane], factor.0[lane], addend.0[lane])))
    }

    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|lane| mul_add(-self.0[lane], factor.0[lane], addend.0[lane])))
    }
}

impl Lanes for Array<LANES> {
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }

    #[inline(always)]
    unsafe fn first(self) -> f32 {
        self.0[0]
    }

    #[inline(always)]
    unsafe fn broadcast_lane(self, lane: usize) -> Self {
        Self([self.0[lane]; LANES])
    }

    #[inline(always)]
    unsafe fn load_quad(from: *const f32) -> Self {
        // SAFETY: the caller vouches for four numbers; an array of f32 has the alignment of one.
        let quad = unsafe { from.cast::<[f32; LANES / 4]>().read() };
        Self(std::array::from_fn(|lane| quad[lane % 4]))
    }

    #[inline(always)]
    unsafe fn spread_quad(self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane / 4]))
    }

    #[inline(always)]
    unsafe fn after(self, lane: usize) -> Self {
        Self(std::array::from_fn(|at| if at > lane { self.0[at] } else { 0.0 }))
    }

    #[inline(always)]
    unsafe fn transpose(rows: &[*const f32; LANES], count: usize, to: *mut f32) {
        for (i, &row) in rows.iter().enumerate() {
            for j in 0..LANES {
                // SAFETY: the caller vouches for `count` numbers in each row and a block at `to`.
                unsafe { *to.add(j * LANES + i) = if j < count { *row.add(j) } else { 0.0 } };
            }
        }
    }

    #[inline(always)]
    unsafe fn prefetch(_at: *const f32) {}

    #[inline(always)]
    unsafe fn prefetch_second(_at: *const f32) {}
}
