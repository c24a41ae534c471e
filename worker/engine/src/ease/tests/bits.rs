//! The same bits whoever owns the tiles, however many threads there are, and in whatever order messages come.

use std::collections::VecDeque;

use super::*;

/// Of any number of users in these tests.
fn levels() -> Levels {
    Levels::of_users(4_000)
}

/// Sums as the owners of users make them: everybody sums over its own users for all tiles, and the owners of the tiles add.
fn summed(users: &[Users], grid: Grid, kernel: Kernel) -> Vec<Share> {
    let items = grid.order() as usize;
    let all: Vec<u32> = (0..grid.order()).collect();
    let likes: Vec<Likes> = users.iter().map(|users| likes_of(users.rows(), &all, items, levels())).collect();
    let share = |owner: u32| {
        let mut share = Share::new(grid, owner, kernel);
        for row in 0..grid.side() {
            let columns = share.columns(row);
            for likes in &likes {
                let mut sums = vec![0.0; share.row_mut(row).len()];
                likes.add_products(row, &columns, &mut sums);
                for (&column, sums) in columns.iter().zip(sums.chunks_exact(SIDE * SIDE)) {
                    share.add_sums(Tile { row, column }, sums);
                }
            }
        }
        share
    };
    (0..grid.owners()).map(share).collect()
}

/// Runs the owners' machines in turns drawn by the seed; messages between two owners overtake each other.
fn inverted(shares: Vec<Share>, ridge: f64, seed: u64) -> Vec<Share> {
    let owners = shares.len();
    let mut machines: Vec<Elimination> = shares
        .into_iter()
        .map(|mut share| {
            share.finish_sums(ridge, levels());
            Elimination::new(share)
        })
        .collect();
    let mut inboxes: Vec<VecDeque<(u32, Message)>> = vec![VecDeque::new(); owners];
    let mut done = vec![false; owners];
    let mut draw = seed;
    let mut idle = 0;
    while !done.iter().all(|done| *done) {
        draw = mix64(draw);
        let at = draw as usize % owners;
        for _ in 0..mix64(draw) % 4 {
            let inbox = &mut inboxes[at];
            if let Some((from, message)) = inbox.remove(draw as usize / 7 % inbox.len().max(1)) {
                if machines[at].is_early(message.step) {
                    inbox.push_back((from, message));
                    continue;
                }
                machines[at].accept(from, message).unwrap();
                idle = 0;
            }
        }
        let mut outbox = Vec::new();
        let turn = machines[at].turn(&mut outbox).unwrap();
        done[at] = turn == Turn::Done;
        idle = if turn == Turn::Worked { 0 } else { idle + 1 };
        assert!(idle < 10_000 || done.iter().all(|done| *done), "nobody goes on");
        for (to, inbox) in inboxes.iter_mut().enumerate().filter(|(to, _)| *to != at) {
            assert!(to != at);
            inbox.extend(outbox.iter().map(|message| (at as u32, message.clone())));
        }
    }
    assert!(inboxes.iter().all(VecDeque::is_empty));
    machines
        .into_iter()
        .map(|machine| {
            assert_eq!(machine.progress().0, machine.progress().1);
            machine.into_share()
        })
        .collect()
}

/// The weights that are kept from the tiles of several owners, as bits.
fn merged(shares: &[Share], neighbours: usize) -> Vec<Vec<(u32, u32)>> {
    let mut diagonals: Vec<(u32, Vec<f32>)> = shares.iter().flat_map(Share::diagonals).collect();
    diagonals.sort_by_key(|(line, _)| *line);
    let diagonal: Vec<f32> = diagonals.into_iter().flat_map(|(_, of_line)| of_line).collect();
    let grid = shares[0].grid();
    let mut sizes = Sizes::default();
    shares.iter().for_each(|share| sizes.merge(&share.sizes(&diagonal)));
    let selection = sizes.selection(grid.order(), neighbours);
    let mut lists = Vec::new();
    for line in 0..grid.side() {
        let selected: Vec<Vec<Entries>> =
            shares.iter().map(|share| share.selected(line, &diagonal, selection)).collect();
        for at in 0..grid.extent(line) {
            lists.push(bits(merge(selected.iter().map(|lists| lists[at].clone()), selection)));
        }
    }
    lists
}

