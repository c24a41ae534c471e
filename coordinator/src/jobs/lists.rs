//! Batch lists: every worker maps the version, then user shards are handed out one by one.
//!
//! What is known of a part that was written lies in the job's staging folder, a small object each: a later attempt, or
//! another leader, has only the others made. A part's bytes do not depend on who makes it.

use prost::Message as _;
use shoal_common::store::join;
use shoal_proto::v1::{
    DatasetInfo, JobInfo, ListsBegin, ListsClaim, ListsDiscard, ListsFinish, ListsPart, ListsWrite,
    update_job::Update,
};

use super::{
    error::JobError,
    lanes::share_out,
    shares::Shares,
    steps::{Crew, incomplete},
    tracker::{Phase, Tracker},
};
use crate::{
    leader::{Leader, LiveWorker},
    state::Job,
};

/// User shards that a worker has under way: one is written while another is ranked for.
const LANES: usize = 2;

const LOADING: Phase = Phase { name: "loading", text: "loading the version", span: (0.0, 0.05) };
const WRITING: Phase = Phase { name: "writing", text: "writing the lists", span: (0.05, 0.98) };
const PUBLISHING: Phase = Phase { name: "publishing", text: "closing the folder", span: (0.98, 1.0) };

pub(super) async fn run(
    leader: &Leader,
    job: &mut Job,
    workers: &[LiveWorker],
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    let info = job.info.clone();
    if info.listed.is_some() {
        // Written by an attempt whose leader was lost before it could say so.
        return Ok(());
    }
    let request = info.lists.clone().unwrap_or_default();
    let state = leader.raft.view().borrow().clone();
    let gone = |what: &str, name: &str| JobError::Fatal(format!("{what} '{name}' is gone"));
    let version = state.versions.get(&request.version).cloned();
    let version = version.ok_or_else(|| gone("version", &request.version))?;
    let dataset = state.dataset(&version.dataset_name, &version.dataset_version).cloned();
    let dataset = dataset.ok_or_else(|| gone("data set", &version.dataset_name))?;

    tracker.begin(&LOADING);
    let crew = Crew { job_id: info.job_id.clone(), attempt: info.attempt, workers: workers.to_vec() };
    let begin = ListsBegin {
        components: state.components([&version]),
        version: Some(version),
        dataset: Some(dataset.clone()),
        parameters: request.parameters.clone(),
        created_unix_ms: info.created_unix_ms,
    };
    crew.on_all(leader, begin, tracker).await?;
    let claim = ListsClaim { parts: known_parts(leader, &info).await? };
    let whole = crew.on_first(leader, claim).await?.parts;
    tracker.begin(&WRITING);
    let parts = write(leader, &info, &crew, &dataset, whole, tracker).await?;
    tracker.begin(&PUBLISHING);
    let listed = crew.on_first(leader, ListsFinish { parts }).await?;
    leader.update_job(&info.job_id, Update::ListsWritten(listed.clone())).await?;
    job.info.listed = Some(listed);
    Ok(())
}

/// Where what is known of the parts lies until the job is over.
fn parts_folder(info: &JobInfo) -> String {
    format!("staging/{}/lists", info.job_id)
}

/// The parts that earlier attempts have written.
async fn known_parts(leader: &Leader, info: &JobInfo) -> Result<Vec<ListsPart>, JobError> {
    let mut parts = Vec::new();
    for (path, _) in leader.store.list(&parts_folder(info)).await? {
        let part = ListsPart::decode(leader.store.get(&path).await?);
        // One that cannot be read is one that is made again.
        parts.extend(part.ok());
    }
    Ok(parts)
}

/// Has the user shards written that are not among `parts`; all parts.
async fn write(
    leader: &Leader,
    info: &JobInfo,
    crew: &Crew,
    dataset: &DatasetInfo,
    mut parts: Vec<ListsPart>,
    tracker: &mut Tracker,
) -> Result<Vec<ListsPart>, JobError> {
    let users_of = |shard: u32| {
        dataset.user_shards.iter().find(|stats| stats.shard == shard).map_or(0, |stats| stats.rows)
    };
    let is_missing = |shard: &u32| parts.iter().all(|part| part.shard != *shard);
    let mut missing: Vec<u32> = (0..dataset.shard_count).filter(is_missing).collect();
    // The longest first, so that no worker is left alone with it.
    missing.sort_by_key(|shard| (std::cmp::Reverse(users_of(*shard)), *shard));
    let mut done: u64 = parts.iter().map(|part| users_of(part.shard)).sum();
    let lanes: Vec<&LiveWorker> =
        crew.workers.iter().flat_map(|worker| std::iter::repeat_n(worker, LANES)).collect();
    // Users of its shard that each lane has done so far.
    let shares = &Shares::new(lanes.len());
    let work = |lane: usize, shard: u32| {
        let worker = lanes[lane];
        async move {
            let on_users = |done, total| shares.set(lane, done, total);
            let part = crew.on_one(leader, worker, ListsWrite { shard }, on_users).await?;
            if part.shard != shard {
                return Err(incomplete(worker, "the lists of the shard that it was given"));
            }
            let path = join(&parts_folder(info), &format!("part-{shard:05}.bin"));
            leader.store.put(&path, part.encode_to_vec().into()).await?;
            Ok(part)
        }
    };
    let on_news = |part: Option<ListsPart>| {
        if let Some(part) = part {
            done += users_of(part.shard);
            parts.push(part);
            tracker.milestone();
        }
        tracker.done((done + shares.done()) as f64 / dataset.users.max(1) as f64);
    };
    share_out(missing, shares, work, on_news).await?;
    Ok(parts)
}

/// Has removed what a job has written that came to nothing.
pub(super) async fn discard(leader: &Leader, info: &JobInfo) {
    let request = info.lists.clone().unwrap_or_default();
    let parameters = request.parameters.unwrap_or_default();
    let state = leader.raft.view().borrow().clone();
    // Nothing was written before the first attempt.
    if info.attempt == 0 {
        return;
    }
    let dataset = state.versions.get(&request.version).and_then(|version| {
        state.dataset(&version.dataset_name, &version.dataset_version).map(|dataset| dataset.shard_count)
    });
    let step = ListsDiscard {
        parameters: Some(parameters),
        shard_count: dataset.unwrap_or_default(),
        created_unix_ms: info.created_unix_ms,
    };
    // The folder is one that workers reach; a coordinator may not.
    let workers = leader.members.live_workers(&state, leader.config.lease);
    for worker in &workers {
        let (job_id, attempt) = (info.job_id.clone(), info.attempt);
        let crew = Crew { job_id, attempt, workers: vec![worker.clone()] };
        match crew.on_first(leader, step.clone()).await {
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(job = info.job_id, %error, "what was written of lists was left behind")
            }
        }
    }
}
