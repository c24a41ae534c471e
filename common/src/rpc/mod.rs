//! Calls between nodes: channels through a connector that is handed in, deadlines, and following
//! the leading coordinator and its metadata.

mod behind;
mod channels;
mod contact;
mod credentials;
mod deadline;
mod in_process;
mod leader;
mod reason;
mod refusal;
mod server;
mod timely;
mod way;

pub use behind::Behind;
pub use channels::{Channels, Connect, RpcAddressError, TcpConnect};
pub use contact::LeaderContact;
pub use credentials::CallCredentials;
pub use deadline::{remaining, timeout_of, with_deadline};
pub use in_process::InProcess;
pub use leader::{LEADER_KEY, LeaderChannel, LeaderClient, not_leader, wrong_cluster};
pub use reason::{REASON_BYTES_MAX, shortened};
pub use refusal::{
    RETRY_AFTER_MS_KEY, VERSION_MISSING_KEY, is_version_missing, queue_full, retry_after, version_missing,
};
pub use server::{MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX, TunedServer, tuned_server};
pub use way::is_lost_on_the_way;
