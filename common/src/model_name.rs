//! Names of models, as the registry has them: of [`ModelKind`].

use shoal_core::ModelKind;

/// The registry's name of a model that is named as clients do; `None` when there is no such model.
#[must_use]
pub fn registered(name: &str) -> Option<&'static str> {
    ModelKind::parse(name).ok().map(ModelKind::folder)
}

/// As [`registered`], for names that a person types: letters in any case, and hyphens for underscores.
#[must_use]
pub fn typed(name: &str) -> Option<&'static str> {
    ModelKind::parse_typed(name).ok().map(ModelKind::folder)
}
