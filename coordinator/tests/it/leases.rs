//! Who counts as heard of, and for how long.

use std::time::Duration;

use shoal_coordinator::leader::Members;
use shoal_proto::v1::HeartbeatRequest;

#[tokio::test(start_paused = true)]
async fn a_lease_lasts_as_long_as_it_is_said_to() {
    let (lease, moment) = (Duration::from_millis(900), Duration::from_millis(1));
    let members = Members::default();
    assert!(!members.has_lease("w", lease), "nobody has heard of it");
    let beat = HeartbeatRequest { node: "w".to_owned(), ..HeartbeatRequest::default() };
    for _ in 0..2 {
        members.beat(&beat);
        tokio::time::advance(lease - moment).await;
        assert!(members.has_lease("w", lease));
    }
    tokio::time::advance(moment).await;
    assert!(!members.has_lease("w", lease));
}
