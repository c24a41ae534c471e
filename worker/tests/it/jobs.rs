//! The job services over real gRPC, with attempts that only record what reaches them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shoal_common::shutdown::Shutdown;
use shoal_proto::v1::{
    step_event::Event, step_request::Step, worker_exchange_client::WorkerExchangeClient,
    worker_exchange_server::WorkerExchangeServer, worker_jobs_client::WorkerJobsClient,
    worker_jobs_server::WorkerJobsServer, *,
};
use shoal_worker::service::{Attempt, Exchange, Jobs, Pairs, Registry, Runner, StepContext, StepError};
use tokio::{net::TcpListener, sync::Notify};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Server, server::TcpIncoming},
};

const CLUSTER: &str = "c";

/// What the attempts of one worker have seen.
#[derive(Debug, Default)]
struct Seen {
    records: AtomicUsize,
    rows: AtomicUsize,
    cancelled: Notify,
    log: Mutex<Vec<String>>,
}

struct TestRunner(Arc<Seen>);

struct TestAttempt {
    number: u32,
    seen: Arc<Seen>,
}

impl Drop for TestAttempt {
    fn drop(&mut self) {
        self.seen.log.lock().unwrap().push(format!("dropped {}", self.number));
    }
}

#[tonic::async_trait]
impl Runner for TestRunner {
    async fn inspect(&self, source: DatasetSource, _: bool) -> Result<InspectSourceReply, StepError> {
        Err(StepError::Invalid(format!("there is nothing at '{}'", source.uri).into()))
    }

    async fn begin(&self, _: Step, context: StepContext) -> Result<(Arc<dyn Attempt>, Event), StepError> {
        let attempt = TestAttempt { number: context.attempt, seen: Arc::clone(&self.0) };
        Ok((Arc::new(attempt), Event::EmptyDone(StepEmptyDone {})))
    }
}

#[tonic::async_trait]
impl Attempt for TestAttempt {
    /// Parsing takes a second and a half; sorting lasts until it is cancelled, and then a moment more.
    async fn step(&self, step: Step, context: StepContext) -> Result<Event, StepError> {
        match step {
            Step::IngestParse(_) => {
                context.progress.set_total(2);
                context.progress.add(1);
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                Ok(Event::IngestParseDone(IngestParseDone { lines: 7, ..Default::default() }))
            }
            Step::IngestSort(_) => {
                context.cancelled.cancelled().await;
                self.seen.cancelled.notify_one();
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.seen.log.lock().unwrap().push(format!("stopped {}", self.number));
                Err(StepError::Cancelled)
            }
            _ => Err(StepError::OutOfTurn("nothing was parsed yet".into())),
        }
    }

    async fn push_records(&self, batch: RecordBatch) -> Result<(), StepError> {
        self.seen.records.fetch_add(batch.count as usize, Ordering::Relaxed);
        Ok(())
    }

    async fn subscribe_rows(&self, request: SubscribeRowsRequest) -> Result<(), StepError> {
        self.seen.rows.fetch_add(request.rows.len() / 4, Ordering::Relaxed);
        Ok(())
    }

    async fn push_factors(&self, _: FactorChunk) -> Result<(), StepError> {
        Err(StepError::Invalid("this is an import".into()))
    }

    async fn pull_pairs(&self, _: PairsRequest) -> Result<Pairs, StepError> {
        Err(StepError::Invalid("this is an import".into()))
    }
}

struct Worker {
    channel: Channel,
    seen: Arc<Seen>,
    shutdown: Shutdown,
}

