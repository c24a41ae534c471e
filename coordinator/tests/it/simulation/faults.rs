//! What goes wrong, drawn from the seed: one thing at a time, so that a quorum stays.

use turmoil::Sim;

use super::{
    hosts::{MEMBERS, name},
    world::World,
};

/// Acknowledged requests between faults.
const REQUESTS_BETWEEN: usize = 4;

pub(super) struct Faults {
    draws: u64,
    next_at: usize,
    /// Steps until then, so that faults come in the middle of requests.
    wait: u64,
    broken: Option<Fault>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A member has lost its power: it does not even close its connections.
    Crashed(u64),
    /// Nothing goes from or to a member.
    CutOff(u64),
    /// Nothing goes from the first to the second.
    Deaf(u64, u64),
    /// Whatever goes between the two arrives when they are released.
    Held(u64, u64),
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self { draws: seed, next_at: REQUESTS_BETWEEN, wait: 0, broken: None }
    }

    /// SplitMix64 of Steele, Lea and Flood (2014).
    fn draw(&mut self, below: u64) -> u64 {
        self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.draws;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Heals what is broken and breaks something else, when enough was acknowledged since.
    pub(super) fn act(&mut self, sim: &mut Sim<'_>, world: &World) {
        if world.acknowledged().len() < self.next_at {
            return;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        // The leader is lost first of all, and then every other time.
        let Some(leader) = world.leader() else { return };
        self.next_at += REQUESTS_BETWEEN;
        self.wait = self.draw(50);
        let was_broken = self.broken.is_some();
        self.heal(sim, world);
        if was_broken && self.draw(3) == 0 {
            return;
        }
        let one = if !was_broken || self.draw(2) == 0 { leader } else { 1 + self.draw(3) };
        let other = 1 + (one + self.draw(2)) % 3;
        let fault = match self.draw(6) {
            0..=2 => Fault::Crashed(one),
            3 => Fault::CutOff(one),
            4 => Fault::Deaf(one, other),
            _ => Fault::Held(one, other),
        };
        world.note(&format!("{fault:?}"));
        match fault {
            Fault::Crashed(member) => {
                everybody_else(member).for_each(|other| sim.partition(name(member), other));
                sim.crash(name(member));
                world.stopped(member);
            }
            Fault::CutOff(member) => {
                others(member).for_each(|other| sim.partition(name(member), other));
            }
            Fault::Deaf(from, to) => sim.partition_oneway(name(from), name(to)),
            Fault::Held(one, other) => sim.hold(name(one), name(other)),
        }
        self.broken = Some(fault);
    }

    /// Mends what is broken.
    pub(super) fn heal(&mut self, sim: &mut Sim<'_>, world: &World) {
        let Some(fault) = self.broken.take() else { return };
        world.note(&format!("no longer {fault:?}"));
        match fault {
            Fault::Crashed(member) => {
                everybody_else(member).for_each(|other| sim.repair(name(member), other));
                sim.bounce(name(member));
            }
            Fault::CutOff(member) => {
                others(member).for_each(|other| sim.repair(name(member), other));
            }
            Fault::Deaf(from, to) => sim.repair_oneway(name(from), name(to)),
            Fault::Held(one, other) => sim.release(name(one), name(other)),
        }
    }
}

fn others(member: u64) -> impl Iterator<Item = String> {
    MEMBERS.filter(move |other| *other != member).map(name)
}

fn everybody_else(member: u64) -> impl Iterator<Item = String> {
    others(member).chain(["client".to_owned()])
}
