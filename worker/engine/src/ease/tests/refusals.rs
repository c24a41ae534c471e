//! What is refused: inverses that do not fit, ridges that are none or too small, and messages that cannot be.

use std::sync::Arc;

use super::*;

proptest! {
    #[test]
    fn as_many_items_fit_as_is_said(memory in 0_u64..1 << 40, owners in 1_u32..9) {
        let fit = items_that_fit(memory, owners);
        prop_assert!(Grid::new(fit, owners).check_memory(memory).is_ok());
        let refused = Grid::new(fit + 1, owners).check_memory(memory).unwrap_err();
        prop_assert_eq!(refused.items_fit, fit);
        let says_so = refused.to_string().contains(&format!("room for {fit} items"));
        prop_assert!(says_so, "{}", refused);
    }
}

#[test]
fn a_share_is_a_part_of_half_the_matrix_and_three_panels() {
    let tiles = |items: u32, owners| Grid::new(items, owners).bytes() / (256 * 256 * 4);
    assert_eq!(tiles(1, 1), 1 + 3);
    // 105 tiles along a side.
    assert_eq!(tiles(26_744, 1), 105 * 106 / 2 + 3 * 105);
    assert!(tiles(26_744, 2) <= (105 * 106 / 2 + 105) / 2 + 3 * 105);
    let items = items_that_fit(1 << 30, 1);
    assert!((22_000..23_000).contains(&items), "{items}");
}

#[test]
fn an_inverse_that_does_not_fit_is_refused_before_it_is_begun() {
    let users = Users::random(10, 2_000, 0.3, 5);
    let small = Settings { memory_max: 4 << 20, ..settings(5.0, 3) };
    let Err(FitError::TooLarge(refused)) = users.fit(&small, Kernel::detect()) else { panic!("it fits") };
    let fitting = Settings { items_max: Some(refused.items_fit as usize), ..small };
    assert_eq!(users.fit(&fitting, Kernel::detect()).unwrap().items.len(), refused.items_fit as usize);
}

#[test]
fn a_ridge_is_a_number_above_zero() {
    let users = Users::random(10, 5, 0.3, 5);
    for ridge in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = users.fit(&settings(ridge, 3), Kernel::detect()).unwrap_err();
        assert!(refused.to_string().contains("--ease-reg"), "{refused}");
    }
}

#[test]
fn a_ridge_that_is_lost_beside_the_likes_is_refused() {
    // Two items that everybody likes: only the ridge tells them apart.
    let users = Users::who_like((0..4_000).map(|_| vec![0, 1]), 2);
    let refused = users.fit(&settings(1e-4, 3), Kernel::detect()).unwrap_err();
    assert_eq!(refused, FitError::LostDigits(LostDigits { row: 1 }));
    let fitted = users.fit(&settings(40.0, 3), Kernel::detect()).unwrap();
    assert!(greatest_error(&fitted, &users.weights_in_f64(40.0), 2) < 1e-4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_small_the_ridge_weights_are_right_or_refused(exponent in -5.0_f64..3.0, together in 2_usize..6, seed: u64) {
        // Some items that are nearly always liked together: the ridge alone tells them apart.
        let draw = |user: usize, item: usize| unit_interval(mix64(seed ^ mix64((user * 7 + item) as u64)));
        let is_liked = |user: usize, item: u32| {
            (item as usize) < together || draw(user, item as usize) < 0.3
        };
        let list = |user: usize| (0..7).filter(|&item| is_liked(user, item)).collect();
        let users = Users::who_like((0..3_000).map(list), 7);
        let ridge = 10_f64.powf(exponent);
        match users.fit(&settings(ridge, 7), Kernel::detect()) {
            Ok(fitted) => {
                let error = greatest_error(&fitted, &users.weights_in_f64(ridge), 7);
                prop_assert!(error < 5e-3, "{} with the ridge {}", error, ridge);
                prop_assert!(ridge > 1e-3);
            }
            Err(refused) => prop_assert!(matches!(refused, FitError::LostDigits(_)) && ridge < 1.0),
        }
    }
}

/// Two owners of three tile rows, the first step's pivot made.
fn begun() -> (Elimination, Elimination, Vec<Message>) {
    let users = Users::random(30, 700, 0.3, 9);
    let grid = Grid::new(700, 2);
    let all: Vec<u32> = (0..700).collect();
    let levels = Levels::of_users(30);
    let likes = likes_of(users.rows(), &all, 700, levels);
    let [mut first, second] = [0, 1].map(|owner| {
        let mut share = Share::new(grid, owner, Kernel::detect());
        for row in 0..grid.side() {
            likes.add_products(row, &share.columns(row), share.row_mut(row));
        }
        share.finish_sums(9.0, levels);
        Elimination::new(share)
    });
    let mut outbox = Vec::new();
    while first.turn(&mut outbox).unwrap() == Turn::Worked {}
    (first, second, outbox)
}

#[test]
fn messages_that_cannot_be_are_refused_and_change_nothing() {
    let (mut first, mut second, sent) = begun();
    // The pivot and the tile (2, 0) are the first owner's.
    let parts: Vec<Part> = sent.iter().map(|message| message.part).collect();
    assert_eq!(parts, [Part::Pivot, Part::Panel(2)]);
    assert_eq!(second.turn(&mut Vec::new()).unwrap(), Turn::Waiting);
    let pivot = &sent[0];
    let with = |change: fn(&mut Message)| {
        let mut message = pivot.clone();
        change(&mut message);
        message
    };
    let cases = [
        (0, with(|message| message.step = 2), "step"),
        (0, with(|message| message.step = u32::MAX), "step"),
        (0, with(|message| message.part = Part::Panel(0)), "no such part"),
        (0, with(|message| message.part = Part::Panel(3)), "no such part"),
        (0, with(|message| message.part = Part::Panel(1)), "own"),
        (1, pivot.clone(), "own"),
        (7, pivot.clone(), "own"),
        (0, with(|message| message.values = Arc::new(vec![0.0; 9])), "size"),
        (0, with(|message| Arc::make_mut(&mut message.values)[3] = f32::NAN), "finite"),
    ];
    for (from, message, why) in cases {
        let refused = second.accept(from, message).unwrap_err();
        assert!(refused.why.contains(why), "{refused} for {why}");
    }
    assert_eq!(second.turn(&mut Vec::new()).unwrap(), Turn::Waiting);
    second.accept(0, pivot.clone()).unwrap();
    assert!(second.accept(0, pivot.clone()).unwrap_err().why.contains("before"));
    let mut answers = Vec::new();
    assert_eq!(second.turn(&mut answers).unwrap(), Turn::Worked);
    assert_eq!(answers.iter().map(|message| message.part).collect::<Vec<_>>(), [Part::Panel(1)]);
    // One is waiting for the other's part of the panel.
    assert_eq!(first.turn(&mut Vec::new()).unwrap(), Turn::Waiting);
    first.accept(1, answers.remove(0)).unwrap();
    assert_eq!(first.turn(&mut Vec::new()).unwrap(), Turn::Worked);
}
