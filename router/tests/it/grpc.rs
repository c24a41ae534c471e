//! The same over gRPC, with health, reflection and the caller's deadline.

use std::time::Duration;

use shoal_common::ids::EntityId;
use shoal_proto::v1::{recommender_client::RecommenderClient, *};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::fixture::{Cluster, PATIENCE, Setup, V1, world};

pub(crate) async fn channel(cluster: &Cluster) -> Channel {
    let address = format!("http://{}", cluster.router.grpc);
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

pub(crate) fn integer(id: i64) -> Option<shoal_proto::v1::EntityId> {
    Some(EntityId::Integer(id).into())
}

fn text(id: &str) -> Option<shoal_proto::v1::EntityId> {
    Some(EntityId::Text(id.into()).into())
}

#[tokio::test]
async fn answers_are_those_of_http() {
    let cluster = Cluster::start(Setup::default()).await;
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let (user, item) = (cluster.world.user(1), cluster.world.item(5));

    let request = RecommendRequest { user_id: integer(1), n: 7, ..Default::default() };
    let reply = client.recommend(request).await.unwrap().into_inner();
    assert_eq!((reply.user_id, reply.model_version.as_str()), (integer(1), V1));
    assert_eq!((reply.source.as_str(), reply.shards.unwrap().ok), ("model", world::SHARDS));
    let found: Vec<_> = reply.recommendations.iter().map(|item| (item.score, item.item_id.clone())).collect();
    let expected = cluster.world.recommended(V1, user, 7);
    let expected: Vec<_> = expected.into_iter().map(|(score, id)| (score, Some(id.into()))).collect();
    assert_eq!(found, expected);
    assert!((1..).zip(&reply.recommendations).all(|(rank, item)| item.rank == rank));

    let request = PredictRequest { user_id: text("1"), item_id: integer(5), ..Default::default() };
    let reply = client.predict(request).await.unwrap().into_inner();
    assert_eq!((reply.item_id, reply.title), (integer(5), world::title(item)));
    assert_eq!(reply.predicted_rating, world::predicted(V1, user, item).clamp(0.5, 5.0));

    let reply = client.similar(SimilarRequest { item_id: integer(5), ..Default::default() }).await;
    let reply = reply.unwrap().into_inner();
    assert_eq!(reply.similar_items.len(), 10);
    assert!(reply.similar_items.iter().all(|item| item.item_id != integer(5)));

    let health = client.health(HealthRequest {}).await.unwrap().into_inner();
    assert_eq!((health.status.as_str(), health.model_version.as_str()), ("healthy", V1));
    assert_eq!((health.shards_served, health.shards_total), (8, 8));
}

#[tokio::test]
async fn lists_are_made_into_the_same_as_over_http() {
    let cluster = Cluster::start(Setup { cache_entries: 10, ..Setup::default() }).await;
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let same = async |reply: &[Recommendation], path: &str| {
        let answer = cluster.router.get(&format!("/recommendations/{path}")).await.ok();
        let list = answer["recommendations"].as_array().unwrap();
        assert!(!list.is_empty() && list.len() == reply.len(), "{answer}");
        for (http, grpc) in list.iter().zip(reply) {
            assert_eq!(Some(grpc.item_id.clone()), Some(integer(http["movie_id"].as_i64().unwrap())));
            assert_eq!(grpc.score, http["score"].as_f64().unwrap() as f32);
            let explained = grpc.explanation.as_ref().map(|explanation| f64::from(explanation.score));
            assert_eq!(explained, http["explanation"]["score"].as_f64());
        }
    };
    let filter = ItemFilter { genres: vec!["Comedy".to_owned()], year_min: Some(1980), ..Default::default() };
    let options = RecommendRequest {
        n: 3,
        filter: Some(filter),
        explain: true,
        include_seen: true,
        bypass_cache: true,
        ..Default::default()
    };
    let request = RecommendRequest { user_id: integer(1), ..options.clone() };
    let reply = client.recommend(request).await.unwrap().into_inner();
    let query = "n=3&genres=Comedy&year_min=1980&explain=true&exclude_seen=false";
    same(&reply.recommendations, &format!("recommend/1?{query}")).await;
    // What HTTP kept is found over gRPC.
    let request = RecommendRequest { user_id: integer(1), bypass_cache: false, ..options.clone() };
    let kept = client.recommend(request.clone()).await.unwrap().into_inner();
    assert_eq!((kept.source.as_str(), &kept.recommendations), ("cache", &reply.recommendations));
    let request = RecommendRequest { cursor: kept.next_cursor, ..request };
    let next = client.recommend(request).await.unwrap().into_inner();
    assert_eq!(next.recommendations[0].rank, 4);

    let request =
        RecommendBatchRequest { user_ids: vec![integer(1).unwrap()], options: Some(options.clone()) };
    let refused = client.recommend_batch(request.clone()).await.unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().contains("'explain'"), "{refused}");
    let options = Some(RecommendRequest { explain: false, ..options });
    let request = RecommendBatchRequest { options, ..request };
    let batch = client.recommend_batch(request).await.unwrap().into_inner();
    let ids = |list: &[Recommendation]| list.iter().map(|item| item.item_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&batch.results[0].recommendations), ids(&reply.recommendations));

    let items = vec![
        RatedItem { item_id: integer(40), rating: Some(4.5) },
        RatedItem { item_id: integer(99_999), rating: None },
    ];
    let request = RecommendForItemsRequest { items, options: None };
    let reply = client.recommend_for_items(request).await.unwrap().into_inner();
    assert_eq!((reply.source.as_str(), reply.recommendations.len(), reply.user_id), ("model", 10, None));
    assert_eq!(reply.unknown_items, [integer(99_999).unwrap()]);

    let request = PopularRequest { order: PopularOrder::Trending.into(), ..Default::default() };
    let reply = client.popular(request).await.unwrap().into_inner();
    let best = cluster.world.best(10, &[], |item| world::trend(item, 30 * 86_400));
    let found: Vec<_> = reply.items.into_iter().map(|item| (item.score, item.item_id)).collect();
    assert_eq!(found, best.into_iter().map(|(score, id)| (score, Some(id.into()))).collect::<Vec<_>>());
}

