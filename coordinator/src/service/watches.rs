//! Streams that tell of every change. There may be so many of them at once.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use shoal_common::{
    access::{Holder, has_expired},
    plain_text::NodeName,
};
use shoal_proto::v1::{JobInfo, Metadata, WatchMetadataRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::member::{CoordinatorService, Replies, WATCHERS_MAX, WATCHES_OF_A_TOKEN_MAX, stopping};
use crate::{leader::Published, raft::Leadership};

/// The metadata now and at each change, as long as this member leads in `term`: when leadership moves the watch ends, and the
/// watcher finds the new leader. A change that comes while nobody waits for it is told at the next turn. `place` is held for
/// as long as the stream is.
fn changes_of_term<P: Send + 'static>(
    term: u64,
    takes_changes: bool,
    metadata: watch::Receiver<Arc<Published>>,
    leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
    place: P,
) -> impl Stream<Item = Metadata> + Send {
    let start = (metadata, leadership, stop, place, true, None::<Arc<Published>>);
    stream::unfold(start, move |(mut metadata, mut leadership, stop, place, mut news, last)| async move {
        loop {
            // Looking at it marks it as told: only what is told may be looked at.
            if news {
                let current = Arc::clone(&metadata.borrow_and_update());
                if current.leader_term == term {
                    // Nothing waits to be sent but what is made here, when the one before has been taken.
                    let message = match takes_changes {
                        true => current.after(last.as_deref()),
                        false => Metadata::clone(&current),
                    };
                    return Some((message, (metadata, leadership, stop, place, false, Some(current))));
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                changed = leadership.changed() => {
                    let known = leadership.borrow_and_update();
                    if changed.is_err() || !known.is_leader || known.term != term {
                        return None;
                    }
                }
                changed = metadata.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                    news = true;
                }
            }
        }
    })
}

impl CoordinatorService {
    /// The metadata now and at each change, until another member leads.
    pub(super) fn metadata_as_it_changes(
        &self,
        request: WatchMetadataRequest,
    ) -> Result<Replies<Metadata>, Status> {
        self.check_cluster(&request.cluster_id)?;
        self.check_leads()?;
        let node = NodeName::new(request.node);
        node.map_err(|wrong| Status::invalid_argument(format!("the name of the node: {wrong}")))?;
        let place = take_place(&self.watchers, "the metadata")?;
        let term = self.leader.raft.leadership().borrow().term;
        let (metadata, leadership) = (self.leader.metadata(), self.leader.raft.leadership());
        let stop = self.shutdown.token();
        let takes_changes = request.takes_changes;
        let changes = changes_of_term(term, takes_changes, metadata, leadership, stop, place);
        Ok(changes.map(Ok).boxed())
    }

    /// A job now and at each change, until it is over.
    ///
    /// It ends when the token of whoever watches is no longer good.
    pub(super) async fn job_as_it_changes(
        &self,
        job_id: String,
        holder: Option<Holder>,
    ) -> Result<Replies<JobInfo>, Status> {
        let state = self.read().await?;
        self.job_of(&state, &job_id)?;
        let share = holder.as_ref().map(|holder| {
            let share = self.job_watches_by_token.take(&holder.token_id, WATCHES_OF_A_TOKEN_MAX);
            share.ok_or_else(|| {
                Status::resource_exhausted(format!(
                    "this token has {WATCHES_OF_A_TOKEN_MAX} streams that watch jobs, as many as one token may; end some"
                ))
            })
        });
        let place = (take_place(&self.job_watchers, "jobs")?, Arc::new(share.transpose()?));
        let (states, reports) = (self.leader.raft.view(), self.leader.progress.watch());
        let start = (self.clone(), states, reports, None::<JobInfo>, false);
        let replies = stream::unfold(start, move |(service, mut states, mut reports, mut last, over)| {
            let (job_id, place, holder) = (job_id.clone(), place.clone(), holder.clone());
            async move {
                // Held for as long as the stream is.
                let _place = place;
                if over {
                    return None;
                }
                loop {
                    if let Err(status) = service.check_leads() {
                        return Some((Err(status), (service, states, reports, last, true)));
                    }
                    let state = Arc::clone(&states.borrow_and_update());
                    let now = service.leader.clock.now_unix_ms();
                    let is_good = |holder: &Holder| {
                        let known = state.tokens.get(&*holder.token_id);
                        known.is_some_and(|token| !has_expired(token, now))
                    };
                    if holder.as_ref().is_some_and(|holder| !is_good(holder)) {
                        let over = Status::unauthenticated("the token was revoked, or has expired");
                        return Some((Err(over), (service, states, reports, last, true)));
                    }
                    reports.borrow_and_update();
                    let job = state.jobs.get(&job_id)?;
                    let over = job.is_over();
                    let info = service.leader.progress.fill(job.info.clone());
                    if last.as_ref() != Some(&info) {
                        last = Some(info.clone());
                        return Some((Ok(info), (service, states, reports, last, over)));
                    }
                    tokio::select! {
                        biased;
                        () = service.shutdown.requested() => return Some((Err(stopping()), (service.clone(), states, reports, last, true))),
                        changed = states.changed() => if changed.is_err() { return None },
                        _ = reports.changed() => {}
                        () = tokio::time::sleep(Duration::from_millis(500)) => {}
                    }
                }
            }
        });
        Ok(replies.boxed())
    }
}

/// A place among those who watch.
fn take_place(places: &Arc<Semaphore>, what: &str) -> Result<Arc<OwnedSemaphorePermit>, Status> {
    let place = Arc::clone(places).try_acquire_owned();
    place.map(Arc::new).map_err(|_| {
        Status::resource_exhausted(format!(
            "{WATCHERS_MAX} streams watch {what}, as many as may; end some, or ask again later"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(leader_term: u64, revision: u64) -> Arc<Published> {
        let metadata = Metadata { leader_term, revision, ..Metadata::default() };
        Arc::new(Published::new(metadata, &Published::default()))
    }

    #[tokio::test]
    async fn a_change_that_comes_between_two_turns_is_told() {
        let (publisher, known) = watch::channel(published(1, 7));
        let leads = Leadership { term: 2, is_leader: true, ..Leadership::default() };
        let (leading, leadership) = watch::channel(leads.clone());
        let stop = CancellationToken::new();
        let mut changes = Box::pin(changes_of_term(2, false, known, leadership, stop, ()));
        // What another leader has said is not told.
        publisher.send_replace(published(2, 1));
        assert_eq!(changes.next().await.unwrap().revision, 1);
        for revision in [2, 5] {
            publisher.send_replace(published(2, revision));
            let told = tokio::time::timeout(Duration::from_secs(60), changes.next()).await;
            assert_eq!(told.expect("the change is told").unwrap().revision, revision);
        }
        leading.send_replace(Leadership { is_leader: false, ..leads });
        assert!(changes.next().await.is_none());
    }
}
