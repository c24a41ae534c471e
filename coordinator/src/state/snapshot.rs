//! The state as bytes and back. Both ways destructure exhaustively, so that a field cannot be
//! forgotten: a new one does not compile until it is in the snapshot.

use prost::Message as _;
use shoal_proto::v1::MetadataSnapshot;

use super::ClusterState;
use crate::raft::RestoreError;

impl ClusterState {
    /// As it is kept on disk and sent to members that lag.
    #[must_use]
    pub fn to_snapshot(&self) -> MetadataSnapshot {
        let Self {
            cluster_id,
            nodes,
            datasets,
            placements,
            versions,
            live_version,
            previous_version,
            promoting_version,
            jobs,
            answered,
        } = self.clone();
        MetadataSnapshot {
            cluster_id,
            nodes: nodes.into_values().collect(),
            datasets: datasets.into_values().collect(),
            placements: placements.into_values().collect(),
            versions: versions.into_values().collect(),
            live_version,
            previous_version,
            promoting_version,
            jobs: jobs.into_values().collect(),
            answered: answered.into_values().collect(),
        }
    }

    /// From a snapshot's bytes.
    ///
    /// # Errors
    /// When they are not a snapshot.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, RestoreError> {
        let MetadataSnapshot {
            cluster_id,
            nodes,
            datasets,
            placements,
            versions,
            live_version,
            previous_version,
            promoting_version,
            jobs,
            answered,
        } = MetadataSnapshot::decode(bytes).map_err(|error| RestoreError(error.to_string()))?;
        let name_of = |info: &Option<shoal_proto::v1::NodeInfo>| info.clone().unwrap_or_default().name;
        let id_of = |info: &Option<shoal_proto::v1::JobInfo>| info.clone().unwrap_or_default().job_id;
        Ok(Self {
            cluster_id,
            nodes: nodes.into_iter().map(|node| (name_of(&node.info), node)).collect(),
            datasets: datasets
                .into_iter()
                .map(|dataset| ((dataset.name.clone(), dataset.version.clone()), dataset))
                .collect(),
            placements: placements
                .into_iter()
                .map(|placement| {
                    ((placement.dataset_name.clone(), placement.dataset_version.clone()), placement)
                })
                .collect(),
            versions: versions.into_iter().map(|version| (version.name.clone(), version)).collect(),
            live_version,
            previous_version,
            promoting_version,
            jobs: jobs.into_iter().map(|job| (id_of(&job.info), job)).collect(),
            answered: answered.into_iter().map(|answered| (answered.index, answered)).collect(),
        })
    }
}