#[tokio::test]
async fn genres_are_said_as_categories_too() {
    let cluster = Cluster::start(Setup::default()).await;
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let filter = ItemFilter { genres: vec!["Comedy".to_owned(), "Noir".to_owned()], ..Default::default() };
    let request = RecommendRequest {
        user_id: integer(1),
        n: 5,
        filter: Some(filter.clone()),
        ..RecommendRequest::default()
    };
    let reply = client.recommend(request.clone()).await.unwrap().into_inner();
    // Requests may say either, and both: then any of all is let in.
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let others = [
        ItemFilter { categories: names(&["Comedy", "Noir"]), ..ItemFilter::default() },
        ItemFilter { genres: names(&["Comedy"]), categories: names(&["Noir"]), ..ItemFilter::default() },
    ];
    for other in others {
        let asked = RecommendRequest { filter: Some(other), bypass_cache: true, ..request.clone() };
        let same = client.recommend(asked).await.unwrap().into_inner();
        assert_eq!(
            (same.recommendations, same.unknown_categories),
            (reply.recommendations.clone(), names(&["Noir"]))
        );
    }
    let without = ItemFilter { exclude_categories: names(&["Comedy"]), ..ItemFilter::default() };
    let asked = RecommendRequest { filter: Some(without), n: 100, ..request.clone() };
    let rest = client.recommend(asked).await.unwrap().into_inner().recommendations;
    assert!(!rest.is_empty() && rest.iter().all(|item| !item.categories.contains(&"Comedy".to_owned())));
    let crowded = ItemFilter { categories: vec!["Comedy".to_owned(); 51], ..ItemFilter::default() };
    let asked = RecommendRequest { filter: Some(crowded), ..request.clone() };
    let refused = client.recommend(asked).await.unwrap_err();
    assert!(refused.message().contains("'categories'") && refused.message().contains("51"), "{refused}");
    let mut said: Vec<(Vec<String>, Vec<String>)> = vec![(reply.unknown_genres, reply.unknown_categories)];
    said.extend(reply.recommendations.into_iter().map(|item| (item.genres, item.categories)));
    let batch = RecommendBatchRequest { user_ids: vec![integer(1).unwrap()], options: Some(request) };
    let reply = client.recommend_batch(batch).await.unwrap().into_inner();
    said.push((reply.unknown_genres, reply.unknown_categories));
    let popular = PopularRequest { n: 5, filter: Some(filter), ..PopularRequest::default() };
    let reply = client.popular(popular).await.unwrap().into_inner();
    said.push((reply.unknown_genres, reply.unknown_categories));
    said.extend(reply.items.into_iter().map(|item| (item.genres, item.categories)));
    assert!(said.iter().all(|(genres, _)| !genres.is_empty()), "{said:?}");
    let comedy = cluster.world.items.iter().find(|item| !world::genres(item).is_empty()).unwrap().number;
    let predict =
        PredictRequest { user_id: integer(1), item_id: integer(comedy), ..PredictRequest::default() };
    let reply = client.predict(predict).await.unwrap().into_inner();
    said.push((reply.genres, reply.categories));
    let similar = SimilarRequest { item_id: integer(comedy), n: 50, ..SimilarRequest::default() };
    let reply = client.similar(similar).await.unwrap().into_inner();
    assert!(reply.similar_items.iter().any(|item| !item.genres.is_empty()));
    said.extend(reply.similar_items.into_iter().map(|item| (item.genres, item.categories)));
    assert!(said.iter().all(|(genres, categories)| genres == categories), "{said:?}");
}

