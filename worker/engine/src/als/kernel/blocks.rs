//! How a symmetric matrix is stored: the blocks of its lower triangle, block row after block row, each
//! [`LANES`] × `LANES` and column after column. What is above the diagonal of a diagonal block is undefined.
//!
//! A block row is thus a panel of its own: the factorisation multiplies block rows as the normal equations multiply
//! gathered rows.

use super::LANES;

/// Numbers in a block.
pub const BLOCK: usize = LANES * LANES;

/// Blocks along the side of a matrix of this order.
#[must_use]
pub const fn side(order: usize) -> usize {
    order.div_ceil(LANES)
}

/// Numbers in a matrix of this order.
#[must_use]
pub const fn len(order: usize) -> usize {
    side(order) * (side(order) + 1) / 2 * BLOCK
}

/// Where a block begins.
#[must_use]
pub const fn offset(block_row: usize, block_column: usize) -> usize {
    (block_row * (block_row + 1) / 2 + block_column) * BLOCK
}

/// Where a number of the lower triangle is.
#[must_use]
pub const fn index(row: usize, column: usize) -> usize {
    debug_assert!(column <= row);
    offset(row / LANES, column / LANES) + column % LANES * LANES + row % LANES
}
