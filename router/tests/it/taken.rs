//! A query's place is held until its answer has been taken.

use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

use crate::fixture::{Cluster, Setup};

/// Asks for an answer of megabytes with little room for it, and reads nothing.
async fn unread(cluster: &Cluster) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(cluster.router.http).await.unwrap();
    let body = json!({"user_ids": vec![1; 1_000]}).to_string();
    let request = format!(
        "POST /v1/recommendations/batch?n=50&exclude_seen=false HTTP/1.1\r\nHost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        cluster.router.http,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // Its answer has begun.
    stream.readable().await.unwrap();
    stream
}

#[tokio::test]
async fn an_answer_that_nobody_reads_keeps_its_place() {
    let cluster = Cluster::start(Setup { concurrency: 1, ..Setup::default() }).await;
    let path = "/v1/users/1/recommendations?timeout_ms=200";
    assert_eq!(cluster.router.get(path).await.status.as_u16(), 200);
    let reader = unread(&cluster).await;
    let refused = cluster.router.get(path).await;
    assert_eq!(refused.status.as_u16(), 429, "{refused:?}");
    // When its client is gone there is room again.
    drop(reader);
    let patient = cluster.router.get("/v1/users/1/recommendations?timeout_ms=60000").await;
    assert_eq!(patient.status.as_u16(), 200, "{patient:?}");
}

#[tokio::test]
async fn large_answers_wait_for_each_other_and_small_ones_do_not() {
    let cluster = Cluster::start(Setup { concurrency: 4, ..Setup::default() }).await;
    let reader = unread(&cluster).await;
    let body = json!({"user_ids": vec![1; 100]}).to_string();
    let another = cluster.router.send(
        reqwest::Method::POST,
        "/v1/recommendations/batch?n=50&timeout_ms=200",
        Some(&body),
    );
    assert_eq!(another.await.status.as_u16(), 429);
    for _ in 0..20 {
        let small = cluster.router.get("/v1/users/1/recommendations").await;
        assert_eq!(small.status.as_u16(), 200, "{small:?}");
    }
    drop(reader);
}
