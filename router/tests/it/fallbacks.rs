//! Those to whom a model has nothing to list are shown what is popular, and told so, by every face.

use reqwest::Method;
use serde_json::{Value, json};
use shoal_proto::v1::{
    RatedItem, RecommendBatchRequest, RecommendForItemsRequest, RecommendRequest, SimilarRequest,
    recommender_client::RecommenderClient,
};

use crate::{
    blend::{cluster, get, post},
    fixture::{
        Cluster, Setup,
        answers::Lacks,
        world::{self, Row},
    },
    grpc::{channel, integer},
};

/// A cluster whose item CF version has no neighbour of any item.
async fn without_neighbours() -> Cluster {
    let cluster = cluster("item_cf", "item_cf").await;
    let lacks = Lacks { neighbours: true, ..Lacks::default() };
    cluster.workers.iter().for_each(|worker| worker.behave(|behaviour| behaviour.lacks = lacks));
    cluster
}

/// The most popular items that are not among these rows.
fn popular(cluster: &Cluster, without: &[u32]) -> Vec<i64> {
    let others = cluster.world.items.iter().filter(|item| !without.contains(&item.row));
    let mut others: Vec<&Row> = others.collect();
    others
        .sort_by(|a, b| world::popularity(b).total_cmp(&world::popularity(a)).then(a.number.cmp(&b.number)));
    others.into_iter().map(|item| item.number).collect()
}

fn numbers(list: &Value, id: &str) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|item| item[id].as_i64().unwrap()).collect()
}

fn assert_says_popular(answer: &Value) {
    assert_eq!(
        (answer["source"].as_str(), answer["ranked_by"].as_str()),
        (Some("fallback_popular"), Some("popularity")),
        "{answer}"
    );
}

#[tokio::test]
async fn users_and_sessions_are_shown_what_is_popular_where_a_model_has_nothing_for_them() {
    let cluster = without_neighbours().await;
    let user = cluster.world.user(1);
    let expected = popular(&cluster, &cluster.world.seen(user));
    for query in ["", "&rank_by=rating", "&explain=true", "&diversity=0"] {
        let path = format!("/v1/users/1/recommendations?model=item_cf&n=4{query}");
        let answer = get(&cluster, &path).await;
        assert_says_popular(&answer);
        assert_eq!(numbers(&answer["items"], "item_id"), expected[..4]);
        assert!(answer["items"].as_array().unwrap().iter().all(|item| item["model"] == "popularity"));
        // It is not kept, and goes on where it ended.
        let cursor = answer["next_cursor"].as_str().unwrap();
        let next = get(&cluster, &format!("{path}&cursor={cursor}")).await;
        assert_says_popular(&next);
        assert_eq!(numbers(&next["items"], "item_id"), expected[4..8]);
    }
    let path = "/recommendations/recommend/1?model=item_cf&n=4";
    let answer = get(&cluster, path).await;
    assert_says_popular(&answer);
    assert_eq!(numbers(&answer["recommendations"], "movie_id"), expected[..4]);

    let rated = &cluster.world.items[3];
    let expected = popular(&cluster, &[rated.row]);
    let session = json!({"items": [{"item_id": rated.number, "rating": 4.0}]});
    let answer = post(&cluster, "/v1/recommendations?model=item_cf&n=5", &session).await;
    assert_says_popular(&answer);
    assert_eq!(numbers(&answer["items"], "item_id"), expected[..5]);
    let session = json!({"items": [{"movie_id": rated.number}]});
    let answer = post(&cluster, "/recommendations/recommend?model=item_cf&n=5", &session).await;
    assert_says_popular(&answer);
    assert_eq!(numbers(&answer["recommendations"], "movie_id"), expected[..5]);
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let options = RecommendRequest { n: 5, model: "item_cf".to_owned(), ..RecommendRequest::default() };
    let items = vec![RatedItem { item_id: integer(rated.number), rating: None }];
    let request = RecommendForItemsRequest { items, options: Some(options) };
    let reply = client.recommend_for_items(request).await.unwrap().into_inner();
    assert_eq!((reply.source.as_str(), reply.recommendations.len()), ("fallback_popular", 5));
}

