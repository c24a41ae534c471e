//! Which model a query asks, and what a version answers from.

use shoal_common::model_name;

use super::QueryError;
use crate::snapshot::Live;

/// A kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Factors of users and items.
    Als,
    /// Items rated alike.
    ItemCf,
    /// Items with features alike.
    Content,
    /// A blend of the others.
    Hybrid,
}

/// What ranked an item of whom nothing is known.
pub(super) const POPULARITY: &str = "popularity";

impl Model {
    const ALL: [Self; 4] = [Self::Als, Self::ItemCf, Self::Content, Self::Hybrid];

    /// Reads a parameter, by [`model_name::registered`]; an empty one names no model.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn parse(name: &str) -> Result<Option<Self>, QueryError> {
        if name.is_empty() {
            return Ok(None);
        }
        let registered = model_name::registered(name);
        let model = Self::ALL.into_iter().find(|model| registered == Some(model.registered()));
        model.map(Some).ok_or_else(|| {
            let reason = format!("'{name}' is not one of 'als', 'item_cf', 'content' and 'hybrid'");
            QueryError::invalid("model", reason)
        })
    }

    /// As clients name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Als => "als",
            Self::ItemCf => "item_cf",
            Self::Content => "content",
            Self::Hybrid => "hybrid",
        }
    }

    /// How clients name what the registry names so.
    pub(super) fn client_name(registered: &str) -> Option<&'static str> {
        Self::ALL.into_iter().find(|model| model.registered() == registered).map(Self::name)
    }

    /// As the registry names it.
    pub(crate) fn registered(self) -> &'static str {
        match self {
            Self::Content => "content_based",
            other => other.name(),
        }
    }
}

impl Live {
    /// The version's model.
    pub(crate) fn model(&self) -> Model {
        let models = [Model::ItemCf, Model::Content, Model::Hybrid];
        let of_name = models.into_iter().find(|model| model.registered() == self.version.model);
        of_name.unwrap_or(Model::Als)
    }

    /// Whether the version answers from neighbours of items rather than from factors.
    pub(super) fn has_neighbours(&self) -> bool {
        matches!(self.model(), Model::ItemCf | Model::Content)
    }

    /// Whether what a user has rated is a part of every query for the user.
    pub(super) fn needs_ratings(&self) -> bool {
        self.model() != Model::Als
    }
}
