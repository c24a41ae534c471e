//! What is asked and when, drawn beforehand. Pure.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use shoal_common::ids::EntityId;

use super::{arrivals::Arrivals, random::Random, users::Population};
use crate::recommender::{Api, Route, id_value};

const PURPOSE: u64 = 2;

/// A route that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// The best items for a user.
    Recommend,
    /// Items like an item.
    Similar,
    /// A user's rating of an item.
    Predict,
}

impl Endpoint {
    /// Every endpoint, in the order of reports.
    pub const ALL: [Self; 3] = [Self::Recommend, Self::Similar, Self::Predict];

    /// As mixes name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recommend => "recommend",
            Self::Similar => "similar",
            Self::Predict => "predict",
        }
    }
}

/// The weight of each endpoint: `recommend=80,similar=10,predict=10`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix([f64; 3]);

impl Mix {
    /// How much of the requests go to an endpoint, 0 to 1.
    #[must_use]
    pub fn share(&self, endpoint: Endpoint) -> f64 {
        self.0[endpoint as usize] / self.0.iter().sum::<f64>()
    }

    fn draw(&self, random: &mut Random) -> Endpoint {
        let mut left = random.unit();
        for endpoint in Endpoint::ALL {
            left -= self.share(endpoint);
            if left < 0.0 {
                return endpoint;
            }
        }
        // Rounding may leave a little: it goes to one that is asked.
        Endpoint::ALL.into_iter().find(|endpoint| self.share(*endpoint) > 0.0).unwrap_or(Endpoint::Recommend)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [0.0; 3];
        for part in text.split(',') {
            let Some((name, weight)) = part.split_once('=') else {
                return Err(format!("'{part}' is not of the form endpoint=weight"));
            };
            let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == name);
            let endpoint = endpoint.ok_or_else(|| {
                format!("there is no endpoint '{name}'; there are recommend, similar and predict")
            })?;
            let weight = weight.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
            weights[endpoint as usize] =
                weight.ok_or_else(|| format!("the weight of '{name}' must be a number from 0 up"))?;
        }
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err("at least one weight must be above 0".to_owned());
        }
        Ok(Self(weights))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [recommend, similar, predict] = self.0;
        write!(f, "recommend={recommend},similar={similar},predict={predict}")
    }
}

/// One request, before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The best items for a user; see [`Route::Recommend`].
    Recommend {
        /// Id of the user.
        user: EntityId,
        /// The place among the known users; `None` for somebody nobody knows.
        known: Option<usize>,
    },
    /// The items most like another; see [`Route::Similar`].
    Similar {
        /// Id of the item.
        item: EntityId,
    },
    /// A user's rating of an item; see [`Route::Predict`].
    Predict {
        /// Id of the user.
        user: EntityId,
        /// Id of the item.
        item: EntityId,
    },
}

impl Question {
    /// The route that answers the question.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Recommend { .. } => Endpoint::Recommend,
            Self::Similar { .. } => Endpoint::Similar,
            Self::Predict { .. } => Endpoint::Predict,
        }
    }

    /// Who is asked for, if it is about somebody.
    #[must_use]
    pub fn user(&self) -> Option<&EntityId> {
        match self {
            Self::Recommend { user, .. } | Self::Predict { user, .. } => Some(user),
            Self::Similar { .. } => None,
        }
    }

    /// Takes what the question asks of a service.
    pub(super) fn with_route<T>(&self, take: impl FnOnce(Route<'_>) -> T) -> T {
        match self {
            Self::Recommend { user, .. } => take(Route::Recommend { user: &user.to_string() }),
            Self::Similar { item } => take(Route::Similar { item: &item.to_string() }),
            Self::Predict { .. } => take(Route::Predict),
        }
    }
}

/// What every request of a simulation has in common.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The face that is asked.
    pub api: Api,
    /// Items that each list is asked for.
    pub n: u32,
    /// More parameters of `recommend`.
    pub parameters: Vec<(String, String)>,
}

impl Asked {
    /// The path of a question, as it is before anything is escaped.
    #[must_use]
    pub fn path(&self, question: &Question) -> String {
        question.with_route(|route| format!("/{}", route.path(self.api).join("/")))
    }

    /// The parameters of a question's query string.
    #[must_use]
    pub fn query(&self, question: &Question) -> Vec<(&str, String)> {
        let more = self.parameters.iter().map(|(name, value)| (name.as_str(), value.clone()));
        match question {
            Question::Recommend { .. } => [("n", self.n.to_string())].into_iter().chain(more).collect(),
            Question::Similar { .. } => vec![("n", self.n.to_string())],
            Question::Predict { .. } => Vec::new(),
        }
    }

    /// All parameters of a question as JSON, those in a body with those in the address.
    #[must_use]
    pub fn params(&self, question: &Question) -> Map<String, Value> {
        if let Question::Predict { user, item } = question {
            return [("user_id", user), (self.api.names().item_id, item)]
                .map(|(name, id)| (name.to_owned(), id_json(id)))
                .into_iter()
                .collect();
        }
        let pairs = self.query(question).into_iter();
        pairs.map(|(name, value)| (name.to_owned(), id_value(&value))).collect()
    }

