//! Changes that callers ask for, as the audit log is told of them.

use shoal_common::{
    audit::{Outcome, Pending, Who},
    rpc::LEADER_KEY,
};
use shoal_proto::v1::StartJobReply;
use tonic::{Request, Status};

use super::member::CoordinatorService;

impl CoordinatorService {
    /// A change that a caller asks for.
    pub(super) fn asked<T>(&self, action: &'static str, request: &Request<T>) -> Pending {
        self.leader.audit.begin(action, Who::of(request.extensions()))
    }
}

/// Does what a caller asks for, and tells what came of it.
pub(super) async fn audited<T>(
    noted: Pending,
    act: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    audited_as(noted, act, |_, _| {}).await
}

/// As [`audited`], for what makes a job.
pub(super) async fn audited_job(
    noted: Pending,
    act: impl Future<Output = Result<StartJobReply, Status>>,
) -> Result<StartJobReply, Status> {
    let made = |reply: &StartJobReply, noted: &mut Pending| {
        noted.add("job", &reply.job_id);
        noted.add("existing_version", &reply.existing_version);
    };
    audited_as(noted, act, made).await
}

async fn audited_as<T>(
    mut noted: Pending,
    act: impl Future<Output = Result<T, Status>>,
    made: impl FnOnce(&T, &mut Pending),
) -> Result<T, Status> {
    let answer = act.await;
    match &answer {
        // Another member is asked next, and tells of it.
        Err(status) if status.metadata().contains_key(LEADER_KEY) => noted.forget(),
        Err(_) => noted.end(Outcome::of(&answer)),
        Ok(reply) => {
            made(reply, &mut noted);
            noted.end(Outcome::Done);
        }
    }
    answer
}
