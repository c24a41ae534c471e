//! Products of whole tiles: square pieces of a matrix that is too large for one machine.
//!
//! A tile is stored as panels are multiplied: [`LANES`] of its rows at a time, column after column. Number (r, c) of a tile
//! whose panels are `stride` numbers apart is at `r / LANES · stride + c · LANES + r % LANES`. So the product of two tiles
//! needs no packing, and what a product leaves is an operand of the next one.

use super::{
    Kernel, LANES, Task,
    blocks::{BLOCK, side},
    products::{InstructionSet, Sign},
    vector::Lanes,
};

/// Which numbers of a product of tiles are computed, and over which columns of its operands they are summed. An operand that
/// is called a triangle holds zeros where the triangle is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All of them, over all columns.
    Full,
    /// The blocks on and below the diagonal of the product, over all columns.
    LowerProduct,
    /// `columns` is a lower triangle: its row c is zero behind column c.
    LowerColumns,
    /// `columns` is an upper triangle: its row c is zero before column c.
    UpperColumns,
    /// `rows` is an upper triangle: its row r is zero before column r.
    UpperRows,
}

/// Rows · columnsᵀ: number (r, c) of the product is Σₚ rows\[r, p\] · columns\[c, p\], added in the order of p.
#[derive(Debug, Clone, Copy)]
pub struct TileProduct<'a> {
    /// The operand whose rows are the rows of the product.
    pub rows: &'a [f32],
    /// The operand whose rows are the columns of the product.
    pub columns: &'a [f32],
    /// Numbers from one panel to the next, of both operands and of the product.
    pub stride: usize,
    /// Rows of the product; those beyond, up to a whole panel, are computed from what is stored there.
    pub row_count: usize,
    /// Columns of the product, likewise.
    pub column_count: usize,
    /// Columns of the operands; those beyond, up to a whole panel, have to hold zeros.
    pub depth: usize,
    /// What is known of them.
    pub shape: Shape,
}

impl TileProduct<'_> {
    fn check(&self, target: &[f32]) {
        let panels = |count: usize| side(count) * self.stride;
        assert!(self.rows.len() >= panels(self.row_count) && target.len() >= panels(self.row_count));
        assert!(self.columns.len() >= panels(self.column_count));
        assert!(side(self.depth) * BLOCK <= self.stride && side(self.column_count) * BLOCK <= self.stride);
    }

    /// The steps of the depth that a block of columns is summed over, in the product's block row.
    fn steps(&self, row: usize, column: usize) -> std::ops::Range<usize> {
        let depth = side(self.depth) * LANES;
        match self.shape {
            Shape::Full | Shape::LowerProduct => 0..depth,
            Shape::LowerColumns => 0..depth.min((column + 1) * LANES),
            Shape::UpperColumns => depth.min(column * LANES)..depth,
            Shape::UpperRows => depth.min(row * LANES)..depth,
        }
    }
}

impl Kernel {
    /// Adds a product of tiles to `target`.
    ///
    /// # Panics
    /// When a tile is smaller than the product says.
    pub fn add_tile_product(self, product: TileProduct<'_>, target: &mut [f32]) {
        product.check(target);
        self.run(Multiply { product, sign: Sign::Plus, target });
    }

    /// Takes a product of tiles from `target`.
    ///
    /// # Panics
    /// When a tile is smaller than the product says.
    pub fn subtract_tile_product(self, product: TileProduct<'_>, target: &mut [f32]) {
        product.check(target);
        self.run(Multiply { product, sign: Sign::Minus, target });
    }

    /// Writes the transpose of a square tile of `count` rows to `target`, both with panels `stride` apart.
    ///
    /// # Panics
    /// When a tile is smaller.
    pub fn transpose_tile(self, tile: &[f32], stride: usize, count: usize, target: &mut [f32]) {
        let panels = side(count) * stride;
        assert!(tile.len() >= panels && target.len() >= panels && side(count) * BLOCK <= stride);
        self.run(Transpose { tile, stride, panels: side(count), target });
    }
}

struct Multiply<'a> {
    product: TileProduct<'a>,
    sign: Sign,
    target: &'a mut [f32],
}

impl Task for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let Self { product, sign, target } = self;
        let (rows, columns) = (side(product.row_count), side(product.column_count));
        let is_lower = product.shape == Shape::LowerProduct;
        for row in (0..rows).step_by(2) {
            let is_pair = row + 1 < rows;
            for column in 0..columns {
                let steps = product.steps(row, column);
                let at = |panel: usize| panel * product.stride + steps.start * LANES;
                // SAFETY: the tiles were checked: panels have room for every step and for every block of columns.
                unsafe {
                    let left = product.columns.as_ptr().add(at(column));
                    let right = |row: usize| product.rows.as_ptr().add(at(row));
                    let base = target.as_mut_ptr();
                    let block = |row: usize| base.add(row * product.stride + column * BLOCK);
                    if is_pair && !(is_lower && column > row) {
                        let (rights, blocks) = ([right(row), right(row + 1)], [block(row), block(row + 1)]);
                        S::two_blocks(sign, steps.len(), left, rights, blocks);
                    } else if !is_lower || column <= row {
                        S::block(sign, steps.len(), left, right(row), block(row));
                    } else if is_pair && column == row + 1 {
                        S::block(sign, steps.len(), left, right(row + 1), block(row + 1));
                    } else {
                        break;
                    }
                }
            }
        }
    }
}

struct Transpose<'a> {
    tile: &'a [f32],
    stride: usize,
    panels: usize,
    target: &'a mut [f32],
}

impl Task for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        for row in 0..self.panels {
            for column in 0..self.panels {
                // SAFETY: the tiles were checked: both blocks are within them.
                unsafe {
                    let from = self.tile.as_ptr().add(column * self.stride + row * BLOCK);
                    let columns = std::array::from_fn(|at| from.add(at * LANES));
                    let to = self.target.as_mut_ptr().add(row * self.stride + column * BLOCK);
                    S::Full::transpose(&columns, LANES, to);
                }
            }
        }
    }
}