fn bits(entries: Entries) -> Vec<(u32, u32)> {
    entries.into_iter().map(|(value, row)| (value.to_bits(), row)).collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]
    #[test]
    fn owners_threads_and_order_change_no_bit(
        items in 1_usize..900, most in 1_usize..50, cut in 0_usize..60, seed: u64,
    ) {
        let users = Users::random(60, items, 0.2, seed);
        let lists = users.lists();
        let parts = [&lists[cut..], &lists[..cut]].map(|lists| Users::new(lists.to_vec(), items));
        let kernel = Kernel::detect();
        let alone = {
            let grid = Grid::new(items as u32, 1);
            let all: Vec<u32> = (0..grid.order()).collect();
            let likes = likes_of(users.rows(), &all, items, levels());
            let share = pool(1).install(|| invert(sum(&likes, grid, kernel), 7.0, levels())).unwrap();
            all_weights(&share, most).into_iter().map(bits).collect::<Vec<_>>()
        };
        for (owners, threads) in [(1, 3), (2, 1), (3, 2), (5, 4)] {
            let grid = Grid::new(items as u32, owners);
            let shares = pool(threads).install(|| inverted(summed(&parts, grid, kernel), 7.0, seed));
            prop_assert_eq!(&merged(&shares, most), &alone, "{} owners", owners);
        }
    }

    #[test]
    fn of_all_owners_the_largest_are_merged_in_order(
        weights in prop::collection::vec(-4_i8..=4, 0..200),
        least in 0_usize..30,
        size_min in 0_u8..=5,
        cuts in prop::array::uniform2(0_usize..200),
    ) {
        // Few distinct numbers make many ties.
        let entries: Entries = weights.iter().map(|&value| f32::from(value) / 4.0).zip(0..).collect();
        let (low, high) = (cuts[0].min(cuts[1]).min(entries.len()), cuts[0].max(cuts[1]).min(entries.len()));
        let selection = Selection { size_min: (f32::from(size_min) / 4.0).max(0.01), least };
        let parts = [&entries[high..], &entries[..low], &entries[low..high]];
        let selected = parts.map(|part| merge([part.iter().rev().copied().collect()], selection));
        let mut sorted: Entries = entries.into_iter().filter(|(value, _)| *value != 0.0).collect();
        sorted.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()).then(a.1.cmp(&b.1)));
        let large = sorted.partition_point(|(value, _)| value.abs() >= selection.size_min);
        sorted.truncate(large.max(least));
        prop_assert_eq!(merge(selected, selection), sorted);
    }

    #[test]
    fn tiles_are_dealt_out_evenly_and_to_one_owner_each(order in 0_u32..20_000, owners in 1_u32..7) {
        let grid = Grid::new(order, owners);
        let shares: Vec<Vec<Tile>> = (0..owners).map(|owner| grid.tiles(owner)).collect();
        let mut all: Vec<Tile> = shares.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let side = grid.side() as usize;
        prop_assert_eq!(all.len(), side * (side + 1) / 2);
        prop_assert_eq!(all.len(), shares.iter().map(Vec::len).sum::<usize>());
        let rows: usize = (0..grid.side()).map(|line| grid.extent(line)).sum();
        prop_assert_eq!(rows, order as usize);
        for (owner, share) in (0..).zip(&shares) {
            prop_assert!(share.is_sorted() && share.iter().all(|tile| grid.owner(*tile) == owner));
            // In no row more than its part, rounded up.
            let most: usize = (1..=side).map(|tiles| tiles.div_ceil(owners as usize)).sum();
            prop_assert!(share.len() <= most);
            prop_assert!((share.len() * SIDE * SIDE * 4) as u64 <= grid.bytes());
        }
    }

    #[test]
    fn sums_are_those_of_the_products_of_likings(items in 1_usize..560, seed: u64) {
        let users = Users::random(40, items, 0.3, seed);
        let x = users.dense();
        let grid = Grid::new(items as u32, 1);
        let all: Vec<u32> = (0..grid.order()).collect();
        let mut share = sum(&likes_of(users.rows(), &all, items, levels()), grid, Kernel::detect());
        share.finish_sums(0.25, levels());
        for line in 0..grid.side() {
            for (at, column) in share.columns(line).into_iter().enumerate() {
                let tile = &share.row_mut(line)[at * SIDE * SIDE..][..SIDE * SIDE];
                for (place, &value) in tile.iter().enumerate() {
                    let row = line as usize * SIDE + place / (16 * SIDE) * 16 + place % 16;
                    let other = column as usize * SIDE + place / 16 % SIDE;
                    if other > row {
                        continue;
                    }
                    let like = |user: &Vec<f64>, item: usize| user.get(item).copied().unwrap_or_default();
                    let products: f64 = x.iter().map(|user| like(user, row) * like(user, other)).sum();
                    let ridge = if row == other && row < items { 0.25 } else { 0.0 };
                    let exact = products + ridge;
                    prop_assert!((f64::from(value) - exact).abs() < 1e-6 * exact.max(1.0), "{} {}", row, other);
                }
            }
        }
    }

    #[test]
    fn sums_over_all_users_have_room(users in 1_u64..1 << 32, liking in 0.0_f64..=1.0) {
        let levels = Levels::of_users(users);
        let most = u64::from(levels.nearest(1.0));
        prop_assert!(most >= 1 && most * most * users <= u64::from(u32::MAX));
        prop_assert!((f64::from(levels.nearest(liking)) / most as f64 - liking).abs() <= 0.5 / most as f64 + 1e-12);
        prop_assert_eq!([f64::NAN, -1.0, 0.0].map(|liking| levels.nearest(liking)), [0; 3]);
    }
}
