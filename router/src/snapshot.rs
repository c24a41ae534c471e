//! What is served where, as one query sees it: made once per metadata change, never changed after.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use shoal_common::{
    access::Grants,
    ids::{IdKind, SHARDS_MAX},
    model_parameters::als_of,
    user_query::Answers,
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    AlsParameters, DatasetInfo, LoadedVersions, Metadata, ModelVersion, NodeHealth, NodeInfo, NodeRole,
    ObjectiveChoice, Placement, Side,
};

use crate::replicas::{Replica, Replicas};

/// What a query asks: a version, else a model's live one, else the default model's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) version: Option<String>,
    pub(crate) model: Option<ModelKind>,
}

impl Target {
    pub(crate) fn model(model: Option<ModelKind>) -> Self {
        Self { version: None, model }
    }
}

/// No version is served that could answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// Nothing was promoted yet.
    #[error(
        "no model is live yet: train one with `shoal train --promote`, or promote a version with `shoal models promote`"
    )]
    NoModel,
    /// The router has just started and knows nothing of the cluster.
    #[error("this router has not heard from a coordinator yet; try again in a moment")]
    NothingHeard,
    /// Other models are live, but not this one.
    #[error(
        "no version of model '{0}' is live: train one with `shoal train --models {0}` and promote it with \
         `shoal models promote`, or ask another model"
    )]
    ModelNotLive(ModelKind),
    /// A page of a version that is no longer served.
    #[error("version '{0}' is no longer served; leave the cursor out to begin anew")]
    VersionGone(String),
    /// The version is of a model that a newer release has brought.
    #[error(
        "version '{version}' is of the model '{model}', which this release of the router does not know; update the \
         router, or ask another model"
    )]
    UnknownModel {
        /// The version that would have to answer.
        version: String,
        /// Its model, as the registry names it.
        model: String,
    },
}

/// A version that queries name, and who can be asked for its shards.
#[derive(Debug)]
pub struct Live {
    /// The version as the registry has it.
    pub version: ModelVersion,
    /// The model that the version is of.
    pub model: ModelKind,
    /// What it was trained on.
    pub dataset: DatasetInfo,
    /// What predicted ratings start from.
    pub rating_mean: f64,
    /// Kind of user ids.
    pub user_id_kind: IdKind,
    /// Kind of item ids.
    pub item_id_kind: IdKind,
    /// Per user shard, whom to ask: the workers that are up and have reported it ready (or should have it and have
    /// reported nothing yet), else those that are up and should have it, else whoever had or should have it.
    pub user_shards: Vec<Vec<Arc<Replica>>>,
    /// Likewise per item shard.
    pub item_shards: Vec<Vec<Arc<Replica>>>,
    /// Shards of either side that nobody who is up has reported ready.
    pub unserved: usize,
}

impl Live {
    /// What the version ranks by.
    pub(crate) fn answers(&self) -> Answers {
        self.model.answers()
    }

    /// Whether the version answers from neighbours of items rather than from factors.
    pub(crate) fn has_neighbours(&self) -> bool {
        self.answers() == Answers::ByNeighbours
    }

    /// Whether the ratings of a user are a part of every query for the user.
    pub(crate) fn needs_ratings(&self) -> bool {
        self.answers() != Answers::ByFactors
    }

    /// A predicted rating, kept on the data set's scale.
    pub(crate) fn clamp(&self, rating: f32) -> f32 {
        self.scale().map_or(rating, |scale| rating.clamp(*scale.start(), *scale.end()))
    }

    /// The candidates for a side's shards.
    #[must_use]
    pub fn shards(&self, side: Side) -> &[Vec<Arc<Replica>>] {
        if side == Side::Items { &self.item_shards } else { &self.user_shards }
    }

    /// The lowest and the highest rating; `None` for a data set without ratings, which is what a version of
    /// elsewhere comes with.
    #[must_use]
    pub fn scale(&self) -> Option<RangeInclusive<f32>> {
        let DatasetInfo { ratings, rating_min, rating_max, .. } = &self.dataset;
        (*ratings > 0).then_some(*rating_min as f32..=*rating_max as f32)
    }

