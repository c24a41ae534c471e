//! Processes killed, hung and restarted while clients ask: no wrong answer ever, and none that fails where a
//! replica is there to give it.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Cluster, Load, Oracle, Running, SMALL, Shape, eventually, folder, generate, processes_of,
};

const CLIENTS: usize = 3;
const QUESTIONS: usize = 150;

fn fully_replicated(status: &Value) -> bool {
    let shards = &status["shards"];
    shards["total"].as_u64() == Some(32) && shards["fully_replicated"] == shards["total"]
}

fn all_up(status: &Value) -> bool {
    let up = |node: &Value| node["health"] == "up";
    let active = |member: &Value| member["leader"] == true || member["recently_active"] == true;
    let nodes = status["nodes"].as_array().unwrap();
    let coordinators = status["coordinators"].as_array().unwrap();
    nodes.len() == 4 && nodes.iter().all(up) && coordinators.len() == 3 && coordinators.iter().all(active)
}

/// Three coordinators, three workers and a router that answer from one version; a second one is trained.
struct Served {
    cluster: Cluster,
    first: Oracle,
    second: Oracle,
    _folder: tempfile::TempDir,
}

async fn served() -> Served {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let settings =
        vec!["coordinator.lease_ms=1500".to_owned(), "coordinator.replace_after_ms=2000".to_owned()];
    let cluster = Cluster::start(Shape { coordinators: 3, workers: 3, settings }).await;
    cluster.import(&data, "items");
    let versions = [cluster.train(&["--promote"]), cluster.train(&["--seed", "2"])];
    let [first, second] = versions.map(|version| Oracle::of(&cluster, &version, &data));
    cluster.wait_for("every shard has its replicas", fully_replicated).await;
    Served { cluster, first, second, _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_coordinators_and_workers_cost_no_answer_and_come_back() {
    let Served { cluster, first, second, .. } = served().await;
    let load = Load::start(&cluster.http(), vec![first, second], CLIENTS);
    load.asks(QUESTIONS).await;

    // The leading coordinator stays away, and another leads.
    cluster.hold_restarts();
    let leader = cluster.leader();
    cluster.kill(&leader).await;
    load.asks(QUESTIONS).await;
    let status =
        cluster.wait_for("another coordinator leads", |status| status["live_version"].is_string()).await;
    assert_ne!(cluster.leader(), leader);
    let down = status["coordinators"].as_array().unwrap().iter().filter(|member| member["leader"] != true);
    assert_eq!(down.count(), 2);

    // So does a worker; the others take over its shards.
    cluster.kill("worker-2").await;
    load.asks(QUESTIONS).await;
    let is_down = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().any(|node| node["name"] == "worker-2" && node["health"] == "down")
    };
    cluster.wait_for("worker-2 is known to be down", is_down).await;
    cluster.wait_for("two workers have every shard", fully_replicated).await;
    load.asks(QUESTIONS).await;

    // One that is down can be forgotten, and only once; one that is up cannot.
    let known = cluster.shoal(&["nodes", "list", "--json"]).json();
    let find =
        |name: &str| known.as_array().unwrap().iter().find(|node| node["name"] == name).unwrap().clone();
    let (down, up) = (find("worker-2"), find("worker-1"));
    assert!(down["down_since"].is_string() && down["placed_shards"] == 0, "{down}");
    assert!(up["down_since"].is_null() && up["placed_shards"] == 32, "{up}");
    let table = cluster.shoal(&["nodes", "list"]).exits_with(0).stdout;
    assert!(table.contains("DOWN SINCE") && table.contains("worker-2"), "{table}");
    let forgotten = cluster.shoal(&["nodes", "forget", "worker-2", "--json"]).json();
    assert_eq!(forgotten["forgotten"], "worker-2");
    cluster.shoal(&["nodes", "forget", "worker-2"]).exits_with(3).says(&["shoal nodes list"]);
    cluster.shoal(&["nodes", "forget", "worker-1"]).exits_with(1).says(&["is up; stop it first"]);
    load.asks(QUESTIONS).await;

    // Both come back.
    cluster.let_restart();
    cluster.wait_for("everybody is back", all_up).await;
    cluster.wait_for("every shard has its replicas", fully_replicated).await;
    load.asks(QUESTIONS).await;
    load.stop().await.check_every_one_right();
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_workers_and_restarted_routers_do_no_harm() {
    let Served { mut cluster, first, second, .. } = served().await;
    let load = Load::start(&cluster.http(), vec![first, second], CLIENTS);
    load.asks(QUESTIONS).await;

    // Stopped, it keeps its connections and answers nothing; then it goes on as if nothing had been.
    cluster.signal("worker-1", Signal::STOP).await;
    load.asks(QUESTIONS).await;
    let is_down = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().any(|node| node["name"] == "worker-1" && node["health"] == "down")
    };
    cluster.wait_for("worker-1 is known to be down", is_down).await;
    load.asks(QUESTIONS).await;

    // A promotion goes on without it.
    let versions = cluster.shoal(&["models", "list", "--json"]).json();
    let second = versions[1]["name"].as_str().unwrap();
    cluster.shoal(&["models", "promote", second]).exits_with(0);
    assert_eq!(cluster.status()["live_version"], second);
    load.asks(QUESTIONS).await;
    cluster.signal("worker-1", Signal::CONT).await;
    cluster.wait_for("everybody is back", all_up).await;
    cluster.wait_for("every shard has its replicas", fully_replicated).await;
    load.asks(QUESTIONS).await;
    load.stop().await.check_every_one_right();

    // A router that is lost takes its connections along. The next one is found where it was.
    cluster.kill("router-1").await;
    let http = cluster.http();
    loop {
        match http.try_get("/recommendations/recommend/1?complete=true").await {
            Ok(answer) if answer.status == 200 => break,
            Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
            Err(error) => assert!(error.is_connect() || error.is_request(), "{error:?}"),
        }
    }
    assert_eq!(cluster.http().get("/recommendations/recommend/1").await.ok()["model_version"], second);
    cluster.shoal(&["recommend", "1"]).exits_with(0);

    assert_eq!(cluster.interrupt().await.code(), Some(0));
    assert_eq!(processes_of(cluster.dir()), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_costs_no_answer() {
    let Served { cluster, first, second, .. } = served().await;
    let load = Load::start(&cluster.http(), vec![first, second], CLIENTS);
    load.asks(QUESTIONS).await;
    // The leader twice: as the leader and, later, as one of the others.
    let leader = cluster.leader();
    let coordinators = [leader.as_str(), "coordinator-1", "coordinator-2", "coordinator-3"];
    for name in ["worker-1", "worker-2", "worker-3"].into_iter().chain(coordinators) {
        let before = cluster.pid(name).await;
        cluster.signal(name, Signal::TERM).await;
        eventually(&format!("{name} runs again"), || {
            let processes = processes_of(cluster.dir());
            processes.iter().any(|(pid, other)| other == name && *pid != before).then_some(())
        })
        .await;
        cluster.wait_for("everybody is back", all_up).await;
        cluster.wait_for("every shard has its replicas", fully_replicated).await;
        load.asks(QUESTIONS).await;
    }
    load.stop().await.check_every_one_right();
}

#[tokio::test(flavor = "multi_thread")]
async fn children_leave_when_the_one_that_started_them_is_killed() {
    let cluster = Cluster::start(Shape { coordinators: 3, workers: 2, settings: Vec::new() }).await;
    assert_eq!(processes_of(cluster.dir()).len(), 7);
    cluster.supervisor().send(Signal::KILL);
    eventually("the children have left", || processes_of(cluster.dir()).is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_right_after_a_killed_one_is_like_it() {
    let folder = folder();
    let shape = Shape { coordinators: 1, workers: 2, settings: vec!["worker.training_threads=1".to_owned()] };
    let cluster = Cluster::start_in(folder.path(), shape).await;
    let dir = cluster.dir().display().to_string();
    let addresses = || {
        let file: Value =
            serde_json::from_slice(&std::fs::read(cluster.dir().join("cluster.json")).unwrap()).unwrap();
        (file["coordinators"].clone(), file["workers"].clone(), file["routers"].clone())
    };
    let before = addresses();
    cluster.supervisor().send(Signal::KILL);
    for round in 0..3 {
        // Nothing is named but the folder, and the nodes of the killed start are still there.
        let output = folder.path().join(round.to_string());
        std::fs::create_dir(&output).unwrap();
        let mut again = Running::start(&output, &["up", "--supervised", "--dir", &dir]);
        let url = again.prints("the cluster is up again", |text| {
            text.contains("Ctrl-C")
                .then(|| text.split_whitespace().find(|word| word.starts_with("http")))?
                .map(str::to_owned)
        });
        assert_eq!(url.await, cluster.url(), "round {round}");
        assert_eq!(addresses(), before, "round {round}");
        let said = again.stderr();
        assert!(said.contains("worker.training_threads") && said.contains("router.timeout_ms"), "{said}");
        again.send(Signal::KILL);
    }
    let settings = std::fs::read_to_string(cluster.dir().join("config/worker-2.toml")).unwrap();
    assert!(settings.contains("training_threads = 1"), "{settings}");
}
