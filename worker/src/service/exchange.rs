//! What other workers send during a job, and ask for: ratings for shards owned here, the rows they
//! need from here, factor rows needed here, and sums over pairs of items. Everything is handed to the
//! attempt it names; a sender of an attempt that is over is refused, and stops.
//!
//! Streams are read one message at a time, and an attempt takes a message before the next is read:
//! flow control reaches the sender, and nothing queues up here.

use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use shoal_common::{job_id::JobId, shutdown::Shutdown};
use shoal_proto::v1::{
    FactorChunk, PairsChunk, PairsRequest, PushAck, RecordBatch, SubscribeRowsReply, SubscribeRowsRequest,
    TileChunk, factor_chunk::Content, tile_chunk, worker_exchange_server::WorkerExchange,
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Registry,
    attempt::StepError,
    jobs::{check_cluster, checked_job},
};

/// The exchange service of one worker.
pub struct Exchange {
    cluster_id: String,
    registry: Registry,
    shutdown: Shutdown,
}

impl Exchange {
    /// Hands messages to the attempts in `registry`.
    #[must_use]
    pub fn new(cluster_id: String, registry: Registry, shutdown: Shutdown) -> Self {
        Self { cluster_id, registry, shutdown }
    }

    /// Reads a stream to its end, each message to the attempt it names.
    async fn drain<T: Message>(&self, mut messages: Streaming<T>) -> Result<Response<PushAck>, Status> {
        loop {
            let message = tokio::select! {
                biased;
                // A stopping worker does not wait for senders.
                () = self.shutdown.requested() => return Err(stopping()),
                message = messages.message() => message?,
            };
            let Some(message) = message else { return Ok(Response::new(PushAck {})) };
            check_cluster(&self.cluster_id, message.cluster_id())?;
            metrics::counter!("shoal_worker_exchange_bytes_total", "kind" => T::KIND)
                .increment(message.payload_bytes() as u64);
            tokio::select! {
                biased;
                delivered = message.deliver(&self.registry) => delivered.map_err(|error| error.to_status())?,
                // A message may have to wait for its turn.
                () = self.shutdown.requested() => return Err(stopping()),
            }
        }
    }
}

#[tonic::async_trait]
impl WorkerExchange for Exchange {
    async fn push_records(
        &self,
        request: Request<Streaming<RecordBatch>>,
    ) -> Result<Response<PushAck>, Status> {
        self.drain(request.into_inner()).await
    }

    async fn subscribe_rows(
        &self,
        request: Request<SubscribeRowsRequest>,
    ) -> Result<Response<SubscribeRowsReply>, Status> {
        let request = request.into_inner();
        check_cluster(&self.cluster_id, &request.cluster_id)?;
        let found =
            self.registry.get(&checked_job(&request.job_id)?, request.attempt).map_err(StepError::from);
        let (attempt, _) = found.map_err(|error| error.to_status())?;
        attempt.subscribe_rows(request).await.map_err(|error| error.to_status())?;
        Ok(Response::new(SubscribeRowsReply {}))
    }

    async fn push_factors(
        &self,
        request: Request<Streaming<FactorChunk>>,
    ) -> Result<Response<PushAck>, Status> {
        self.drain(request.into_inner()).await
    }

    async fn push_tiles(&self, request: Request<Streaming<TileChunk>>) -> Result<Response<PushAck>, Status> {
        self.drain(request.into_inner()).await
    }

    type PullPairsStream = BoxStream<'static, Result<PairsChunk, Status>>;

    async fn pull_pairs(
        &self,
        request: Request<PairsRequest>,
    ) -> Result<Response<Self::PullPairsStream>, Status> {
        let request = request.into_inner();
        check_cluster(&self.cluster_id, &request.cluster_id)?;
        let found =
            self.registry.get(&checked_job(&request.job_id)?, request.attempt).map_err(StepError::from);
        let (attempt, over) = found.map_err(|error| error.to_status())?;
        let pairs = attempt.pull_pairs(request).await.map_err(|error| error.to_status())?;
        let pairs = pairs.map(|chunk| chunk.map_err(|error| error.to_status()));
        let ended = pairs.take_until(over.cancelled_owned());
        Ok(Response::new(ended.boxed()))
    }
}

fn stopping() -> Status {
    Status::unavailable("this worker is stopping")
}

/// A message of one of the streams between workers.
trait Message: Send + Sized {
    /// In the metric of received bytes.
    const KIND: &'static str;

    fn cluster_id(&self) -> &str;

    fn payload_bytes(&self) -> usize;

    fn deliver(self, registry: &Registry) -> BoxFuture<'_, Result<(), StepError>>;
}

impl Message for RecordBatch {
    const KIND: &'static str = "records";

    fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    fn payload_bytes(&self) -> usize {
        self.records.len()
    }

    fn deliver(self, registry: &Registry) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            registry.get(&JobId::parse(&self.job_id)?, self.attempt)?.0.push_records(self).await
        })
    }
}

impl Message for FactorChunk {
    const KIND: &'static str = "factors";

    fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    fn payload_bytes(&self) -> usize {
        match &self.content {
            Some(Content::Rows(rows)) => rows.values.len(),
            Some(Content::Gramian(partial)) => partial.values.len(),
            None => 0,
        }
    }

    fn deliver(self, registry: &Registry) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            registry.get(&JobId::parse(&self.job_id)?, self.attempt)?.0.push_factors(self).await
        })
    }
}

impl Message for TileChunk {
    const KIND: &'static str = "tiles";

    fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    fn payload_bytes(&self) -> usize {
        match &self.content {
            Some(tile_chunk::Content::Sums(sums)) => sums.sums.len(),
            Some(tile_chunk::Content::Part(part)) => part.values.len(),
            None => 0,
        }
    }

    fn deliver(self, registry: &Registry) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            let (attempt, over) = registry.get(&JobId::parse(&self.job_id)?, self.attempt)?;
            tokio::select! {
                biased;
                delivered = attempt.push_tiles(self) => delivered,
                // A message that comes too early waits, but not longer than its attempt lasts.
                () = over.cancelled() => Err(StepError::Cancelled),
            }
        })
    }
}
