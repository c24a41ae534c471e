//! What came of a job, in words.

use shoal_proto::v1::{JobInfo, ListsInfo};

use crate::output;

/// What came of a job, for people.
pub(super) fn describe(job: &JobInfo) -> String {
    if let Some(dataset) = &job.dataset {
        return format!("Imported {}", super::dataset::describe(dataset));
    }
    if let Some(listed) = &job.listed {
        return lists(job, listed);
    }
    let mut text = format!("Trained {} in {}", job.model_version, output::seconds(output::job_seconds(job)));
    for line in job.sweeps.last().map(output::metrics_lines).unwrap_or_default() {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    if let Some(work) = job.sweeps.last().and_then(|sweep| sweep.work.as_ref()) {
        text.push_str(&format!("\n  last sweep: {}", output::work_line(work)));
    }
    if !is_to_be_live(job) {
        text.push_str(&format!("\nMake it live with `shoal models promote {}`.", job.model_version));
    }
    text
}

/// Whether the version is to be live when it is trained.
pub(super) fn is_to_be_live(job: &JobInfo) -> bool {
    job.training.as_ref().is_some_and(|training| training.promote)
}

/// What came of a job that has written lists, for people.
fn lists(job: &JobInfo, listed: &ListsInfo) -> String {
    let counted = output::counted;
    let request = job.lists.clone().unwrap_or_default();
    let mut text = format!(
        "Wrote the lists of {}, {}, to {} in {}\n  version {}\n  {}, {}",
        counted(listed.users, "user"),
        counted(listed.rows, "row"),
        listed.uri,
        output::seconds(output::job_seconds(job)),
        request.version,
        counted(listed.files, "file"),
        output::bytes(listed.bytes),
    );
    if listed.fallback_users > 0 {
        text.push_str(&format!(
            "\n  the version has nothing to list for {} of the users; they are listed what is popular (--known-users-only leaves \
             them out)",
            output::count(listed.fallback_users)
        ));
    }
    if listed.left_out_users > 0 {
        let users = counted(listed.left_out_users, "user");
        text.push_str(&format!("\n  left out: {users} for whom the version has nothing to list"));
    }
    if listed.unknown_ids > 0 {
        let ids = counted(listed.unknown_ids, "id");
        text.push_str(&format!("\n  not in the data set: {ids} of the users file"));
    }
    let wanted = listed.users * u64::from(request.parameters.unwrap_or_default().n);
    if listed.rows < wanted {
        let missing = counted(wanted - listed.rows, "row");
        text.push_str(&format!(
            "\n  {missing} fewer than n for each user: lists end where no more items may be listed"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{ListsParameters, StartListsRequest};

    use super::*;

    #[test]
    fn what_was_left_out_or_is_short_is_said() {
        let parameters = ListsParameters { n: 10, ..ListsParameters::default() };
        let request = StartListsRequest { parameters: Some(parameters), ..StartListsRequest::default() };
        let job = JobInfo { lists: Some(request), ..JobInfo::default() };
        let whole = ListsInfo { users: 2, rows: 20, ..ListsInfo::default() };
        assert_eq!(lists(&job, &whole).lines().count(), 3);
        let partial = ListsInfo { rows: 13, fallback_users: 1, left_out_users: 4, unknown_ids: 3, ..whole };
        let said = lists(&job, &partial);
        for part in ["1 of the users", "left out: 4 users", "3 ids", "7 rows fewer"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
