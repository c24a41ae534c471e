//! Versions switched under load: every answer is right for the version that it names, and none fails.

use crate::support::{Cluster, Load, Oracle, SMALL, Shape, folder, generate};

const CLIENTS: usize = 4;
/// Questions between two switches: every client asks of every kind.
const QUESTIONS: usize = 60;
const ROUNDS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_mixes_versions_while_they_are_switched_back_and_forth() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 3, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    // Another rank too: a row of one version does not even fit the other.
    let versions =
        [cluster.train(&["--promote"]), cluster.train(&["--seed", "2"]), cluster.train(&["--no-biases"])];
    let oracles = versions.each_ref().map(|version| Oracle::of(&cluster, version, &data));
    let load = Load::start(&cluster.http(), oracles.into(), CLIENTS);
    for round in 0..ROUNDS {
        for version in &versions {
            load.asks(QUESTIONS).await;
            cluster.shoal(&["models", "promote", version]).exits_with(0);
        }
        load.asks(QUESTIONS).await;
        let back = cluster.shoal(&["models", "rollback", "--json"]).json();
        assert_eq!(back["live_version"], versions[1].as_str(), "round {round}");
    }
    load.asks(QUESTIONS).await;
    let outcome = load.stop().await;
    outcome.check_every_one_right();
    assert!(
        outcome.right.iter().all(|count| *count > QUESTIONS),
        "each version has answered: {:?}",
        outcome.right
    );
}
