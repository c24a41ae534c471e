//! The inner loops, written once over vectors and compiled for each instruction set; which one runs is chosen
//! at run time.
//!
//! * `vector`, `portable`, `x86`: what a vector can do, as arrays and as registers;
//! * `sets`: how many accumulators each instruction set holds;
//! * `products`: panels into blocks, where the time goes;
//! * [`blocks`]: how a symmetric matrix is stored;
//! * [`pack`]: gathering rows into panels;
//! * [`normal`]: sums of outer products; [`small_rank`]: the same of rows that are short; [`grams`]: of rows that are few;
//! * [`rounded`]: panels and sums in bf16, where the processor is quicker at it;
//! * [`factor`]: Cholesky factorisation and substitution; [`systems`]: of many small systems at once;
//! * [`tiles`]: products of the square pieces of a large matrix;
//! * [`dense`]: what acts on whole rows.
//!
//! The operations are methods of [`Kernel`], safe and checked at their borders; everything below them trusts them.
//! With one kernel the same input gives the same bits. Between kernels the last bits differ where only one
//! of them fuses multiply and add.

pub mod blocks;
pub mod dense;
pub mod factor;
pub mod grams;
pub mod normal;
pub mod pack;
mod portable;
mod products;
pub mod rounded;
mod sets;
pub mod small_rank;
pub mod systems;
pub mod tiles;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use products::InstructionSet;
use rounded::{Arrays, RoundedTask};
use sets::Portable;
#[cfg(target_arch = "x86_64")]
use sets::{Avx2, Avx512};

/// Numbers in a side of a block, and the multiple that widths are padded to.
pub const LANES: usize = 16;

/// `count` rounded up to whole blocks.
#[must_use]
pub const fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// The loops of one instruction set. A value exists only where the processor has been asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// AVX-512 whose processor also multiplies bf16.
    #[cfg(target_arch = "x86_64")]
    Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Kernel {
    /// The fastest kernel that this machine runs.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                let bf16 = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw");
                return Self(if bf16 { Set::Bf16 } else { Set::Avx512 });
            }
            if avx2 {
                return Self(Set::Avx2);
            }
        }
        Self(Set::Portable)
    }

    /// Every kernel that this machine runs, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let slower: &[Set] = match Self::detect().0 {
            #[cfg(target_arch = "x86_64")]
            Set::Bf16 => &[Set::Bf16, Set::Avx512, Set::Avx2, Set::Portable],
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => &[Set::Avx512, Set::Avx2, Set::Portable],
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => &[Set::Avx2, Set::Portable],
            Set::Portable => &[Set::Portable],
        };
        slower.iter().copied().map(Self).collect()
    }

    /// Its name in `metadata.json` and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Bf16 => "avx512+bf16",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2+fma",
            Set::Portable => "portable",
        }
    }

    /// Whether there are registers for a whole block and more.
    fn has_many_registers(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Bf16 | Set::Avx512 => true,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => false,
            Set::Portable => false,
        }
    }

    /// Whether it multiplies rounded numbers faster than others.
    #[must_use]
    pub fn rounds(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.0 == Set::Bf16;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Compiles a task for this instruction set and runs it.
    fn run<T: Task>(self, task: T) -> T::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel is only made by `detect` after the processor was asked for these features.
            Set::Bf16 | Set::Avx512 => unsafe { run_avx512(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: likewise.
            Set::Avx2 => unsafe { run_avx2(task) },
            // SAFETY: arrays need no feature.
            Set::Portable => unsafe { task.run::<Portable>() },
        }
    }

    /// The same for a task on rounded panels.
    fn run_rounded<T: RoundedTask>(self, task: T) {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Set::Bf16 {
            // SAFETY: this kernel is only made by `detect` after the processor was asked for these features.
            unsafe { run_bf16(task) };
            return;
        }
        // SAFETY: arrays need no feature.
        unsafe { task.run::<Arrays>() };
    }
}

/// Work that is compiled once for every instruction set.
trait Task {
    type Output;

    /// Does the work. Implementations are `#[inline(always)]`: that is how they get the caller's features.
    ///
    /// # Safety
    /// The processor has the instruction set, and the task's slices have been checked.
    unsafe fn run<S: InstructionSet>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn run_avx512<T: Task>(task: T) -> T::Output {
    // SAFETY: this function has the features; `Kernel`'s methods have checked the slices.
    unsafe { task.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")]
fn run_bf16<T: RoundedTask>(task: T) {
    // SAFETY: this function has the features; `Kernel`'s methods have checked the slices.
    unsafe { task.run::<x86::Bf16>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Task>(task: T) -> T::Output {
    // SAFETY: this function has the features; `Kernel`'s methods have checked the slices.
    unsafe { task.run::<Avx2>() }
}

/// Repeats a block for the sixteen lanes with the lane as a literal, so that arrays of vectors stay in registers.
macro_rules! for_lanes {
    ($lane:ident in $($literal:literal)* $body:block) => { $({ let $lane: usize = $literal; $body })* };
    ($lane:ident ascending $body:block) => {
        crate::als::kernel::for_lanes!($lane in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 $body)
    };
    ($lane:ident descending $body:block) => {
        crate::als::kernel::for_lanes!($lane in 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 $body)
    };
}
use for_lanes;

#[cfg(test)]
mod tests;
