//! What the leader does by itself and users would call a change: the audit log is told of it.

use shoal_common::audit::{Audit, Entry, Outcome, Who};
use shoal_proto::v1::{CommandReply, JobState, NodeHealth, metadata_command::Command, update_job::Update};

use super::handle::CommandError;

/// The change that a command of the leader's own is, without its outcome; none for what only the cluster itself is concerned
/// with.
pub(super) fn own_act(command: &Command) -> Option<Entry> {
    let (action, subject): (_, Vec<(&'static str, &str)>) = match command {
        Command::UpsertNode(record) => {
            let info = record.info.as_ref()?;
            (info.health() == NodeHealth::Down).then_some(("node_lost", vec![("node", &*info.name)]))?
        }
        Command::ForgetNode(forget) => ("forget_node", vec![("node", &*forget.name)]),
        Command::PromoteStart(promote) => ("promote", vec![("version", &*promote.version)]),
        Command::PromoteCommit(promote) => ("go_live", vec![("version", &*promote.version)]),
        Command::PromoteAbort(promote) => ("end_promotion", vec![("version", &*promote.version)]),
        Command::UpdateJob(update) => {
            let job = ("job", &*update.job_id);
            match update.update.as_ref()? {
                Update::DatasetPublished(dataset) => (
                    "publish_dataset",
                    vec![job, ("dataset", &*dataset.name), ("dataset_version", &*dataset.version)],
                ),
                Update::VersionPublished(version) => {
                    ("publish_version", vec![job, ("version", &*version.name)])
                }
                Update::ListsWritten(lists) => ("publish_lists", vec![job, ("folder", &*lists.uri)]),
                Update::Finished(finished) => {
                    let ended = match finished.state() {
                        JobState::Succeeded => "succeeded",
                        JobState::Cancelled => "cancelled",
                        _ => "failed",
                    };
                    ("end_job", vec![job, ("state", ended)])
                }
                Update::AttemptStarted(_) | Update::SweepCommitted(_) | Update::Cleaned(_) => return None,
            }
        }
        Command::AddToken(add) => ("create_token", vec![("token", &*add.token.as_ref()?.id)]),
        Command::RevokeToken(revoke) => ("revoke_token", vec![("token", &*revoke.id)]),
        Command::SetPlacement(_)
        | Command::UseTokens(_)
        | Command::CreateJob(_)
        | Command::CancelJob(_)
        | Command::Rollback(_)
        | Command::RegisterVersion(_) => return None,
    };
    let mut entry = Entry::new(action, Who::default(), Outcome::Done);
    subject.into_iter().for_each(|(what, name)| entry.add(what, name));
    Some(entry)
}

/// Tells what came of it. One that the state refuses changes nothing, and comes about when others were faster.
pub(super) fn tell(audit: &Audit, mut act: Entry, reply: &Result<CommandReply, CommandError>) {
    match reply {
        Ok(_) => audit.note(&act),
        Err(CommandError::Refused { .. }) => {}
        Err(error @ CommandError::Raft(_)) => {
            act.outcome = Outcome::unconfirmed(&error.to_string());
            // Without a quorum it is tried again and again.
            audit.refuse(act);
        }
    }
}
