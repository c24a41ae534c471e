//! The stages of quickstart, each of which first looks for what is there.

use std::time::Duration;

use serde_json::Value;
use shoal_common::{
    ids::{EntityId, IdKind},
    model_parameters::als,
    store::Store,
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    DatasetInfo, DatasetSource, ImportDatasetRequest, JobInfo, ModelParameters, ModelVersion, Side,
    StartTrainingRequest, VersionState,
};
use tokio::time::Instant;

use crate::{
    cli::{
        connection::newest,
        dataset::Sample,
        environment::remote_options_of_command,
        failure::{Exit, refusal},
        progress::{Style, View, show_until_over, succeeded},
    },
    client::{ClusterClient, is_over},
    local::Plan,
    model_files::ModelFiles,
    output,
    recommender::{Recommender, RecommenderError},
};

/// Share of rejected rows above which an import is refused.
const BAD_ROWS_RATIO_MAX: f64 = 0.001;
const SHARD_COUNT: u32 = 16;
/// Items in the sample answer.
const TOP_N: u32 = 10;
/// How long the router may take to follow a promotion.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
const ANSWER_POLL: Duration = Duration::from_millis(25);

/// Measures the stages and says what each did.
#[derive(Debug)]
pub(super) struct Watch {
    json: bool,
    begun: Instant,
    stage: Instant,
    seconds: Vec<(&'static str, f64)>,
}

impl Watch {
    pub(super) fn new(json: bool) -> Self {
        Self { json, begun: Instant::now(), stage: Instant::now(), seconds: Vec::new() }
    }

    /// A stage has ended; the next one begins.
    pub(super) fn done(&mut self, stage: &'static str, sentence: &str) {
        let seconds = self.end(stage);
        self.say(&format!("{sentence} ({})", output::seconds(seconds)));
    }

    /// As [`Watch::done`], for a job: the sentence tells the seconds that its record and its version tell.
    fn done_in(&mut self, stage: &'static str, sentence: &str, job: &JobInfo) {
        self.end(stage);
        self.say(&format!("{sentence} ({})", output::seconds(output::job_seconds(job))));
    }

    /// The seconds of the stage that ends.
    fn end(&mut self, stage: &'static str) -> f64 {
        let seconds = self.stage.elapsed().as_secs_f64();
        self.seconds.push((stage, seconds));
        self.stage = Instant::now();
        seconds
    }

    /// A stage was not needed.
    fn skipped(&mut self, sentence: &str) {
        self.stage = Instant::now();
        self.say(sentence);
    }

    pub(super) fn say(&self, sentence: &str) {
        if !self.json {
            output::say(sentence);
        }
    }

    /// Seconds per stage, then in all.
    pub(super) fn seconds(&self) -> Vec<(&'static str, f64)> {
        let total = ("total", self.begun.elapsed().as_secs_f64());
        self.seconds.iter().copied().chain([total]).collect()
    }

    /// A bar at a terminal, nothing elsewhere: the stages have sentences of their own.
    fn style(&self) -> Style {
        match Style::choose(self.json) {
            Style::Lines => Style::Silent,
            style => style,
        }
    }
}

/// What the stages work with.
pub(super) struct Stages<'a> {
    pub(super) client: ClusterClient,
    pub(super) router: Recommender,
    pub(super) plan: &'a Plan,
    pub(super) watch: &'a mut Watch,
    /// Users whose lists are measured, as requests say it.
    pub(super) ranking_users_max: u32,
}

