//! The kinds of models: the only place where their names stand.

use std::{fmt, str::FromStr};

/// What a model is. A match on it is asked for by the compiler wherever models differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelKind {
    /// Alternating least squares, with the explicit or the implicit objective.
    Als,
    /// Neighbours of items by who rated them.
    ItemCf,
    /// Neighbours of items by what they are: genres, tags, years.
    Content,
    /// Weights between items that make users' likings out of each other (Steck 2019).
    Ease,
    /// A weighted blend of the others.
    Hybrid,
}

/// What a version ranks by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Factors of users and items.
    ByFactors,
    /// Neighbours of the items that the user has rated.
    ByNeighbours,
    /// Both, and popularity, as one score.
    ByBlend,
}

impl ModelKind {
    /// Every kind, in the order in which they are trained: a hybrid comes after the models that it blends.
    pub const ALL: [Self; 5] = [Self::Als, Self::ItemCf, Self::Content, Self::Ease, Self::Hybrid];

    /// The kinds that a hybrid blends, in the order of its sources.
    pub fn blended() -> impl Iterator<Item = Self> + Clone {
        Self::ALL.into_iter().filter(|kind| *kind != Self::Hybrid)
    }

    /// The name in the registry, in folders of the store and in the names of versions.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Als => "als",
            Self::ItemCf => "item_cf",
            Self::Content => "content_based",
            Self::Ease => "ease",
            Self::Hybrid => "hybrid",
        }
    }

    /// The name in requests and answers, and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Als | Self::ItemCf | Self::Ease | Self::Hybrid => self.folder(),
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Als => "Matrix factorisation by alternating least squares",
            Self::ItemCf => "Similar items by who rated them",
            Self::Content => "Similar items by what they are",
            Self::Ease => "Weights between items, from all likings at once",
            Self::Hybrid => "A blend of the others and popularity",
        }
    }

    /// What its versions rank by.
    #[must_use]
    pub const fn answers(self) -> Answers {
        match self {
            Self::Als => Answers::ByFactors,
            Self::ItemCf | Self::Content | Self::Ease => Answers::ByNeighbours,
            Self::Hybrid => Answers::ByBlend,
        }
    }

    /// The kind with this name, as programs write it: the [`name`](Self::name) or the [`folder`](Self::folder).
    ///
    /// # Errors
    /// [`UnknownModel`] when no kind has the name.
    pub fn parse(name: &str) -> Result<Self, UnknownModel> {
        let named = |kind: &Self| kind.name() == name || kind.folder() == name;
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownModel { name: name.to_owned() })
    }

    /// As [`parse`](Self::parse), for names that a person types: letters in any case, hyphens for underscores.
    ///
    /// # Errors
    /// [`UnknownModel`] when no kind has the name.
    pub fn parse_typed(name: &str) -> Result<Self, UnknownModel> {
        Self::parse(&name.to_ascii_lowercase().replace('-', "_"))
            .map_err(|_| UnknownModel { name: name.to_owned() })
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ModelKind {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Self::parse_typed(name)
    }
}

/// No kind of model has this name; newer releases may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownModel {
    /// The name, as it was given.
    pub name: String,
}

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = ModelKind::ALL.into_iter().map(ModelKind::name).collect();
        write!(f, "this release does not know the model '{}'; it knows {}", self.name, known.join(", "))
    }
}

impl std::error::Error for UnknownModel {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_one_model() {
        for name in ["content", "content_based"] {
            assert_eq!(ModelKind::parse(name), Ok(ModelKind::Content));
        }
        for name in ["ITEM_CF", "item-cf", "Item_Cf"] {
            assert!(ModelKind::parse(name).is_err());
            assert_eq!(ModelKind::parse_typed(name), Ok(ModelKind::ItemCf));
        }
        assert_eq!("Content-Based".parse(), Ok(ModelKind::Content));
        for name in ["popularity", "", "als "] {
            assert_eq!(ModelKind::parse_typed(name), Err(UnknownModel { name: name.to_owned() }));
        }
    }

    #[test]
    fn all_kinds_can_be_named_and_differ() {
        for kind in ModelKind::ALL {
            assert_eq!(
                (ModelKind::parse(kind.name()), ModelKind::parse(kind.folder())),
                (Ok(kind), Ok(kind))
            );
        }
        assert!(ModelKind::ALL.is_sorted());
    }
}
