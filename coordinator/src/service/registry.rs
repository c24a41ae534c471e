//! What is registered from outside, and what may go live.

use std::time::Duration;

use shoal_common::store::{Manifest, StoreError};
use shoal_proto::v1::{
    DatasetInfo, ModelVersion, RegisterModelRequest, RegisterVersion, metadata_command::Command,
};
use tonic::Status;

use super::member::{CoordinatorService, invalid};
use crate::{
    record_checks::{
        dataset_problems, kind_of, missing_blocks, missing_parts, part_problems, serving_problems,
        version_problems,
    },
    state::ClusterState,
};

/// How long the store may take to give a manifest.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

impl CoordinatorService {
    /// Registers a version whose files are in this very store, if everything that is said of it can be true.
    pub(super) async fn register(&self, request: RegisterModelRequest) -> Result<(), Status> {
        self.check_leads()?;
        let RegisterModelRequest { version, dataset, request_id } = request;
        let missing = || Status::invalid_argument("the version to register is missing");
        let version = version.ok_or_else(missing)?;
        let mut problems = version_problems(&version);
        problems.extend(dataset.iter().flat_map(dataset_problems));
        invalid(&problems)?;
        let state = self.read().await?;
        if let Some(blend) = &version.hybrid {
            let of_versions =
                blend.sources.iter().map(|source| &source.version).filter(|name| !name.is_empty());
            let unknown = of_versions.filter(|name| !state.versions.contains_key(*name));
            let unknown: Vec<String> =
                unknown.map(|name| format!("it blends '{name}', which there is not")).collect();
            invalid(&unknown)?;
        }
        let known = state.dataset(&version.dataset_name, &version.dataset_version);
        // The command refuses a version whose data set neither is there nor comes along.
        if let Some(of) = dataset.as_ref().or(known) {
            self.check_files(&version, of, dataset.is_some()).await?;
        }
        let command = Command::RegisterVersion(RegisterVersion { version: Some(version), dataset });
        self.command_once(request_id, command).await.map(drop)
    }

    /// Whether the files of a version, and of a data set that comes with it, are there and of the same shards.
    async fn check_files(
        &self,
        version: &ModelVersion,
        dataset: &DatasetInfo,
        is_new: bool,
    ) -> Result<(), Status> {
        let shard_count = dataset.shard_count;
        let manifest = self.manifest(&version.path, &version.manifest_checksum).await?;
        let mut problems = part_problems(&manifest.objects, shard_count);
        problems.extend(
            kind_of(version)
                .map(|kind| missing_parts(kind, &manifest.objects, shard_count))
                .unwrap_or_default(),
        );
        if is_new {
            let manifest = self.manifest(&dataset.path, &dataset.manifest_checksum).await?;
            problems.extend(missing_blocks(&manifest.objects, shard_count));
        }
        if problems.is_empty() { Ok(()) } else { Err(Status::failed_precondition(problems.join("; "))) }
    }

    async fn manifest(&self, path: &str, checksum: &str) -> Result<Manifest, Status> {
        let read = Manifest::read(&self.leader.store, path, checksum);
        let read = tokio::time::timeout(STORE_PATIENCE, read).await;
        let read = read.map_err(|_| {
            Status::unavailable(format!("the store did not give the manifest of '{path}' in time"))
        })?;
        read.map_err(|error| {
            Status::failed_precondition(format!(
                "the cluster's store does not have '{path}' as described: {error}"
            ))
        })
    }

    /// Whether a version can go live at all: whoever asks hears at once why not, and the live version stays.
    pub(super) async fn check_can_be_served(&self, name: &str) -> Result<(), Status> {
        let state = self.read().await?;
        // The command refuses a version that there is not.
        let Some(version) = state.versions.get(name) else { return Ok(()) };
        let mut problems = self.problems_of_serving(&state, version).await;
        // A blend is served from the versions that it names.
        for component in state.components([version]) {
            problems.extend(self.problems_of_serving(&state, &component).await);
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "version '{name}' cannot be served: {}; the live version stays",
            problems.join("; ")
        )))
    }

    async fn problems_of_serving(&self, state: &ClusterState, version: &ModelVersion) -> Vec<String> {
        let Some(dataset) = state.dataset(&version.dataset_name, &version.dataset_version) else {
            return vec![format!("the data set of '{}' is gone", version.name)];
        };
        let mut problems = serving_problems(dataset);
        if kind_of(version).is_none() {
            problems.push(format!("'{}' is of a model that this release does not know", version.name));
        }
        if !problems.is_empty() {
            return problems;
        }
        let read = Manifest::read(&self.leader.store, &version.path, &version.manifest_checksum);
        match tokio::time::timeout(STORE_PATIENCE, read).await {
            Ok(Ok(manifest)) => part_problems(&manifest.objects, dataset.shard_count),
            Ok(Err(error @ (StoreError::NotFound(_) | StoreError::Damaged { .. }))) => {
                vec![error.to_string()]
            }
            // A store that is out of reach says nothing of the version: workers may have it loaded.
            Ok(Err(error)) => {
                tracing::warn!(version = version.name, %error, "a version that is promoted could not be looked at");
                Vec::new()
            }
            Err(_) => {
                tracing::warn!(
                    version = version.name,
                    "the store did not answer in time of a version that is promoted"
                );
                Vec::new()
            }
        }
    }
}
