//! The state as bytes and back. Both ways destructure exhaustively, so that a field cannot be
//! forgotten: a new one does not compile until it is in the snapshot.
//!
//! A snapshot begins with the checksum of all that follows. Protobuf reads fields in any order and passes over those it
//! does not know, so releases before the checksum read the rest; a snapshot of theirs has none and is believed.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use shoal_common::model_parameters::update_version;
use shoal_core::hash::checksum_bytes;
use shoal_proto::v1::{JobRecord, MetadataSnapshot, ModelVersion, ServedModel};

use super::{ClusterState, Job};
use crate::raft::RestoreError;

/// How a snapshot with a checksum begins: the key of `MetadataSnapshot.checksum` (number 1,000, of bytes) and its length.
const CHECKSUM_KEY: [u8; 3] = [0xc2, 0x3e, 16];

impl ClusterState {
    /// The state as bytes, a checksum first.
    #[must_use]
    pub fn to_snapshot_bytes(&self) -> Bytes {
        let state = self.to_snapshot().encode_to_vec();
        [&CHECKSUM_KEY[..], &checksum_bytes(&state), &state].concat().into()
    }

    /// As it is kept on disk and sent to members that lag.
    #[must_use]
    pub fn to_snapshot(&self) -> MetadataSnapshot {
        let Self {
            cluster_id,
            nodes,
            datasets,
            placements,
            versions,
            served,
            default_model,
            jobs,
            answered,
            last_job_number,
            tokens,
            had_tokens,
        } = self.clone();
        MetadataSnapshot {
            cluster_id,
            nodes: nodes.into_values().collect(),
            datasets: datasets.into_values().collect(),
            placements: placements.into_values().collect(),
            versions: versions.into_values().collect(),
            live_version: String::new(),
            previous_version: String::new(),
            promoting_version: String::new(),
            jobs: jobs.into_values().map(JobRecord::from).collect(),
            answered: answered.into_values().collect(),
            served: served.into_values().collect(),
            default_model,
            last_job_number,
            tokens: tokens.into_values().collect(),
            had_tokens,
            checksum: Bytes::new(),
        }
    }

    /// From a snapshot's bytes.
    ///
    /// # Errors
    /// When they are not a snapshot, or not as they were written.
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
            served,
            default_model,
            last_job_number,
            tokens,
            had_tokens,
            checksum,
        } = MetadataSnapshot::decode(whole(bytes)?).map_err(|error| RestoreError(error.to_string()))?;
        if !checksum.is_empty() {
            return Err(RestoreError("its checksum is not at its beginning".to_owned()));
        }
        let name_of = |info: &Option<shoal_proto::v1::NodeInfo>| info.clone().unwrap_or_default().name;
        let mut known_jobs = BTreeMap::new();
        for record in jobs {
            let job = Job::try_from(record).map_err(|error| RestoreError(error.to_string()))?;
            known_jobs.insert(job.info.job_id.clone(), job);
        }
        let versions: BTreeMap<String, ModelVersion> =
            versions.into_iter().map(updated).map(|version| (version.name.clone(), version)).collect();
        let old = ServedModel { live_version, previous_version, promoting_version, ..ServedModel::default() };
        let (served, default_model) = match served_before(old, &versions) {
            Some(old) => {
                (vec![old.clone()], if old.live_version.is_empty() { String::new() } else { old.model })
            }
            None => (served, default_model),
        };
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
            versions,
            served: served.into_iter().map(|served| (served.model.clone(), served)).collect(),
            default_model,
            jobs: known_jobs,
            answered: answered.into_iter().map(|answered| (answered.index, answered)).collect(),
            last_job_number,
            tokens: tokens.into_iter().map(|token| (token.id.clone(), token)).collect(),
            had_tokens,
        })
    }
}

/// What follows the checksum, which must be that of these bytes; all bytes where there is no checksum.
fn whole(bytes: &[u8]) -> Result<&[u8], RestoreError> {
    let Some(rest) = bytes.strip_prefix(&CHECKSUM_KEY) else { return Ok(bytes) };
    match rest.split_first_chunk::<16>() {
        Some((checksum, state)) if *checksum == checksum_bytes(state) => Ok(state),
        _ => Err(RestoreError("its checksum is another: bytes of it were changed or lost".to_owned())),
    }
}

/// A version in today's form, whichever build has written it.
fn updated(mut version: ModelVersion) -> ModelVersion {
    update_version(&mut version);
    version
}

/// What a release that served one version has written, as what is served of that version's model.
fn served_before(old: ServedModel, versions: &BTreeMap<String, ModelVersion>) -> Option<ServedModel> {
    // No name is that of no version, and a release that served several has written none here.
    let names = [&old.live_version, &old.promoting_version];
    let version = names.into_iter().filter(|name| !name.is_empty()).find_map(|name| versions.get(name))?;
    Some(ServedModel { model: version.model.clone(), ..old })
}
