//! Who asks: a seeded sample of the known users with what each has rated, and people nobody knows. Pure.

use std::collections::HashMap;

use shoal_common::ids::EntityId;
use shoal_core::hash::mix64;

use super::random::Random;

/// Users of a sample, with their ratings in memory (8 bytes each): more would not change how a service behaves.
pub const KNOWN_USERS_MAX: usize = 50_000;

/// Ids that are nobody's follow the largest that is somebody's, within so many.
const UNKNOWN_IDS: usize = 1_000_000_000;

/// How often each known user asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Popularity {
    /// Every user asks as often as any other.
    Uniform,
    /// The k-th most active as 1 / k^exponent.
    Zipf {
        /// 0 would be uniform.
        exponent: f64,
    },
}

/// A user whom the data set has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// Id of the user.
    pub id: EntityId,
    /// [`EntityId::hash64`] of the items that the user has rated, ascending; `None` where that is not known.
    pub rated: Option<Box<[u64]>>,
}

impl KnownUser {
    /// Whether the user is known to have rated the item.
    #[must_use]
    pub fn has_rated(&self, item: &EntityId) -> bool {
        self.rated.as_ref().is_some_and(|rated| rated.binary_search(&item.hash64()).is_ok())
    }
}

/// Keeps the users whose seeded hashes are smallest: a uniform sample of a set that is seen once, in any order
/// and with repeats (bottom-k sampling; Cohen and Kaplan 2007). What a kept user has rated is never lost on the way,
/// because the bar only falls.
#[derive(Debug)]
pub struct Sample {
    seed: u64,
    most: usize,
    bar: u64,
    users: HashMap<EntityId, Rated>,
    largest: Option<i64>,
}

#[derive(Debug)]
struct Rated {
    place: u64,
    items: Vec<u64>,
}

impl Sample {
    /// Of at most `most` users.
    #[must_use]
    pub fn new(seed: u64, most: usize) -> Self {
        Self { seed: mix64(seed), most, bar: u64::MAX, users: HashMap::new(), largest: None }
    }

    /// Takes what a user has rated, by the items' hashes; the same user may come again with more.
    pub fn add(&mut self, user: EntityId, items: impl IntoIterator<Item = u64>) {
        if let EntityId::Integer(id) = user {
            self.largest = self.largest.max(Some(id));
        }
        let place = mix64(user.hash64() ^ self.seed);
        if place > self.bar {
            return;
        }
        let rated = self.users.entry(user).or_insert_with(|| Rated { place, items: Vec::new() });
        rated.items.extend(items);
        if self.users.len() > 2 * self.most {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.users.len() <= self.most {
            return;
        }
        let mut places: Vec<u64> = self.users.values().map(|rated| rated.place).collect();
        places.sort_unstable();
        self.bar = places[self.most - 1];
        let bar = self.bar;
        self.users.retain(|_, rated| rated.place <= bar);
    }

    /// The users, in an order that has nothing to do with their ids. `knows_ratings` says whether what was given
    /// is all that they have rated.
    #[must_use]
    pub fn finish(mut self, knows_ratings: bool) -> (Vec<KnownUser>, Option<i64>) {
        self.shrink();
        let mut users: Vec<(EntityId, Rated)> = self.users.into_iter().collect();
        users.sort_unstable_by_key(|(_, rated)| rated.place);
        let known = users.into_iter().map(|(id, Rated { mut items, .. })| {
            items.sort_unstable();
            items.dedup();
            KnownUser { id, rated: knows_ratings.then(|| items.into()) }
        });
        (known.collect(), self.largest)
    }
}

/// Everybody who may ask.
#[derive(Debug)]
pub struct Population {
    users: Vec<KnownUser>,
    /// Shares of the users before and with each; empty where all are alike.
    shares: Vec<f64>,
    /// The largest integer id; `None` where ids are texts.
    largest: Option<i64>,
}

impl Population {
    /// Of these known users, at least one; the first of them asks most. `largest` is the largest integer id that anybody has.
    #[must_use]
    pub fn new(users: Vec<KnownUser>, largest: Option<i64>, popularity: Popularity) -> Self {
        debug_assert!(!users.is_empty());
        let shares = match popularity {
            Popularity::Uniform => Vec::new(),
            Popularity::Zipf { exponent } => {
                let weights = (1..=users.len()).map(|rank| (rank as f64).powf(-exponent));
                let sums = weights.scan(0.0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                });
                sums.collect()
            }
        };
        Self { users, shares, largest }
    }

