//! One simulation from its first request to its last answer.
//!
//! A thread of its own keeps time, because the async runtime's timers count in milliseconds. It hands over each
//! question when it is due; from then on its latency counts, whether it is sent at once or has to wait because
//! too many others are under way. Another thread adds up and writes the lines.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinError, JoinSet},
};

use super::{
    client::Client,
    logs::{Logs, LogsError},
    plan::{Asked, Plan, Question},
    tally::{Record, Tally},
};

/// Questions that are due and not yet taken over: the thread that keeps time waits when there are more, and none is
/// forgotten or counts as due later.
const DUE_MAX: usize = 1_024;
/// Records on their way to the file.
const RECORDS_MAX: usize = 4_096;
/// How long the thread that keeps time sleeps before it looks whether anybody still listens.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// What a simulation is made of.
#[derive(Debug)]
pub struct Simulation {
    /// What is asked and when.
    pub plan: Plan,
    /// How long it lasts.
    pub duration: Duration,
    /// The client that sends the requests.
    pub client: Client,
    /// What all requests have in common.
    pub asked: Arc<Asked>,
    /// Requests under way at a time, at most.
    pub concurrency: usize,
    /// The files that records are written to.
    pub logs: Logs,
}

/// What it came to.
#[derive(Debug)]
pub struct Simulated {
    /// Everything that was counted.
    pub tally: Tally,
    /// The files; the figures are still to be written.
    pub logs: Logs,
    /// Whether every planned request was sent.
    pub whole: bool,
}

/// A simulation that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The file cannot be written.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// A thread of it panicked.
    #[error("a part of the simulation failed unexpectedly: this is a defect, please report it")]
    Defect(#[from] JoinError),
}

/// Runs a simulation. `interrupted` ends the sending when it resolves; requests that are under way are then still
/// waited for, until it resolves again. `on_record` hears of the figures after each request.
///
/// # Errors
/// See [`SimulationError`].
pub async fn run<F, Fut>(
    simulation: Simulation,
    mut interrupted: F,
    on_record: impl FnMut(&Tally) + Send + 'static,
) -> Result<Simulated, SimulationError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = ()>,
{
    let Simulation { plan, duration, client, asked, concurrency, logs } = simulation;
    let (due_sender, mut due) = mpsc::channel(DUE_MAX);
    let (records, record_receiver) = mpsc::channel(RECORDS_MAX);
    let recording =
        tokio::task::spawn_blocking(move || record(record_receiver, duration, logs, &asked, on_record));
    let started = Instant::now();
    let timing = tokio::task::spawn_blocking(move || keep_time(plan, started, &due_sender));
    let permits = Arc::new(Semaphore::new(concurrency));
    let mut under_way = JoinSet::new();
    let whole = loop {
        let next = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            due.recv().await.map(|due| (permit, due))
        };
        let taken = tokio::select! {
            biased;
            // Whoever presses Ctrl-C wants no more of them.
            () = interrupted() => break false,
            taken = next => taken,
        };
        let Some((permit, (at, question))) = taken else { break true };
        let (client, records) = (client.clone(), records.clone());
        under_way.spawn(async move {
            let sent = started.elapsed();
            let outcome = client.ask(&question).await;
            let latency = started.elapsed().saturating_sub(at);
            // The recorder leaves early only when it cannot write, which it says itself.
            let _ = records.send(Record { due: at, sent, latency, question, outcome }).await;
            drop(permit);
        });
        while under_way.try_join_next().is_some() {}
    };
    // The thread that keeps time sees that nobody listens.
    drop(due);
    drop(records);
    tokio::select! {
        biased;
        // A second Ctrl-C gives up the answers.
        () = interrupted(), if !under_way.is_empty() => under_way.shutdown().await,
        () = async { while under_way.join_next().await.is_some() {} } => {}
    }
    timing.await?;
    let (tally, logs) = recording.await??;
    Ok(Simulated { tally, logs, whole })
}

/// Hands over each question when it is due, until nobody listens.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, which no async task shares")]
fn keep_time(plan: Plan, started: Instant, due: &mpsc::Sender<(Duration, Question)>) {
    for (at, question) in plan {
        loop {
            let wait = at.saturating_sub(started.elapsed());
            if wait.is_zero() {
                break;
            }
            std::thread::sleep(wait.min(SLEEP_MAX));
            if due.is_closed() {
                return;
            }
        }
        if due.blocking_send((at, question)).is_err() {
            return;
        }
    }
}

fn record(
    mut records: mpsc::Receiver<Record>,
    duration: Duration,
    mut logs: Logs,
    asked: &Asked,
    mut on_record: impl FnMut(&Tally),
) -> Result<(Tally, Logs), LogsError> {
    let mut tally = Tally::new(duration);
    while let Some(record) = records.blocking_recv() {
        tally.add(&record);
        logs.add(&record, asked)?;
        on_record(&tally);
    }
    Ok((tally, logs))
}
