//! Sending rows to those who need them while others are still being solved: one stream per receiver
//! and half-step.

use std::{ops::Range, sync::Arc};

use prost::Message as _;
use shoal_common::{
    rpc::{Channels, MESSAGE_BYTES_MAX, RpcAddressError},
    tls::PeerRole,
};
use shoal_proto::v1::{
    FactorChunk, FactorRows, GramianPartial, Objective, Side, factor_chunk::Content,
    worker_exchange_client::WorkerExchangeClient,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::wire::{self, RowFormat};

/// Bytes of rows in a message: large enough for full throughput and envelopes that do not count, small
/// enough to keep streams fluent; smaller where there are many receivers, so that what waits for all of them
/// together is at most about [`WAITING_BYTES`].
const MESSAGE_BYTES_MIN: usize = 16 * 1024;
const MESSAGE_BYTES_MOST: usize = 512 * 1024;
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// What gRPC puts before a message: whether it is compressed, and its length.
const PREFIX_BYTES: u64 = 5;

/// Messages that may wait for a slow receiver. Solving then waits too, rather than pile up rows.
const QUEUE_MESSAGES: usize = 8;

/// Rows could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A receiver's address cannot be used.
    #[error("cannot send to worker '{node}'")]
    Address {
        /// Name of the receiver.
        node: String,
        /// What is wrong with it.
        source: RpcAddressError,
    },
    /// A receiver refused or went away.
    #[error("the exchange with worker '{node}' broke off")]
    Refused {
        /// Name of the receiver.
        node: String,
        /// Its status, or the connection's.
        source: Box<Status>,
    },
}

/// What every message of a half-step says.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Id of the cluster.
    pub cluster_id: String,
    /// Id of the job.
    pub job_id: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// Number of the sweep, from 1.
    pub sweep: u32,
    /// The side that was solved.
    pub side: Side,
    /// Name of the sender.
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
    /// Name of the receiver.
    pub node: String,
    /// Where the receiving worker listens, as host:port.
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
#[derive(Debug)]
pub struct Outlet {
    envelope: Envelope,
    rows: Arc<[u32]>,
    format: RowFormat,
    message_bytes: usize,
    queue: mpsc::Sender<FactorChunk>,
    waiting: Option<Waiting>,
    bytes_sent: u64,
}

/// Rows on their way into a message.
#[derive(Debug)]
struct Waiting {
    objective: Objective,
    width: usize,
    /// Positions in the receiver's list.
    rows: Range<usize>,
    values: Vec<u8>,
}