    /// A parameter's value, if it is given.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// An id as the API has it.
pub(super) fn id_json(id: &EntityId) -> Value {
    match id {
        EntityId::Integer(id) => (*id).into(),
        EntityId::Text(text) => (&**text).into(),
    }
}

/// Who and what questions are drawn from.
#[derive(Debug)]
pub struct Cast {
    /// Users that questions are about.
    pub population: Population,
    /// Items that are asked about; at least one where the mix has such questions.
    pub items: Vec<EntityId>,
    /// How much of the recommend requests are for users nobody knows, 0 to 1.
    pub unknown_ratio: f64,
    /// The weights of the endpoints.
    pub mix: Mix,
}

/// Questions in the order in which they are due.
#[derive(Debug)]
pub struct Plan {
    arrivals: Arrivals,
    cast: Arc<Cast>,
    random: Random,
}

impl Plan {
    /// Questions at these times.
    #[must_use]
    pub fn new(arrivals: Arrivals, cast: Arc<Cast>, seed: u64) -> Self {
        Self { arrivals, cast, random: Random::new(seed, PURPOSE) }
    }

    /// How many questions there are in all.
    #[must_use]
    pub fn in_all(&self) -> u64 {
        self.arrivals.in_all()
    }

    fn question(&mut self) -> Question {
        let (cast, random) = (&self.cast, &mut self.random);
        let population = &cast.population;
        match cast.mix.draw(random) {
            Endpoint::Recommend if random.unit() < cast.unknown_ratio => {
                Question::Recommend { user: population.draw_unknown(random), known: None }
            }
            Endpoint::Recommend => {
                let at = population.draw(random);
                Question::Recommend { user: population.users()[at].id.clone(), known: Some(at) }
            }
            Endpoint::Similar => {
                Question::Similar { item: cast.items[random.below(cast.items.len())].clone() }
            }
            Endpoint::Predict => Question::Predict {
                user: population.users()[population.draw(random)].id.clone(),
                item: cast.items[random.below(cast.items.len())].clone(),
            },
        }
    }
}

impl Iterator for Plan {
    type Item = (Duration, Question);

    fn next(&mut self) -> Option<Self::Item> {
        let due = self.arrivals.next()?;
        Some((due, self.question()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{
        arrivals::Spacing,
        users::{KnownUser, Popularity},
    };

    fn plan(mix: &str, unknown_ratio: f64, seed: u64) -> Vec<(Duration, Question)> {
        let user = |id| KnownUser { id: EntityId::Integer(id), rated: None };
        let users = (1..=20).map(user).collect();
        let cast = Cast {
            population: Population::new(users, Some(20), Popularity::Uniform),
            items: (500..510).map(EntityId::Integer).collect(),
            unknown_ratio,
            mix: mix.parse().unwrap(),
        };
        let arrivals = Arrivals::new(Spacing::Poisson, 1_000.0, Duration::from_secs(10), seed);
        Plan::new(arrivals, Arc::new(cast), seed).collect()
    }

    #[test]
    fn endpoints_and_unknown_users_come_in_their_shares() {
        let questions = plan("recommend=8,similar=1,predict=1", 0.2, 3);
        assert_eq!(questions.len(), 10_000);
        let count = |is: &dyn Fn(&Question) -> bool| questions.iter().filter(|(_, asked)| is(asked)).count();
        let near = |found: usize, expected: usize| found.abs_diff(expected) < 150;
        assert!(near(count(&|asked| asked.endpoint() == Endpoint::Recommend), 8_000));
        assert!(near(count(&|asked| asked.endpoint() == Endpoint::Similar), 1_000));
        assert!(near(count(&|asked| matches!(asked, Question::Recommend { known: None, .. })), 1_600));
        for (_, asked) in &questions {
            match asked {
                Question::Recommend { user, known: Some(at) } => {
                    assert_eq!(*user, EntityId::Integer(*at as i64 + 1));
                }
                Question::Recommend { user, known: None } => assert!(*user > EntityId::Integer(20)),
                Question::Similar { item } | Question::Predict { item, .. } => {
                    assert!((500..510).map(EntityId::Integer).any(|known| known == *item));
                }
            }
        }
    }

    #[test]
    fn questions_follow_from_the_seed() {
        let mix = "recommend=1,predict=1";
        assert_eq!(plan(mix, 0.5, 3), plan(mix, 0.5, 3));
        assert_ne!(plan(mix, 0.5, 3), plan(mix, 0.5, 4));
        assert!(plan("predict=1", 0.5, 3).iter().all(|(_, asked)| asked.endpoint() == Endpoint::Predict));
    }

    #[test]
    fn a_mix_that_means_nothing_is_refused() {
        for (text, part) in [
            ("recommend", "endpoint=weight"),
            ("recommend=1,popular=2", "'popular'"),
            ("recommend=-1", "from 0 up"),
            ("recommend=much", "from 0 up"),
            ("recommend=0", "above 0"),
        ] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!("similar=3,recommend=1".parse::<Mix>().unwrap().share(Endpoint::Similar), 0.75);
    }
}