    /// How many shards both sides have.
    #[must_use]
    pub fn shards_total(&self) -> usize {
        self.user_shards.len() + self.item_shards.len()
    }

    /// How many of them can be asked for now.
    #[must_use]
    pub fn shards_served(&self) -> usize {
        let reachable = |shards: &[Vec<Arc<Replica>>]| {
            shards.iter().filter(|replicas| replicas.iter().any(|replica| replica.is_usable())).count()
        };
        (reachable(&self.user_shards) + reachable(&self.item_shards)).min(self.shards_total() - self.unserved)
    }
}

/// A version that is served and that this release cannot ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVersion {
    /// Name of the version.
    pub version: String,
    /// Its model, as the registry names it.
    pub model: String,
}

/// One state of the cluster.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Which leader's, and which of its revisions.
    pub revision: (u64, u64),
    /// The live version of the default model, if there is one.
    pub live: Option<Arc<Live>>,
    /// The version before, which stays loaded.
    pub previous: Option<Arc<Live>>,
    /// Of the other models the live versions and those before.
    pub others: Vec<(Arc<Live>, Option<Arc<Live>>)>,
    /// Served versions of models that this release does not know.
    pub unknown: Vec<UnknownVersion>,
    /// Workers that are up.
    pub workers_up: usize,
    /// The tokens that are good; `None` until a coordinator was heard.
    pub tokens: Option<Arc<Grants>>,
    /// The name of the version that the default model answers with; empty when none does.
    default_version: String,
    /// What each worker has ready, as far as that is known.
    loaded: HashMap<String, LoadedVersions>,
}

impl Snapshot {
    /// From metadata and the snapshot before, whose word is taken for the workers from which a new leader has not
    /// heard yet. Workers keep their `replicas` entry from one snapshot to the next.
    #[must_use]
    pub fn new(metadata: &Metadata, before: &Self, replicas: &Replicas) -> Self {
        let workers = metadata.nodes.iter().filter(|node| node.role() == NodeRole::Worker);
        replicas.retain(|name, address| {
            metadata.nodes.iter().any(|node| node.name == name && node.address == address)
        });
        let mut snapshot = Self {
            revision: (metadata.leader_term, metadata.revision),
            workers_up: workers.filter(|node| is_up(node)).count(),
            default_version: metadata.live_version.clone(),
            loaded: loaded(metadata, before),
            tokens: Some(Arc::new(Grants::of(&metadata.tokens))),
            ..Self::default()
        };
        snapshot.live = snapshot.serve(metadata, &metadata.live_version, replicas);
        snapshot.previous = snapshot.serve(metadata, &metadata.previous_version, replicas);
        // A coordinator of a release that served one version names no others.
        for served in metadata.served.iter().filter(|served| served.model != metadata.default_model) {
            let previous = snapshot.serve(metadata, &served.previous_version, replicas);
            let live = snapshot.serve(metadata, &served.live_version, replicas);
            snapshot.others.extend(live.map(|live| (live, previous)));
        }
        snapshot
    }

    /// The named version as queries ask it; noted as unknown where it is of a model of a later release.
    fn serve(&mut self, metadata: &Metadata, name: &str, replicas: &Replicas) -> Option<Arc<Live>> {
        let version = metadata.versions.iter().find(|version| version.name == name)?;
        let Ok(model) = ModelKind::parse(&version.model) else {
            self.unknown.push(UnknownVersion { version: name.to_owned(), model: version.model.clone() });
            return None;
        };
        live(metadata, version, model, &self.loaded, replicas).map(Arc::new)
    }

    /// The named version if it is served, else the model's live one, else that of the default model.
    ///
    /// # Errors
    /// When there is none that this release can ask.
    pub(crate) fn serving(&self, target: &Target) -> Result<&Arc<Live>, NotServed> {
        if let Some(version) = &target.version {
            let others =
                self.others.iter().flat_map(|(live, previous)| std::iter::once(live).chain(previous));
            let mut served = self.live.iter().chain(&self.previous).chain(others);
            let gone = || NotServed::VersionGone(version.clone());
            return served
                .find(|live| live.version.name == *version)
                .ok_or_else(|| self.unknown(version).unwrap_or_else(gone));
        }
        let default = || {
            let nothing = if self.is_empty() { NotServed::NothingHeard } else { NotServed::NoModel };
            let none = || self.unknown(&self.default_version).unwrap_or(nothing);
            self.live.as_ref().ok_or_else(none)
        };
        let Some(model) = target.model else { return default() };
        self.live_versions_of_known_models().find(|live| live.model == model).ok_or_else(|| match default() {
            // Before anything is live it is not the model's fault.
            Err(nothing @ (NotServed::NoModel | NotServed::NothingHeard)) => nothing,
            _ => NotServed::ModelNotLive(model),
        })
    }

