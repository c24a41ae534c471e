//! Where each user's held-out ratings begin, for a split by time.
//!
//! Finding it is an attempt's first step: whoever loads ratings later, for a part of the job too, reads what was written.
//! The owner of a user finds the user's time, and the owners of items take it from there: both agree on every pair.

use shoal_common::store::{Manifest, checkpoint_path};
use shoal_proto::v1::{DatasetInfo, SplitCuts, SplitParameters};

use super::{error::JobError, parts::SPLIT_TIMES_FOLDER, steps::Crew, tracker::Tracker};
use crate::{leader::Leader, placement::owners};

/// Lets workers find the times, and returns the folder that has them; empty if the split is not by time.
///
/// # Errors
/// When no rating has a time, and as [`Crew::on_all`].
pub(super) async fn find_split_times(
    leader: &Leader,
    crew: &Crew,
    dataset: &DatasetInfo,
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<String, JobError> {
    if !split.temporal {
        return Ok(String::new());
    }
    let path = checkpoint_path(&crew.job_id, crew.attempt, SPLIT_TIMES_FOLDER);
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
