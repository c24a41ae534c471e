//! Callers that speak with TLS where there is none, and without where it is needed: they are told the other.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::*;
use crate::support::shared;

/// What a port answers to these bytes, to the end.
fn answer(address: &str, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(said).unwrap();
    let mut answer = Vec::new();
    // A port that hangs up has answered too.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_plainly_to_a_port_of_tls_is_told_so() {
    let folder = folder();
    let (cluster, certs) = secured(folder.path(), 1, 1).await;
    let http = cluster.url().strip_prefix("https://").unwrap().to_owned();
    for request in
        ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /v1/recommendations HTTP/1.1\r\n\r\n{}"]
    {
        let text = String::from_utf8(answer(&http, request.as_bytes())).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 ") && head.contains("connection: close"), "{text}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(body["detail"].as_str().unwrap().contains("https://"), "{text}");
    }
    // What is neither TLS nor HTTP gets no words.
    assert!(!String::from_utf8_lossy(&answer(&http, b"\x00\x01hello")).contains("https"));
    // gRPC is HTTP/2: the connection ends with the reason.
    let worker = address(&cluster.status(), "worker-1");
    let said =
        answer(&worker, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x01\x05\0\0\0\x01");
    let (settings, goaway) = said.split_at(9);
    assert_eq!((settings[3], goaway[3], goaway[16]), (4, 7, 12), "{said:?}");
    assert!(String::from_utf8_lossy(goaway).contains("this port speaks TLS"), "{said:?}");

    // The command line passes on what it is told.
    let refused = shoal(&["similar", "1", "--url", &format!("http://{http}")]);
    assert!(refused.code != Some(0) && refused.stderr.contains("https://"), "{refused:#?}");
    let coordinator = cluster.status()["coordinators"][0]["address"].as_str().unwrap().to_owned();
    let refused = shoal(&["status", "--cluster", &coordinator]);
    assert!(refused.code != Some(0) && refused.stderr.contains("--certs is needed"), "{refused:#?}");

    // And the other way round.
    let open = &shared().await.cluster;
    let certs = certs.to_str().unwrap();
    let url = open.url().replace("http://", "https://");
    let refused = shoal(&["similar", "1", "--url", &url, "--certs", certs]);
    assert!(refused.code != Some(0) && refused.stderr.contains("use http://"), "{refused:#?}");
    let coordinator = open.status()["coordinators"][0]["address"].as_str().unwrap().to_owned();
    let refused = shoal(&["status", "--cluster", &coordinator, "--certs", certs]);
    assert!(refused.code != Some(0) && refused.stderr.contains("does not speak TLS"), "{refused:#?}");
}
