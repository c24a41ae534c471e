//! Bringing back a member that has lost its log, or was restored from an old copy of it.
//!
//! Raft builds on it that a member keeps what it has acknowledged, and the crate panics in a member whose log
//! ends before what a heartbeat says it has. So here such a member answers that heartbeat as it would
//! answer entries that do not fit: by saying where its log ends. The leader goes on from there.
//!
//! Caveat: until it has caught up, what only this member and the leader had is with the leader alone, and a
//! vote that the member gave is forgotten. Whoever takes a member's log away does so while all the others
//! are up.

use raft::{
    Raft, Storage,
    eraftpb::{Message, MessageType},
};

/// When a heartbeat says that this member has more than its log holds: makes the heartbeat fit the log, and
/// returns the answer that says where the log ends, to be sent once the heartbeat was taken.
pub(super) fn heartbeat_beyond_the_log<S: Storage>(
    raft: &Raft<S>,
    heartbeat: &mut Message,
) -> Option<Message> {
    let last_index = raft.raft_log.last_index();
    let is_heartbeat = heartbeat.get_msg_type() == MessageType::MsgHeartbeat;
    if !is_heartbeat || heartbeat.term < raft.term || heartbeat.commit <= last_index {
        return None;
    }
    tracing::warn!(
        last_index,
        acknowledged = heartbeat.commit,
        "this member has lost entries of its log that it had acknowledged"
    );
    let mut answer = Message {
        to: heartbeat.from,
        from: raft.id,
        term: heartbeat.term,
        index: heartbeat.commit,
        reject: true,
        reject_hint: last_index,
        log_term: raft.raft_log.last_term(),
        commit: raft.raft_log.committed,
        ..Message::default()
    };
    answer.set_msg_type(MessageType::MsgAppendResponse);
    heartbeat.commit = last_index;
    Some(answer)
}
