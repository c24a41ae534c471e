//! Where each user's held-out ratings begin, for a split by time.
//!
//! It is an attempt's first step: those that load ratings, of parts of the job too, read what it has written. The
//! owner of a user finds the cut, and who owns only items takes it from there, so that both agree on every pair.

use shoal_common::store::{Manifest, checkpoint_path};
use shoal_proto::v1::{DatasetInfo, SplitCuts, SplitParameters};

use super::{error::JobError, steps::Crew, tracker::Tracker};
use crate::{leader::Leader, placement::owners};

/// The folder's number among those of an attempt: above every sweep's, below those of a model's steps.
const FOLDER: u32 = 9_999;

/// Lets workers find the cuts, and returns the folder that has them; empty if the split is not by time.
pub(super) async fn cut_by_time(
    leader: &Leader,
    crew: &Crew,
    dataset: &DatasetInfo,
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<String, JobError> {
    if !split.temporal {
        return Ok(String::new());
    }
    let path = checkpoint_path(&crew.job_id, crew.attempt, FOLDER);
    let step = SplitCuts {
        dataset: Some(dataset.clone()),
        split: Some(split.clone()),
        owners: owners(dataset, &crew.names()),
        workers: crew.peers(),
        path: path.clone(),
    };
    let (mut objects, mut timed_ratings) = (Vec::new(), 0);
    for done in crew.on_all(leader, step, tracker).await? {
        objects.extend(done.objects);
        timed_ratings += done.timed_ratings;
    }
    if timed_ratings == 0 {
        return Err(JobError::Fatal(format!(
            "no rating of data set '{}' has a time stamp, so the newest cannot be held out; \
             import it with the column of its times, or hold ratings out at random",
            dataset.name
        )));
    }
    Manifest::new("checkpoint", objects).write(&leader.store, &path).await?;
    Ok(path)
}
