//! Filters, lists by time, many at once, and rows for users whom the version does not know.

use std::collections::HashMap;

use shoal_engine::{
    als::{
        fit::{Fit, RatingRows},
        gramian::{add_in_order, shard_gramian},
        half_step::HalfStep,
        implicit::{Confidence, Scaling, Settings},
        kernel::Kernel,
        problem::Solver,
    },
    popularity::{Decay, Window, recent, trend},
    preference::Preference,
};
use shoal_proto::v1::{
    EntityIds, FoldInRequest, ItemFactsRequest, ItemFilter, LookupItemsRequest, LookupUsersRequest,
    TopItemsManyRequest, TopItemsReply,
};
use tonic::transport::Channel;

use super::{
    fixture::{ITEMS, RANK, timestamp, year},
    *,
};

const VERSION: &str = "als_model_v1";

async fn start(world: &World) -> (TestCoordinator, TestWorker, WorkerServingClient<Channel>) {
    let coordinator = TestCoordinator::start(world.metadata(1, vec![world.version.clone()])).await;
    let worker = TestWorker::start(world, &coordinator.address).await;
    coordinator.all_loaded(&[VERSION]).await;
    let client = WorkerServingClient::new(worker.channel.clone());
    (coordinator, worker, client)
}

fn number(id: Option<v1::EntityId>) -> i64 {
    match EntityId::try_from(id.unwrap()).unwrap() {
        EntityId::Integer(id) => id,
        EntityId::Text(text) => panic!("'{text}' is no number"),
    }
}

/// All shards' hits in one list, best first.
fn merged(reply: TopItemsReply, n: usize) -> Vec<(f32, i64)> {
    let hits = reply.shards.into_iter().flat_map(|shard| shard.hits);
    let mut hits: Vec<(f32, i64)> = hits.map(|hit| (hit.score, number(hit.item))).collect();
    hits.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
    hits.truncate(n);
    hits
}

/// Whether an item, by its id, passes a filter.
type Passes = Box<dyn Fn(i64) -> bool>;

fn filters() -> Vec<(ItemFilter, Passes)> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let ids = |ids: &[i64]| ids.iter().filter_map(|id| integer(*id)).collect::<Vec<_>>();
    let has_genres = |id: i64| !genres(id).is_empty();
    let allowed = [4, 8, 15, 16, 23, 42, 9_999];
    vec![
        (ItemFilter { genres: texts(&["comedy"]), ..Default::default() }, Box::new(has_genres)),
        (ItemFilter { genres: texts(&["Western"]), ..Default::default() }, Box::new(|_| false)),
        (
            ItemFilter { exclude_genres: texts(&["FILM-NOIR"]), ..Default::default() },
            Box::new(move |id| !has_genres(id)),
        ),
        (
            ItemFilter { year_min: Some(1990), year_max: Some(2000), ..Default::default() },
            Box::new(|id| year(id).is_some_and(|year| (1990..=2000).contains(&year))),
        ),
        (
            ItemFilter { year_max: Some(1995), exclude_ids: ids(&[2, 12]), ..Default::default() },
            Box::new(|id| year(id).is_some_and(|year| year <= 1995) && id != 2 && id != 12),
        ),
        (
            ItemFilter {
                allow_ids: Some(EntityIds { ids: ids(&allowed) }),
                genres: texts(&["Comedy"]),
                ..Default::default()
            },
            Box::new(move |id| allowed.contains(&id) && has_genres(id)),
        ),
        (ItemFilter { allow_ids: Some(EntityIds::default()), ..Default::default() }, Box::new(|_| false)),
    ]
}

