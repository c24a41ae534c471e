//! Who likes what: the planted vectors, what a user rates and how.

use shoal_core::hash::{mix64, unit_interval};

use super::spec::{GenerateSpec, RATINGS_PER_USER_MIN};
use crate::movielens::GENRES;

/// Streams of random numbers, so that none depends on how many another takes.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    UserVector = 1,
    ItemVector,
    Popularity,
    Quality,
    Mood,
    Activity,
    Draw,
    Noise,
    Time,
    Tag,
    Genre,
    Genome,
    Year,
}

/// How strongly taste decides what is watched, beside popularity.
const TASTE_IN_CHOICE: f64 = 2.0;
/// Spread of the log-normal activity.
const ACTIVITY_DEVIATION: f64 = 1.1;
/// Popularity falls as rank to this power.
const POPULARITY_EXPONENT: f64 = 0.9;
/// Mean of the ratings before taste: lowered by what choosing what one likes adds.
const RATING_BASE: f64 = 2.87;
const TASTE_DEVIATION: f64 = 0.55;
const QUALITY_DEVIATION: f64 = 0.35;
const MOOD_DEVIATION: f64 = 0.3;
const NOISE_DEVIATION: f64 = 0.6;
/// Draws per wanted item before the rest is taken in order of preference.
const DRAWS_PER_RATING_MAX: u64 = 60;
/// Ratings are given from 1996-01-01 to 2020-01-01; in seconds since 1970.
const FIRST_SECOND: f64 = 820_454_400.0;
const LAST_SECOND: f64 = 1_577_836_800.0;
/// One rating in so many gets a tag.
const RATINGS_PER_TAG: f64 = 30.0;

/// One rating of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rating {
    /// Number of the item, from 0.
    pub(super) item: u64,
    /// Stars times two, 1 to 10.
    pub(super) half_stars: u8,
    pub(super) timestamp: i64,
}

/// The model that the generated ratings follow: vectors of users and items, biases, and noise.
pub(super) struct Taste {
    seed: u64,
    rank: usize,
    /// Item vectors, row-major.
    items: Vec<f32>,
    quality: Vec<f32>,
    /// Sums of the popularity weights up to and with each item.
    cumulative: Vec<f64>,
}

impl Taste {
    pub(super) fn new(spec: &GenerateSpec) -> Self {
        let mut taste = Self {
            seed: spec.seed,
            rank: spec.rank,
            items: Vec::new(),
            quality: Vec::new(),
            cumulative: Vec::new(),
        };
        let count = spec.items as usize;
        let row = |item| (0..spec.rank as u64).map(move |k| (item, k));
        let normal = |(item, k)| taste.normal(Stream::ItemVector, item, k) as f32;
        taste.items = (0..spec.items).flat_map(row).map(normal).collect();
        taste.quality = (0..spec.items)
            .map(|item| (taste.normal(Stream::Quality, item, 0) * QUALITY_DEVIATION) as f32)
            .collect();
        // Who is popular is drawn; how popular the n-th is follows from n.
        let mut order: Vec<u64> = (0..spec.items).collect();
        order.sort_by_key(|&item| taste.hash(Stream::Popularity, item, 0));
        let mut weights = vec![0.0; count];
        for (place, item) in order.into_iter().enumerate() {
            weights[item as usize] = (place as f64 + 10.0).powf(-POPULARITY_EXPONENT);
        }
        let mut sum = 0.0;
        taste.cumulative = weights
            .into_iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        taste
    }

    pub(super) fn hash(&self, stream: Stream, row: u64, counter: u64) -> u64 {
        mix64(mix64(mix64(self.seed ^ ((stream as u64) << 56)) ^ row) ^ counter)
    }

    pub(super) fn uniform(&self, stream: Stream, row: u64, counter: u64) -> f64 {
        unit_interval(self.hash(stream, row, counter))
    }