impl Stages<'_> {
    /// Files of the built-in sample: their address and the data set's name.
    pub(super) async fn sample(&mut self, seed: u64) -> anyhow::Result<(String, String)> {
        let name = format!("sample-{seed}");
        let folder = self.plan.dir.join(&name);
        let uri = folder.display().to_string();
        if folder.exists() {
            self.watch.skipped("The sample files are there from an earlier start");
            return Ok((uri, name));
        }
        let sample = Sample::built_in(seed);
        let view = View::new(self.watch.style(), "generate");
        let generated = sample.generate_into(&folder, &view).await;
        drop(view);
        generated?;
        self.watch.done("generate", &format!("Generated sample data: {sample}"));
        Ok((uri, name))
    }

    /// The data set of this source.
    pub(super) async fn dataset(&mut self, uri: &str, name: &str) -> anyhow::Result<DatasetInfo> {
        let datasets = self.client.datasets().await?;
        let same = datasets.iter().filter(|info| info.source_uri == uri && info.name == name);
        if let Some(info) = newest(same) {
            let sentence = format!("Found {}@{} from an earlier start", info.name, info.version);
            self.watch.skipped(&sentence);
            return Ok(info.clone());
        }
        let source = DatasetSource {
            uri: uri.to_owned(),
            bad_rows_ratio_max: BAD_ROWS_RATIO_MAX,
            ..DatasetSource::default()
        };
        let request = ImportDatasetRequest {
            name: name.to_owned(),
            source: Some(source),
            shard_count: SHARD_COUNT,
            ..ImportDatasetRequest::default()
        };
        let open = self.open_job(|job| {
            job.import.as_ref().is_some_and(|import| import.name == name && import.source == request.source)
        });
        let job_id = match open.await? {
            Some(job_id) => job_id,
            None => self.client.start_import(request).await?,
        };
        let job = self.finish(&job_id, "import").await?;
        let info = job
            .dataset
            .ok_or_else(|| refusal(Exit::Failed, format!("job {job_id} ended without a data set")))?;
        let sentence = format!(
            "Imported {}: {}, {}, {}",
            info.name,
            output::counted(info.users, "user"),
            output::counted(info.items, "item"),
            output::counted(info.ratings, "rating")
        );
        self.watch.done("import", &sentence);
        Ok(info)
    }

    /// An ALS version trained on the data set with these parameters.
    pub(super) async fn als(
        &mut self,
        dataset: &DatasetInfo,
        parameters: ModelParameters,
    ) -> anyhow::Result<ModelVersion> {
        let of_als = als(&parameters).map(|als| format!(": rank {}, {} sweeps", als.rank, als.sweeps));
        self.version("train", dataset, parameters, &of_als.unwrap_or_default()).await
    }

    /// A version of another model trained on the data set with these parameters, live beside those of the others;
    /// the stage has the model's name.
    pub(super) async fn other(
        &mut self,
        kind: ModelKind,
        dataset: &DatasetInfo,
        parameters: ModelParameters,
    ) -> anyhow::Result<ModelVersion> {
        let version = self.version(kind.name(), dataset, parameters, "").await?;
        if version.state() != VersionState::Live {
            self.load(&version, false).await?;
        }
        Ok(version)
    }

    async fn version(
        &mut self,
        stage: &'static str,
        dataset: &DatasetInfo,
        wanted: ModelParameters,
        about: &str,
    ) -> anyhow::Result<ModelVersion> {
        if let Some(version) = self.trained(dataset, &wanted).await? {
            self.watch.skipped(&format!("Found {} from an earlier start", version.name));
            return Ok(version);
        }
        let open = self.open_job(|job| {
            job.training.as_ref().is_some_and(|training| {
                training.dataset_name == dataset.name
                    && training.dataset_version == dataset.version
                    && training.model.as_ref() == Some(&wanted)
            })
        });
        let job_id = match open.await? {
            Some(job_id) => job_id,
            None => {
                let request = StartTrainingRequest {
                    dataset_name: dataset.name.clone(),
                    dataset_version: dataset.version.clone(),
                    model: Some(wanted.clone()),
                    ranking_users_max: self.ranking_users_max,
                    ..StartTrainingRequest::default()
                };
                self.client.start_training(request).await?
            }
        };
        let job = self.finish(&job_id, "train").await?;
        let version = self.trained(dataset, &wanted).await?.ok_or_else(|| {
            let message =
                format!("job {job_id} ended, but the version '{}' is not registered", job.model_version);
            refusal(Exit::Failed, message)
        })?;
        self.watch.done_in(stage, &format!("Trained {}{about}", version.name), &job);
        Ok(version)
    }

    async fn trained(
        &self,
        dataset: &DatasetInfo,
        wanted: &ModelParameters,
    ) -> anyhow::Result<Option<ModelVersion>> {
        let fits = |version: &ModelVersion| {
            version.dataset_name == dataset.name
                && version.dataset_version == dataset.version
                && version.model_parameters.as_ref() == Some(wanted)
                && version.state() != VersionState::Training
        };
        let mut versions: Vec<ModelVersion> = self.client.models().await?.into_iter().filter(fits).collect();
        // The live one before a newer one: nothing needs to be done for it.
        versions.sort_by_key(|version| (version.state() == VersionState::Live, version.created_unix_ms));
        Ok(versions.pop())
    }

    /// A job of an earlier start that still runs.
    async fn open_job(&self, fits: impl Fn(&JobInfo) -> bool) -> anyhow::Result<Option<String>> {
        let jobs = self.client.jobs().await?;
        Ok(jobs.into_iter().find(|job| !is_over(job) && fits(job)).map(|job| job.job_id))
    }

    async fn finish(&mut self, job_id: &str, what: &str) -> anyhow::Result<JobInfo> {
        succeeded(show_until_over(&self.client, job_id, self.watch.style(), what).await?)
    }

    /// Makes the version the live one, and the one that answers where no model is named.
    pub(super) async fn promote(&mut self, version: &ModelVersion) -> anyhow::Result<()> {
        if version.state() == VersionState::Live {
            return Ok(());
        }
        self.load(version, true).await?;
        self.watch.done("promote", "Promoted: workers hold every shard of it");
        Ok(())
    }

    async fn load(&self, version: &ModelVersion, make_default: bool) -> anyhow::Result<()> {
        let view = View::new(self.watch.style(), "promote");
        view.set(0.0, "workers load the version");
        let promoted = self.client.promote(&version.name, make_default).await;
        drop(view);
        output::say_late_routers(&promoted?);
        Ok(())
    }

    /// The router's answer for one user of the data set, from this version.
    pub(super) async fn answer(
        &mut self,
        dataset: &DatasetInfo,
        version: &ModelVersion,
    ) -> anyhow::Result<Value> {
        let mut user = match IdKind::from_proto(dataset.user_id_kind()) {
            // MovieLens has one, and people try it first.
            Some(IdKind::Integer) => EntityId::Integer(1),
            _ => self.some_user(dataset, version).await?,
        };
        let answer = patiently(version, async || {
            let answer = match self.ask(&user.to_string(), version, &[]).await? {
                Asked::Answered(answer) => answer,
                not_yet => return Ok(not_yet),
            };
            if !self.router.health().await.is_ok_and(|health| health["status"] == "healthy") {
                return Ok(Asked::NotYet("some shards are not served yet".to_owned()));
            }
            if answer["source"] == "model" {
                return Ok(Asked::Answered(answer));
            }
            user = self.some_user(dataset, version).await?;
            Ok(Asked::NotYet(format!("it does not know user {} of the data set", answer["user_id"])))
        });
        let answer = answer.await?;
        self.watch.done("answer", &format!("Answered for user {user}"));
        Ok(answer)
    }

    /// Waits until the router answers the user from this version of the named model.
    pub(super) async fn is_served(
        &self,
        model: &str,
        version: &ModelVersion,
        user: &Value,
    ) -> anyhow::Result<()> {
        // Text ids are JSON strings, and their quotes are no part of them.
        let user = user.as_str().map_or_else(|| user.to_string(), str::to_owned);
        let named = [("model", model.to_owned())];
        patiently(version, async || self.ask(&user, version, &named).await).await?;
        Ok(())
    }

    /// Asks the router one question and returns its answer.
    async fn ask(
        &self,
        user: &str,
        version: &ModelVersion,
        parameters: &[(&'static str, String)],
    ) -> anyhow::Result<Asked> {
        // A list without some shards would be another one, and one that was kept does not say that the model knows the
        // user.
        let whole =
            [("n", TOP_N.to_string()), ("complete", "true".to_owned()), ("use_cache", "false".to_owned())];
        match self.router.recommend(user, &[&whole, parameters].concat()).await {
            Ok(answer) if answer["model_version"] == version.name.as_str() => Ok(Asked::Answered(answer)),
            Ok(answer) => {
                Ok(Asked::NotYet(format!("it still answers from version {}", answer["model_version"])))
            }
            Err(error @ RecommenderError::Refused { .. }) if !is_transient(&error) => Err(error.into()),
            Err(error) => Ok(Asked::NotYet(error.to_string())),
        }
    }

    /// The first user of the first shard that has one.
    async fn some_user(&self, dataset: &DatasetInfo, version: &ModelVersion) -> anyhow::Result<EntityId> {
        let options = remote_options_of_command(self.plan.settings.store_options())?;
        let store = Store::open_with(&self.plan.file.store, &options)?;
        let files = ModelFiles::open(&store, version, dataset).await?;
        for shard in 0..files.shard_count() {
            let part = files.part(Side::Users, shard).await?;
            if !part.ids.is_empty() {
                return Ok(part.ids.get(0));
            }
        }
        Err(refusal(Exit::Failed, format!("the data set '{}' has no user", dataset.name)))
    }
}

/// What came of a question.
enum Asked {
    Answered(Value),
    /// It cannot be answered yet, for this reason.
    NotYet(String),
}

/// Asks until there is an answer.
async fn patiently(
    version: &ModelVersion,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Asked>,
) -> anyhow::Result<Value> {
    let give_up_at = Instant::now() + ANSWER_PATIENCE;
    loop {
        let reason = match ask().await? {
            Asked::Answered(answer) => return Ok(answer),
            Asked::NotYet(reason) => reason,
        };
        if Instant::now() >= give_up_at {
            let seconds = ANSWER_PATIENCE.as_secs();
            let message =
                format!("the router gave no answer from {} within {seconds} s: {reason}", version.name);
            return Err(refusal(Exit::Unavailable, message));
        }
        tokio::time::sleep(ANSWER_POLL).await;
    }
}

/// A router that has not heard of the promotion yet answers 503.
fn is_transient(error: &RecommenderError) -> bool {
    matches!(error, RecommenderError::Refused { status, .. } if matches!(status.as_u16(), 429 | 502..=504))
}
