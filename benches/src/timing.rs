//! Seconds of short calls on a machine that others use too.
//!
//! Contestants take turns, and the fastest turn of each counts: other work only ever slows a turn down, and what slows
//! the whole machine slows everybody.

use std::time::{Duration, Instant};

/// Turns of each contestant.
const TURNS: usize = 15;

/// How long a turn lasts, unless one call takes longer.
const TURN: Duration = Duration::from_millis(4);

/// Something to measure: its name, and one call of it.
pub type Contestant<'a> = (&'a str, &'a mut dyn FnMut());

/// Seconds per call of each contestant.
pub fn contest(contestants: &mut [Contestant<'_>]) -> Vec<f64> {
    // The first call finds cold caches.
    let calls: Vec<u32> = contestants.iter_mut().map(|(_, call)| calls_per_turn(call)).collect();
    let mut fastest = vec![f64::INFINITY; contestants.len()];
    for _ in 0..TURNS {
        for ((contestant, &calls), fastest) in contestants.iter_mut().zip(&calls).zip(&mut fastest) {
            let started = Instant::now();
            for _ in 0..calls {
                (contestant.1)();
            }
            *fastest = fastest.min(started.elapsed().as_secs_f64() / f64::from(calls));
        }
    }
    fastest
}

/// Seconds per call of one contestant.
pub fn fastest(mut call: impl FnMut()) -> f64 {
    contest(&mut [("", &mut call)])[0]
}

fn calls_per_turn(call: &mut dyn FnMut()) -> u32 {
    call();
    let (started, mut calls) = (Instant::now(), 0);
    while started.elapsed() < TURN {
        call();
        calls += 1;
    }
    calls.max(1)
}