impl Pushes {
    /// Opens a stream to each receiver.
    ///
    /// # Errors
    /// When an address cannot be used.
    pub fn open(
        envelope: &Envelope,
        receivers: &[Receiver],
        format: RowFormat,
        channels: &Channels,
    ) -> Result<Self, PushError> {
        let (mut outlets, mut calls) = (Vec::new(), JoinSet::new());
        let waiting = receivers.len().max(1) * (QUEUE_MESSAGES + 1);
        let message_bytes = (WAITING_BYTES / waiting).clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MOST);
        for receiver in receivers {
            let node = receiver.node.clone();
            let channel = channels
                .get(&receiver.address, PeerRole::Worker)
                .map_err(|source| PushError::Address { node: node.clone(), source })?;
            let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
            let mut client = WorkerExchangeClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
            calls.spawn(async move {
                let pushed = client.push_factors(ReceiverStream::new(messages)).await;
                pushed.map(drop).map_err(|status| PushError::Refused { node, source: Box::new(status) })
            });
            outlets.push(Outlet {
                envelope: envelope.clone(),
                rows: Arc::clone(&receiver.rows),
                format,
                message_bytes,
                queue,
                waiting: None,
                bytes_sent: 0,
            });
        }
        Ok(Self { outlets, calls })
    }

    /// The sending ends; a stream ends when its outlet is gone.
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
    /// Takes those of the solved rows (positions `range` among the sender's own, `width` values each) that the
    /// receiver needs, and sends them once they fill a message. Blocks while the queue is full: call it
    /// from a computing thread only.
    ///
    /// # Errors
    /// [`StreamEnded`] when the receiver is gone.
    pub fn send_rows(
        &mut self,
        objective: Objective,
        range: Range<usize>,
        width: usize,
        solved: &[f32],
    ) -> Result<(), StreamEnded> {
        let own = Arc::clone(&self.rows);
        let begin = own.partition_point(|&row| (row as usize) < range.start);
        let end = own.partition_point(|&row| (row as usize) < range.end);
        let row_bytes = width * self.format.size();
        let message_rows = (self.message_bytes / row_bytes).max(1);
        for position in begin..end {
            let next = |waiting: &Waiting| {
                waiting.objective == objective && waiting.width == width && waiting.rows.end == position
            };
            if !self.waiting.as_ref().is_some_and(next) {
                self.flush()?;
            }
            let format = self.format;
            let waiting = self.waiting.get_or_insert_with(|| Waiting {
                objective,
                width,
                rows: position..position,
                values: Vec::with_capacity(row_bytes * message_rows.min(own.len() - position)),
            });
            let row = own[position] as usize - range.start;
            format.append(&solved[row * width..][..width], &mut waiting.values);
            waiting.rows.end += 1;
            if waiting.rows.len() == message_rows {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Sends the rows that do not fill a message.
    ///
    /// # Errors
    /// [`StreamEnded`] when the receiver is gone.
    pub fn flush(&mut self) -> Result<(), StreamEnded> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        self.send(Content::Rows(FactorRows {
            objective: waiting.objective.into(),
            first: waiting.rows.start as u64,
            width: waiting.width as u32,
            values: waiting.values.into(),
        }))
    }

    /// Sends a shard's Gramian (`rank` × `rank`, symmetric). Blocks while the queue is full.
    ///
    /// # Errors
    /// [`StreamEnded`] when the receiver is gone.
    pub fn send_gramian(&mut self, shard: u32, gramian: &[f64], rank: usize) -> Result<(), StreamEnded> {
        let values = wire::to_bytes(&wire::lower_triangle(gramian, rank));
        self.send(Content::Gramian(GramianPartial { shard, values }))
    }

    /// Bytes of the messages sent so far, as gRPC frames them. HTTP/2 adds nine bytes per frame of up to 1 MiB.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    fn send(&mut self, content: Content) -> Result<(), StreamEnded> {
        let message = self.envelope.message(content);
        self.bytes_sent += PREFIX_BYTES + message.encoded_len() as u64;
        self.queue.blocking_send(message).map_err(|_| StreamEnded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_rows_of_one_objective_that_follow_each_other() {
        let envelope = Envelope {
            cluster_id: String::new(),
            job_id: String::new(),
            attempt: 1,
            sweep: 1,
            side: Side::Users,
            node: String::new(),
        };
        let (queue, mut messages) = mpsc::channel(QUEUE_MESSAGES);
        let mut outlet = Outlet {
            envelope,
            rows: [0, 2, 3, 5].into(),
            format: RowFormat::F32,
            message_bytes: MESSAGE_BYTES_MIN,
            queue,
            waiting: None,
            bytes_sent: 0,
        };
        // Threads that solve come in any order.
        outlet.send_rows(Objective::Ranking, 4..6, 1, &[4.0, 5.0]).unwrap();
        outlet.send_rows(Objective::Ranking, 0..3, 1, &[0.0, 1.0, 2.0]).unwrap();
        outlet.send_rows(Objective::Ranking, 3..4, 1, &[3.0]).unwrap();
        outlet.send_rows(Objective::Rating, 4..6, 2, &[0.0, 0.0, 5.5, 5.6]).unwrap();
        outlet.flush().unwrap();
        drop(outlet);
        let sent = std::iter::from_fn(|| messages.blocking_recv()).map(|message| match message.content {
            Some(Content::Rows(rows)) => {
                let values: Vec<f32> = wire::from_bytes(&rows.values).unwrap();
                (rows.objective(), rows.first, rows.width, values)
            }
            other => panic!("no rows: {other:?}"),
        });
        assert_eq!(
            sent.collect::<Vec<_>>(),
            [
                (Objective::Ranking, 3, 1, vec![5.0]),
                (Objective::Ranking, 0, 1, vec![0.0, 2.0, 3.0]),
                (Objective::Rating, 3, 2, vec![5.5, 5.6]),
            ]
        );
    }
}
