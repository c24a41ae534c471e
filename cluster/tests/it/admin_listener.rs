//! A router's listener for those who look after it.

use reqwest::header::{ACCEPT, HOST};

use crate::support::{Http, Running, eventually, folder, shoal};

const ROUTER: [&str; 7] = [
    "router",
    "--cluster-id=c",
    "--name=router-1",
    "--listen=127.0.0.1:0",
    "--http=127.0.0.1:0",
    "--coordinators=127.0.0.1:1",
    "--log-format=json",
];

/// What a router is asked for that clients need not see.
const OF_ADMINISTRATORS: [&str; 6] =
    ["/metrics", "/dashboard", "/docs", "/openapi.json", "/docs/page.js", "/docs/ui/swagger-ui.css"];

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_the_page_of_the_routes_move_to_a_listener_of_their_own() {
    let folder = folder();
    let router = Running::start(folder.path(), &[&ROUTER[..], &["--admin-listen=127.0.0.1:0"]].concat());
    let (http, admin) = eventually("the router listens", || {
        let said = router.stderr() + &router.stdout();
        let line = said.lines().find(|line| line.contains("\"listening\""))?;
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let address = |key: &str| line[key].as_str().unwrap().to_owned();
        Some((address("http"), address("admin")))
    })
    .await;
    let (clients, administrators) =
        (Http::new(&format!("http://{http}")), Http::new(&format!("http://{admin}")));
    for path in OF_ADMINISTRATORS {
        let answer = clients.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(path), "{answer:?}");
        assert_eq!(administrators.get(path).await.status, 200, "{path}");
    }
    assert_eq!(clients.get("/health").await.status, 200);
    // What is tried on the page is asked where the page is.
    assert_eq!(administrators.get("/health").await.status, 200);
    let index = |answer: crate::support::Answer| answer.ok()["routes"].to_string();
    let (of_clients, of_administrators) =
        (index(clients.get("/").await), index(administrators.get("/").await));
    for path in &OF_ADMINISTRATORS[..4] {
        assert!(!of_clients.contains(path) && of_administrators.contains(path), "{path}: {of_clients}");
    }
    // A browser is led to the page where there is one.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let as_browser =
        |address: &str| client.get(format!("http://{address}/")).header(ACCEPT, "text/html").send();
    let answer = as_browser(&http).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.url().path()), (200, "/"));
    assert_eq!(as_browser(&admin).await.unwrap().url().path(), "/dashboard/");
    // The same rules hold: another's name is refused.
    let strange = client.get(format!("http://{admin}/docs")).header(HOST, "stranger.example").send();
    assert_eq!(strange.await.unwrap().status(), 421);
}

#[test]
fn the_listener_of_administrators_is_as_protected_as_that_of_clients() {
    let refused = shoal(&[&ROUTER[..], &["--admin-listen=0.0.0.0:0"]].concat()).exits_with(2);
    assert!(refused.stderr.contains("router.admin_listen"), "{refused:#?}");
    let same = ["--http=127.0.0.1:9", "--admin-listen=127.0.0.1:9"];
    let refused = shoal(&[&ROUTER[..4], &ROUTER[5..], &same].concat()).exits_with(2);
    assert!(refused.stderr.contains("a port of its own"), "{refused:#?}");
}