#[tokio::test]
async fn a_batch_falls_back_for_each_of_its_users_as_for_one_alone() {
    let cluster = without_neighbours().await;
    let users = [1, 2, 3];
    let body = json!({ "user_ids": users });
    let answer = post(&cluster, "/v1/recommendations/batch?model=item_cf&n=3", &body).await;
    for (of, user) in answer["results"].as_array().unwrap().iter().zip(users) {
        assert_says_popular(of);
        let expected = popular(&cluster, &cluster.world.seen(cluster.world.user(user)));
        assert_eq!(numbers(&of["items"], "item_id"), expected[..3]);
    }
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let options = RecommendRequest { n: 3, model: "item_cf".to_owned(), ..RecommendRequest::default() };
    let user_ids = users.map(|user| integer(user).unwrap()).to_vec();
    let request = RecommendBatchRequest { user_ids, options: Some(options) };
    let reply = client.recommend_batch(request).await.unwrap().into_inner();
    assert!(reply.results.iter().all(|of| of.source == "fallback_popular" && of.ranked_by == "popularity"));
}

#[tokio::test]
async fn where_the_filter_leaves_nothing_the_model_has_said_so() {
    let cluster = without_neighbours().await;
    let session = json!({"items": [{"item_id": cluster.world.items[3].number}]});
    let filter = "model=item_cf&year_min=3000";
    let answers = [
        get(&cluster, &format!("/v1/users/1/recommendations?{filter}")).await,
        post(&cluster, &format!("/v1/recommendations?{filter}"), &session).await,
        post(&cluster, &format!("/v1/recommendations/batch?{filter}"), &json!({"user_ids": [1]})).await
            ["results"][0]
            .clone(),
    ];
    for answer in answers {
        assert_eq!((answer["source"].as_str(), &answer["items"]), (Some("model"), &json!([])), "{answer}");
    }
}

#[tokio::test]
async fn a_session_of_items_that_nobody_was_trained_on_is_no_session_for_factors() {
    let cluster = Cluster::start(Setup::default()).await;
    let lacks = Lacks { trained_items: true, ..Lacks::default() };
    cluster.workers.iter().for_each(|worker| worker.behave(|behaviour| behaviour.lacks = lacks));
    let session = json!({"items": [{"item_id": cluster.world.items[3].number, "rating": 4.0}]});
    assert_says_popular(&post(&cluster, "/v1/recommendations", &session).await);
}

#[tokio::test]
async fn an_item_that_the_model_knows_nothing_like_is_said_to_be_one() {
    let cluster = without_neighbours().await;
    let answer = get(&cluster, "/v1/items/4/similar?model=item_cf").await;
    assert_eq!(answer["items"], json!([]));
    let remark = answer["remark"].as_str().unwrap();
    assert!(remark.starts_with("item_cf knows nothing that is like this item: "), "{remark}");
    let answer = get(&cluster, "/recommendations/similar/4?model=item_cf").await;
    assert!(answer["remark"].as_str().unwrap().contains("like this movie: "), "{answer}");
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let similar = |model: &str| SimilarRequest {
        item_id: integer(4),
        model: model.to_owned(),
        ..SimilarRequest::default()
    };
    let reply = client.similar(similar("item_cf")).await.unwrap().into_inner();
    assert_eq!(reply.remark, remark);
    // ALS has factors of every item.
    assert_eq!(client.similar(similar("als")).await.unwrap().into_inner().remark, "");
    let answer = cluster.router.send(Method::GET, "/v1/items/4/similar?model=als", None).await.ok();
    assert!(answer.as_object().unwrap().get("remark").is_none(), "{answer}");
}
