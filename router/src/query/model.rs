//! Which model a query asks, and what a version answers from.

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
    /// Reads a parameter; an empty one names no model.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn parse(name: &str) -> Result<Option<Self>, QueryError> {
        match name {
            "" => Ok(None),
            "als" => Ok(Some(Self::Als)),
            "item_cf" => Ok(Some(Self::ItemCf)),
            "content" => Ok(Some(Self::Content)),
            "hybrid" => Ok(Some(Self::Hybrid)),
            other => {
                let reason = format!("'{other}' is not one of 'als', 'item_cf', 'content' and 'hybrid'");
                Err(QueryError::invalid("model", reason))
            }
        }
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
        let models = [Self::Als, Self::ItemCf, Self::Content, Self::Hybrid];
        models.into_iter().find(|model| model.registered() == registered).map(Self::name)
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