async fn worker() -> Worker {
    let (seen, shutdown, registry) = (Arc::new(Seen::default()), Shutdown::new(), Registry::default());
    let runner = Arc::new(TestRunner(Arc::clone(&seen)));
    let channels = shoal_common::rpc::Channels::tcp();
    let jobs = Jobs::new(CLUSTER.to_owned(), runner, registry.clone(), channels, shutdown.clone());
    let exchange = Exchange::new(CLUSTER.to_owned(), registry, shutdown.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .add_service(WorkerJobsServer::new(jobs))
            .add_service(WorkerExchangeServer::new(exchange))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Worker { channel, seen, shutdown }
}

impl Worker {
    async fn start(&self, attempt: u32, step: Step) -> Result<Streaming<StepEvent>, Status> {
        let request =
            StepRequest { cluster_id: CLUSTER.into(), job_id: "j".into(), attempt, step: Some(step) };
        let mut client = WorkerJobsClient::new(self.channel.clone());
        Ok(client.run_step(request).await?.into_inner())
    }

    /// Every event of a step: how many were progress, and the last one.
    async fn run(&self, attempt: u32, step: Step) -> Result<(Vec<StepProgress>, Event), Status> {
        let mut stream = self.start(attempt, step).await?;
        let mut progress = Vec::new();
        loop {
            match stream.message().await?.and_then(|event| event.event) {
                Some(Event::Progress(report)) => progress.push(report),
                Some(last) => {
                    assert!(stream.message().await?.is_none(), "an event after the last");
                    return Ok((progress, last));
                }
                None => panic!("the stream ended without a result"),
            }
        }
    }

    async fn release(&self) {
        let release = ReleaseJobRequest { cluster_id: CLUSTER.into(), job_id: "j".into() };
        WorkerJobsClient::new(self.channel.clone()).release_job(release).await.unwrap();
    }

    fn log(&self) -> Vec<String> {
        self.seen.log.lock().unwrap().clone()
    }
}

fn begin() -> Step {
    Step::IngestBegin(IngestBegin::default())
}

#[tokio::test]
async fn a_step_streams_progress_and_one_result() {
    let worker = worker().await;
    let (_, last) = worker.run(1, begin()).await.unwrap();
    assert_eq!(last, Event::EmptyDone(StepEmptyDone {}));
    let (progress, last) = worker.run(1, Step::IngestParse(IngestParse::default())).await.unwrap();
    assert!(
        progress.len() >= 2
            && progress.contains(&StepProgress { done: 1, total: 2, waits_for: String::new() }),
        "{progress:?}"
    );
    assert!(matches!(last, Event::IngestParseDone(IngestParseDone { lines: 7, .. })));

    let refused = worker.run(1, Step::IngestBuild(IngestBuild::default())).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "nothing was parsed yet"));
    let unknown = worker.run(2, Step::IngestSort(IngestSort {})).await.unwrap_err();
    assert_eq!(unknown.code(), Code::FailedPrecondition);
    assert!(worker.shutdown.drain(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_newer_attempt_cancels_the_older_one_and_drops_what_it_holds() {
    let worker = worker().await;
    worker.run(1, begin()).await.unwrap();
    let mut sorting = worker.start(1, Step::IngestSort(IngestSort {})).await.unwrap();
    worker.run(2, begin()).await.unwrap();
    let ended = loop {
        match sorting.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the step ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Cancelled);
    assert_eq!(worker.log(), ["stopped 1", "dropped 1"]);
    let refused = worker.run(1, begin()).await.unwrap_err();
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("attempt 2 has begun"));

    worker.release().await;
    assert_eq!(worker.log(), ["stopped 1", "dropped 1", "dropped 2"]);
}

#[tokio::test]
async fn a_released_job_does_nothing_more() {
    let worker = worker().await;
    worker.run(1, begin()).await.unwrap();
    let sorting = worker.start(1, Step::IngestSort(IngestSort {})).await.unwrap();
    // As a leader does that gives the job up; the step is still on its way to a safe point.
    drop(sorting);
    worker.release().await;
    assert_eq!(worker.log(), ["stopped 1", "dropped 1"]);
}

#[tokio::test]
async fn a_dropped_stream_cancels_its_step() {
    let worker = worker().await;
    worker.run(1, begin()).await.unwrap();
    let sorting = worker.start(1, Step::IngestSort(IngestSort {})).await.unwrap();
    drop(sorting);
    tokio::time::timeout(Duration::from_secs(5), worker.seen.cancelled.notified()).await.unwrap();
}

#[tokio::test]
async fn peers_reach_the_attempt_they_name_and_no_other() {
    let worker = worker().await;
    worker.run(3, begin()).await.unwrap();
    let batch = |attempt| RecordBatch {
        cluster_id: CLUSTER.into(),
        job_id: "j".into(),
        attempt,
        count: 5,
        ..Default::default()
    };
    let mut client = WorkerExchangeClient::new(worker.channel.clone());
    client.push_records(futures::stream::iter([batch(3), batch(3)])).await.unwrap();
    assert_eq!(worker.seen.records.load(Ordering::Relaxed), 10);
    let refused = client.push_records(futures::stream::iter([batch(2)])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(worker.seen.records.load(Ordering::Relaxed), 10);

    let subscription = SubscribeRowsRequest {
        cluster_id: CLUSTER.into(),
        job_id: "j".into(),
        attempt: 3,
        rows: vec![0; 12].into(),
        ..Default::default()
    };
    client.subscribe_rows(subscription.clone()).await.unwrap();
    assert_eq!(worker.seen.rows.load(Ordering::Relaxed), 3);
    let chunk =
        FactorChunk { cluster_id: CLUSTER.into(), job_id: "j".into(), attempt: 3, ..Default::default() };
    let refused = client.push_factors(futures::stream::iter([chunk])).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "this is an import"));

    let stranger = SubscribeRowsRequest { cluster_id: "other".into(), ..subscription };
    assert_eq!(client.subscribe_rows(stranger).await.unwrap_err().code(), Code::PermissionDenied);
    let stranger = RecordBatch { cluster_id: "other".into(), ..batch(3) };
    let refused = client.push_records(futures::stream::iter([stranger])).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused() {
    let worker = worker().await;
    let mut client = WorkerJobsClient::new(worker.channel.clone());
    let stranger = StepRequest { cluster_id: "other".into(), ..Default::default() };
    assert_eq!(client.run_step(stranger).await.unwrap_err().code(), Code::PermissionDenied);
    let empty = StepRequest { cluster_id: CLUSTER.into(), ..Default::default() };
    assert_eq!(client.run_step(empty).await.unwrap_err().code(), Code::InvalidArgument);
    let source = Some(DatasetSource { uri: "/nowhere".into(), ..Default::default() });
    let refused = client.inspect_source(InspectSourceRequest { source, preview: false }).await.unwrap_err();
    assert_eq!(refused.message(), "there is nothing at '/nowhere'");
}
