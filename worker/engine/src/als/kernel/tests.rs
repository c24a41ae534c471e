//! Every operation of every kernel against plain loops in f64.

use proptest::prelude::*;
use shoal_core::hash::{mix64, unit_interval};

use super::{
    Kernel, LANES,
    blocks::{self, index},
    dense::Projections,
    factor::{Border, Factor, PrecisionLost},
    normal::{Ahead, Products},
    pack::{ColumnScales, Panels, Rows},
    padded,
    rounded::RoundedPanels,
    small_rank::{SMALL_RANK_MAX, sums_len},
    systems::{ORDER_MAX, Systems},
    tiles::{Shape, TileProduct},
};

/// Numbers from −0.5 to 0.5.
fn values(count: usize, seed: u64) -> Vec<f32> {
    (0..count).map(|i| (unit_interval(mix64(seed ^ mix64(i as u64))) - 0.5) as f32).collect()
}

fn slots(count: usize, rows: usize, seed: u64) -> Vec<u32> {
    (0..count).map(|i| (mix64(seed ^ i as u64) % rows as u64) as u32).collect()
}

fn close(actual: f32, exact: f64, scale: f64) -> bool {
    (f64::from(actual) - exact).abs() <= 2e-6 * scale.max(1.0)
}

/// XᵀX + ridge · I in f64 for `rows` random rows, row-major.
fn system(order: usize, rows: usize, ridge: f64, seed: u64) -> Vec<f64> {
    let x = values(rows * order, seed);
    let mut normal = vec![0.0; order * order];
    for row in x.chunks_exact(order) {
        for i in 0..order {
            for j in 0..order {
                normal[i * order + j] += f64::from(row[i]) * f64::from(row[j]);
            }
        }
    }
    for i in 0..order {
        normal[i * order + i] += ridge;
    }
    normal
}

/// The lower triangle in blocks; NaN above the diagonal, where nobody may look.
fn in_blocks(matrix: &[f64], order: usize) -> Vec<f32> {
    let mut blocked = vec![0.0_f32; blocks::len(order)];
    for block in 0..blocks::side(order) {
        for column in 0..LANES {
            let begin = blocks::offset(block, block) + column * LANES;
            blocked[begin..begin + column].fill(f32::NAN);
        }
    }
    for row in 0..order {
        for column in 0..=row {
            blocked[index(row, column)] = matrix[row * order + column] as f32;
        }
    }
    blocked
}

fn residual(matrix: &[f64], x: &[f32], right: &[f32]) -> f64 {
    let order = right.len();
    (0..order)
        .map(|i| {
            let product: f64 = (0..order).map(|j| matrix[i * order + j] * f64::from(x[j])).sum();
            (product - f64::from(right[i])).abs()
        })
        .fold(0.0, f64::max)
}

/// The nearest bf16, ties to the even one.
fn to_bf16(value: f32) -> f32 {
    let below = value.to_bits() & 0xffff_0000;
    let (below, above) = (f32::from_bits(below), f32::from_bits(below + 0x1_0000));
    match (value - below).abs().total_cmp(&(above - value).abs()) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => above,
        std::cmp::Ordering::Equal if below.to_bits() >> 16 & 1 == 0 => below,
        std::cmp::Ordering::Equal => above,
    }
}

