//! Nodes that anybody reaches: they say so, and so does the status of the cluster.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Running, eventually, folder, shoal};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_anybody_reaches_says_so_at_its_start_and_in_the_status() {
    let folder = folder();
    let [member, serving] = ["coordinator", "router"].map(|name| folder.path().join(name));
    for folder in [&member, &serving] {
        std::fs::create_dir(folder).unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (address, everywhere) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    let open = [
        "coordinator",
        "--cluster-id=c",
        "--name=coordinator-1",
        "--raft-id=1",
        "--insecure",
        &format!("--listen={everywhere}"),
        &format!("--advertise={address}"),
        &format!("--peers=1={address}"),
        &format!("--data-dir={}", member.display()),
        &format!("--store={}", folder.path().join("store").display()),
    ];
    let open = Running::start(&member, &open);
    let of_this_machine = [
        "router",
        "--cluster-id=c",
        "--name=router-1",
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
        &format!("--coordinators={address}"),
    ];
    let of_this_machine = Running::start(&serving, &of_this_machine);
    let status = eventually("the router is known", || {
        let status = shoal(&["status", "--json", "--cluster", &address]);
        let status: Value = serde_json::from_str(&status.stdout).ok()?;
        status["nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()).then_some(status)
    })
    .await;
    assert_eq!(status["insecure"], true, "{status:#}");
    assert_eq!(status["coordinators"][0]["protection"], "none", "{status:#}");
    assert_eq!(status["nodes"][0]["protection"], "loopback", "{status:#}");
    let said = shoal(&["status", "--cluster", &address]).exits_with(0).stdout;
    let line = said.lines().find(|line| line.starts_with("INSECURE")).unwrap();
    assert!(line.contains("coordinator 1") && !line.contains("router-1"), "{said}");
    let warned = |node: &Running| (node.stderr() + &node.stdout()).contains("INSECURE");
    assert!(warned(&open) && !warned(&of_this_machine));
}