    /// Why this version is not asked, where that is its model's newness.
    fn unknown(&self, version: &str) -> Option<NotServed> {
        let found = self.unknown.iter().find(|unknown| unknown.version == version)?;
        let UnknownVersion { version, model } = found.clone();
        Some(NotServed::UnknownModel { version, model })
    }

    /// The name of the version of the default model; empty when nothing is live.
    pub(crate) fn default_version(&self) -> &str {
        &self.default_version
    }

    /// Whether the default model is one that this release does not know.
    pub(crate) fn default_is_unknown(&self) -> bool {
        self.unknown(&self.default_version).is_some()
    }

    /// Whether no coordinator has said anything yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.revision == (0, 0)
    }

    /// The live version of each model that this release knows, the default model's first.
    pub(crate) fn live_versions_of_known_models(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.live.iter().chain(self.others.iter().map(|(live, _)| live))
    }

    /// What a switch changes: the versions that answer, and the one that does where no model is named.
    pub(crate) fn answers_from(&self) -> (&str, Vec<&str>) {
        let live = self.live_versions_of_known_models().map(|live| live.version.name.as_str());
        (&self.default_version, live.collect())
    }

    /// The names of the versions that are live.
    pub(crate) fn live_versions(&self) -> Vec<String> {
        self.live_versions_of_known_models().map(|live| live.version.name.clone()).collect()
    }
}

fn is_up(node: &NodeInfo) -> bool {
    node.health() == NodeHealth::Up
}

/// The version's own; of a blend that of its ALS version, if that predicts ratings.
fn rating_mean(metadata: &Metadata, version: &ModelVersion) -> f64 {
    let mut sources = version.hybrid.iter().flat_map(|hybrid| &hybrid.sources);
    let als = sources.find(|source| ModelKind::parse(&source.model) == Ok(ModelKind::Als));
    let als = als.and_then(|als| metadata.components.iter().find(|component| component.name == als.version));
    let predicts = |als: &&ModelVersion| {
        let objective = als_of(als).map(AlsParameters::objective);
        objective != Some(ObjectiveChoice::Implicit)
    };
    als.filter(predicts).unwrap_or(version).rating_mean
}

/// What each of the nodes has ready: as the metadata says, else as was known before.
fn loaded(metadata: &Metadata, before: &Snapshot) -> HashMap<String, LoadedVersions> {
    let of_node = |node: &NodeInfo| {
        let loaded = metadata.loaded.get(&node.name).or_else(|| before.loaded.get(&node.name))?;
        Some((node.name.clone(), loaded.clone()))
    };
    metadata.nodes.iter().filter_map(of_node).collect()
}

