//! Where tokens are taken, only their holders are answered, over HTTP and gRPC alike.

use reqwest::Method;
use serde_json::json;
use shoal_common::{
    access::{Scope, Token},
    rpc::CallCredentials,
};
use shoal_proto::v1::{recommender_client::RecommenderClient, *};
use tonic::Code;

use crate::{
    fixture::{Answer, Cluster, Setup},
    grpc::{channel, integer},
};

const LIST: &str = "/v1/users/1/recommendations";

fn known(token: &Token, change: impl FnOnce(&mut TokenInfo)) -> TokenInfo {
    let mut info = TokenInfo {
        id: token.id().to_owned(),
        sha256: token.digest().as_bytes().to_vec().into(),
        ..TokenInfo::default()
    };
    info.push_scopes(Scope::Read.to_wire());
    change(&mut info);
    info
}

async fn cluster(tokens: Vec<TokenInfo>) -> Cluster {
    let cluster = Cluster::start(Setup { tokens: true, ..Setup::default() }).await;
    cluster.publish(|metadata| metadata.tokens = tokens);
    cluster
}

async fn ask(cluster: &Cluster, token: &Token) -> Answer {
    cluster.router.send_with(Some(token.header()), Method::GET, LIST, None).await
}

/// Asks until the answer has this status: the router has heard of a change.
async fn until(cluster: &Cluster, token: &Token, status: u16) -> Answer {
    loop {
        let answer = ask(cluster, token).await;
        if answer.status.as_u16() == status {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_question_needs_a_token_and_health_does_not() {
    let token = Token::draw().unwrap();
    let cluster = cluster(vec![known(&token, |_| ())]).await;
    until(&cluster, &token, 200).await;
    let paths = [LIST, "/recommendations/recommend/1", "/v1/popular", "/v1/items/1", "/metrics", "/nowhere"];
    for path in paths {
        let refused = cluster.router.get(path).await;
        assert_eq!(refused.status.as_u16(), 401, "{path}: {refused:?}");
        assert_eq!(refused.headers["www-authenticate"], r#"Bearer realm="shoal""#);
        assert!(refused.json()["detail"].as_str().unwrap().contains("shoal tokens create"), "{refused:?}");
        assert_eq!(refused.headers["x-content-type-options"], "nosniff");
    }
    let body = json!({"user_id": 1, "item_id": 5}).to_string();
    let refused = cluster.router.send(Method::POST, "/v1/predictions", Some(&body)).await;
    assert_eq!(refused.status.as_u16(), 401);
    for path in [
        "/",
        "/health",
        "/healthz",
        "/readyz",
        "/v1/health",
        "/recommendations/health",
        "/dashboard/",
        "/docs",
        "/openapi.json",
    ] {
        assert_eq!(cluster.router.get(path).await.status.as_u16(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_and_not_repeated() {
    let [good, over, stranger, limited] = [(); 4].map(|()| Token::draw().unwrap());
    let cluster = cluster(vec![
        known(&good, |_| ()),
        known(&over, |info| info.expires_unix_ms = 1),
        known(&limited, |info| info.scopes.clear()),
    ])
    .await;
    until(&cluster, &good, 200).await;
    let secret = good.expose().rsplit('_').next().unwrap();
    let forged = Token::parse(&format!("shoal_{}_{secret}", over.id())).unwrap();
    for (token, status, error) in [
        (&over, 401, "invalid_token"),
        (&stranger, 401, "invalid_token"),
        (&forged, 401, "invalid_token"),
        (&limited, 403, "insufficient_scope"),
    ] {
        let refused = ask(&cluster, token).await;
        assert_eq!(refused.status.as_u16(), status, "{refused:?}");
        assert!(refused.headers["www-authenticate"].to_str().unwrap().contains(error), "{refused:?}");
        let secret = token.expose().rsplit('_').next().unwrap();
        assert!(!format!("{refused:?}").contains(secret), "{refused:?}");
    }
    for wrong in ["Basic YTpi", "Bearer", "Bearer shoal_1_2", good.expose()] {
        let refused = cluster.router.send_with(Some(wrong.parse().unwrap()), Method::GET, LIST, None).await;
        assert_eq!(refused.status.as_u16(), 401, "{wrong}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_as_soon_as_the_router_hears_of_it() {
    let [kept, revoked] = [(); 2].map(|()| Token::draw().unwrap());
    let cluster = cluster(vec![known(&kept, |_| ()), known(&revoked, |_| ())]).await;
    until(&cluster, &revoked, 200).await;
    cluster.publish(|metadata| metadata.tokens.retain(|token| token.id == kept.id()));
    until(&cluster, &revoked, 401).await;
    assert_eq!(ask(&cluster, &kept).await.status.as_u16(), 200);
}

#[tokio::test]
async fn grpc_takes_the_same_tokens() {
    let token = Token::draw().unwrap();
    let cluster = cluster(vec![known(&token, |_| ())]).await;
    until(&cluster, &token, 200).await;
    let request = || RecommendRequest { user_id: integer(1), ..Default::default() };
    let channel = channel(&cluster).await;
    let refused = RecommenderClient::new(channel.clone()).recommend(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let stranger = CallCredentials::new(Some(&Token::draw().unwrap()));
    let refused = RecommenderClient::with_interceptor(channel.clone(), stranger).recommend(request()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let holder = CallCredentials::new(Some(&token));
    RecommenderClient::with_interceptor(channel.clone(), holder).recommend(request()).await.unwrap();
    RecommenderClient::new(channel).health(HealthRequest {}).await.unwrap();
}

#[tokio::test]
async fn what_a_token_may_cost_is_kept_to_by_each_face() {
    let (token, other) = (Token::draw().unwrap(), Token::draw().unwrap());
    let limit = |info: &mut TokenInfo| info.cost_per_second = 0.01;
    let cluster = cluster(vec![known(&token, limit), known(&other, |_| ())]).await;
    until(&cluster, &token, 200).await;
    // The first query made the balance negative, for far longer than this test takes.
    let refused = ask(&cluster, &token).await;
    assert_eq!(refused.status.as_u16(), 429, "{refused:?}");
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 10);
    let holder = CallCredentials::new(Some(&token));
    let mut client = RecommenderClient::with_interceptor(channel(&cluster).await, holder);
    let refused = client.recommend(RecommendRequest { user_id: integer(1), ..Default::default() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(ask(&cluster, &other).await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_coordinators_are_told_which_tokens_were_used() {
    let [used, idle] = [(); 2].map(|()| Token::draw().unwrap());
    let cluster = cluster(vec![known(&used, |_| ()), known(&idle, |_| ())]).await;
    until(&cluster, &used, 200).await;
    let beat = cluster.coordinators[0].heartbeat_that(|beat| !beat.used_tokens.is_empty()).await;
    assert_eq!(beat.used_tokens, [used.id()]);
    // Once is enough for a day.
    cluster.coordinators[0].heartbeat_that(|beat| beat.used_tokens.is_empty()).await;
}

#[tokio::test]
async fn the_description_says_which_routes_need_a_token() {
    let description = cluster(Vec::new()).await.router.get("/openapi.json").await.json();
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let paths = &description["paths"];
    assert_eq!(paths["/v1/users/{user_id}/recommendations"]["get"]["security"], json!([{"token": []}]));
    assert!(paths["/readyz"]["get"]["security"].is_null());
    let open = Cluster::start(Setup::default()).await.router.get("/openapi.json").await.json();
    assert!(open["components"]["securitySchemes"].is_null());
}
