//! Sending rows to those who need them while others are still being solved: one stream per receiver
//! and half-step.

use std::{ops::Range, sync::Arc};

use shoal_common::rpc::{Channels, MESSAGE_BYTES_MAX, RpcAddressError};
use shoal_proto::v1::{
    FactorChunk, FactorRows, GramianPartial, Objective, Side, factor_chunk::Content,
    worker_exchange_client::WorkerExchangeClient,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::wire;

/// Bytes of rows in a message: large enough for full throughput, small enough to keep streams fluent.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Messages that may wait for a slow receiver. Solving then waits too, rather than pile up rows.
const QUEUE_MESSAGES: usize = 8;

/// Rows could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A receiver's address cannot be used.
    #[error("cannot send factors to worker '{node}'")]
    Address {
        /// The receiver.
        node: String,
        /// What is wrong with it.
        source: RpcAddressError,
    },
    /// A receiver refused or went away.
    #[error("worker '{node}' did not take the factors sent to it")]
    Refused {
        /// The receiver.
        node: String,
        /// Its status, or the connection's.
        source: Box<Status>,
    },
}

/// What every message of a half-step says.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The cluster.
    pub cluster_id: String,
    /// The job.
    pub job_id: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// The sweep.
    pub sweep: u32,
    /// The side that was solved.
    pub side: Side,
    /// The sender.
    pub node: String,
}

impl Envelope {
    fn message(&self, content: Content) -> FactorChunk {
        FactorChunk {
            cluster_id: self.cluster_id.clone(),
            job_id: self.job_id.clone(),
            attempt: self.attempt,
            sweep: self.sweep,
            side: self.side.into(),
            node: self.node.clone(),
            content: Some(content),
        }
    }
}

/// One that needs rows: who, and which of the sender's own rows (positions, ascending).
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Its name.
    pub node: String,
    /// host:port.
    pub address: String,
    /// Positions among the sender's own rows, ascending.
    pub rows: Arc<[u32]>,
}

/// The streams of one half-step, open until [`Pushes::finish`].
#[derive(Debug)]
pub struct Pushes {
    outlets: Vec<Outlet>,
    calls: JoinSet<Result<(), PushError>>,
}

/// The sending end, for the threads that solve.
#[derive(Debug, Clone)]
pub struct Outlet {
    envelope: Envelope,
    rows: Arc<[u32]>,
    queue: mpsc::Sender<FactorChunk>,
}

impl Pushes {
    /// Opens a stream to each receiver.
    ///
    /// # Errors
    /// When an address cannot be used.
    pub fn open(envelope: &Envelope, receivers: &[Receiver], channels: &Channels) -> Result<Self, PushError> {
        let (mut outlets, mut calls) = (Vec::new(), JoinSet::new());
        for receiver in receivers {
            let node = receiver.node.clone();
            let channel = channels
                .get(&receiver.address)
                .map_err(|source| PushError::Address { node: node.clone(), source })?;
            let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
            let mut client = WorkerExchangeClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
            calls.spawn(async move {
                let pushed = client.push_factors(ReceiverStream::new(messages)).await;
                pushed.map(drop).map_err(|status| PushError::Refused { node, source: Box::new(status) })
            });
            outlets.push(Outlet { envelope: envelope.clone(), rows: Arc::clone(&receiver.rows), queue });
        }
        Ok(Self { outlets, calls })
    }

    /// The sending ends; when all of their clones are gone the streams end.
    #[must_use]
    pub fn take_outlets(&mut self) -> Vec<Outlet> {
        std::mem::take(&mut self.outlets)
    }

    /// Waits until every receiver has taken everything.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn finish(mut self) -> Result<(), PushError> {
        while let Some(call) = self.calls.join_next().await {
            // A task that was aborted or panicked has not delivered either; its stream broke.
            call.unwrap_or_else(|error| {
                let source = Box::new(Status::internal(error.to_string()));
                Err(PushError::Refused { node: String::from("(unknown)"), source })
            })?;
        }
        Ok(())
    }
}

/// The receiver's stream has ended; [`Pushes::finish`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a receiver's stream has ended")]
pub struct StreamEnded;

impl Outlet {
    /// Sends those of the solved rows (positions `range` among the sender's own, `width` values each) that the
    /// receiver needs. Blocks while the queue is full: call it from a computing thread only.
    /// Returns the bytes of rows sent.
    ///
    /// # Errors
    /// [`StreamEnded`] when the receiver is gone.
    pub fn send_rows(
        &self,
        objective: Objective,
        range: Range<usize>,
        width: usize,
        solved: &[f32],
    ) -> Result<u64, StreamEnded> {
        let begin = self.rows.partition_point(|&row| (row as usize) < range.start);
        let end = self.rows.partition_point(|&row| (row as usize) < range.end);
        let rows_per_message = (MESSAGE_BYTES / (width * size_of::<f32>())).max(1);
        let mut sent = 0;
        for first in (begin..end).step_by(rows_per_message) {
            let rows = &self.rows[first..end.min(first + rows_per_message)];
            let mut values = Vec::with_capacity(rows.len() * width);
            for &row in rows {
                values.extend_from_slice(&solved[(row as usize - range.start) * width..][..width]);
            }
            let values = wire::to_bytes(&values);
            sent += values.len() as u64;
            self.send(Content::Rows(FactorRows {
                objective: objective.into(),
                first: first as u64,
                width: width as u32,
                values,
            }))?;
        }
        Ok(sent)
    }

    /// Sends a shard's Gramian. Blocks while the queue is full.
    ///
    /// # Errors
    /// [`StreamEnded`] when the receiver is gone.
    pub fn send_gramian(&self, shard: u32, gramian: &[f64]) -> Result<u64, StreamEnded> {
        let values = wire::to_bytes(gramian);
        let sent = values.len() as u64;
        self.send(Content::Gramian(GramianPartial { shard, values }))?;
        Ok(sent)
    }

    fn send(&self, content: Content) -> Result<(), StreamEnded> {
        self.queue.blocking_send(self.envelope.message(content)).map_err(|_| StreamEnded)
    }
}
