//! Matrices in large pages.
//!
//! A matrix whose rows are read at random is larger than what the processor keeps translations of for ordinary pages: each
//! row of a few cache lines would cost the translation of its address besides.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// What a large page holds; less is not worth one.
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// A matrix's numbers, in large pages where the system has them for the asking.
#[derive(Debug)]
pub struct LargePages(Place);

#[derive(Debug)]
enum Place {
    Heap(Vec<f32>),
    /// Begins with a page, so that it is aligned for numbers.
    Mapped(MmapMut),
}

impl LargePages {
    /// `len` zeros. They are not in memory before they are written.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self(large_pages(len * size_of::<f32>()).map_or_else(|| Place::Heap(vec![0.0; len]), Place::Mapped))
    }
}

impl From<Vec<f32>> for LargePages {
    fn from(values: Vec<f32>) -> Self {
        Self(Place::Heap(values))
    }
}

impl Default for LargePages {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl Deref for LargePages {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Place::Heap(values) => values,
            Place::Mapped(map) => bytemuck::cast_slice(map),
        }
    }
}

impl DerefMut for LargePages {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.0 {
            Place::Heap(values) => values,
            Place::Mapped(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

fn large_pages(bytes: usize) -> Option<MmapMut> {
    if bytes < LARGE_PAGE_BYTES {
        return None;
    }
    let map = MmapMut::map_anon(bytes).ok()?;
    // It is a wish: without large pages ordinary ones do.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_or_large_all_are_zeros_that_can_be_written() {
        for len in [0, 1, 1_000, LARGE_PAGE_BYTES / 4, LARGE_PAGE_BYTES + 3] {
            let mut numbers = LargePages::zeroed(len);
            assert_eq!(numbers.len(), len);
            assert!(numbers.iter().all(|&value| value == 0.0));
            if let Some(last) = numbers.last_mut() {
                *last = 1.5;
                assert_eq!(numbers[len - 1], 1.5);
            }
        }
    }
}
