//! One loaded shard of users: their side of queries.

use bytes::Bytes;
use shoal_common::ids::EntityId;
use shoal_format::row::IdRef;
use shoal_proto::v1::{LookupUserReply, Objective};

use super::{factors::FactorPart, numbers::copy, ratings::RatingsPart};

/// A shard of users: their vectors and what they have rated.
#[derive(Debug)]
pub struct UserShard {
    pub(super) factors: FactorPart,
    pub(super) ratings: RatingsPart,
    /// Of a blend: biases where its factors have none.
    pub(super) baselines: Option<FactorPart>,
}

/// A user's side of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UserVectors<'a> {
    /// Empty when the version lacks the objective.
    pub ranking: &'a [f32],
    /// Empty when the version lacks the objective.
    pub rating: &'a [f32],
    /// 0 when the version lacks the rating objective.
    pub rating_bias: f32,
    /// Global item rows the user has rated, ascending.
    pub seen_items: &'a [u32],
    /// How, in the same order.
    pub ratings: &'a [f32],
    /// Training ratings: with none the vectors mean nothing.
    pub train_count: u32,
}

impl UserShard {
    /// How many users the shard has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.factors.rows()
    }

    /// The id of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn id(&self, row: usize) -> IdRef<'_> {
        self.factors.ids().get_ref(row)
    }

    /// The row of a user, if the user is of this shard.
    #[must_use]
    pub fn row(&self, id: &EntityId) -> Option<usize> {
        self.factors.ids().find(id)
    }

    /// A user's vectors, if the user is of this shard.
    #[must_use]
    pub fn user(&self, id: &EntityId) -> Option<UserVectors<'_>> {
        Some(self.vectors(self.row(id)?))
    }

    /// The vectors of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn vectors(&self, row: usize) -> UserVectors<'_> {
        let vector = |objective| self.factors.factors(objective).map_or(&[][..], |factors| factors.row(row));
        let biases = self.factors.rating_biases();
        let biases = biases.or_else(|| self.baselines.as_ref().and_then(FactorPart::rating_biases));
        UserVectors {
            ranking: vector(Objective::Ranking),
            rating: vector(Objective::Rating),
            rating_bias: biases.map_or(0.0, |biases| biases[row]),
            seen_items: self.ratings.rated(row),
            ratings: self.ratings.ratings(row),
            train_count: self.factors.train_counts()[row],
        }
    }
}

impl UserVectors<'_> {
    /// The user's side of a query, as a router is told.
    #[must_use]
    pub fn to_message(&self, with_ratings: bool) -> LookupUserReply {
        let of_user = LookupUserReply {
            seen_items: copy(self.seen_items),
            ratings: if with_ratings { copy(self.ratings) } else { Bytes::new() },
            ..LookupUserReply::default()
        };
        // All of this user's ratings are held out: the vectors are untrained, so the version knows
        // no more of the user than what has been seen.
        if self.train_count == 0 {
            return of_user;
        }
        LookupUserReply {
            known: true,
            ranking_factors: copy(self.ranking),
            rating_factors: copy(self.rating),
            rating_bias: self.rating_bias,
            ..of_user
        }
    }
}
