//! The same judgement for every model: a user's list, with the popularity and random baselines beside it,
//! and the sums over users.
//!
//! A user of whom no rating is known is a *newcomer*: no model knows anything of them and all would be
//! served the popularity list. They are counted apart, by what that list is worth to them.

use super::{
    LIST_LENGTH,
    baselines::random_list,
    lists::{CUTOFFS, RankingScore, diversity, judge, novelty},
    popular_list,
};

/// What lists are drawn from and judged by.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue<'a> {
    /// Training ratings per global item row.
    pub train_counts: &'a [u32],
    /// [`super::popularity_order`] of those counts.
    pub popular: &'a [u32],
    /// Users with training ratings.
    pub users: u64,
    /// How long lists are.
    pub list_length: usize,
    /// Seed of the random baseline.
    pub seed: u64,
}

/// One user with held-out ratings.
#[derive(Debug, Clone, Copy)]
pub struct JudgedUser<'a> {
    /// Hash of the user's id.
    pub hash: u64,
    /// Global item rows that the user is known to have rated, ascending.
    pub known: &'a [u32],
    /// Held-out global item rows, ascending, at least one.
    pub relevant: &'a [u32],
}

/// What one list is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ListOutcome {
    /// At each of [`CUTOFFS`].
    pub at: [RankingScore; CUTOFFS.len()],
    /// [`novelty`] of the first [`LIST_LENGTH`] of the list.
    pub novelty: f64,
    /// [`diversity`] of the first [`LIST_LENGTH`] of the list.
    pub diversity: f64,
}

impl ListOutcome {
    /// What the first [`LIST_LENGTH`] of the list score.
    #[must_use]
    pub fn at_list_length(&self) -> RankingScore {
        const { assert!(CUTOFFS[1] == LIST_LENGTH) };
        self.at[1]
    }
}

/// What a model's list and the baselines' are worth to one user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UserOutcome {
    /// Whether no rating of the user is known; then the model's outcome is not counted.
    pub newcomer: bool,
    /// Of the list that the model makes.
    pub model: ListOutcome,
    /// Of the list of the most rated items.
    pub popularity: ListOutcome,
    /// Of a list of items that are drawn evenly.
    pub random: ListOutcome,
}

impl Catalogue<'_> {
    /// Judges a model's list (best first, cut at the length of lists) and the baselines' for one user.
    /// `similarity` of two item rows, 0 to 1, is what diversity is measured by.
    #[must_use]
    pub fn judge(
        &self,
        list: &[u32],
        user: JudgedUser<'_>,
        similarity: impl Fn(u32, u32) -> f64,
    ) -> UserOutcome {
        let length = self.list_length;
        let popular: Vec<u32> = popular_list(self.popular, user.known, length).collect();
        let random = random_list(length, self.train_counts, user.known, user.hash, self.seed);
        let outcome = |list: &[u32]| {
            let first = &list[..list.len().min(LIST_LENGTH)];
            ListOutcome {
                at: judge(list, user.relevant),
                novelty: novelty(first, self.train_counts, self.users),
                diversity: diversity(first, &similarity),
            }
        };
        UserOutcome {
            newcomer: user.known.is_empty(),
            model: outcome(&list[..list.len().min(length)]),
            popularity: outcome(&popular),
            random: outcome(&random),
        }
    }
}

/// Sums over the lists of several users.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ListSums {
    /// How many users' lists were added.
    pub users: u64,
    /// Their scores at each of [`CUTOFFS`].
    pub at: [RankingScore; CUTOFFS.len()],
    /// The squares of their scores, from which intervals follow.
    pub squares: [RankingScore; CUTOFFS.len()],
    /// Σ novelty, of which each list has one.
    pub novelty: f64,
    /// Σ diversity, of which each list has one.
    pub diversity: f64,
}

impl ListSums {
    /// Adds a user's list.
    pub fn add(&mut self, outcome: &ListOutcome) {
        self.users += 1;
        for ((sum, squares), score) in self.at.iter_mut().zip(&mut self.squares).zip(&outcome.at) {
            sum.add(score);
            squares.add(&score.squared());
        }
        self.novelty += outcome.novelty;
        self.diversity += outcome.diversity;
    }
}

/// Sums over the users of a shard, added in row order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RankingSums {
    /// The model's lists for users of whom ratings are known.
    pub model: ListSums,
    /// The popularity baseline's for the same users.
    pub popularity: ListSums,
    /// The random baseline's for the same users.
    pub random: ListSums,
    /// What newcomers are served: the popularity list.
    pub newcomers: ListSums,
}

impl RankingSums {
    /// Adds the outcome of one more user.
    pub fn add(&mut self, user: &UserOutcome) {
        if user.newcomer {
            self.newcomers.add(&user.popularity);
            return;
        }
        self.model.add(&user.model);
        self.popularity.add(&user.popularity);
        self.random.add(&user.random);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::popularity_order, *};

    #[test]
    fn newcomers_are_counted_apart_and_never_as_the_models() {
        let train_counts = [5, 3, 0, 1];
        let popular = popularity_order(&train_counts);
        let catalogue = Catalogue {
            train_counts: &train_counts,
            popular: &popular,
            users: 8,
            list_length: LIST_LENGTH,
            seed: 1,
        };
        let mut sums = RankingSums::default();
        let known = JudgedUser { hash: 1, known: &[0], relevant: &[3] };
        let newcomer = JudgedUser { hash: 2, known: &[], relevant: &[0] };
        let unlike = |_, _| 0.0;
        sums.add(&catalogue.judge(&[3, 1], known, unlike));
        sums.add(&catalogue.judge(&[1], newcomer, unlike));
        assert_eq!(
            (sums.model.users, sums.popularity.users, sums.random.users, sums.newcomers.users),
            (1, 1, 1, 1)
        );
        // The model put the held-out item first, popularity second after leaving out item 0.
        assert_eq!((sums.model.at[0].ndcg, sums.model.at[0].reciprocal_rank), (1.0, 1.0));
        assert_eq!(sums.popularity.at[0].reciprocal_rank, 0.5);
        // The newcomer is served the most rated item, which is the one held out.
        assert_eq!(sums.newcomers.at[0].reciprocal_rank, 1.0);
        assert_eq!(sums.model.diversity, 1.0);
        // The square of a reciprocal rank of a half.
        assert_eq!(sums.popularity.squares[0].reciprocal_rank, 0.25);
    }

    #[test]
    fn longer_lists_are_judged_further_and_are_as_novel_as_their_beginning() {
        let train_counts = vec![1; 200];
        let popular = popularity_order(&train_counts);
        let of = |list_length| Catalogue {
            train_counts: &train_counts,
            popular: &popular,
            users: 8,
            list_length,
            seed: 1,
        };
        let list: Vec<u32> = (1..150).collect();
        // Places 1, 30 and 90 of the list.
        let user = JudgedUser { hash: 1, known: &[0], relevant: &[1, 30, 90] };
        let judge = |length| of(length).judge(&list, user, |a, b| f64::from(u8::from(a + b > 41)));
        let (short, long) = (judge(LIST_LENGTH), judge(100));
        let recalls = |outcome: &ListOutcome| outcome.at.map(|at| (at.recall * 3.0).round());
        assert_eq!(recalls(&long.model), [1.0, 1.0, 2.0, 3.0]);
        assert_eq!(recalls(&short.model)[..2], [1.0, 1.0]);
        assert_eq!((short.model.novelty, short.model.diversity), (long.model.novelty, long.model.diversity));
        assert_eq!(long.model.at_list_length(), long.model.at[1]);
    }
}
