//! Following a job: a bar for people at a terminal, a line per sweep for logs, nothing for scripts.
//! All of it goes to standard error.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shoal_common::model_parameters::als_of_job;
use shoal_proto::v1::{JobInfo, JobState, SweepMetrics};

use super::{
    failure::{Exit, refusal},
    signals::Signals,
};
use crate::{
    client::{ClientError, ClusterClient},
    output,
};

/// Steps of a bar: a job's progress is a fraction.
const BAR_STEPS: u64 = 1_000;

/// How much is shown while waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A bar, with the sweeps' metrics above it.
    Bar,
    /// The sweeps' metrics only.
    Lines,
    /// Nothing is printed until the end.
    Silent,
}

impl Style {
    /// A bar at a terminal, lines elsewhere, nothing for JSON.
    pub(super) fn choose(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Silent,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
}

/// A bar that may be invisible.
#[derive(Debug)]
pub(super) struct View {
    bar: ProgressBar,
    style: Style,
    sweeps_told: usize,
    /// The largest share shown: what another attempt or another leader does again moves nothing back.
    share: f64,
}

impl View {
    pub(super) fn new(style: Style, what: &str) -> Self {
        let target = match style {
            Style::Bar => ProgressDrawTarget::stderr(),
            Style::Lines | Style::Silent => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(BAR_STEPS), target).with_prefix(what.to_owned());
        // Short enough for a line of 80 columns to have room for what is going on.
        let template = "{prefix} [{bar:20}] {percent:>3} %  {elapsed:>3}  {wide_msg}";
        if let Ok(shape) = ProgressStyle::with_template(template) {
            bar.set_style(shape.progress_chars("=> "));
        }
        Self { bar, style, sweeps_told: 0, share: 0.0 }
    }

    /// Sets the bar to a share from 0 to 1.
    pub(super) fn set(&self, share: f64, message: &str) {
        self.bar.set_position((share.clamp(0.0, 1.0) * BAR_STEPS as f64) as u64);
        let message = output::shown_line(message);
        if self.bar.message() != message {
            self.bar.set_message(message.into_owned());
        }
    }

    /// Says a line above the bar.
    pub(super) fn say(&self, line: &str) {
        match self.style {
            Style::Bar => self.bar.suspend(|| output::say(line)),
            Style::Lines => output::say(line),
            Style::Silent => {}
        }
    }

    fn show(&mut self, job: &JobInfo) {
        let total = als_of_job(job).map_or(0, |parameters| parameters.sweeps);
        // The last sweep is measured with the version: its line waits for that.
        let waits = |metrics: &SweepMetrics| {
            metrics.sweep == total && job.state() == JobState::Running && job.model_version.is_empty()
        };
        for metrics in job.sweeps.iter().skip(self.sweeps_told).take_while(|metrics| !waits(metrics)) {
            self.say(&sweep_line(metrics, total));
            self.sweeps_told += 1;
        }
        self.share = self.share.max(job.progress);
        let phase = match job.state() {
            JobState::Queued => "waiting for the jobs before it".to_owned(),
            _ => with_remaining(&job.phase, job.remaining_seconds),
        };
        self.set(self.share, &phase);
    }
}

/// How long the rest of a job takes where that is known, and what the job is doing: a narrow terminal cuts the end.
pub(super) fn with_remaining(phase: &str, remaining_seconds: Option<f64>) -> String {
    match remaining_seconds {
        // Tenths would only flicker.
        Some(seconds) if seconds < 60.0 => format!("about {:.0} s left, {phase}", seconds.max(1.0)),
        Some(seconds) => format!("about {} left, {phase}", output::seconds(seconds)),
        None => phase.to_owned(),
    }
}

/// The bar goes away with its view, whether the work ended, failed or was given up.
impl Drop for View {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn sweep_line(metrics: &SweepMetrics, total: u32) -> String {
    let mut line = format!("sweep {:>3} of {total}  {:>8}", metrics.sweep, output::seconds(metrics.seconds));
    if let Some(rating) = &metrics.rating {
        line.push_str(&format!("  rmse {:.4}", rating.rmse));
    }
    if let Some(ranking) = &metrics.ranking {
        line.push_str(&format!("  recall@20 {:.4}  ndcg@20 {:.4}", ranking.recall_at_20, ranking.ndcg_at_20));
        if ranking.users < ranking.users_in_all {
            let of = output::users_measured(ranking.users, ranking.users_in_all);
            line.push_str(&format!(" ± {:.4} (of {of})", ranking.ndcg_at_20_half_width));
        }
    }
    line
}

/// How following a job ended.
#[derive(Debug)]
pub(super) enum Followed {
    /// The job is over.
    Over(Box<JobInfo>),
    /// Ctrl-C was pressed; the job goes on.
    Interrupted,
}

/// Shows a job until it is over or Ctrl-C is pressed.
pub(super) async fn follow(
    client: &ClusterClient,
    job_id: &str,
    style: Style,
    what: &str,
    signals: &mut Signals,
) -> Result<Followed, ClientError> {
    tokio::select! {
        biased;
        // Whoever presses Ctrl-C wants an answer at once.
        () = signals.received() => Ok(Followed::Interrupted),
        job = show_until_over(client, job_id, style, what) => Ok(Followed::Over(Box::new(job?))),
    }
}

/// Shows a job until it is over.
pub(super) async fn show_until_over(
    client: &ClusterClient,
    job_id: &str,
    style: Style,
    what: &str,
) -> Result<JobInfo, ClientError> {
    let mut view = View::new(style, what);
    let mut changes = client.watch(job_id);
    let mut last = JobInfo::default();
    while let Some(job) = changes.next().await? {
        view.show(&job);
        last = job;
    }
    Ok(last)
}

/// The job if it succeeded, else why not.
pub(super) fn succeeded(job: JobInfo) -> anyhow::Result<JobInfo> {
    match job.state() {
        JobState::Succeeded => Ok(job),
        JobState::Cancelled => Err(refusal(Exit::Cancelled, format!("job {} was cancelled", job.job_id))),
        _ => Err(refusal(Exit::Failed, format!("job {} failed: {}", job.job_id, job.error))),
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::RankingMetrics;

    use super::*;

    #[test]
    fn a_sweep_says_of_how_many_users_its_figures_are() {
        let line = |users, users_in_all| {
            let ranking = RankingMetrics {
                users,
                users_in_all,
                ndcg_at_20: 0.25,
                ndcg_at_20_half_width: 0.0125,
                ..RankingMetrics::default()
            };
            sweep_line(&SweepMetrics { sweep: 2, ranking: Some(ranking), ..SweepMetrics::default() }, 8)
        };
        assert!(line(1_000, 5_000).ends_with("ndcg@20 0.2500 ± 0.0125 (of 1,000 of 5,000 users)"));
        assert!(line(610, 610).ends_with("ndcg@20 0.2500"));
    }

    #[test]
    fn a_bar_goes_forward_only_and_tells_the_rest() {
        let mut view = View::new(Style::Silent, "train");
        let mut shown = Vec::new();
        for progress in [0.25, 0.5, 0.125, 0.75] {
            let state = JobState::Running.into();
            view.show(&JobInfo { progress, state, phase: "p".to_owned(), ..JobInfo::default() });
            shown.push(view.bar.position());
        }
        assert_eq!(shown, [250, 500, 500, 750]);
        assert_eq!(with_remaining("measuring", Some(12.4)), "about 12 s left, measuring");
        assert_eq!(with_remaining("measuring", Some(245.2)), "about 4 min 05 s left, measuring");
        assert_eq!(with_remaining("measuring", None), "measuring");
    }
}