#[tokio::test]
async fn filtered_lists_are_those_of_brute_force() {
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    let (user, like) = (world.user(11), world.item(23));
    for kind in [ScoreKind::Ranking, ScoreKind::Rating, ScoreKind::Cosine, ScoreKind::Popularity] {
        for (filter, admits) in filters() {
            for n in [3, 200] {
                let request =
                    TopItemsRequest { filter: Some(filter.clone()), ..request(kind, user, like, n) };
                let reply = client.top_items(request).await.unwrap().into_inner();
                let mut expected = brute_force(&world, kind, user, like);
                expected.retain(|(_, id)| admits(*id));
                expected.truncate(n as usize);
                assert_eq!(merged(reply, n as usize), expected, "{kind:?} {filter:?}");
            }
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn hits_carry_the_factors_that_were_scored() {
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    for kind in [ScoreKind::Ranking, ScoreKind::Rating, ScoreKind::Popularity] {
        let request =
            TopItemsRequest { with_factors: true, ..request(kind, world.user(11), world.item(23), 5) };
        let reply = client.top_items(request).await.unwrap().into_inner();
        for hit in reply.shards.into_iter().flat_map(|shard| shard.hits) {
            let item = world.item(number(hit.item));
            let expected = if kind == ScoreKind::Rating { &item.rating } else { &item.ranking };
            assert_eq!(&vector_of::<f32>(&hit.factors), expected);
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn lists_by_time_are_those_of_brute_force() {
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    let times = |item: &TrueRow| -> Vec<i64> {
        item.rated.iter().map(|rated| timestamp(item.row, rated.0)).collect()
    };
    let facts = ItemFactsRequest { version: VERSION.to_owned(), shards: (0..SHARDS).collect() };
    let facts = client.item_facts(facts).await.unwrap().into_inner();
    let newest = facts.shards.iter().map(|shard| shard.newest_unix_s).max().unwrap();
    assert_eq!(Some(newest), world.items.iter().flat_map(times).max());

    let seconds = 8_000_000;
    let timed = |score: ScoreKind, window_seconds: i64| TopItemsRequest {
        version: VERSION.to_owned(),
        shards: (0..SHARDS).collect(),
        score: score.into(),
        n: 200,
        window_seconds,
        newest_unix_s: newest,
        ..Default::default()
    };
    let best = |score: &dyn Fn(&TrueRow) -> Option<f32>| {
        let scored = world.items.iter().filter_map(|item| Some((score(item)?, item.id)));
        let mut scored: Vec<(f32, i64)> = scored.collect();
        scored.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        scored
    };

    let reply = client.top_items(timed(ScoreKind::Popularity, seconds)).await.unwrap().into_inner();
    let expected = best(&|item| {
        let ratings: Vec<f32> = item.rated.iter().map(|rated| rated.1).collect();
        let found = recent(&ratings, &times(item), Window { newest, seconds }, world.dataset.rating_mean);
        (found.ratings > 0).then_some(found.damped_mean)
    });
    assert!((1..80).contains(&expected.len()), "the window holds some");
    assert_eq!(merged(reply, 200), expected);

    let reply = client.top_items(timed(ScoreKind::Trending, seconds)).await.unwrap().into_inner();
    let decay = Decay { newest, half_life_seconds: seconds as f64 };
    let expected = best(&|item| {
        let times = times(item);
        times.iter().any(|time| *time != 0).then(|| trend(&times, decay))
    });
    assert_eq!(merged(reply, 200), expected);

    let reply = client.top_items(timed(ScoreKind::Latest, 0)).await.unwrap().into_inner();
    let listed = merged(reply, 200);
    let years: Vec<i32> = listed.iter().map(|(_, id)| year(*id).unwrap_or_default()).collect();
    assert!(years.is_sorted_by(|a, b| a >= b), "{years:?}");
    let with_year = (1..=ITEMS).filter(|id| year(*id).is_some() || !world.item(*id).rated.is_empty());
    assert_eq!(listed.len(), with_year.count());
    worker.stop().await;
}

#[tokio::test]
async fn many_queries_have_the_answers_of_each_alone() {
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    let queries: Vec<TopItemsRequest> = world
        .users
        .iter()
        .zip([ScoreKind::Ranking, ScoreKind::Rating, ScoreKind::Cosine, ScoreKind::Popularity].iter().cycle())
        .zip(1..)
        .map(|((user, kind), n)| request(*kind, user, world.item(23), n))
        .collect();
    let many =
        TopItemsManyRequest { version: VERSION.to_owned(), shards: vec![3, 1, 77], queries: queries.clone() };
    let reply = client.top_items_many(many).await.unwrap().into_inner();
    assert_eq!(reply.shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [3, 1, 77]);
    let error = reply.shards[2].error.as_ref().unwrap();
    assert!(error.retryable && error.reason.contains("77"));
    for (at, query) in queries.iter().enumerate() {
        let alone = TopItemsRequest { shards: vec![3, 1, 77], ..query.clone() };
        let alone = client.top_items(alone).await.unwrap().into_inner();
        for (alone, many) in alone.shards.iter().zip(&reply.shards[..2]) {
            assert_eq!(many.queries.len(), queries.len());
            assert_eq!(alone.hits, many.queries[at].hits);
        }
    }
    worker.stop().await;
}

/// Two bytes for each of half a million empty queries cost hundreds of megabytes where they are decoded.
#[tokio::test]
async fn empty_queries_without_number_are_refused_unread() {
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    let many = |queries| TopItemsManyRequest {
        version: VERSION.to_owned(),
        shards: vec![0],
        queries: vec![TopItemsRequest::default(); queries],
    };
    let refused = client.top_items_many(many(500_000)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    assert!(refused.message().contains("send fewer at a time"), "{refused:?}");
    // As many as fit into the least that a request may cost are counted.
    let refused = client.top_items_many(many(8_193)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    // A message that is larger than any honest one is not even taken.
    let large = TopItemsRequest { exclude_rows: vec![0; 9 << 20].into(), ..TopItemsRequest::default() };
    let refused = client.top_items(large).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    worker.stop().await;
}

/// So many that threads share the shards.
#[tokio::test]
async fn thousands_of_queries_have_the_answers_of_each_alone() {
    const QUERIES: usize = 5_000;
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    let kinds = [ScoreKind::Ranking, ScoreKind::Rating, ScoreKind::Cosine];
    let different: Vec<TopItemsRequest> = world
        .users
        .iter()
        .zip(kinds.iter().cycle())
        .zip([1, 2, 3, 4, 5].iter().cycle())
        .map(|((user, kind), n)| request(*kind, user, world.item(23), *n))
        .collect();
    let shards: Vec<u32> = vec![2, 0, 3, 1];
    let queries: Vec<TopItemsRequest> = different.iter().cycle().take(QUERIES).cloned().collect();
    let many = TopItemsManyRequest { version: VERSION.to_owned(), shards: shards.clone(), queries };
    let reply = client.top_items_many(many).await.unwrap().into_inner();
    for (at, query) in different.iter().enumerate() {
        let alone = TopItemsRequest { shards: shards.clone(), ..query.clone() };
        let alone = client.top_items(alone).await.unwrap().into_inner();
        for (alone, many) in alone.shards.iter().zip(&reply.shards) {
            assert_eq!(many.queries.len(), QUERIES);
            for same in many.queries.iter().skip(at).step_by(different.len()) {
                assert_eq!(same.hits, alone.hits);
            }
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn many_lookups_have_the_answers_of_each_alone() {
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    let ids: Vec<i64> = vec![14, 3, 9_999, 11, 40, 7];
    let shard_of = |id: i64| EntityId::Integer(id).shard(SHARDS);
    let request = LookupUsersRequest {
        version: VERSION.to_owned(),
        shards: vec![2, 0, 3, 1],
        users: ids.iter().filter_map(|id| integer(*id)).collect(),
        with_ratings: true,
    };
    let reply = client.lookup_users(request).await.unwrap().into_inner();
    let mut found = 0;
    for shard in &reply.shards {
        let own = ids.iter().filter(|id| shard_of(**id) == shard.shard);
        for (id, user) in own.zip(&shard.users) {
            let lookup = LookupUserRequest { version: VERSION.to_owned(), user: integer(*id) };
            let alone = client.lookup_user(lookup).await.unwrap().into_inner();
            assert_eq!(LookupUserReplyWithout::from(user), LookupUserReplyWithout::from(&alone));
            let ratings: Vec<f32> = vector_of(&user.ratings);
            let known = world.users.iter().find(|row| row.id == *id);
            let expected: Vec<f32> =
                known.map(|row| row.rated.iter().map(|rated| rated.1).collect()).unwrap_or_default();
            assert_eq!(ratings, expected);
            found += 1;
        }
    }
    assert_eq!(found, ids.len());

    let rows: Vec<u32> = vec![0, 5, 6, 44, 89, 5_000];
    let request = LookupItemsRequest {
        version: VERSION.to_owned(),
        shards: (0..SHARDS).collect(),
        items: ids.iter().filter_map(|id| integer(*id)).collect(),
        rows: bytes_of(&rows),
    };
    let reply = client.lookup_items(request).await.unwrap().into_inner();
    for shard in &reply.shards {
        let by_id = ids.iter().filter(|id| shard_of(**id) == shard.shard).copied();
        let by_row = world.items.iter().filter(|item| item.shard == shard.shard && rows.contains(&item.row));
        let expected: Vec<i64> = by_id.chain(by_row.map(|item| item.id)).collect();
        assert_eq!(shard.items.len(), expected.len());
        for (id, item) in expected.into_iter().zip(&shard.items) {
            let lookup = LookupItemRequest { version: VERSION.to_owned(), item: integer(id) };
            assert_eq!(&client.lookup_item(lookup).await.unwrap().into_inner(), item);
        }
    }
    worker.stop().await;
}

/// What a lookup says besides the ratings.
#[derive(Debug, PartialEq)]
struct LookupUserReplyWithout<'a>(bool, &'a Bytes, &'a Bytes, f32, &'a Bytes);

impl<'a> From<&'a v1::LookupUserReply> for LookupUserReplyWithout<'a> {
    fn from(user: &'a v1::LookupUserReply) -> Self {
        Self(user.known, &user.ranking_factors, &user.rating_factors, user.rating_bias, &user.seen_items)
    }
}

#[tokio::test]
async fn a_folded_in_row_is_the_half_steps() {
    let world = World::new().await;
    let (_coordinator, worker, mut client) = start(&world).await;
    let facts = ItemFactsRequest { version: VERSION.to_owned(), shards: (0..SHARDS).rev().collect() };
    let facts = client.item_facts(facts).await.unwrap().into_inner();
    let by_shard: HashMap<u32, Vec<f64>> =
        facts.shards.iter().map(|shard| (shard.shard, vector_of(&shard.gramian))).collect();
    let gramian = add_in_order((0..SHARDS).map(|shard| &by_shard[&shard][..]), RANK);
    // The same from what was written.
    let partials: Vec<Vec<f64>> = (0..SHARDS)
        .map(|shard| {
            let rows = world.items.iter().filter(|item| item.shard == shard);
            let rows: Vec<f32> = rows.flat_map(|item| item.ranking.clone()).collect();
            shard_gramian(Kernel::detect(), &rows, RANK)
        })
        .collect();
    assert_eq!(gramian, add_in_order(partials.iter().map(Vec::as_slice), RANK));

    let all: Vec<f32> = world.items.iter().flat_map(|item| item.ranking.clone()).collect();
    let settings = Settings {
        rank: RANK,
        regularization: 0.01,
        scaling: Scaling::Ials,
        confidence: Confidence::Ials,
        preference: Preference::Observed,
        unobserved_weight: 0.1,
        alpha: 0.5,
        regularization_exponent: 1.0,
        other_rows: ITEMS as u64,
    };
    for user in [3, 11, 29] {
        let rated = &world.user(user).rated;
        let (slots, ratings): (Vec<u32>, Vec<f32>) = rated.iter().copied().unzip();
        let fit = Fit::Implicit { settings: &settings, fixed: &all, gramian: &gramian };
        let rows = RatingRows { indptr: &[0, slots.len() as u64], slots: &slots, ratings: &ratings };
        let mut expected = vec![0.0; RANK];
        HalfStep::new(Kernel::detect(), fit, Solver::Cholesky, rows).solve(0..1, &mut expected).unwrap();
        let items: Vec<&TrueRow> = slots.iter().map(|slot| &world.items[*slot as usize]).collect();
        let explained = world.item(23);
        let request = FoldInRequest {
            version: VERSION.to_owned(),
            ranking_factors: bytes_of(
                &items.iter().flat_map(|item| item.ranking.clone()).collect::<Vec<_>>(),
            ),
            rating_factors: bytes_of(&items.iter().flat_map(|item| item.rating.clone()).collect::<Vec<_>>()),
            rating_biases: bytes_of(&items.iter().map(|item| item.bias).collect::<Vec<_>>()),
            ratings: bytes_of(&ratings),
            gramian: bytes_of(&gramian),
            explain: bytes_of(&explained.ranking),
            explain_objective: Objective::Ranking.into(),
        };
        let folded = client.fold_in(request.clone()).await.unwrap().into_inner();
        assert_eq!(vector_of::<f32>(&folded.ranking_factors), expected, "user {user}");
        assert_eq!(vector_of::<f32>(&folded.rating_factors).len(), RANK);
        let parts: Vec<f32> = vector_of(&folded.contributions);
        assert_eq!(parts.len(), ratings.len());
        let score = dot(&expected, &explained.ranking);
        assert!((parts.iter().sum::<f32>() - score).abs() < 1e-3, "{parts:?} do not sum to {score}");

        let short = FoldInRequest { ratings: bytes_of(&ratings[1..]), ..request.clone() };
        let refused = client.fold_in(short).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("ranking_factors"), "{refused}");
        let gone = FoldInRequest { version: "als_model_v9".to_owned(), ..request };
        assert!(is_version_missing(&client.fold_in(gone).await.unwrap_err()));
    }
    worker.stop().await;
}
