//! How jobs are numbered and named, and for how long what is over is remembered.
//!
//! All of it follows from the commands alone, so that every member forgets the same records. Until the first job that
//! is counted the rules are those of the release before: a log that it wrote gives again what it gave then.

use std::collections::{BTreeSet, HashMap};

use shoal_common::{
    clock::{UtcTime, stamps},
    model_parameters::{self, update_request},
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    CommandReply, CreateJob, JobInfo, JobState, NodeHealth, NodeRecord, RefusalKind, StartTrainingRequest,
};

use super::{ClusterState, Job, refused};

/// Jobs that are over and kept for people to look at: the last ones by number.
pub const FINISHED_JOBS_KEPT: usize = 1_000;

/// Bytes of the records of those jobs: where they are larger, fewer are kept. A snapshot has to fit into one message.
pub const FINISHED_JOBS_BYTES_MAX: u64 = 16 << 20;

/// What the release that did not count jobs kept.
const FINISHED_JOBS_KEPT_BEFORE: usize = 200;

/// Nodes that are down, serve no shard and are still shown: those that went down last.
pub const LOST_NODES_KEPT: usize = 64;

/// Nodes that are known at once. Every one of them is told of every other.
pub const NODES_MAX: usize = 1_000;

impl ClusterState {
    /// Makes a job of the next number. `index` is the command's place in the log.
    pub(super) fn create_job(&mut self, index: u64, create: CreateJob) -> CommandReply {
        let CreateJob { info, counted } = create;
        let Some(mut info) = info else {
            return refused(RefusalKind::Invalid, "a job needs a description".to_owned());
        };
        info.training.as_mut().map(update_request);
        if let Some(training) = &info.training
            && self.dataset(&training.dataset_name, &training.dataset_version).is_none()
        {
            let (name, version) = (&training.dataset_name, &training.dataset_version);
            return refused(
                RefusalKind::NotFound,
                format!("there is no data set '{name}' {version}; import it first"),
            );
        }
        if let Some(lists) = &info.lists
            && !self.versions.contains_key(&lists.version)
        {
            let version = &lists.version;
            return refused(
                RefusalKind::NotFound,
                format!("there is no model version '{version}'; `shoal models list` shows those there are"),
            );
        }
        let number = if counted { self.highest_job_number() + 1 } else { index };
        if counted {
            info.stamp = self.free_stamp(&info);
        } else {
            info.stamp.clear();
            info.created_unix_ms = self.free_second(info.created_unix_ms);
        }
        // A leader of the release before may still propose a job that is not counted.
        if counted || self.counts_jobs() {
            self.last_job_number = self.last_job_number.max(number);
        }
        let job_id = format!("job-{number:06}");
        info.job_id.clone_from(&job_id);
        info.set_state(JobState::Queued);
        let promote_pending = info.training.as_ref().is_some_and(|training| training.promote);
        self.jobs.insert(job_id.clone(), Job { info, promote_pending, ..Job::default() });
        self.forget_old_jobs();
        CommandReply { job_id, ..CommandReply::default() }
    }

    /// Whether a job was created that is counted.
    fn counts_jobs(&self) -> bool {
        self.last_job_number > 0
    }

    /// The number of the last job. Until jobs are counted it is that of the youngest one, which is never forgotten
    /// before older ones.
    fn highest_job_number(&self) -> u64 {
        let number = |id: &String| id.strip_prefix("job-")?.parse::<u64>().ok();
        let known = if self.counts_jobs() { None } else { self.jobs.keys().filter_map(number).max() };
        known.unwrap_or(self.last_job_number)
    }

    /// The first stamp of the second that no job has, and that gives a name which no data set and no version has: two of
    /// one name would write over each other.
    fn free_stamp(&self, info: &JobInfo) -> String {
        let is_taken = |stamp: &String| {
            let of_job = |info: &JobInfo| match info.stamp.is_empty() {
                true => stamp_of(info) == *stamp,
                false => info.stamp == *stamp,
            };
            let import = info.import.as_ref().map(|import| (import.name.clone(), stamp.clone()));
            let training = info.training.as_ref().map(|training| version_name(kind_of(training), stamp));
            self.jobs.values().map(|job| &job.info).any(of_job)
                || import.is_some_and(|key| self.datasets.contains_key(&key))
                || training.is_some_and(|name| self.versions.contains_key(&name))
        };
        // Finitely many are taken, so one is free.
        stamps(info.created_unix_ms).find(|stamp| !is_taken(stamp)).unwrap_or_default()
    }

    /// As the release before told jobs of one second apart: the time given, or the first second after it in which
    /// nothing was created.
    fn free_second(&self, created_unix_ms: i64) -> i64 {
        let jobs = self.jobs.values().map(|job| job.info.created_unix_ms);
        let datasets = self.datasets.values().map(|dataset| dataset.created_unix_ms);
        let versions = self.versions.values().map(|version| version.created_unix_ms);
        let second = |unix_ms: i64| unix_ms.div_euclid(1_000);
        let taken: BTreeSet<i64> = jobs.chain(datasets).chain(versions).map(second).collect();
        let free = (0_i64..).map(|later| created_unix_ms.saturating_add(later * 1_000));
        // Finitely many seconds are taken, so a free one is found.
        free.take(taken.len() + 1).find(|&at| !taken.contains(&second(at))).unwrap_or(created_unix_ms)
    }