fn live(
    metadata: &Metadata,
    version: &ModelVersion,
    model: ModelKind,
    loaded: &HashMap<String, LoadedVersions>,
    replicas: &Replicas,
) -> Option<Live> {
    let of_version = |name: &str, of: &str| name == version.dataset_name && of == version.dataset_version;
    let dataset = metadata.datasets.iter().find(|dataset| of_version(&dataset.name, &dataset.version))?;
    // An id belongs to one of the shards, so there must be one; and no data set has more than so many.
    if !(1..=SHARDS_MAX).contains(&dataset.shard_count) {
        tracing::error!(
            version = version.name,
            shards = dataset.shard_count,
            "a version has no data set that can be served"
        );
        return None;
    }
    let placement = metadata
        .placements
        .iter()
        .find(|placement| of_version(&placement.dataset_name, &placement.dataset_version))?;
    let workers = metadata.nodes.iter().filter(|node| node.role() == NodeRole::Worker);
    let workers = workers.map(|node| (node, replicas.get(&node.name, &node.address))).collect();
    let candidates = Candidates { version: &version.name, loaded, placement, workers };
    let mut unserved = 0;
    let mut of_side = |side: Side| -> Vec<Vec<Arc<Replica>>> {
        let of_shard = |shard: u32| {
            let (replicas, is_served) = candidates.of_shard(side, shard);
            unserved += usize::from(!is_served);
            replicas
        };
        (0..dataset.shard_count).map(of_shard).collect()
    };
    let (user_shards, item_shards) = (of_side(Side::Users), of_side(Side::Items));
    Some(Live {
        version: version.clone(),
        model,
        dataset: dataset.clone(),
        rating_mean: rating_mean(metadata, version),
        user_id_kind: IdKind::from_proto(dataset.user_id_kind())?,
        item_id_kind: IdKind::from_proto(dataset.item_id_kind())?,
        user_shards,
        item_shards,
        unserved,
    })
}

/// Who may be asked for the shards of one version.
struct Candidates<'a> {
    version: &'a str,
    loaded: &'a HashMap<String, LoadedVersions>,
    placement: &'a Placement,
    workers: Vec<(&'a NodeInfo, Arc<Replica>)>,
}