    /// A standard normal number (Box and Muller, 1958).
    pub(super) fn normal(&self, stream: Stream, row: u64, counter: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(stream, row, 2 * counter)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(stream, row, 2 * counter + 1)).cos()
    }

    pub(super) fn item(&self, item: u64) -> &[f32] {
        &self.items[item as usize * self.rank..][..self.rank]
    }

    /// How popular an item is, relative to the mean.
    pub(super) fn popularity(&self, item: u64) -> f64 {
        let at = item as usize;
        let before = if at == 0 { 0.0 } else { self.cumulative[at - 1] };
        (self.cumulative[at] - before) / self.total() * self.cumulative.len() as f64
    }

    fn total(&self) -> f64 {
        self.cumulative.last().copied().unwrap_or_default()
    }

    /// Ratings per user: at least the minimum, at most the maximum, log-normal in between, and exactly as many in all.
    pub(super) fn rating_counts(&self, spec: &GenerateSpec) -> Vec<u32> {
        let most = spec.ratings_per_user_max() - RATINGS_PER_USER_MIN;
        let weight = |user: u64| (self.normal(Stream::Activity, user, 0) * ACTIVITY_DEVIATION).exp();
        let total: f64 = (0..spec.users).map(weight).sum();
        let mut left = spec.ratings - spec.users * RATINGS_PER_USER_MIN;
        let extra = left as f64;
        let (mut sum, mut given) = (0.0, 0_u64);
        let mut counts: Vec<u64> = Vec::with_capacity(spec.users as usize);
        for user in 0..spec.users {
            sum += weight(user);
            // Rounding the running sum keeps the total.
            let due = ((extra * sum / total) as u64).min(spec.ratings);
            let count = due.saturating_sub(given).min(most);
            given = due;
            counts.push(count);
            left = left.saturating_sub(count);
        }
        // What the maximum and rounding cut off goes to those who have room, in turn.
        while left > 0 {
            for count in &mut counts {
                if left > 0 && *count < most {
                    *count += 1;
                    left -= 1;
                }
            }
        }
        // At most half of the items, which are counted in a u32.
        counts.into_iter().map(|count| (count + RATINGS_PER_USER_MIN) as u32).collect()
    }

    /// What a user rates and how, by item.
    pub(super) fn ratings_of(&self, user: u64, count: u32) -> Vec<Rating> {
        let vector: Vec<f32> =
            (0..self.rank).map(|k| self.normal(Stream::UserVector, user, k as u64) as f32).collect();
        let mut chosen = self.choose(user, &vector, count as usize);
        chosen.sort_unstable();
        let mood = self.normal(Stream::Mood, user, 0) * MOOD_DEVIATION;
        let start = FIRST_SECOND + self.uniform(Stream::Time, user, 0) * (LAST_SECOND - FIRST_SECOND);
        let rate = |item: u64| {
            let pair = mix64(user) ^ item;
            let noise = self.normal(Stream::Noise, pair, 0) * NOISE_DEVIATION;
            let liking = self.affinity(&vector, item) * TASTE_DEVIATION;
            let rating = RATING_BASE + mood + f64::from(self.quality[item as usize]) + liking + noise;
            let later = self.uniform(Stream::Time, pair, 1) * 86_400.0 * 30.0;
            // Clamped to what half stars there are.
            Rating {
                item,
                half_stars: (rating * 2.0).round().clamp(1.0, 10.0) as u8,
                timestamp: (start + later) as i64,
            }
        };
        chosen.into_iter().map(rate).collect()
    }

    /// Inner product of a user's and an item's vector, of unit variance.
    fn affinity(&self, user: &[f32], item: u64) -> f64 {
        let product: f32 = user.iter().zip(self.item(item)).map(|(a, b)| a * b).sum();
        f64::from(product) / (self.rank as f64).sqrt()
    }

    /// Distinct items, drawn by popularity and accepted by taste.
    fn choose(&self, user: u64, vector: &[f32], count: usize) -> Vec<u64> {
        let items = self.cumulative.len();
        let mut taken = vec![false; items];
        let mut chosen = Vec::with_capacity(count);
        let draws_max = DRAWS_PER_RATING_MAX * count as u64;
        let mut draw = 0;
        while chosen.len() < count && draw < draws_max {
            let at = self.uniform(Stream::Draw, user, 2 * draw) * self.total();
            let item = self.cumulative.partition_point(|&sum| sum <= at).min(items - 1) as u64;
            // Two deviations above the mean always, below less and less often.
            let accept = (TASTE_IN_CHOICE * (self.affinity(vector, item) - 2.0)).exp();
            if !taken[item as usize] && self.uniform(Stream::Draw, user, 2 * draw + 1) < accept {
                taken[item as usize] = true;
                chosen.push(item);
            }
            draw += 1;
        }
        if chosen.len() < count {
            // A very active user has seen what is easily found: the rest in order of preference.
            let mut rest: Vec<(f64, u64)> = (0..items as u64)
                .filter(|&item| !taken[item as usize])
                .map(|item| {
                    (self.popularity(item).ln() + TASTE_IN_CHOICE * self.affinity(vector, item), item)
                })
                .collect();
            rest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            chosen.extend(rest.into_iter().take(count - chosen.len()).map(|(_, item)| item));
        }
        chosen
    }

    /// The tag a user gives with a rating, if any: one of the item's genres.
    pub(super) fn tag_of(&self, user: u64, rating: &Rating) -> Option<String> {
        let pair = mix64(user) ^ rating.item;
        if self.uniform(Stream::Tag, pair, 0) * RATINGS_PER_TAG >= 1.0 {
            return None;
        }
        let genres = self.genres(rating.item);
        let pick = self.hash(Stream::Tag, pair, 1) as usize % genres.len().max(1);
        genres.get(pick).map(|genre| genre.to_lowercase())
    }

    /// One to three genres: those whose direction the item's vector points to most.
    pub(super) fn genres(&self, item: u64) -> Vec<&'static str> {
        let mut liking: Vec<(f64, &'static str)> = (0_u64..)
            .zip(GENRES)
            .map(|(genre, name)| (self.direction(Stream::Genre, genre, self.item(item)), name))
            .collect();
        liking.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let count = 1 + self.hash(Stream::Genre, item, 1 << 40) as usize % 3;
        liking.into_iter().take(count).map(|(_, name)| name).collect()
    }

    /// How far a vector goes in a drawn direction, of unit variance.
    pub(super) fn direction(&self, stream: Stream, number: u64, vector: &[f32]) -> f64 {
        let along: f64 =
            (0_u64..).zip(vector).map(|(k, &value)| self.normal(stream, number, k) * f64::from(value)).sum();
        along / (self.rank as f64).sqrt()
    }
}
