//! Which tags may be known while ratings are held out.
//!
//! A tag says that its user has seen the item: whoever knows the tag of a held-out pair knows the answer. So the tags of
//! pairs that are not trained on do not count; neither does, where the newest ratings are held out, what a user wrote from
//! their first held-out rating on, nor any tag of a user who is held out. Tags of people without ratings always count:
//! nothing of theirs is held out.

use shoal_common::ids::EntityId;
use shoal_format::id_column::IdColumn;

use super::{
    held_out_rows::HeldOutRows,
    split::{HeldOutUsers, Test},
    split_times::SplitTimes,
    training_side::TrainingSide,
};
use crate::exchange::routing::SideShards;

/// What is needed to tell the tags that may be known.
#[derive(Debug)]
pub(super) struct KnownTags {
    /// The ids of the users of each shard, by shard.
    user_ids: Vec<IdColumn>,
    /// Global number of each user shard's first row.
    firsts: Vec<u32>,
    /// The global row of each slot that items' ratings name.
    user_of_slot: Vec<u32>,
    /// Where the newest ratings are held out.
    cuts: Option<SplitTimes>,
    /// Where users are held out.
    held_out_users: Option<HeldOutUsers>,
    /// The pairs that a held-out file names, by own item row: the data set need not have them.
    given: Option<HeldOutRows>,
}

impl KnownTags {
    /// For users of these shards, whose ids are given by shard.
    pub(super) fn new(
        users: &SideShards,
        user_ids: Vec<IdColumn>,
        user_of_slot: Vec<u32>,
        test: Test,
        given: Option<HeldOutRows>,
    ) -> Self {
        let firsts = (0..users.count()).map(|shard| users.shard_rows(shard).start).collect();
        let (cuts, held_out_users) = match test {
            Test::Newest(cuts) => (Some(cuts), None),
            Test::OfUsers(users) => (None, Some(users)),
            Test::Ratio { .. } | Test::Given => (None, None),
        };
        Self { user_ids, firsts, user_of_slot, cuts, held_out_users, given }
    }

    /// Whether a tag may be known that a user gave the item of an own row at this time, in seconds since the epoch (0: not
    /// known). `items` are the training ratings, with those kept that are not trained on.
    pub(super) fn may_be_known(&self, items: &TrainingSide, row: usize, user: &EntityId, time: i64) -> bool {
        let hash = user.hash64();
        let Some(user) = self.row_of(user) else { return true };
        if self.held_out_users.is_some_and(|users| users.has(hash)) {
            return false;
        }
        let is_given = self.given.as_ref().is_some_and(|given| given.row(row).binary_search(&user).is_ok());
        if is_given || items.untrained_users(row).binary_search(&user).is_ok() {
            return false;
        }
        match &self.cuts {
            None => true,
            // When it was written nobody knows: it is as old as its rating.
            Some(_) if time == 0 => self.is_trained(items, row, user),
            Some(cuts) => !cuts.is_behind(user, time),
        }
    }

    /// The global row of a user with ratings.
    fn row_of(&self, user: &EntityId) -> Option<u32> {
        let shard = user.shard(self.user_ids.len() as u32) as usize;
        // Rows of a side are counted in a u32.
        self.user_ids[shard].find(user).map(|row| self.firsts[shard] + row as u32)
    }

    fn is_trained(&self, items: &TrainingSide, row: usize, user: u32) -> bool {
        // Slots stand in the order of a row's ratings, which is that of the users.
        let slots = items.rating_rows().row(row).slots;
        slots.binary_search_by_key(&user, |&slot| self.user_of_slot[slot as usize]).is_ok()
    }
}