impl Candidates<'_> {
    /// Whom to ask for a shard, by name, and whether somebody who is up has reported it ready.
    fn of_shard(&self, side: Side, shard: u32) -> (Vec<Arc<Replica>>, bool) {
        // While shards move, workers that are no longer placed may still have them.
        let may_be =
            |node: &NodeInfo| !self.loaded.contains_key(&node.name) && self.is_placed(node, side, shard);
        let ready = self.pick(|node| is_up(node) && (self.is_ready(node, side, shard) || may_be(node)));
        if !ready.is_empty() {
            let is_served =
                self.workers.iter().any(|(node, _)| is_up(node) && self.is_ready(node, side, shard));
            return (ready, is_served);
        }
        // A lost lease may be all that is wrong with those that had it; who is to have it may have it by now.
        let had_or_to_have = self.pick(|node| {
            self.is_ready(node, side, shard) || is_up(node) && self.is_placed(node, side, shard)
        });
        if !had_or_to_have.is_empty() {
            return (had_or_to_have, false);
        }
        (self.pick(|node| self.is_placed(node, side, shard)), false)
    }

    /// The workers that fulfil the condition, by name.
    fn pick(&self, wanted: impl Fn(&NodeInfo) -> bool) -> Vec<Arc<Replica>> {
        let picked = self.workers.iter().filter(|(node, _)| wanted(node));
        let mut picked: Vec<Arc<Replica>> = picked.map(|(_, replica)| Arc::clone(replica)).collect();
        picked.sort_by(|a, b| a.name.cmp(&b.name));
        picked
    }

    /// Whether the worker has said that it has the shard ready.
    fn is_ready(&self, node: &NodeInfo, side: Side, shard: u32) -> bool {
        let of_node = self.loaded.get(&node.name).into_iter().flat_map(|loaded| &loaded.versions);
        of_node.filter(|loaded| loaded.version == self.version).any(|loaded| {
            let shards = if side == Side::Items { &loaded.item_shards } else { &loaded.user_shards };
            shards.contains(&shard)
        })
    }

    /// Whether the worker is to have the shard.
    fn is_placed(&self, node: &NodeInfo, side: Side, shard: u32) -> bool {
        let mut of_shard = self.placement.shards.iter().filter(|of| of.side() == side && of.shard == shard);
        of_shard.any(|of| of.nodes.contains(&node.name))
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{
        self, HybridModel, HybridSource, LoadedVersion, ModelParameters, ShardReplicas, model_parameters,
    };

    use super::*;

    /// A worker that has the only shard of either side ready, and one that is to have it.
    fn moving() -> Metadata {
        let node = |name: &str| NodeInfo {
            name: name.to_owned(),
            role: NodeRole::Worker.into(),
            health: NodeHealth::Up.into(),
            ..NodeInfo::default()
        };
        let dataset = DatasetInfo {
            name: "d".to_owned(),
            version: "1".to_owned(),
            shard_count: 1,
            user_id_kind: v1::IdKind::Integer.into(),
            item_id_kind: v1::IdKind::Integer.into(),
            ..DatasetInfo::default()
        };
        let version = ModelVersion {
            name: "v".to_owned(),
            model: ModelKind::Als.folder().to_owned(),
            dataset_name: dataset.name.clone(),
            dataset_version: dataset.version.clone(),
            ..ModelVersion::default()
        };
        let placed =
            |side: Side| ShardReplicas { side: side.into(), shard: 0, nodes: vec!["new".to_owned()] };
        let placement = Placement {
            dataset_name: dataset.name.clone(),
            dataset_version: dataset.version.clone(),
            shards: [Side::Users, Side::Items].map(placed).to_vec(),
        };
        let ready =
            LoadedVersion { version: version.name.clone(), user_shards: vec![0], item_shards: vec![0] };
        Metadata {
            live_version: version.name.clone(),
            default_model: version.model.clone(),
            nodes: ["new", "old"].map(node).to_vec(),
            versions: vec![version],
            datasets: vec![dataset],
            placements: vec![placement],
            loaded: [
                ("old".to_owned(), LoadedVersions { versions: vec![ready] }),
                ("new".to_owned(), LoadedVersions::default()),
            ]
            .into(),
            ..Metadata::default()
        }
    }

    /// Room is made for each shard: metadata that claims more of them than a data set can have is not believed.
    #[test]
    fn shards_that_no_data_set_has_are_not_made_room_for() {
        let live = |shard_count| {
            let mut metadata = moving();
            metadata.datasets[0].shard_count = shard_count;
            Snapshot::new(&metadata, &Snapshot::default(), &Replicas::default()).live.is_some()
        };
        assert_eq!([0, 1, SHARDS_MAX, SHARDS_MAX + 1, u32::MAX].map(live), [false, true, true, false, false]);
    }

    #[test]
    fn what_workers_have_said_stands_until_a_new_leader_hears_of_them() {
        let replicas = Replicas::default();
        let asked = |snapshot: &Snapshot| {
            let live = snapshot.live.as_ref().unwrap();
            let names = live.item_shards[0].iter().map(|replica| replica.name.clone()).collect::<Vec<_>>();
            (names, live.unserved)
        };
        let said = moving();
        let known = Snapshot::new(&said, &Snapshot::default(), &replicas);
        assert_eq!(asked(&known), (vec!["old".to_owned()], 0));
        let unheard = Metadata { loaded: HashMap::new(), ..said };
        let after = Snapshot::new(&unheard, &known, &replicas);
        assert_eq!(asked(&after), (vec!["old".to_owned()], 0));
        // Who was never heard of is taken at the placement's word.
        let anew = Snapshot::new(&unheard, &Snapshot::default(), &replicas);
        assert_eq!(asked(&anew), (vec!["new".to_owned()], 2));
    }

    #[test]
    fn a_blends_mean_is_that_of_the_version_that_predicts() {
        let mean_with = |objective: ObjectiveChoice| {
            let als = AlsParameters { objective: objective.into(), ..AlsParameters::default() };
            let model = Some(model_parameters::Model::Als(als));
            let component = ModelVersion {
                name: "a".to_owned(),
                rating_mean: 2.0,
                model_parameters: Some(ModelParameters { model, ..ModelParameters::default() }),
                ..ModelVersion::default()
            };
            let source = HybridSource {
                model: ModelKind::Als.folder().to_owned(),
                version: component.name.clone(),
                ..HybridSource::default()
            };
            let hybrid = Some(HybridModel { sources: vec![source], ..HybridModel::default() });
            let blend = ModelVersion { rating_mean: 3.0, hybrid, ..ModelVersion::default() };
            rating_mean(&Metadata { components: vec![component], ..Metadata::default() }, &blend)
        };
        assert_eq!(mean_with(ObjectiveChoice::Both), 2.0);
        assert_eq!(mean_with(ObjectiveChoice::Explicit), 2.0);
        assert_eq!(mean_with(ObjectiveChoice::Implicit), 3.0);
    }
}
