//! Measuring does not see the future: what is trained while ratings are held out has the bits of what is trained on a data
//! set that never had them, nor the tags that tell of them. For each way of holding out, and for the part of the training
//! ratings that a hybrid learns on.

use std::collections::{BTreeMap, BTreeSet};

use shoal_core::hash::{is_held_out, is_held_out_user, mix64, pair_hash};
use shoal_format::{id_column::IdColumn, row::IdRef, tensor_file::TensorFile};
use shoal_proto::v1::*;

use crate::support::{
    Workers,
    models::{ModelRun, Parts, content, ease, item_cf, split},
    said::{Data, STRANGER, Said, hash, pair},
    train::parameters,
};

const USERS: i64 = 24;
const ITEMS: i64 = 30;
const TEST_RATIO: f64 = 0.2;
const VALIDATION_RATIO: f64 = 0.25;
const USER_SHARE: f64 = 0.3;

/// How ratings are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Random,
    Temporal,
    File,
    /// All ratings of a share of the users are held out.
    Strong,
}

/// What is held out of the data, by its definition.
struct HeldOut {
    pairs: BTreeSet<(i64, i64)>,
    /// Users of whom nothing is trained on.
    users: BTreeSet<i64>,
    /// By user, when the newest ratings are held out: the time of the first of them.
    cuts: Option<Vec<Option<i64>>>,
}

impl HeldOut {
    fn nothing() -> Self {
        Self { pairs: BTreeSet::new(), users: BTreeSet::new(), cuts: None }
    }

    fn new(how: How, data: &Data) -> Self {
        let seed = split().seed;
        match how {
            How::Random => {
                let held =
                    |said: &&Said| is_held_out(pair_hash(hash(said.user), hash(said.item), seed), TEST_RATIO);
                Self { pairs: data.ratings.iter().filter(held).map(pair).collect(), ..Self::nothing() }
            }
            How::File => {
                // Every seventh rating, and pairs that the data set does not have.
                let of_file = data.ratings.iter().step_by(7).map(pair);
                let unrated = data.tags.iter().map(pair).filter(|of| of.0 != STRANGER);
                let rated: BTreeSet<_> = data.ratings.iter().map(pair).collect();
                let unrated = unrated.filter(|of| !rated.contains(of)).step_by(5);
                Self { pairs: of_file.chain(unrated).collect(), ..Self::nothing() }
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
                Self { pairs, cuts: Some(cuts), ..Self::nothing() }
            }
            How::Strong => {
                let users = (1..=USERS).filter(|user| is_held_out_user(hash(*user), USER_SHARE, seed));
                let users: BTreeSet<i64> = users.collect();
                let of_them = data.ratings.iter().filter(|said| users.contains(&said.user));
                Self { pairs: of_them.map(pair).collect(), users: users.clone(), ..Self::nothing() }
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
            if self.users.contains(&tag.user)
                || self.pairs.contains(&of)
                || (rated.contains(&of) && !trained_on.contains(&of))
            {
                return false;
            }
            match self.cuts.as_ref().map(|cuts| cuts[tag.user as usize]) {
                None | Some(None) => tag.time != 0 || self.cuts.is_none() || trained_on.contains(&of),
                Some(Some(cut)) if tag.time != 0 => tag.time < cut,
                Some(Some(_)) => trained_on.contains(&of),
            }
        };
        let tags = data.tags.iter().filter(is_known).cloned().collect();
        Data { ratings, tags, items: data.items }
    }
}

/// The bits of every number of some users, by id.
type UserRows = Vec<(i64, Vec<u32>)>;

/// Parts of items as they are, and of users the rows of all but these.
fn of_users_but(parts: &Parts, users: &BTreeSet<i64>) -> (Parts, BTreeMap<String, UserRows>) {
    let (of_users, of_items): (Parts, Parts) =
        parts.clone().into_iter().partition(|(path, _)| path.starts_with("user"));
    let rows = |(path, bytes): (String, bytes::Bytes)| {
        let file = TensorFile::from_bytes(&path, &bytes).unwrap();
        let ids = IdColumn::read(&file).unwrap();
        let mut rows = UserRows::new();
        for row in 0..ids.len() {
            let IdRef::Integer(id) = ids.get_ref(row) else { panic!("an id is a text") };
            let mut numbers = vec![file.vector::<u32>("train_counts").unwrap()[row]];
            for name in ["bias", "rating_bias"].into_iter().filter(|name| file.has(name)) {
                numbers.push(file.vector::<f32>(name).unwrap()[row].to_bits());
            }
            for name in ["ranking", "rating"].into_iter().filter(|name| file.has(name)) {
                let (values, rank) = file.matrix::<f32>(name, ids.len()).unwrap();
                numbers.extend(values[row * rank..][..rank].iter().map(|value| value.to_bits()));
            }
            assert!(numbers.len() > 1, "{path} says nothing of {id}");
            rows.push((id, numbers));
        }
        rows.retain(|(id, _)| !users.contains(id));
        (path, rows)
    };
    (of_items, of_users.into_iter().map(rows).collect())
}

/// The folders of item CF, content, EASE and (where nothing is to be learned on) ALS.
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
    let folder = run.content(content()).await.unwrap();
    let mut of_content = run.parts(&folder.path).await;
    let of_ease = run.parts(&run.ease(ease(20)).await.unwrap().0.path).await;
    // What a cosine is worth is learned too.
    of_content.insert("slope".to_owned(), folder.rating_slope.to_le_bytes().to_vec().into());
    folders.extend([of_content, of_ease]);
    if validation == 0.0 {
        for order in [SweepOrder::UsersFirst, SweepOrder::ItemsFirst] {
            let als = AlsParameters { order: order.into(), ..parameters(4, 2) };
            folders.push(workers.train_split(dataset, &als, &split).await.unwrap().factors);
        }
        // A solver that begins where rows were.
        let solver = AlsSolver::ConjugateGradients.into();
        let als = AlsParameters { solver, solver_steps: 2, ..parameters(4, 3) };
        folders.push(workers.train_split(dataset, &als, &split).await.unwrap().factors);
    }
    folders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_out_and_what_tells_of_it_reaches_no_model() {
    let workers = Workers::start(2, 1).await;
    let data = Data::new(USERS, ITEMS);
    let whole = workers.import_said("whole", &data).await;
    let nothing = SplitParameters { test_ratio: 0.0, ..split() };
    let all_known = trained(&workers, &whole, nothing.clone(), 0.0).await;
    for how in [How::Random, How::Temporal, How::File, How::Strong] {
        let held_out = HeldOut::new(how, &data);
        let mut split = SplitParameters { test_ratio: TEST_RATIO, temporal: how == How::Temporal, ..split() };
        if how == How::Strong {
            split.held_out_user_share = USER_SHARE;
            assert!((3..USERS as usize - 3).contains(&held_out.users.len()), "{:?}", held_out.users);
        }
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
            let trained_on = USERS as usize - held_out.users.len();
            assert_eq!(users.len(), trained_on, "a user without ratings would have no row");
            let past = workers.import_said(&format!("past-{how:?}-{validation}"), &known).await;
            let found = trained(&workers, &whole, split.clone(), validation).await;
            let without = trained(&workers, &past, nothing.clone(), 0.0).await;
            let scale = |dataset: &DatasetInfo| (dataset.rating_min, dataset.rating_max, dataset.items);
            assert_eq!(scale(&past), scale(&whole));
            for (model, (found, without)) in found.iter().zip(&without).enumerate() {
                let (found, without) =
                    (of_users_but(found, &held_out.users), of_users_but(without, &held_out.users));
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
