//! A cluster under TLS: who gets in, and certificates that change while it serves.

mod plain;
mod revoked;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use reqwest::tls::TlsInfo;
use rustix::process::Signal;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;
use shoal_cluster::certs::{self, Holder, Order};
use shoal_common::{
    clock::{Clock as _, SystemClock},
    rpc::Channels,
    tls::{PeerRole, Tls, TlsConnect, TlsFiles},
};
use shoal_proto::v1::{
    ClusterStatusRequest, HeartbeatRequest, LookupUserRequest, NodeRole, RaftEnvelope, ReleaseJobRequest,
    SubscribeRowsRequest, WatchMetadataRequest, coordinator_client::CoordinatorClient,
    raft_client::RaftClient, worker_exchange_client::WorkerExchangeClient,
    worker_jobs_client::WorkerJobsClient, worker_serving_client::WorkerServingClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::{Code, Status, transport::Channel};

use crate::support::{Cluster, SMALL, Shape, eventually, folder, generate, shoal};

/// A cluster under TLS in a folder, and where its certificates are.
async fn secured(folder: &Path, coordinators: usize, workers: usize) -> (Cluster, PathBuf) {
    let certs = folder.join("cluster/certs");
    let settings = vec![format!("node.certs={}", certs.display())];
    (Cluster::start_in(folder, Shape { coordinators, workers, settings }).await, certs)
}

/// The address of a node, as the status says it.
fn address(status: &Value, name: &str) -> String {
    let nodes = status["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|node| node["name"] == name).unwrap();
    node["address"].as_str().unwrap().to_owned()
}

/// The methods of all services between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Status,
    Heartbeat,
    WatchMetadata,
    RaftSend,
    ReleaseJob,
    SubscribeRows,
    LookupUser,
}

impl Method {
    /// Each with the certificates of a local cluster that open it.
    const ALL: [(Self, &[&str]); 7] = [
        (Self::Status, &["admin"]),
        (Self::Heartbeat, &["worker-1", "router-1"]),
        (Self::WatchMetadata, &["worker-1", "router-1", "admin"]),
        (Self::RaftSend, &["coordinator-1"]),
        (Self::ReleaseJob, &["coordinator-1"]),
        (Self::SubscribeRows, &["worker-1"]),
        (Self::LookupUser, &["router-1"]),
    ];

    fn is_of_coordinators(self) -> bool {
        matches!(self, Self::Status | Self::Heartbeat | Self::WatchMetadata | Self::RaftSend)
    }

    /// Calls it with a message that does nothing.
    async fn call(self, channel: Channel) -> Result<(), Status> {
        match self {
            Self::Status => {
                CoordinatorClient::new(channel).status(ClusterStatusRequest::default()).await.map(drop)
            }
            Self::Heartbeat => {
                CoordinatorClient::new(channel).heartbeat(HeartbeatRequest::default()).await.map(drop)
            }
            Self::WatchMetadata => CoordinatorClient::new(channel)
                .watch_metadata(WatchMetadataRequest::default())
                .await
                .map(drop),
            Self::RaftSend => {
                let envelopes = stream::iter([RaftEnvelope::default()]);
                RaftClient::new(channel).send(envelopes).await.map(drop)
            }
            Self::ReleaseJob => {
                WorkerJobsClient::new(channel).release_job(ReleaseJobRequest::default()).await.map(drop)
            }
            Self::SubscribeRows => WorkerExchangeClient::new(channel)
                .subscribe_rows(SubscribeRowsRequest::default())
                .await
                .map(drop),
            Self::LookupUser => {
                WorkerServingClient::new(channel).lookup_user(LookupUserRequest::default()).await.map(drop)
            }
        }
    }
}

/// A channel to a node by the certificate `name` of a folder.
fn channel(certs: &Path, name: &str, address: &str, callee: PeerRole) -> Channel {
    let tls = Tls::load(TlsFiles::in_folder(certs, name)).unwrap();
    Channels::new(Arc::new(TlsConnect::new(tls))).get(address, callee).unwrap()
}

/// A channel of a caller that checks nothing of its own certificate, or has none of a folder.
fn careless(ca: &Path, own: Option<(&Path, &str)>, address: &str) -> Channel {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(&ca.join("ca.pem")) {
        roots.add(certificate).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some((folder, name)) => {
            let files = TlsFiles::in_folder(folder, name);
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            config.with_client_auth_cert(certificates_of(&files.certificate), key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (connector, called) = (TlsConnector::from(Arc::new(config)), address.to_owned());
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let (connector, called) = (connector.clone(), called.clone());
        async move {
            let stream = TcpStream::connect(&called).await?;
            let name = ServerName::try_from("127.0.0.1").unwrap();
            connector.connect(name, stream).await.map(hyper_util::rt::TokioIo::new)
        }
    }))
}

fn certificates_of(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// Whether the handshake failed, before any method was called.
fn turned_away(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_get_in_whose_certificate_says_so() {
    let folder = folder();
    let (cluster, certs) = secured(folder.path(), 1, 1).await;
    let status = cluster.status();
    let (coordinator, worker) =
        (status["coordinators"][0]["address"].as_str().unwrap().to_owned(), address(&status, "worker-1"));
    assert_eq!(status["insecure"], false, "{status:#}");
    let shown = status["coordinators"].as_array().unwrap().iter().chain(status["nodes"].as_array().unwrap());
    assert!(shown.into_iter().all(|node| node["protection"] == "certificates"), "{status:#}");
    let at = |method: Method| match method.is_of_coordinators() {
        true => (coordinator.as_str(), PeerRole::Coordinator),
        false => (worker.as_str(), PeerRole::Worker),
    };

    for (method, opened_by) in Method::ALL {
        let (address, callee) = at(method);
        for name in ["admin", "coordinator-1", "worker-1", "router-1"] {
            let outcome = method.call(channel(&certs, name, address, callee)).await;
            let refusals = ["is for the roles", "a token is needed"];
            let is_refused = outcome
                .as_ref()
                .is_err_and(|status| refusals.iter().any(|refusal| status.message().contains(refusal)));
            assert_eq!(is_refused, !opened_by.contains(&name), "{method:?} by {name}: {outcome:?}");
        }
        let refusal = method.call(careless(&certs, None, address)).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated, "{method:?}: {refusal:?}");
        assert!(refusal.message().contains("--certs"), "{refusal:?}");
    }

    // The right name by another authority, and by ours when its time is over.
    let cluster_id = status["cluster_id"].as_str().unwrap();
    let strange = folder.path().join("strange");
    let order = Order {
        cluster_id: cluster_id.to_owned(),
        hosts: vec!["127.0.0.1".to_owned()],
        holders: Holder::of_cluster(1, 1, 1),
        days: 1,
        renew: true,
    };
    certs::create(&strange, &order).unwrap();
    let late = folder.path().join("late");
    std::fs::create_dir(&late).unwrap();
    for file in ["ca.pem", "ca.key"] {
        std::fs::copy(certs.join(file), late.join(file)).unwrap();
    }
    let made = certs::create(&late, &Order { days: 0, ..order }).unwrap();
    let over = (made[0].facts.not_after + 1) * 1_000;
    eventually("their time is over", || (SystemClock.now_unix_ms() > over).then_some(())).await;
    for theirs in [&strange, &late] {
        for (method, opened_by) in Method::ALL {
            let (address, _) = at(method);
            let refusal =
                method.call(careless(&certs, Some((theirs, opened_by[0])), address)).await.unwrap_err();
            assert!(turned_away(&refusal), "{method:?} by {}: {refusal:?}", theirs.display());
        }
        assert!(
            Tls::load(TlsFiles { ca: certs.join("ca.pem"), ..TlsFiles::in_folder(theirs, "worker-1") })
                .is_err()
        );
    }

    // A worker that calls itself by another's name, and a member of the group by another's number.
    let beat = HeartbeatRequest {
        cluster_id: cluster_id.to_owned(),
        node: "worker-2".to_owned(),
        role: NodeRole::Worker.into(),
        address: "127.0.0.1:9".to_owned(),
        ..HeartbeatRequest::default()
    };
    let mut client = CoordinatorClient::new(channel(&certs, "worker-1", &coordinator, PeerRole::Coordinator));
    let refusal = client.heartbeat(beat.clone()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal:?}");
    let as_router = HeartbeatRequest { node: "worker-1".to_owned(), role: NodeRole::Router.into(), ..beat };
    let refusal = client.heartbeat(as_router.clone()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal:?}");
    let elsewhere = HeartbeatRequest {
        node: "worker-1".to_owned(),
        role: NodeRole::Worker.into(),
        address: "169.254.169.254:80".to_owned(),
        ..as_router.clone()
    };
    let refusal = client.heartbeat(elsewhere).await.unwrap_err();
    assert!(refusal.message().contains("169.254.169.254"), "{refusal:?}");
    let envelope =
        RaftEnvelope { cluster_id: cluster_id.to_owned(), from: 2, to: 1, ..RaftEnvelope::default() };
    let mut raft = RaftClient::new(channel(&certs, "coordinator-1", &coordinator, PeerRole::Coordinator));
    let refusal = raft.send(stream::iter([envelope])).await.unwrap_err();
    assert!(refusal.message().contains("sent a message of member 2"), "{refusal:?}");
    assert!(cluster.status()["nodes"].as_array().unwrap().iter().all(|node| node["name"] != "worker-2"));

    // Whoever does not speak TLS gets nothing, and a node of another role is not spoken to.
    let mut plain = TcpStream::connect(&worker).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.windows(4).any(|bytes| bytes == b"grpc"), "{answer:?}");
    let confused = channel(&certs, "admin", &worker, PeerRole::Coordinator);
    let refusal = Method::Status.call(confused).await.unwrap_err();
    assert!(turned_away(&refusal), "{refusal:?}");
}

/// The certificate that the router shows to one new connection, and the answer.
async fn asked_anew(url: &str, certs: &Path) -> Result<(Vec<u8>, Value), reqwest::Error> {
    let authority = reqwest::Certificate::from_pem(&std::fs::read(certs.join("ca.pem")).unwrap()).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(authority).tls_info(true).no_proxy();
    let token = std::fs::read_to_string(certs.with_file_name("admin.token")).unwrap();
    let request = client.build().unwrap().get(format!("{url}/v1/users/1/recommendations?n=3"));
    let reply = request.bearer_auth(token.trim()).send().await?;
    let reply = reply.error_for_status()?;
    let shown = reply.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate).unwrap().to_vec();
    Ok((shown, reply.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_without_a_failed_request() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let (cluster, certs) = secured(folder.path(), 3, 2).await;
    cluster.import(&data, "movies");
    cluster.shoal(&["train", "--models", "item_cf", "--promote"]).exits_with(0);
    let jobs = cluster.shoal(&["jobs", "list", "--json"]).json();
    let is_of_admin =
        |job: &Value| job["submitter"].as_str().is_some_and(|by| by.starts_with("admin 'admin'"));
    assert!(jobs.as_array().unwrap().iter().all(is_of_admin), "{jobs:#}");
    let table = cluster.shoal(&["jobs", "list"]).exits_with(0).stdout;
    // Names of versions are kept whole, and of two in one second the second is longer: a table cuts the submitter.
    assert!(table.lines().next().unwrap().ends_with("BY") && table.contains(" admin 'a"), "{table}");
    let url = cluster.url();
    assert!(url.starts_with("https://"), "{url}");
    let (before, list) = asked_anew(url, &certs).await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 3, "{list:#}");

    let cluster_id = cluster.status()["cluster_id"].as_str().unwrap().to_owned();

    // Traffic goes to it too, whichever model is live.
    let logs = folder.path().join("traffic");
    let flags = ["simulate", "--rate", "20", "--duration", "1", "--timeout", "60", "--json", "--logs"];
    let traffic = cluster.shoal(&[&flags[..], &[logs.to_str().unwrap()]].concat());
    let traffic: Value =
        serde_json::from_str(&traffic.stdout).unwrap_or_else(|error| panic!("{error}: {traffic:#?}"));
    assert_eq!(traffic["requests"]["successful"], 20, "{traffic:#}");

    // A node that others could not call says so at its start.
    let called_elsewhere =
        ["router", "--cluster-id", &cluster_id, "--name", "router-1", "--coordinators", "127.0.0.1:9"];
    let listening =
        ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--advertise", "elsewhere.example:1"];
    let own = ["--certs", certs.to_str().unwrap()];
    let refused = shoal(&[&called_elsewhere[..], &listening, &own].concat()).exits_with(2);
    for part in ["elsewhere.example", "node.advertise", "--hosts"] {
        assert!(refused.stderr.contains(part), "{refused:#?}");
    }

    // A half-written file keeps the certificates of before in use, and so does a certificate that nobody would trust.
    let key = std::fs::read(certs.join("router-1.key")).unwrap();
    std::fs::write(certs.join("router-1.key"), &key[..key.len() / 2]).unwrap();
    cluster.signal("router-1", Signal::HUP).await;
    let log = cluster.dir().join("logs/router-1.log");
    let said = |path: &Path, what: &str| std::fs::read_to_string(path).unwrap().contains(what).then_some(());
    eventually("the router says that it goes on", || said(&log, "going on with those of before")).await;
    assert_eq!(asked_anew(url, &certs).await.unwrap().0, before);
    let strange = folder.path().join("strange");
    let hosts = ["127.0.0.1", "localhost"].map(str::to_owned).to_vec();
    let holders = Holder::of_cluster(3, 2, 1);
    let order = Order { cluster_id, hosts, holders, days: 7, renew: true };
    certs::create(&strange, &order).unwrap();
    let pem = std::fs::read(certs.join("router-1.pem")).unwrap();
    for file in ["router-1.pem", "router-1.key"] {
        std::fs::copy(strange.join(file), certs.join(file)).unwrap();
    }
    cluster.signal("router-1", Signal::HUP).await;
    eventually("the router refuses what nobody would trust", || said(&log, "opens no door")).await;
    assert_eq!(asked_anew(url, &certs).await.unwrap().0, before);
    std::fs::write(certs.join("router-1.pem"), &pem).unwrap();
    std::fs::write(certs.join("router-1.key"), &key).unwrap();

    let renewing = {
        let certs = certs.clone();
        tokio::task::spawn_blocking(move || certs::create(&certs, &order).unwrap())
    };
    let nodes = ["coordinator-1", "coordinator-2", "coordinator-3", "worker-1", "worker-2", "router-1"];
    let mut asked = 0;
    loop {
        let (shown, again) = asked_anew(url, &certs).await.unwrap();
        assert_eq!(again["items"], list["items"]);
        asked += 1;
        let replaced = |node: &&str| {
            said(&cluster.dir().join(format!("logs/{node}.log")), "the certificates were replaced").is_some()
        };
        if shown != before && renewing.is_finished() && nodes.iter().all(replaced) {
            break;
        }
    }
    assert!(asked > 1);

    // New connections between nodes are made with the new ones.
    cluster.kill("worker-1").await;
    let lists = stream::iter(1..=20).then(|_| asked_anew(url, &certs)).collect::<Vec<_>>().await;
    assert!(lists.iter().all(|answer| answer.as_ref().is_ok_and(|(_, got)| got["items"] == list["items"])));
    cluster
        .wait_for("worker-1 is back", |status| {
            status["shards"]["fully_replicated"] == status["shards"]["total"]
        })
        .await;
}