#[tokio::test]
async fn items_are_described_and_found_by_title() {
    let cluster = Cluster::start(Setup::default()).await;
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let item = cluster.world.item(17);
    let reply = client.item(ItemRequest { item_id: integer(17) }).await.unwrap().into_inner();
    let described = ItemDescription {
        item: integer(17),
        title: world::title(item),
        genres: world::genres(item),
        categories: world::genres(item),
        year: world::year(item),
        ratings: world::ratings(item),
        damped_mean: Some(world::popularity(item)),
    };
    assert_eq!((reply.item.as_ref(), reply.model_version.as_str()), (Some(&described), V1));
    let search = |query: &str, n| SearchRequest { query: query.to_owned(), n, complete: true };
    let reply = client.search(search("the FILM 17", 1)).await.unwrap().into_inner();
    assert_eq!((reply.items[0].item.as_ref(), reply.matched), (Some(&described), 1));
    let reply = client.search(search("film", 0)).await.unwrap().into_inner();
    assert_eq!((reply.items.len(), reply.matched), (10, world::ITEMS as u64));
    assert_eq!(client.search(search("!", 1)).await.unwrap_err().code(), Code::InvalidArgument);
    let status = client.item(ItemRequest { item_id: integer(99_999) }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "item 99999 is unknown"));
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let cluster = Cluster::start(Setup::default()).await;
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let recommend = |user_id, n, rank_by| RecommendRequest { user_id, n, rank_by, ..Default::default() };
    for (request, part) in [
        (recommend(None, 1, 0), "'user_id'"),
        (recommend(integer(1), 101, 0), "from 1 to 100"),
        (recommend(text("one"), 1, 0), "'one'"),
        (recommend(integer(1), 1, 99), "'rank_by'"),
        (RecommendRequest { diversity: 1.5, ..recommend(integer(1), 1, 0) }, "'diversity'"),
        (RecommendRequest { cursor: "x".to_owned(), ..recommend(integer(1), 1, 0) }, "'cursor'"),
    ] {
        let status = client.recommend(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(part), "{status}");
    }
    let request = SimilarRequest { item_id: integer(5), n: 51, complete: false, ..Default::default() };
    assert_eq!(client.similar(request).await.unwrap_err().code(), Code::InvalidArgument);
    let request = PredictRequest { user_id: integer(99_999), item_id: integer(5), ..Default::default() };
    assert_eq!(client.predict(request).await.unwrap_err().code(), Code::NotFound);
    cluster.publish(|metadata| metadata.live_version.clear());
    cluster.router.serves(None).await;
    let status = client.recommend(recommend(integer(1), 1, 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn the_callers_deadline_goes_on_to_the_workers() {
    let cluster = Cluster::start(Setup::default()).await;
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let mut request = Request::new(RecommendRequest { user_id: integer(1), ..Default::default() });
    let patience = PATIENCE / 2;
    request.set_timeout(patience);
    client.recommend(request).await.unwrap();
    let received = cluster.take_received();
    assert!(received.len() >= 2);
    assert!(received.iter().all(|(_, call)| call.timeout.is_some_and(|timeout| timeout < patience)));

    let hang = |hanging: bool| {
        cluster.workers.iter().for_each(|worker| {
            worker.behave(|behaviour| {
                behaviour.hanging = if hanging { ["lookup_user"].into() } else { [].into() };
            });
        });
    };
    hang(true);
    let mut request = Request::new(RecommendRequest { user_id: integer(1), ..Default::default() });
    request.set_timeout(Duration::from_millis(200));
    let status = client.recommend(request).await.unwrap_err();
    // The router's own refusal, or the client's if that was quicker.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    hang(false);
}

#[tokio::test]
async fn health_and_reflection_are_on() {
    let cluster = Cluster::start(Setup::default()).await;
    let channel = channel(&cluster).await;
    let mut health = HealthClient::new(channel.clone());
    let request = HealthCheckRequest { service: "shoal.v1.Recommender".to_owned() };
    let mut statuses = health.watch(request).await.unwrap().into_inner();
    let mut until = async |status: ServingStatus| {
        while statuses.message().await.unwrap().unwrap().status() != status {}
    };
    until(ServingStatus::Serving).await;
    cluster.publish(|metadata| metadata.live_version.clear());
    until(ServingStatus::NotServing).await;

    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let replies = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let reply = replies.into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = reply.message_response else {
        panic!("{reply:?}")
    };
    assert!(services.service.iter().any(|service| service.name == "shoal.v1.Recommender"));
    let between_nodes = ["Coordinator", "Raft", "WorkerJobs", "WorkerExchange", "WorkerServing"];
    let told = |name: &str| services.service.iter().any(|service| service.name == format!("shoal.v1.{name}"));
    assert!(
        !between_nodes.into_iter().any(told),
        "clients hear of what nodes say to each other: {services:?}"
    );
}
