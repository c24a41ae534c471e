//! Measuring does not see the future: what is trained while ratings are held out has the bits of what is trained on a data
//! set that never had them, nor the tags that tell of them. For each way of holding out, and for the part of the training
//! ratings that a hybrid learns on.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use shoal_common::ids::EntityId;
use shoal_core::hash::{is_held_out, mix64, pair_hash};
use shoal_proto::v1::*;

use crate::support::{
    Workers,
    import::source,
    models::{ModelRun, Parts, content, item_cf, split},
    train::parameters,
};

const USERS: i64 = 24;
const ITEMS: i64 = 30;
/// Somebody who only writes tags.
const STRANGER: i64 = 900;
const TEST_RATIO: f64 = 0.2;
const VALIDATION_RATIO: f64 = 0.25;

/// What users have said: a pair with its time in seconds.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    user: i64,
    item: i64,
    time: i64,
    /// Stars or a tag.
    what: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Data {
    ratings: Vec<Said>,
    tags: Vec<Said>,
}

fn chance(user: i64, item: i64, salt: u64) -> u64 {
    mix64((user as u64) << 32 ^ item as u64 ^ salt << 50)
}

impl Data {
    fn new() -> Self {
        let (mut ratings, mut tags) = (Vec::new(), Vec::new());
        for user in 1..=USERS {
            for item in 1..=ITEMS {
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
        let strange = (1..=ITEMS).filter(|item| item % 3 == 0);
        tags.extend(strange.map(|item| Said {
            user: STRANGER,
            item,
            time: 9_000_000,
            what: "strange".into(),
        }));
        Self { ratings, tags }
    }

    fn write(&self, folder: &Path) {
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
        for item in 1..=ITEMS {
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

fn hash(id: i64) -> u64 {
    EntityId::Integer(id).hash64()
}

fn pair(of: &Said) -> (i64, i64) {
    (of.user, of.item)
}

/// How ratings are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Random,
    Temporal,
    File,
}

/// What is held out of the data, by its definition.
struct HeldOut {
    pairs: BTreeSet<(i64, i64)>,
    /// By user, when the newest ratings are held out: the time of the first of them.
    cuts: Option<Vec<Option<i64>>>,
}

impl HeldOut {
    fn new(how: How, data: &Data) -> Self {
        let seed = split().seed;
        match how {
            How::Random => {
                let held =
                    |said: &&Said| is_held_out(pair_hash(hash(said.user), hash(said.item), seed), TEST_RATIO);
                Self { pairs: data.ratings.iter().filter(held).map(pair).collect(), cuts: None }
            }
            How::File => {
                // Every seventh rating, and pairs that the data set does not have.
                let of_file = data.ratings.iter().step_by(7).map(pair);
                let unrated = data.tags.iter().map(pair).filter(|of| of.0 != STRANGER);
                let rated: BTreeSet<_> = data.ratings.iter().map(pair).collect();
                let unrated = unrated.filter(|of| !rated.contains(of)).step_by(5);
                Self { pairs: of_file.chain(unrated).collect(), cuts: None }
            }
            How::Temporal => {
                let (mut pairs, mut cuts) = (BTreeSet::new(), vec![None; USERS as usize + 1]);
                for user in 1..=USERS {
                    let mut rated: Vec<&Said> =
                        data.ratings.iter().filter(|said| said.user == user).collect();
                    rated.sort_by_key(|said| (said.time, pair_hash(hash(user), hash(said.item), seed)));
                    let held = ((rated.len() as f64 * TEST_RATIO).round() as usize).min(rated.len() - 1);
                    let newest = rated.split_off(rated.len() - held);
                    cuts[user as usize] = newest.first().map(|said| said.time);
                    pairs.extend(newest.into_iter().map(pair));
                }
                Self { pairs, cuts: Some(cuts) }
            }
        }
    }

    /// The data as it would be if nothing of the future were known; with `validation` less what a hybrid learns on.
    fn known(&self, data: &Data, validation: bool) -> Data {
        let learned_on = |of: (i64, i64)| {
            validation
                && is_held_out(pair_hash(hash(of.0), hash(of.1), mix64(split().seed)), VALIDATION_RATIO)
        };
        let trained = |said: &&Said| !self.pairs.contains(&pair(said)) && !learned_on(pair(said));
        let ratings: Vec<Said> = data.ratings.iter().filter(trained).cloned().collect();
        let rated: BTreeSet<_> = data.ratings.iter().map(pair).collect();
        let trained_on: BTreeSet<_> = ratings.iter().map(pair).collect();
        let is_known = |tag: &&Said| {
            let of = pair(tag);
            if tag.user == STRANGER {
                return true;
            }
            if self.pairs.contains(&of) || (rated.contains(&of) && !trained_on.contains(&of)) {
                return false;
            }
            match self.cuts.as_ref().map(|cuts| cuts[tag.user as usize]) {
                None | Some(None) => tag.time != 0 || self.cuts.is_none() || trained_on.contains(&of),
                Some(Some(cut)) if tag.time != 0 => tag.time < cut,
                Some(Some(_)) => trained_on.contains(&of),
            }
        };
        let tags = data.tags.iter().filter(is_known).cloned().collect();
        Data { ratings, tags }
    }
}

async fn import(workers: &Workers, name: &str, data: &Data) -> DatasetInfo {
    let folder = workers.folder.path().join(name);
    data.write(&folder);
    workers.import(&source(&folder), 5, 4_000).await.unwrap().info
}

/// The folders of ALS (where nothing is to be learned on), item CF and content.
async fn trained(
    workers: &Workers,
    dataset: &DatasetInfo,
    split: SplitParameters,
    validation: f64,
) -> Vec<Parts> {
    let mut folders = Vec::new();
    let run = ModelRun::begin_with(workers, dataset, split.clone(), validation).await.unwrap();
    for similarity in [Similarity::Cosine, Similarity::Pearson] {
        folders.push(run.parts(&run.item_cf(item_cf(similarity)).await.unwrap().path).await);
    }
    folders.push(run.parts(&run.content(content()).await.unwrap().path).await);
    if validation == 0.0 {
        let SplitParameters { test_ratio, test_uri, temporal, .. } = split;
        let als = AlsParameters { test_ratio, test_uri, temporal, ..parameters(4, 2) };
        folders.push(workers.train(dataset, &als).await.unwrap().factors);
    }
    folders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_out_and_what_tells_of_it_reaches_no_model() {
    let workers = Workers::start(2, 1).await;
    let data = Data::new();
    let whole = import(&workers, "whole", &data).await;
    let nothing = SplitParameters { test_ratio: 0.0, ..split() };
    let all_known = trained(&workers, &whole, nothing.clone(), 0.0).await;
    for how in [How::Random, How::Temporal, How::File] {
        let held_out = HeldOut::new(how, &data);
        let mut split = SplitParameters { test_ratio: TEST_RATIO, temporal: how == How::Temporal, ..split() };
        if how == How::File {
            let file = workers.folder.path().join("held-out.csv");
            let pairs = held_out.pairs.iter().map(|(user, item)| format!("{user},{item},3.5,0\n"));
            let text = format!("userId,movieId,rating,timestamp\n{}", pairs.collect::<String>());
            std::fs::write(&file, text).unwrap();
            split.test_uri = file.to_str().unwrap().to_owned();
            split.test_ratio = 0.0;
        }
        for validation in [0.0, VALIDATION_RATIO] {
            let known = held_out.known(&data, validation > 0.0);
            assert!(known.tags.len() < data.tags.len() && known.tags.iter().any(|tag| tag.user == STRANGER));
            let users: BTreeSet<i64> = known.ratings.iter().map(|said| said.user).collect();
            assert_eq!(users.len(), USERS as usize, "a user without ratings would have no row");
            let past = import(&workers, &format!("past-{how:?}-{validation}"), &known).await;
            let found = trained(&workers, &whole, split.clone(), validation).await;
            let without = trained(&workers, &past, nothing.clone(), 0.0).await;
            for (model, (found, without)) in found.iter().zip(&without).enumerate() {
                assert!(
                    found == without,
                    "{how:?}, validation {validation}: model {model} knows of the future"
                );
            }
            assert!(found[2] != all_known[2], "with nothing held out all tags count");
        }
    }
    workers.release().await;
}
