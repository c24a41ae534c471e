//! Tiles on their way to other workers: one stream to each.

use std::sync::Arc;

use bytes::Bytes;
use shoal_common::{rpc::MESSAGE_BYTES_MAX, tls::PeerRole};
use shoal_proto::v1::{TileChunk, tile_chunk::Content, worker_exchange_client::WorkerExchangeClient};
use tokio::{
    sync::mpsc::{self, Sender},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::attempt::ModelAttempt;
use crate::{exchange::push::PushError, train::TrainError};

/// Streams to all other workers, open until [`TilePushes::finish`].
#[derive(Debug)]
pub(super) struct TilePushes {
    envelope: TileChunk,
    /// By worker; none to itself.
    queues: Vec<Option<Sender<TileChunk>>>,
    calls: JoinSet<Result<(), PushError>>,
}

impl TilePushes {
    /// Opens a stream to each of the other workers. Of each `queued` messages may wait.
    pub(super) fn open(attempt: &ModelAttempt, queued: usize) -> Result<Self, TrainError> {
        let context = &attempt.context;
        let (mut queues, mut calls) = (Vec::new(), JoinSet::new());
        for (worker, peer) in attempt.peers.iter().enumerate() {
            if worker == attempt.me {
                queues.push(None);
                continue;
            }
            let node = peer.node.clone();
            let channel = context
                .job
                .channels
                .get(&peer.address, PeerRole::Worker)
                .map_err(|source| PushError::Address { node: node.clone(), source })?;
            let (queue, messages) = mpsc::channel(queued.max(1));
            let mut client = WorkerExchangeClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
            calls.spawn(async move {
                let pushed = client.push_tiles(ReceiverStream::new(messages)).await;
                pushed.map(drop).map_err(|status| PushError::Refused { node, source: Box::new(status) })
            });
            queues.push(Some(queue));
        }
        let envelope = TileChunk {
            cluster_id: context.job.cluster_id.clone(),
            job_id: attempt.job_id.clone(),
            attempt: attempt.attempt,
            node: attempt.peers[attempt.me].node.clone(),
            content: None,
        };
        Ok(Self { envelope, queues, calls })
    }

    /// Sends to one worker; waits while too many messages wait for it.
    pub(super) async fn send(&mut self, to: usize, content: Content) -> Result<(), TrainError> {
        let message = TileChunk { content: Some(content), ..self.envelope.clone() };
        let Some(queue) = &self.queues[to] else { return Ok(()) };
        if queue.send(message).await.is_ok() {
            return Ok(());
        }
        Err(self.failure().await)
    }

    /// Sends to all other workers.
    pub(super) async fn send_to_all(&mut self, content: &Content) -> Result<(), TrainError> {
        for to in 0..self.queues.len() {
            self.send(to, content.clone()).await?;
        }
        Ok(())
    }

    /// Waits until a stream breaks.
    pub(super) async fn failure(&mut self) -> TrainError {
        while let Some(call) = self.calls.join_next().await {
            if let Err(error) = ended(call) {
                return error.into();
            }
        }
        std::future::pending().await
    }

    /// Waits until every worker has taken everything.
    pub(super) async fn finish(mut self) -> Result<(), TrainError> {
        self.queues.clear();
        while let Some(call) = self.calls.join_next().await {
            ended(call)?;
        }
        Ok(())
    }
}

fn ended(call: Result<Result<(), PushError>, tokio::task::JoinError>) -> Result<(), PushError> {
    // A task that was aborted or panicked has not delivered either; its stream broke.
    call.unwrap_or_else(|error| {
        let source = Box::new(Status::internal(error.to_string()));
        Err(PushError::Refused { node: String::from("(unknown)"), source })
    })
}

/// Numbers as bytes, without a copy.
pub(super) fn shared(values: Arc<Vec<f32>>) -> Bytes {
    struct Numbers(Arc<Vec<f32>>);
    impl AsRef<[u8]> for Numbers {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Numbers(values))
}
