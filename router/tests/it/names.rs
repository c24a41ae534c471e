//! Genres and ids of any characters: each can be named, and what nobody has is said.

use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shoal_common::ids::{EntityId, IdKind};
use shoal_proto::v1::{
    ItemFilter, PopularRequest, RecommendBatchRequest, RecommendRequest,
    recommender_client::RecommenderClient,
};

use crate::{
    fixture::{
        Cluster, Setup, V1,
        world::{self, ODD_GENRE},
    },
    grpc::{channel, integer},
};

/// The path with these parameters, escaped.
fn path(path: &str, parameters: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params(&format!("http://router{path}"), parameters).unwrap();
    url.as_str().trim_start_matches("http://router").to_owned()
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}

#[tokio::test]
async fn a_genre_that_nobody_has_is_said() {
    let cluster = Cluster::start(Setup { cache_entries: 100, ..Setup::default() }).await;
    let odd = quoted(ODD_GENRE);
    let cases: [(&[(&str, &str)], Value); 6] = [
        (&[("genres", "Comedy,film-noir")], Value::Null),
        (&[("genres", &odd), ("exclude_genres", "COMEDY")], Value::Null),
        (&[("genres", "Nope")], json!(["Nope"])),
        (
            &[("genres", "nope, Comedy"), ("genres", "Épouvante"), ("exclude_genres", "NOPE,Gore")],
            json!(["nope", "Épouvante", "Gore"]),
        ),
        (&[("exclude_genres", "Western")], json!(["Western"])),
        // Kept by the router under another spelling.
        (&[("genres", "nOPE")], json!(["nOPE"])),
    ];
    let users = json!({ "user_ids": [1, 2, 99_999] }).to_string();
    let items = json!({ "items": [{ "movie_id": 1, "rating": 4 }] }).to_string();
    for (parameters, expected) in cases {
        for _ in 0..2 {
            let answer = cluster.router.get(&path("/recommendations/recommend/1", parameters)).await.ok();
            assert_eq!(answer["unknown_genres"], expected, "{parameters:?}");
        }
        for (route, body) in [("batch", &users), ("recommend", &items)] {
            let path = path(&format!("/recommendations/{route}"), parameters);
            let answer = cluster.router.send(Method::POST, &path, Some(body)).await.ok();
            assert_eq!(answer["unknown_genres"], expected, "{route} {parameters:?}");
        }
    }
    let popular = async |genre: &str| {
        cluster.router.get(&path("/recommendations/popular", &[("genre", genre)])).await.ok()
    };
    assert_eq!(popular("No, pe").await["unknown_genres"], json!(["No, pe"]));
    let known = popular(&ODD_GENRE.to_uppercase()).await;
    assert_eq!(known["unknown_genres"], Value::Null);
    assert_eq!(known["movies"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn grpc_says_the_same() {
    let cluster = Cluster::start(Setup::default()).await;
    let mut client = RecommenderClient::new(channel(&cluster).await);
    let filter = ItemFilter {
        genres: vec![ODD_GENRE.to_lowercase(), "No, pe".to_owned()],
        exclude_genres: vec!["Western".to_owned()],
        ..ItemFilter::default()
    };
    let unknown = ["No, pe".to_owned(), "Western".to_owned()];
    let request =
        RecommendRequest { user_id: integer(1), filter: Some(filter.clone()), ..Default::default() };
    let reply = client.recommend(request.clone()).await.unwrap().into_inner();
    assert!(!reply.recommendations.is_empty());
    assert!(reply.recommendations.iter().all(|movie| movie.genres.contains(&ODD_GENRE.to_owned())));
    assert_eq!((&reply.unknown_genres[..], reply.ranked_by.as_str()), (&unknown[..], "ranking"));
    let options = RecommendRequest { diversity: 0.5, ..request };
    let alone = client.recommend(options.clone()).await.unwrap().into_inner();
    let batch = RecommendBatchRequest { user_ids: integer(1).into_iter().collect(), options: Some(options) };
    let batch = client.recommend_batch(batch).await.unwrap().into_inner();
    assert_eq!(batch.unknown_genres, unknown);
    assert_eq!(
        (&batch.results[0].recommendations, &batch.results[0].ranked_by),
        (&alone.recommendations, &alone.ranked_by)
    );
    let popular = PopularRequest { filter: Some(filter), ..Default::default() };
    assert_eq!(client.popular(popular).await.unwrap().into_inner().unknown_genres, unknown);
}

#[tokio::test]
async fn of_shards_that_do_not_say_nothing_is_said() {
    let cluster = Cluster::start(Setup::default()).await;
    // All of them, since a shard's replicas are asked in turn.
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.earlier_build = true);
    }
    let answer = cluster.router.get("/recommendations/recommend/1?genres=Nope").await.ok();
    assert_eq!((&answer["unknown_genres"], &answer["recommendations"]), (&Value::Null, &json!([])));
}

/// An id of a data set whose ids are texts, and how it stands in a JSON body.
const ODD_IDS: [(&str, &str); 14] = [
    ("m:a,b", r#""m:a,b""#),
    ("..", r#""..""#),
    (".", r#"".""#),
    ("", r#""""#),
    ("a/b", r#""a/b""#),
    ("100%", r#""100%""#),
    ("%2e%2e", r#""%2e%2e""#),
    ("what?#now", r#""what?#now""#),
    ("a+b & c=d", r#""a+b & c=d""#),
    ("\"quoted\"", r#""\"quoted\"""#),
    (" spaced\tout\n", r#"" spaced\tout\n""#),
    ("épée\u{1F41F}", r#""épée🐟""#),
    ("9007199254740993123456", "9007199254740993123456"),
    ("-0123", r#""-0123""#),
];

#[tokio::test]
async fn every_id_can_be_asked_for() {
    let cluster = Cluster::start(Setup { kind: IdKind::Text, ..Setup::default() }).await;
    for (id, in_json) in ODD_IDS {
        // The user is as unknown as the answer is clear about who was asked for.
        let answer = cluster.router.get(&path("/recommendations/recommend", &[("user_id", id)])).await.ok();
        assert_eq!((&answer["user_id"], &answer["source"]), (&json!(id), &json!("fallback_popular")));
        let similar = cluster.router.get(&path("/recommendations/similar", &[("movie_id", id)])).await;
        similar.refused(StatusCode::NOT_FOUND, &[&format!("movie {id} is unknown")]);
        let body = format!("{{\"user_id\": \"x\", \"movie_id\": {in_json}}}");
        let predicted = cluster.router.predict(&body).await;
        predicted.refused(StatusCode::NOT_FOUND, &[&format!("movie {id} is unknown")]);
        let body = format!("{{\"user_ids\": [{in_json}]}}");
        let batch = cluster.router.send(Method::POST, "/recommendations/batch", Some(&body)).await.ok();
        assert_eq!(batch["results"][0]["user_id"], json!(id));
        if !["", ".", ".."].contains(&id) {
            let mut url = Url::parse("http://router/recommendations/recommend").unwrap();
            let escaped: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
            url.set_path(&format!("{}/{escaped}", url.path()));
            assert_eq!(cluster.router.get(url.path()).await.ok()["user_id"], json!(id));
        }
    }
}

#[tokio::test]
async fn every_id_can_be_listed() {
    let cluster = Cluster::start(Setup { kind: IdKind::Text, ..Setup::default() }).await;
    let (world, user) = (&cluster.world, cluster.world.user(4));
    let EntityId::Text(user_id) = &user.id else { panic!("ids are texts here") };
    let vector = world::ranking_vector(V1, "user", user);
    let best = world
        .best(60, &world.seen(user), |item| world::dot(&vector, &world::ranking_vector(V1, "item", item)));
    // Ids of the world have spaces, `#`, `/` and `é`; these have a comma, too, so they are in quotation marks.
    let named: Vec<String> = best[..5].iter().map(|(_, id)| id.to_string()).collect();
    for style in ["commas", "repeated"] {
        let values = match style {
            "commas" => vec![named.iter().map(|id| quoted(id)).collect::<Vec<_>>().join(",")],
            _ => named.iter().map(|id| quoted(id)).collect(),
        };
        let ask = async |parameter: &str| {
            let mut parameters = vec![("user_id", &**user_id), ("n", "100"), (parameter, "\"m:a,b\"")];
            parameters.extend(values.iter().map(|value| (parameter, &**value)));
            let answer = cluster.router.get(&path("/recommendations/recommend", &parameters)).await.ok();
            let movies = answer["recommendations"].as_array().unwrap().clone();
            movies.iter().map(|movie| movie["movie_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ask("allow_ids").await, named, "{style}");
        let others: Vec<String> = best[5..].iter().map(|(_, id)| id.to_string()).collect();
        assert_eq!(ask("exclude_ids").await, others, "{style}");
    }
}
