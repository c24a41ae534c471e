//! A certificate that is revoked while the cluster serves.

use super::*;

/// The end of a stream that is open, or what else comes of it.
async fn ended<T>(stream: &mut tonic::Streaming<T>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok("the server ended it"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_opens_nothing_from_then_on_in_either_direction() {
    let folder = folder();
    let (cluster, certs) = secured(folder.path(), 1, 2).await;
    let status = cluster.status();
    let coordinator = status["coordinators"][0]["address"].as_str().unwrap().to_owned();
    let worker = address(&status, "worker-2");
    let cluster_id = status["cluster_id"].as_str().unwrap().to_owned();
    // What the thief of a worker's key has: a copy of its certificate, and a stream that is open.
    let stolen = folder.path().join("stolen");
    std::fs::create_dir(&stolen).unwrap();
    for file in ["ca.pem", "worker-2.pem", "worker-2.key"] {
        std::fs::copy(certs.join(file), stolen.join(file)).unwrap();
    }
    let follow = |name: &str| {
        let request = WatchMetadataRequest {
            cluster_id: cluster_id.clone(),
            node: name.to_owned(),
            ..WatchMetadataRequest::default()
        };
        let channel = channel(&stolen, name, &coordinator, PeerRole::Coordinator);
        async move { CoordinatorClient::new(channel).watch_metadata(request).await }
    };
    let mut stream = follow("worker-2").await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());

    let dir = certs.to_str().unwrap();
    let revoked = shoal(&["certs", "revoke", "worker-2", "--dir", dir, "--json"]).json();
    assert_eq!(revoked["identity"], format!("spiffe://{cluster_id}/worker/worker-2"));
    let shown = shoal(&["certs", "show", dir, "--json"]).json();
    let is_revoked = |name: &str| {
        let one = shown.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        one["revoked"].as_bool().unwrap()
    };
    assert!(is_revoked("worker-2") && !is_revoked("worker-1"), "{shown:#}");

    // The stream ends, and no other is opened.
    let end = ended(&mut stream).await;
    assert_ne!(end.code(), Code::Ok, "{end:?}");
    let refusal = follow("worker-2").await.unwrap_err();
    assert!(turned_away(&refusal), "{refusal:?}");
    // Nor is the worker called that shows it: whoever calls refuses it.
    let call = channel(&certs, "router-1", &worker, PeerRole::Worker);
    let refusal = Method::LookupUser.call(call).await.unwrap_err();
    assert!(turned_away(&refusal), "{refusal:?}");
    assert!(Tls::load(TlsFiles::in_folder(&certs, "worker-2")).unwrap_err().to_string().contains("Revoked"));
    let node = |status: &Value, name: &str| {
        let found = status["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name);
        found.unwrap()["health"].clone()
    };
    let status = cluster.wait_for("worker-2 is down", |status| node(status, "worker-2") == "down").await;
    assert_eq!(node(&status, "worker-1"), "up");
    let log = std::fs::read_to_string(cluster.dir().join("logs/coordinator-1.log")).unwrap();
    assert!(log.contains("connections were ended"), "{log}");
    let audit = std::fs::read_to_string(cluster.dir().join("coordinator-1/audit.log")).unwrap();
    assert!(audit.lines().any(|line| line.contains("\"handshake\"") && line.contains("Revoked")), "{audit}");

    // A list that is gone is no reason to trust anybody again.
    let list = std::fs::read(certs.join("revoked.pem")).unwrap();
    std::fs::remove_file(certs.join("revoked.pem")).unwrap();
    cluster.signal("coordinator-1", Signal::HUP).await;
    let log = cluster.dir().join("logs/coordinator-1.log");
    eventually("the coordinator says that the list is gone", || {
        std::fs::read_to_string(&log).unwrap().contains("would be trusted again").then_some(())
    })
    .await;
    assert!(turned_away(&follow("worker-2").await.unwrap_err()));
    std::fs::write(certs.join("revoked.pem"), list).unwrap();

    // A new certificate for the worker, and it is back; the stolen one is worth nothing.
    let create =
        ["certs", "create", "--cluster-id", &cluster_id, "--hosts", "127.0.0.1,localhost", "--out", dir];
    let made =
        shoal(&[&create[..], &["--coordinators=1", "--workers=2", "--routers=1", "--json"]].concat()).json();
    let new: Vec<&Value> = made.as_array().unwrap().iter().filter(|one| one["kept"] == false).collect();
    assert_eq!(new.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["worker-2"]);
    cluster.wait_for("worker-2 is back", |status| node(status, "worker-2") == "up").await;
    assert!(turned_away(&follow("worker-2").await.unwrap_err()));
}