    /// Every job, oldest first.
    #[must_use]
    pub fn jobs_by_age(&self) -> Vec<&Job> {
        let mut jobs: Vec<_> = self.jobs.iter().collect();
        jobs.sort_by_key(|(id, _)| age(id));
        jobs.into_iter().map(|(_, job)| job).collect()
    }

    /// Forgets the oldest of the jobs that are over. The last one stays, however large it is.
    pub(super) fn forget_old_jobs(&mut self) {
        let (kept_max, bytes_max) = match self.counts_jobs() {
            true => (FINISHED_JOBS_KEPT, FINISHED_JOBS_BYTES_MAX),
            false => (FINISHED_JOBS_KEPT_BEFORE, u64::MAX),
        };
        loop {
            let over = self.jobs.iter().filter(|(_, job)| job.is_over());
            let (mut count, mut bytes, mut oldest) = (0, 0, None::<&String>);
            for (id, job) in over {
                (count, bytes) = (count + 1, bytes + job.record_bytes);
                if oldest.is_none_or(|oldest| age(id) < age(oldest)) {
                    oldest = Some(id);
                }
            }
            let Some(oldest) =
                oldest.filter(|_| count > kept_max || (count > 1 && bytes > bytes_max)).cloned()
            else {
                return;
            };
            self.jobs.remove(&oldest);
        }
    }

    /// Forgets where the shards of data sets are that nobody serves: should one be served again it is placed anew.
    pub(super) fn forget_old_placements(&mut self) {
        if !self.counts_jobs() {
            return;
        }
        let served: BTreeSet<_> = self
            .wanted_versions()
            .into_iter()
            .map(|version| (version.dataset_name.clone(), version.dataset_version.clone()))
            .collect();
        self.placements.retain(|key, _| served.contains(key));
    }

    /// The workers that shards are placed on.
    #[must_use]
    pub fn placed_nodes(&self) -> BTreeSet<&String> {
        let shards = self.placements.values().flat_map(|placement| &placement.shards);
        shards.flat_map(|shard| &shard.nodes).collect()
    }

    /// Forgets a node, unless it is up: it would be back with its next heartbeat.
    pub(super) fn forget_node(&mut self, name: &str) -> CommandReply {
        let Some(node) = self.nodes.get(name) else {
            let reason = format!("there is no node '{name}'; `shoal nodes list` shows those there are");
            return refused(RefusalKind::NotFound, reason);
        };
        if !is_down(node) {
            return refused(RefusalKind::Precondition, format!("node '{name}' is up; stop it first"));
        }
        self.nodes.remove(name);
        CommandReply::default()
    }

    /// Forgets the nodes that have been down for longest: where names are drawn at each start, they would be more and
    /// more, and every worker and router is told of them.
    pub(super) fn forget_lost_nodes(&mut self) {
        if !self.counts_jobs() {
            return;
        }
        let placed = self.placed_nodes();
        let lost = self.nodes.iter().filter(|(name, node)| is_down(node) && !placed.contains(name));
        let mut lost: Vec<(i64, String)> =
            lost.map(|(name, node)| (node.down_since_unix_ms, name.clone())).collect();
        lost.sort_unstable();
        let over = lost.len().saturating_sub(LOST_NODES_KEPT);
        for (_, name) in lost.drain(..over) {
            self.nodes.remove(&name);
        }
    }
}

fn is_down(node: &NodeRecord) -> bool {
    node.info.as_ref().is_some_and(|info| info.health() == NodeHealth::Down)
}

/// The time of a job's creation as the names of what it makes have it.
#[must_use]
pub fn stamp_of(info: &JobInfo) -> String {
    if info.stamp.is_empty() {
        UtcTime::from_unix_ms(info.created_unix_ms).compact()
    } else {
        info.stamp.clone()
    }
}

/// The kind of model that a request makes. One that names no model is of a build that knew only ALS.
#[must_use]
pub fn kind_of(request: &StartTrainingRequest) -> ModelKind {
    let model = request.model.as_ref().and_then(|parameters| parameters.model.as_ref());
    model.map_or(ModelKind::Als, model_parameters::kind_of)
}

/// The name of the version that a training of this kind and stamp makes.
#[must_use]
pub fn version_name(kind: ModelKind, stamp: &str) -> String {
    format!("{}_model_v1_{stamp}", kind.folder())
}

/// Ids are numbers padded to six digits; those with more are younger.
fn age(id: &str) -> (usize, &str) {
    (id.len(), id)
}

/// The sum of the phases, added in the order of their names so that every member has the same bits.
pub(super) fn spent(phase_seconds: &HashMap<String, f64>) -> f64 {
    let mut phases: Vec<(&String, f64)> =
        phase_seconds.iter().map(|(name, seconds)| (name, *seconds)).collect();
    phases.sort_unstable_by_key(|(name, _)| *name);
    phases.into_iter().map(|(_, seconds)| seconds).sum()
}
