//! A small data set with everything that models look at: ratings, tags (of raters and of a stranger), genres and a genome.

use std::{fmt::Write as _, path::Path};

use shoal_common::ids::EntityId;
use shoal_core::hash::mix64;
use shoal_proto::v1::DatasetInfo;

use super::{Workers, import::source};

/// Somebody who only writes tags.
pub(crate) const STRANGER: i64 = 900;

/// What users have said: a pair with its time in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) user: i64,
    pub(crate) item: i64,
    pub(crate) time: i64,
    /// Stars or a tag.
    pub(crate) what: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Data {
    pub(crate) ratings: Vec<Said>,
    pub(crate) tags: Vec<Said>,
    /// How many there are, rated or not.
    pub(crate) items: i64,
}

fn chance(user: i64, item: i64, salt: u64) -> u64 {
    mix64((user as u64) << 32 ^ item as u64 ^ salt << 50)
}

impl Data {
    /// Of users from 1 and items from 1.
    pub(crate) fn new(users: i64, items: i64) -> Self {
        let (mut ratings, mut tags) = (Vec::new(), Vec::new());
        for user in 1..=users {
            for item in 1..=items {
                let time = 1_000_000 + (chance(user, item, 1) % 5_000) as i64;
                if chance(user, item, 2).is_multiple_of(2) {
                    let what = ((1 + chance(user, item, 3) % 10) as f64 / 2.0).to_string();
                    ratings.push(Said { user, item, time, what });
                }
                // On rated items and on others, before the rating and after it, and some at no known time.
                if chance(user, item, 4).is_multiple_of(2) {
                    let time = match chance(user, item, 5) % 4 {
                        0 => 0,
                        1 => 1_000_000 + (chance(user, item, 6) % 5_000) as i64,
                        _ => time,
                    };
                    tags.push(Said { user, item, time, what: format!("shelf of {user}") });
                }
            }
        }
        let strange = (1..=items).filter(|item| item % 3 == 0);
        tags.extend(strange.map(|item| Said {
            user: STRANGER,
            item,
            time: 9_000_000,
            what: "strange".into(),
        }));
        Self { ratings, tags, items }
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let lines = |header: &str, said: &[Said]| {
            let mut text = format!("{header}\n");
            for Said { user, item, time, what } in said {
                writeln!(text, "{user},{item},{what},{time}").unwrap();
            }
            text
        };
        std::fs::write(folder.join("ratings.csv"), lines("userId,movieId,rating,timestamp", &self.ratings))
            .unwrap();
        std::fs::write(folder.join("tags.csv"), lines("userId,movieId,tag,timestamp", &self.tags)).unwrap();
        let (mut movies, mut scores) =
            ("movieId,title,genres\n".to_owned(), "movieId,tagId,relevance\n".to_owned());
        for item in 1..=self.items {
            let genres = ["Drama", "Comedy|Drama", "Western"][(item % 3) as usize];
            writeln!(movies, "{item},Film {item} ({}),{genres}", 1950 + item).unwrap();
            for tag in 1..=4 {
                writeln!(scores, "{item},{tag},{}", (chance(tag, item, 7) % 100) as f64 / 100.0).unwrap();
            }
        }
        std::fs::write(folder.join("movies.csv"), movies).unwrap();
        std::fs::write(folder.join("genome-scores.csv"), scores).unwrap();
        std::fs::write(folder.join("genome-tags.csv"), "tagId,tag\n1,a\n2,b\n3,c\n4,d\n").unwrap();
    }
}

/// The hash of an id.
pub(crate) fn hash(id: i64) -> u64 {
    EntityId::Integer(id).hash64()
}

pub(crate) fn pair(of: &Said) -> (i64, i64) {
    (of.user, of.item)
}

impl Workers {
    /// Imports what was said.
    pub(crate) async fn import_said(&self, name: &str, data: &Data) -> DatasetInfo {
        let folder = self.folder.path().join(name);
        data.write(&folder);
        self.import(&source(&folder), 5, 4_000).await.unwrap().info
    }
}
