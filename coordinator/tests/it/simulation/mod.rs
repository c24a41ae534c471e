//! Three coordinators in simulated time, over a simulated network with seeded delays, partitions and
//! crashes. What must hold is checked at every command and after every step, and a seed gives the same
//! trace whenever it is run.

mod faults;
mod hosts;
mod net;
mod world;

use std::time::Duration;

use self::{faults::Faults, world::World};

/// Requests that the client makes, one after the other.
const REQUESTS: usize = 32;

/// Simulated time that is far more than is needed.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Simulated time after the last fault in which everybody comes to have the same.
const CALM: Duration = Duration::from_secs(15);

/// Runs one seed; everything that happened.
fn run(seed: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(TIME_MAX)
        .tick_duration(Duration::from_millis(10))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(40))
        .build();
    for raft_id in hosts::MEMBERS {
        let (world, folder) = (world.clone(), folder.path().join(raft_id.to_string()));
        sim.host(hosts::name(raft_id), move || hosts::coordinator(raft_id, folder.clone(), world.clone()));
    }
    sim.client("client", hosts::client(REQUESTS, world.clone()));

    let mut faults = Faults::new(seed);
    let step = |sim: &mut turmoil::Sim<'_>| {
        world.set_time(sim.elapsed());
        sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"))
    };
    while !step(&mut sim) {
        faults.act(&mut sim, &world);
    }
    faults.heal(&mut sim, &world);
    let calm_until = sim.elapsed() + CALM;
    while sim.elapsed() < calm_until {
        step(&mut sim);
    }
    world.everybody_has_the_same();
    assert!(world.leaders().len() > 1, "seed {seed}: no leader was lost");
    world.trace()
}

#[test]
fn leaders_are_lost_and_found_and_nothing_acknowledged_is_lost() {
    assert_ne!(run(1), run(2), "another seed is another run");
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    let (first, second) = (run(7), run(7));
    for (number, (line, again)) in first.iter().zip(&second).enumerate() {
        assert_eq!(line, again, "line {number}");
    }
    assert_eq!(first.len(), second.len());
}