    /// The known users, most active first.
    #[must_use]
    pub fn users(&self) -> &[KnownUser] {
        &self.users
    }

    /// Draws a known user's place.
    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let Some(whole) = self.shares.last() else { return random.below(self.users.len()) };
        let drawn = random.unit() * whole;
        self.shares.partition_point(|share| *share <= drawn).min(self.users.len() - 1)
    }

    /// Draws the id of somebody nobody knows.
    pub(super) fn draw_unknown(&self, random: &mut Random) -> EntityId {
        match self.largest {
            Some(largest) => EntityId::Integer(largest.saturating_add(1 + random.below(UNKNOWN_IDS) as i64)),
            None => EntityId::Text(format!("nobody-{:016x}", random.next()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(order: impl Iterator<Item = i64>, most: usize) -> Vec<KnownUser> {
        let mut sample = Sample::new(9, most);
        for user in order {
            // Ratings come in two parts, with one of them twice.
            sample.add(EntityId::Integer(user), [user as u64, 3]);
            sample.add(EntityId::Integer(user), [1, 3]);
        }
        let (users, largest) = sample.finish(true);
        assert_eq!(largest, Some(999));
        users
    }

    #[test]
    fn a_sample_is_the_same_whatever_the_order_and_keeps_all_that_was_rated() {
        let users = sample(0..1_000, 50);
        assert_eq!(users.len(), 50);
        assert_eq!(users, sample((0..1_000).rev(), 50));
        for user in &users {
            let EntityId::Integer(id) = user.id else { panic!("{user:?}") };
            let mut expected = vec![id as u64, 3, 1];
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(user.rated.as_deref(), Some(&expected[..]));
        }
        assert_eq!(sample(0..1_000, 5_000).len(), 1_000);
    }

    #[test]
    fn a_sample_prefers_no_part_of_the_ids() {
        let low = sample(0..1_000, 400).iter().filter(|user| user.id < EntityId::Integer(500)).count();
        assert!((160..=240).contains(&low), "{low} of 400 are of the lower half");
    }

    fn population(popularity: Popularity) -> Population {
        let user = |id| KnownUser { id: EntityId::Integer(id), rated: None };
        Population::new((1..=100).map(user).collect(), Some(100), popularity)
    }

    fn draws(popularity: Popularity) -> Vec<usize> {
        let (population, mut random) = (population(popularity), Random::new(5, 0));
        let mut counts = vec![0; 100];
        (0..100_000).for_each(|_| counts[population.draw(&mut random)] += 1);
        counts
    }

    #[test]
    fn users_are_drawn_as_often_as_their_popularity_says() {
        assert!(draws(Popularity::Uniform).iter().all(|count| (850..1_150).contains(count)));
        let zipf = draws(Popularity::Zipf { exponent: 1.0 });
        // The sum of 1/k to 100 is 5.187.
        for rank in [1_usize, 2, 5, 20, 100] {
            let expected = 100_000.0 / 5.187_4 / rank as f64;
            let ratio = zipf[rank - 1] as f64 / expected;
            assert!((0.8..1.2).contains(&ratio), "{rank}: {ratio}");
        }
    }

    #[test]
    fn nobody_has_the_ids_of_the_unknown() {
        let (population, mut random) = (population(Popularity::Uniform), Random::new(5, 0));
        for _ in 0..1_000 {
            assert!(population.draw_unknown(&mut random) > EntityId::Integer(100));
        }
        let user = KnownUser { id: EntityId::Text("ann".into()), rated: None };
        let texts = Population::new(vec![user], None, Popularity::Uniform);
        assert!(matches!(texts.draw_unknown(&mut random), EntityId::Text(_)));
    }
}
