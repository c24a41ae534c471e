//! What is believed of a snapshot's bytes.

use super::*;

fn written() -> (ClusterState, Vec<u8>) {
    let mut machine = Machine::with_versions(&["v1", "v2"]);
    machine.promote("v1");
    (machine.state(), machine.metadata.snapshot().to_vec())
}

#[test]
fn bytes_that_were_changed_or_lost_are_noticed() {
    let (state, bytes) = written();
    assert_eq!(ClusterState::from_snapshot(&bytes).unwrap(), state);
    // The first bytes say that there is a checksum.
    for at in 3..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let refused = ClusterState::from_snapshot(&changed).unwrap_err().to_string();
        assert!(refused.contains("its checksum is another"), "byte {at}: {refused}");
        assert!(ClusterState::from_snapshot(&bytes[..at]).is_err(), "cut off at {at}");
    }
}

/// As the releases before wrote it; and they read what this one writes.
#[test]
fn a_snapshot_without_a_checksum_is_read() {
    let (state, bytes) = written();
    let without = state.to_snapshot().encode_to_vec();
    assert_eq!(ClusterState::from_snapshot(&without).unwrap(), state);
    let mut read = MetadataSnapshot::decode(&bytes[..]).unwrap();
    assert_eq!(std::mem::take(&mut read.checksum).len(), 16);
    assert_eq!(read, state.to_snapshot());
}

#[test]
fn a_snapshot_of_another_cluster_is_not_taken_from_a_member() {
    let (_, bytes) = written();
    let of = |cluster: &str| Metadata::new(cluster).check(&bytes).map_err(|error| error.to_string());
    assert_eq!(of("c"), Ok(()));
    let refused = of("d").unwrap_err();
    assert!(refused.contains("cluster 'c'"), "{refused}");
    Metadata::new("c").check(b"\xff newer").unwrap_err();
}
