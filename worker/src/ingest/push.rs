//! Sending records to the owners of their shards: one stream per peer and parse step, and straight
//! into the spool where the owner is this worker.

use shoal_common::{
    rpc::{Channels, MESSAGE_BYTES_MAX},
    tls::PeerRole,
};
use shoal_proto::v1::{RecordBatch, WorkerPeer, worker_exchange_client::WorkerExchangeClient};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;

use crate::ingest::IngestError;

/// Messages that may wait for a slow peer. Parsing then waits too, rather than pile up records.
const QUEUE_MESSAGES: usize = 8;

/// The streams of one parse step.
#[derive(Debug)]
pub(super) struct RecordStreams {
    calls: JoinSet<Result<(), IngestError>>,
}

/// A peer's stream, for the parsing thread; absent for this worker itself.
pub(super) type Outlet = Option<mpsc::Sender<RecordBatch>>;

impl RecordStreams {
    /// Opens a stream to each worker but `me`; outlets are in the workers' order.
    pub(super) fn open(
        workers: &[WorkerPeer],
        me: usize,
        channels: &Channels,
    ) -> Result<(Self, Vec<Outlet>), IngestError> {
        let (mut calls, mut outlets) = (JoinSet::new(), Vec::new());
        for (worker, peer) in workers.iter().enumerate() {
            if worker == me {
                outlets.push(None);
                continue;
            }
            let node = peer.node.clone();
            let channel = channels
                .get(&peer.address, PeerRole::Worker)
                .map_err(|source| IngestError::Address { node: node.clone(), source })?;
            let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
            let mut client = WorkerExchangeClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
            calls.spawn(async move {
                let pushed = client.push_records(ReceiverStream::new(messages)).await;
                pushed.map(drop).map_err(|status| IngestError::Push { node, source: Box::new(status) })
            });
            outlets.push(Some(queue));
        }
        Ok((Self { calls }, outlets))
    }

    /// Waits until every peer has taken everything; the outlets must be gone.
    pub(super) async fn finish(mut self) -> Result<(), IngestError> {
        while let Some(call) = self.calls.join_next().await {
            call.unwrap_or_else(|error| {
                let source = Box::new(tonic::Status::internal(error.to_string()));
                Err(IngestError::Push { node: String::from("(unknown)"), source })
            })?;
        }
        Ok(())
    }
}
