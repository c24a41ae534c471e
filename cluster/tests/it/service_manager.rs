//! What a node tells systemd.

use std::{os::unix::net::UnixDatagram, path::Path, time::Duration};

use rustix::process::Signal;

use crate::{
    golden::golden,
    support::{Running, eventually, folder},
};

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    variables: [(&'static str, String); 2],
}

impl Manager {
    fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let watchdog = Duration::from_millis(300).as_micros().to_string();
        let variables = [("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", watchdog)];
        Self { socket, variables }
    }

    /// Waits until one of the lines that are told is this one; the lines told until then.
    async fn hears(&self, wanted: &str) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        eventually(&format!("'{wanted}' is told"), || {
            let mut message = [0; 4_096];
            while let Ok(length) = self.socket.recv(&mut message) {
                let text = std::str::from_utf8(&message[..length]).unwrap();
                heard.extend(text.lines().map(str::to_owned));
            }
            heard.iter().any(|line| line == wanted).then_some(())
        })
        .await;
        heard
    }
}

/// Watches a node from its start to its end.
async fn watched(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let manager = Manager::listen(folder);
    let mut node = Running::start_with(folder, &manager.variables, arguments);
    let heard = manager.hears("READY=1").await;
    // Again and again.
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    node.send(Signal::TERM);
    manager.hears("STOPPING=1").await;
    assert!(node.ends().await.success(), "{}", node.stderr());
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_that_it_has_started_lives_and_stops() {
    let place = folder();
    let dir = |name: &str| place.path().join(name).display().to_string();
    let address = "127.0.0.1:0";
    let arguments = [
        "coordinator",
        "--cluster-id",
        "c",
        "--name",
        "one",
        "--listen",
        address,
        "--raft-id",
        "1",
        "--peers",
        "1=127.0.0.1:1",
        "--data-dir",
        &dir("data"),
        "--store",
        &dir("store"),
    ];
    let heard = watched(place.path(), &arguments).await;
    assert!(heard.iter().any(|line| line.starts_with("STATUS=listening at 127.0.0.1:")), "{heard:?}");
}

/// One that serves a folder has started when it answers, not when it listens.
#[tokio::test(flavor = "multi_thread")]
async fn who_serves_a_folder_tells_when_it_answers() {
    let place = folder();
    let store = golden().join("v1/store");
    let heard = watched(place.path(), &["serve", store.to_str().unwrap(), "--http", "127.0.0.1:0"]).await;
    assert!(heard.iter().any(|line| line.starts_with("STATUS=answering at 127.0.0.1:")), "{heard:?}");
}