/// What a pair holds.
fn numbers(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

proptest! {
    #[test]
    fn products_match_f64(
        order in 1_usize..70, stride in 0_usize..3, count in 0_usize..90, weighted: bool, seed: u64,
    ) {
        let stride = order + stride;
        let fixed = values(60 * stride, seed);
        let rows = Rows::new(&fixed, stride, order);
        let (slots, scales) = (slots(count, 60, seed), values(count, !seed));
        let factors = values(2 * count, seed ^ 1);
        for kernel in Kernel::available() {
            let (mut panels, mut left) = (Panels::default(), Panels::default());
            kernel.pack_rows(rows, &slots, None, &mut panels);
            kernel.pack_rows(rows, &slots, Some(&scales), &mut left);
            let mut normal = vec![1.0; blocks::len(order)];
            let mut sides = vec![1.0; 2 * padded(order)];
            let products = Products {
                order,
                panels: &panels,
                left: weighted.then_some(&left),
                factors: &factors,
                ahead: Some(Ahead { rows, slots: &slots }),
            };
            kernel.add_products::<2>(products, &mut normal, &mut sides);
            let sum = |term: &dyn Fn(usize, &[f32]) -> f64| -> f64 {
                1.0 + slots.iter().enumerate().map(|(r, &slot)| term(r, rows.row(slot as usize))).sum::<f64>()
            };
            for i in 0..order {
                for j in 0..=i {
                    let exact = sum(&|r, x| {
                        let weight = if weighted { f64::from(scales[r]) } else { 1.0 };
                        weight * f64::from(x[i]) * f64::from(x[j])
                    });
                    prop_assert!(close(normal[index(i, j)], exact, count as f64), "{kernel:?} {i} {j}");
                }
                for side in 0..2 {
                    let exact = sum(&|r, x| f64::from(factors[2 * r + side]) * f64::from(x[i]));
                    prop_assert!(close(sides[side * padded(order) + i], exact, count as f64), "{kernel:?}");
                }
            }
        }
    }

    #[test]
    fn rows_of_small_rank_make_the_systems_of_packed_ones(
        width in 1_usize..=SMALL_RANK_MAX, stride in 0_usize..3, counts in prop::collection::vec(0_usize..90, LANES), biases: bool,
        seed: u64,
    ) {
        let stride = width + stride;
        // The last rows are not followed by a whole block.
        let fixed = values(9 * stride, seed);
        let rows = Rows::new(&fixed, stride, width);
        let sides = 1 + usize::from(biases);
        let length = sums_len(width, sides);
        for kernel in Kernel::available() {
            let mut sums = vec![0.0; LANES * length];
            for (sums, &count) in sums.chunks_exact_mut(length).zip(&counts) {
                let (slots, factors) = (slots(count, 9, seed), values(count, seed ^ 1));
                let ahead = Ahead { rows, slots: &slots };
                if biases {
                    kernel.add_small_rank::<2>(&slots, &factors, ahead, sums);
                } else {
                    kernel.add_small_rank::<1>(&slots, &factors, ahead, sums);
                }
            }
            let mut systems = Systems::default();
            kernel.fill_systems(&mut systems, width, sides, &sums);
            for (lane, &count) in counts.iter().enumerate() {
                let (slots, factors) = (slots(count, 9, seed), values(count, seed ^ 1));
                let both: Vec<f32> = factors.iter().flat_map(|&factor| [factor, 1.0]).collect();
                let mut panels = Panels::default();
                kernel.pack_rows(rows, &slots, None, &mut panels);
                let products =
                    Products { order: width, panels: &panels, left: None, factors: &both, ahead: None };
                let (mut normal, mut side) = (vec![0.0; blocks::len(width)], vec![0.0; 2 * padded(width)]);
                kernel.add_products::<2>(products, &mut normal, &mut side);
                for row in 0..width {
                    for column in 0..=row {
                        let packed = normal[index(row, column)];
                        prop_assert_eq!(systems.element(row, column)[lane], packed, "{:?} {} {}", kernel, row, column);
                    }
                    prop_assert_eq!(systems.right(row)[lane], side[row], "{:?}", kernel);
                    if biases {
                        prop_assert_eq!(systems.element(width, row)[lane], side[padded(width) + row], "{:?}", kernel);
                    }
                }
            }
        }
    }

    #[test]
    fn grams_of_few_rows_match_f64_and_make_systems(
        orders in prop::collection::vec(1_usize..=SMALL_RANK_MAX, LANES), width in 1_usize..150, weighted: bool, seed: u64,
    ) {
        let fixed = values(40 * width, seed);
        let rows = Rows::new(&fixed, width, width);
        let columns = values(width, !seed);
        let most = *orders.iter().max().unwrap();
        let length = sums_len(most, 0);
        for kernel in Kernel::available() {
            let mut grams = vec![f32::NAN; LANES * length];
            let mut panels = Panels::default();
            for (gram, &order) in grams.chunks_exact_mut(length).zip(&orders) {
                let (slots, scales) = (slots(order, 40, seed), values(order, seed ^ 1));
                let scales = ColumnScales { columns: Some(&columns), rows: weighted.then_some(&scales), ones: false };
                kernel.pack_columns(rows, &slots, scales, &mut panels);
                kernel.write_gram(order, &panels, Ahead { rows, slots: &slots }, gram);
            }
            let mut systems = Systems::default();
            kernel.fill_systems(&mut systems, most, 0, &grams);
            for (lane, &order) in orders.iter().enumerate() {
                let (slots, scales) = (slots(order, 40, seed), values(order, seed ^ 1));
                let number = |at: usize, column: usize| {
                    let scale = if weighted { f64::from(scales[at]) } else { 1.0 };
                    f64::from(rows.row(slots[at] as usize)[column]) * f64::from(columns[column]) * scale
                };
                for i in 0..most {
                    for j in 0..=i {
                        // Beyond its own order a Gram is zero.
                        let exact: f64 =
                            if i < order { (0..width).map(|k| number(i, k) * number(j, k)).sum() } else { 0.0 };
                        let actual = systems.element(i, j)[lane];
                        prop_assert!(close(actual, exact, width as f64), "{kernel:?} {order} of {most}: {i} {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn systems_are_solved_each_by_itself(
        order in 1_usize..=ORDER_MAX, rows in 0_usize..40, broken in 0_usize..LANES, seed: u64,
    ) {
        let matrices: Vec<_> =
            (0..LANES as u64).map(|lane| system(order, rows, 0.1, mix64(seed ^ lane))).collect();
        let rights: Vec<_> = (0..LANES as u64).map(|lane| values(order, mix64(!seed ^ lane))).collect();
        for kernel in Kernel::available() {
            let mut systems = Systems::default();
            // Larger ones have been there before.
            systems.reshape(ORDER_MAX);
            systems.element(ORDER_MAX - 1, 0).fill(f32::NAN);
            systems.reshape(order);
            for lane in 0..LANES {
                for row in 0..order {
                    for column in 0..=row {
                        systems.element(row, column)[lane] = matrices[lane][row * order + column] as f32;
                    }
                    systems.right(row)[lane] = rights[lane][row];
                }
            }
            systems.element(order / 2, order / 2)[broken] = -1.0;
            let solved = kernel.solve_systems(&mut systems);
            for lane in 0..LANES {
                prop_assert_eq!(solved[lane], lane != broken, "{:?}", kernel);
                if lane != broken {
                    let x: Vec<f32> = systems.solution(lane).collect();
                    prop_assert_eq!(x.len(), order);
                    prop_assert!(residual(&matrices[lane], &x, &rights[lane]) < 1e-4, "{kernel:?}");
                }
            }
        }
    }

    #[test]
    fn packed_columns_are_the_transpose(
        width in 1_usize..40, count in 1_usize..40, scaled: bool, ones: bool, seed: u64,
    ) {
        let fixed = values(50 * width, seed);
        let rows = Rows::new(&fixed, width, width);
        let slots = slots(count, 50, seed);
        let (by_column, by_row) = (values(width, !seed), values(count, seed ^ 2));
        for kernel in Kernel::available() {
            let mut panels = Panels::default();
            let scales = ColumnScales {
                columns: scaled.then_some(&by_column), rows: scaled.then_some(&by_row), ones,
            };
            kernel.pack_columns(rows, &slots, scales, &mut panels);
            prop_assert_eq!(panels.depth(), width + usize::from(ones));
            for at in 0..padded(count) {
                let panel = &panels.values[at / LANES * panels.stride..];
                for column in 0..width {
                    let packed = panel[column * LANES + at % LANES];
                    let exact = match slots.get(at) {
                        Some(&slot) if scaled => rows.row(slot as usize)[column] * (by_row[at] * by_column[column]),
                        Some(&slot) => rows.row(slot as usize)[column],
                        None => 0.0,
                    };
                    prop_assert!(packed == exact, "{kernel:?}");
                }
                if ones {
                    prop_assert_eq!(panel[width * LANES + at % LANES], if at < count { 1.0 } else { 0.0 });
                }
            }
        }
    }

    #[test]
    fn rounded_rows_are_pairs_of_the_nearest(width in 1_usize..200, count in 1_usize..40, scaled: bool, seed: u64) {
        let fixed = values(50 * width, seed);
        let rows = Rows::new(&fixed, width, width);
        let (slots, scales, factors) = (slots(count, 50, seed), values(count, !seed), values(count, seed ^ 5));
        for kernel in Kernel::available() {
            let mut panels = RoundedPanels::default();
            let mut side = vec![1.0; width];
            kernel.pack_rounded_rows(
                rows,
                &slots,
                scaled.then_some(&scales),
                &factors,
                &mut panels,
                &mut side,
            );
            for step in 0..count.div_ceil(2) {
                let number = |at: usize, column: usize| match slots.get(at) {
                    Some(&slot) if scaled => rows.row(slot as usize)[column] * scales[at],
                    Some(&slot) => rows.row(slot as usize)[column],
                    None => 0.0,
                };
                let both = [2 * step, 2 * step + 1];
                for column in 0..width {
                    let pair = both.map(|at| to_bf16(number(at, column)));
                    prop_assert_eq!(numbers(panels.pair(column, step)), pair, "{:?}", kernel);
                }
            }
            // What is added up is not rounded.
            for (column, sum) in side.into_iter().enumerate() {
                let term = |(at, &slot): (usize, &u32)| {
                    let scale = if scaled { f64::from(scales[at]) } else { 1.0 };
                    f64::from(rows.row(slot as usize)[column]) * scale * f64::from(factors[at])
                };
                let exact = 1.0 + slots.iter().enumerate().map(term).sum::<f64>();
                prop_assert!(close(sum, exact, count as f64), "{kernel:?} {column}");
            }
        }
    }

    #[test]
    fn rounded_columns_are_the_transpose(width in 1_usize..70, count in 1_usize..40, scaled: bool, seed: u64) {
        let fixed = values(50 * width, seed);
        let rows = Rows::new(&fixed, width, width);
        let slots = slots(count, 50, seed);
        let (by_column, by_row) = (values(width, !seed), values(count, seed ^ 2));
        for kernel in Kernel::available() {
            let mut panels = RoundedPanels::default();
            kernel.pack_rounded_columns(rows, &slots, &by_column, scaled.then_some(&by_row), &mut panels);
            let number = |at: usize, column: usize| match slots.get(at) {
                Some(&slot) if column < width => {
                    let scale = if scaled { by_row[at] } else { 1.0 };
                    rows.row(slot as usize)[column] * (scale * by_column[column])
                }
                _ => 0.0,
            };
            for at in 0..padded(count) {
                for step in 0..width.div_ceil(2) {
                    let pair = [2 * step, 2 * step + 1].map(|column| to_bf16(number(at, column)));
                    prop_assert_eq!(numbers(panels.pair(at, step)), pair, "{:?}", kernel);
                }
            }
        }
    }

    #[test]
    fn rounded_products_match_f64(order in 1_usize..60, count in 1_usize..90, by_rows: bool, seed: u64) {
        let fixed = values(50 * order, seed);
        let rows = Rows::new(&fixed, order, order);
        let slots = slots(count, 50, seed);
        for kernel in Kernel::available() {
            let mut panels = RoundedPanels::default();
            let number = |at: usize, i: usize| f64::from(to_bf16(rows.row(slots[at] as usize)[i]));
            let (size, depth) = if by_rows {
                let (ones, mut side) = (vec![1.0; count], vec![0.0; order]);
                kernel.pack_rounded_rows(rows, &slots, None, &ones, &mut panels, &mut side);
                (order, count)
            } else {
                // The Gram of the rows instead.
                kernel.pack_rounded_columns(rows, &slots, &vec![1.0; order], None, &mut panels);
                (count, order)
            };
            let number = |i: usize, at: usize| if by_rows { number(at, i) } else { number(i, at) };
            let mut normal = vec![1.0; blocks::len(size)];
            kernel.add_rounded_products(size, &panels, Ahead { rows, slots: &slots }, &mut normal);
            for i in 0..size {
                for j in 0..=i {
                    let exact = 1.0 + (0..depth).map(|at| number(i, at) * number(j, at)).sum::<f64>();
                    prop_assert!(close(normal[index(i, j)], exact, depth as f64), "{kernel:?} {i} {j}");
                }
            }
        }
    }

    #[test]
    fn projections_match_f64(width in 1_usize..150, count in 0_usize..40, seed: u64) {
        let fixed = values(50 * width, seed);
        let rows = Rows::new(&fixed, width, width);
        let (slots, vector) = (slots(count, 50, seed), values(width, !seed));
        let (pulls, weights) = (values(count, seed ^ 7), values(count, seed ^ 8));
        let product = |at: usize| -> f64 {
            let row = rows.row(slots[at] as usize);
            row.iter().zip(&vector).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        let factor =
            |at: usize| f64::from(pulls[at]) + f64::from(weights[at]) * (product(at) + 0.25);
        for kernel in Kernel::available() {
            let mut products = vec![f32::NAN; count];
            kernel.project_rows(rows, &slots, &vector, &mut products);
            for (at, &found) in products.iter().enumerate() {
                prop_assert!(close(found, product(at), width as f64), "{kernel:?}");
            }
            let mut target = vec![1.0; width];
            let (slots, pulls, weights) = (&*slots, &*pulls, &*weights);
            let projections = Projections { rows, slots, pulls, weights, vector: &vector, offset: 0.25 };
            let total = kernel.add_projections(projections, &mut target);
            prop_assert!(close(total, (0..count).map(factor).sum(), (width * count) as f64), "{kernel:?}");
            for (column, &found) in target.iter().enumerate() {
                let term = |at: usize| factor(at) * f64::from(rows.row(slots[at] as usize)[column]);
                let exact = 1.0 + (0..count).map(term).sum::<f64>();
                prop_assert!(close(found, exact, (width * count) as f64), "{kernel:?}");
            }
        }
    }

    #[test]
    fn the_residual_is_small(order in 1_usize..150, rows in 0_usize..80, seed: u64) {
        let matrix = system(order, rows, 0.1, seed);
        let right = values(order, !seed);
        for kernel in Kernel::available() {
            let mut x = right.clone();
            x.resize(padded(order), 0.0);
            kernel.solve(&mut in_blocks(&matrix, order), order, &mut x, &mut Factor::default()).unwrap();
            prop_assert!(residual(&matrix, &x[..order], &right) < 1e-4, "{kernel:?}");
            prop_assert!(x[order..].iter().all(|&value| value == 0.0));
        }
    }

    #[test]
    fn a_border_is_one_row_more(order in 1_usize..100, rows in 0_usize..80, seed: u64) {
        let whole = system(order + 1, rows, 0.1, seed);
        let right = values(order + 1, !seed);
        let inner: Vec<f64> = (0..order).flat_map(|i| whole[i * (order + 1)..][..order].to_vec()).collect();
        let width = padded(order);
        for kernel in Kernel::available() {
            let mut sides = vec![0.0; 2 * width];
            sides[..order].copy_from_slice(&right[..order]);
            for i in 0..order {
                sides[width + i] = whole[order * (order + 1) + i] as f32;
            }
            let border = Border { diagonal: whole[order * (order + 2)] as f32, right: right[order] };
            let blocked = &mut in_blocks(&inner, order);
            let last =
                kernel.solve_bordered(blocked, order, &mut sides, border, &mut Factor::default()).unwrap();
            let x: Vec<f32> = sides[..order].iter().copied().chain([last]).collect();
            prop_assert!(residual(&whole, &x, &right) < 1e-4, "{kernel:?}");
        }
    }

    #[test]
    fn rows_times_a_matrix_match_f64_and_do_not_depend_on_each_other(
        width in 1_usize..50, columns in 1_usize..50, count in 1_usize..40, seed: u64,
    ) {
        let (fixed, matrix) = (values(50 * width, seed), values(width * columns, !seed));
        let rows = Rows::new(&fixed, width, width);
        let slots = slots(count, 50, seed);
        let every: Vec<u32> = (0..width as u32).collect();
        for kernel in Kernel::available() {
            let (mut packed, mut scratch) = (Panels::default(), Panels::default());
            kernel.pack_rows(Rows::new(&matrix, columns, columns), &every, None, &mut packed);
            let mut products = vec![0.0; count * columns];
            kernel.multiply(rows, &slots, &packed, &mut products, &mut scratch);
            for (product, &slot) in products.chunks_exact(columns).zip(&slots) {
                let mut alone = vec![0.0; columns];
                kernel.multiply(rows, &[slot], &packed, &mut alone, &mut scratch);
                prop_assert_eq!(&alone, product);
                for (j, &value) in product.iter().enumerate() {
                    let exact: f64 = (0..width)
                        .map(|d| f64::from(rows.row(slot as usize)[d]) * f64::from(matrix[d * columns + j]))
                        .sum();
                    prop_assert!(close(value, exact, width as f64), "{kernel:?}");
                }
            }
        }
    }

    #[test]
    fn dot_and_sums_match_f64(length in 1_usize..100, count in 0_usize..10, seed: u64) {
        let (a, b) = (values(length, seed), values(length, !seed));
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let fixed = values(20 * length, seed ^ 3);
        let rows = Rows::new(&fixed, length, length);
        let (slots, factors) = (slots(count, 20, seed), values(count, seed ^ 4));
        for kernel in Kernel::available() {
            prop_assert!(close(kernel.dot(&a, &b), exact, length as f64), "{kernel:?}");
            let mut sum = vec![f32::NAN; length];
            kernel.sum_rows(rows, &slots, &factors, &mut sum);
            for (at, &value) in sum.iter().enumerate() {
                let terms = slots.iter().zip(&factors);
                let exact: f64 =
                    terms.map(|(&slot, &f)| f64::from(f) * f64::from(rows.row(slot as usize)[at])).sum();
                prop_assert!(close(value, exact, 10.0), "{kernel:?}");
            }
        }
    }
}

#[test]
fn what_f32_cannot_factorise_is_refused() {
    let nearly_singular = [1.0, 1.0, 1.0, 1.0 + 3e-6];
    for matrix in [[1.0, 2.0, 2.0, 1.0], [f64::NAN, 0.0, 0.0, 1.0], [0.0; 4], nearly_singular] {
        for kernel in Kernel::available() {
            let mut x = vec![0.0; LANES];
            x[..2].fill(1.0);
            let result = kernel.solve(&mut in_blocks(&matrix, 2), 2, &mut x, &mut Factor::default());
            assert_eq!(result, Err(PrecisionLost), "{kernel:?} {matrix:?}");
        }
    }
}

/// Numbers of a tile in its storage, from those row by row; what is beyond its rows and columns is zero.
fn as_tile(values: &[f32], rows: usize, columns: usize, stride: usize) -> Vec<f32> {
    let mut tile = vec![0.0; blocks::side(rows) * stride];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            tile[row / LANES * stride + column * LANES + row % LANES] = value;
        }
    }
    tile
}

/// Sets what is not in a triangle to zero.
fn keep(values: &mut [f32], columns: usize, is_kept: impl Fn(usize, usize) -> bool) {
    for (at, value) in values.iter_mut().enumerate() {
        if !is_kept(at / columns, at % columns) {
            *value = 0.0;
        }
    }
}

proptest! {
    #[test]
    fn tile_products_match_f64(
        [row_count, column_count, depth] in prop::array::uniform3(1_usize..70),
        extra in 0_usize..3,
        seed: u64,
    ) {
        for shape in [
            Shape::Full, Shape::LowerProduct, Shape::LowerColumns, Shape::UpperColumns, Shape::UpperRows,
        ] {
            let stride = (padded(depth).max(padded(column_count)) + extra * LANES) * LANES;
            let (mut rows, mut columns) = (values(row_count * depth, seed), values(column_count * depth, !seed));
            match shape {
                Shape::LowerColumns => keep(&mut columns, depth, |row, column| column <= row),
                Shape::UpperColumns => keep(&mut columns, depth, |row, column| column >= row),
                Shape::UpperRows => keep(&mut rows, depth, |row, column| column >= row),
                Shape::Full | Shape::LowerProduct => {}
            }
            let before = values(row_count * column_count, seed ^ 2);
            let product = TileProduct {
                rows: &as_tile(&rows, row_count, depth, stride),
                columns: &as_tile(&columns, column_count, depth, stride),
                stride, row_count, column_count, depth, shape,
            };
            for kernel in Kernel::available() {
                let mut added = as_tile(&before, row_count, column_count, stride);
                let mut taken = added.clone();
                kernel.add_tile_product(product, &mut added);
                kernel.subtract_tile_product(product, &mut taken);
                for row in 0..row_count {
                    for column in 0..column_count {
                        if shape == Shape::LowerProduct && column > row {
                            continue;
                        }
                        let of = |values: &[f32], row: usize, at: usize| f64::from(values[row * depth + at]);
                        let sum: f64 = (0..depth).map(|p| of(&rows, row, p) * of(&columns, column, p)).sum();
                        let there = f64::from(before[row * column_count + column]);
                        let place = row / LANES * stride + column * LANES + row % LANES;
                        prop_assert!(close(added[place], there + sum, 1.0), "{shape:?} {kernel:?}");
                        prop_assert!(close(taken[place], there - sum, 1.0), "{shape:?} {kernel:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_is_transposed(count in 1_usize..70, extra in 0_usize..3, seed: u64) {
        let stride = (padded(count) + extra * LANES) * LANES;
        let numbers = values(count * count, seed);
        let turned: Vec<f32> = (0..count * count).map(|at| numbers[at % count * count + at / count]).collect();
        let (tile, expected) = (as_tile(&numbers, count, count, stride), as_tile(&turned, count, count, stride));
        for kernel in Kernel::available() {
            let mut target = vec![0.0; tile.len()];
            kernel.transpose_tile(&tile, stride, count, &mut target);
            prop_assert_eq!(&target, &expected);
        }
    }
}
