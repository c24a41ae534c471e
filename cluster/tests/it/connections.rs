//! Clients that connect and mean nothing by it: they cost others nothing.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::support::{Http, Running, eventually, folder};

/// A router that knows no coordinator: it answers of itself all the same.
async fn router(descriptors: u32) -> (tempfile::TempDir, Running, SocketAddr, SocketAddr) {
    let folder = folder();
    let arguments = [
        "router",
        "--cluster-id=c",
        "--name=router-1",
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
        "--coordinators=127.0.0.1:1",
        "--log-format=json",
    ];
    let router = Running::start_after(folder.path(), &format!("ulimit -n {descriptors}"), &arguments);
    let (http, grpc) = eventually("the router listens", || {
        let said = router.stderr() + &router.stdout();
        let line = said.lines().find(|line| line.contains("router listens"))?;
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let address = |key: &str| line[key].as_str()?.parse().ok();
        Some((address("http")?, address("grpc")?))
    })
    .await;
    (folder, router, http, grpc)
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_take_no_ones_place() {
    let (_folder, _router, http, grpc) = router(256).await;
    let client = Http::new(&format!("http://{http}"));
    let connect = |address: SocketAddr, said: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(said).unwrap();
        stream
    };
    // Nothing, half of what HTTP/2 begins with, to both ports.
    let mut silent: Vec<TcpStream> = (0..300).map(|_| connect(http, b"")).collect();
    for _ in 0..2 {
        for path in ["/health", "/metrics"] {
            assert_eq!(client.get(path).await.status, 200, "{path}");
        }
        silent.extend((0..50).map(|_| connect(http, b"PRI * HTTP/2.0\r\n\r\nSM\r\n")));
        silent.extend((0..100).map(|_| connect(grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n")));
    }
    // An honest client of the other port finds a place as well.
    let channel = tonic::transport::Channel::from_shared(format!("http://{grpc}")).unwrap();
    let channel = channel.connect_timeout(Duration::from_secs(30)).connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
    health.check(asked).await.unwrap();
    // What is still open is closed by the router, not by these clients.
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let closed = stream.read(&mut [0; 64]);
        let timed_out = closed.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "a silent connection was kept");
    }
}
