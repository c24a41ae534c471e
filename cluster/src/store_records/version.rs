//! The record of a model version.

use serde::Deserialize;
use shoal_common::store::{Store, model_path};
use shoal_core::ModelKind;
use shoal_proto::v1::{CalibrationKnot, HybridModel, HybridSource, ModelVersion};

use super::{Folder, RecordError, exact::Exact, parameters::Parameters};

/// What `metadata.json` says of a version of any model.
#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
    model: String,
    dataset: Dataset,
    parameters: Parameters,
    rating_mean: Exact,
    #[serde(default)]
    rating_slope: Option<Exact>,
    #[serde(default)]
    sources: Option<Vec<Source>>,
    #[serde(default)]
    remarks: Vec<String>,
    #[serde(default)]
    imported_from: String,
}

#[derive(Debug, Deserialize)]
struct Dataset {
    name: String,
    version: String,
    /// Missing for a model that was imported.
    #[serde(default)]
    manifest_checksum: Option<String>,
}

/// A source of a blend.
#[derive(Debug, Deserialize)]
struct Source {
    model: String,
    version: String,
    weight: Exact,
    knots: Vec<(f32, f32)>,
}

/// A version as a registry has it, and what its data set has to be.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRecord {
    /// The record.
    pub version: ModelVersion,
    /// The checksum of its data set's manifest when it was trained, where that is known.
    pub dataset_checksum: Option<String>,
}

/// Reads the record of a version in the folder of its model.
///
/// # Errors
/// When the folder is not whole, or is another version's.
pub async fn read_version(store: &Store, kind: ModelKind, name: &str) -> Result<VersionRecord, RecordError> {
    let folder = Folder::read(store, model_path(kind.folder(), name)).await?;
    let metadata: Metadata =
        folder.parsed()?.ok_or_else(|| folder.unclear("the manifest does not name the file".to_owned()))?;
    if metadata.name != name || metadata.model != kind.folder() {
        let Metadata { name, model, .. } = &metadata;
        return Err(
            folder.unclear(format!("it is of the version '{name}' of '{model}', in another's folder"))
        );
    }
    let model_parameters = metadata.parameters.of(kind).map_err(|reason| folder.unclear(reason))?;
    let hybrid = metadata.sources.map(|sources| HybridModel {
        sources: sources.into_iter().map(source).collect(),
        ..HybridModel::default()
    });
    let version = ModelVersion {
        name: metadata.name,
        model: metadata.model,
        dataset_name: metadata.dataset.name,
        dataset_version: metadata.dataset.version,
        rating_mean: metadata.rating_mean.0,
        rating_slope: metadata.rating_slope.unwrap_or_default().0,
        hybrid: hybrid.filter(|_| kind == ModelKind::Hybrid),
        model_parameters: Some(model_parameters),
        remarks: metadata.remarks,
        imported_from: metadata.imported_from,
        manifest_checksum: folder.checksum,
        path: folder.path,
        ..ModelVersion::default()
    };
    Ok(VersionRecord { version, dataset_checksum: metadata.dataset.manifest_checksum })
}

fn source(source: Source) -> HybridSource {
    let knot = |(score, level)| CalibrationKnot { score, level };
    HybridSource {
        model: source.model,
        version: source.version,
        weight: source.weight.0,
        knots: source.knots.into_iter().map(knot).collect(),
    }
}
