//! Clients that ask in a loop, and check every answer against the factors of the version that it names.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::task::JoinHandle;

use super::{By, Http, Oracle, Verdict};

/// Items that each list is asked for.
const N: usize = 10;

/// What became of the questions.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Right answers from every shard, by the version that they name (a position in the oracles).
    pub(crate) right: Vec<usize>,
    /// Answers that are not what the version they name says, and why.
    pub(crate) wrong: Vec<String>,
    /// What there was instead of an answer, or the shards of one that lacks some.
    pub(crate) failed: Vec<String>,
}

impl Outcome {
    /// Panics when an answer was wrong, or there was none to a question.
    #[track_caller]
    pub(crate) fn check_every_one_right(&self) {
        let right = self.right.iter().sum::<usize>();
        assert!(self.wrong.is_empty(), "{} wrong beside {right}: {:#?}", self.wrong.len(), &self.wrong[..1]);
        assert!(
            self.failed.is_empty(),
            "{} failed beside {right}: {:#?}",
            self.failed.len(),
            &self.failed[..1]
        );
        assert!(right > 0, "nothing was asked");
    }
}

/// Clients that ask until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Outcome>>,
}

impl Load {
    /// Starts so many clients, each with its own users.
    pub(crate) fn start(http: &Http, oracles: Vec<Oracle>, clients: usize) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let oracles = Arc::new(oracles);
        let client = |number| {
            let (http, oracles) = (http.clone(), Arc::clone(&oracles));
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut outcome = Outcome { right: vec![0; oracles.len()], ..Outcome::default() };
                for turn in (number..).step_by(clients) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    ask(&http, &oracles, turn, &mut outcome).await;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                outcome
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, asked, clients }
    }

    /// Waits until so many more questions have been asked.
    pub(crate) async fn asks(&self, more: usize) {
        let wanted = self.asked.load(Ordering::Relaxed) + more;
        super::eventually("questions are asked", || {
            (self.asked.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    /// Stops, and adds up.
    pub(crate) async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Outcome::default();
        for client in self.clients {
            let outcome = client.await.unwrap();
            sum.right.resize(outcome.right.len(), 0);
            for (sum, right) in sum.right.iter_mut().zip(outcome.right) {
                *sum += right;
            }
            sum.wrong.extend(outcome.wrong);
            sum.failed.extend(outcome.failed);
        }
        sum
    }
}

/// One question: lists, predictions and similar items in turn.
async fn ask(http: &Http, oracles: &[Oracle], turn: usize, outcome: &mut Outcome) {
    let (users, items) = (oracles[0].users(), oracles[0].items());
    let (user, item) = (users[turn * 7 % users.len()], items[turn * 11 % items.len()]);
    let answer = match turn % 4 {
        0 => http.try_get(&format!("/recommendations/similar/{item}?n={N}")).await,
        1 => {
            http.try_post("/recommendations/predict", format!(r#"{{"user_id":{user},"movie_id":{item}}}"#))
                .await
        }
        // Kept answers would hide what becomes of the workers.
        2 => {
            let path = format!("/recommendations/recommend/{user}?n={N}&rank_by=rating&use_cache=false");
            http.try_get(&path).await
        }
        _ => http.try_get(&format!("/recommendations/recommend/{user}?n={N}&use_cache=false")).await,
    };
    let answer = match answer {
        Ok(answer) if answer.status == 200 => answer.json(),
        Ok(answer) => return outcome.failed.push(format!("{} {}", answer.status, answer.text)),
        Err(error) => return outcome.failed.push(format!("{error:?}")),
    };
    if answer["shards"]["failed"].as_u64().is_some_and(|failed| failed > 0) {
        return outcome.failed.push(format!("incomplete: {}", answer["shards"]));
    }
    let verdict: Verdict =
        match oracles.iter().position(|oracle| answer["model_version"] == oracle.version.as_str()) {
            None => Err(format!("there is no version {}", answer["model_version"])),
            Some(at) => {
                let oracle = &oracles[at];
                let verdict = match turn % 4 {
                    0 => oracle.check_similar(&answer, item, N),
                    1 => oracle.check_predicted(&answer, user, item),
                    2 => oracle.check_recommended(&answer, user, N, By::Rating),
                    _ => oracle.check_recommended(&answer, user, N, By::Ranking),
                };
                outcome.right[at] += usize::from(verdict.is_ok());
                verdict
            }
        };
    if let Err(reason) = verdict {
        outcome.wrong.push(format!("{reason}: {answer}"));
    }
}
