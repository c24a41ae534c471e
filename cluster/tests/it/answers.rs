//! Answers of a sharded cluster against a brute force over the exported factors, over HTTP and gRPC.

use serde_json::{Value, json};
use shoal_proto::v1::{
    EntityId, HealthRequest, PredictRequest, RankBy, RecommendRequest, SimilarRequest, entity_id::Kind,
    recommender_client::RecommenderClient,
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{By, Shared, eventually, shared, ties};

/// Every so many of the users and items are asked for.
const USERS_STEP: usize = 7;
const ITEMS_STEP: usize = 5;

#[track_caller]
fn right(verdict: Result<(), String>, answer: &Value) {
    if let Err(reason) = verdict {
        panic!("{reason}: {answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_the_top_of_everything_unseen_with_ties_in_the_order_of_ids() {
    let Shared { cluster, oracle, .. } = shared().await;
    let http = cluster.http();
    let mut tied = 0;
    for user in oracle.users().into_iter().step_by(USERS_STEP) {
        for (n, by, flag) in [
            (1, By::Ranking, ""),
            (10, By::Rating, "&rank_by=rating"),
            (100, By::Ranking, "&rank_by=ranking"),
        ] {
            let answer = http.get(&format!("/recommendations/recommend/{user}?n={n}{flag}")).await.ok();
            right(oracle.check_recommended(&answer, user, n, by), &answer);
            tied += ties(&answer, "recommendations", "score");
        }
    }
    assert!(tied > 0, "the twins make ties");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_gets_what_is_popular() {
    let Shared { cluster, oracle, .. } = shared().await;
    let answer = cluster.http().get("/recommendations/recommend/987654321?n=50").await.ok();
    right(oracle.check_popular(&answer, 987_654_321, 50), &answer);
    assert!(
        answer["recommendations"].as_array().unwrap().iter().all(|hit| hit["predicted_rating"].is_null())
    );
    assert!(ties(&answer, "recommendations", "score") > 0, "the twins make ties");
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_items_are_those_of_the_highest_cosine() {
    let Shared { cluster, oracle, .. } = shared().await;
    let http = cluster.http();
    for item in oracle.items().into_iter().step_by(ITEMS_STEP) {
        for n in [1, 50] {
            let answer = http.get(&format!("/recommendations/similar/{item}?n={n}")).await.ok();
            right(oracle.check_similar(&answer, item, n), &answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_mean_biases_and_product_on_the_scale_of_the_ratings() {
    let Shared { cluster, oracle, .. } = shared().await;
    let http = cluster.http();
    let items = oracle.items();
    for (at, user) in oracle.users().into_iter().enumerate().step_by(USERS_STEP) {
        let item = items[at * 31 % items.len()];
        let body = json!({"user_id": user, "movie_id": item});
        let answer = http.post("/recommendations/predict", body).await.ok();
        right(oracle.check_predicted(&answer, user, item), &answer);
    }
}

fn integer(id: i64) -> Option<EntityId> {
    Some(EntityId { kind: Some(Kind::Integer(id)) })
}

fn id_json(id: &Option<EntityId>) -> Value {
    match id.as_ref().and_then(|id| id.kind.as_ref()) {
        Some(Kind::Integer(id)) => json!(id),
        Some(Kind::Text(id)) => json!(id),
        None => Value::Null,
    }
}

/// An f32 as the API writes it: the shortest text that is this f32.
fn float(value: f32) -> Value {
    json!(value.to_string().parse::<f64>().unwrap())
}

/// An answer without the time at which it was given.
fn timeless(mut answer: Value) -> Value {
    let timestamp = answer.as_object_mut().unwrap().remove("timestamp");
    assert!(timestamp.unwrap().as_str().unwrap().ends_with('Z'));
    answer
}

async fn channel(shared: &Shared) -> Channel {
    // A router is listed while it is heard of, which on a busy machine may take a moment.
    let address = eventually("a router that is listed", || {
        let status = shared.cluster.status();
        let router = status["nodes"].as_array()?.iter().find(|node| node["role"] == "router")?;
        Some(format!("http://{}", router["address"].as_str()?))
    });
    let address = address.await;
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_answers_what_http_answers() {
    let shared = shared().await;
    let (http, mut grpc) = (shared.cluster.http(), RecommenderClient::new(channel(shared).await));
    let (user, item) = (shared.oracle.users()[3], shared.oracle.items()[50]);

    for (user, rank_by, flag) in
        [(user, RankBy::Rating, "&rank_by=rating"), (987_654_321, RankBy::Unspecified, "")]
    {
        let request = RecommendRequest {
            user_id: integer(user),
            n: 20,
            rank_by: rank_by.into(),
            complete: true,
            bypass_cache: true,
            ..RecommendRequest::default()
        };
        let reply = grpc.recommend(request).await.unwrap().into_inner();
        let items = reply.recommendations.iter().map(|item| {
            json!({
                "movie_id": id_json(&item.item_id), "title": item.title, "genres": item.genres,
                "predicted_rating": item.predicted_rating.map(float), "score": float(item.score), "rank": item.rank, "model": item.model,
            })
        });
        let shards = reply.shards.unwrap();
        let over_grpc = json!({
            "user_id": id_json(&reply.user_id),
            "recommendations": items.collect::<Vec<_>>(),
            "model_version": reply.model_version,
            "source": reply.source,
            "shards": {"total": shards.total, "ok": shards.ok, "failed": shards.failed},
            "next_cursor": reply.next_cursor,
            "ranked_by": reply.ranked_by,
        });
        let path = format!("/recommendations/recommend/{user}?n=20{flag}&complete=true&use_cache=false");
        let answer = http.get(&path).await.ok();
        assert_eq!(over_grpc, timeless(answer));
    }

    let reply = grpc
        .predict(PredictRequest { user_id: integer(user), item_id: integer(item), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let over_grpc = json!({
        "user_id": id_json(&reply.user_id), "movie_id": id_json(&reply.item_id), "title": reply.title,
        "genres": reply.genres, "predicted_rating": float(reply.predicted_rating), "model_version": reply.model_version,
        "source": reply.source,
    });
    let answer = http.post("/recommendations/predict", json!({"user_id": user, "movie_id": item})).await.ok();
    assert_eq!(over_grpc, timeless(answer));

    let reply = grpc
        .similar(SimilarRequest { item_id: integer(item), n: 20, complete: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let items = reply.similar_items.iter().map(|item| {
        json!({
            "movie_id": id_json(&item.item_id), "title": item.title, "genres": item.genres,
            "similarity": float(item.similarity), "rank": item.rank, "model": item.model,
        })
    });
    let answer = http.get(&format!("/recommendations/similar/{item}?n=20&complete=true")).await.ok();
    assert_eq!(Value::from(items.collect::<Vec<_>>()), answer["similar_movies"]);

    let reply = grpc.health(HealthRequest {}).await.unwrap().into_inner();
    let answer = http.get("/recommendations/health").await.ok();
    assert_eq!(
        (json!(reply.status), json!(reply.model_loaded), json!(reply.model_version)),
        (answer["status"].clone(), answer["model_loaded"].clone(), answer["model_version"].clone())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_refuses_what_http_refuses() {
    let shared = shared().await;
    let mut grpc = RecommenderClient::new(channel(shared).await);
    let item = shared.oracle.items()[0];
    let request = |n| RecommendRequest { user_id: integer(1), n, ..RecommendRequest::default() };
    let refusal = grpc.recommend(request(101)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("'n'") && refusal.message().contains("from 1 to 100"), "{refusal}");
    let unknown = SimilarRequest { item_id: integer(987_654_321), ..SimilarRequest::default() };
    assert_eq!(grpc.similar(unknown).await.unwrap_err().code(), Code::NotFound);
    let unknown =
        PredictRequest { user_id: integer(987_654_321), item_id: integer(item), ..Default::default() };
    assert_eq!(grpc.predict(unknown).await.unwrap_err().code(), Code::NotFound);
    let missing = PredictRequest { user_id: None, item_id: integer(item), ..Default::default() };
    assert_eq!(grpc.predict(missing).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_served_for_tools() {
    let shared = shared().await;
    let channel = channel(shared).await;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "shoal.v1.Recommender"] {
        let reply = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(reply.into_inner().status(), ServingStatus::Serving);
    }
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let replies = reflection.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    let reply = replies.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = reply.message_response else {
        panic!("{reply:?}")
    };
    let names: Vec<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"shoal.v1.Recommender"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
}
